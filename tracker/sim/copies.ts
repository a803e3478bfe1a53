// Faults of copied disks: a member is killed and comes back with an older copy of its disk, or a copy of its
// disk is started beside it. Either must be turned away for good, and nobody else may notice. Refuses: to do
// so while anything else is wrong. Who was acknowledged something and cannot be asked cannot contradict a
// copy, so the promise holds for copies that meet those who remember.

import type { VirtualDisk } from '@skep/testing/disk.ts'
import type { Random } from '@skep/testing/random.ts'
import type { Cluster } from './cluster.ts'
import type { Seat } from './seat.ts'

/** Between two copies of each disk, milliseconds, and how many are kept. */
const COPY_MS = 1500
const COPIES_KEPT = 3
/** What a copy may hold beyond what was synced, batches. */
const UNSYNCED_MOST = 8
/** Between two looks, milliseconds. */
const LOOK_MS = 20
/** So long calm is waited for; so long a copy may take to be turned away. Milliseconds. */
const CALM_MOST_MS = 8000
const REFUSED_MOST_MS = 8000
const LET_IN_MOST_MS = 15_000
/** So long a copy and a follower see only each other: until both have forgotten the leader, and more. */
const ASIDE_MOST_MS = 4000
/** Less than this many voters: two of them, one a copy, could be a majority. */
const VOTERS_LEAST = 4
/** Calm for so long: who was cut off has been heard again, and is no longer taken for gone. Milliseconds. */
const HEARD_MS = 600
/** As long as an election takes, and more. */
const DOWN_MOST_MS = 3000

type Copy = { readonly disk: VirtualDisk; readonly batch: number; readonly nonce: string }

export type CopiesOptions = {
  readonly cluster: Cluster
  readonly random: Random
  /** Nothing else is wrong. */
  readonly calm: () => boolean
  readonly stopped: () => boolean
  /** A member is about to be lost: false when the rest could not do without it. */
  readonly spares: (number: number) => boolean
}

export class Copies {
  private readonly o: CopiesOptions
  /** By number; oldest first. */
  private readonly kept = new Map<number, Copy[]>()

  constructor(options: CopiesOptions) {
    this.o = options
    this.collect()
  }

  private collect(): void {
    const { cluster, random, stopped } = this.o
    cluster.clock.after(random.exponential(COPY_MS), () => {
      if (stopped()) return
      for (const number of cluster.living()) this.keep(number)
      this.collect()
    })
  }

  private keep(number: number): void {
    const { disk, member } = this.o.cluster.seat(number)
    // Who was let in and has nothing yet knows nobody, and nobody hears of its copy.
    // One from when it voted alone asks nobody.
    if (member?.serving !== true || member.others.length === 0) return
    if (member.sets.some((voters) => voters.length === 1)) return
    const copies = this.kept.get(number) ?? []
    copies.push({ disk: disk.copy(), batch: member.synced, nonce: member.nonce })
    if (copies.length > COPIES_KEPT) copies.shift()
    this.kept.set(number, copies)
  }

  /** `done` follows, whatever comes of it. */
  rollBack(number: number, done: () => void): void {
    const { cluster, random, stopped, spares } = this.o
    this.when(
      () => this.settled(number) && this.oldest(number) !== null && spares(number),
      CALM_MOST_MS,
      (found) => {
        const copy = this.oldest(number)
        if (!found || copy === null) return done()
        const own = this.setBack(number, copy)
        const returns = random.chance(0.5)
        const downMs = random.below(DOWN_MOST_MS)
        cluster.clock.after(downMs, () => {
          if (stopped()) return
          this.when(
            () => cluster.leader() !== 0,
            CALM_MOST_MS,
            () => {
              if (stopped()) return
              cluster.start(number)
              const over = (): void => (returns ? this.putBack(number, own, done) : done())
              this.turnedAway(number, 'came back with an older copy of its disk', over)
            },
          )
        })
      },
    )
  }

  double(number: number, done: () => void): void {
    const { cluster, random, spares } = this.o
    this.when(
      () => this.settled(number) && spares(number),
      CALM_MOST_MS,
      (found) => {
        if (!found) return done()
        const older = this.kept.get(number)?.at(0)?.disk
        const disk = older !== undefined && random.chance(0.3) ? older : cluster.seat(number).disk
        const where = random.pick(['elsewhere', 'aside', 'same address'])
        const copy = this.copyBeside(number, disk, where === 'same address')
        if (copy === null) return done()
        if (where === 'aside') this.aside(copy.number, number)
        this.turnedAway(copy.number, `was started from a copy of m${number}'s disk`, done)
      },
      HEARD_MS,
    )
  }

  /** Returns what was on its disk. */
  private setBack(number: number, { disk, batch }: Copy): VirtualDisk {
    const { cluster } = this.o
    const seat = cluster.seat(number)
    cluster.trace.note(number, 'setBack', batch)
    cluster.down(seat, 'process')
    const own = seat.disk
    seat.disk = disk.copy()
    seat.copied = true
    return own
  }

