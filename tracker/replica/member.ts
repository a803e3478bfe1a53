// One member of a group: the loop around Raft, who leads, whose batches go where, and until when answers may be given.
// Driven from outside by `turn`, `receive` and time; the simulator drives exactly this.
// Refuses: sockets, timers, clocks, chance; to know what it replicates; to decide who is to be a member.

import type { ConfChange, ConfState, Core, Entry, Status } from '@skep/raft'
import {
  MSG_APP,
  MSG_HEARTBEAT,
  MSG_SNAP,
  MSG_TIMEOUT_NOW,
  MSG_VOTE,
  messageInfo,
} from '@skep/raft/message.ts'
import { flowOf, numberOf } from './batches.ts'
import { Echoes, raftType } from './echo.ts'
import { Election, rankOf } from './election.ts'
import { Timeline } from './events.ts'
import type { Feed } from './feed.ts'
import { Grants } from './follower.ts'
import { Forward } from './forward.ts'
import { BATCH, type Frame, NOTICE, RAFT, type Stamp } from './frame.ts'
import { decodeBatch, decodeNotice, NOTICE_REFUSED } from './frame-body.ts'
import { Handover, successor } from './handover.ts'
import { Leading } from './leader.ts'
import { leaderLeaseUntil, leaseMs } from './lease.ts'
import type { LogStore, SnapshotRecord } from './log.ts'
import type { Machine } from './machine.ts'
import { Outgoing } from './outgoing.ts'
import { Peers } from './peers.ts'
import type { Outcome } from './proposals.ts'
import { heartbeat, heartbeatAnswer, timeoutNow } from './raft-message.ts'
import { ReadyVotes } from './ready-votes.ts'
import { Replica } from './replica.ts'
import type { ClusterTransport } from './transport.ts'

const MSG_PRE_VOTE = 17
/** Ticks of a keepalive; an election takes `missed` times as many. */
export const KEEPALIVE_TICKS = 10
/**
 * Ticks between heartbeats. A follower's lease is counted from a time that went to the leader and back, less the age of
 * the leader's own: three heartbeats in all, which must fit into a lease with room for lost ones.
 */
const HEARTBEAT_TICKS = 2
/** Entries that a successor may be behind when it is chosen. */
const SUCCESSOR_LAG = 10_000
/** Keepalives that a leader waits before it makes way for the preferred one. */
const PREFERRED_AFTER = 10

/** What a member uses of the network. */
export type MemberTransport = Pick<
  ClusterTransport,
  'send' | 'sendBatch' | 'sendNotice' | 'keepalive' | 'flush'
>

/** Snapshots travel beside Raft's messages (transfer.ts). All bytes are views: copied before the call returns. */
export interface SnapshotWays {
  /** Raft wants `to` to have the snapshot that this MsgSnap names. `Member.reportSnapshot` must follow. */
  offer(to: number, message: Uint8Array): void
  /** A MsgSnap came: `Member.stepSnapshot` once its snapshot is here, complete and synced. */
  arrived(from: number, message: Uint8Array): void
}

export type MemberOptions<T> = {
  readonly core: Core
  readonly group: number
  readonly id: number
  readonly incarnation: number
  readonly log: LogStore
  readonly machine: Machine
  readonly feed: Feed<T>
  readonly transport: MemberTransport
  readonly snapshots: SnapshotWays | null
  readonly keepaliveMs: number
  /** Keepalives without which a leader is taken for dead. */
  readonly missed: number
  /** A batch or a section waits this long for company, milliseconds. */
  readonly lingerMs: number
  /** A change waits at most this long for its outcome, milliseconds. */
  readonly parkForMs: number
  readonly loose: boolean
  readonly snapshotLogBytes: number
  /** Has never run before: it cannot have promised anything to anybody. */
  readonly fresh: boolean
  /** Who should rather lead: the higher. Default: the member ID. */
  readonly preference?: (id: number) => number
  /** Makes way for a caught-up member that is preferred. */
  readonly preferHighest?: boolean
  readonly onLeading?: (leads: boolean) => void
  /** After each applied change of the configuration (`entry`), or a snapshot (null). */
  readonly onConfState?: (confState: ConfState, entry: Entry | null) => void
}

