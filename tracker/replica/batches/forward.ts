// This member's own batches on their way to whoever leads: made, sent, sent again, resolved. A leader's own
// go the same way, into its own hands. Refuses: to keep changes from their outcome. A batch is applied,
// refused, or unknown after `--park-for`; an unknown one still goes again to each new leader until the log
// has decided it, because the next one counts only after it.

import { Batches, isAfter, numberAfter, wireNumber } from './batches.ts'
import type { Feed } from './feed.ts'
import type { Linger } from './linger.ts'

/**
 * Batches on their way to another member at once: one is being stored, one gathers. That is the group commit.
 */
const FORWARDED = 2
/** Own batches of a leader that are not applied, at most; and what a lost leadership leaves behind. */
const UNDER_WAY = 64
/** After the transport did not take a batch, milliseconds. */
const BLOCKED_MS = 10

export type Own<T> = { readonly section: Uint8Array; readonly content: T }

export type ForwardOptions<T> = {
  readonly id: number
  readonly incarnation: number
  readonly feed: Feed<T>
  readonly linger: Pick<Linger, 'ms'>
  /** False: not sent; it is tried again. */
  readonly send: (to: number, wireNumber: number, section: Uint8Array) => boolean
  /** Without an answer from the log for this long, milliseconds, a batch goes again to the same leader. */
  readonly againMs: number
  /** A batch of this member is in the log that this start has not made. */
  readonly strange: (incarnation: number, number: number) => void
}

export class Forward<T> {
  private readonly o: ForwardOptions<T>
  readonly batches: Batches<Own<T>>
  /** Whom they are sent to: the leader of a term; 0: nobody. */
  private to = 0
  private term = 0
  /** Last number sent to it (null: none), and when. */
  private sent: number | null = null
  private sentMs = Number.NEGATIVE_INFINITY
  /** The way was full or broken: not before then. */
  private blockedMs = Number.NEGATIVE_INFINITY
  /** Batches sent for the first time, sent again, given back by a leader. */
  forwarded = 0
  resent = 0
  refused = 0

  constructor(options: ForwardOptions<T>) {
    this.o = options
    this.batches = new Batches(options.incarnation, UNDER_WAY)
  }

  /** Who leads now; 0: nobody, or this member itself. Everything unresolved goes there. */
  aim(term: number, leader: number): void {
    if (term === this.term && leader === this.to) return
    this.term = term
    this.to = leader
    this.again()
  }

  /** What was sent may be lost: the way to the leader is a new one. */
  again(): void {
    this.sent = null
    this.blockedMs = Number.NEGATIVE_INFINITY
  }

  /** The next batch of what waits, for a leader's own use. Null: nothing waits, or too much is under way. */
  make(nowMs: number): { number: number; section: Uint8Array } | null {
    const { batches } = this
    if (!batches.mayAdd()) return null
    const fed = this.o.feed.next(batches.next, nowMs)
    if (fed === null) return null
    // Kept: it may have to go to another leader.
    const section = Uint8Array.from(fed.section)
    return { section, number: batches.add({ section, content: fed.content }, Math.min(fed.sinceMs, nowMs)) }
  }

  /** Own batches that no applied entry holds, in order. */
  unresolved(): { number: number; section: Uint8Array }[] {
    const last = this.o.feed.lastBatch(this.o.id)
    this.regard(last.incarnation, last.number)
    return this.batches.unresolved(last).map(({ number, content }) => ({ number, section: content.section }))
  }

  /**
   * Sends to another member what is due; `along`: something leaves for it anyway, so what waits goes with
   * that.
   */
  turn(nowMs: number, along = false): void {
    if (this.to === 0 || nowMs < this.blockedMs) return
    const { batches } = this
    if (this.sent !== null && batches.underWay > 0 && nowMs >= this.sentMs + this.o.againMs) this.again()
    if (this.lags && batches.underWay > 0)
      for (const b of this.unresolved())
        if (this.sent === null || isAfter(b.number, this.sent)) {
          if (!this.send(b.number, b.section, nowMs)) return
          this.resent++
        }
    while (batches.underWay < FORWARDED) {
      const due = this.o.feed.due(nowMs, this.o.linger.ms)
      if (due > nowMs && !(along && Number.isFinite(due))) return
      const made = this.make(nowMs)
      if (made === null) return
      this.forwarded++
      if (!this.send(made.number, made.section, nowMs)) return
    }
  }

  /** Was the newest batch not sent to whom it goes now? */
  private get lags(): boolean {
    return this.sent === null || numberAfter(this.sent) !== this.batches.next
  }

  private send(number: number, section: Uint8Array, nowMs: number): boolean {
    if (!this.o.send(this.to, wireNumber(this.batches.flow, number), section)) {
      this.blockedMs = nowMs + BLOCKED_MS
      return false
    }
    this.sent = number
    this.sentMs = nowMs
    return true
  }

  /** When `turn` has something to do, milliseconds. */
  due(nowMs: number): number {
    if (this.to === 0) return Number.POSITIVE_INFINITY
    if (nowMs < this.blockedMs) return this.blockedMs
    const { batches } = this
    if (this.lags && batches.underWay > 0) return nowMs
    const again = batches.underWay > 0 ? this.sentMs + this.o.againMs : Number.POSITIVE_INFINITY
    return batches.underWay < FORWARDED ? Math.min(again, this.o.feed.due(nowMs, this.o.linger.ms)) : again
  }

  /** The leader of `term` says that nothing from `number` on was or will be appended. */
  refusal(term: number, incarnation: number, flow: number, number: number): void {
    if (term !== this.term || incarnation !== this.o.incarnation) return
    this.refuse(flow, number)
  }

  /** As `refusal`, by this member as a leader. */
  refuse(flow: number, number: number): void {
    for (const { content } of this.batches.refused(flow, number)) {
      this.refused++
      this.o.feed.end(content.content, 'refused')
    }
    if (this.sent !== null && !isAfter(number, this.sent)) this.sent = (number - 1) | 0
    this.o.feed.tell()
  }

  /** The machine took batch `number` and has told its parts. */
  applied(member: number, incarnation: number, number: number): void {
    if (member !== this.o.id) return
    this.regard(incarnation, number)
    this.batches.applied(incarnation, number)
  }

  /** Is this batch of the log one that this start has made, or one of a start before it? */
  private regard(incarnation: number, number: number): void {
    const made = incarnation === this.o.incarnation && isAfter(this.batches.next, number)
    if (incarnation >= this.o.incarnation && !made) this.o.strange(incarnation, number)
  }

  /** The state came as a snapshot: what it contains was applied without a word. */
  restored(): void {
    const last = this.o.feed.lastBatch(this.o.id)
    this.regard(last.incarnation, last.number)
    for (const b of this.batches.applied(last.incarnation, last.number))
      this.o.feed.end(b.content.content, 'applied')
    this.o.feed.tell()
  }

  /** Changes that wait since before `beforeMs` are unknown: nobody waits for them any more. */
  abandon(beforeMs: number): void {
    const late = this.batches.abandon(beforeMs)
    for (const b of late) this.o.feed.end(b.content.content, 'unknown')
    const dropped = this.o.feed.dropWaiting(beforeMs)
    if (late.length > 0 || dropped > 0) this.o.feed.tell()
  }
}
