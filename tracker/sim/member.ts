// The production's member in a simulated world: log, loop, Raft, apply, batches, lease and elections are the real ones;
// around them stands what a thread and a transport do otherwise, in virtual time.
// Refuses: decisions of its own; who needs another shell writes another `StartMember`.

import { MSG_SNAP, messageInfo } from '@skep/raft/message.ts'
import { begin } from '../replica/begin.ts'
import { raftType, WireClock } from '../replica/echo.ts'
import {
  BATCH,
  HEADER_BYTES,
  KEEPALIVE,
  NOTICE,
  newFrame,
  newStamp,
  RAFT,
  readHeader,
  type Frame as WireFrame,
  writeHeader,
} from '../replica/frame.ts'
import { encodeBatchHead } from '../replica/frame-body.ts'
import type { LogStore, SnapshotRecord } from '../replica/log.ts'
import { LogWriteFailed } from '../replica/log.ts'
import { openLog } from '../replica/log-store.ts'
import type { Machine } from '../replica/machine.ts'
import { Member as ReplicaMember } from '../replica/member.ts'
import { DONE, WRITING } from '../replica/replica.ts'
import { restoreSnapshot } from '../replica/snapshots.ts'
import { SERVING, STARTING } from '../shared/control.ts'
import { clusterIdOf } from '../swarm/apply.ts'
import { birthEntry } from '../swarm/entry.ts'
import { SwarmMachine } from '../swarm/machine.ts'
import { canaryMachine } from './canaries.ts'
import type { Frame, Member, Place } from './place.ts'
import { type Part, RingFeed } from './ring-feed.ts'
import { OWN_TYPES } from './trace.ts'

export const KEEPALIVE_MS = 1000
export const MISSED = 2
const LINGER_MS = 2
export const PARK_FOR_MS = 3500
const HOUSEKEEPING_MS = 200
/** While a disk takes nothing: the member speaks this often, and the log is mended after a wait that doubles, milliseconds. */
const STALLED_MS = 100
const MEND_FIRST_MS = 100
const MEND_MOST_MS = 5000
/** A snapshot that has no outcome by then has failed. */
const SNAPSHOT_MS = 5000

/** A frame as it travels, header and body, from one life of a member. */
type FrameBytes = Frame & { readonly kind: 'frame'; readonly life: number; readonly bytes: Uint8Array }
type SnapshotFrame = Frame & {
  readonly kind: 'snapshot'
  readonly life: number
  readonly record: SnapshotRecord
  readonly chunks: readonly Uint8Array[]
  /** The MsgSnap that names it. */
  readonly message: Uint8Array
}
type OutcomeFrame = Frame & {
  readonly kind: 'outcome'
  readonly life: number
  readonly index: number
  readonly ok: boolean
}
type AnyFrame = FrameBytes | SnapshotFrame | OutcomeFrame

export const startMember = (place: Place): Member => new SimulatedMember(place)

class SimulatedMember implements Member {
  private readonly place: Place
  private readonly id: number
  private readonly wire: WireClock
  private member: ReplicaMember<Part> | null = null
  private feed: RingFeed | null = null
  private log: LogStore | null = null
  private handle = 0
  private stopped = false
  private kick: (() => void) | null = null
  private role = ''
  private born = false
  /** Lives of the others, as their frames told. */
  private readonly lives = new Map<number, number>()
  /** Members that a snapshot is on its way to, and of which entry. */
  private readonly sending = new Map<number, number>()
  private receiving = false
  private readonly frame: WireFrame = newFrame()
  private readonly stamp = newStamp()

