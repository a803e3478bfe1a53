// One member of a group: the loop around Raft, who leads, whose batches go where, and until when answers may
// be given. Driven from outside by `turn`, `receive` and time; the simulator drives exactly this. Refuses:
// sockets, timers, clocks, chance; to know what it replicates; to decide who is to be a member.

import type { ConfChange, ConfState, Entry, Status } from '@skep/raft'
import { MSG_APP, MSG_HEARTBEAT, MSG_SNAP, messageInfo } from '@skep/raft/message.ts'
import { flowOf, numberOf } from './batches/batches.ts'
import type { Forward } from './batches/forward.ts'
import type { Leading } from './batches/leader.ts'
import type { Linger } from './batches/linger.ts'
import type { Outcome } from './batches/proposals.ts'
import { Timeline } from './events.ts'
import type { Candidacy } from './leadership/candidacy.ts'
import { JointEnd } from './leadership/joint-end.ts'
import type { Leases } from './leadership/leases.ts'
import type { ReadyVotes } from './leadership/ready-votes.ts'
import type { SnapshotRecord } from './log/log.ts'
import type { MemberOptions } from './member-options.ts'
import { votersOf, wire } from './member-wiring.ts'
import { idsOf } from './membership/directory.ts'
import { forgotten, LifeRefused } from './membership/lives.ts'
import type { Moves } from './moves.ts'
import { EMPTY_APPEND_BYTES, type Outgoing } from './outgoing.ts'
import { Peers } from './peers.ts'
import type { Replica } from './replica.ts'
import type { Stall } from './stall.ts'
import { raftType } from './transport/echo.ts'
import { BATCH, type Frame, NOTICE, RAFT, type Stamp } from './transport/frame.ts'
import { decodeBatch, decodeNotice, NOTICE_REFUSED } from './transport/frame-body.ts'

export class Member<T> {
  private readonly o: MemberOptions<T>
  private readonly votes: ReadyVotes
  private readonly outgoing: Outgoing
  private readonly candidacy: Candidacy
  private status: Status
  /** The time that the core and everybody else is told now. */
  private nowMs: number
  /** Entries came since the last turn: an answer is about to leave for the leader. */
  private appended = false
  /** When the last turn began. */
  private beganMs = 0
  private readonly linger: Linger
  private joint: JointEnd
  private readonly moves: Moves
  private readonly stall: Stall<T>
  readonly leases: Leases
  readonly forward: Forward<T>
  readonly leading: Leading<T>
  readonly peers = new Peers()
  readonly events = new Timeline()
  readonly replica: Replica
  /** Everybody in the configuration, this member included. */
  private members: ReadonlySet<number>
  /** This member is in no configuration any more. */
  removed = false
  private readonly tooOld = (id: number): boolean => this.peers.tooOld(id, this.o.level?.() ?? 0)
  badMessages = 0
  /** Why the cluster does not want this life; '' while it does. */
  private unwanted = ''

  /** The log is open and the machine restored to its snapshot. */
  constructor(options: MemberOptions<T>, nowMs: number) {
    this.o = options
    this.nowMs = nowMs
    const wired = wire(options, nowMs, {
      ...{ events: this.events, peers: this.peers, tooOld: this.tooOld },
      ...{ now: () => this.nowMs, status: () => this.status },
      joint: () => this.joint,
      others: () => this.others,
      ...{ yields: () => this.yields(), refuse: (sentence) => this.refuse(sentence) },
      leads: (leads, ms) => this.leads(leads, ms),
      configured: (confState, entry) => this.configured(confState, entry),
    })
    this.linger = wired.linger
    this.leases = wired.leases
    this.votes = wired.votes
    this.outgoing = wired.outgoing
    this.forward = wired.forward
    this.leading = wired.leading
    this.replica = wired.replica
    this.candidacy = wired.candidacy
    this.moves = wired.moves
    this.stall = wired.stall
    this.status = this.replica.status
    this.joint = new JointEnd(this.replica.confState, this.replica.applied)
    this.members = new Set(idsOf(this.replica.confState))
    this.leases.enter(this.status)
    this.events.add(nowMs, 'started', this.status.term, options.id)
  }

  /** Everybody else, learners too. */
  get others(): number[] {
    return [...this.members].filter((id) => id !== this.o.id)
  }

  get campaigns(): number {
    return this.candidacy.campaigns
  }

  /** Votes and requests to stand that came too soon after a restart. */
  get unheard(): number {
    return this.candidacy.unheard
  }

  get term(): number {
    return this.status.term
  }

  /** A majority cannot store: changes are refused. */
  get refusing(): boolean {
    return this.stall.refusing
  }

  /** Leadership is moving on request. */
  get transferring(): boolean {
    return this.moves.moving
  }

  get writing(): Promise<void> {
    return this.replica.writing
  }

  /** Until when reads may be answered, milliseconds; -Infinity: not now. */
  get leaseUntilMs(): number {
    return this.leases.untilMs
  }

  /** Notices of a commit that needed no frame of their own. */
  get commitNotices(): number {
    return this.outgoing.joined
  }