export class Member<T> {
  private readonly o: MemberOptions<T>
  private readonly preference: (id: number) => number
  private readonly leaseMs: number
  private readonly keepaliveTickMs: number
  private readonly grants: Grants
  private readonly votes: ReadyVotes
  private readonly outgoing: Outgoing
  private readonly election: Election
  /** A restarted voter may have promised a leader its silence: it is kept until then. */
  private readonly silentUntilMs: number
  private status: Status
  private lastLeader = 0
  /** The time that the core and everybody else is told now. */
  private nowMs: number
  /** TimeoutNow was sent in this term: somebody may be leader before any timeout. */
  private yielded = false
  private readonly greeted = new Set<number>()
  private move: { handover: Handover; done: (why: string) => void } | null = null
  private askedMs = 0
  private ledSinceMs = Number.POSITIVE_INFINITY
  private stalledSaidMs = Number.NEGATIVE_INFINITY
  private failing = false
  readonly echoes = new Echoes()
  readonly forward: Forward<T>
  readonly leading: Leading<T>
  readonly peers = new Peers()
  readonly events = new Timeline()
  readonly replica: Replica
  /** Until when reads may be answered, milliseconds; -Infinity: not now. */
  leaseUntilMs = Number.NEGATIVE_INFINITY
  /** A majority cannot store: changes are refused. */
  refusing = false
  /** This member is in no configuration any more. */
  removed = false
  campaigns = 0
  /** Votes and requests to stand that came too soon after a restart. */
  unheard = 0
  badMessages = 0

  /** The log is open and the machine restored to its snapshot. */
  constructor(options: MemberOptions<T>, nowMs: number) {
    this.o = options
    this.nowMs = nowMs
    this.preference = options.preference ?? ((id) => id)
    const { id, incarnation, feed, transport, group, lingerMs, keepaliveMs } = options
    const tickMs = keepaliveMs / KEEPALIVE_TICKS
    const electionTicks = KEEPALIVE_TICKS * options.missed
    this.keepaliveTickMs = HEARTBEAT_TICKS * tickMs
    this.leaseMs = leaseMs(electionTicks, tickMs)
    this.grants = new Grants(this.leaseMs)
    this.votes = new ReadyVotes(electionTicks * tickMs)
    const send = (to: number, message: Uint8Array): void => transport.send(group, to, message)
    this.outgoing = new Outgoing({
      send,
      holdMs: lingerMs,
      snapshot: (to, message) => this.offer(to, message),
      voted: () => this.election.rival(this.nowMs, this.voters.length),
      yields: (to) => this.yields(to),
    })
    const sendBatch = (to: number, number: number, section: Uint8Array): boolean =>
      transport.sendBatch(group, to, incarnation, number, section)
    this.forward = new Forward({ id, incarnation, feed, send: sendBatch, againMs: keepaliveMs })
    this.leading = new Leading({
      id,
      incarnation,
      feed,
      lingerMs,
      forward: this.forward,
      notice: (to, its, number) => transport.sendNotice(group, to, its, number, NOTICE_REFUSED),
      onLeading: (leads, ms) => this.leads(leads, ms),
      term: () => this.replica.status.term,
    })
    const replicaOptions = {
      ...{ core: options.core, group, id, log: options.log, machine: options.machine },
      ...{ loose: options.loose, snapshotLogBytes: options.snapshotLogBytes },
      ...{ tickMs, electionTicks, heartbeatTicks: HEARTBEAT_TICKS },
      source: this.source(),
      transport: { send: (_: number, to: number, m: Uint8Array) => this.outgoing.post(to, m, this.nowMs) },
    }
    this.replica = new Replica(replicaOptions, nowMs)
    this.status = this.replica.status
    this.election = new Election({ tickMs, electionTicks }, nowMs)
    const quiet = options.fresh || this.replica.alone
    if (quiet) this.election.never(nowMs)
    this.silentUntilMs = quiet ? Number.NEGATIVE_INFINITY : nowMs + this.election.timeoutMs
    this.echoes.enter(this.status.term)
    this.events.add(nowMs, 'started', this.status.term, id)
  }

  private source(): ConstructorParameters<typeof Replica>[0]['source'] {
    const { leading } = this
    return {
      due: (nowMs) => leading.due(nowMs),
      next: (nowMs) => leading.next(nowMs),
      proposed: (appended) => leading.proposed(appended),
      leading: (nowMs) => leading.leading(nowMs),
      lost: () => leading.lost(),
      configured: (confState, entry) => this.configured(confState, entry),
    }
  }

  private get voters(): number[] {
    const { voters, votersOutgoing } = this.replica.confState
    return [...new Set([...voters, ...votersOutgoing])]
  }

  /** Everybody else, learners too. */
  get others(): number[] {
    const { learners, learnersNext } = this.replica.confState
    return [...new Set([...this.voters, ...learners, ...learnersNext])].filter((id) => id !== this.o.id)
  }

  get writing(): Promise<void> {
    return this.replica.writing
  }

