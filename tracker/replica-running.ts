// A member at work in its thread: the loop, its sleep, what the front ends see of it, and the orders of the main thread.
// Refuses: to decide; the member does, and the desk for changes of members.

import type { MessagePort } from 'node:worker_threads'
import type { ConfState, Core, Entry } from '@skep/raft'
import type { Identity } from './replica/birth.ts'
import { type Driven, drive, newDriven } from './replica/drive.ts'
import type { LogStore } from './replica/log.ts'
import { Member } from './replica/member.ts'
import { admission, type Directory, idsOf, nameOf, REMOVED_SENTENCE } from './replica/members.ts'
import { MembersMachine } from './replica/members-machine.ts'
import { MembershipDesk } from './replica/membership-desk.ts'
import { leaveGroup } from './replica/membership-leave.ts'
import type { View } from './replica/membership-view.ts'
import { restoreSnapshot } from './replica/snapshots.ts'
import { Transfers } from './replica/transfer-streams.ts'
import { type Parked, RingFeed } from './replica-feed.ts'
import type { News, Order, ReplicaOptions } from './replica-handle.ts'
import type { Network } from './replica-network.ts'
import { statusOf } from './replica-status.ts'
import { Control, monotonicMs, SERVING, STOPPING, WAITING } from './shared/control.ts'
import { clusterIdOf } from './swarm/apply.ts'
import { type Birth, birthEntry } from './swarm/entry.ts'
import { SwarmMachine } from './swarm/machine.ts'
import { Store } from './swarm/store.ts'

/** How long a clean stop waits for what is under way, milliseconds; and for leaving the group. */
const STOP_WAIT_MS = 3000
const LEAVE_WAIT_MS = 20_000
/** Between syncs of the mark (and, with `--fsync interval`, of the log), and looks for changes that wait too long. */
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

type Stop = { readonly number: number; readonly purge: boolean; byMs: number; moved: boolean; kept: string }

