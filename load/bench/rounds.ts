// Contenders side by side: all alive at once, the same population in each, checked before they count, then
// visited in short windows in a new random order every round. Ratios are taken within a round, where the
// machine's mood is shared. Refuses: a number to whoever fails the checks.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Work } from '../udp/asks.ts'
import { Generator } from '../udp/generator.ts'
import { buildModel, type Homes, type Model, peersBySocket, type Shape, sizeOf } from '../udp/model.ts'
import { seeded } from '../udp/random.ts'
import { defaultSources, openSources } from '../udp/target.ts'
import { faultsOf } from '../udp/verify.ts'
import { type Contender, ECHO, OURS, type Running, type StartOptions } from './contenders.ts'
import { type Measured, measure } from './measure.ts'
import { cpuMicroseconds, residentBytes } from './process-cost.ts'
import { median, medianInterval, quantile } from './table.ts'

/**
 * Sources of the generator, and requests outstanding on each; more overflow the small receive buffers of
 * some.
 */
const SOURCES = 8
const WINDOW = 24
const PRELOAD_WINDOW = 32
/** At rest: so many looks in a row with at most this share of a core; it is waited for as long as this. */
const REST_LOOK_MS = 500
const REST_LOOKS = 3
const REST_SHARE = 0.05
const REST_MOST_LOOKS = 60
const READY_MS = 30_000
const ANSWER_BYTES = 2048
/** Checks before a contender counts. */
const CHECK_MS = 1000
const PEERS_TOLERANCE = 0.1
const DIVERSITY_LEAST = 0.9
const DIVERSITY_ANSWERS = 400
const LOSS_MOST = 0.01
/** A server that used less of its core was not the bottleneck. */
const SATURATED_CORES = 0.8
const ROUND_LOSS_MOST = 0.001

export type Entrant = {
  readonly running: Running
  readonly generator: Generator
  readonly bytesPerPeer: number
  readonly insertUs: number
  readonly peersPerAnnounce: number
  /** Why it gets no number. */
  readonly failed: string | undefined
}

/** A population loaded into contenders that stay alive until `stop`. */
export type Field = {
  readonly model: Model
  readonly entrants: Entrant[]
  stop(): Promise<void>
}

export const baseWork = (numwant: number): Work => ({
  mix: [1000, 10, 1],
  joinsPermille: 0,
  numwant,
  window: WINDOW,
  rate: 0,
  burst: 1,
  timeoutMs: 1000,
  verify: true,
})

/** Peers an honest tracker returns on average: all others of the swarm, at most `numwant`. */
function expectedPeers(model: Model, numwant: number): number {
  let sum = 0
  for (let t = 0; t < model.shape.torrents; t++) {
    const size = sizeOf(model, t)
    sum += size * Math.min(numwant, Math.max(0, size - 1))
  }
  return sum / model.shape.peers
}

export type FieldOptions = Omit<StartOptions, 'model' | 'echoPeers'> & {
  readonly folder: string
  readonly say: (line: string) => void
}

/** Starts the contenders one after the other, loads and checks each. */
export async function openField(
  contenders: readonly Contender[],
  shape: Shape,
  numwant: number,
  options: FieldOptions,
): Promise<Field> {
  const model = buildModel(shape)
  const homes: Homes = { addresses: SOURCES, sockets: SOURCES }
  const lists = peersBySocket(model, homes)
  const entrants: Entrant[] = []
  const expected = expectedPeers(model, numwant)
  const stop = async (): Promise<void> => {
    for (const { generator, running } of entrants) {
      generator.close()
      await running.server.stop()
    }
  }
  for (const contender of contenders) {
    const running = await contender.start(options.folder, {
      ...options,
      model,
      echoPeers: Math.round(expected),
    })
    const generator = await openGenerator(running.port, model, lists)
    const entrant = await enter(running, generator, expected, numwant, options.say)
    entrants.push(entrant)
    if (entrant.failed !== undefined) await running.server.stop()
    options.say(`${running.name}: ${entrant.failed ?? 'ready'}`)
  }
  return { model, entrants, stop }
}