  /** May reads be answered now? */
  mayAnswer(nowMs: number): boolean {
    return nowMs < this.leaseUntilMs
  }

  /** One cycle, as `Replica.turn`; then everything said in it leaves. */
  turn(nowMs: number): ReturnType<Replica['turn']> {
    this.nowMs = nowMs
    this.replica.tick(nowMs)
    this.regard()
    this.judgeDisks()
    this.stand()
    this.handOver()
    if (!this.replica.leads && this.status.role === 'follower') this.forward.turn(nowMs)
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
    if (this.votes.heard(from, frame.notReady, nowMs))
      this.events.add(nowMs, frame.notReady ? 'peer disk failed' : 'peer disk mended', this.status.term, from)
    if (frame.kind === RAFT && !this.step(frame)) return
    this.regard()
    if (frame.kind === BATCH) {
      const batch = decodeBatch(frame.body)
      if (batch === null) this.leading.malformed++
      else this.leading.take(frame.term, from, batch.incarnation, batch.number, batch.section)
    } else if (frame.kind === NOTICE) {
      const n = decodeNotice(frame.body)
      if (n?.verdict === NOTICE_REFUSED && from === this.status.leader)
        this.forward.refusal(frame.term, n.incarnation, flowOf(n.number), numberOf(n.number))
    }
    this.echo(frame)
  }

  /** False: not for the core, at least not now. */
  private step(frame: Frame): boolean {
    const type = raftType(frame.body)
    const { nowMs } = this
    if (
      nowMs < this.silentUntilMs &&
      (type === MSG_VOTE || type === MSG_PRE_VOTE || type === MSG_TIMEOUT_NOW)
    ) {
      this.unheard++
      return false
    }
    if (type === MSG_SNAP) {
      this.o.snapshots?.arrived(frame.from, frame.body)
      return false
    }
    const stepped = this.replica.step(frame.body, nowMs)
    if (!stepped.ok && stepped.code !== 'step-peer-not-found') this.badMessages++
    // While a disk takes nothing, the core's own answer would wait for it; this one promises nothing that has to be stored.
    if (this.failing && type === MSG_HEARTBEAT && frame.term === this.echoes.term)
      this.o.transport.send(this.o.group, frame.from, heartbeatAnswer(frame.from, this.o.id, frame.term))
    return true
  }

  /** What the frame proves about times, once its message was stepped. */
  private echo(frame: Frame): void {
    const { status, nowMs, replica } = this
    const leads = status.role === 'leader'
    this.echoes.stepped(frame, leads)
    if (frame.term !== status.term) return
    if (leads) {
      this.lease()
      return
    }
    if (frame.from !== status.leader) return
    const type = frame.kind === RAFT ? raftType(frame.body) : -1
    if (type === MSG_APP || type === MSG_HEARTBEAT) this.election.heard(nowMs)
    const { echoMs, leaseAgeMs: ageMs, commit } = frame
    if (frame.leads && Number.isFinite(echoMs) && Number.isFinite(ageMs))
      this.grants.add({ echoMs, ageMs, commit }, replica.applied)
    this.lease()
  }

  /** Fills in what this member says of itself in a frame to `to`. */
  stamp(to: number, stamp: Stamp): void {
    const { status } = this
    const leads = status.role === 'leader'
    stamp.term = status.term
    stamp.leads = leads
    stamp.notReady = this.failing
    stamp.leaseAgeMs = leads && this.mayAnswer(this.nowMs) ? this.leaseAge() : Number.POSITIVE_INFINITY
    stamp.commit = leads ? status.commit : 0
    stamp.echoUs = this.echoes.echoFor(to)
  }

  private leaseAge(): number {
    const age = this.nowMs - (this.leaseUntilMs - this.leaseMs)
    return Number.isFinite(age) ? Math.max(0, age) : 0
  }

  /** Looks at what the core says of itself, and draws the consequences. */
  private regard(): void {
    const { replica, nowMs } = this
    const was = this.status
    replica.look(nowMs)
    const { status } = replica
    this.status = status
    if (status.term !== this.echoes.term) {
      this.echoes.enter(status.term)
      this.outgoing.forget()
      this.yielded = false
      this.greeted.clear()
    }
    if (status.term !== was.term || status.leader !== was.leader) this.grants.clear()
    if (status.role === 'leader') this.election.heard(nowMs)
    if (status.leader !== was.leader || status.term !== was.term || status.role !== was.role) this.follow(was)
    this.lease()
  }

