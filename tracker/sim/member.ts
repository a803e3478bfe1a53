// The production's member in a simulated world: birth, log, loop, Raft, apply, batches, lease, elections,
// snapshots and changes of members are the real ones; around them stands what a thread does otherwise, in
// virtual time (replica-thread/running.ts is its twin over real time). Refuses: decisions of its own; who
// needs another shell writes another `StartMember`.

import type { ConfState, Entry } from '@skep/raft'
import { drive, newDriven } from '../replica/drive.ts'
import type { LogStore } from '../replica/log/log.ts'
import { LogWriteFailed } from '../replica/log/log.ts'
import { openLog } from '../replica/log/store.ts'
import { Member as ReplicaMember } from '../replica/member.ts'
import type { Identity } from '../replica/membership/birth.ts'
import { type Birth, firstDirectory } from '../replica/membership/birth-flow.ts'
import { MembershipDesk } from '../replica/membership/desk.ts'
import { admission, idsOf } from '../replica/membership/directory.ts'
import { admitLevel } from '../replica/membership/level.ts'
import { admitLife, LifeRefused, Lives } from '../replica/membership/lives.ts'
import { MembersMachine } from '../replica/membership/members-machine.ts'
import type { Request } from '../replica/membership/requests.ts'
import { restoreSnapshot } from '../replica/snapshots.ts'
import { Transfers } from '../replica/transfer/streams.ts'
import type { Bulletin } from '../replica-thread/bulletin.ts'
import type { Parked, RingFeed } from '../replica-thread/feed.ts'
import { clusterIdOf } from '../swarm/apply.ts'
import { SwarmMachine } from '../swarm/machine.ts'
import { SERVING, STARTING, STOPPING, WAITING } from '../threads/state.ts'
import { Air, numberOfAddress } from './air.ts'
import { birthOf } from './birth.ts'
import { canaryLife, canaryLog, canaryRefusal } from './canaries.ts'
import { bulletinOf, feedOf, viewOf } from './making.ts'
import { type Frame, KEEPALIVE_MS, type Member, MISSED, type Place } from './place.ts'
import { raiseLevel } from './upgrade.ts'
import { watched } from './watched.ts'

export const PARK_FOR_MS = 3500
const LINGER_MS = 2
/** How long a clean stop waits for what is under way, milliseconds. */
const STOP_WAIT_MS = 3000
const HOUSEKEEPING_MS = 100
const FLUSH_EVERY = 10
/** Between two looks at what is to be done about members, milliseconds. */
const TEND_MS = 1000
/** Parts of a snapshot: small, so that a transfer has many. */
const PART_BYTES = 2048
/** Between two parts of a snapshot that is sent. */
const BREATH_MS = 0.1

export const startMember = (place: Place): Member => new SimulatedMember(place)

class SimulatedMember implements Member {
  private readonly place: Place
  private readonly air: Air
  private readonly swarm: SwarmMachine
  private identity: Identity | null = null
  private members: MembersMachine | null = null
  private desk: MembershipDesk | null = null
  private transfers: Transfers | null = null
  private member: ReplicaMember<Parked> | null = null
  private feed: RingFeed | null = null
  private lives: Lives | null = null
  private bulletin: Bulletin | null = null
  private log: LogStore | null = null
  private handle = 0
  private stopped = false
  /** Told to stop in good order. */
  private ending: { readonly byMs: number; moved: boolean } | null = null
  private diskFails = false
  /** The entry that changes the configuration now. */
  private configuring = 0
  private tendMs = Number.NEGATIVE_INFINITY
  private wakeUp: (() => void) | null = null
  private role = ''
  private born = false
  private births: Birth | null = null
  private order = new Map<string, number>()

  constructor(place: Place) {
    this.place = place
    this.air = new Air(place, async (bytes) => {
      if (this.births === null) throw new Error('not yet')
      return this.births.answer(bytes)
    })
    this.swarm = new SwarmMachine(
      place.store,
      {
        part: (member, incarnation, producer, first, count) =>
          this.feed!.part(member, incarnation, producer, first, count),
        batch: (member, incarnation, number, taken) => {
          if (taken) this.feed!.batch(member, incarnation)
          this.member!.forward.applied(member, incarnation, number)
        },
      },
      () => {
        this.feed!.tell()
        place.wakeFrontEnd()
      },
    )
    void this.run().catch((error: unknown) => {
      if (this.stopped) return
      const disk =
        error instanceof LogWriteFailed || /^E[A-Z]+$/.test(String((error as { code?: unknown }).code))
      place.ended(error, !disk)
    })
  }

