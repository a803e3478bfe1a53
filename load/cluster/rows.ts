// What replicated changes and refreshes cost: joins through the whole path, a mix beside a single replica,
// bytes in the log and on the links. Refuses: to judge; bench-cluster.ts knows the goals.

import { median } from '../bench/table.ts'
import type { Work } from '../udp/asks.ts'
import type { Generator } from '../udp/generator.ts'
import {
  type Cluster,
  leaderOf,
  type Member,
  metricOf,
  openCluster,
  statsOf,
  stopCluster,
  untilLeader,
} from './field.ts'
import { type ClusterWindow, closeLoads, clusterWork, drain, measureCluster, openLoads } from './load.ts'

export type ClusterSettings = {
  readonly folder: string
  readonly replicas: number
  readonly rounds: number
  readonly windowMs: number
  readonly seed: number
  readonly kills: number
  readonly moves: number
  readonly full: boolean
  readonly say: (line: string) => void
}

export type LoadRow = Omit<ClusterWindow, 'threads'> & {
  readonly name: string
  readonly rounds: readonly ClusterWindow[]
  readonly threads: Record<string, number>
}

const SMALL = { torrents: 10_000, peers: 6_000, skew: 3, seeders: 0.75 }
const LARGE = { torrents: 10_000, peers: 60_000, skew: 3, seeders: 0.75 }
const WARM_MS = 500
const SATURATED_WINDOW = 256
const HALF_RATE = 36_000
const RATE_WINDOW = 512
/** Requests that leave together at a fixed rate, as the other rates of the benchmarks. */
const RATE_BURST = 8
const MIX_RATE = 60_000
const MIX_WINDOW = 64
/** Of 100 requests 95 refresh, 4 join, 1 scrapes. */
const MIX: Partial<Work> = { mix: [99, 1, 0], joinsPermille: 40 }
const BYTES_RATE = 20_000
/** No snapshot cuts the log while its bytes are counted. */
const LONG_LOG = ['--snapshot-log-size', '8GiB']
const SETTLE_MS = 1500

const middle = (name: string, rounds: readonly ClusterWindow[]): LoadRow => {
  const of = (pick: (window: ClusterWindow) => number): number => median(rounds.map(pick))
  return {
    name,
    rounds,
    answersPerSecond: of((w) => w.answersPerSecond),
    joinsPerSecond: of((w) => w.joinsPerSecond),
    cpuUs: of((w) => w.cpuUs),
    cpuUsPerJoin: of((w) => w.cpuUsPerJoin),
    clusterCores: of((w) => w.clusterCores),
    generatorCores: of((w) => w.generatorCores),
    p50Ms: of((w) => w.p50Ms),
    p99Ms: of((w) => w.p99Ms),
    loss: of((w) => w.loss),
    heldBack: rounds.reduce((sum, w) => sum + w.heldBack, 0),
    faults: rounds.reduce((sum, w) => sum + w.faults, 0),
    threads: rounds.at(-1)?.threads ?? {},
  }
}

/** Every answer is verified in a window of its own before anything counts. */
async function verified(cluster: Cluster, loads: readonly Generator[], work: Work): Promise<void> {
  const window = await measureCluster(cluster, loads, { ...work, verify: true }, { warmMs: 0, ms: 1000 })
  await drain(loads, work, 2000)
  if (window.faults === 0) return
  const kinds = loads.flatMap((load) => Object.entries(load.verifier.tally).filter(([, count]) => count > 0))
  const texts = loads.flatMap((load) => [...load.errorTexts.keys()])
  throw new Error(`wrong answers: ${kinds.map(([kind, n]) => `${kind} ${n}`).join(', ')} ${texts.join('; ')}`)
}

async function windows(
  name: string,
  cluster: Cluster,
  loads: readonly Generator[],
  work: Work,
  settings: ClusterSettings,
): Promise<LoadRow> {
  const rounds: ClusterWindow[] = []
  for (let i = 0; i < settings.rounds; i++) {
    rounds.push(await measureCluster(cluster, loads, work, { warmMs: WARM_MS, ms: settings.windowMs }))
    await drain(loads, work, 2000)
  }
  const row = middle(name, rounds)
  settings.say(
    `${name}: ${row.joinsPerSecond.toFixed(0)} joins/s, ${row.cpuUsPerJoin.toFixed(1)} us a join, p99 ${row.p99Ms.toFixed(1)} ms`,
  )
  return row
}

/**
 * First joins of new peers: as many as go through, and at a fixed rate; asked of the leader alone, and of
 * all.
 */
export async function joinRows(settings: ClusterSettings): Promise<LoadRow[]> {
  settings.say('== first joins, every one committed')
  const cluster = await openCluster(settings.folder, settings.replicas)
  const loads: Generator[] = []
  try {
    loads.push(...(await openLoads(cluster.members, SMALL, settings.seed)))
    const leader = cluster.members.indexOf(await untilLeader(cluster))
    const rows: LoadRow[] = []
    const saturated = clusterWork(1000, { window: SATURATED_WINDOW })
    const fixed = { ...saturated, window: RATE_WINDOW, burst: RATE_BURST, rate: HALF_RATE }
    await verified(cluster, loads, saturated)
    for (const [who, some] of [
      ['each', loads],
      ['the leader', [loads[leader]!]],
    ] as const) {
      rows.push(await windows(`saturated, asked of ${who}`, cluster, some, saturated, settings))
      rows.push(await windows(`${HALF_RATE}/s offered to ${who}`, cluster, some, fixed, settings))
    }
    return rows
  } finally {
    closeLoads(loads)
    await stopCluster(cluster)
  }
}