  private follow(was: Status): void {
    const { status, nowMs, events } = this
    if (status.leader !== was.leader) {
      if (status.leader === 0) events.add(nowMs, 'leader lost', status.term, was.leader)
      else events.add(nowMs, status.leader === this.o.id ? 'elected' : 'leader', status.term, status.leader)
    }
    if (status.leader !== 0) this.lastLeader = status.leader
    const to = status.role === 'follower' ? status.leader : 0
    this.forward.aim(status.term, to)
  }

  private lease(): void {
    const { replica, nowMs, o } = this
    const leads = this.status.role === 'leader'
    if (replica.installing !== null || this.removed) this.leaseUntilMs = Number.NEGATIVE_INFINITY
    else if (leads)
      this.leaseUntilMs = leaderLeaseUntil({
        ...{ self: o.id, nowMs, confState: replica.confState, echoed: this.echoes.echoed },
        ...{ leaseMs: this.leaseMs, ownTermApplied: replica.leads, transferred: this.yielded },
      })
    else this.leaseUntilMs = this.grants.untilMs(replica.applied)
    if (leads && this.mayAnswer(nowMs)) this.greet()
  }

  /** Followers may answer as soon as they hear of a lease: not only with the next heartbeat. */
  private greet(): void {
    for (const id of this.echoes.echoed.keys())
      if (!this.greeted.has(id) && this.echoes.echoFor(id) >= 0) {
        this.greeted.add(id)
        this.o.transport.keepalive(this.o.group, id)
      }
  }

  private leads(leads: boolean, nowMs: number): void {
    this.ledSinceMs = leads ? nowMs : Number.POSITIVE_INFINITY
    this.o.onLeading?.(leads)
  }

  private standsAt(): number {
    const { lastLeader: leader, preference, voters } = this
    if (this.failing || this.removed || this.replica.installing !== null) return Number.POSITIVE_INFINITY
    const at = this.election.at(rankOf({ id: this.o.id, voters, leader, preference }), voters.length)
    return Math.max(at, this.silentUntilMs)
  }

  private stand(): void {
    if (this.status.role === 'leader' || this.nowMs < this.standsAt()) return
    this.election.stood(this.nowMs)
    this.campaigns++
    if (this.election.first) this.events.add(this.nowMs, 'campaign', this.status.term, this.o.id)
    this.replica.campaign()
    this.regard()
  }

  /** Leadership moves to `to` (0: to whom it suits best). Resolves with '' or with why it did not. */
  transfer(to: number, nowMs: number): Promise<string> {
    if (!this.replica.leads) return Promise.resolve('this member does not lead')
    if (this.move !== null) return Promise.resolve('leadership is moving already')
    const target = to === 0 ? this.successor() : to
    if (target === 0) return Promise.resolve('no other voter answers and has caught up')
    if (target === this.o.id) return Promise.resolve('')
    if (!this.votes.isReady(target, nowMs))
      return Promise.resolve(`the disk of member ${target} takes nothing`)
    return this.yieldTo(target, nowMs)
  }

  private yieldTo(target: number, nowMs: number): Promise<string> {
    const handover = new Handover(target, this.status.term, nowMs + this.election.timeoutMs)
    this.leading.holding = true
    this.events.add(nowMs, 'transfer', this.status.term, target)
    return new Promise((done) => {
      this.move = { handover, done }
    })
  }

  private successor(): number {
    const { nowMs, preference, replica } = this
    const fit = (id: number): boolean => this.votes.isReady(id, nowMs)
    return successor(this.o.id, this.status.lastIndex, SUCCESSOR_LAG, replica.progress(), fit, preference)
  }

  private handOver(): void {
    const { replica, nowMs, status } = this
    if (this.move === null) {
      this.makeWay()
      return
    }
    const { handover, done } = this.move
    const step = handover.step({
      ...{ nowMs, leads: status.role === 'leader', term: status.term, applied: replica.applied },
      ...{ lastIndex: status.lastIndex, transferee: status.transferee, progress: replica.progress() },
    })
    if (step.kind === 'move') {
      replica.transferLeadership(step.to)
      this.askedMs = nowMs
      this.regard()
    } else if (step.kind === 'wait' && this.yielded && nowMs >= this.askedMs + this.keepaliveTickMs / 2) {
      this.askedMs = nowMs
      this.outgoing.askAgain()
    } else if (step.kind === 'done' || step.kind === 'failed') {
      this.move = null
      this.leading.holding = false
      if (step.kind === 'failed')
        this.events.add(nowMs, 'transfer failed', status.term, handover.to, step.why)
      done(step.kind === 'failed' ? step.why : '')
    }
  }

