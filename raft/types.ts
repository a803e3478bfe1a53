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

/** A snapshot is named, never carried: its bytes travel outside Raft messages. `data` is a small descriptor. */
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
  /** raftpb.Message as protobuf: a view into the core's memory, valid until the next call. */
  readonly data: Uint8Array
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
  /** Entries after the snapshot, oldest first. Copied. */
  readonly entries: readonly Entry[]
  /** Index up to which the state machine has applied already. */
  readonly applied: number
  /** Entries older than the kept tail, read back on demand; called synchronously from inside the core. */
  readonly readEntries?: (from: number, to: number, maxBytes: number) => readonly Entry[] | null
}
