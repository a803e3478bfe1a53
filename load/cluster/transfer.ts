// The whole table on its way to a new member: the tracker's own measurement (npm run bench:transfer), read
// from what it prints. Refuses: to measure anything itself.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { median } from '../bench/table.ts'

const PROGRAM = fileURLToPath(new URL('../../tracker/bench/transfer.ts', import.meta.url))

export type TransferRow = {
  readonly millions: number
  readonly megabytes: number
  readonly sentMBs: number
  readonly plainMBs: number
  /**
   * Longest time the member that sends was away from its own work: while it took the snapshot, while it sent,
   * and without.
   */
  readonly takingPauseMs: number
  readonly sendingPauseMs: number
  readonly alonePauseMs: number
  readonly restoredSeconds: number
}

export async function transferRow(
  millions: number,
  say: (line: string) => void,
): Promise<TransferRow | string> {
  say(`== full transfer of ${millions}M peers`)
  const child = spawn(process.execPath, [PROGRAM, String(millions)], { stdio: ['ignore', 'pipe', 'inherit'] })
  const end = (): void => void child.kill('SIGKILL')
  process.on('exit', end)
  const lines: string[] = []
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line)
    say(`  ${line}`)
  })
  const [code] = (await once(child, 'close')) as [number | null]
  process.off('exit', end)
  if (code !== 0) return `bench:transfer ended with ${code}`
  const read = (start: string, pattern: RegExp): number[] =>
    lines
      .filter((line) => line.startsWith(start))
      .map((line) => Number(pattern.exec(line)?.[1] ?? Number.NaN))
  const [speed, pause, seconds] = [/([\d.]+) MB\/s/, /pause ([\d.]+) ms/, /([\d.]+) s,/]
  return {
    millions,
    megabytes: read(`${millions}M peers`, /: ([\d.]+) MB/)[0] ?? Number.NaN,
    sentMBs: read('sent over TLS', speed)[0] ?? Number.NaN,
    plainMBs: median(read('plain TCP copy', speed)),
    takingPauseMs: read('snapshot taken', pause)[0] ?? Number.NaN,
    sendingPauseMs: read('sent over TLS', pause)[0] ?? Number.NaN,
    alonePauseMs: read(`${millions}M peers`, /without: ([\d.]+) ms/)[0] ?? Number.NaN,
    restoredSeconds: read('restored', seconds)[0] ?? Number.NaN,
  }
}