  constructor(place: Place) {
    this.place = place
    this.id = place.ids[place.number - 1]!
    this.wire = new WireClock(place.clock.now(), place.random.unit())
    void this.run().catch((error: unknown) => {
      const disk =
        error instanceof LogWriteFailed || /^E[A-Z]+$/.test(String((error as NodeJS.ErrnoException).code))
      if (!this.stopped) place.ended(error, !disk)
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

  wake(): void {
    this.kick?.()
  }

  stop(): void {
    this.stopped = true
    this.kick = null
    if (this.handle > 0) this.place.core.destroy(this.handle)
  }

  private async run(): Promise<void> {
    const { place } = this
    place.control.setState(STARTING)
    const log = await openLog(place.disk, { group: 0, loose: false })
    this.log = log
    await begin(log, place.ids)
    const incarnation = await log.nextIncarnation()
    place.witness.incarnation(incarnation)
    const swarm = new SwarmMachine(
      place.store,
      {
        part: (member, inc, _producer, first, count) => this.feed!.part(member, inc, first, count),
        batch: (member, inc, number, taken) => {
          this.feed!.batch(member, inc, number, taken)
          this.member!.forward.applied(member, inc, number)
        },
      },
      () => this.feed!.tell(),
    )
    const machine = canaryMachine(place.canary, place.store, this.witnessed(swarm))
    await restoreSnapshot(log, machine)
    place.note('restored', log.snapshot!.index, incarnation)
    place.witness.restored(log.snapshot!.index)
    this.feed = new RingFeed({
      member: this.id,
      incarnation,
      producer: place.producer,
      machine: swarm,
      lingerMs: LINGER_MS,
      first: () => (this.isBorn() ? null : birthEntry(place.birth)),
      told: () => place.wakeFrontEnd(),
      answersEarly: place.canary === 'answers-before-commit',
    })
    this.member = this.makeMember(incarnation, log, machine, this.feed)
    this.houseKeep()
    await this.drive(this.member, log)
  }

  private makeMember(
    incarnation: number,
    log: LogStore,
    machine: Machine,
    feed: RingFeed,
  ): ReplicaMember<Part> {
    const { place, id } = this
    return new ReplicaMember<Part>(
      {
        // The only place where the group's number is told: it ends with the process.
        core: { ...place.core, create: (options) => (this.handle = place.core.create(options)) },
        ...{ group: 0, id, incarnation, log, machine, feed },
        transport: {
          send: (_group, to, message) => this.sendFrame(to, RAFT, message),
          sendBatch: (_group, to, its, number, section) => {
            if (place.isCut(this.numberOf(to))) return false
            this.sendFrame(to, BATCH, Buffer.concat([encodeBatchHead(its, number), section]))
            return true
          },
          sendNotice: (_group, to, its, number, verdict) =>
            this.sendFrame(to, NOTICE, encodeBatchHead(its, number, verdict)),
          keepalive: (_group, to) => this.sendFrame(to, KEEPALIVE, new Uint8Array(0)),
          flush: () => {},
        },
        snapshots: {
          offer: (to, message) => void this.sendSnapshot(to, Uint8Array.from(message)),
          arrived: () => {},
        },
        ...{ keepaliveMs: KEEPALIVE_MS, missed: MISSED, lingerMs: LINGER_MS, parkForMs: PARK_FOR_MS },
        ...{ loose: false, snapshotLogBytes: place.snapshotLogBytes, preferHighest: place.preferHighest },
        fresh: incarnation === 1 || place.canary === 'votes-after-restart',
        onLeading: (leads) => place.note(leads ? 'leads' : 'leadsNoMore', this.term),
      },
      place.clock.now(),
    )
  }

  /** The loop of the replica thread: turns, waits for writes, sleeps, mends the log. */
  private async drive(member: ReplicaMember<Part>, log: LogStore): Promise<void> {
    const { clock } = this.place
    for (;;) {
      const did = member.turn(clock.now())
      this.after()
      if (did === DONE) continue
      if (did === WRITING) {
        await this.written(member, log)
        member.finish(clock.now())
        this.after()
        continue
      }
      const due = member.due(clock.now())
      if (due > clock.now()) await this.sleep(due)
    }
  }

  private async written(member: ReplicaMember<Part>, log: LogStore): Promise<void> {
    const { place } = this
    try {
      await member.writing
      return
    } catch (error) {
      if (!(error instanceof LogWriteFailed)) throw error
    }
    place.control.setDiskFull(true)
    for (let wait = MEND_FIRST_MS; log.failed !== null; wait = Math.min(2 * wait, MEND_MOST_MS)) {
      for (let waited = 0; waited < wait; waited += STALLED_MS) {
        member.stalled(place.clock.now())
        this.after()
        await this.pause(STALLED_MS)
      }
      await log.heal().catch((error: unknown) => {
        if (!(error instanceof LogWriteFailed)) throw error
      })
    }
    await member.replica.resume()
    member.mended(place.clock.now())
    place.control.setDiskFull(false)
  }

  /** Tells front end and world where the member stands now. */
  private after(): void {
    const { place, member } = this
    if (member === null) return
    const { role, term, leader } = member.replica.status
    const now = `${role} ${term} ${leader}`
    if (now !== this.role) {
      this.role = now
      place.witness.role(role, term, this.numberOf(leader))
    }
    const until =
      place.canary === 'lease-not-checked' && member.replica.leads
        ? Number.POSITIVE_INFINITY
        : member.leaseUntilMs
    const might = place.control.mayAnswer(place.clock.now())
    place.control.setLeaseUntil(until)
    if (this.isBorn() && place.control.state !== SERVING) place.control.setState(SERVING)
    if (!might && place.control.mayAnswer(place.clock.now())) place.wakeFrontEnd()
  }

  private isBorn(): boolean {
    this.born ||= clusterIdOf(this.place.store) !== ''
    return this.born
  }

  private sleep(untilMs: number): Promise<void> {
    const { clock, stir } = this.place
    return new Promise((resolve) => {
      const wake = (): void => {
        clock.cancel(timer)
        this.kick = null
        stir()
        resolve()
      }
      const timer = clock.after(untilMs - clock.now(), wake)
      this.kick = wake
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

  private houseKeep(): void {
    const { clock, stir } = this.place
    clock.after(HOUSEKEEPING_MS, () => {
      stir()
      this.member!.houseKeep(clock.now())
      if (this.log!.failed === null) void this.log!.flush().catch(() => {})
      this.houseKeep()
    })
  }

  /** The machine with ears at it. */
  private witnessed(swarm: SwarmMachine): Machine {
    const { witness } = this.place
    return {
      apply: (index, term, data) => {
        swarm.apply(index, term, data)
        witness.applied(index, term, data)
      },
      applied: (index) => swarm.applied(index),
      snapshot: () => {
        this.place.note('snapshot', this.applied)
        return swarm.snapshot()
      },
      restore: async (chunks) => {
        await swarm.restore(chunks)
        const { installing } = this.member?.replica ?? { installing: null }
        if (installing === null) return
        this.place.note('installed', installing.index)
        witness.restored(installing.index)
      },
    }
  }

  receive(from: number, frame: Frame): void {
    const any = frame as AnyFrame
    const { member, place } = this
    if (member === null || this.stopped) return
    const known = this.lives.get(from) ?? 0
    // A new connection of a restarted process ends what the old ones may still deliver.
    if (any.life < known) return
    if (any.life > known) {
      this.lives.set(from, any.life)
      if (known > 0) member.peerStarted(place.ids[from - 1]!)
    }
    switch (any.kind) {
      case 'frame':
        this.take(any.bytes, member)
        break
      case 'snapshot':
        if (!this.receiving) void this.receiveSnapshot(from, any)
        break
      case 'outcome':
        this.snapshotOutcome(from, any.index, any.ok)
    }
    this.after()
    this.kick?.()
  }

  /** The way to `to` is a new one: what was sent in order may not have arrived. */
  connected(to: number): void {
    this.member?.connected(this.place.ids[to - 1]!)
    this.kick?.()
  }

  transfer(): void {
    if (this.member?.replica.leads !== true) return
    this.place.note('transfer', 0)
    void this.member.transfer(0, this.place.clock.now())
    this.kick?.()
  }

  private take(bytes: Uint8Array, member: ReplicaMember<Part>): void {
    const { frame, place, wire } = this
    readHeader(new DataView(bytes.buffer, bytes.byteOffset), 0, frame)
    frame.body = bytes.subarray(HEADER_BYTES)
    const now = place.clock.now()
    frame.echoMs = frame.echoUs < 0 ? Number.NEGATIVE_INFINITY : wire.fromWire(frame.echoUs, now)
    member.receive(frame, now)
  }

  private numberOf(id: number): number {
    return this.place.ids.indexOf(id) + 1
  }

  private sendFrame(toId: number, kind: number, body: Uint8Array): void {
    const { place, stamp, member, id } = this
    member?.stamp(toId, stamp)
    const bytes = new Uint8Array(HEADER_BYTES + body.length)
    const sentUs = this.wire.toWire(place.clock.now())
    const head = { kind, level: 1, clusterHigh: 0, clusterLow: 0, from: id, to: toId, group: 0, sentUs }
    writeHeader(new DataView(bytes.buffer), 0, head, stamp, body.length)
    bytes.set(body, HEADER_BYTES)
    place.send(this.numberOf(toId), {
      kind: 'frame',
      life: place.life,
      ordered: kind === BATCH || kind === NOTICE,
      label: labelOf(kind, stamp.term, body),
      bytes,
    } as FrameBytes)
  }

  /** Snapshots travel beside the frames, whole, over a connection of their own. */
  private async sendSnapshot(toId: number, message: Uint8Array): Promise<void> {
    const { place } = this
    const log = this.log!
    const to = this.numberOf(toId)
    const { index, data } = messageInfo(message)!.snapshot!
    if (this.sending.has(to)) return
    this.sending.set(to, index)
    const failed = (): void => this.snapshotOutcome(to, index, false)
    place.clock.after(SNAPSHOT_MS, failed)
    const record = JSON.parse(Buffer.from(data).toString()) as SnapshotRecord
    try {
      const chunks: Uint8Array[] = []
      for await (const chunk of log.readSnapshot(record)) chunks.push(Uint8Array.from(chunk))
      const label = [SNAPSHOT, this.term, index, chunks.length] as const
      const { life } = place
      place.send(to, {
        kind: 'snapshot',
        ordered: true,
        life,
        label,
        record,
        chunks,
        message,
      } as SnapshotFrame)
    } catch {
      // A newer one has taken its place meanwhile: the leader names that one next.
      failed()
    }
  }

  private snapshotOutcome(to: number, index: number, ok: boolean): void {
    if (this.stopped || this.sending.get(to) !== index) return
    this.sending.delete(to)
    this.member!.reportSnapshot(this.place.ids[to - 1]!, ok)
    this.kick?.()
  }

  private async receiveSnapshot(from: number, frame: SnapshotFrame): Promise<void> {
    const { place, log } = this
    const { record, message } = frame
    this.receiving = true
    let ok = false
    try {
      const { index, term, confState } = record
      if (index > this.applied) {
        const writer = await log!.createSnapshot({ index, term, confState }, false)
        for (const chunk of frame.chunks) await writer.write(chunk)
        this.member!.stepSnapshot(message, await writer.commit(), place.clock.now())
      } else {
        // A leader may name one that is long past, for want of knowing better: the core tells it how far this member is.
        this.member!.replica.step(message, place.clock.now())
      }
      ok = true
    } catch {
      // The disk takes nothing: the leader tries again.
    }
    this.receiving = false
    const label = [OUTCOME, this.term, record.index, 0] as const
    const { life } = place
    place.send(from, { kind: 'outcome', ordered: true, life, label, index: record.index, ok } as OutcomeFrame)
    this.kick?.()
  }
}

const SNAPSHOT = OWN_TYPES + 3
const OUTCOME = OWN_TYPES + 4

const labelOf = (kind: number, term: number, body: Uint8Array): Frame['label'] => {
  if (kind !== RAFT) return [OWN_TYPES + (kind === BATCH ? 0 : kind === NOTICE ? 1 : 2), term, body.length, 0]
  const type = raftType(body)
  if (type === MSG_SNAP) return [type, term, 0, 0]
  const info = messageInfo(body)!
  return [type, info.term, info.index, info.entries]
}