export type MixRow = {
  readonly name: string
  readonly cluster: LoadRow
  readonly single: LoadRow
  /** Answers a CPU second of the cluster / of the single replica, within a round. */
  readonly ratio: number
}

/** 95 refreshes, 4 joins, 1 scrape: the cluster and a replica alone, in turns. */
export async function mixRows(settings: ClusterSettings): Promise<MixRow[]> {
  settings.say('== mix of refreshes, joins and scrapes, beside a single replica')
  const cluster = await openCluster(settings.folder, settings.replicas)
  const single = await openCluster(settings.folder, 1)
  const [many, one]: [Generator[], Generator[]] = [[], []]
  try {
    many.push(
      ...(await openLoads(
        cluster.members,
        { ...LARGE, peers: LARGE.peers / settings.replicas },
        settings.seed,
      )),
    )
    one.push(...(await openLoads(single.members, LARGE, settings.seed + 100)))
    const closed = clusterWork(0, { ...MIX, window: MIX_WINDOW })
    const fixed = { ...closed, window: RATE_WINDOW, burst: RATE_BURST, rate: MIX_RATE }
    await verified(cluster, many, closed)
    await verified(single, one, closed)
    const rows: MixRow[] = []
    for (const [name, work] of [
      ['saturated', closed],
      [`${MIX_RATE}/s offered`, fixed],
    ] as const) {
      const rounds: [ClusterWindow[], ClusterWindow[]] = [[], []]
      for (let i = 0; i < settings.rounds; i++)
        for (const [side, field, loads] of [
          [0, cluster, many],
          [1, single, one],
        ] as const) {
          rounds[side].push(
            await measureCluster(field, loads, work, { warmMs: WARM_MS, ms: settings.windowMs }),
          )
          await drain(loads, work, 2000)
        }
      const ratio = median(rounds[0].map((w, i) => rounds[1][i]!.cpuUs / w.cpuUs))
      rows.push({ name, cluster: middle(name, rounds[0]), single: middle(name, rounds[1]), ratio })
      settings.say(`${name}: ${(ratio * 100).toFixed(0)} % of a single replica's answers per CPU second`)
    }
    return rows
  } finally {
    closeLoads([...many, ...one])
    await stopCluster(cluster)
    await stopCluster(single)
  }
}

export type BytesRow = {
  readonly name: string
  readonly count: number
  readonly logBytes: number
  /** Both directions of the leader's links, a link. */
  readonly linkBytes: number
}

type Marks = { log: number; link: number; joins: number; touches: number }

async function marks(leader: Member): Promise<Marks> {
  const stats = await statsOf(leader)
  const sent = await metricOf(leader, 'skep_link_bytes_total', 'direction="sent"')
  const received = await metricOf(leader, 'skep_link_bytes_total', 'direction="received"')
  const { joins = 0, touches = 0 } = stats?.events ?? {}
  return { log: stats?.log.bytes ?? Number.NaN, link: sent + received, joins, touches }
}

/** Bytes that a change and a refresh add to the log and to each link of the leader. */
export async function bytesRows(settings: ClusterSettings): Promise<BytesRow[]> {
  settings.say('== bytes in the log and on the links')
  const cluster = await openCluster(settings.folder, settings.replicas, LONG_LOG)
  const loads: Generator[] = []
  try {
    loads.push(...(await openLoads(cluster.members, LARGE, settings.seed)))
    const leader = await untilLeader(cluster)
    const its = [loads[cluster.members.indexOf(leader)]!]
    const paced = (joinsPermille: number): Work =>
      clusterWork(joinsPermille, { rate: BYTES_RATE, window: RATE_WINDOW, burst: RATE_BURST })
    const rows: BytesRow[] = []
    for (const [name, some, work, what] of [
      ['a change, asked of the leader', its, paced(1000), 'joins'],
      ['a change, asked of each', loads, paced(1000), 'joins'],
      ['a refresh, asked of the leader', its, paced(0), 'touches'],
      ['a refresh, asked of each', loads, paced(0), 'touches'],
    ] as const) {
      await measureCluster(cluster, some, work, { warmMs: 0, ms: 1000 })
      await drain(some, work, SETTLE_MS)
      const before = await marks(leader)
      await measureCluster(cluster, some, work, { warmMs: 0, ms: settings.windowMs * 2 })
      await drain(some, work, SETTLE_MS)
      const after = await marks(leader)
      if ((await leaderOf(cluster)) !== leader) throw new Error('the leader changed in between')
      const count = after[what] - before[what]
      const links = settings.replicas - 1
      rows.push({
        ...{ name, count, logBytes: (after.log - before.log) / count },
        linkBytes: (after.link - before.link) / count / links,
      })
      settings.say(
        `${name}: ${rows.at(-1)!.logBytes.toFixed(1)} in the log, ${rows.at(-1)!.linkBytes.toFixed(1)} a link`,
      )
    }
    return rows
  } finally {
    closeLoads(loads)
    await stopCluster(cluster)
  }
}
