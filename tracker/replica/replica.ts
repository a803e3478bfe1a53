// The loop around Raft: persist, send, apply, advance. Log, transport, machine, core and time are arguments,
// and there is no timer in here: `turn` does one cycle's work, whoever calls it, whenever. Refuses: to know
// what an entry says, and to answer for the machine's state before it is restored.
//
// The order of one Ready, and why:
//   1. a leader's appends and heartbeats leave at once (Raft thesis 10.2.1: the leader's own write is one vote among
//      several); votes and acknowledgements never before the write they speak of;
//   2. the write begins; a Ready that only moves the commit index writes nothing (it rides with the next batch);
//   3. committed entries are applied while the disk works: they do not depend on this write;
//   4. the write is done: the held-back messages leave, `advance`.
// A panic of the core is thrown out of `turn` before anything of that Ready is written or sent.

import type {
  ConfChange,
  ConfState,
  Core,
  Entry,
  HardState,
  Progress,
  Ready,
  Result,
  Status,
} from '@skep/raft'
import { ENTRY_NORMAL } from '@skep/raft'
import { type Outcome, Proposals } from './batches/proposals.ts'
import type { Source } from './batches/source.ts'
import { newestEntries } from './log/begin.ts'
import type { LogStore, SnapshotRecord } from './log/log.ts'
import type { Machine } from './machine.ts'
import { restoreSnapshot, Snapshots } from './snapshots.ts'
import type { Transport } from './transport/transport.ts'

/** What `turn` did. */
export const IDLE = 0
/** Something; call again. */
export const DONE = 1
/** A write is under way: await `writing`, then call `finish`. */
export const WRITING = 2

export type ReplicaOptions = {
  readonly core: Core
  readonly group: number
  readonly id: number
  readonly log: LogStore
  readonly machine: Machine
  readonly source: Source
  readonly transport: Transport
  /** Milliseconds of a tick; ticks an election takes at least; between heartbeats. */
  readonly tickMs: number
  readonly electionTicks: number
  readonly heartbeatTicks: number
  /** `--fsync interval`: entries alone are written without a sync. */
  readonly loose: boolean
  readonly snapshotLogBytes: number
}

/** Newest entries the core keeps in memory; older ones it reads back. Its memory must not grow under load. */
const CORE_KEEP_BYTES = 4 * 1024 * 1024
/** Messages to one member that are not acknowledged, an append, and what is not committed: bytes at most. */
const LIMITS = {
  maxSizePerMessageBytes: 256 * 1024,
  maxUncommittedBytes: 4 * 1024 * 1024,
  maxInflightMessages: 64,
  maxInflightBytes: 8 * 1024 * 1024,
} as const
/** Ticks made up for at most when the thread was held up. */
const MAX_TICKS = 3

export class Replica {
  private readonly o: ReplicaOptions
  private readonly handle: number
  readonly proposals = new Proposals()
  private hardState: HardState
  private late: { to: number; data: Uint8Array }[] = []
  private lastTickMs: number
  private appliedTerm: number
  private writeUnderWay = false
  /** Came by a stream and is on disk beside the log: the next Ready is to carry it. */
  private received: SnapshotRecord | null = null
  readonly snapshots: Snapshots
  confState: ConfState
  status: Status
  applied: number
  /** Leads, and an entry of its own term is applied: may propose, and is as new as any. */
  leads = false
  /** The machine is about to become this snapshot: nobody may read it meanwhile. */
  installing: SnapshotRecord | null = null
  /** The write that `WRITING` speaks of; rejects with LogWriteFailed. */
  writing: Promise<void> = Promise.resolve()
  cycles = 0
  writes = 0
  appliedEntries = 0
  dropped = 0

