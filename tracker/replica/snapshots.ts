// When the log has grown long enough: a snapshot of the machine beside it, taken while everything goes on,
// then the entries it covers are dropped. And the way back at a start. Refuses: more than one at a time, and
// to stop the loop: chunks are written between its turns.

import type { ConfState, Core } from '@skep/raft'
import type { LogStore, SnapshotRecord } from './log/log.ts'
import type { Machine } from './machine.ts'

/** Entries kept behind a snapshot, so that a follower a little behind needs none. */
const KEEP_ENTRIES = 256
/** And at most this share of the log's limit. */
const KEEP_SHARE = 0.25
/** After a failed one, milliseconds. */
const RETRY_MS = 10_000
/** How far the log may grow, in units of its limit, for the sake of somebody who is being sent a snapshot. */
const PINNED_LOGS = 4

export type SnapshotsOptions = {
  readonly core: Core
  readonly handle: number
  readonly log: LogStore
  readonly machine: Machine
  /** Log bytes that call for a snapshot. */
  readonly logBytes: number
}

export class Snapshots {
  private readonly o: SnapshotsOptions
  private notBeforeMs = Number.NEGATIVE_INFINITY
  private readonly pins = new Set<{ readonly index: number }>()
  /** The one under way; resolves when it is over, however it ends. */
  running: Promise<void> | null = null
  taken = 0
  lastError: Error | null = null

  constructor(options: SnapshotsOptions) {
    this.o = options
  }

  /** After entries were applied: begins one when the log is long. */
  consider(nowMs: number, applied: number, confState: ConfState): void {
    const { log } = this.o
    if (this.running !== null || log.bytes < this.o.logBytes || nowMs < this.notBeforeMs) return
    if (this.pins.size > 0 && !this.overfull) return
    if (applied <= (log.snapshot?.index ?? 0)) return
    void this.take(applied, confState).catch(() => {
      this.notBeforeMs = nowMs + RETRY_MS
    })
  }

  /**
   * Somebody is sent the snapshot of entry `index`: until the returned function is called the log keeps what
   * follows it, and no newer snapshot is begun for the log's length alone (or the receiver would never catch
   * up), within a limit.
   */
  pin(index: number): () => void {
    const pin = { index }
    this.pins.add(pin)
    return () => void this.pins.delete(pin)
  }

  private get overfull(): boolean {
    return this.o.log.bytes >= PINNED_LOGS * this.o.logBytes
  }

  /**
   * One snapshot at the applied index, now. Rejects when it could not be written; the old one is then still
   * valid.
   */
  take(applied: number, confState: ConfState): Promise<void> {
    if (this.running !== null) return this.running
    if (applied <= (this.o.log.snapshot?.index ?? 0)) return Promise.resolve()
    const run = this.run(applied, confState)
    this.running = run.then(
      () => {
        this.running = null
        this.lastError = null
        this.taken++
      },
      (error: Error) => {
        this.running = null
        this.lastError = error
      },
    )
    return run
  }

  private async run(index: number, confState: ConfState): Promise<void> {
    const { log, machine, core, handle } = this.o
    const term = log.term(index)
    if (term === null) throw new Error(`the term of applied entry ${index} is not in the log`)
    const state = machine.snapshot()
    let record: SnapshotRecord
    try {
      const writer = await log.createSnapshot({ index, term, confState }, true)
      try {
        for await (const chunk of state.chunks()) await writer.write(chunk)
        record = await writer.commit()
      } catch (error) {
        await writer.abort()
        throw error
      }
    } finally {
      state.release()
    }
    const made = core.createSnapshot(handle, index, confState, Buffer.from(JSON.stringify(record)))
    if (!made.ok && made.code !== 'snapshot-out-of-date') throw new Error(made.message)
    const pinned = this.overfull ? [] : [...this.pins].map((pin) => pin.index)
    const upTo = Math.min(index, this.keepFrom(index), ...pinned)
    const given = core.compact(handle, upTo)
    if (given.ok) await log.compactTo(upTo)
  }

  private keepFrom(index: number): number {
    const { log } = this.o
    const entries = Math.max(1, log.lastIndex - log.firstIndex + 1)
    const average = Math.max(1, log.bytes / entries)
    return index - Math.min(KEEP_ENTRIES, Math.floor((this.o.logBytes * KEEP_SHARE) / average))
  }
}

/** The state as of the log's snapshot; the entries behind it come by the loop. */
export const restoreSnapshot = async (log: LogStore, machine: Machine): Promise<void> => {
  // A snapshot without chunks is the beginning of a cluster: nothing has happened yet.
  if (log.snapshot !== null && log.snapshot.chunks > 0) await machine.restore(log.readSnapshot(log.snapshot))
}
