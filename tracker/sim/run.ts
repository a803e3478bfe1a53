// One simulated life of a cluster: some time with faults, then everything heals, and it has to serve again
// within a bound, with nothing forgotten. Refuses: to judge; checkers.ts does, and it is asked after every
// event.

import { type Core, loadCore, RaftPanic } from '@skep/raft'
import { Random } from '@skep/testing/random.ts'
import { Cluster } from './cluster.ts'
import { describePlan, drawPlan, type Fault, Faults } from './faults.ts'
import { startMember } from './member.ts'
import type { Canary } from './place.ts'
import type { EventKind } from './trace.ts'

export type RunOptions = {
  readonly seed: number
  readonly members: number
  /** How long things go wrong, in ticks of Raft (100 ms). */
  readonly ticks: number
  readonly canary: Canary | null
  /** Only these go wrong; null: what the seed draws. */
  readonly faults: readonly Fault[] | null
  readonly print: ((line: string) => void) | null
}

export type Outcome = {
  /** Null: nothing was wrong. */
  readonly violation: string | null
  /** What was drawn for this seed, in words. */
  readonly plan: string
  readonly trace: readonly string[]
  readonly hash: number
  readonly events: number
  readonly answers: number
  readonly changes: number
  readonly faults: number
  /** How often what happened. */
  readonly counts: ReadonlyMap<EventKind, number>
  /** Simulated, milliseconds; of it after healing, until all was well. */
  readonly ms: number
  readonly healedMs: number
}

const TICK_MS = 100
/** After healing, everybody must have been answered by then, and all members hold the same, milliseconds. */
export const PROGRESS_MS = 30_000
/** A cluster that nothing disturbs is born by then, milliseconds. */
const BIRTH_MS = 10_000
const QUIET_MS = 500
/** More events than any run has: something turns in circles at one moment. */
const EVENTS_MOST = 2_000_000

let shared: { core: Core; chance: { unit(): number } } | null = null

/** One instance for all runs of a process: groups do not meet, and chance is set anew for each run. */
const coreFor = async (random: Random): Promise<Core> => {
  if (shared === null) {
    const chance = { unit: () => 0.5 }
    let now = 0
    const core = await loadCore({
      random: () => chance.unit(),
      now: () => (now += 0.001),
      reserveBytes: 16 * 1024 * 1024,
    })
    shared = { core, chance }
  }
  shared.chance.unit = () => random.unit()
  return shared.core
}

export const runSeed = async (options: RunOptions): Promise<Outcome> => {
  const random = new Random(options.seed)
  const plan = drawPlan(random, options.faults)
  const expires = random.chance(0.2)
  const jumps = plan.kinds.includes('jump')
  const cluster = new Cluster({
    seed: random.word(),
    members: options.members,
    clients: random.pick([4, 8, 14]),
    swarms: random.between(2, 4),
    pauseMs: random.pick([150, 400, 1000]),
    expires,
    snapshotLogBytes: random.pick([1, 2, 4, 16, 1000]) * 1024,
    preferHighest: random.chance(0.3),
    upgrades: random.chance(0.6),
    maxVoters: options.members + random.pick([0, 0, 2]),
    pace: { syncMs: random.pick([0.2, 1, 8]), syncJitterMs: random.pick([0.1, 4]) },
    // A clock that jumps is wrong enough.
    drift: jumps ? 0 : random.pick([0, 0.005, 0.04]),
    canary: options.canary,
    start: startMember,
    core: await coreFor(random.fork()),
    print: options.print,
  })
  const { checkers, trace, clock } = cluster
  cluster.begin()
  // Most clusters are born in peace; some are not.
  if (random.chance(0.8)) await until(cluster, () => cluster.leader() !== 0 || clock.now() > BIRTH_MS)
  const faults = new Faults(cluster, plan, random.fork())
  const ends = clock.now() + options.ticks * TICK_MS
  await until(cluster, () => clock.next() > ends)
  faults.stop()
  const healedMs = checkers.violation === null ? await heal(cluster) : 0
  cluster.end()
  if (checkers.violation?.includes(RaftPanic.name)) shared = null
  return {
    violation: checkers.violation,
    plan: `${describePlan(plan)}${expires ? '; peers expire' : ''}`,
    trace: trace.last(),
    hash: trace.hash,
    events: trace.events,
    answers: checkers.answers,
    changes: checkers.changes,
    faults: faults.begun,
    counts: trace.counts,
    ms: clock.now(),
    healedMs,
  }
}

/** Lets the world go on until `done`, or something is found. */
const until = async (cluster: Cluster, done: () => boolean): Promise<void> => {
  for (let n = 0; cluster.checkers.violation === null && !done(); n++) {
    if (n === EVENTS_MOST)
      return cluster.checkers.fail(`more than ${EVENTS_MOST} events: it turns in circles`)
    try {
      if (!(await cluster.step())) return
    } catch (error) {
      // Thrown by a front end, a client or the world itself; members tell of their own end.
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
      return cluster.checkers.fail(`the world ended: ${text}`)
    }
  }
}

/** Everything is well again: all clients must be answered, all members must come to hold the same. */
const heal = async (cluster: Cluster): Promise<number> => {
  const { clock, checkers, clients } = cluster
  cluster.heal()
  const from = clock.now()
  const before = clients.map((c) => c.answered)
  const late = (): boolean => clock.next() > from + PROGRESS_MS
  await until(cluster, () => late() || clients.every((c, i) => c.answered > before[i]!))
  clients.forEach((c, i) => {
    if (c.answered === before[i]! && checkers.violation === null)
      checkers.fail(`no progress: client ${c.number} got no answer within ${PROGRESS_MS} ms after healing`)
  })
  for (const client of clients) client.rest()
  // Changes of members are entries, too, and the table forgets who was removed: all must have applied the
  // same of them.
  const level = (): boolean =>
    cluster.leader() !== 0 &&
    cluster.members().every((n) => checkers.appliedBy(n) === checkers.length) &&
    new Set(cluster.members().map((n) => cluster.seat(n).member?.applied)).size === 1 &&
    clients.every((c) => !c.busy)
  // Once, and again after a while: what was on its way meanwhile has arrived.
  for (let round = 0; round < 2; round++) {
    const pause = clock.now() + round * QUIET_MS
    await until(cluster, () => clock.next() > pause)
    await until(cluster, () => late() || level())
    if (level() || checkers.violation !== null) continue
    const applied = cluster.members().map((n) => `m${n} ${checkers.appliedBy(n)}`)
    checkers.fail(
      `no progress: of ${checkers.length} entries ${applied.join(', ')} applied ${PROGRESS_MS} ms after healing`,
    )
  }
  for (const { number, copied, lost } of cluster.seats)
    if (copied && !lost) checkers.fail(`m${number} came back with an older copy of its disk and was let in`)
  if (checkers.violation === null) checkers.final(cluster.members())
  cluster.trace.note(0, 'calm')
  return clock.now() - from
}
