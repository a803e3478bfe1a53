// The loop around Raft: persist, send, apply, advance. Log, transport, machine, core and time are arguments, and there
// is no timer in here: `turn` does one cycle's work, whoever calls it, whenever.
// Refuses: to know what an entry says, and to answer for the machine's state before it is restored.
//
// The order of one Ready, and why:
//   1. a leader's appends and heartbeats leave at once (Raft thesis 10.2.1: the leader's own write is one vote among
//      several); votes and acknowledgements never before the write they speak of;
//   2. the write begins; a Ready that only moves the commit index writes nothing (it rides with the next batch);
//   3. committed entries are applied while the disk works: they do not depend on this write;
//   4. the write is done: the held-back messages leave, `advance`.
// A panic of the core is thrown out of `turn` before anything of that Ready is written or sent.

import type { ConfState, Core, Entry, HardState, Ready, Status } from '@skep/raft'
import { ENTRY_NORMAL } from '@skep/raft'
import type { LogStore } from './log.ts'
import type { Machine } from './machine.ts'
import { Snapshots } from './snapshots.ts'
import type { Transport } from './transport.ts'

/** What `turn` did. */
export const IDLE = 0
/** Something; call again. */
export const DONE = 1
/** A write is under way: await `writing`, then call `finish`. */
export const WRITING = 2

/** Where entries come from while this replica leads. */
export interface Source {
  /** When the next entry is due, milliseconds: at most `nowMs` when it is. Infinity: not before something happens. */
  due(nowMs: number): number
  /** The next entry, copied by the caller, or null. */
  next(nowMs: number): Uint8Array | null
  /** What became of it: false: never appended, try again later. */
  proposed(appended: boolean): void
  /** This replica leads, and has applied all that was before; called again after each loss. */
  leading(nowMs: number): void
  lost(): void
}

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

export type Outcome = 'committed' | 'refused' | 'unknown'
type Done = (outcome: Outcome) => void
type Waiting = { readonly index: number; readonly term: number; readonly done: Done }

/** Newest entries the core keeps in memory, bytes; older ones it reads back. Its memory must not grow under load. */
const CORE_KEEP_BYTES = 4 * 1024 * 1024
/** Ticks made up for at most when the thread was held up. */
const MAX_TICKS = 3

export class Replica {
  private readonly o: ReplicaOptions
  private readonly handle: number
  /** Proposed since the last Ready, in order; null: the source's, which keeps its own account. */
  private unplaced: (Done | null)[] = []
  private readonly waiting: Waiting[] = []
  private hardState: HardState
  private late: { to: number; data: Uint8Array }[] = []
  private lastTickMs: number
  private appliedTerm: number
  private writeUnderWay = false
  readonly snapshots: Snapshots
  confState: ConfState
  status: Status
  applied: number
  /** Leads, and an entry of its own term is applied: may propose, and is as new as any. */
  leads = false
  /** The write that `WRITING` speaks of; rejects with LogWriteFailed. */
  writing: Promise<void> = Promise.resolve()
  cycles = 0
  writes = 0
  appliedEntries = 0
  dropped = 0

  /** The log is open and the machine restored to its snapshot (`restoreSnapshot`). */
  constructor(options: ReplicaOptions, nowMs: number) {
    const { core, log } = options
    this.o = options
    const snapshot = log.snapshot
    if (snapshot === null) throw new Error('a replica begins with a snapshot: `begin` its log first')
    this.handle = core.create({
      id: options.id,
      electionTicks: options.electionTicks,
      heartbeatTicks: options.heartbeatTicks,
      maxSizePerMessageBytes: 256 * 1024,
      maxUncommittedBytes: 4 * 1024 * 1024,
      maxInflightMessages: 64,
      maxInflightBytes: 8 * 1024 * 1024,
      hardState: log.hardState,
      snapshot: { ...snapshot, data: Buffer.from(JSON.stringify(snapshot)) },
      compacted: { index: log.firstIndex - 1, term: log.term(log.firstIndex - 1)! },
      entries: newestEntries(log),
      applied: snapshot.index,
      keepBytes: CORE_KEEP_BYTES,
      readEntries: (from, to, maxBytes) => log.readEntries(from, to, maxBytes),
    })
    this.confState = snapshot.confState
    this.applied = snapshot.index
    this.appliedTerm = snapshot.term
    this.hardState = log.hardState ?? { term: 0, vote: 0, commit: 0 }
    this.status = core.status(this.handle)
    this.lastTickMs = nowMs
    const { machine, snapshotLogBytes } = options
    this.snapshots = new Snapshots({ core, handle: this.handle, log, machine, logBytes: snapshotLogBytes })
  }

  /** Nobody else votes: no election timeout is needed to become leader. */
  get alone(): boolean {
    const { voters, votersOutgoing } = this.confState
    return voters.length === 1 && voters[0] === this.o.id && votersOutgoing.length === 0
  }

  campaign(): void {
    this.o.core.campaign(this.handle)
  }

  /** A message of another member. */
  step(message: Uint8Array): void {
    this.o.core.step(this.handle, message)
  }

  /** One entry that is not the source's. Resolves when its fate is known; `abandon` ends the wait. */
  propose(data: Uint8Array): Promise<Outcome> {
    if (!this.leads || !this.o.core.propose(this.handle, data).ok) return Promise.resolve('refused')
    return new Promise((done) => this.unplaced.push(done))
  }

