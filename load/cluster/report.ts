// The tables of the cluster's benchmark, and our goals for it. Refuses: to leave out what could not be
// measured.

import type { Goal } from '../bench/goals.ts'
import { fixed, median, short, table } from '../bench/table.ts'
import type { EtcdRow } from './etcd.ts'
import type { MoveRow, OutageRow } from './outage.ts'
import type { BytesRow, LoadRow, MixRow } from './rows.ts'
import type { TransferRow } from './transfer.ts'

export type ClusterResults = {
  joins?: LoadRow[]
  etcd?: EtcdRow
  mix?: MixRow[]
  bytes?: BytesRow[]
  outages: OutageRow[]
  moves?: MoveRow
  transfer?: TransferRow
  /** What is not there, and why. */
  missing: string[]
}

const JOINS_LEAST = 100_000
const JOIN_MOST_US = 11
const JOIN_36K_MOST_US = 18
const JOIN_36K_P99_MOST_MS = 10
const ETCD_TIMES_LEAST = 10
const MIX_LEAST = 0.9
const CHANGE_BYTES_MOST = 40
const REFRESH_BYTES_MOST = 4
const MISSED = 2
const OUTAGE_BEYOND_MS = 500
const MOVE_MOST_MS = 50
const TRANSFER_LEAST = 0.5
const PAUSE_MOST_MS = 50

const met = (measured: number, ok: boolean): boolean | undefined =>
  Number.isFinite(measured) ? ok : undefined
const most = (what: string, measured: number, limit: number, unit: string): Goal => ({
  ...{ what, measured, unit, most: limit, met: met(measured, measured <= limit) },
})
const least = (what: string, measured: number, limit: number, unit: string): Goal => ({
  ...{ what, measured, unit, least: limit, met: met(measured, measured >= limit) },
})

export function clusterGoals(results: ClusterResults): Goal[] {
  const { joins = [], etcd, mix = [], bytes = [], outages, moves, transfer } = results
  const goals: Goal[] = []
  // Of the two ways of asking the better one: where clients go is theirs to choose.
  const saturated = joins.filter(({ name }) => name.startsWith('saturated'))
  const paced = joins.filter(({ name }) => !name.startsWith('saturated'))
  const best = Math.max(...saturated.map((row) => row.joinsPerSecond))
  if (saturated.length > 0) {
    goals.push(least('first joins', best, JOINS_LEAST, 'a second'))
    goals.push(
      most(
        'first joins: CPU, three processes',
        Math.min(...saturated.map((r) => r.cpuUsPerJoin)),
        JOIN_MOST_US,
        'us',
      ),
    )
  }
  for (const row of paced) {
    goals.push(most(`${row.name}: CPU`, row.cpuUsPerJoin, JOIN_36K_MOST_US, 'us'))
    goals.push(most(`${row.name}: p99`, row.p99Ms, JOIN_36K_P99_MOST_MS, 'ms'))
  }
  if (saturated.length > 0 && etcd !== undefined)
    goals.push(least("first joins / etcd's puts", best / etcd.putsPerSecond, ETCD_TIMES_LEAST, 'x'))
  for (const { name, ratio } of mix)
    goals.push(least(`mix, ${name}: answers a CPU second / a single replica's`, ratio, MIX_LEAST, 'x'))
  // Asked of the leader: what others are asked is also said once more, on the way to it.
  for (const { name, logBytes, linkBytes } of bytes.filter((row) => row.name.endsWith('the leader'))) {
    const limit = name.startsWith('a change') ? CHANGE_BYTES_MOST : REFRESH_BYTES_MOST
    goals.push(most(`${name}: in the log`, logBytes, limit, 'bytes'))
    goals.push(most(`${name}: on a link`, linkBytes, limit, 'bytes'))
  }
  for (const { keepaliveMs, joinsSilentMs } of outages)
    goals.push(
      most(
        `leader killed, keepalive ${keepaliveMs} ms: worst silence`,
        Math.max(...joinsSilentMs),
        MISSED * keepaliveMs + OUTAGE_BEYOND_MS,
        'ms',
      ),
    )
  if (moves !== undefined) {
    goals.push(most('planned moves: unanswered', moves.unanswered, 0, 'requests'))
    goals.push(most('planned moves: worst added wait', Math.max(...moves.addedMs), MOVE_MOST_MS, 'ms'))
  }
  if (transfer !== undefined) {
    const { millions, sentMBs, plainMBs, sendingPauseMs, takingPauseMs } = transfer
    goals.push(
      least(`transfer of ${millions}M peers / a plain TCP copy`, sentMBs / plainMBs, TRANSFER_LEAST, 'x'),
    )
    goals.push(most('transfer: longest pause while sending', sendingPauseMs, PAUSE_MOST_MS, 'ms'))
    goals.push(most('transfer: longest pause while taking the snapshot', takingPauseMs, PAUSE_MOST_MS, 'ms'))
  }
  return goals
}