  get leads(): boolean {
    return this.member?.replica.leads ?? false
  }
  get term(): number {
    return this.member?.replica.status.term ?? 0
  }
  get applied(): number {
    return this.member?.replica.applied ?? 0
  }
  get level(): boolean {
    const { replica } = this.member ?? {}
    return replica !== undefined && replica.status.lastIndex === replica.applied
  }
  get synced(): number {
    return this.log?.synced ?? 0
  }
  remembered(of: Member): number {
    const known =
      (of as SimulatedMember).identity === null
        ? null
        : this.lives?.of((of as SimulatedMember).identity!.memberId)
    return known?.nonce === of.nonce ? known.batch : -1
  }
  get nonce(): string {
    return this.lives?.life.nonce ?? ''
  }
  get serving(): boolean {
    return this.member !== null
  }
  /** Numbers of the members, as this one knows them. */
  get others(): readonly number[] {
    if (this.member === null) return []
    const ids = new Set(idsOf(this.member.replica.confState))
    return this.members!.directory.members.filter((m) => ids.has(m.id)).map((m) => numberOfAddress(m.address))
  }

  /** Voters; both halves of a joint configuration. */
  get sets(): readonly (readonly number[])[] {
    if (this.member === null) return []
    const { voters, votersOutgoing } = this.member.replica.confState
    return [voters, votersOutgoing]
      .map((ids) => ids.map((id) => this.air.numberOf(id)))
      .filter((s) => s.length > 0)
  }

  get elected(): boolean {
    return this.member?.replica.status.role === 'leader'
  }
  get joint(): boolean {
    return (this.member?.replica.confState.votersOutgoing.length ?? 0) > 0
  }

  wake(): void {
    this.wakeUp?.()
  }
  stop(): void {
    this.stopped = true
    this.wakeUp = null
    if (this.handle > 0) this.place.core.destroy(this.handle)
  }

  private async run(): Promise<void> {
    const { place, air, swarm } = this
    place.control.setState(STARTING)
    const log = canaryLog(place.canary, await openLog(place.disk, { group: 0, loose: false }))
    this.log = log
    this.births = birthOf(
      place,
      log,
      (address, question) => air.ask(address, question),
      (ms) => this.pause(ms),
    )
    const identity = await this.births.run()
    this.identity = identity
    place.identified(identity.memberId)
    const members = new MembersMachine(
      watched(place, swarm, () => this.member),
      firstDirectory(identity),
      (id) => this.forget(id),
    )
    this.members = members
    await restoreSnapshot(log, members)
    const incarnation = await log.nextIncarnation()
    place.witness.incarnation(incarnation)
    place.note('restored', log.snapshot?.index ?? 0, incarnation)
    place.witness.restored(log.snapshot?.index ?? 0)
    const nonce = place.random.word().toString(16)
    const life = { nonce, incarnation, began: log.began, lastIndex: log.lastIndex }
    this.lives = new Lives(identity.memberId, life, log.lives)
    this.feed = feedOf(place, swarm, identity, incarnation, () => this.isBorn())
    this.rank()
    const member = this.makeMember(identity, incarnation, log, members)
    this.member = member
    this.desk = new MembershipDesk({
      identity,
      view: () => viewOf(place, identity, member, members, air),
      level: () => place.store.level,
      propose: (change) => member.proposeConfChange(change),
      transfer: (to) => member.transfer(to, place.clock.now()),
      changed: () => place.note('members', ...new Set(this.sets.flat())),
    })
    this.bulletin = bulletinOf(identity, log, member, this.lives, air)
    this.connect(identity, log, member)
    air.follow(members.directory, identity.memberId)
    this.abandonLate(0)
    await drive(this.surroundings(log, member), newDriven()).catch((error: unknown) =>
      this.refused(error, log),
    )
    await this.end(log, member)
  }

  /** As replica-thread/running.ts does. */
  private async refused(error: unknown, log: LogStore): Promise<never> {
    if (error instanceof LifeRefused) {
      this.lives!.condemn(error.message)
      await this.lives!.save(log)
    }
    throw error
  }

  /** As replica-thread/ending.ts does: leadership elsewhere, what was taken decided, or time is up. */
  private mayEnd(): boolean {
    const { ending, place } = this
    const member = this.member!
    if (ending === null) return false
    const nowMs = place.clock.now()
    if (nowMs >= ending.byMs || this.log!.failed !== null) return true
    if (!ending.moved && member.replica.leads && !member.replica.alone) {
      ending.moved = true
      void member.transfer(0, nowMs)
    }
    return !member.transferring && (this.feed!.idle || member.removed)
  }