  /** The log is open and the machine restored to its snapshot (`restoreSnapshot`). */
  constructor(options: ReplicaOptions, nowMs: number) {
    const { core, log, machine, snapshotLogBytes } = options
    this.o = options
    const { snapshot } = log
    this.applied = snapshot?.index ?? 0
    this.appliedTerm = snapshot?.term ?? 0
    this.handle = core.create({
      id: options.id,
      electionTicks: options.electionTicks,
      heartbeatTicks: options.heartbeatTicks,
      ...LIMITS,
      hardState: log.hardState,
      entries: newestEntries(log, CORE_KEEP_BYTES),
      applied: this.applied,
      keepBytes: CORE_KEEP_BYTES,
      readEntries: (from, to, maxBytes) => log.readEntries(from, to, maxBytes),
      snapshot: snapshot && { ...snapshot, data: Buffer.from(JSON.stringify(snapshot)) },
      ...(snapshot && { compacted: { index: log.firstIndex - 1, term: log.term(log.firstIndex - 1)! } }),
    })
    this.confState = core.confState(this.handle)
    this.hardState = log.hardState ?? { term: 0, vote: 0, commit: 0 }
    this.status = core.status(this.handle)
    this.lastTickMs = nowMs
    this.snapshots = new Snapshots({ core, handle: this.handle, log, machine, logBytes: snapshotLogBytes })
  }

  /** Nobody else votes. */
  get alone(): boolean {
    const { voters, votersOutgoing } = this.confState
    return voters.length === 1 && voters[0] === this.o.id && votersOutgoing.length === 0
  }

  campaign(): void {
    this.o.core.campaign(this.handle)
  }

  /**
   * A message of another member. Time comes first: a timer that it restarts is not to get ticks of the time
   * before it.
   */
  step(message: Uint8Array, nowMs: number): Result {
    this.tick(nowMs)
    return this.o.core.step(this.handle, message)
  }

  /** A MsgSnap whose snapshot is committed beside the log as `record`. */
  stepSnapshot(message: Uint8Array, record: SnapshotRecord, nowMs: number): Result {
    this.received = record
    return this.step(message, nowMs)
  }

  /** One entry that is not the source's. Resolves when its fate is known; `abandon` ends the wait. */
  propose(data: Uint8Array): Promise<Outcome> {
    return this.single(false, () => this.o.core.propose(this.handle, data))
  }

  proposeConfChange(change: ConfChange): Promise<Outcome> {
    return this.single(true, () => this.o.core.proposeConfChange(this.handle, change))
  }

  private single(change: boolean, propose: () => Result): Promise<Outcome> {
    if (!this.leads || !propose().ok) return Promise.resolve('refused')
    return new Promise((done) => this.proposals.took(this.status.term, change, done))
  }

  progress(): Progress[] {
    return this.o.core.progress(this.handle)
  }

  transferLeadership(to: number): void {
    this.o.core.transferLeadership(this.handle, to)
  }

  reportSnapshot(to: number, ok: boolean): void {
    this.o.core.reportSnapshot(this.handle, to, ok)
  }

  /** When `turn` has something to do again if nothing comes in before, milliseconds. */
  due(nowMs: number): number {
    const tick = this.lastTickMs + this.o.tickMs
    return this.leads ? Math.min(tick, this.o.source.due(nowMs)) : tick
  }

  /** One cycle. IDLE: nothing to do before `due`, a message or a new change. Throws RaftPanic. */
  turn(nowMs: number): typeof IDLE | typeof DONE | typeof WRITING {
    if (this.writeUnderWay) throw new Error('a write is under way: `finish` comes first')
    this.tick(nowMs)
    if (this.leads && this.o.source.due(nowMs) <= nowMs) this.gather(nowMs)
    const ready = this.o.core.ready(this.handle)
    if (ready === null) return IDLE
    this.cycles++
    for (const m of ready.messages) if (m.early) this.o.transport.send(this.o.group, m.to, m.data)
    if (ready.hardState !== null) this.hardState = ready.hardState
    this.proposals.place(ready.entries)
    const writes = this.write(ready)
    for (const m of ready.messages)
      if (!m.early) this.late.push({ to: m.to, data: writes ? Uint8Array.from(m.data) : m.data })
    if (!writes) this.sendLate()
    this.apply(ready.committed)
    if (writes) return WRITING
    this.advance(nowMs)
    return DONE
  }

