// What goes wrong in a simulated world, when and for how long: drawn from the seed, every run with a mixture
// of its own, so that rare combinations come up, too. Refuses: more than the promise is about: a lost disk
// never leaves less than a majority.

import type { Random } from '@skep/testing/random.ts'
import type { Cluster } from './cluster.ts'
import { Copies } from './copies.ts'

/** What can go wrong; the weight says how often beside the others. */
const FAULTS = {
  kill: 3,
  restart: 3,
  powerCut: 3,
  killLeader: 3,
  powerCutAll: 1,
  standStill: 2,
  isolate: 2,
  isolateLeader: 5,
  partition: 2,
  oneWay: 3,
  clog: 2,
  storm: 2,
  slowDisk: 2,
  fullDisk: 1,
  failingDisk: 1,
  landingDisk: 1,
  jump: 1,
  loseDisk: 2,
  members: 2,
  transfer: 2,
  ambush: 2,
  interrupt: 3,
  midChange: 3,
  twice: 2,
  rollBack: 2,
  double: 2,
} as const
export type Fault = keyof typeof FAULTS
export const FAULT_KINDS = Object.keys(FAULTS) as Fault[]

export type Plan = {
  readonly kinds: readonly Fault[]
  /** Between the beginnings of two faults, on average, milliseconds. */
  readonly gapMs: number
  /** How long one lasts on average: one of these, milliseconds. */
  readonly lastsMs: readonly number[]
  /** At once. */
  readonly most: number
  readonly weather: { loss: number; repeat: number; reorder: number; jitterMs: number }
}

/** Forwards, less than a tick: more, and a member votes before others' leases have ended. */
const JUMP_MS = 90

/** Between two looks for the right moment, milliseconds, and how many there are. */
const LOOK_MS = 0.2
const LOOKS = 5000

/** A lost member may not be missed for so long, by anybody's clock. */
const UNNOTICED_MS = 4000
/** More than an election timeout. */
const USURPED_MS = 2400
/** Two elections, and the silence of the voters that started anew between them. */
const TWICE_MS = 6500

/** Between half an election timeout and a whole one. */
const AMBUSH_MS = 1000

/**
 * Each run has some kinds of faults and not others: a mixture of all hides what only a few show. `only`:
 * these, then.
 */
export const drawPlan = (random: Random, only: readonly Fault[] | null): Plan => {
  const drawn = FAULT_KINDS.filter(() => random.chance(0.4))
  return {
    kinds: only ?? (drawn.length === 0 ? [random.pick(FAULT_KINDS)] : drawn),
    gapMs: random.pick([500, 1000, 2500]),
    lastsMs: random.pick([[300], [1500], [4000], [300, 4000]]),
    most: random.pick([1, 2, 2, 3]),
    weather: {
      loss: random.pick([0, 0, 0.01, 0.05, 0.2]),
      repeat: random.pick([0, 0.02, 0.2]),
      reorder: random.pick([0, 0.1, 1]),
      jitterMs: random.pick([0.3, 0.3, 3, 30]),
    },
  }
}

export const describePlan = (plan: Plan): string =>
  `faults: ${plan.kinds.join(' ')}; one every ${plan.gapMs} ms for ${plan.lastsMs.join(' or ')} ms, ${plan.most} at once`

/** Begins faults and ends them, until `stop`. */
export class Faults {
  private readonly cluster: Cluster
  private readonly plan: Plan
  private readonly random: Random
  private readonly weights: readonly Fault[]
  private active = 0
  private stopped = false
  private readonly copies: Copies | null
  /** Nothing else may begin. */
  private alone = false
  /** When the last disk was lost. */
  private lostMs = Number.NEGATIVE_INFINITY
  /** How many there were. */
  begun = 0

  constructor(cluster: Cluster, plan: Plan, random: Random) {
    this.cluster = cluster
    this.plan = plan
    this.random = random
    this.weights = plan.kinds.flatMap((kind) => new Array<Fault>(FAULTS[kind]).fill(kind))
    this.copies = plan.kinds.some((k) => k === 'rollBack' || k === 'double')
      ? new Copies({
          ...{ cluster, random },
          calm: () => this.active === 0,
          stopped: () => this.stopped,
          spares: (number) => this.spares(number),
        })
      : null
    this.setWeather(plan.weather)
    this.next()
  }