  private async end(log: LogStore, member: ReplicaMember<Parked>): Promise<void> {
    const { place, feed, transfers } = this
    place.control.setState(STOPPING)
    member.replica.proposals.abandon()
    feed!.refuseWaiting()
    feed!.tell()
    place.wakeFrontEnd()
    await transfers!.stop()
    await member.replica.snapshots.running
    await log.close()
    if (!this.stopped) place.stopped()
  }

  private makeMember(
    identity: Identity,
    incarnation: number,
    log: LogStore,
    machine: MembersMachine,
  ): ReplicaMember<Parked> {
    const { place, air } = this
    return new ReplicaMember<Parked>(
      {
        // The only place where the group's number is told: it ends with the process.
        core: { ...place.core, create: (options) => (this.handle = place.core.create(options)) },
        ...{ group: 0, id: identity.memberId, incarnation, log, machine, feed: this.feed!, transport: air },
        snapshots: {
          offer: (to, message) => {
            if (place.canary !== 'sends-no-snapshots') this.transfers!.offer(to, message)
          },
          arrived: (from, message) => this.transfers!.arrived(from, message),
        },
        ...{ keepaliveMs: KEEPALIVE_MS, missed: MISSED, lingerMs: LINGER_MS, parkForMs: PARK_FOR_MS },
        ...{ loose: false, snapshotLogBytes: place.snapshotLogBytes, preferHighest: place.preferHighest },
        fresh: incarnation === 1 || place.canary === 'votes-after-restart',
        level: () => place.store.level,
        preference: (id) => this.order.get(this.nameOf(id)) ?? -1,
        onLeading: (leads) => {
          place.note(leads ? 'leads' : 'leadsNoMore', this.term)
          this.lives!.leads(leads, (id, nonce) => this.air.isHere(id, nonce))
          if (!leads) this.transfers?.only(null)
        },
        onConfState: (confState, entry) => this.configured(confState, entry),
      },
      place.clock.now(),
    )
  }

  private connect(identity: Identity, log: LogStore, member: ReplicaMember<Parked>): void {
    const { place, air } = this
    const { clock } = place
    const { replica } = member
    this.transfers = new Transfers({
      group: 0,
      log,
      transport: air,
      now: () => clock.now(),
      breathe: () => this.pause(BREATH_MS),
      report: (to, ok) => this.wakeAfter(() => member.reportSnapshot(to, ok)),
      pin: (index) => replica.snapshots.pin(index),
      retake: () => void replica.snapshots.take(replica.applied, replica.confState).catch(() => {}),
      term: () => replica.status.term,
      commit: () => replica.status.commit,
      install: (message, record) => this.wakeAfter(() => member.stepSnapshot(message, record, clock.now())),
      partBytes: PART_BYTES,
    })
    const { lives, bulletin } = this
    air.serve(identity.clusterId, identity.memberId, lives!.life, {
      frame: (frame) => {
        const word = bulletin!.take(frame)
        const { leader, term } = replica.status
        const by = frame.from === leader && frame.term === term ? { id: leader, term } : null
        if (word !== null) for (const id of lives!.told(word.lives, by)) air.turnOut(id)
        member.receive(frame, clock.now())
      },
      received: () => this.wakeAfter(() => this.publish()),
      stamp: (to, stamp) => member.stamp(to, stamp),
      admit: (hello, rival) =>
        canaryRefusal(place.canary, place.random) ??
        admission(this.members!.directory, replica.confState, replica.applied, hello) ??
        canaryLife(place.canary, admitLife(lives!, replica, hello, rival)) ??
        admitLevel(member.peers, place.store.level, hello),
      connected: (id) => this.wakeAfter(() => member.connected(id)),
      started: (id) => member.peerStarted(id),
      refused: (_id, refusal) => {
        if (refusal.final === true) this.wakeAfter(() => member.refuse(refusal.sentence))
        if (refusal.code !== 'removed member') return
        place.witness.dismissed()
        member.leave(clock.now())
      },
      stream: (begin) => this.transfers!.stream(begin),
      standing: (said) => lives!.standing(said),
      leader: () => replica.status.leader,
      question: (question) => this.desk!.answer(question),
    })
  }

  private wakeAfter(what: () => void): void {
    // What comes late to a process that has ended meets nobody.
    if (this.stopped) return
    what()
    this.wakeUp?.()
  }

  private configured(confState: ConfState, entry: Entry | null): void {
    const { members, air, identity } = this
    this.configuring = entry?.index ?? 0
    members!.configured(confState, entry)
    this.rank()
    this.transfers?.only(new Set(idsOf(confState)))
    air.follow(members!.directory, identity!.memberId)
  }

  private forget(id: number): void {
    this.swarm.forgetMember(id)
    this.lives!.forget(id)
    this.place.witness.forgot(id, this.configuring)
  }

