// `skep bench udp TARGET`: a load for any BEP 15 tracker that checks every answer it gets.
// Refuses: trackers of others (a target that is not this machine needs --i-own-this-tracker), and to run
// without end.

import { writeFileSync } from 'node:fs'
import { type Command, Flag, InvalidArgumentError, newCommand, wholeNumber } from '@skep/cli/command.ts'
import { complain, parseOr } from '@skep/cli/complain.ts'
import { FAILURE, OK, UNAVAILABLE, USAGE } from '@skep/cli/exit-codes.ts'
import { type Live, type Measured, measure } from './bench/measure.ts'
import { residentBytes } from './bench/process-cost.ts'
import { fixed, short, table } from './bench/table.ts'
import type { Work } from './udp/asks.ts'
import { Generator } from './udp/generator.ts'
import { buildModel, type Shape, swarmLimit } from './udp/model.ts'
import { defaultSources, isLocal, openSources, readTarget, TargetError } from './udp/target.ts'
import { FAULTS, REMARKS } from './udp/verify.ts'

/** Longest run and largest population; a load is bounded whatever it is asked for. */
const SECONDS_MOST = 3600
const PEERS_MOST = 20_000_000
/** Most sources: the sockets of one process. */
const SOURCES_MOST = 512

export type Options = {
  torrents: number
  peers: number
  skew: number
  seeders: number
  numwant: number
  mix: readonly [number, number, number]
  joins: number
  rate: number
  burst: number
  window: number
  seconds: number
  warm: number
  timeout: number
  preload: boolean
  verify: boolean
  source?: string[]
  sources: number
  engine: 'auto' | 'mmsg' | 'dgram'
  pid: number[]
  seed: number
  json?: string | true
  iOwnThisTracker?: boolean
}

const real = (least: number, most: number) => (text: string) => {
  const value = Number(text)
  if (!(value >= least && value <= most)) throw new InvalidArgumentError(`a number from ${least} to ${most}`)
  return value
}
const readMix = (text: string): readonly [number, number, number] => {
  const parts = text.split(':').map(Number)
  if (parts.length !== 3 || parts.some((part) => !(part >= 0)) || parts.every((part) => part === 0))
    throw new InvalidArgumentError('announces:scrapes:connects, such as 1000:10:1')
  return parts as unknown as readonly [number, number, number]
}
const readJoins = (text: string): number => (text === 'all' ? 1000 : wholeNumber(0, 1000)(text))
const list = (text: string): string[] => text.split(',').filter((part) => part !== '')

function command(): Command {
  return newCommand(
    'skep bench udp',
    'Announces, scrapes and connects in a given mix from many sources, and verifies every answer:\n' +
      'transaction, length, counts, and that each peer returned belongs to the swarm.',
  )
    .argument('<target>', 'udp://host:port, host:port, [::1]:port or a port of this machine')
    .option('--mix <a:s:c>', 'shares of announces, scrapes, connects', readMix, [1000, 10, 1])
    .option('--torrents <n>', 'swarms', wholeNumber(1, 10_000_000), 10_000)
    .option('--peers <n>', 'peers of the population', wholeNumber(1, PEERS_MOST), 100_000)
    .option('--skew <x>', 'torrent = n x u^skew: 1 is even, 3 has a few large swarms', real(1, 10), 3)
    .option('--seeders <share>', 'share of peers that have everything', real(0, 1), 0.75)
    .option('--numwant <n>', 'peers asked for', wholeNumber(0, 1000), 30)
    .option('--joins <permille|all>', 'announces that are the first of a new peer', readJoins, 0)
    .option('--window <n>', 'requests outstanding a source', wholeNumber(1, 1024), 24)
    .option(
      '--rate <n>',
      'requests a second over all sources; 0: as fast as answers come',
      wholeNumber(0, 10_000_000),
      0,
    )
    .option('--burst <n>', 'with --rate: requests that leave together', wholeNumber(1, 60), 1)
    .option('--seconds <s>', 'measured time', real(0.1, SECONDS_MOST), 10)
    .option('--warm <s>', 'time before it', real(0, 600), 1)
    .option('--timeout <s>', 'an answer after this is lost', real(0.01, 60), 1)
    .option('--no-preload', 'the tracker knows the population already (same shape and seed, same sources)')
    .option('--no-verify', 'only count answers')
    .option('--sources <n>', 'how many sources', wholeNumber(1, SOURCES_MOST), 8)
    .option('--source <addresses>', 'bind to these addresses, comma separated', list)
    .addOption(
      new Flag('--engine <name>', 'batched calls or node:dgram')
        .choices(['auto', 'mmsg', 'dgram'])
        .default('auto'),
    )
    .option(
      '--pid <pids>',
      "the server's processes here: CPU and memory are read from /proc",
      (text) => list(text).map(wholeNumber(1, 2 ** 31)),
      [] as number[],
    )
    .option('--seed <n>', 'population and requests follow from it', wholeNumber(0, 2 ** 31 - 1), 1)
    .option('--json [file]', 'report as JSON, to a file or to standard output')
    .option('--i-own-this-tracker', 'a target that is not this machine is yours to load')
    .addHelpText(
      'after',
      '\nExit codes: 0 all answers true, 1 wrong or missing answers, 64 usage, 69 no answer at all.',
    )
    .exitOverride()
}

