// A member at work in its thread: the loop, its sleep, what the front ends see of it, and the orders of the
// main thread. Refuses: to decide; the member does, and the desk for changes of members.

import type { MessagePort } from 'node:worker_threads'
import type { ConfState, Core, Entry } from '@skep/raft'
import { type Driven, drive, newDriven } from '../replica/drive.ts'
import type { LogStore } from '../replica/log/log.ts'
import { Member } from '../replica/member.ts'
import type { Identity } from '../replica/membership/birth.ts'
import { MembershipDesk } from '../replica/membership/desk.ts'
import {
  admission,
  type Directory,
  idsOf,
  nameOf,
  REMOVED_SENTENCE,
} from '../replica/membership/directory.ts'
import { MembersMachine } from '../replica/membership/members-machine.ts'
import type { View } from '../replica/membership/view.ts'
import { restoreSnapshot } from '../replica/snapshots.ts'
import { Transfers } from '../replica/transfer/streams.ts'
import { clusterIdOf } from '../swarm/apply.ts'
import { type Birth, birthEntry } from '../swarm/entry.ts'
import { SwarmMachine } from '../swarm/machine.ts'
import { Store } from '../swarm/store.ts'
import { Control, monotonicMs, SERVING, STOPPING, WAITING } from '../threads/state.ts'
import { Bulletin } from './bulletin.ts'
import { drain, handOver } from './drain.ts'
import { Ending } from './ending.ts'
import { type Parked, RingFeed } from './feed.ts'
import type { News, Order, ReplicaOptions } from './handle.ts'
import type { Network } from './network.ts'
import { Saving } from './saving.ts'
import { statusOf } from './status.ts'

/**
 * Between syncs of the mark (and, with `--fsync interval`, of the log), and looks for changes that wait too
 * long.
 */
const FLUSH_MS = 1000
const HOUSEKEEPING_MS = 100
/** Between looks at who might be a member next. */
const TEND_MS = 200
const LONGEST_SLEEP_MS = 1000
/** Where nothing else is said. */
const KEEPALIVE_MS = 1000
const MISSED = 2
const PARK_FOR_MS = 3500

export type RunningParts = {
  readonly options: ReplicaOptions
  readonly port: MessagePort
  readonly say: (news: News) => void
  readonly log: LogStore
  readonly core: Core
  readonly identity: Identity
  /** Whom this member knows before the log or a snapshot tells. */
  readonly directory: Directory
  readonly buffers: Store['buffers']
  /** Null: alone for good. */
  readonly network: Network | null
}

export class Running {
  readonly p: RunningParts
  readonly control: Control
  readonly store: Store
  readonly swarm: SwarmMachine
  readonly members: MembersMachine
  readonly driven: Driven = newDriven()
  readonly desk: MembershipDesk
  readonly bulletin: Bulletin
  readonly saving = new Saving(this)
  private readonly ending = new Ending(this)
  readonly keepaliveMs: number
  readonly missed: number
  feed!: RingFeed
  member!: Member<Parked>
  transfers: Transfers | null = null
  incarnation = 0
  diskError = ''
  /** Why this replica is not wanted any more; '' while it is. */
  removedBecause = ''
  private served = false
  private wasBorn = false
  private tendMs = Number.NEGATIVE_INFINITY
  private wakeUp: (() => void) | null = null
  private order = new Map<string, number>()