  /** The write is on disk. */
  finish(nowMs: number): void {
    this.writeUnderWay = false
    this.installing = null
    this.sendLate()
    this.advance(nowMs)
  }

  tick(nowMs: number): void {
    const { tickMs, core } = this.o
    let ticks = Math.max(0, Math.floor((nowMs - this.lastTickMs) / tickMs))
    this.lastTickMs += ticks * tickMs
    // A thread that was held up does not owe its ticks: others' clocks went on, ours must not run an election
    // for it.
    for (ticks = Math.min(ticks, MAX_TICKS); ticks > 0; ticks--) core.tick(this.handle)
  }

  private gather(nowMs: number): void {
    const data = this.o.source.next(nowMs)
    if (data === null) return
    const { ok } = this.o.core.propose(this.handle, data)
    if (ok) this.proposals.took(this.status.term, false, null)
    else this.dropped++
    this.o.source.proposed(ok)
  }

  private write(ready: Ready): boolean {
    if (!ready.mustSync && ready.entries.length === 0) return false
    const { entries, hardState } = ready
    const old = this.o.log.hardState
    const voted = hardState !== null && (hardState.term !== old?.term || hardState.vote !== old.vote)
    const snapshot = ready.snapshot === null ? null : this.receivedAt(ready.snapshot.index)
    const sync = !this.o.loose || voted || snapshot !== null
    this.writing = this.o.log.append({ hardState: this.hardState, entries, snapshot, sync })
    if (snapshot !== null) this.writing = this.writing.then(() => this.resume())
    this.writeUnderWay = true
    this.writes++
    return true
  }

  private receivedAt(index: number): SnapshotRecord {
    const record = this.received
    this.received = null
    if (record?.index !== index) throw new Error(`a snapshot of entry ${index} that nobody sent`)
    this.installing = record
    return record
  }

  /**
   * The write is on disk, at once or after mending the log: what comes before `finish`. A restart would
   * restore the same.
   */
  async resume(): Promise<void> {
    const record = this.installing
    if (record === null) return
    await restoreSnapshot(this.o.log, this.o.machine)
    this.applied = record.index
    this.appliedTerm = record.term
    this.confState = record.confState
    this.proposals.skip(record.index)
    this.o.source.configured?.(record.confState, null)
    this.o.machine.applied(record.index)
  }

  private apply(committed: readonly Entry[]): void {
    if (committed.length === 0) return
    // A configuration change calls into the core, which ends the views of the entries after it.
    const whole = committed.every((e) => e.type === ENTRY_NORMAL)
    const entries = whole ? committed : committed.map((e) => ({ ...e, data: Uint8Array.from(e.data) }))
    for (const e of entries) {
      if (e.type !== ENTRY_NORMAL) {
        this.confState = this.o.core.applyConfChange(this.handle, e)
        this.o.source.configured?.(this.confState, e)
      } else if (e.data.byteLength > 0) this.o.machine.apply(e.index, e.term, e.data)
      this.applied = e.index
      this.appliedTerm = e.term
      this.proposals.settle(e.index, e.term)
    }
    this.appliedEntries += entries.length
    this.o.machine.applied(this.applied)
  }

  private sendLate(): void {
    for (const m of this.late) this.o.transport.send(this.o.group, m.to, m.data)
    this.late.length = 0
  }

  private advance(nowMs: number): void {
    this.o.core.advance(this.handle)
    this.look(nowMs)
    const { snapshots, applied, confState } = this
    // A laggard needs what the log has no more: it is sent a snapshot, if there is one new enough.
    if (this.status.snapshotWanted) void snapshots.take(applied, confState).catch(() => {})
    else snapshots.consider(nowMs, applied, confState)
  }

  /** What the core says of itself now: after each step and each Ready. */
  look(nowMs: number): void {
    const status = this.o.core.status(this.handle)
    const leads = status.role === 'leader' && this.appliedTerm === status.term
    const changed = leads !== this.leads || (leads && status.term !== this.status.term)
    this.status = status
    if (!changed) return
    if (this.leads) this.o.source.lost()
    this.leads = leads
    if (leads) this.o.source.leading(nowMs)
  }
}
