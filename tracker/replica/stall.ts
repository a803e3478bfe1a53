// A member whose disk takes nothing. Its core stands still at a Ready that cannot be stored, so the member
// says itself what others must hear: that it is alive and cannot store; as a leader, who should lead instead,
// or, when nobody can store, that it still leads, so that changes are refused with a word and reads go on.
// Whether a majority can store is judged here, too.
// Refuses: to say anything that would have to be on that disk; to stand for election before it is mended.

import type { ConfState, Status } from '@skep/raft'
import type { Feed } from './batches/feed.ts'
import type { Forward } from './batches/forward.ts'
import type { Leading } from './batches/leader.ts'
import type { Timeline } from './events.ts'
import type { ReadyVotes } from './leadership/ready-votes.ts'
import type { MemberTransport } from './member-options.ts'
import { heartbeat, heartbeatAnswer, timeoutNow } from './raft-message.ts'

export type StallOptions<T> = {
  readonly id: number
  readonly group: number
  readonly everyMs: number
  readonly transport: MemberTransport
  readonly feed: Feed<T>
  readonly forward: Forward<T>
  readonly leading: Leading<T>
  readonly votes: ReadyVotes
  readonly events: Timeline
  readonly others: () => readonly number[]
  /** Who could lead instead, given that a majority can store; 0: nobody. */
  readonly heir: () => number
  /** `to` is about to be asked to take over. */
  readonly yields: (to: number) => void
}

export class Stall<T> {
  private readonly o: StallOptions<T>
  private saidMs = Number.NEGATIVE_INFINITY
  /** Since when, milliseconds; null: the disk works. */
  sinceMs: number | null = null
  /** A majority cannot store: changes are refused. */
  refusing = false

  constructor(options: StallOptions<T>) {
    this.o = options
  }

  get failing(): boolean {
    return this.sinceMs !== null
  }

  /** The ready/error vote: whether a majority can store, and what follows. */
  judge(confState: ConfState, term: number, nowMs: number): void {
    const { id, votes, events, leading } = this.o
    votes.heard(id, this.failing, nowMs)
    const fails = votes.majorityFails(confState, nowMs)
    if (fails !== this.refusing) events.add(nowMs, fails ? 'changes refused' : 'changes taken', term)
    if (fails || this.refusing) leading.setRefusing(fails)
    this.refusing = fails
  }

  /** A write has failed and is not mended yet: every now and then. `why`: of the first failure. */
  turn(status: Status, nowMs: number): void {
    const { feed, forward, everyMs, transport } = this.o
    feed.refuseWaiting()
    // Appended, but who knows when it is on disk: nobody waits for a disk to be mended.
    forward.abandon(Number.POSITIVE_INFINITY)
    feed.tell()
    if (nowMs < this.saidMs + everyMs) return
    this.saidMs = nowMs
    this.say(status)
    transport.flush()
  }

  begin(term: number, nowMs: number, why: string): void {
    if (this.sinceMs !== null) return
    this.sinceMs = nowMs
    this.o.events.add(nowMs, 'disk failed', term, this.o.id, why)
  }

  end(term: number, nowMs: number): void {
    const { events, id, transport, group } = this.o
    this.sinceMs = null
    this.saidMs = Number.NEGATIVE_INFINITY
    events.add(nowMs, 'disk mended', term, id)
    for (const to of this.o.others()) transport.keepalive(group, to)
  }

  private say({ role, term }: Status): void {
    const { transport, group, id } = this.o
    const leads = role === 'leader'
    const heir = leads && !this.refusing ? this.o.heir() : 0
    if (heir !== 0) {
      this.o.yields(heir)
      transport.send(group, heir, timeoutNow(heir, id, term))
    }
    for (const to of this.o.others()) {
      if (leads && heir === 0) transport.send(group, to, heartbeat(to, id, term))
      else transport.keepalive(group, to)
    }
  }

  /**
   * A heartbeat was stepped: the core's own answer waits for the disk, and this one promises nothing that it
   * must store.
   */
  answer(leader: number, term: number): void {
    const { transport, group, id } = this.o
    transport.send(group, leader, heartbeatAnswer(leader, id, term))
  }
}
