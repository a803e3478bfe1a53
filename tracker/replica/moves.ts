// Planned moves of leadership by the member that leads: on request, for a preferred member, or because
// somebody was asked to take over in this term and this member's lease is gone with it. Refuses: to move to
// whom could not carry it: who does not answer, is far behind, or has a disk that takes nothing.

import type { Status } from '@skep/raft'
import type { Timeline } from './events.ts'
import { Handover, successor } from './leadership/handover.ts'
import type { ReadyVotes } from './leadership/ready-votes.ts'
import type { Outgoing } from './outgoing.ts'
import type { Replica } from './replica.ts'

/** Entries that a successor may be behind when it is chosen. */
const SUCCESSOR_LAG = 10_000
/** Keepalives that a leader waits before it makes way for the preferred one. */
const PREFERRED_AFTER = 10

export type MovesOptions = {
  readonly id: number
  readonly keepaliveMs: number
  /** How long a target may take to catch up, milliseconds. */
  readonly timeoutMs: number
  readonly preference: (id: number) => number
  readonly preferHighest: boolean
  /** As in MemberOptions. */
  readonly staysPut: () => boolean
  readonly replica: Replica
  readonly votes: ReadyVotes
  readonly events: Timeline
  readonly outgoing: Outgoing
  /** New proposals are held back, or taken again. */
  readonly hold: (holding: boolean) => void
}

export class Moves {
  private readonly o: MovesOptions
  private move: { readonly handover: Handover; readonly done: (why: string) => void } | null = null
  private askedMs = 0
  private waySinceMs = Number.POSITIVE_INFINITY
  /** That somebody asked for this member to lead: counts still, and was heard. */
  private askable = false
  private stays = false
  /** TimeoutNow was sent in this term: somebody may be leader before any timeout. */
  yielded = false

  constructor(options: MovesOptions) {
    this.o = options
  }

  get moving(): boolean {
    return this.move !== null
  }

  /** This member leads since `nowMs`, or no more (Infinity). */
  leads(nowMs: number): void {
    this.waySinceMs = nowMs
    this.askable = true
    this.stays = false
  }

  /** The members have changed: what somebody asked for before counts no more. */
  reconsider(): void {
    this.askable = false
    this.stays = false
  }

  /** Leadership moves to `to` (0: whom it suits best). Resolves with '' or with why it did not. */
  transfer(to: number, nowMs: number): Promise<string> {
    const { replica, votes, id } = this.o
    if (!replica.leads) return Promise.resolve('this member does not lead')
    if (this.move !== null) return Promise.resolve('leadership is moving already')
    const target = to === 0 ? this.successor(nowMs) : to
    if (target === 0) return Promise.resolve('no other voter answers and has caught up')
    if (target === id) return Promise.resolve('')
    if (!votes.isReady(target, nowMs)) return Promise.resolve(`the disk of member ${target} takes nothing`)
    return this.begin(target, nowMs)
  }

  private begin(target: number, nowMs: number): Promise<string> {
    const { replica, events, timeoutMs } = this.o
    const { term } = replica.status
    const handover = new Handover(target, term, nowMs + timeoutMs)
    this.o.hold(true)
    events.add(nowMs, 'transfer', term, target)
    return new Promise((done) => {
      this.move = { handover, done }
    })
  }

  /** Who should lead instead of this member; 0: nobody could. */
  successor(nowMs: number): number {
    const { id, replica, votes, preference } = this.o
    const fit = (other: number): boolean => votes.isReady(other, nowMs)
    return successor(id, replica.status.lastIndex, SUCCESSOR_LAG, replica.progress(), fit, preference)
  }

  /** One look at what is under way. `status`: of the core, now. */
  turn(status: Status, nowMs: number): void {
    if (this.move === null) {
      this.handOver(nowMs)
      return
    }
    const { replica, outgoing, events, keepaliveMs } = this.o
    const { handover, done } = this.move
    const step = handover.step({
      nowMs,
      leads: status.role === 'leader',
      term: status.term,
      applied: replica.applied,
      lastIndex: status.lastIndex,
      transferee: status.transferee,
      progress: replica.progress(),
    })
    if (step.kind === 'move') {
      replica.transferLeadership(step.to)
      this.askedMs = nowMs
    } else if (step.kind === 'wait') {
      // The request may be lost, and Raft itself asks only once.
      if (!this.yielded || nowMs < this.askedMs + keepaliveMs / 10) return
      this.askedMs = nowMs
      outgoing.askAgain()
    } else {
      this.move = null
      this.o.hold(false)
      const why = step.kind === 'failed' ? step.why : ''
      if (why !== '') events.add(nowMs, 'transfer failed', status.term, handover.to, why)
      done(why)
    }
  }

  private handOver(nowMs: number): void {
    const { replica, preference, preferHighest, id, keepaliveMs } = this.o
    if (!replica.leads) return
    // Whoever could still stand has this configuration in its log, and no vote in it.
    if (this.yielded && replica.alone) this.yielded = false
    if (this.yielded) {
      // Who was asked may stand yet, at any time: without a lease in this term, all that is left is to hand
      // over.
      const to = this.successor(nowMs)
      if (to !== 0) void this.begin(to, nowMs)
      return
    }
    if (!preferHighest || nowMs < this.waySinceMs + PREFERRED_AFTER * keepaliveMs) return
    this.stays ||= this.askable && this.o.staysPut()
    if (this.stays) return
    this.waySinceMs = nowMs
    const to = this.successor(nowMs)
    if (to !== 0 && preference(to) > preference(id)) void this.begin(to, nowMs)
  }
}