async function openGenerator(port: number, model: Model, lists?: Uint32Array[]): Promise<Generator> {
  const target = { address: '127.0.0.1', port, family: 4 as const }
  const sources = await defaultSources(target, SOURCES)
  const { io, homes, raw } = await openSources(target, sources, { engine: 'auto', answerBytes: ANSWER_BYTES })
  return new Generator(io, model, { homes, family: 4, raw, loaded: false, seed: 1, ...(lists && { lists }) })
}

async function enter(
  running: Running,
  generator: Generator,
  expected: number,
  numwant: number,
  say: (line: string) => void,
): Promise<Entrant> {
  const { server, name } = running
  const none = { running, generator, bytesPerPeer: Number.NaN, insertUs: Number.NaN, peersPerAnnounce: 0 }
  const gone = server.ended.then((why) => ({ why }))
  const missing = await Promise.race([generator.connect(READY_MS), gone])
  if (typeof missing === 'object') return { ...none, failed: missing.why }
  if (missing > 0) return { ...none, failed: 'did not answer connects' }
  const work = { ...baseWork(numwant), verify: name !== ECHO }
  if (name === ECHO) {
    generator.swarms.assumeLoaded()
    return { ...none, failed: undefined }
  }
  // What it holds before the first peer is not the peers'.
  await atRest(server.pid)
  const peers = generator.model.shape.peers
  const before = residentBytes([server.pid])
  const began = performance.now()
  const cpu = await spent([server.pid], async () => {
    const left = await generator.preload(
      { ...work, window: PRELOAD_WINDOW },
      () => {},
      Math.max(120_000, peers / 20),
    )
    if (left > 0) say(`${name}: ${left} peers were never acknowledged`)
  })
  const complete = generator.swarms.known[generator.model.largest]! > 0
  say(`${name}: loaded ${peers} peers in ${((performance.now() - began) / 1000).toFixed(1)} s`)
  await atRest(server.pid)
  const bytesPerPeer = (residentBytes([server.pid]) - before) / peers
  const loaded = { ...none, bytesPerPeer, insertUs: cpu / peers }
  if (!complete) return { ...loaded, failed: 'did not acknowledge the whole population' }
  const checked = await measure(generator, work, { warmMs: 500, ms: CHECK_MS, pids: [server.pid] })
  const diversity = numwant > 0 ? await generator.diversity(DIVERSITY_ANSWERS, numwant) : 1
  const failed = judge(checked, diversity, expected)
  return { ...loaded, peersPerAnnounce: checked.peersPerAnnounce, failed }
}

/**
 * Until a process has nearly nothing to do any more: compilation, snapshots and their copies are not what it
 * holds.
 */
async function atRest(pid: number): Promise<void> {
  for (let looks = 0, idle = 0; looks < REST_MOST_LOOKS && idle < REST_LOOKS; looks++) {
    const before = cpuMicroseconds([pid])
    await sleep(REST_LOOK_MS)
    idle = cpuMicroseconds([pid]) - before < REST_LOOK_MS * 1000 * REST_SHARE ? idle + 1 : 0
  }
}

async function spent(pids: readonly number[], what: () => Promise<void>): Promise<number> {
  const before = cpuMicroseconds(pids)
  await what()
  return cpuMicroseconds(pids) - before
}

/** Answers without peers are fast, and so are wrong ones: neither gets a number. */
function judge(checked: Measured, diversity: number, expected: number): string | undefined {
  const kinds = Object.entries(checked.tally).filter(([, count]) => count > 0)
  if (faultsOf(checked.tally) > 0)
    return `wrong answers: ${kinds.map(([kind, count]) => `${kind} ${count}`).join(', ')}`
  if (checked.answers === 0) return 'did not answer'
  if (checked.loss > LOSS_MOST) return `lost ${(checked.loss * 100).toFixed(2)} % of the answers`
  if (expected > 0 && Math.abs(checked.peersPerAnnounce / expected - 1) > PEERS_TOLERANCE)
    return `${checked.peersPerAnnounce.toFixed(1)} peers an announce where ${expected.toFixed(1)} are expected`
  if (diversity < DIVERSITY_LEAST)
    return `gives the same peers again and again (diversity ${diversity.toFixed(2)})`
  return undefined
}