  constructor(parts: RunningParts) {
    this.p = parts
    const { options, buffers, directory, identity } = parts
    this.keepaliveMs = options.cluster?.keepaliveMs ?? KEEPALIVE_MS
    this.missed = options.cluster?.missed ?? MISSED
    this.control = new Control(options.control)
    this.store = new Store(buffers)
    this.swarm = new SwarmMachine(
      this.store,
      {
        part: (member, incarnation, producer, first, count) =>
          this.feed.part(member, incarnation, producer, first, count),
        batch: (member, incarnation, number, taken) => {
          if (taken) this.feed.batch(member, incarnation)
          this.member.forward.applied(member, incarnation, number)
        },
      },
      () => this.feed.tell(),
    )
    this.members = new MembersMachine(this.swarm, directory, (id) => this.swarm.forgetMember(id))
    this.desk = new MembershipDesk({
      identity,
      view: () => this.view(),
      propose: (change) => this.member.proposeConfChange(change),
      transfer: (to) => {
        this.bulletin.moves(this.member.term, to, monotonicMs())
        return this.member.transfer(to, monotonicMs())
      },
      changed: (sentence) =>
        this.member.events.add(monotonicMs(), 'members changed', this.member.term, 0, sentence),
    })
    this.bulletin = new Bulletin({
      self: identity.memberId,
      others: () => this.member.others,
      tell: (to, body) => parts.network?.transport.keepalive(0, to, body),
      own: () => ({
        version: options.version ?? '',
        applied: this.member.replica.applied,
        diskBytes: parts.log.bytes + (parts.log.snapshot?.bytes ?? 0),
        control: options.controlAddress ?? '',
      }),
    })
  }

  async run(): Promise<void> {
    const { log, port, say } = this.p
    await restoreSnapshot(log, this.members)
    this.incarnation = await log.nextIncarnation()
    this.make()
    this.connect()
    port.on('message', (order: Order) => this.take(order))
    say({ kind: 'open', store: this.store.buffers })
    const flushing = setInterval(() => this.flush(), FLUSH_MS)
    const housekeeping = setInterval(() => this.member.abandonLate(monotonicMs()), HOUSEKEEPING_MS)
    await drive(this.surroundings(), this.driven)
    clearInterval(flushing)
    clearInterval(housekeeping)
    await this.ending.end()
  }

  private make(): void {
    const { options, log, core, identity, network } = this.p
    const { incarnation, swarm, members } = this
    this.feed = new RingFeed({
      member: identity.memberId,
      incarnation,
      producers: options.producers,
      relaxed: options.consistency === 'relaxed',
      timeMs: () => swarm.timeMs,
      lastBatch: (member) => swarm.lastBatch(member),
      birth: () => (this.born ? null : birthEntry(identity.birth as Birth)),
    })
    this.rank()
    this.member = new Member(
      {
        core,
        group: 0,
        id: identity.memberId,
        incarnation,
        log,
        machine: members,
        feed: this.feed,
        transport: network?.transport ?? SILENT,
        snapshots: {
          offer: (to, m) => this.transfers?.offer(to, m),
          arrived: (from, m) => this.transfers?.arrived(from, m),
        },
        keepaliveMs: this.keepaliveMs,
        missed: this.missed,
        lingerMs: options.lingerMs,
        parkForMs: options.parkForMs ?? PARK_FOR_MS,
        loose: options.fsync === 'interval',
        snapshotLogBytes: options.snapshotLogBytes,
        fresh: incarnation === 1,
        preference: (id) => this.preference(id),
        preferHighest: options.cluster?.preferHighest ?? false,
        staysPut: () => this.bulletin.wasAskedToLead(this.member.term),
        onLeading: (leads) => {
          if (!leads) this.transfers?.only(null)
        },
        onConfState: (confState, entry) => this.configured(confState, entry),
      },
      monotonicMs(),
    )
  }

  private connect(): void {
    const { network, identity, log } = this.p
    if (network === null) return
    const { member } = this
    const { replica } = member
    this.transfers = new Transfers({
      group: 0,
      log,
      transport: network.transport,
      now: monotonicMs,
      breathe: () => new Promise((resolve) => setImmediate(resolve)),
      report: (to, ok) => this.wake(() => member.reportSnapshot(to, ok)),
      pin: (index) => replica.snapshots.pin(index),
      retake: () => void replica.snapshots.take(replica.applied, replica.confState).catch(() => {}),
      term: () => replica.status.term,
      commit: () => replica.status.commit,
      install: (message, record) => this.wake(() => member.stepSnapshot(message, record, monotonicMs())),
    })
    network.serve(identity.clusterId, identity.memberId, this.incarnation, {
      frame: (frame) => {
        this.bulletin.take(frame)
        member.receive(frame, monotonicMs())
      },
      received: () => this.wake(() => this.publish()),
      stamp: (to, stamp) => member.stamp(to, stamp),
      admit: (hello) => admission(this.members.directory, replica.confState, replica.applied, hello),
      connected: (id) => this.wake(() => member.connected(id)),
      started: (id) => member.peerStarted(id),
      refused: (_id, refusal) => {
        if (refusal.code === 'removed member') this.removed()
      },
      stream: (begin) => this.transfers!.stream(begin),
      question: (question) => this.desk.answer(question),
    })
    network.follow(this.members.directory, identity.memberId)
  }

