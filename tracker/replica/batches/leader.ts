// What a leader does with batches: takes each member's next one, joins several in one entry, stamps the
// cluster's time, or refuses, when a majority cannot store. Refuses: to reorder a member's batches, and to
// forget one without a word: what it took is proposed, refused, or, when it leads no more, sent again by its
// member to the next leader.

import { Expected, flowOf, numberOf, wireNumber } from './batches.ts'
import { ClusterClock } from './cluster-clock.ts'
import type { Feed } from './feed.ts'
import type { Forward } from './forward.ts'
import type { Linger } from './linger.ts'
import type { Source } from './source.ts'

/** Sections of one entry, bytes, unless one alone is longer. */
const ENTRY_BYTES = 1024 * 1024
/** Bytes of waiting sections that leave without waiting for company. */
const ENOUGH_BYTES = 16 * 1024
/** An idle leader's empty entry, milliseconds: time passes and peers expire. */
const IDLE_MS = 1000
/** After a proposal that Raft dropped (too much is uncommitted, or leadership moves), milliseconds. */
const DROPPED_MS = 2
/**
 * Bytes of sections that may wait for a proposal; more come again. Each member sends two at most, unless it
 * led before.
 */
const MOST_WAITING_BYTES = 16 * 1024 * 1024

type Section = {
  readonly member: number
  readonly incarnation: number
  readonly number: number
  readonly flow: number
  readonly bytes: Uint8Array
}

export type LeadingOptions<T> = {
  readonly id: number
  readonly incarnation: number
  readonly feed: Feed<T>
  readonly forward: Forward<T>
  readonly linger: Pick<Linger, 'ms'>
  /** Nothing may be proposed just now. */
  readonly held: () => boolean
  readonly notice: (to: number, incarnation: number, wireNumber: number) => void
  readonly onLeading: (leads: boolean, nowMs: number) => void
  readonly term: () => number
}

export class Leading<T> implements Omit<Source, 'configured'> {
  private readonly o: LeadingOptions<T>
  private expected = new Expected(0, () => ({ incarnation: 0, number: 0 }))
  private clock = new ClusterClock(0, 0)
  private waiting: Section[] = []
  private waitingBytes = 0
  private offered: 'first' | number = 0
  private offeredMs = 0
  private firstUnderWay = false
  /** Came before this leader had applied all that was before it. */
  private premature: { term: number; section: Section }[] = []
  private active = false
  private lastMs = Number.NEGATIVE_INFINITY
  private notBeforeMs = Number.NEGATIVE_INFINITY
  /** Nothing new is proposed: leadership is about to move. */
  holding = false
  private refusing = false
  /** Sections of others that were proposed, refused, or came too early to be of use. */
  joined = 0
  refused = 0
  early = 0
  /** Sections that were none. */
  malformed = 0

  constructor(options: LeadingOptions<T>) {
    this.o = options
  }

  leading(nowMs: number): void {
    const { feed, forward } = this.o
    this.clock = new ClusterClock(feed.timeMs(), nowMs)
    this.expected = new Expected(this.o.term(), (member) => feed.lastBatch(member))
    this.clear()
    this.active = true
    this.holding = false
    this.firstUnderWay = false
    this.notBeforeMs = Number.NEGATIVE_INFINITY
    // What this member had under way as a follower, or as the leader of an earlier term.
    for (const { number, section } of forward.unresolved()) this.own(number, section)
    for (const { term, section } of this.premature.splice(0)) this.decide(term, section)
    this.o.onLeading(true, nowMs)
  }

  lost(): void {
    this.clear()
    this.active = false
    this.premature = []
    this.o.onLeading(false, 0)
  }

  /** Only these are members: what others sent before they were removed is not appended any more. */
  only(members: ReadonlySet<number>): void {
    this.premature = this.premature.filter(({ section }) => members.has(section.member))
    this.waiting = this.waiting.filter(({ member }) => members.has(member))
    this.waitingBytes = this.waiting.reduce((sum, { bytes }) => sum + bytes.length, 0)
  }

  private clear(): void {
    this.waiting = []
    this.waitingBytes = 0
  }

