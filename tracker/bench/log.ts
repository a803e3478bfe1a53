// npm run bench:log: synced appends a second of each log store, beside a bare file with fdatasync,
// interleaved in one run. node tracker/bench/log.ts [rounds] [directory] Refuses: absolute promises; the disk
// decides those. Ratios of medians are what carries.

import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { levelDisk } from '../replica/log/level.ts'
import { lmdbDisk } from '../replica/log/lmdb.ts'
import { openLog } from '../replica/log/store.ts'

const SIZES = [4, 16, 64].map((kib) => kib * 1024)
const ROUND_MS = 400

type Contender = { readonly name: string; append(data: Uint8Array): Promise<void>; close(): Promise<void> }

const logOf = async (name: string, disk: ReturnType<typeof levelDisk>): Promise<Contender> => {
  const log = await openLog(disk, { group: 0, loose: false })
  let index = 0
  return {
    name,
    append: (data) => {
      index++
      const hardState = { term: 1, vote: 1, commit: index - 1 }
      return log.append({ hardState, entries: [{ index, term: 1, type: 0, data }], sync: true })
    },
    close: () => log.close(),
  }
}

const bareFile = (path: string): Contender => {
  const fd = openSync(path, 'a')
  return {
    name: 'bare file',
    append: async (data) => {
      writeSync(fd, data)
      fdatasyncSync(fd)
    },
    close: async () => closeSync(fd),
  }
}

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1]!

const round = async (c: Contender, data: Uint8Array): Promise<{ rate: number; cpuUs: number }> => {
  const cpu = process.cpuUsage()
  const began = performance.now()
  let n = 0
  while (performance.now() - began < ROUND_MS) {
    await c.append(data)
    n++
  }
  const used = process.cpuUsage(cpu)
  return { rate: (n * 1000) / (performance.now() - began), cpuUs: (used.user + used.system) / n }
}

const rounds = Number(process.argv[2] ?? 7)
const dir = await mkdtemp(join(process.argv[3] ?? tmpdir(), 'skep-bench-log-'))
try {
  for (const size of SIZES) {
    const data = Uint8Array.from({ length: size }, (_, i) => (i * 31) & 255)
    const contenders = [
      bareFile(join(dir, `bare-${size}`)),
      await logOf('classic-level', levelDisk(join(dir, `level-${size}`))),
      await logOf('lmdb', lmdbDisk(join(dir, `lmdb-${size}`))),
    ]
    const seen = new Map(contenders.map((c) => [c.name, { rates: [] as number[], cpu: [] as number[] }]))
    for (const c of contenders) await round(c, data)
    for (let i = 0; i < rounds; i++)
      for (const c of contenders) {
        const { rate, cpuUs } = await round(c, data)
        seen.get(c.name)!.rates.push(rate)
        seen.get(c.name)!.cpu.push(cpuUs)
      }
    const bare = median(seen.get('bare file')!.rates)
    for (const [name, { rates, cpu }] of seen) {
      const rate = median(rates)
      const spread = `${Math.round(rates[0]!)}-${Math.round(rates.at(-1)!)}`
      const line = [
        `${size / 1024} KiB`.padStart(6),
        name.padEnd(14),
        `${Math.round(rate)}/s`.padStart(8),
        `(${spread})`.padEnd(13),
        `${(rate / bare).toFixed(2)} of the bare file`,
        `${Math.round(median(cpu))} us CPU`,
      ]
      console.log(line.join('  '))
    }
    for (const c of contenders) await c.close()
  }
} finally {
  await rm(dir, { recursive: true, force: true })
}