export type Report = {
  readonly target: string
  readonly engine: 'mmsg' | 'dgram'
  readonly shape: Shape
  readonly work: Work
  readonly preload?: { readonly missing: number; readonly seconds: number }
  /** Resident bytes the population added, a peer; absent without --pid or preload. */
  readonly bytesPerPeer?: number
  readonly measured: Measured
  readonly errorTexts: Record<string, number>
}

/** Runs the command; resolves to its exit code. */
export async function benchUdp(args: string[]): Promise<number> {
  const program = command()
  const wrong = parseOr(program, args)
  if (wrong !== null) return wrong
  const options = program.opts<Options>()
  try {
    const report = await load(program.args[0]!, options)
    if (options.json === undefined) process.stdout.write(`${describe(report)}\n`)
    else {
      const text = `${JSON.stringify(report, null, 2)}\n`
      if (options.json === true) process.stdout.write(text)
      else {
        writeFileSync(options.json, text)
        process.stdout.write(`${describe(report)}\n`)
      }
    }
    return report.measured.faults === 0 && (report.preload?.missing ?? 0) === 0 ? OK : FAILURE
  } catch (error) {
    if (!(error instanceof TargetError)) throw error
    complain(error.message)
    return error instanceof NoAnswer ? UNAVAILABLE : USAGE
  }
}

class NoAnswer extends TargetError {}

async function load(text: string, options: Options): Promise<Report> {
  const target = await readTarget(text)
  if (!isLocal(target) && options.iOwnThisTracker !== true)
    throw new TargetError(
      `${target.address} is not this machine. A load on a tracker of others is an attack; if it is yours, say --i-own-this-tracker`,
    )
  const { torrents, peers, skew, seeders, seed } = options
  const shape: Shape = { torrents, peers, skew, seeders, seed }
  const model = buildModel(shape)
  const family = target.family
  const sources = options.source ?? (await defaultSources(target, options.sources))
  const { io, homes, raw } = await openSources(target, sources, { engine: options.engine, answerBytes: 2048 })
  const largest = model.start[model.largest + 1]! - model.start[model.largest]!
  if (largest > swarmLimit(homes))
    throw new TargetError(
      `the largest swarm has ${largest} peers, these sources can be ${swarmLimit(homes)}: give more --sources, or less --skew`,
    )
  const generator = new Generator(io, model, { homes, family, raw, loaded: !options.preload, seed })
  const work = workOf(options)
  const say = process.stderr.isTTY ? (line: string) => process.stderr.write(`\r\x1b[K${line}`) : () => true
  try {
    const missing = await generator.connect(5000)
    if (missing === io.count)
      throw new NoAnswer(
        `nothing answers connects at ${target.address} port ${target.port}. Does the tracker run, and take UDP there?`,
      )
    let preload: Report['preload']
    const before = residentBytes(options.pid)
    let bytesPerPeer: number | undefined
    if (options.preload) {
      const begin = Date.now()
      const left = await generator.preload(
        { ...work, window: Math.max(work.window, 64) },
        (done) => say(`preload ${short(done)} of ${short(peers)}`),
        Math.max(60_000, peers / 10),
      )
      preload = { missing: left, seconds: (Date.now() - begin) / 1000 }
      if (options.pid.length > 0) bytesPerPeer = (residentBytes(options.pid) - before) / peers
    }
    const measured = await measure(generator, work, {
      warmMs: options.warm * 1000,
      ms: options.seconds * 1000,
      pids: options.pid,
      progress: (live) => say(progressLine(live, options.seconds)),
    })
    await generator.drain(work, 1000)
    say('')
    return {
      target: `${family === 6 ? `[${target.address}]` : target.address}:${target.port}`,
      engine: io.engine,
      shape,
      work,
      ...(preload === undefined ? {} : { preload }),
      ...(bytesPerPeer === undefined ? {} : { bytesPerPeer }),
      measured,
      errorTexts: Object.fromEntries(generator.errorTexts),
    }
  } finally {
    generator.close()
  }
}