  /** Whoever heals the world sees to what is still wrong. */
  stop(): void {
    this.stopped = true
  }

  private next(): void {
    this.cluster.clock.after(this.random.exponential(this.plan.gapMs), () => {
      if (this.stopped) return
      if (this.active < this.plan.most && !this.alone) this.begin(this.random.pick(this.weights))
      this.next()
    })
  }

  private begin(kind: Fault): void {
    const end = kind === 'rollBack' || kind === 'double' ? this.copy(kind) : this.cause(kind)
    this.begun++
    if (end === null) return
    this.active++
    // Long enough for another to be elected, while the old one still takes itself for the leader.
    const usurped = kind === 'isolateLeader' && this.random.chance(0.5)
    const lasts = usurped ? USURPED_MS + this.random.below(USURPED_MS) : this.lasts()
    // Its second half is mended, too.
    const ms = kind === 'twice' ? TWICE_MS : kind === 'ambush' ? 2 * AMBUSH_MS + lasts : lasts
    this.cluster.clock.after(ms, () => {
      this.active--
      if (!this.stopped) end()
    })
  }

  private lasts(): number {
    return this.random.exponential(this.random.pick(this.plan.lastsMs))
  }

  /** Returns what ends it; null: it has no end, or there was nothing to break. */
  private cause(kind: Exclude<Fault, 'rollBack' | 'double'>): (() => void) | null {
    const { cluster, random } = this
    const living = cluster.living()
    const one = random.pick(living)
    const leader = cluster.leader() === 0 ? one : cluster.leader()
    switch (kind) {
      case 'kill':
        return this.crash([one], 'process')
      case 'restart':
        cluster.finish(random.chance(0.5) ? leader : one)
        return null
      case 'powerCut':
        return this.crash([one], 'power')
      case 'killLeader':
        return this.crash([leader], random.pick(['process', 'power']))
      case 'powerCutAll':
        return this.crash(living, 'power')
      case 'standStill':
        cluster.stand(one)
        return () => cluster.goOn(one)
      case 'isolate':
        return this.separate([one])
      case 'isolateLeader':
        return this.separate([leader])
      case 'partition':
        return this.separate(random.shuffle([...living]).slice(0, 1 + random.below(living.length - 1)))
      case 'oneWay':
        return this.oneWay(random.chance(0.5) ? leader : one)
      case 'clog':
        return this.clog(one)
      case 'storm':
        return this.storm()
      case 'slowDisk':
        cluster.setPace(one, random.pick([10, 50, 200]))
        return () => cluster.setPace(one, 1)
      case 'fullDisk':
        return this.breakDisk(one, 'full')
      case 'failingDisk':
        return this.breakDisk(one, 'fails')
      case 'landingDisk':
        return this.breakDisk(one, 'fails-but-lands')
      case 'jump':
        cluster.jump(one, random.below(JUMP_MS))
        return null
      case 'loseDisk':
        return this.loseDisk(one)
      case 'transfer':
        cluster.change({ kind: 'transfer', to: '' })
        return null
      case 'members':
        this.changeMembers()
        return null
      case 'ambush':
        return this.ambush(leader)
      case 'twice':
        return this.twice(leader)
      case 'interrupt':
        return this.when(
          () => cluster.parked() > 0,
          () => this.unseat(),
        )
      case 'midChange':
        this.changeMembers()
        return this.when(
          () => cluster.leader() !== 0 && cluster.seat(cluster.leader()).member!.joint,
          () => (random.chance(0.3) ? this.crash(cluster.living(), 'power') : this.unseat()),
        )
    }
  }

