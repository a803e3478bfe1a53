// One measured window of a load: rates, waiting times, faults, and what the server spent on it.
// Refuses: to compare; see rounds.ts.

import type { Work } from '../udp/asks.ts'
import type { Counts, Generator } from '../udp/generator.ts'
import { faultsOf, newTally, type Tally } from '../udp/verify.ts'
import { cpuByThread, cpuMicroseconds, residentBytes } from './process-cost.ts'

export type Window = {
  /** Asked but not counted before. */
  readonly warmMs: number
  readonly ms: number
  /** Processes of the server, to read their CPU time and memory; empty: unknown. */
  readonly pids: readonly number[]
  readonly progress?: (line: Live) => void
}

/** What a progress line shows. */
export type Live = {
  elapsedMs: number
  answersPerSecond: number
  lost: number
  faults: number
  p99Ms: number
}

export type Measured = {
  readonly seconds: number
  readonly answers: number
  readonly answersPerSecond: number
  readonly joinsPerSecond: number
  readonly counts: Counts
  readonly tally: Tally
  readonly faults: number
  /** Lost / sent. */
  readonly loss: number
  readonly peersPerAnnounce: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  readonly longestMs: number
  /** CPU microseconds the server spent on an answer, all its threads; 0 when unknown. */
  readonly cpuUs: number
  /** The same on a join. */
  readonly cpuUsPerJoin: number
  /** Cores the server kept busy; one saturated thread is 1. */
  readonly serverCores: number
  readonly generatorCores: number
  readonly residentBytes: number
  /** CPU microseconds an answer, by name of the server's thread. */
  readonly threads: Record<string, number>
}

export const answersOf = (counts: Counts): number =>
  counts.announces + counts.scrapes + counts.connects + counts.errors

export async function measure(generator: Generator, work: Work, window: Window): Promise<Measured> {
  const { pids } = window
  if (window.warmMs > 0) await generator.run(work, window.warmMs)
  generator.reset()
  Object.assign(generator.verifier.tally, newTally())
  const cpu = cpuMicroseconds(pids)
  const threads = cpuByThread(pids)
  const own = process.cpuUsage()
  let last = { at: 0, answers: 0 }
  const elapsed = await generator.run(work, window.ms, (at) => {
    if (window.progress === undefined || at - last.at < 500) return
    const answers = answersOf(generator.counts)
    window.progress({
      elapsedMs: at,
      answersPerSecond: ((answers - last.answers) / (at - last.at)) * 1000,
      lost: generator.counts.lost,
      faults: faultsOf(generator.verifier.tally),
      p99Ms: generator.latency.quantile(0.99),
    })
    last = { at, answers }
  })
  const spent = cpuMicroseconds(pids) - cpu
  const ownSpent = process.cpuUsage(own)
  const { counts, latency } = generator
  const answers = answersOf(counts)
  const seconds = elapsed / 1000
  const each = (microseconds: number, over: number): number => (over > 0 ? microseconds / over : 0)
  const byThread: Record<string, number> = {}
  for (const [name, all] of cpuByThread(pids)) {
    const us = each(all - (threads.get(name) ?? 0), answers)
    if (us >= 0.01) byThread[name] = us
  }
  const tally = { ...generator.verifier.tally }
  return {
    seconds,
    answers,
    answersPerSecond: answers / seconds,
    joinsPerSecond: counts.joins / seconds,
    counts: { ...counts },
    tally,
    faults: faultsOf(tally),
    loss: counts.sent > 0 ? counts.lost / counts.sent : 0,
    peersPerAnnounce: each(counts.peers, counts.announces),
    p50Ms: latency.quantile(0.5),
    p99Ms: latency.quantile(0.99),
    p999Ms: latency.quantile(0.999),
    longestMs: latency.longest,
    cpuUs: each(spent, answers),
    cpuUsPerJoin: each(spent, counts.joins),
    serverCores: spent / 1e6 / seconds,
    generatorCores: (ownSpent.user + ownSpent.system) / 1e6 / seconds,
    residentBytes: residentBytes(pids),
    threads: byThread,
  }
}