const workOf = (options: Options): Work => ({
  mix: options.mix,
  joinsPermille: options.joins,
  numwant: options.numwant,
  window: options.rate > 0 ? Math.max(options.window, 512) : options.window,
  rate: options.rate,
  burst: options.burst,
  timeoutMs: options.timeout * 1000,
  verify: options.verify,
})

const progressLine = (live: Live, seconds: number): string =>
  `${fixed(live.elapsedMs / 1000, 1)}/${seconds} s  ${short(live.answersPerSecond)} answers/s  p99 ${fixed(live.p99Ms)} ms  lost ${live.lost}  faults ${live.faults}`

function describe(report: Report): string {
  const { measured: m, shape } = report
  const rows: string[][] = [
    ['target', `${report.target} (${report.engine})`],
    ['population', `${short(shape.torrents)} torrents, ${short(shape.peers)} peers, skew ${shape.skew}`],
  ]
  if (report.preload !== undefined)
    rows.push(['preload', `${fixed(report.preload.seconds)} s, ${report.preload.missing} never answered`])
  rows.push(
    ['answers/s', short(m.answersPerSecond)],
    ['announces, scrapes, connects', `${m.counts.announces}, ${m.counts.scrapes}, ${m.counts.connects}`],
    ['first joins/s', short(m.joinsPerSecond)],
    ['peers per announce', fixed(m.peersPerAnnounce)],
    ['lost', `${m.counts.lost} of ${m.counts.sent} (${fixed(m.loss * 100, 3)} %)`],
    [
      'latency p50, p99, p99.9, longest',
      `${[m.p50Ms, m.p99Ms, m.p999Ms, m.longestMs].map((v) => fixed(v, 3)).join(', ')} ms`,
    ],
  )
  if (report.work.rate > 0) rows.push(['held back (window full)', String(m.counts.heldBack)])
  if (m.cpuUs > 0) {
    rows.push(['server CPU', `${fixed(m.cpuUs)} us an answer, ${fixed(m.serverCores)} cores`])
    rows.push([
      'by thread, us an answer',
      Object.entries(m.threads)
        .map(([name, us]) => `${name} ${fixed(us)}`)
        .join(', '),
    ])
    rows.push(['server memory', `${short(m.residentBytes)} bytes resident`])
  }
  if (report.bytesPerPeer !== undefined) rows.push(['bytes per peer', fixed(report.bytesPerPeer, 1)])
  rows.push([
    'generator',
    `${fixed(m.generatorCores)} cores${m.generatorCores > 0.9 ? ' (it spins: look at the server to see who limits)' : ''}`,
  ])
  for (const kind of FAULTS) if (m.tally[kind] > 0) rows.push([`FAULT ${kind}`, String(m.tally[kind])])
  for (const kind of REMARKS) if (m.tally[kind] > 0) rows.push([`remark ${kind}`, String(m.tally[kind])])
  for (const [text, count] of Object.entries(report.errorTexts)) rows.push([`error "${text}"`, String(count)])
  rows.push([
    'verdict',
    m.faults === 0 ? (report.work.verify ? 'every answer verified' : 'not verified') : `${m.faults} faults`,
  ])
  return table(['', ''], rows, ['left', 'left'])
}
