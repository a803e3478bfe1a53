// The simulator's command: runs seeds, says how many passed, and of the first failures what happened and how to see it
// again. Refuses: to guess a seed that was not asked for twice: without --seed they start at 1, with --hours at the time.

import { parseArgs } from 'node:util'
import { CANARIES, type Canary } from './place.ts'
import { type Outcome, type RunOptions, runSeed } from './run.ts'
import type { EventKind } from './trace.ts'

const USAGE = `npm run sim -- [options]: whole clusters of the real code, in one thread, over a world that obeys a seed

  --seed N       the first seed (1)
  --seeds N      how many (1 with --seed, else 200)
  --members N    3 or 5 (3)
  --ticks N      how long things go wrong, in tenths of a second (100)
  --hours H      until then, from a seed that nobody has had; --seeds does not count
  --canary NAME  with a known bug, which must be found: ${Object.keys(CANARIES).join(', ')}
  --trace        print every event
`

/** Failures shown whole; of more only the seed and the sentence. */
const SHOWN = 3
/** Lines of the trace shown of a failure. */
const TRACE_LINES = 120
/** What a summary says happened: a simulation in which some of it never does is not worth much. */
const COUNTED: readonly (readonly [EventKind, string])[] = [
  ['leads', 'reigns'],
  ['restored', 'starts'],
  ['crash', 'crashes'],
  ['lostDisk', 'lost disks'],
  ['exit', 'ends by itself'],
  ['snapshot', 'snapshots'],
  ['installed', 'installed'],
  ['broken', 'broken connections'],
  ['lost', 'lost messages'],
]
const PROGRESS_EVERY_MS = 60_000

type Options = Omit<RunOptions, 'seed' | 'print'> & {
  seed: number
  seeds: number
  hours: number
  trace: boolean
}

const read = (): Options => {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' },
      seeds: { type: 'string' },
      members: { type: 'string', default: '3' },
      ticks: { type: 'string', default: '100' },
      hours: { type: 'string', default: '0' },
      canary: { type: 'string' },
      trace: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(USAGE)
    process.exit(0)
  }
  const hours = Number(values.hours)
  const first = hours > 0 ? Math.floor(Date.now() / 1000) * 1000 : 1
  const canary = (values.canary ?? null) as Canary | null
  if (canary !== null && !(canary in CANARIES)) throw new RangeError(`no canary is called ${canary}`)
  const options = {
    seed: Number(values.seed ?? first),
    seeds: Number(values.seeds ?? (values.seed === undefined ? 200 : 1)),
    members: Number(values.members),
    ticks: Number(values.ticks),
    hours,
    canary,
    trace: values.trace,
  }
  for (const [name, value] of Object.entries(options))
    if (typeof value === 'number' && !(value >= 0)) throw new RangeError(`--${name} wants a number`)
  return options
}

/** What to type to see a failure again. */
export const replay = (o: Omit<RunOptions, 'print'>): string =>
  `npm run sim -- --seed ${o.seed} --members ${o.members} --ticks ${o.ticks}` +
  `${o.canary === null ? '' : ` --canary ${o.canary}`} --trace`

export const describeFailure = (o: Omit<RunOptions, 'print'>, outcome: Outcome): string =>
  [
    '',
    `FAILED  seed ${o.seed}: ${outcome.violation}`,
    `  ${outcome.plan}`,
    `  after ${(outcome.ms / 1000).toFixed(3)} s: ${outcome.faults} faults, ${outcome.answers} answers`,
    '  the last events of each member:',
    ...outcome.trace.slice(-TRACE_LINES).map((line) => `  ${line}`),
    `  see it again: ${replay(o)}`,
    '',
  ].join('\n')

const main = async (): Promise<number> => {
  const o = read()
  const say = (text: string): void => void process.stdout.write(`${text}\n`)
  const began = performance.now()
  const seconds = (): number => (performance.now() - began) / 1000
  const sums = { passed: 0, failed: 0, answers: 0, changes: 0, faults: 0, simulatedMs: 0 }
  const counts = new Map<EventKind, number>()
  let slowest = { healedMs: 0, seed: 0 }
  let toldMs = began
  const { members, ticks, canary } = o
  const more = (n: number): boolean => (o.hours > 0 ? seconds() < o.hours * 3600 : n < o.seeds)
  for (let n = 0; more(n); n++) {
    const seed = o.seed + n
    const outcome = await runSeed({ seed, members, ticks, canary, print: o.trace ? say : null })
    sums.answers += outcome.answers
    sums.changes += outcome.changes
    sums.faults += outcome.faults
    sums.simulatedMs += outcome.ms
    for (const [kind, n] of outcome.counts) counts.set(kind, (counts.get(kind) ?? 0) + n)
    if (outcome.healedMs > slowest.healedMs) slowest = { healedMs: outcome.healedMs, seed }
    if (outcome.violation === null) sums.passed++
    else {
      sums.failed++
      if (sums.failed <= SHOWN) say(describeFailure({ seed, members, ticks, canary }, outcome))
      else say(`FAILED  seed ${seed}: ${outcome.violation.split('\n')[0]}`)
    }
    if (performance.now() > toldMs + PROGRESS_EVERY_MS) {
      toldMs = performance.now()
      say(`${n + 1} seeds, ${sums.failed} failed, ${((n + 1) / seconds()).toFixed(1)} a second`)
    }
  }
  const runs = sums.passed + sums.failed
  say(
    `${runs} schedules of ${members} members in ${seconds().toFixed(1)} s: ${(runs / seconds()).toFixed(1)} a second; ` +
      `${(sums.simulatedMs / 3_600_000).toFixed(2)} hours simulated, ${sums.faults} faults, ${sums.changes} changes, ` +
      `${sums.answers} answers; slowest to be well again: ${(slowest.healedMs / 1000).toFixed(1)} s (seed ${slowest.seed})`,
  )
  say(COUNTED.map(([kind, name]) => `${counts.get(kind) ?? 0} ${name}`).join(', '))
  say(`sim: ${sums.passed} passed, ${sums.failed} failed`)
  return sums.failed === 0 ? 0 : 1
}

if (import.meta.main) process.exitCode = await main()