  private rank(): void {
    const names = this.members!.directory.members.map((m) => m.name).sort()
    this.order = new Map(names.map((name, i) => [name, i]))
  }

  private nameOf(id: number): string {
    return this.members!.directory.members.find((m) => m.id === id)?.name ?? ''
  }

  private surroundings(log: LogStore, member: ReplicaMember<Parked>): Parameters<typeof drive>[0] {
    const { clock } = this.place
    return {
      member,
      log,
      now: () => clock.now(),
      between: (nowMs) => this.between(nowMs),
      published: () => this.publish(),
      sleep: (untilMs) => this.sleep(untilMs),
      pause: (ms) => this.pause(ms),
      failing: (error) => {
        this.diskFails = error !== null
      },
      ended: () => this.mayEnd(),
    }
  }

  /** Tells front end and world where the member stands now. */
  private publish(): void {
    const { place, member } = this
    const { control, clock } = place
    const { role, term, leader } = member!.replica.status
    const now = `${role} ${term} ${leader}`
    if (now !== this.role) {
      this.role = now
      place.witness.role(role, term, this.air.numberOf(leader))
    }
    const careless = member!.replica.leads ? 'lease-not-checked' : 'follower-needs-no-lease'
    const unchecked = place.canary === careless
    control.setLeaseUntil(unchecked ? Number.POSITIVE_INFINITY : member!.leaseUntilMs)
    const full = member!.refusing || this.diskFails
    if (control.diskFull !== full) control.setDiskFull(full)
    const serving = this.isBorn() && this.ending === null && (unchecked || member!.mayAnswer(clock.now()))
    if (!serving) {
      if (control.state === SERVING) control.setState(WAITING)
      return
    }
    if (control.state === SERVING) return
    control.setState(SERVING)
    place.wakeFrontEnd()
  }

  private isBorn(): boolean {
    this.born ||= clusterIdOf(this.place.store) !== ''
    return this.born
  }

  /** What goes on beside Raft. */
  private between(nowMs: number): void {
    const { transfers, desk, member } = this
    if (transfers!.due() <= nowMs) transfers!.turn(nowMs)
    if (nowMs < this.tendMs) return
    this.tendMs = nowMs + TEND_MS
    this.bulletin!.tell(nowMs)
    void this.lives!.save(this.log!)
    if (!member!.replica.leads) return
    if (desk!.due <= nowMs) void desk!.turn(nowMs).catch(() => {})
    raiseLevel(this.place, member!, this.members!.directory, KEEPALIVE_MS * MISSED)
  }

  private sleep(dueMs: number): Promise<void> {
    const { clock, stir } = this.place
    const nowMs = clock.now()
    const byMs = this.ending?.byMs ?? dueMs
    const untilMs = Math.max(nowMs, Math.min(dueMs, this.transfers!.due(), byMs))
    return new Promise((resolve) => {
      const wake = (): void => {
        clock.cancel(timer)
        this.wakeUp = null
        stir()
        resolve()
      }
      const timer = clock.after(untilMs - nowMs, wake)
      this.wakeUp = wake
    })
  }

  private pause(ms: number): Promise<void> {
    const { clock, stir } = this.place
    return new Promise((resolve) => {
      clock.after(ms, () => {
        stir()
        resolve()
      })
    })
  }

  private abandonLate(turn: number): void {
    const { clock, stir } = this.place
    clock.after(HOUSEKEEPING_MS, () => {
      this.member!.abandonLate(clock.now())
      if (turn % FLUSH_EVERY === 0 && this.log!.failed === null) {
        stir()
        void this.log!.flush().catch(() => {})
      }
      this.abandonLate(turn + 1)
    })
  }

  receive(from: number, frame: Frame): void {
    if (this.stopped) return
    this.air.receive(from, frame)
    this.wakeUp?.()
  }

  broken(member: number, channel: number): void {
    if (!this.stopped) this.air.broken(member, channel)
  }

  connected(member: number, channel: number): void {
    if (!this.stopped) this.air.connected(member, channel)
  }

  left(member: number): void {
    if (!this.stopped) this.air.left(member)
  }

  finish(): void {
    const { place } = this
    if (this.member === null) place.stopped()
    this.ending ??= { byMs: place.clock.now() + STOP_WAIT_MS, moved: false }
    this.wakeUp?.()
  }

  change(request: Request): void {
    if (this.desk === null || !this.leads) return
    this.place.note('change', CHANGES.indexOf(request.kind))
    void this.desk.request(request)
    this.wakeUp?.()
  }
}

export const CHANGES = ['add', 'promote', 'demote', 'remove', 'transfer'] as const
