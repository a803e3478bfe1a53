// The rows of the benchmark: which work is measured how. Every row starts its servers anew and ends them.
// Refuses: to judge; goals are in goals.ts.

import { mkdirSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import type { Work } from '../udp/asks.ts'
import type { Shape } from '../udp/model.ts'
import { type Contender, OURS } from './contenders.ts'
import { type SyncedWrites, syncedWrites } from './disk.ts'
import { type Measured, measure } from './measure.ts'
import { baseWork, type Field, openField, playRounds, type Standing } from './rounds.ts'
import { median } from './table.ts'

export type BenchSettings = {
  readonly folder: string
  readonly rounds: number
  /** Measured window of one visit. */
  readonly windowMs: number
  readonly cores: string | undefined
  readonly seed: number
  readonly say: (line: string) => void
}

export type ShapeRow = {
  readonly name: string
  readonly shape: Shape
  readonly numwant: number
  readonly standings: Standing[]
}
export type RateRow = { readonly name: string; readonly rate: number; readonly standings: Standing[] }
export type LatencyRow = {
  readonly name: string
  readonly rate: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  readonly serverCores: number
}
export type JoinRow = {
  readonly name: string
  readonly rate: number
  readonly joinsPerSecond: number
  readonly cpuUs: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly loss: number
  readonly faults: number
  readonly threads: Record<string, number>
}
export type MemoryRow = { readonly name: string; readonly peers: number; readonly bytesPerPeer: number }
export type ScalingRow = {
  readonly workers: number
  readonly answersPerSecond: number
  readonly cpuUs: number
}

const SHAPES = {
  hot: { name: '10k torrents, 100k peers, 30 wanted', torrents: 10_000, peers: 100_000, numwant: 30 },
  cold: { name: '100k torrents, 1M peers, 30 wanted', torrents: 100_000, peers: 1_000_000, numwant: 30 },
  large: { name: '10k torrents, 1M peers, 50 wanted', torrents: 10_000, peers: 1_000_000, numwant: 50 },
} as const

/** With a fixed rate, requests leave in groups: the reference figures were taken so. */
const RATE_BURST = 8
const RATE_WINDOW = 512
const WARM_MS = 100
const LATENCY_MS = 3000

export const shapeOf = (torrents: number, peers: number): Shape => ({
  torrents,
  peers,
  skew: 3,
  seeders: 0.75,
  seed: 1,
})

const start = (
  settings: BenchSettings,
  more: { workers?: number; details?: boolean; memory?: string } = {},
) => ({
  folder: settings.folder,
  cores: settings.cores,
  workers: more.workers ?? 1,
  peerDetails: more.details ?? false,
  memory: more.memory ?? '1GiB',
  say: settings.say,
})

/** Saturated answers of one shape; `also` goes on with the loaded field before it is stopped. */
export async function shapeRow(
  which: keyof typeof SHAPES,
  contenders: readonly Contender[],
  settings: BenchSettings,
  also: (field: Field, row: ShapeRow) => Promise<void> = async () => {},
): Promise<ShapeRow> {
  const { name, torrents, peers, numwant } = SHAPES[which]
  const shape = shapeOf(torrents, peers)
  settings.say(`== ${name}`)
  const field = await openField(contenders, shape, numwant, start(settings))
  try {
    const standings = await playRounds(field, baseWork(numwant), {
      ...settings,
      warmMs: WARM_MS,
      ms: settings.windowMs,
    })
    const row = { name, shape, numwant, standings }
    await also(field, row)
    return row
  } finally {
    await field.stop()
  }
}

/** A fixed number of requests a second, on a field that is already loaded. */
export async function rateRow(field: Field, rate: number, settings: BenchSettings): Promise<RateRow> {
  settings.say(`== fixed ${rate} requests/s`)
  const work: Work = { ...baseWork(30), rate, burst: RATE_BURST, window: RATE_WINDOW }
  const standings = await playRounds(field, work, { ...settings, warmMs: WARM_MS, ms: settings.windowMs })
  return { name: `fixed ${rate}/s offered`, rate, standings }
}

/** Each contender at half of what it can. */
export async function latencyRows(
  field: Field,
  row: ShapeRow,
  settings: BenchSettings,
): Promise<LatencyRow[]> {
  settings.say('== latency at half load')
  const rows: LatencyRow[] = []
  for (const { running, generator, failed } of field.entrants) {
    const best =
      row.standings.find((standing) => standing.name === running.name)?.answersPerSecond ?? Number.NaN
    if (failed !== undefined || !Number.isFinite(best)) continue
    const rate = Math.round(best / 2)
    const work: Work = { ...baseWork(30), rate, window: RATE_WINDOW, verify: running.name === OURS }
    const runs: Measured[] = []
    for (let i = 0; i < 3; i++)
      runs.push(
        await measure(generator, work, { warmMs: 300, ms: LATENCY_MS / 3, pids: [running.server.pid] }),
      )
    rows.push({
      name: running.name,
      rate,
      p50Ms: median(runs.map((m) => m.p50Ms)),
      p99Ms: median(runs.map((m) => m.p99Ms)),
      p999Ms: median(runs.map((m) => m.p999Ms)),
      serverCores: median(runs.map((m) => m.serverCores)),
    })
  }
  return rows
}

/** First joins through Raft of one: saturated, at 30,000/s, at half of saturation; and the disk beside it. */
export async function joinRows(
  ours: Contender,
  settings: BenchSettings,
): Promise<{ rows: JoinRow[]; disk: SyncedWrites }> {
  settings.say('== first joins of new peers')
  const field = await openField([ours], shapeOf(10_000, 20_000), 30, start(settings))
  try {
    const { running, generator, failed } = field.entrants[0]!
    if (failed !== undefined) throw new Error(`${OURS} ${failed}`)
    mkdirSync(join(running.dataDir), { recursive: true })
    const play = async (name: string, work: Work, runs: number): Promise<JoinRow> => {
      const measured: Measured[] = []
      for (let i = 0; i < runs; i++) {
        measured.push(await measure(generator, work, { warmMs: 300, ms: 1000, pids: [running.server.pid] }))
        await generator.drain(work, 1000)
      }
      const of = (pick: (m: Measured) => number): number => median(measured.map(pick))
      const row = {
        name,
        rate: work.rate,
        joinsPerSecond: of((m) => m.joinsPerSecond),
        cpuUs: of((m) => m.cpuUsPerJoin),
        p50Ms: of((m) => m.p50Ms),
        p99Ms: of((m) => m.p99Ms),
        loss: of((m) => m.loss),
        faults: measured.reduce((sum, m) => sum + m.faults, 0),
        threads: measured.at(-1)!.threads,
      }
      settings.say(`${name}: ${row.joinsPerSecond.toFixed(0)} joins/s, ${row.cpuUs.toFixed(2)} us`)
      return row
    }
    const joins: Work = { ...baseWork(30), mix: [1, 0, 0], joinsPermille: 1000, timeoutMs: 5000 }
    const runs = Math.min(settings.rounds, 5)
    const saturated = await play('saturated', { ...joins, window: 128 }, runs)
    const paced = { ...joins, window: RATE_WINDOW, burst: RATE_BURST }
    const fixed = await play('30,000/s offered', { ...paced, rate: 30_000 }, runs)
    const half = Math.round(saturated.joinsPerSecond / 2)
    const halfLoad = await play('half load', { ...paced, rate: Math.max(1000, half) }, runs)
    const disk = syncedWrites(running.dataDir, 16_384, 300)
    return { rows: [saturated, fixed, halfLoad], disk }
  } finally {
    await field.stop()
  }
}

/** Resident bytes the peers added, a peer. */
export async function memoryRow(
  ours: Contender,
  torrents: number,
  peers: number,
  details: boolean,
  settings: BenchSettings,
): Promise<MemoryRow> {
  const name = `${OURS}, ${peers / 1e6}M peers in ${torrents / 1000}k torrents, details ${details ? 'on' : 'off'}`
  settings.say(`== memory: ${name}`)
  const memory = peers > 2_000_000 ? '4GiB' : '1GiB'
  const field = await openField([ours], shapeOf(torrents, peers), 0, start(settings, { details, memory }))
  await field.stop()
  return { name, peers, bytesPerPeer: field.entrants[0]!.bytesPerPeer }
}

/** From one worker up, as cores allow: the generator keeps the last core, the workers get the others. */
export async function scalingRows(ours: Contender, settings: BenchSettings): Promise<ScalingRow[] | string> {
  const cores = cpus().length - 1
  if (cores < 2) return "one core is the generator's: scaling needs three cores or more"
  const rows: ScalingRow[] = []
  for (let workers = 1; workers <= cores; workers++) {
    settings.say(`== scaling: ${workers} workers`)
    const on = { ...settings, cores: workers === 1 ? '0' : `0-${workers - 1}` }
    const field = await openField([ours], shapeOf(10_000, 100_000), 30, start(on, { workers }))
    try {
      const [standing] = await playRounds(
        field,
        { ...baseWork(30), window: 24 * workers },
        {
          ...settings,
          warmMs: WARM_MS,
          ms: settings.windowMs,
        },
      )
      rows.push({ workers, answersPerSecond: standing!.answersPerSecond, cpuUs: standing!.cpuUs })
    } finally {
      await field.stop()
    }
  }
  return rows
}
