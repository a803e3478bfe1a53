// `npm run bench`: ours beside the echo, opentracker and aquatic_udp in one run, printed as ratios, with our
// goals. Refuses: to judge by a single number; medians of interleaved rounds only, and no number for a wrong
// tracker.

import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { InvalidArgumentError, newCommand, wholeNumber } from '@skep/cli/command.ts'
import { parseOr } from '@skep/cli/complain.ts'
import { type Contender, ECHO, findContenders, OURS } from './bench/contenders.ts'
import { goals, type Results } from './bench/goals.ts'
import { printGoals, printResults } from './bench/report.ts'
import {
  type BenchSettings,
  joinRows,
  latencyRows,
  memoryRow,
  rateRow,
  scalingRows,
  shapeRow,
} from './bench/rows.ts'
import { has } from './bench/servers.ts'

/** Set for the copy of ourselves that runs on the generator's core. */
const PINNED = '--pinned'
const ROWS = ['hot', 'cold', 'large', 'rates', 'latency', 'joins', 'memory', 'scaling', 'http'] as const
type RowName = (typeof ROWS)[number]

type Options = {
  quick?: boolean
  full?: boolean
  rounds: number
  rows: readonly RowName[]
  only?: readonly string[]
  beside?: string
  json?: string
  seed: number
  folder?: string
  priority?: boolean
  pinned?: boolean
}

const readRows = (text: string): RowName[] =>
  text.split(',').map((name) => {
    if (!ROWS.includes(name as RowName)) throw new InvalidArgumentError(`rows are ${ROWS.join(', ')}`)
    return name as RowName
  })

const command = newCommand(
  'npm run bench --',
  'Measures ours beside the echo, opentracker and aquatic_udp; see docs/benchmarks.md.',
)
  .option('--quick', 'two minutes: the hot shape, fixed rates, joins and memory, few rounds')
  .option('--full', 'also ten million peers')
  .option('--rounds <n>', 'interleaved rounds', wholeNumber(1), 7)
  .option('--rows <names>', `only these rows: ${ROWS.join(',')}`, readRows, [...ROWS])
  .option('--only <names>', 'only these contenders', (text) => text.split(','))
  .option('--beside <tree>', 'also another tree of ours with its packages: what has changed since')
  .option('--json <file>', 'results as JSON')
  .option('--seed <n>', 'order of the rounds', wholeNumber(0), 1)
  .option('--folder <path>', 'where servers keep their data (the disk that joins are synced to)')
  .option('--priority', 'as root: raise the weight of this session on a busy machine')
  .option(PINNED, 'internal: already on its core')
  .addHelpText('after', '\nExit codes: 0 measured, 1 ours failed its checks or did not run, 64 usage.')

