// What the simulator's command is asked for, and what it says to people: options, help, failures, sums.
// Refuses: to run anything.

import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { FAULT_KINDS, type Fault } from './faults.ts'
import { CANARIES, type Canary } from './place.ts'
import type { Outcome, RunOptions } from './run.ts'
import type { EventKind } from './trace.ts'

const folded = (names: readonly string[]): string =>
  [names.slice(0, 11), names.slice(11)].map((some) => `\n                   ${some.join(' ')}`).join('')

export const USAGE = `npm run sim -- [options]: whole clusters of the real code, each in one thread, over a world that obeys a seed

  --seeds N      how many (200)
  --from N       the first of them (1)
  --seed N       this one alone
  --members M    3, 5 or mixed: every third seed 5, the others 3 (mixed)
  --ticks N      how long things go wrong, in tenths of a second (100)
  --jobs N       processes that run them (as many as there are cores)
  --hours H      until then, from a seed that nobody has had; --seeds does not count
  --canary NAME  with a known bug, which must be found:
${Object.entries(CANARIES)
  .map(([name, what]) => `                   ${name.padEnd(24)} ${what}`)
  .join('\n')}
  --faults A,B   nothing else goes wrong than: ${folded(FAULT_KINDS)}
  --trace        print every event (one job)

Exit code 0: all passed; 1: some failed; 2: it was asked for what it does not know.
`

export type SimOptions = {
  readonly from: number
  readonly seeds: number
  readonly members: 3 | 5 | 'mixed'
  readonly ticks: number
  readonly jobs: number
  readonly hours: number
  readonly canary: Canary | null
  readonly faults: readonly Fault[] | null
  readonly trace: boolean
}

/**
 * `nowSeconds`: of the wall clock, where a soak begins. Throws RangeError or TypeError, with what is wrong.
 * Null: help.
 */
export const readOptions = (args: readonly string[], nowSeconds: number): SimOptions | null => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seed: { type: 'string' },
      seeds: { type: 'string' },
      from: { type: 'string' },
      members: { type: 'string', default: 'mixed' },
      ticks: { type: 'string', default: '100' },
      jobs: { type: 'string' },
      hours: { type: 'string', default: '0' },
      canary: { type: 'string' },
      faults: { type: 'string' },
      trace: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return null
  const hours = number('hours', values.hours)
  const first = hours > 0 ? String(Math.floor(nowSeconds) * 1000) : '1'
  return {
    from: whole('from', values.seed ?? values.from ?? first, 0),
    seeds: values.seed !== undefined ? 1 : whole('seeds', values.seeds ?? '200', 1),
    members: membersOf(values.members),
    ticks: whole('ticks', values.ticks, 1),
    jobs: values.trace || values.seed !== undefined ? 1 : whole('jobs', values.jobs ?? cores(), 1),
    hours,
    canary: canaryOf(values.canary),
    faults: faultsOf(values.faults),
    trace: values.trace,
  }
}

const cores = (): string => String(availableParallelism())

const number = (name: string, text: string): number => {
  const n = Number(text)
  if (text.trim() === '' || !(n >= 0)) throw new RangeError(`--${name} wants a number, not "${text}"`)
  return n
}

const whole = (name: string, text: string, least: number): number => {
  const n = number(name, text)
  if (!Number.isSafeInteger(n) || n < least)
    throw new RangeError(`--${name} wants a whole number from ${least}, not "${text}"`)
  return n
}

const membersOf = (text: string): 3 | 5 | 'mixed' => {
  if (text === '3') return 3
  if (text === '5') return 5
  if (text === 'mixed') return text
  throw new RangeError(`--members wants 3, 5 or mixed, not "${text}"`)
}

const canaryOf = (name: string | undefined): Canary | null => {
  if (name === undefined) return null
  if (!(name in CANARIES)) throw new RangeError(`no canary is called ${name}: see --help`)
  return name as Canary
}

/** Names of faults, with commas between them; undefined: all. Throws RangeError. */
export const faultsOf = (names: string | undefined): readonly Fault[] | null => {
  if (names === undefined) return null
  return names.split(',').map((name) => {
    const fault = FAULT_KINDS.find((f) => f === name.trim())
    if (fault === undefined) throw new RangeError(`no fault is called ${name}: see --help`)
    return fault
  })
}

