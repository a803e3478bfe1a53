// Until when this member may answer, whatever its role: what frames prove of times, what a leader grants and
// what a follower is granted (the arithmetic is in lease.ts). Refuses: to carry anything over from one term
// to the next.

import type { ConfState, Status } from '@skep/raft'
import { MSG_APP, MSG_HEARTBEAT } from '@skep/raft/message.ts'
import { Echoes, raftType } from '../transport/echo.ts'
import { type Frame, RAFT, type Stamp } from '../transport/frame.ts'
import { Grants } from './follower.ts'
import { leaderLeaseUntil } from './lease.ts'

export type LeasesFacts = {
  readonly status: Status
  readonly nowMs: number
  readonly applied: number
  readonly confState: ConfState
  /** An entry of its own term is applied. */
  readonly ownTermApplied: boolean
  /** TimeoutNow was sent in this term. */
  readonly transferred: boolean
  /** False: the table is not to be read, whatever the lease. */
  readonly answers: boolean
}

export class Leases {
  private readonly self: number
  private readonly leaseMs: number
  private readonly grants: Grants
  private readonly keepalive: (to: number) => void
  /** Who has heard of the lease since it began. */
  private readonly greeted = new Set<number>()
  private readonly echoes = new Echoes()
  private leader = 0
  /** What a leader's lease was last counted from, and whether an echo came since. */
  private counted: LeasesFacts | null = null
  private echoed = true
  /** Until when reads may be answered, milliseconds; -Infinity: not now. */
  untilMs = Number.NEGATIVE_INFINITY

  constructor(self: number, leaseMs: number, keepalive: (to: number) => void) {
    this.self = self
    this.leaseMs = leaseMs
    this.grants = new Grants(leaseMs)
    this.keepalive = keepalive
  }

  /** The core's term and leader now. True: another term. */
  enter(status: Status): boolean {
    const fresh = status.term !== this.echoes.term
    if (fresh || status.leader !== this.leader) this.grants.clear()
    this.leader = status.leader
    if (fresh) {
      this.echoes.enter(status.term)
      this.greeted.clear()
    }
    return fresh
  }

  /**
   * A frame, whose Raft message was stepped before. True: a sign of life of the leader that restarted the
   * election timer.
   */
  stepped(frame: Frame, status: Status, applied: number): boolean {
    const leads = status.role === 'leader'
    this.echoes.stepped(frame, leads)
    this.echoed = true
    if (leads || frame.term !== status.term || frame.from !== status.leader) return false
    const { echoMs, leaseAgeMs: ageMs, commit } = frame
    if (frame.leads && Number.isFinite(echoMs) && Number.isFinite(ageMs))
      this.grants.add({ echoMs, ageMs, commit }, applied)
    const type = frame.kind === RAFT ? raftType(frame.body) : -1
    return type === MSG_APP || type === MSG_HEARTBEAT
  }

  renew(f: LeasesFacts): void {
    const leads = f.status.role === 'leader'
    if (leads && !this.echoed && this.counted !== null && same(f, this.counted)) return
    this.counted = leads ? f : null
    this.echoed = false
    if (!f.answers) this.untilMs = Number.NEGATIVE_INFINITY
    else if (leads)
      this.untilMs = leaderLeaseUntil({
        ...f,
        self: this.self,
        echoed: this.echoes.echoed,
        leaseMs: this.leaseMs,
      })
    else this.untilMs = this.grants.untilMs(f.applied)
    if (leads && f.nowMs < this.untilMs) this.greet()
  }

  /** Followers may answer as soon as they hear of a lease: not only with the next heartbeat. */
  private greet(): void {
    for (const id of this.echoes.echoed.keys())
      if (!this.greeted.has(id) && this.echoes.echoFor(id) >= 0) {
        this.greeted.add(id)
        this.keepalive(id)
      }
  }

  stamp(to: number, stamp: Stamp, status: Status, nowMs: number): void {
    const leads = status.role === 'leader'
    stamp.term = status.term
    stamp.leads = leads
    stamp.leaseAgeMs = leads && nowMs < this.untilMs ? this.ageMs(nowMs) : Number.POSITIVE_INFINITY
    stamp.commit = leads ? status.commit : 0
    stamp.echoUs = this.echoes.echoFor(to)
  }

  private ageMs(nowMs: number): number {
    const age = nowMs - (this.untilMs - this.leaseMs)
    return Number.isFinite(age) ? Math.max(0, age) : 0
  }

  /** The member has started anew: its former times mean nothing to it. */
  forget(member: number): void {
    this.echoes.forget(member)
    this.greeted.delete(member)
  }
}

/** Does nothing but time lie between the two? A lease is counted from echoes, not from now. */
const same = (a: LeasesFacts, b: LeasesFacts): boolean =>
  a.status.term === b.status.term &&
  a.confState === b.confState &&
  a.ownTermApplied === b.ownTermApplied &&
  a.transferred === b.transferred &&
  a.answers === b.answers