  /** Whoever still waits hears "unknown". */
  abandon(): void {
    for (const w of this.waiting.splice(0)) w.done('unknown')
    for (const [i, done] of this.unplaced.entries()) {
      done?.('unknown')
      this.unplaced[i] = null
    }
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
    // Sent only for a stream that this replica has received, which nobody sends yet.
    if (ready.snapshot !== null)
      throw new Error(`a snapshot of entry ${ready.snapshot.index} that nobody sent`)
    this.cycles++
    for (const m of ready.messages) if (m.early) this.o.transport.send(this.o.group, m.to, m.data)
    if (ready.hardState !== null) this.hardState = ready.hardState
    if (this.unplaced.length > 0) this.place(ready.entries)
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
    this.sendLate()
    this.advance(nowMs)
  }

  private tick(nowMs: number): void {
    const { tickMs, core } = this.o
    let ticks = Math.floor((nowMs - this.lastTickMs) / tickMs)
    if (ticks <= 0) return
    this.lastTickMs += ticks * tickMs
    // A thread that was held up does not owe its ticks: others' clocks went on, ours must not run an election for it.
    for (ticks = Math.min(ticks, MAX_TICKS); ticks > 0; ticks--) core.tick(this.handle)
  }

  private gather(nowMs: number): void {
    const data = this.o.source.next(nowMs)
    if (data === null) return
    const { ok } = this.o.core.propose(this.handle, data)
    if (ok) this.unplaced.push(null)
    else this.dropped++
    this.o.source.proposed(ok)
  }

  /** Only the leader of a term makes entries of it: ours lie in the order in which they were proposed. */
  private place(entries: readonly Entry[]): void {
    const term = this.status.term
    const ours = entries.filter((e) => e.term === term && e.type === ENTRY_NORMAL && e.data.byteLength > 0)
    this.unplaced.forEach((done, i) => {
      const entry = ours[i]
      if (done === null) return
      if (entry === undefined) done('refused')
      else this.waiting.push({ index: entry.index, term, done })
    })
    this.unplaced.length = 0
  }

  private write(ready: Ready): boolean {
    if (!ready.mustSync && ready.entries.length === 0) return false
    const { entries, hardState } = ready
    const old = this.o.log.hardState
    const voted = hardState !== null && (hardState.term !== old?.term || hardState.vote !== old.vote)
    this.writing = this.o.log.append({ hardState: this.hardState, entries, sync: !this.o.loose || voted })
    this.writeUnderWay = true
    this.writes++
    return true
  }

  private apply(committed: readonly Entry[]): void {
    if (committed.length === 0) return
    // A configuration change calls into the core, which ends the views of the entries after it.
    const whole = committed.every((e) => e.type === ENTRY_NORMAL)
    const entries = whole ? committed : committed.map((e) => ({ ...e, data: Uint8Array.from(e.data) }))
    for (const e of entries) {
      if (e.type !== ENTRY_NORMAL) this.confState = this.o.core.applyConfChange(this.handle, e)
      else if (e.data.byteLength > 0) this.o.machine.apply(e.index, e.term, e.data)
      this.applied = e.index
      this.appliedTerm = e.term
      if (this.waiting.length > 0) this.settle(e)
    }
    this.appliedEntries += entries.length
    this.o.machine.applied(this.applied)
  }

  private settle(entry: Entry): void {
    for (let w = this.waiting[0]; w !== undefined && w.index <= entry.index; w = this.waiting[0]) {
      this.waiting.shift()
      // Another term's entry in its place: ours was never committed and never will be.
      w.done(w.index === entry.index && w.term === entry.term ? 'committed' : 'refused')
    }
  }

  private sendLate(): void {
    for (const m of this.late) this.o.transport.send(this.o.group, m.to, m.data)
    this.late.length = 0
  }

  private advance(nowMs: number): void {
    this.o.core.advance(this.handle)
    const status = this.o.core.status(this.handle)
    const leads = status.role === 'leader' && this.appliedTerm === status.term
    const changed = leads !== this.leads || (leads && status.term !== this.status.term)
    this.status = status
    if (changed) {
      if (this.leads) this.o.source.lost()
      this.leads = leads
      if (leads) this.o.source.leading(nowMs)
    }
    this.snapshots.consider(nowMs, this.applied, this.confState)
  }
}

/** The first members of a cluster, as the log's own beginning: entry 1 of term 1 is this fact. Safe to repeat. */
export const begin = async (log: LogStore, voters: readonly number[]): Promise<void> => {
  if (log.snapshot !== null) return
  const confState = { voters, learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false }
  const writer = await log.createSnapshot({ index: 1, term: 1, confState }, false)
  const snapshot = await writer.commit()
  await log.append({ hardState: { term: 1, vote: 0, commit: 1 }, entries: [], snapshot, sync: true })
}

const newestEntries = (log: LogStore): Entry[] => {
  const out: Entry[] = []
  let bytes = 0
  for (let index = log.lastIndex; index >= log.firstIndex && bytes < CORE_KEEP_BYTES; index--) {
    const entry = log.readEntries(index, index + 1, 0)![0]!
    bytes += entry.data.byteLength
    out.push(entry)
  }
  return out.reverse()
}