  wake<T>(what: () => T): T {
    const done = what()
    this.wakeUp?.()
    return done
  }

  private removed(): void {
    if (this.removedBecause !== '') return
    this.removedBecause = REMOVED_SENTENCE
    this.member.leave(monotonicMs())
    this.p.say({ kind: 'removed', sentence: REMOVED_SENTENCE })
    this.publish()
  }

  private configured(confState: ConfState, entry: Entry | null): void {
    const { network, identity } = this.p
    this.members.configured(confState, entry)
    this.rank()
    this.transfers?.only(new Set(idsOf(confState)))
    network?.follow(this.members.directory, identity.memberId)
    if (entry !== null && !idsOf(confState).includes(identity.memberId)) this.removed()
  }

  /** Names in natural order: r10 is preferred to r9. */
  private rank(): void {
    const names = this.members.directory.members.map((m) => m.name)
    names.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
    this.order = new Map(names.map((name, i) => [name, i]))
  }

  /** Who should rather lead: the higher. Nobody who is being drained, if it can be helped. */
  preference(id: number): number {
    return this.bulletin.of(id)?.draining === true ? -1 : (this.order.get(this.nameOf(id)) ?? -1)
  }

  nameOf(id: number): string {
    return this.members.directory.members.find((m) => m.id === id)?.name ?? nameOf(this.members.directory, id)
  }

  view(): View {
    const { replica, peers } = this.member
    const { cluster } = this.p.options
    const nowMs = monotonicMs()
    const heardMsAgo = new Map<number, number>()
    for (const { id } of this.members.directory.members) {
      const news = peers.of(id)
      if (news !== null) heardMsAgo.set(id, nowMs - news.heardMs)
    }
    return {
      self: this.p.identity.memberId,
      leads: replica.leads,
      leader: replica.status.leader,
      confState: replica.confState,
      directory: this.members.directory,
      lastIndex: replica.status.lastIndex,
      progress: replica.progress(),
      heardMsAgo,
      deadAfterMs: this.keepaliveMs * this.missed,
      maxVoters: cluster?.maxVoters ?? 1,
      promotes: cluster?.promotes ?? false,
      controlOf: (id) => this.bulletin.of(id)?.control ?? '',
    }
  }

  /** The birth record is applied. Once it is, it stays. */
  get born(): boolean {
    this.wasBorn ||= clusterIdOf(this.store) !== ''
    return this.wasBorn
  }

  private surroundings(): Parameters<typeof drive>[0] {
    return {
      member: this.member,
      log: this.p.log,
      now: monotonicMs,
      between: (nowMs) => this.between(nowMs),
      published: () => this.publish(),
      sleep: (untilMs) => this.sleep(untilMs),
      pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      failing: (error) => {
        this.diskError = error?.message ?? ''
      },
      ended: () => this.ending.may(),
    }
  }

  /** Snapshots on their way, and changes of members that nobody has to ask for. */
  private between(nowMs: number): void {
    const { transfers, desk } = this
    if (transfers === null) return
    if (transfers.due() <= nowMs) transfers.turn(nowMs)
    if (nowMs < this.tendMs) return
    this.tendMs = nowMs + TEND_MS
    this.bulletin.tell(nowMs)
    if (!this.member.replica.leads) return
    // Elected again while it is being drained: not for long.
    if (this.bulletin.draining && !this.member.transferring) void handOver(this)
    if (desk.due <= nowMs) void desk.turn(nowMs).catch(() => {})
  }