/** Starts this program again on the generator's core, in a session of its own. */
function pin(args: readonly string[], priority: boolean): Promise<number> {
  // Not availableParallelism: that counts what this process may use, and a pinned one may use one.
  const core = String(cpus().length - 1)
  const own = ['taskset', '-c', core, process.execPath, fileURLToPath(import.meta.url), PINNED, ...args]
  const raise = 'echo -17 > /proc/self/autogroup 2>/dev/null; exec "$@"'
  const whole = priority ? ['setsid', '-w', 'sh', '-c', raise, 'sh', ...own] : own
  const child = spawn(whole[0]!, whole.slice(1), { stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
  return new Promise((done) => child.once('exit', (code) => done(code ?? 1)))
}

async function run(options: Options): Promise<number> {
  const say = (line: string): void => void process.stderr.write(`${line}\n`)
  const rows = new Set<RowName>(
    options.quick === true
      ? options.rows.filter((row) => !['cold', 'large', 'scaling', 'http'].includes(row))
      : options.rows,
  )
  const { contenders, missing } = findContenders({
    build: options.quick !== true,
    ...(options.only === undefined ? {} : { only: options.only }),
    ...(options.beside === undefined ? {} : { beside: options.beside }),
  })
  const folder = mkdtempSync(join(options.folder ?? tmpdir(), 'skep-bench-'))
  const settings: BenchSettings = {
    folder,
    rounds: options.quick === true ? Math.min(options.rounds, 5) : options.rounds,
    windowMs: 500,
    cores: options.pinned === true ? '0' : undefined,
    seed: options.seed,
    say,
  }
  const results: Results = { shapes: {}, rates: [], latency: [], memory: [] }
  try {
    for (const why of missing) say(`left out: ${why}`)
    await measureAll(rows, contenders, settings, results, options.full === true)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  const machine = `${cpus()[0]?.model ?? 'unknown CPU'}, ${cpus().length} cores, Linux ${release()}, Node ${process.version}`
  const reached = goals(results)
  process.stdout.write(`\n${machine}\n`)
  process.stdout.write(printResults(results))
  process.stdout.write(printGoals(reached))
  for (const why of missing) process.stdout.write(`left out: ${why}\n`)
  if (options.json !== undefined)
    writeFileSync(
      options.json,
      `${JSON.stringify({ machine, date: new Date().toISOString(), results, goals: reached, missing }, null, 2)}\n`,
    )
  if (rows.has('http')) await http()
  const failed = Object.values(results.shapes).flatMap(({ standings }) =>
    standings.filter(({ name, failed }) => name === OURS && failed !== undefined),
  )
  for (const { failed: why } of failed) say(`${OURS} got no number: ${why}`)
  return failed.length === 0 ? 0 : 1
}

async function measureAll(
  rows: ReadonlySet<RowName>,
  contenders: readonly Contender[],
  settings: BenchSettings,
  results: Results,
  full: boolean,
): Promise<void> {
  const ours = contenders.find(({ name }) => name === OURS)
  if (rows.has('hot') || rows.has('rates') || rows.has('latency'))
    results.shapes.hot = await shapeRow('hot', contenders, settings, async (field, row) => {
      if (rows.has('rates'))
        for (const rate of [20_000, 40_000]) results.rates.push(await rateRow(field, rate, settings))
      if (rows.has('latency')) results.latency = await latencyRows(field, row, settings)
    })
  for (const which of ['cold', 'large'] as const)
    if (rows.has(which)) results.shapes[which] = await shapeRow(which, contenders, settings)
  if (ours === undefined) return
  if (rows.has('joins')) results.joins = await joinRows(ours, settings)
  if (rows.has('memory')) {
    for (const details of [false, true])
      results.memory.push(await memoryRow(ours, 100_000, 1_000_000, details, settings))
    if (full) results.memory.push(await memoryRow(ours, 1_000_000, 10_000_000, false, settings))
    const others = contenders.filter(({ name }) => name !== OURS && name !== ECHO)
    for (const standing of results.shapes.cold?.standings ?? [])
      if (others.some(({ name }) => name === standing.name))
        results.memory.push({
          name: `${standing.name}, 1M peers in 100k torrents`,
          peers: 1_000_000,
          bytesPerPeer: standing.bytesPerPeer,
        })
  }
  if (rows.has('scaling')) results.scaling = await scalingRows(ours, settings)
}

/** The HTTP row has a program of its own. */
async function http(): Promise<void> {
  const program = fileURLToPath(new URL('./bench/http.ts', import.meta.url))
  if (!existsSync(program)) return
  process.stdout.write('\nHTTP\n')
  spawnSync(process.execPath, [program], { stdio: 'inherit', timeout: 180_000 })
}

async function main(args: string[]): Promise<number> {
  const wrong = parseOr(command, args)
  if (wrong !== null) return wrong
  const options = command.opts<Options>()
  const canPin = process.platform === 'linux' && cpus().length > 1 && has('taskset')
  if (options.pinned !== true && canPin) return pin(args, options.priority === true)
  if (options.pinned !== true)
    process.stderr.write(
      'one core, or no taskset: server and generator disturb each other, trust the ratios only\n',
    )
  return run(options)
}

process.exit(await main(process.argv.slice(2)))