  private copy(kind: 'rollBack' | 'double'): null {
    const { cluster, copies, random } = this
    const leader = cluster.leader()
    const one = leader !== 0 && random.chance(0.3) ? leader : random.pick(cluster.living())
    const { name } = cluster.seat(one)
    this.alone = true
    cluster.quiet = true
    const over = (): void => {
      this.alone = false
      cluster.quiet = false
    }
    if (kind === 'double') copies!.double(one, over)
    else
      copies!.rollBack(one, () => {
        over()
        if (!cluster.seat(one).lost) return
        this.lostMs = cluster.clock.now()
        if (random.chance(0.8)) this.replace(name)
      })
    return null
  }

  /** Somebody starts a new replica in a lost one's place, soon. */
  private replace(name: string): void {
    const { cluster, random } = this
    cluster.clock.after(500 + random.below(4000), () => {
      if (!this.stopped) cluster.join(name)
    })
  }

  /**
   * The leader is cut off; so is the next one, as soon as it is elected, by voters that start anew and meet
   * the first.
   */
  private twice(leader: number): () => void {
    const { cluster } = this
    const mend = this.separate([leader])
    let mended = false
    const end = this.when(
      () => cluster.seats.some((s) => s.number !== leader && s.member?.elected === true),
      () => {
        const next = cluster.seats.find((s) => s.number !== leader && s.member?.elected === true)!.number
        const mendNext = this.separate([next])
        mend()
        mended = true
        for (const number of cluster.living().filter((n) => n !== leader && n !== next)) {
          cluster.crash(number, 'process')
          cluster.start(number)
        }
        cluster.cut(leader, next)
        cluster.cut(next, leader)
        return mendNext
      },
      10 * LOOKS,
    )
    return () => {
      if (!mended) mend()
      end()
    }
  }

  /** Somebody else is to lead: asked for, or because the leader is gone, for the others or altogether. */
  private unseat(): () => void {
    const { cluster, random } = this
    const leader = cluster.leader()
    if (leader === 0) return () => {}
    switch (random.below(4)) {
      case 0:
        cluster.change({ kind: 'transfer', to: '' })
        return () => {}
      case 1:
        return this.separate([leader])
      default:
        return this.crash([leader], random.pick(['process', 'power']))
    }
  }

  /** Looks for a moment until it is the right one. Returns what ends whatever `act` began. */
  private when(right: () => boolean, act: () => () => void, looks = LOOKS): () => void {
    let end = (): void => {}
    let over = false
    const look = (left: number): void => {
      if (this.stopped || over) return
      if (right()) end = act()
      else if (left > 0) this.cluster.clock.after(LOOK_MS, () => look(left - 1))
    }
    look(looks)
    return () => {
      over = true
      end()
    }
  }

  private crash(members: readonly number[], how: 'process' | 'power'): () => void {
    for (const number of members) this.cluster.crash(number, how)
    return () => {
      for (const number of members) this.cluster.start(number)
    }
  }

  /** Some from the rest, both ways. */
  private separate(some: readonly number[]): () => void {
    const { cluster } = this
    const rest = cluster.seats.map((s) => s.number).filter((n) => !some.includes(n))
    const links = some.flatMap((a) =>
      rest.flatMap((b) => [
        [a, b],
        [b, a],
      ]),
    ) as [number, number][]
    for (const [a, b] of links) cluster.cut(a, b)
    return () => {
      for (const [a, b] of links) cluster.mend(a, b)
    }
  }

  /** One is heard and does not hear, or hears and is not heard: by all, or by one. */
  private oneWay(one: number): () => void {
    const { cluster, random } = this
    const others = cluster.seats.map((s) => s.number).filter((n) => n !== one)
    const whom = random.chance(0.5) ? others : [random.pick(others)]
    const links = (random.chance(0.5) ? whom.map((n) => [one, n]) : whom.map((n) => [n, one])) as [
      number,
      number,
    ][]
    for (const [a, b] of links) cluster.cut(a, b)
    return () => {
      for (const [a, b] of links) cluster.mend(a, b)
    }
  }