  /**
   * Until something comes in or the time is there. While changes wait (for company, for a leader) the rings
   * are not watched: each front end's next batch would wake this thread for nothing.
   */
  private async sleep(dueMs: number): Promise<void> {
    const untilMs = Math.min(dueMs, this.transfers?.due() ?? dueMs, this.ending.byMs)
    const ms = Math.max(0, Math.min(untilMs - monotonicMs(), LONGEST_SLEEP_MS))
    const woken = new Promise<void>((resolve) => (this.wakeUp = resolve))
    if (this.feed.waiting()) {
      const timer = setTimeout(() => this.wakeUp?.(), Math.max(1, ms))
      await woken
      clearTimeout(timer)
      return
    }
    const slept = this.control.sleepReplica(ms)
    // Published between the last look and the sleep: nobody has seen that this thread sleeps.
    if (slept.async && !this.feed.waiting()) await Promise.race([slept.value, woken])
    this.control.replicaAwake()
  }

  /** What front ends test before they answer. */
  private publish(): void {
    const { control, member } = this
    control.setLeaseUntil(member.leaseUntilMs)
    const full = member.refusing || this.diskError !== ''
    if (control.diskFull !== full) control.setDiskFull(full)
    const serving = this.born && !this.ending.begun && member.mayAnswer(monotonicMs())
    if (!serving) {
      if (control.state === SERVING) control.setState(WAITING)
      return
    }
    if (control.state !== STOPPING && control.state !== SERVING) control.setState(SERVING)
    if (!this.served) this.p.say({ kind: 'serving' })
    this.served = true
  }

  private flush(): void {
    if (this.p.log.failed === null) void this.p.log.flush().catch(() => {})
  }

  private take(order: Order): void {
    const { say } = this.p
    const answer = (value: unknown): void => say({ kind: 'answer', number: order.number, value })
    const error = (e: Error): void => say({ kind: 'error', number: order.number, message: e.message })
    if (order.kind === 'status') answer(statusOf(this))
    else if (order.kind === 'snapshot') void this.snapshot().then(answer, error)
    else if (order.kind === 'propose') void this.propose(order.entry).then(answer, error)
    else if (order.kind === 'members') void this.desk.request(order.request).then(answer, error)
    else if (order.kind === 'events') answer(this.events(order.since))
    else if (order.kind === 'fault') answer(this.p.network?.fault(order.member, order.fault) ?? false)
    else if (order.kind === 'drain') void drain(this, order.on).then(answer, error)
    else if (order.kind === 'save') void this.saving.begin().then(answer, error)
    else if (order.kind === 'piece') void this.saving.next(order.id).then(answer, error)
    else if (order.kind === 'unsave') answer(this.saving.end(order.id))
    else {
      this.ending.begin(order)
      this.publish()
    }
    this.wakeUp?.()
  }

  /** Monotonic times as wall times of now: for display. */
  private events(since: number): unknown {
    const offsetMs = Date.now() - monotonicMs()
    return this.member.events.after(since).map(({ atMs, ...e }) => ({
      ...e,
      at: new Date(atMs + offsetMs).toISOString(),
      name: e.member === 0 ? '' : this.nameOf(e.member),
    }))
  }

  private async propose(entry: Uint8Array): Promise<unknown> {
    if (this.p.log.failed !== null || this.member.refusing || this.ending.begun) return 'refused'
    const { promise, resolve } = Promise.withResolvers<string>()
    const late = setTimeout(() => resolve('unknown'), this.p.options.parkForMs ?? PARK_FOR_MS)
    const fate = await Promise.race([this.member.propose(entry), promise])
    clearTimeout(late)
    return fate
  }

  private async snapshot(): Promise<number> {
    const { replica } = this.member
    await replica.snapshots.take(replica.applied, replica.confState)
    return this.p.log.snapshot!.index
  }
}

/** The network of a replica alone. */
const SILENT = {
  send: () => {},
  sendBatch: () => false,
  sendNotice: () => {},
  keepalive: () => {},
  flush: () => {},
}
