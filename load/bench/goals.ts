// What we want of ourselves, held against what was measured.
// Refuses: to fail anything: a benchmark informs, tests decide.

import { ECHO, OURS } from './contenders.ts'
import type { SyncedWrites } from './disk.ts'
import type { Standing } from './rounds.ts'
import type { JoinRow, LatencyRow, MemoryRow, RateRow, ScalingRow, ShapeRow } from './rows.ts'

export type Results = {
  shapes: Partial<Record<'hot' | 'cold' | 'large', ShapeRow>>
  rates: RateRow[]
  latency: LatencyRow[]
  joins?: { rows: JoinRow[]; disk: SyncedWrites }
  memory: MemoryRow[]
  scaling?: ScalingRow[] | string
}

export type Goal = {
  readonly what: string
  readonly measured: number
  readonly unit: string
  readonly least?: number
  readonly most?: number
  /** undefined: could not be measured in this run. */
  readonly met: boolean | undefined
}

const OVER_ECHO_MOST_US = { hot: 0.6, cold: 0.9 } as const
const SPEED_OF_ECHO_LEAST = { hot: 0.85, cold: 0.8, large: 0.82 } as const
const RIVALS_LEAST = { cold: 1.1, large: 1.15 } as const
const RATE_SPEED_LEAST = 0.8
const RATE_P99_MOST_MS = 1
const BYTES_OFF_MOST = 32
const BYTES_OFF_10M_MOST = 24
const BYTES_ON_MOST = 96
const JOIN_SATURATED_MOST_US = 6.5
const JOIN_30K_MOST_US = 12
const JOIN_P99_WRITES_MOST = 10
const SCALING_LEAST = 0.9

const most = (what: string, measured: number, limit: number, unit: string): Goal => ({
  what,
  measured,
  unit,
  most: limit,
  met: Number.isFinite(measured) ? measured <= limit : undefined,
})
const least = (what: string, measured: number, limit: number, unit: string): Goal => ({
  what,
  measured,
  unit,
  least: limit,
  met: Number.isFinite(measured) ? measured >= limit : undefined,
})

const find = (standings: readonly Standing[] | undefined, name: string): Standing | undefined =>
  standings?.find((standing) => standing.name === name && standing.failed === undefined)

export function goals(results: Results): Goal[] {
  const list: Goal[] = []
  for (const key of ['hot', 'cold', 'large'] as const) {
    const row = results.shapes[key]
    if (row === undefined) continue
    const ours = find(row.standings, OURS)
    if (key !== 'large')
      list.push(
        most(`${row.name}: over the echo`, ours?.overEchoUs ?? Number.NaN, OVER_ECHO_MOST_US[key], 'us'),
      )
    list.push(
      least(`${row.name}: speed of the echo`, ours?.speedOfEcho ?? Number.NaN, SPEED_OF_ECHO_LEAST[key], 'x'),
    )
    if (key !== 'hot')
      for (const rival of row.standings.filter(({ name }) => name !== OURS && name !== ECHO))
        list.push(
          least(
            `${row.name}: times ${rival.name}`,
            rival.failed === undefined && ours !== undefined ? rival.timesOurs : Number.NaN,
            RIVALS_LEAST[key],
            'x',
          ),
        )
  }
  for (const row of results.rates) {
    const ours = find(row.standings, OURS)
    list.push(least(`${row.name}: speed of the echo`, ours?.speedOfEcho ?? Number.NaN, RATE_SPEED_LEAST, 'x'))
    const busy =
      ours === undefined ? Number.NaN : ours.rounds.map((m) => m.serverCores).sort((a, b) => a - b)[0]!
    if (busy <= 0.5) list.push(most(`${row.name}: p99`, ours!.p99Ms, RATE_P99_MOST_MS, 'ms'))
  }
  for (const row of results.memory) {
    if (!row.name.startsWith(OURS)) continue
    const off = row.peers >= 5_000_000 ? BYTES_OFF_10M_MOST : BYTES_OFF_MOST
    list.push(
      most(
        `${row.name}: memory`,
        row.bytesPerPeer,
        row.name.endsWith('on') ? BYTES_ON_MOST : off,
        'bytes a peer',
      ),
    )
  }
  if (results.joins !== undefined) list.push(...joinGoals(results.joins))
  if (Array.isArray(results.scaling)) {
    const [one] = results.scaling
    for (const row of results.scaling.slice(1))
      list.push(
        least(
          `${row.workers} workers: speed a core`,
          row.answersPerSecond / row.workers / one!.answersPerSecond,
          SCALING_LEAST,
          'x',
        ),
      )
  }
  return list
}

function joinGoals({ rows, disk }: NonNullable<Results['joins']>): Goal[] {
  const [saturated, fixed, half] = rows
  return [
    most('first joins, saturated: CPU', saturated?.cpuUs ?? Number.NaN, JOIN_SATURATED_MOST_US, 'us'),
    most('first joins at 30,000/s: CPU', fixed?.cpuUs ?? Number.NaN, JOIN_30K_MOST_US, 'us'),
    most(
      'first joins at half load: p99 / median synced write',
      (half?.p99Ms ?? Number.NaN) / disk.medianMs,
      JOIN_P99_WRITES_MOST,
      'x',
    ),
  ]
}
