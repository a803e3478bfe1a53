// The benchmark's tables. Refuses: to leave out what failed; a contender without a number is listed with its
// reason.

import { ECHO, OURS } from './contenders.ts'
import type { Goal, Results } from './goals.ts'
import type { Standing } from './rounds.ts'
import type { ShapeRow } from './rows.ts'
import { fixed, short, table } from './table.ts'

const HEAD = [
  'contender',
  'answers/s',
  'CPU us',
  'over echo us',
  '[quartiles]',
  'speed/echo',
  'CPU/ours',
  'peers',
  'p99 ms',
  'insert us',
  'bytes/peer',
]

function standingCells(standing: Standing): string[] {
  const { name } = standing
  if (standing.failed !== undefined) return [name, 'none:', standing.failed]
  const [low, high] = standing.overEchoQuartiles
  return [
    name,
    short(standing.answersPerSecond),
    fixed(standing.cpuUs),
    name === ECHO ? '-' : fixed(standing.overEchoUs),
    name === ECHO ? '-' : `${fixed(low)}..${fixed(high)}`,
    fixed(standing.speedOfEcho),
    name === OURS ? '-' : fixed(standing.timesOurs),
    fixed(standing.peersPerAnnounce, 1),
    fixed(standing.p99Ms, 2),
    fixed(standing.insertUs, 2),
    fixed(standing.bytesPerPeer, 0),
  ]
}

function shapeTable(title: string, standings: readonly Standing[]): string {
  const lines = [`\n${title}`, table(HEAD, standings.map(standingCells))]
  for (const { name, failed, rounds, timesOurs, timesOursInterval } of standings)
    if (failed === undefined && name.startsWith(`${OURS}-`)) {
      const [low, high] = timesOursInterval.map((ratio) => fixed(ratio, 3))
      const of = `${rounds.length} paired rounds, 95 % interval of the median ${low}..${high}`
      lines.push(`  CPU/ours of ${name}: ${fixed(timesOurs, 3)} (${of})`)
    }
  for (const { name, doubt } of standings)
    if (doubt !== undefined) lines.push(`  doubt about ${name}: ${doubt}`)
  return `${lines.join('\n')}\n`
}

export function printResults(results: Results): string {
  let text = ''
  for (const row of Object.values(results.shapes) as ShapeRow[]) text += shapeTable(row.name, row.standings)
  for (const row of results.rates) text += shapeTable(row.name, row.standings)
  if (results.latency.length > 0)
    text += `\nlatency at half of its own load, one request at a time\n${table(
      ['contender', 'requests/s', 'p50 ms', 'p99 ms', 'p99.9 ms', 'cores busy'],
      results.latency.map((row) => [
        row.name,
        short(row.rate),
        fixed(row.p50Ms, 3),
        fixed(row.p99Ms, 3),
        fixed(row.p999Ms, 3),
        fixed(row.serverCores),
      ]),
    )}\n`
  if (results.joins !== undefined) text += joinTable(results.joins)
  if (results.memory.length > 0)
    text += `\nmemory: resident bytes over the empty server, a peer\n${table(
      ['', 'bytes/peer'],
      results.memory.map((row) => [row.name, fixed(row.bytesPerPeer, 1)]),
    )}\n`
  if (typeof results.scaling === 'string') text += `\nscaling: ${results.scaling}\n`
  else if (results.scaling !== undefined)
    text += `\nscaling\n${table(
      ['workers', 'answers/s', 'CPU us'],
      results.scaling.map((row) => [String(row.workers), short(row.answersPerSecond), fixed(row.cpuUs)]),
    )}\n`
  return text
}

function joinTable({ rows, disk }: NonNullable<Results['joins']>): string {
  const cells = rows.map((row) => [
    row.name,
    short(row.joinsPerSecond),
    fixed(row.cpuUs),
    fixed(row.p50Ms),
    fixed(row.p99Ms),
    fixed(row.p99Ms / disk.medianMs, 1),
    `${fixed(row.loss * 100, 2)} %`,
    String(row.faults),
  ])
  const head = [
    'first joins, Raft of one',
    'joins/s',
    'CPU us/join',
    'p50 ms',
    'p99 ms',
    'p99/write',
    'lost',
    'faults',
  ]
  const threads = rows.map(
    (row) =>
      `  ${row.name}, us an answer by thread: ${Object.entries(row.threads)
        .map(([name, us]) => `${name} ${fixed(us)}`)
        .join(', ')}`,
  )
  const write = `  a synced write of 16 KiB on this disk: median ${fixed(disk.medianMs)} ms, p99 ${fixed(disk.p99Ms)} ms`
  return `\n${table(head, cells)}\n${threads.join('\n')}\n${write}\n`
}

export function printGoals(list: readonly Goal[]): string {
  const rows = list.map((goal) => [
    goal.what,
    `${fixed(goal.measured)} ${goal.unit}`,
    goal.most === undefined ? `at least ${goal.least}` : `at most ${goal.most}`,
    goal.met === undefined ? 'not measured' : goal.met ? 'met' : 'MISSED',
  ])
  return `\n${table(['goal', 'measured', 'wanted', ''], rows, ['left', 'right', 'left', 'left'])}\n`
}
