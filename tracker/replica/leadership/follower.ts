// What a follower or learner may answer from its own table: grants of the leader, each with the commit index
// that must have been applied before it counts. Refuses: to grant anything by itself, or over the end of a
// term.

import { followerLeaseUntil, type LeaseGrant } from './lease.ts'

/** Grants that wait for their commit index, at most: a member that far behind waits for the newest anyway. */
const WAITING = 64

export class Grants {
  private readonly leaseMs: number
  private until = Number.NEGATIVE_INFINITY
  private waiting: { commit: number; untilMs: number }[] = []

  constructor(leaseMs: number) {
    this.leaseMs = leaseMs
  }

  /** Another term or another leader. */
  clear(): void {
    this.until = Number.NEGATIVE_INFINITY
    this.waiting = []
  }

  /** A frame of the leader, stepped in this term. */
  add(grant: LeaseGrant, applied: number): void {
    const untilMs = followerLeaseUntil(grant, Number.POSITIVE_INFINITY, this.leaseMs)
    if (!(untilMs > this.until)) return
    if (grant.commit <= applied) {
      this.until = untilMs
      return
    }
    const last = this.waiting.at(-1)
    // Frames may be reordered: an older one, or one that grants no more, adds nothing.
    if (last !== undefined && grant.commit <= last.commit) {
      if (grant.commit === last.commit) last.untilMs = Math.max(last.untilMs, untilMs)
    } else if (this.waiting.length < WAITING) this.waiting.push({ commit: grant.commit, untilMs })
    else this.waiting[WAITING - 1] = { commit: grant.commit, untilMs }
  }

  /** Until when reads may be answered, given what is applied; -Infinity: not at all. */
  untilMs(applied: number): number {
    while (this.waiting[0] !== undefined && this.waiting[0].commit <= applied)
      this.until = Math.max(this.until, this.waiting.shift()!.untilMs)
    return this.until
  }
}
