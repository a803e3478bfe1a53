// Run by Jobs on a volume of backups: `backup-run` saves the table of a cluster as a file and deletes the
// oldest, `restore-run` fills the volume of a replica with such a file. Both call `skep ctl snapshot`, which
// knows the format. Refuses: to delete anything before the new file is whole.

import { spawn } from 'node:child_process'
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { complain } from '@skep/cli/complain.ts'
import { FAILURE, OK, USAGE } from '@skep/cli/exit-codes.ts'

const SKEP = fileURLToPath(new URL('../../skep.ts', import.meta.url))
/** Read by the kubelet: what a Job says in the end. */
const LAST_WORD = '/dev/termination-log'
const ENDING = '.skep'

/** `demo-20261121T140501Z.skep`: names sort by time. */
export const fileName = (cluster: string, nowMs: number): string =>
  `${cluster}-${new Date(nowMs).toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}Z${ENDING}`

/** Names of whole files of a cluster (null: of any), the newest first. */
export const newestFirst = (names: readonly string[], cluster: string | null): string[] =>
  names
    .filter((name) => name.endsWith(ENDING) && /-\d{8}T\d{6}Z\.skep$/.test(name))
    .filter((name) => cluster === null || name.slice(0, -'-20261121T140501Z.skep'.length) === cluster)
    .sort((a, b) => (timeOf(a) < timeOf(b) ? 1 : -1))

const timeOf = (name: string): string => name.slice(-'20261121T140501Z.skep'.length)

export async function backupRun(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      folder: { type: 'string' },
      cluster: { type: 'string' },
      keep: { type: 'string', default: '7' },
      replica: { type: 'string', multiple: true },
      'control-port': { type: 'string', default: '8169' },
      'network-key-file': { type: 'string' },
    },
  })
  const { folder, cluster, replica = [], keep, 'control-port': port, 'network-key-file': key } = values
  if (folder === undefined || cluster === undefined || key === undefined || replica.length === 0)
    return usage('backup-run', '--folder, --cluster, --network-key-file and --replica are needed')
  mkdirSync(folder, { recursive: true })
  const name = fileName(cluster, Date.now())
  const part = join(folder, `.${name}.part`)
  let last = ''
  for (const host of replica) {
    const asked = ['--control-host', host, '--control-port', port, '--network-key-file', key]
    const { code, text } = await skep(['ctl', 'snapshot', 'save', part, ...asked])
    if (code === OK) {
      const bytes = statSync(part).size
      // Renamed when it is whole: nobody takes half a file for a backup.
      renameSync(part, join(folder, name))
      prune(folder, cluster, Math.max(1, Number(keep) || 1))
      lastWord(JSON.stringify({ file: name, bytes }))
      return OK
    }
    rmSync(part, { force: true })
    last = text.trim().split('\n').at(-1) ?? ''
  }
  lastWord(`no replica gave its table: ${last}`)
  return FAILURE
}

const prune = (folder: string, cluster: string, keep: number): void => {
  for (const name of newestFirst(readdirSync(folder), cluster).slice(keep)) {
    rmSync(join(folder, name), { force: true })
    process.stdout.write(`${name} is deleted: ${keep} newer ones are kept\n`)
  }
}

export async function restoreRun(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      folder: { type: 'string' },
      file: { type: 'string' },
      'data-dir': { type: 'string' },
      name: { type: 'string' },
      'replica-address': { type: 'string' },
    },
  })
  const { folder, 'data-dir': dataDir, name, 'replica-address': address } = values
  if (folder === undefined || dataDir === undefined || name === undefined || address === undefined)
    return usage('restore-run', '--folder, --data-dir, --name and --replica-address are needed')
  const file = values.file ?? newestFirst(readdirSync(folder), null)[0]
  if (file === undefined) {
    lastWord(`there is no file *${ENDING} on the volume of backups`)
    return FAILURE
  }
  const place = ['--data-dir', dataDir, '--name', name, '--replica-address', address]
  const { code, text } = await skep(['ctl', 'snapshot', 'restore', join(folder, file), ...place])
  lastWord(code === OK ? JSON.stringify({ file }) : (text.trim().split('\n').at(-1) ?? ''))
  return code
}

/** Runs a command of ours; its words go to our output, too. */
const skep = (args: readonly string[]): Promise<{ code: number; text: string }> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [SKEP, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    let text = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (piece: Buffer) => {
        text = (text + piece).slice(-4096)
        process.stdout.write(piece)
      })
    child.on('error', reject)
    child.on('close', (code) => resolve({ code: code ?? FAILURE, text }))
  })

const lastWord = (text: string): void => {
  process.stdout.write(`${text}\n`)
  try {
    writeFileSync(LAST_WORD, text)
  } catch {
    // Not in a pod.
  }
}

const usage = (command: string, text: string): number => {
  complain(`operator ${command}: ${text}`)
  return USAGE
}