export class Running {
  readonly p: RunningParts
  readonly control: Control
  readonly store: Store
  readonly swarm: SwarmMachine
  readonly members: MembersMachine
  readonly driven: Driven = newDriven()
  readonly desk: MembershipDesk
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
  private stop: Stop | null = null
  private kick: (() => void) | null = null
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
      transfer: (to) => this.member.transfer(to, monotonicMs()),
      changed: (sentence) =>
        this.member.events.add(monotonicMs(), 'members changed', this.member.term, 0, sentence),
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
    const housekeeping = setInterval(() => this.member.houseKeep(monotonicMs()), HOUSEKEEPING_MS)
    await drive(this.surroundings(), this.driven)
    clearInterval(flushing)
    clearInterval(housekeeping)
    await this.end()
  }

  private make(): void {
    const { options, log, core, identity, network } = this.p
    const { incarnation, swarm, members } = this
    this.feed = new RingFeed({
      member: identity.memberId,
      incarnation,
      producers: options.producers,
      lingerMs: options.lingerMs,
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
        preference: (id) => this.order.get(this.nameOf(id)) ?? -1,
        preferHighest: options.cluster?.preferHighest ?? false,
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
      frame: (frame) => member.receive(frame, monotonicMs()),
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

  private wake(what: () => void): void {
    what()
    this.kick?.()
  }

  private removed(): void {
    if (this.removedBecause !== '') return
    this.removedBecause = REMOVED_SENTENCE
    this.member.leave(monotonicMs())
    this.p.say({ kind: 'note', sentence: REMOVED_SENTENCE })
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
      ended: () => this.mayEnd(),
    }
  }

  /** Snapshots on their way, and changes of members that nobody has to ask for. */
  private between(nowMs: number): void {
    const { transfers, desk } = this
    if (transfers === null) return
    if (transfers.due() <= nowMs) transfers.turn(nowMs)
    if (nowMs < this.tendMs || !this.member.replica.leads) return
    this.tendMs = nowMs + TEND_MS
    if (desk.due <= nowMs) void desk.turn(nowMs).catch(() => {})
  }

  /**
   * Until something comes in or the time is there. While changes wait (for company, for a leader) the rings are not
   * watched: each front end's next batch would wake this thread for nothing.
   */
  private async sleep(dueMs: number): Promise<void> {
    const untilMs = Math.min(dueMs, this.transfers?.due() ?? dueMs, this.stop?.byMs ?? dueMs)
    const ms = Math.max(0, Math.min(untilMs - monotonicMs(), LONGEST_SLEEP_MS))
    const kicked = new Promise<void>((resolve) => (this.kick = resolve))
    if (this.feed.waiting()) {
      const timer = setTimeout(() => this.kick?.(), Math.max(1, ms))
      await kicked
      clearTimeout(timer)
      return
    }
    const slept = this.control.sleepReplica(ms)
    // Published between the last look and the sleep: nobody has seen that this thread sleeps.
    if (slept.async && !this.feed.waiting()) await Promise.race([slept.value, kicked])
    this.control.replicaAwake()
  }

  /** What front ends test before they answer. */
  private publish(): void {
    const { control, member } = this
    control.setLeaseUntil(member.leaseUntilMs)
    const full = member.refusing || this.diskError !== ''
    if (control.diskFull !== full) control.setDiskFull(full)
    const serving = this.born && this.stop === null && member.mayAnswer(monotonicMs())
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
    else this.beginStop(order)
    this.kick?.()
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
    if (this.p.log.failed !== null || this.member.refusing || this.stop !== null) return 'refused'
    const { promise, resolve } = Promise.withResolvers<string>()
    const late = setTimeout(() => resolve('unknown'), this.p.options.parkForMs ?? PARK_FOR_MS)
    const fate = await Promise.race([this.member.replica.propose(entry), promise])
    clearTimeout(late)
    return fate
  }

  private async snapshot(): Promise<number> {
    const { replica } = this.member
    await replica.snapshots.take(replica.applied, replica.confState)
    return this.p.log.snapshot!.index
  }

  private beginStop({ number, purge }: Extract<Order, { kind: 'stop' }>): void {
    const leaves = purge && this.member.others.length > 0 && this.p.network !== null
    const stop = { number, purge, byMs: monotonicMs() + STOP_WAIT_MS, moved: false, kept: '' }
    if (leaves) {
      stop.byMs = monotonicMs() + LEAVE_WAIT_MS
      stop.kept = 'it did not come to leave the cluster in time'
      void this.leave(stop)
    }
    this.stop = stop
    this.publish()
  }

  /** Before its data is deleted, the group must not count on this member any more. */
  private async leave(stop: Stop): Promise<void> {
    const network = this.p.network!
    stop.kept = await leaveGroup({
      identity: this.p.identity,
      view: () => this.view(),
      desk: this.desk,
      ask: (address, question) => network.ask(address, question),
      now: monotonicMs,
      pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      untilMs: stop.byMs,
    })
    this.wake(() => {
      stop.byMs = monotonicMs() + STOP_WAIT_MS
      stop.moved = true
    })
  }

  /** Told to stop, leadership is elsewhere, and all that was taken from the rings is decided (or time is up). */
  private mayEnd(): boolean {
    const { stop, member } = this
    if (stop === null) return false
    const nowMs = monotonicMs()
    if (nowMs >= stop.byMs || this.p.log.failed !== null) return true
    if (stop.kept !== '' && !stop.moved) return false
    if (!stop.moved && member.replica.leads && !member.replica.alone) {
      stop.moved = true
      void member.transfer(0, nowMs)
    }
    if (member.transferring) return false
    return this.feed.idle || member.removed
  }

  private async end(): Promise<void> {
    const stop = this.stop!
    const { log, say, port, network } = this.p
    this.control.setState(STOPPING)
    this.member.replica.proposals.abandon()
    this.feed.refuseWaiting()
    this.feed.tell()
    await this.transfers?.stop()
    await network?.transport.close()
    await this.member.replica.snapshots.running
    await (stop.purge && stop.kept === '' ? log.purge() : log.close())
    if (stop.purge && stop.kept !== '')
      say({ kind: 'error', number: stop.number, message: `stopped, but its data was kept: ${stop.kept}` })
    else say({ kind: 'answer', number: stop.number, value: undefined })
    port.close()
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