export type Standing = {
  readonly name: string
  readonly failed: string | undefined
  readonly rounds: Measured[]
  readonly answersPerSecond: number
  readonly cpuUs: number
  /** Paired with the echo of the same round: CPU above it, and echo's CPU / this one's. */
  readonly overEchoUs: number
  readonly overEchoQuartiles: readonly [number, number]
  readonly speedOfEcho: number
  /** This one's CPU / ours, paired: above 1 we are cheaper. */
  readonly timesOurs: number
  /** 95 % interval of that median. */
  readonly timesOursInterval: readonly [number, number]
  readonly peersPerAnnounce: number
  readonly bytesPerPeer: number
  readonly insertUs: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Doubts about the measurement itself. */
  readonly doubt: string | undefined
}

/** Visits everyone who passed, `rounds` times. */
export async function playRounds(
  field: Field,
  work: Work,
  options: { rounds: number; warmMs: number; ms: number; seed: number; say: (line: string) => void },
): Promise<Standing[]> {
  const able = field.entrants.filter((entrant) => entrant.failed === undefined)
  const results = new Map<string, Measured[]>(able.map(({ running }) => [running.name, []]))
  const random = seeded(options.seed)
  for (let round = 0; round < options.rounds; round++) {
    const order = [...able]
    for (let i = order.length - 1; i > 0; i--) {
      const j = random.below(i + 1)
      ;[order[i], order[j]] = [order[j]!, order[i]!]
    }
    for (const { running, generator } of order) {
      if (!running.server.alive()) continue
      const its = { ...work, verify: work.verify && running.name !== ECHO }
      const measured = await measure(generator, its, {
        warmMs: options.warmMs,
        ms: options.ms,
        pids: [running.server.pid],
      })
      await generator.drain(its, 200)
      results.get(running.name)!.push(measured)
    }
    options.say(`round ${round + 1} of ${options.rounds}`)
  }
  return field.entrants.map((entrant) => stand(entrant, results, options.rounds, work))
}

function stand(
  entrant: Entrant,
  results: ReadonlyMap<string, Measured[]>,
  wanted: number,
  work: Work,
): Standing {
  const { name } = entrant.running
  const rounds = results.get(name) ?? []
  const echo = results.get(ECHO) ?? []
  const ours = results.get(OURS) ?? []
  const of = (pick: (measured: Measured) => number): number => median(rounds.map(pick))
  const paired = (other: readonly Measured[], ratio: (a: Measured, b: Measured) => number): number[] =>
    rounds.flatMap((measured, i) => (other[i] === undefined ? [] : [ratio(measured, other[i])]))
  const ofOurs = paired(ours, (a, b) => a.cpuUs / b.cpuUs)
  const over = paired(echo, (a, b) => a.cpuUs - b.cpuUs)
  const faults = rounds.reduce((sum, measured) => sum + measured.faults, 0)
  let failed = entrant.failed
  if (failed === undefined && rounds.length < wanted) failed = 'ended in the middle'
  if (failed === undefined && faults > 0 && name !== ECHO) failed = `${faults} wrong answers while measured`
  return {
    name,
    failed,
    rounds,
    answersPerSecond: of((m) => m.answersPerSecond),
    cpuUs: of((m) => m.cpuUs),
    overEchoUs: median(over),
    overEchoQuartiles: [quantile(over, 0.25), quantile(over, 0.75)],
    speedOfEcho: median(paired(echo, (a, b) => b.cpuUs / a.cpuUs)),
    timesOurs: median(ofOurs),
    timesOursInterval: medianInterval(ofOurs),
    peersPerAnnounce: of((m) => m.peersPerAnnounce),
    bytesPerPeer: entrant.bytesPerPeer,
    insertUs: entrant.insertUs,
    p50Ms: of((m) => m.p50Ms),
    p99Ms: of((m) => m.p99Ms),
    doubt: doubtOf(rounds, work),
  }
}

function doubtOf(rounds: readonly Measured[], work: Work): string | undefined {
  const most = (test: (measured: Measured) => boolean): boolean =>
    rounds.filter(test).length > rounds.length / 2
  if (work.rate === 0 && most((m) => m.serverCores < SATURATED_CORES))
    return `the server had only ${(median(rounds.map((m) => m.serverCores)) * 100).toFixed(0)} % of its core`
  if (most((m) => m.loss > ROUND_LOSS_MOST)) return 'more than 0.1 % of the answers lost in most rounds'
  return undefined
}