  /** What ran at its address was a copy and has gone: the rightful one goes on. */
  private putBack(number: number, own: VirtualDisk, done: () => void): void {
    const { cluster } = this.o
    const seat = cluster.seat(number)
    if (!seat.lost) {
      done()
      return
    }
    cluster.trace.note(number, 'putBack')
    Object.assign(seat, { disk: own, copied: false, lost: false })
    cluster.start(number)
    this.letIn(number, 'came back after a copy of it', done)
  }

  /** It is a member like any other, for the leader too. */
  private letIn(number: number, what: string, done: () => void): void {
    const { cluster } = this.o
    const isIn = (): boolean => {
      const { member } = cluster.seat(number)
      const leader = cluster.leader()
      if (member === null || leader === 0 || !member.level || member.others.length === 0) return false
      return leader === number || cluster.seat(leader).member!.remembered(member) >= 0
    }
    this.when(isIn, LET_IN_MOST_MS, (is) => {
      if (!is) cluster.checkers.fail(`m${number} ${what} and was not let in`)
      done()
    })
  }

  /**
   * A copy of its disk is started at another address, or instead of it at its own. Null: there is no room.
   */
  private copyBeside(number: number, disk: VirtualDisk, takes: boolean): Seat | null {
    const { cluster } = this.o
    const original = cluster.seat(number)
    const seat = cluster.addSeat(original.name, original.joins, disk)
    if (seat === null) return null
    seat.copied = true
    seat.copyOf = number
    cluster.trace.note(seat.number, 'doubles', number)
    if (takes) {
      cluster.trace.note(seat.number, 'takes', number)
      cluster.connections.take(number, seat.number)
    }
    cluster.start(seat.number)
    return seat
  }

  /**
   * A copy and a follower see each other and nobody else for a while: that one cannot know better, and may
   * let it in. Together they are no majority.
   */
  private aside(copy: number, original: number): void {
    const { cluster, random, stopped } = this.o
    const { sets } = cluster.seat(cluster.leader()).member!
    const others = cluster.members().filter((n) => n !== original && n !== cluster.leader())
    if (others.length === 0 || sets.some((voters) => voters.length < VOTERS_LEAST)) return
    const pair = [copy, random.pick(others)]
    const links = pair.flatMap((one) =>
      cluster.seats.filter((s) => !pair.includes(s.number)).map((s) => [one, s.number] as const),
    )
    for (const [a, b] of links) {
      cluster.cut(a, b)
      cluster.cut(b, a)
    }
    cluster.clock.after(random.below(ASIDE_MOST_MS), () => {
      if (stopped()) return
      for (const [a, b] of links) {
        cluster.mend(a, b)
        cluster.mend(b, a)
      }
    })
  }

  private turnedAway(number: number, what: string, done: () => void): void {
    const { cluster } = this.o
    this.when(
      () => cluster.seat(number).lost,
      REFUSED_MOST_MS,
      (refused) => {
        if (!refused) cluster.checkers.fail(`m${number} ${what} and was not turned away`)
        done()
      },
    )
  }

  /** Everybody is up and counts at the leader, and no change of members is under way. */
  private settled(number: number): boolean {
    const { cluster, calm } = this.o
    const leader = cluster.leader()
    if (!calm() || leader === 0 || !cluster.members().includes(number)) return false
    const up = (n: number): boolean => {
      const { member, clock, ending } = cluster.seat(n)
      return member?.serving === true && !clock.standing && !ending
    }
    // Who has not heard of the end of a joint configuration still needs votes of both halves.
    const level = (n: number): boolean => {
      const { member } = cluster.seat(n)
      return member?.level === true && !member.joint && member.others.length > 0
    }
    // One that is held at the door, since a start of before may still be there, does not count yet.
    const lead = cluster.seat(leader).member!
    const counts = (n: number): boolean => n === leader || lead.remembered(cluster.seat(n).member!) >= 0
    return cluster.living().every(up) && cluster.members().every(level) && cluster.members().every(counts)
  }

  /** The oldest copy that all others can tell from what they remember; null: there is none. */
  private oldest(number: number): Copy | null {
    const { cluster } = this.o
    const { member } = cluster.seat(number)
    if (member === null) return null
    const others = cluster.members().filter((n) => n !== number)
    const least = Math.min(...others.map((n) => cluster.seat(n).member?.remembered(member) ?? -1))
    return this.kept.get(number)?.find((c) => c.batch + UNSYNCED_MOST < least) ?? null
  }

  /** Looks until it has been so for `forMs`, or time is up. */
  private when(right: () => boolean, mostMs: number, then: (right: boolean) => void, forMs = 0): void {
    const { cluster, stopped } = this.o
    const untilMs = cluster.clock.now() + mostMs
    let sinceMs = Number.POSITIVE_INFINITY
    const look = (): void => {
      if (stopped()) return
      sinceMs = right() ? Math.min(sinceMs, cluster.clock.now()) : Number.POSITIVE_INFINITY
      if (cluster.clock.now() - sinceMs >= forMs) then(true)
      else if (cluster.clock.now() >= untilMs) then(false)
      else cluster.clock.after(LOOK_MS, look)
    }
    look()
  }
}