  /** May reads be answered now? */
  mayAnswer(nowMs: number): boolean {
    return nowMs < this.leases.untilMs
  }

  /** One cycle, as `Replica.turn`; then everything said in it leaves. Throws LifeRefused, too. */
  turn(nowMs: number): ReturnType<Replica['turn']> {
    if (this.unwanted !== '') throw new LifeRefused(this.unwanted)
    this.nowMs = nowMs
    this.replica.tick(nowMs)
    this.regard()
    this.stall.judge(this.replica.confState, this.status.term, nowMs)
    this.stand()
    this.moves.turn(this.status, nowMs)
    if (!this.replica.leads && this.status.role === 'follower') this.forward.turn(nowMs, this.appended)
    this.appended = false
    this.beganMs = nowMs
    const did = this.replica.turn(nowMs)
    this.outgoing.release(nowMs)
    this.regard()
    this.o.transport.flush()
    return did
  }

  /** The write of the last turn is on disk. */
  finish(nowMs: number): void {
    this.nowMs = nowMs
    const installed = this.replica.installing
    this.linger.took(nowMs - this.beganMs)
    this.replica.finish(nowMs)
    if (installed !== null) {
      this.forward.restored()
      this.events.add(nowMs, 'snapshot installed', this.status.term, 0, String(installed.index))
    }
    this.regard()
    this.o.transport.flush()
  }

  /** When `turn` has something to do if nothing comes in before, milliseconds. */
  due(nowMs: number): number {
    const led = this.replica.leads || this.status.role !== 'follower'
    const standing = this.status.role === 'leader' ? Number.POSITIVE_INFINITY : this.standsAt()
    return Math.min(
      this.replica.due(nowMs),
      this.outgoing.dueMs,
      led ? Number.POSITIVE_INFINITY : this.forward.due(nowMs),
      standing,
    )
  }

  /** A frame of another member of this group. It and its bytes are valid only during the call. */
  receive(frame: Frame, nowMs: number): void {
    this.nowMs = nowMs
    const { from } = frame
    this.peers.heard(frame, nowMs)
    if (this.tooOld(from)) return
    // What it was not to have may be sent to it now.
    if (this.peers.admit(from)) this.reportSnapshot(from, false)
    if (this.votes.heard(from, frame.notReady, nowMs))
      this.events.add(nowMs, frame.notReady ? 'peer disk failed' : 'peer disk mended', this.status.term, from)
    if (frame.kind === RAFT && !this.step(frame)) return
    this.regard()
    if (frame.kind === BATCH) {
      const batch = decodeBatch(frame.body)
      // Of a member that was removed: a late one would make room for it again in everybody's table.
      if (batch === null || !this.members.has(from)) this.leading.malformed++
      else this.leading.take(frame.term, from, batch.incarnation, batch.number, batch.section)
    } else if (frame.kind === NOTICE) {
      const n = decodeNotice(frame.body)
      if (n?.verdict === NOTICE_REFUSED && from === this.status.leader)
        this.forward.refusal(frame.term, n.incarnation, flowOf(n.number), numberOf(n.number))
    }
    this.weigh(frame)
  }

  /** False: not for the core, at least not now. */
  private step(frame: Frame): boolean {
    const type = raftType(frame.body)
    const { nowMs } = this
    if (this.candidacy.isDeafTo(type, nowMs)) return false
    if (type === MSG_SNAP) {
      this.o.snapshots?.arrived(frame.from, frame.body)
      return false
    }
    if (type === MSG_HEARTBEAT) this.refuse(forgotten(frame.body, this.status))
    if (this.unwanted !== '') return false
    if (type === MSG_APP && frame.body.length >= EMPTY_APPEND_BYTES) this.appended = true
    const stepped = this.replica.step(frame.body, nowMs)
    if (!stepped.ok && stepped.code !== 'step-peer-not-found') this.badMessages++
    if (this.stall.failing && type === MSG_HEARTBEAT && frame.term === this.status.term)
      this.stall.answer(frame.from, frame.term)
    return true
  }

  /** The cluster does not want this life: `turn` throws. '' changes nothing. */
  refuse(sentence: string): void {
    this.unwanted ||= sentence
  }

  /** What the frame proves, once its message was stepped. */
  private weigh(frame: Frame): void {
    if (this.leases.stepped(frame, this.status, this.replica.applied))
      this.candidacy.election.heard(this.nowMs)
    this.lease()
  }

  /** Fills in what this member says of itself in a frame to `to`. */
  stamp(to: number, stamp: Stamp): void {
    stamp.notReady = this.stall.failing
    this.leases.stamp(to, stamp, this.status, this.nowMs)
  }

  private lease(): void {
    const { replica, moves, removed, status, nowMs } = this
    const { applied, leads, confState } = replica
    const answers = replica.installing === null && !removed && this.unwanted === ''
    this.leases.renew({
      status,
      nowMs,
      applied,
      confState,
      ownTermApplied: leads,
      transferred: moves.yielded,
      answers,
    })
  }