/** What is run of a seed: with `mixed` every third has five members. */
export const runOf = (
  o: Pick<SimOptions, 'members' | 'ticks' | 'canary' | 'faults'>,
  seed: number,
): RunOptions => ({
  seed,
  members: o.members === 'mixed' ? (seed % 3 === 0 ? 5 : 3) : o.members,
  ticks: o.ticks,
  canary: o.canary,
  faults: o.faults,
  print: null,
})

type Run = Omit<RunOptions, 'print'>

/** What to type to see a failure again. */
export const replay = (run: Run): string =>
  `npm run sim -- --seed ${run.seed} --members ${run.members} --ticks ${run.ticks}` +
  `${run.canary === null ? '' : ` --canary ${run.canary}`}` +
  `${run.faults === null ? '' : ` --faults ${run.faults.join(',')}`} --trace`

/** Lines of the trace shown of a failure. */
const TRACE_LINES = 120

export const describeFailure = (run: Run, outcome: Outcome): string =>
  [
    '',
    `FAILED  seed ${run.seed}: ${outcome.violation}`,
    `  ${outcome.plan}`,
    `  after ${(outcome.ms / 1000).toFixed(3)} s: ${outcome.faults} faults, ${outcome.answers} answers`,
    '  the last events of each member:',
    ...outcome.trace.slice(-TRACE_LINES).map((line) => `  ${line}`),
    `  see it again: ${replay(run)}`,
    '',
  ].join('\n')

/** What a summary says happened: a simulation in which some of it never does is not worth much. */
const COUNTED: readonly (readonly [EventKind, string])[] = [
  ['leads', 'reigns'],
  ['restored', 'starts'],
  ['crash', 'crashes'],
  ['stopped', 'clean stops'],
  ['lostDisk', 'lost disks'],
  ['setBack', 'disks set back'],
  ['doubles', 'members doubled'],
  ['refused', 'copies turned away'],
  ['exit', 'ends by itself'],
  ['snapshot', 'snapshots'],
  ['installed', 'installed'],
  ['members', 'changes of members seen'],
  ['raise', 'levels raised'],
  ['broken', 'broken connections'],
  ['lost', 'lost messages'],
]

/** Sums over many runs. */
export class Sums {
  passed = 0
  readonly failed: { readonly run: Run; readonly sentence: string }[] = []
  private answers = 0
  private changes = 0
  private faults = 0
  private simulatedMs = 0
  private slowest = { healedMs: 0, seed: 0 }
  private readonly counts = new Map<EventKind, number>()

  get runs(): number {
    return this.passed + this.failed.length
  }

  add(run: Run, outcome: Outcome): void {
    this.answers += outcome.answers
    this.changes += outcome.changes
    this.faults += outcome.faults
    this.simulatedMs += outcome.ms
    for (const [kind, n] of outcome.counts) this.counts.set(kind, (this.counts.get(kind) ?? 0) + n)
    if (outcome.healedMs > this.slowest.healedMs)
      this.slowest = { healedMs: outcome.healedMs, seed: run.seed }
    if (outcome.violation === null) this.passed++
    else this.failed.push({ run, sentence: outcome.violation.split('\n')[0]! })
  }

  /** In a line, while it goes on. */
  progress(seconds: number): string {
    return `${this.runs} seeds, ${this.failed.length} failed, ${(this.runs / seconds).toFixed(1)} a second`
  }

  lines(o: SimOptions, seconds: number): string[] {
    const { runs, counts, slowest, failed } = this
    const members = o.members === 'mixed' ? '3 and 5' : o.members
    return [
      ...(failed.length > 0 ? ['failed seeds:'] : []),
      ...failed
        .toSorted((a, b) => a.run.seed - b.run.seed)
        .map(({ run, sentence }) => `  ${run.seed}  ${sentence}\n    ${replay(run)}`),
      `${runs} schedules of ${members} members in ${seconds.toFixed(1)} s, ${o.jobs} at once: ` +
        `${(runs / seconds).toFixed(1)} schedules/s; ${(this.simulatedMs / 3_600_000).toFixed(2)} hours simulated, ` +
        `${this.faults} faults, ${this.changes} changes, ${this.answers} answers; ` +
        `slowest to be well again: ${(slowest.healedMs / 1000).toFixed(1)} s (seed ${slowest.seed})`,
      COUNTED.map(([kind, name]) => `${counts.get(kind) ?? 0} ${name}`).join(', '),
      `sim: ${this.passed} passed, ${failed.length} failed`,
    ]
  }
}