  /** Who was asked to stand may yet do so: without a lease in this term, this member can only hand over. */
  private makeWay(): void {
    const { nowMs, o } = this
    if (!this.replica.leads) return
    if (this.yielded) {
      const to = this.successor()
      if (to !== 0) void this.yieldTo(to, nowMs)
      return
    }
    if (o.preferHighest !== true || nowMs < this.ledSinceMs + PREFERRED_AFTER * o.keepaliveMs) return
    this.ledSinceMs = nowMs
    const to = this.successor()
    if (to !== 0 && this.preference(to) > this.preference(o.id)) void this.yieldTo(to, nowMs)
  }

  /** TimeoutNow is about to leave. */
  private yields(_to: number): void {
    this.yielded = true
    this.leaseUntilMs = Number.NEGATIVE_INFINITY
  }

  /** The ready/error vote: whether a majority can store, and what follows. */
  private judgeDisks(): void {
    const { nowMs, o } = this
    this.votes.heard(o.id, this.failing, nowMs)
    const fails = this.votes.majorityFails(this.replica.confState, nowMs)
    if (fails !== this.refusing)
      this.events.add(nowMs, fails ? 'changes refused' : 'changes taken', this.status.term)
    if (fails || this.refusing) this.leading.setRefusing(fails)
    this.refusing = fails
  }

  /**
   * The write of the last turn has failed and the log is not mended: to be called every now and then. The core stands still
   * meanwhile, so this member says itself what matters to others.
   */
  stalled(nowMs: number): void {
    this.nowMs = nowMs
    if (!this.failing) {
      this.failing = true
      this.events.add(nowMs, 'disk failed', this.status.term, this.o.id, this.o.log.failed?.message ?? '')
    }
    this.judgeDisks()
    this.regard()
    this.o.feed.refuseWaiting()
    this.forward.abandon(Number.POSITIVE_INFINITY)
    this.o.feed.tell()
    if (nowMs < this.stalledSaidMs + this.keepaliveTickMs) return
    this.stalledSaidMs = nowMs
    this.sayStalled()
    this.o.transport.flush()
  }

  private sayStalled(): void {
    const { transport, group, id } = this.o
    const { status } = this
    const leads = status.role === 'leader'
    const heir = leads && !this.refusing ? this.successor() : 0
    if (heir !== 0) {
      this.yields(heir)
      transport.send(group, heir, timeoutNow(heir, id, status.term))
    }
    for (const to of this.others) {
      if (leads && heir === 0) transport.send(group, to, heartbeat(to, id, status.term))
      else transport.keepalive(group, to)
    }
  }

  /** The log is mended, and the write that failed is done: `finish` follows. */
  mended(nowMs: number): void {
    this.nowMs = nowMs
    this.failing = false
    this.events.add(nowMs, 'disk mended', this.status.term, this.o.id)
    for (const to of this.others) this.o.transport.keepalive(this.o.group, to)
  }

  /** Changes that wait for too long are unknown. Every now and then. */
  houseKeep(nowMs: number): void {
    this.forward.abandon(nowMs - this.o.parkForMs)
  }

  /** Batches to this member arrive from now on; what was sent before may not have. */
  connected(member: number): void {
    if (member === this.status.leader) this.forward.again()
  }

  /** The member has started anew. */
  peerStarted(member: number): void {
    this.echoes.forget(member)
    this.greeted.delete(member)
  }

  private offer(to: number, message: Uint8Array): void {
    this.events.add(this.nowMs, 'snapshot sent', this.status.term, to)
    this.o.snapshots?.offer(to, message)
  }

  /** A MsgSnap whose snapshot is here, complete and synced, as `record`. */
  stepSnapshot(message: Uint8Array, record: SnapshotRecord, nowMs: number): void {
    this.nowMs = nowMs
    const term = messageInfo(message)?.term ?? 0
    const stepped = this.replica.stepSnapshot(message, record, nowMs)
    if (!stepped.ok) this.badMessages++
    this.regard()
    if (term === this.status.term) this.election.heard(nowMs)
  }

  reportSnapshot(to: number, ok: boolean): void {
    this.replica.reportSnapshot(to, ok)
  }

  proposeConfChange(change: ConfChange): Promise<Outcome> {
    return this.replica.proposeConfChange(change)
  }

  private configured(confState: ConfState, entry: Entry | null): void {
    const member = this.others.length > 0 || confState.voters.includes(this.o.id)
    const inside = [confState.voters, confState.votersOutgoing, confState.learners, confState.learnersNext]
    const mine = inside.some((ids) => ids.includes(this.o.id))
    if (member && !mine && !this.removed && entry !== null) this.leave(this.nowMs)
    if (mine) this.removed = false
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