  /** Looks at what the core says of itself, and draws the consequences. */
  private regard(): void {
    const { replica, nowMs } = this
    const was = this.status
    replica.look(nowMs)
    const { status } = replica
    this.status = status
    if (this.leases.enter(status)) {
      this.outgoing.forget()
      this.moves.yielded = false
    }
    if (status.role === 'leader') this.candidacy.election.heard(nowMs)
    if (status.leader !== was.leader || status.term !== was.term || status.role !== was.role) this.follow(was)
    this.lease()
  }

  private follow(was: Status): void {
    const { status, nowMs, events } = this
    if (status.leader !== was.leader) {
      if (status.leader === 0) events.add(nowMs, 'leader lost', status.term, was.leader)
      else events.add(nowMs, status.leader === this.o.id ? 'elected' : 'leader', status.term, status.leader)
    }
    this.candidacy.follows(status.leader)
    const to = status.role === 'follower' ? status.leader : 0
    this.forward.aim(status.term, to)
  }

  private leads(leads: boolean, nowMs: number): void {
    this.joint.forget()
    this.moves.leads(leads ? nowMs : Number.POSITIVE_INFINITY)
    this.o.onLeading?.(leads)
  }

  private standsAt(): number {
    if (this.stall.failing || this.removed || this.replica.installing !== null)
      return Number.POSITIVE_INFINITY
    return this.candidacy.at(votersOf(this.replica.confState))
  }

  private stand(): void {
    if (this.status.role === 'leader' || this.nowMs < this.standsAt()) return
    if (this.candidacy.stands(this.nowMs))
      this.events.add(this.nowMs, 'campaign', this.status.term, this.o.id)
    this.replica.campaign()
    this.regard()
  }

  /** Somebody is about to be asked to take over: TimeoutNow leaves. */
  private yields(): void {
    this.moves.yielded = true
    this.lease()
  }

  /** Leadership moves to `to` (0: whom it suits best). Resolves with '' or with why it did not. */
  transfer(to: number, nowMs: number): Promise<string> {
    return this.moves.transfer(to, nowMs)
  }

  /** The write of the last turn has failed and the log is not mended: to be called every now and then. */
  stalled(nowMs: number): void {
    this.nowMs = nowMs
    this.stall.begin(this.status.term, nowMs, this.o.log.failed?.message ?? '')
    this.stall.judge(this.replica.confState, this.status.term, nowMs)
    this.regard()
    this.stall.turn(this.status, nowMs)
  }

  /** The log is mended, and the write that failed is done: `finish` follows. */
  mended(nowMs: number): void {
    this.nowMs = nowMs
    this.stall.end(this.status.term, nowMs)
  }

  /** Changes that wait for too long are unknown. Every now and then. */
  abandonLate(nowMs: number): void {
    this.forward.abandon(nowMs - this.o.parkForMs)
  }

  /** Batches to this member arrive from now on; what was sent before may not have. */
  connected(member: number): void {
    if (member === this.status.leader) this.forward.again()
  }

  /** The member has started anew. */
  peerStarted(member: number): void {
    this.leases.forget(member)
  }

  /**
   * A MsgSnap whose snapshot is here, complete and synced, as `record`. Null: the log has all of it already;
   * the message tells the leader so.
   */
  stepSnapshot(message: Uint8Array, record: SnapshotRecord | null, nowMs: number): void {
    this.nowMs = nowMs
    const term = messageInfo(message)?.term ?? 0
    const { replica } = this
    const stepped =
      record === null ? replica.step(message, nowMs) : replica.stepSnapshot(message, record, nowMs)
    if (!stepped.ok) this.badMessages++
    this.regard()
    if (term === this.status.term) this.candidacy.election.heard(nowMs)
  }

  reportSnapshot(to: number, ok: boolean): void {
    this.replica.reportSnapshot(to, ok)
  }

  /** One entry that is not a batch, as `Replica.propose`. */
  async propose(data: Uint8Array): Promise<Outcome> {
    await this.joint.underWay
    return this.replica.propose(data)
  }

  proposeConfChange(change: ConfChange): Promise<Outcome> {
    const outcome = this.replica.proposeConfChange(change)
    if (change.steps.length === 0) this.joint.proposed(outcome)
    return outcome
  }

  private configured(confState: ConfState, entry: Entry | null): void {
    const was = this.members.has(this.o.id)
    this.members = new Set(idsOf(confState))
    const is = this.members.has(this.o.id)
    if (was && !is && entry !== null) this.leave(this.nowMs)
    if (is) this.removed = false
    if (entry !== null) this.moves.reconsider()
    this.leading.only(this.members)
    if (entry === null) this.joint = new JointEnd(confState, this.replica.applied)
    else this.joint.configured(confState, entry.index)
    this.o.onConfState?.(confState, entry)
  }

  /** This member was removed for good, as the log or another member says. */
  leave(nowMs: number): void {
    if (this.removed) return
    this.removed = true
    this.events.add(nowMs, 'removed', this.status.term, this.o.id)
    this.lease()
  }
}
