// Loads on several replicas at once from one thread, and what that costs them: joins and mixes, in windows.
// Refuses: to spin. Generator and replicas share the cores, so a generator that finds nothing to do sleeps a
// moment.

import { answersOf } from '../bench/measure.ts'
import { cpuByThread, cpuMicroseconds } from '../bench/process-cost.ts'
import type { Work } from '../udp/asks.ts'
import { Generator } from '../udp/generator.ts'
import { Latency } from '../udp/latency.ts'
import { buildModel, type Shape } from '../udp/model.ts'
import { defaultSources, openSources } from '../udp/target.ts'
import { faultsOf, newTally } from '../udp/verify.ts'
import type { Cluster, Member } from './field.ts'
import { pidsOf } from './field.ts'

const SOURCES = 8
const ANSWER_BYTES = 2048
const CONNECT_MS = 20_000
const PRELOAD_MS = 180_000
/** Between looks at what got lost. */
const SLICE_MS = 20
const NAP_MS = 0.2

const nap = (() => {
  const cell = new Int32Array(new SharedArrayBuffer(4))
  return (milliseconds: number): void => void Atomics.wait(cell, 0, 0, milliseconds)
})()
const turn = (): Promise<void> => new Promise((done) => setImmediate(done))

export const clusterWork = (joinsPermille: number, more: Partial<Work> = {}): Work => ({
  mix: [1, 0, 0],
  joinsPermille,
  numwant: 30,
  window: 256,
  rate: 0,
  burst: 1,
  timeoutMs: 5000,
  verify: false,
  ...more,
})

/**
 * A generator a member, each with torrents of its own (`seed` + i), so that all peers are different; loaded.
 */
export async function openLoads(
  members: readonly Member[],
  shape: Omit<Shape, 'seed'>,
  seed: number,
): Promise<Generator[]> {
  const loads: Generator[] = []
  for (const [i, member] of members.entries()) {
    const target = { address: '127.0.0.1', port: member.udp, family: 4 as const }
    const sources = await defaultSources(target, SOURCES)
    const model = buildModel({ ...shape, seed: seed + i })
    const { io, homes, raw } = await openSources(target, sources, {
      engine: 'auto',
      answerBytes: ANSWER_BYTES,
    })
    const load = new Generator(io, model, { homes, family: 4, raw, loaded: false, seed: seed + i })
    loads.push(load)
    const missing = await load.connect(CONNECT_MS)
    if (missing > 0) throw new Error(`${member.name} did not answer connects`)
    const left = await load.preload(clusterWork(0, { window: 64, verify: true }), () => {}, PRELOAD_MS)
    if (left > 0) throw new Error(`${member.name}: ${left} peers were never acknowledged`)
  }
  return loads
}

export const closeLoads = (loads: readonly Generator[]): void => {
  for (const load of loads) load.close()
}

/** Asks on all loads for so long. A rate is that of all loads together. */
export async function play(loads: readonly Generator[], work: Work, milliseconds: number): Promise<number> {
  const each = { ...work, rate: work.rate / loads.length }
  const begin = performance.now()
  const end = begin + milliseconds
  let now = begin
  for (const load of loads) load.begin(each, now)
  while (now < end) {
    const sliceEnd = Math.min(end, now + SLICE_MS)
    while (now < sliceEnd) {
      let before = 0
      let after = 0
      for (const load of loads) {
        before += answersOf(load.counts)
        load.round(each, now)
        after += answersOf(load.counts)
        now = performance.now()
      }
      if (after === before) {
        nap(NAP_MS)
        now = performance.now()
      }
    }
    for (const load of loads) load.sweep(each.timeoutMs)
    await turn()
  }
  return performance.now() - begin
}

export type ClusterWindow = {
  readonly answersPerSecond: number
  readonly joinsPerSecond: number
  /** CPU microseconds of all replicas, an answer and a join. */
  readonly cpuUs: number
  readonly cpuUsPerJoin: number
  readonly clusterCores: number
  readonly generatorCores: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly loss: number
  readonly heldBack: number
  readonly faults: number
  readonly threads: Record<string, number>
}

export async function measureCluster(
  cluster: Cluster,
  loads: readonly Generator[],
  work: Work,
  window: { warmMs: number; ms: number },
): Promise<ClusterWindow> {
  const pids = pidsOf(cluster)
  if (window.warmMs > 0) await play(loads, work, window.warmMs)
  for (const load of loads) {
    load.reset()
    Object.assign(load.verifier.tally, newTally())
  }
  const cpu = cpuMicroseconds(pids)
  const byThread = cpuByThread(pids)
  const own = process.cpuUsage()
  const seconds = (await play(loads, work, window.ms)) / 1000
  const spent = cpuMicroseconds(pids) - cpu
  const ownSpent = process.cpuUsage(own)
  const sum = (pick: (load: Generator) => number): number => loads.reduce((all, load) => all + pick(load), 0)
  const answers = sum((load) => answersOf(load.counts))
  const joins = sum((load) => load.counts.joins)
  const latency = new Latency()
  for (const load of loads) latency.merge(load.latency)
  const threads: Record<string, number> = {}
  for (const [name, us] of cpuByThread(pids)) {
    const each = (us - (byThread.get(name) ?? 0)) / Math.max(1, answers)
    if (each >= 0.05) threads[name] = each
  }
  return {
    answersPerSecond: answers / seconds,
    joinsPerSecond: joins / seconds,
    cpuUs: spent / Math.max(1, answers),
    cpuUsPerJoin: spent / Math.max(1, joins),
    clusterCores: spent / 1e6 / seconds,
    generatorCores: (ownSpent.user + ownSpent.system) / 1e6 / seconds,
    p50Ms: latency.quantile(0.5),
    p99Ms: latency.quantile(0.99),
    loss:
      sum((load) => load.counts.lost) /
      Math.max(
        1,
        sum((load) => load.counts.sent),
      ),
    heldBack: sum((load) => load.counts.heldBack),
    faults: sum((load) => faultsOf(load.verifier.tally)),
    threads,
  }
}

/** Takes what still comes, so that the next window does not meet it. */
export async function drain(loads: readonly Generator[], work: Work, milliseconds: number): Promise<void> {
  await Promise.all(loads.map((load) => load.drain(work, milliseconds)))
}
