// The durable log of one Raft group as the loop sees it: entries, hard state, snapshots, and the ways it can
// fail. Refuses: to know a store, a file or an entry's meaning; store.ts keeps the promises, the disks are
// doors of their own.

import type { ConfState, Entry, HardState } from '@skep/raft'

/**
 * One Ready's worth of durable state. Data may be views that end with the call: `append` copies before it
 * returns.
 */
export type LogBatch = {
  readonly hardState: HardState | null
  /** Consecutive; the first may lie at or below the last index: what follows it is replaced (a conflict). */
  readonly entries: readonly Entry[]
  /**
   * A snapshot received from the leader, already committed by `createSnapshot`: the log restarts behind it.
   */
  readonly snapshot?: SnapshotRecord | null
  /** False only with `--fsync interval`, and never when term or vote changed. */
  readonly sync: boolean
}

/** A complete snapshot beside the log. */
export type SnapshotRecord = {
  readonly index: number
  readonly term: number
  readonly confState: ConfState
  /** Sizes of what `readSnapshot` yields. */
  readonly bytes: number
  readonly chunks: number
  /** Chained CRC-32 over all frames. */
  readonly crc: number
}

export interface SnapshotWriter {
  /** Chunks in order, in one write; they must stay as they are until it resolves. */
  write(...chunks: readonly Uint8Array[]): Promise<void>
  /** Everything is on disk and named: from here on a restart begins with this snapshot. */
  commit(): Promise<SnapshotRecord>
  /** The previous snapshot stays the valid one. */
  abort(): Promise<void>
}

export interface LogStore {
  readonly hardState: HardState | null
  readonly snapshot: SnapshotRecord | null
  /** Entries `firstIndex..lastIndex` can be read; `lastIndex = firstIndex - 1` when there are none. */
  readonly firstIndex: number
  readonly lastIndex: number
  /** Bytes of the entries kept, headers included. */
  readonly bytes: number
  /**
   * What the owner stored with `setIdentity`: who this replica is, the birth record. Null: an empty replica.
   */
  readonly identity: Uint8Array | null
  /** What the owner stored with `setLives`; null: nothing yet. */
  readonly lives: Uint8Array | null
  /** Batches that the log held when it was opened. They are counted as long as the directory lives. */
  readonly began: number
  /** The last of them that is known to be on disk. */
  readonly synced: number
  /** `--fsync interval` and the machine went down without a clean stop: what was answered may be missing. */
  readonly unclean: boolean
  /** Set while a write has failed and `heal` has not yet mended it. */
  readonly failed: LogWriteFailed | null

  /**
   * One batch, all or nothing; resolves when it is on disk (or, without `sync`, taken by the system). One at
   * a time.
   */
  append(batch: LogBatch): Promise<void>
  /**
   * After a failed write: opens the store anew, checks it, writes what was pending. Rejects while that still
   * fails.
   */
  heal(): Promise<void>
  /**
   * Entries `from <= index < to`, at least one, then at most `maxBytes`; null when not (or no longer) kept.
   * Synchronous.
   */
  readEntries(from: number, to: number, maxBytes: number): Entry[] | null
  /** Term of an entry or of the entry before the first one kept; null when unknown. */
  term(index: number): number | null
  /** Drops the entries up to `index`, which a committed snapshot must cover. */
  compactTo(index: number): Promise<void>
  /** A counter, raised and on disk before it returns: no two lives of a replica share a number. */
  nextIncarnation(): Promise<number>
  setIdentity(identity: Uint8Array): Promise<void>
  /**
   * What is remembered of other members' lives (membership/lives.ts). `sync` false: the next batch takes it
   * along.
   */
  setLives(lives: Uint8Array, sync: boolean): Promise<void>
  /**
   * `adopt`: also becomes the start of the log (own snapshots); false for one that a leader sends (see
   * `LogBatch`).
   */
  createSnapshot(
    at: { index: number; term: number; confState: ConfState },
    adopt: boolean,
  ): Promise<SnapshotWriter>
  /** Chunks in order, each valid only until the next one is read. */
  readSnapshot(record: SnapshotRecord): AsyncIterable<Uint8Array>
  /** Makes everything written without `sync` durable. */
  flush(): Promise<void>
  close(): Promise<void>
  /** Closes and deletes everything. */
  purge(): Promise<void>
}

/** The log cannot be trusted: this disk counts as lost. `place` says where it was seen. */
export class LogDamaged extends Error {
  override readonly name = 'LogDamaged'
  readonly place: string
  constructor(place: string, what: string, options?: ErrorOptions) {
    super(
      `the log is damaged: ${what} (${place}). This replica will not serve from it: something that was synced is ` +
        'missing or altered, so answers it gave could be forgotten. If other replicas of the cluster are alive, delete ' +
        'this data directory and start again: it rejoins as a new member. Otherwise restore an exported snapshot, or ' +
        'delete the directory to begin with an empty tracker (clients announce again within an interval).',
      options,
    )
    this.place = place
  }
}

/** Another process (or another open log of this one) has the directory. */
export class LogLocked extends Error {
  override readonly name = 'LogLocked'
  constructor(dir: string, owner: string, options?: ErrorOptions) {
    super(
      `the data directory ${dir} is in use${owner === '' ? '' : ` by ${owner}`}. Stop that process or choose another ` +
        'directory with --data-dir.',
      options,
    )
  }
}

/** Written by another version or for another store. */
export class LogFormat extends Error {
  override readonly name = 'LogFormat'
}

/** A write did not reach the disk. The log takes nothing until `heal` succeeds. */
export class LogWriteFailed extends Error {
  override readonly name = 'LogWriteFailed'
  /** No space left or a quota: it may heal by itself once there is room. */
  readonly full: boolean
  constructor(full: boolean, cause: unknown) {
    const detail = cause instanceof Error ? cause.message : String(cause)
    super(
      full
        ? `the disk is full: ${detail}. Changes are refused until there is space.`
        : `a write failed: ${detail}`,
      { cause },
    )
    this.full = full
  }
}

/** Does an error of a store or a file say that there is no room? */
export const saysFull = (error: unknown): boolean => {
  for (let e = error; e instanceof Error; e = e.cause)
    if (/ENOSPC|EDQUOT|No space left|quota exceeded|MDB_MAP_FULL|Environment mapsize limit/i.test(e.message))
      return true
  return false
}