  /**
   * A candidate that has not heard the leader for long, and voters that have just forgotten, in a restart,
   * that they did: the leader still has its lease.
   */
  private ambush(leader: number): () => void {
    const { cluster, random } = this
    const others = random.shuffle(cluster.living().filter((n) => n !== leader))
    const voters = others.slice(0, Math.floor(cluster.seats.length / 2))
    const candidates = others.slice(voters.length)
    const ends = [this.separateFrom(leader, candidates)]
    cluster.clock.after(AMBUSH_MS + random.below(AMBUSH_MS), () => {
      if (this.stopped) return
      ends.push(this.separateFrom(leader, voters))
      for (const number of voters) {
        cluster.crash(number, 'process')
        cluster.start(number)
      }
    })
    return () => {
      for (const end of ends) end()
    }
  }

  private separateFrom(one: number, others: readonly number[]): () => void {
    const { cluster } = this
    for (const n of others) {
      cluster.cut(one, n)
      cluster.cut(n, one)
    }
    return () => {
      for (const n of others) {
        cluster.mend(one, n)
        cluster.mend(n, one)
      }
    }
  }

  private clog(one: number): null {
    const { cluster, random } = this
    for (const { number } of cluster.seats)
      if (number !== one && random.chance(0.7)) {
        const ms = Math.ceil(this.lasts())
        if (random.chance(0.5)) cluster.clog(one, number, ms)
        else cluster.clog(number, one, ms)
        // It ends by itself.
        this.active++
        cluster.clock.after(ms, () => this.active--)
      }
    return null
  }

  private storm(): () => void {
    const { random } = this
    this.setWeather({
      loss: random.pick([0.1, 0.3, 0.6]),
      repeat: random.pick([0, 0.3]),
      reorder: random.pick([0, 0.5]),
      jitterMs: random.pick([1, 20, 200]),
    })
    return () => this.setWeather(this.plan.weather)
  }

  private setWeather({ loss, repeat, reorder, jitterMs }: Plan['weather']): void {
    const { cluster } = this
    cluster.connections.network.weather = { delayMs: 0.2, jitterMs, loss, repeat, reorder }
    cluster.trace.note(0, 'weather', 100 * loss, 100 * repeat, 100 * reorder, jitterMs)
  }

  private breakDisk(one: number, fault: 'full' | 'fails' | 'fails-but-lands'): (() => void) | null {
    if (this.cluster.leader() === 0) return null
    this.cluster.setDiskFault(one, fault)
    return () => this.cluster.setDiskFault(one, 'none')
  }

  /**
   * Never of more voters than the rest can do without, in either half of a joint configuration, nor of more
   * members: until its silence is noticed, a learner may be made a voter. Somebody may start a new replica in
   * its place.
   */
  private loseDisk(one: number): null {
    const { cluster, random } = this
    if (!this.spares(one)) return null
    cluster.loseDisk(one)
    this.lostMs = cluster.clock.now()
    if (random.chance(0.8)) this.replace(cluster.seat(one).name)
    return null
  }

  /** Can the rest do without it? */
  private spares(one: number): boolean {
    const { cluster } = this
    const leader = cluster.leader()
    if (leader === 0) return false
    const { sets, others, level } = cluster.seat(leader).member!
    // Somebody may be on the way out: who is left would be fewer.
    if (!level) return false
    const isLeft = (n: number): boolean => n !== one && !cluster.seat(n).lost
    return ![...sets, others].some((all) => 2 * all.filter(isLeft).length <= all.length)
  }

  /**
   * While a loss may not have been noticed nobody is asked to take votes away: the rest could be one too few.
   */
  private changeMembers(): void {
    const { cluster, random } = this
    const names = random.shuffle(cluster.members().map((n) => cluster.seat(n).name))
    const what = random.below(4)
    if ((what === 0 || what === 2) && cluster.clock.now() < this.lostMs + UNNOTICED_MS) return
    switch (what) {
      case 0:
        cluster.change({ kind: 'demote', who: names.slice(0, 2) })
        break
      case 1:
        cluster.change({ kind: 'promote', who: names.slice(0, 2) })
        break
      case 2:
        cluster.change({ kind: 'remove', who: names[0]! })
        break
      default:
        cluster.join(`x${cluster.seats.length}`)
    }
  }
}
