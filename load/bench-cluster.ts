// `npm run bench:cluster`: what replication costs and what failures cost clients, on real processes, with our
// goals beside the figures and etcd beside ours. Refuses: to fail anything; a benchmark informs, tests
// decide.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { InvalidArgumentError, newCommand, wholeNumber } from '@skep/cli/command.ts'
import { parseOr } from '@skep/cli/complain.ts'
import { printGoals } from './bench/report.ts'
import { etcdRow } from './cluster/etcd.ts'
import { moveRow, outageRow } from './cluster/outage.ts'
import { type ClusterResults, clusterGoals, printCluster } from './cluster/report.ts'
import { bytesRows, type ClusterSettings, joinRows, mixRows } from './cluster/rows.ts'
import { transferRow } from './cluster/transfer.ts'

const ROWS = ['joins', 'etcd', 'mix', 'bytes', 'kills', 'moves', 'transfer'] as const
type RowName = (typeof ROWS)[number]
const MILLIONS = 1
const MILLIONS_FULL = 10
const KEEPALIVES_MS = [1000, 100]

type Options = {
  quick?: boolean
  full?: boolean
  rounds: number
  kills: number
  keepalive?: number
  rows: readonly RowName[]
  json?: string
  seed: number
  folder?: string
  priority?: boolean
}

const readRows = (text: string): RowName[] =>
  text.split(',').map((name) => {
    if (!ROWS.includes(name as RowName)) throw new InvalidArgumentError(`rows are ${ROWS.join(', ')}`)
    return name as RowName
  })
const readKeepalive = (text: string): number => {
  const ms = text.endsWith('ms') ? Number(text.slice(0, -2)) : Number(text.replace(/s$/, '')) * 1000
  if (!(ms >= 50 && ms <= 60_000)) throw new InvalidArgumentError('a time such as 100ms or 1s')
  return ms
}

const command = newCommand(
  'npm run bench:cluster --',
  'Measures three replicas: joins, refreshes, bytes, outages, moves, transfers; see docs/benchmarks.md.',
)
  .option('--quick', 'two rounds, three kills')
  .option('--full', 'a transfer of ten million peers instead of one')
  .option('--rounds <n>', 'windows of each load', wholeNumber(1), 5)
  .option('--kills <n>', 'kill -9 of the leader, at each keepalive', wholeNumber(1), 10)
  .option('--keepalive <time>', 'outages at this keepalive only (default: 1s and 100ms)', readKeepalive)
  .option('--rows <names>', `only these rows: ${ROWS.join(',')}`, readRows, [...ROWS])
  .option('--json <file>', 'results as JSON')
  .option('--seed <n>', 'populations follow from it', wholeNumber(0), 1)
  .option('--folder <path>', 'where replicas keep their data (the disk that joins are synced to)')
  .option('--priority', 'as root: raise the weight of this session on a busy machine')
  .addHelpText('after', '\nExit codes: 0 measured, 1 a row could not be measured, 64 usage.')

const say = (line: string): void => void process.stderr.write(`${line}\n`)

async function run(options: Options): Promise<number> {
  const folder = mkdtempSync(join(options.folder ?? tmpdir(), 'skep-bench-cluster-'))
  const quick = options.quick === true
  const settings: ClusterSettings = {
    ...{ folder, say, seed: options.seed, replicas: 3, windowMs: 2000, full: options.full === true },
    rounds: quick ? 2 : options.rounds,
    kills: quick ? 3 : options.kills,
    moves: quick ? 3 : 10,
  }
  const results: ClusterResults = { outages: [], missing: [] }
  const keepalives = options.keepalive === undefined ? KEEPALIVES_MS : [options.keepalive]
  const attempts: Record<RowName, () => Promise<void>> = {
    joins: async () => void (results.joins = await joinRows(settings)),
    etcd: async () => {
      const row = await etcdRow(folder, settings.rounds, settings.windowMs, say)
      if (typeof row === 'string') results.missing.push(row)
      else results.etcd = row
    },
    mix: async () => void (results.mix = await mixRows(settings)),
    bytes: async () => void (results.bytes = await bytesRows(settings)),
    kills: async () => {
      for (const keepaliveMs of keepalives) results.outages.push(await outageRow(settings, keepaliveMs))
    },
    moves: async () => void (results.moves = await moveRow(settings)),
    transfer: async () => {
      const row = await transferRow(settings.full ? MILLIONS_FULL : MILLIONS, say)
      if (typeof row === 'string') throw new Error(row)
      results.transfer = row
    },
  }
  let failed = 0
  try {
    for (const name of ROWS) {
      if (!options.rows.includes(name)) continue
      await attempts[name]().catch((error: Error) => {
        failed++
        results.missing.push(`${name}: ${error.message}`)
        say(`${name} FAILED: ${error.message}`)
      })
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  const machine = `${cpus()[0]?.model ?? 'unknown CPU'}, ${cpus().length} cores, Linux ${release()}, Node ${process.version}`
  const goals = clusterGoals(results)
  process.stdout.write(`\n${machine}\n${printCluster(results)}${printGoals(goals)}`)
  for (const why of results.missing) process.stdout.write(`left out: ${why}\n`)
  if (options.json !== undefined)
    writeFileSync(
      options.json,
      `${JSON.stringify({ machine, date: new Date().toISOString(), results, goals }, null, 2)}\n`,
    )
  return failed === 0 ? 0 : 1
}

/**
 * Starts this program again in a session of its own, whose weight is raised: all replicas belong to it, too.
 */
function raise(args: readonly string[]): Promise<number> {
  const script = 'echo -17 > /proc/self/autogroup 2>/dev/null; exec "$@"'
  const own = [process.execPath, fileURLToPath(import.meta.url), ...args]
  const child = spawn('setsid', ['-w', 'sh', '-c', script, 'sh', ...own], { stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
  return new Promise((done) => child.once('exit', (code) => done(code ?? 1)))
}

async function main(args: string[]): Promise<number> {
  const wrong = parseOr(command, args)
  if (wrong !== null) return wrong
  const options = command.opts<Options>()
  if (options.priority !== true) return run(options)
  return raise(args.filter((arg) => arg !== '--priority'))
}

process.exit(await main(process.argv.slice(2)))