  due(nowMs: number): number {
    if (this.holding || this.refusing || this.o.held()) return Number.POSITIVE_INFINITY
    if (nowMs < this.notBeforeMs) return this.notBeforeMs
    const { feed, linger } = this.o
    if (feed.first() !== null) return this.firstUnderWay ? Number.POSITIVE_INFINITY : nowMs
    if (this.waitingBytes >= ENOUGH_BYTES) return nowMs
    const company = this.waiting.length > 0 ? this.lastMs + linger.ms : Number.POSITIVE_INFINITY
    return Math.min(this.lastMs + IDLE_MS, company, feed.due(nowMs, linger.ms))
  }

  next(nowMs: number): Uint8Array {
    const { feed, forward } = this.o
    const first = feed.first()
    this.offeredMs = nowMs
    if (first !== null) {
      this.offered = 'first'
      return first
    }
    // An own one that Raft dropped waits already: the next would only make more of a crowd.
    if (!this.waiting.some((s) => s.member === this.o.id)) {
      const own = forward.make(nowMs)
      if (own !== null) this.own(own.number, own.section)
    }
    let bytes = 0
    let count = 0
    for (const s of this.waiting) {
      bytes += s.bytes.length
      if (count > 0 && bytes > ENTRY_BYTES) break
      count++
    }
    this.offered = count
    return feed.entry(
      this.clock.next(nowMs),
      this.waiting.slice(0, count).map((s) => s.bytes),
    )
  }

  proposed(appended: boolean): void {
    this.lastMs = this.offeredMs
    this.notBeforeMs = appended ? Number.NEGATIVE_INFINITY : this.offeredMs + DROPPED_MS
    if (this.offered === 'first') {
      this.firstUnderWay = appended
      return
    }
    if (!appended) return
    for (const s of this.waiting.splice(0, this.offered)) {
      this.waitingBytes -= s.bytes.length
      if (s.member !== this.o.id) this.joined++
    }
  }

  /** Batch of another member, sent to the leader of `term`. The section is copied. */
  take(term: number, member: number, incarnation: number, wire: number, section: Uint8Array): void {
    if (term !== this.o.term()) return
    const number = numberOf(wire)
    const flow = flowOf(wire)
    if (!this.o.feed.fits(section, member, incarnation, number)) {
      this.malformed++
      return
    }
    const bytes = Uint8Array.from(section)
    const its: Section = { member, incarnation, number, flow, bytes }
    if (this.active) this.decide(term, its)
    else this.keep(term, its)
  }

  private keep(term: number, section: Section): void {
    if (this.premature[0] !== undefined && this.premature[0].term !== term) this.premature = []
    const bytes = this.premature.reduce((sum, p) => sum + p.section.bytes.length, 0)
    if (bytes < MOST_WAITING_BYTES) this.premature.push({ term, section })
  }

  private decide(term: number, section: Section): void {
    const { member, incarnation, number, flow } = section
    const verdict = this.expected.judge(term, member, incarnation, number, flow)
    if (verdict === 'early') this.early++
    if (verdict === 'refused') this.repeatRefusal(member, incarnation, flow)
    if (verdict !== 'take') return
    if (this.refusing) this.refuse(member, incarnation, number, flow)
    else if (this.waitingBytes < MOST_WAITING_BYTES) this.wait(section)
  }

  private own(number: number, bytes: Uint8Array): void {
    const { id: member, incarnation, forward } = this.o
    this.wait({ member, incarnation, number, flow: forward.batches.flow, bytes })
  }

  private wait(s: Section): void {
    this.expected.took(s.member, s.incarnation, s.number, s.flow)
    this.waiting.push(s)
    this.waitingBytes += s.bytes.length
  }

  /** A majority cannot store (or can again): what is not proposed yet is refused, as is what comes. */
  setRefusing(refusing: boolean): void {
    this.refusing = refusing
    if (!refusing) return
    this.o.feed.refuseWaiting()
    this.o.feed.tell()
    const seen = new Set<number>()
    const given = this.waiting
    this.clear()
    for (const s of given) {
      // The oldest of a member stands for those after it.
      if (seen.has(s.member)) continue
      seen.add(s.member)
      this.refuse(s.member, s.incarnation, s.number, s.flow)
    }
  }

  private refuse(member: number, incarnation: number, number: number, flow: number): void {
    this.refused++
    this.expected.refuse(member, incarnation, number, flow)
    if (member === this.o.id) this.o.forward.refuse(flow, number)
    else this.o.notice(member, incarnation, wireNumber(flow, number))
  }

  private repeatRefusal(member: number, incarnation: number, flow: number): void {
    this.o.notice(member, incarnation, wireNumber(flow, this.expected.next(member)))
  }
}
