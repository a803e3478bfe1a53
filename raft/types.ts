// The shapes that cross between JavaScript and the Raft core. Node IDs, terms and indexes are safe integers
// (below 2^53); the core refuses larger ones.

/** etcd raftpb.EntryType. */
export const ENTRY_NORMAL = 0
export const ENTRY_CONF_CHANGE = 1
export const ENTRY_CONF_CHANGE_V2 = 2

export type Entry = {
  readonly index: number
  readonly term: number
  readonly type: number
  /** A view into the core's memory, valid until the next call into the instance. 4-byte aligned. */
  readonly data: Uint8Array
}

export type HardState = { readonly term: number; readonly vote: number; readonly commit: number }

/** raftpb.ConfState: who votes and who only learns. */
export type ConfState = {
  readonly voters: readonly number[]
  readonly learners: readonly number[]
  readonly votersOutgoing: readonly number[]
  readonly learnersNext: readonly number[]
  readonly autoLeave: boolean
}

/**
 * A snapshot is named, never carried: its bytes travel outside Raft messages. `data` is a small descriptor.
 */
export type Snapshot = {
  readonly index: number
  readonly term: number
  readonly confState: ConfState
  readonly data: Uint8Array
}

export type Message = {
  readonly to: number
  readonly type: number
  /** May leave before this node's own disk write: a leader's appends and heartbeats (Raft thesis 10.2.1). */
  readonly early: boolean
  /**
   * raftpb.Message as protobuf: a view into the core's memory, valid until the next call. Empty with slots.
   */
  readonly data: Uint8Array
  /** With `ready(handle, true)`: where the message is kept as an object. Otherwise -1. */
  readonly slot: number
}

export type ReadState = { readonly index: number; readonly context: Uint8Array }

/** raft.Ready: persist, then send (except `early`), then apply, then `advance`. */
export type Ready = {
  readonly hardState: HardState | null
  readonly entries: readonly Entry[]
  readonly committed: readonly Entry[]
  readonly messages: readonly Message[]
  readonly snapshot: Snapshot | null
  readonly readStates: readonly ReadState[]
  readonly mustSync: boolean
}

export type Role = 'follower' | 'candidate' | 'leader' | 'pre-candidate'

export type Status = {
  readonly id: number
  readonly role: Role
  readonly term: number
  readonly vote: number
  /** 0: none known. */
  readonly leader: number
  readonly commit: number
  readonly applied: number
  /** 0: no transfer under way. */
  readonly transferee: number
  /** The log that can be had, in memory or read back; empty when firstIndex > lastIndex. */
  readonly firstIndex: number
  readonly lastIndex: number
  /** Index of the newest snapshot known to the core, 0: none. */
  readonly snapshotIndex: number
  /** A follower lags behind the log and the snapshot is too old to help it: call `createSnapshot`. */
  readonly snapshotWanted: boolean
}

/** tracker.Progress of one member, as its leader sees it. */
export type Progress = {
  readonly id: number
  readonly match: number
  readonly next: number
  readonly state: 'probe' | 'replicate' | 'snapshot'
  readonly recentActive: boolean
  readonly isLearner: boolean
  readonly pendingSnapshot: number
}

export type ConfChangeStep = {
  readonly type: 'add-voter' | 'add-learner' | 'remove'
  readonly id: number
}

/** raftpb.ConfChangeV2: one step is a simple change, several a joint one. */
export type ConfChange = {
  readonly steps: readonly ConfChangeStep[]
  readonly transition: 'auto' | 'joint-implicit' | 'joint-explicit'
  readonly context: Uint8Array
}

/** What an expected refusal is called; anything unexpected is thrown. */
export type RaftErrorCode =
  | 'proposal-dropped'
  | 'step-local-message'
  | 'step-peer-not-found'
  | 'compacted'
  | 'unavailable'
  | 'snapshot-out-of-date'
  | 'bad-message'
  | 'bad-config'

export type Result =
  | { readonly ok: true }
  | { readonly ok: false; readonly code: RaftErrorCode; readonly message: string }

export type GroupOptions = {
  readonly id: number
  /** Ticks without a leader before an election, and between heartbeats. */
  readonly electionTicks: number
  readonly heartbeatTicks: number
  readonly maxSizePerMessageBytes: number
  readonly maxUncommittedBytes: number
  readonly maxInflightMessages: number
  readonly maxInflightBytes: number
  /** What was on disk: all empty for a new node. */
  readonly hardState: HardState | null
  readonly snapshot: Snapshot | null
  /**
   * Entries after the snapshot (or after `compacted`), oldest first. Copied. With `readEntries` the oldest
   * ones may be left out.
   */
  readonly entries: readonly Entry[]
  /** Index up to which the state machine has applied already: it will not be told of those entries again. */
  readonly applied: number
  /** Who is a member as of `applied`, where that differs from the snapshot's. */
  readonly confState?: ConfState
  /** The last entry that is gone from disk, where older entries than the snapshot's are still there. */
  readonly compacted?: { readonly index: number; readonly term: number }
  /** How many bytes of the newest entries stay in the core's memory. Default 16 MiB. */
  readonly keepBytes?: number
  /**
   * Reads back entries older than the kept tail: `from` up to but not including `to`, at least one, then as
   * many as fit `maxBytes` of data. Called synchronously from inside the core, so it must not call it. null:
   * they are gone for good. What it throws ends the instance.
   */
  readonly readEntries?: ReadEntries
}

export type ReadEntries = (from: number, to: number, maxBytes: number) => readonly Entry[] | null

/** Bytes, except where it says otherwise. */
export type Memory = {
  /** The linear memory: it only grows. */
  readonly linear: number
  readonly heap: number
  readonly heapInUse: number
  readonly allocatedInTotal: number
  readonly collections: number
  readonly pausedMilliseconds: number
}