const loadCells = (row: LoadRow, name = row.name): string[] => [
  ...[
    name,
    short(row.answersPerSecond),
    short(row.joinsPerSecond),
    fixed(row.cpuUs),
    fixed(row.cpuUsPerJoin),
  ],
  ...[fixed(row.clusterCores), fixed(row.generatorCores), fixed(row.p50Ms, 1), fixed(row.p99Ms, 1)],
  ...[`${fixed(row.loss * 100, 2)} %`, short(row.heldBack)],
]
const LOAD_HEAD = [
  ...['answers/s', 'joins/s', 'CPU us', 'CPU us/join', 'cores', 'generator', 'p50 ms', 'p99 ms', 'lost'],
  'held back',
]
const ms = (values: readonly number[]): string[] => [fixed(median(values), 0), fixed(Math.max(...values), 0)]

export function printCluster(results: ClusterResults): string {
  const { joins, etcd, mix, bytes, outages, moves, transfer } = results
  const parts: string[] = []
  if (joins !== undefined) {
    parts.push(
      table(
        ['first joins, three replicas', ...LOAD_HEAD],
        joins.map((row) => loadCells(row)),
      ),
    )
    for (const row of joins)
      parts.push(
        `  ${row.name}, us an answer by thread: ${Object.entries(row.threads)
          .map(([name, us]) => `${name} ${fixed(us)}`)
          .join(', ')}`,
      )
  }
  if (etcd !== undefined)
    parts.push(
      table(
        [
          'etcd, three members, 64-byte puts',
          'puts/s',
          'CPU us',
          'cores',
          'generator',
          'p50 ms',
          'p99 ms',
          'failed',
        ],
        [
          [
            ...[
              'gRPC, 512 at once',
              short(etcd.putsPerSecond),
              fixed(etcd.cpuUs, 0),
              fixed(etcd.clusterCores),
            ],
            ...[fixed(etcd.generatorCores), fixed(etcd.p50Ms, 1), fixed(etcd.p99Ms, 1), String(etcd.failed)],
          ],
        ],
      ),
    )
  if (mix !== undefined)
    parts.push(
      table(
        ['95 refreshes, 4 joins, 1 scrape', ...LOAD_HEAD, 'ratio'],
        mix.flatMap(({ name, cluster, single, ratio }) => [
          [...loadCells(cluster, `${name}, three`), fixed(ratio)],
          [...loadCells(single, `${name}, one`), ''],
        ]),
      ),
    )
  if (bytes !== undefined)
    parts.push(
      table(
        ['bytes', 'in the log', 'on a link', 'counted'],
        bytes.map(({ name, logBytes, linkBytes, count }) => [
          name,
          fixed(logBytes),
          fixed(linkBytes),
          short(count),
        ]),
      ),
    )
  if (outages.length > 0)
    parts.push(
      table(
        [
          'leader killed, ms at the others',
          'kills',
          'joins: median',
          'worst',
          'any answer: median',
          'worst',
          'unanswered',
        ],
        outages.map((row) => [
          ...[
            `keepalive ${row.keepaliveMs} ms`,
            String(row.kills),
            ...ms(row.joinsSilentMs),
            ...ms(row.silentMs),
          ],
          `${row.unanswered} of ${row.asked}`,
        ]),
      ),
    )
  if (moves !== undefined)
    parts.push(
      table(
        [
          'leadership moved, ms',
          'moves',
          'longest wait: median',
          'worst',
          'before: median',
          'worst',
          'unanswered',
        ],
        [
          [
            ...['planned', String(moves.moves), ...ms(moves.longestMs), ...ms(moves.quietMs)],
            `${moves.unanswered} of ${moves.asked}`,
          ],
        ],
      ),
    )
  if (transfer !== undefined) parts.push(transferTable(transfer))
  return parts.map((part) => `\n${part}\n`).join('')
}

const transferTable = (row: TransferRow): string =>
  table(
    [
      'full transfer',
      'MB',
      'MB/s',
      'plain copy',
      'share',
      'pause: sending',
      'taking',
      'without',
      'restored s',
    ],
    [
      [
        ...[`${row.millions}M peers`, fixed(row.megabytes, 0), fixed(row.sentMBs, 0), fixed(row.plainMBs, 0)],
        ...[fixed(row.sentMBs / row.plainMBs), fixed(row.sendingPauseMs, 1), fixed(row.takingPauseMs, 1)],
        ...[fixed(row.alonePauseMs, 1), fixed(row.restoredSeconds, 1)],
      ],
    ],
  )
