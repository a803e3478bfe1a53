// What goes between the main thread and the replica's: how a replica is opened, the orders it takes, what
// each of them is answered with, and the news it tells by itself. Types only, so that both sides stand on one
// word. Refuses: anything that runs.

import type { Outcome } from '../replica/batches/proposals.ts'
import type { ClusterEvent } from '../replica/events.ts'
import type { Histogram } from '../replica/histogram.ts'
import type { Reply } from '../replica/membership/desk.ts'
import type { Raise } from '../replica/membership/level.ts'
import type { Request } from '../replica/membership/requests.ts'
import type { TransferStatus } from '../replica/transfer/transfer.ts'
import type { Fault, RefusedDial } from '../replica/transport/transport.ts'
import type { StoreBuffers } from '../swarm/layout.ts'
import type { Settings } from '../swarm/settings.ts'
import type { ProducerBuffers } from '../threads/producer.ts'

export type ReplicaOptions = {
  readonly dataDir: string
  readonly name: string
  readonly fsync: 'always' | 'interval'
  readonly logStore: 'classic-level' | 'lmdb'
  /** Capacity of a new cluster; an old one refuses to start with less than it was born with. */
  readonly memoryBytes: number
  readonly peerDetails: boolean
  /** Settings of a new cluster; an old one keeps those in its log. */
  readonly birthSettings: Settings
  readonly control: SharedArrayBuffer
  /** Their order is their number in the log's batches. */
  readonly producers: readonly ProducerBuffers[]
  /** A batch waits this long for company, milliseconds. */
  readonly lingerMs: number
  /** Bytes of log after which a snapshot is taken and the log cut. */
  readonly snapshotLogBytes: number
  /** Scheduler slice of the replica thread, nanoseconds (Linux 6.12+); 0: the system's. */
  readonly sliceNanoseconds?: number
  /** The cluster's level is raised once every replica has run for its own time of this, milliseconds. */
  readonly raiseLevelAfterMs?: number
  /** A change waits at most this long for its outcome, milliseconds. */
  readonly parkForMs?: number
  /** relaxed: a change is answered before it is committed. */
  readonly consistency?: 'committed' | 'relaxed'
  /** Null or absent: alone, and nobody can join. */
  readonly cluster?: ClusterOptions | null
  /**
   * Of this program, and where this replica's control API is (host:port, '' on loopback): told to the others.
   */
  readonly version?: string
  readonly controlAddress?: string
}

export type ClusterOptions = {
  /** `host:port` under which the other replicas reach this one. */
  readonly address: string
  /** Where it listens for them; port 0: any free one. */
  readonly host: string
  readonly replicaPort: number
  /** `--initial-members`, this replica's included. */
  readonly initialMembers: readonly { readonly name: string; readonly address: string }[]
  /** `--join`: addresses of a running cluster's members; null: form one. */
  readonly join: readonly string[] | null
  /** Joins as a learner for ever. */
  readonly learner: boolean
  /** Network keys; the first one is used for dialling. Those that take their place come as an order. */
  readonly networkKeys: readonly string[]
  readonly keepaliveMs: number
  /** Keepalives without which a leader is taken for dead. */
  readonly missed: number
  /** Most voters that learners are promoted to by themselves; `promotes` false: only on request. */
  readonly maxVoters: number
  readonly promotes: boolean
  /** Leadership goes to the highest name that has caught up. */
  readonly preferHighest: boolean
  /** `--allow-faults`. */
  readonly allowFaults: boolean
}

export type MemberStatus = {
  readonly id: number
  readonly name: string
  readonly address: string
  readonly voter: boolean
  readonly self: boolean
  /** Last entry that it is known to have, and how many it lacks; null: only a leader knows. */
  readonly match: number | null
  readonly lag: number | null
  /** probe, replicate or snapshot; '' where only the leader knows. */
  readonly progress: string
  /** Since any frame of it came, milliseconds; null: none yet. */
  readonly heardMsAgo: number | null
  /** It says that its disk takes nothing. */
  readonly diskFails: boolean
  readonly level: number
  /** The start of it that counts here, by its number; 0: none is remembered. */
  readonly start: number
  /** By its own word, about a second old; null, '': nothing heard yet. */
  readonly applied: number | null
  readonly version: string
  readonly diskBytes: number | null
  readonly controlAddress: string
  readonly draining: boolean
  /** ID of the voter of the same name whose place this learner takes; 0: nobody. */
  readonly replaces: number
  /** Of the connection to it: connected, connecting, dialing, refused, cut; '' for this replica itself. */
  readonly way: string
  readonly wayDetail: string
  readonly queuedBytes: number
  readonly rttMs: number | null
  readonly sentBytes: number
  readonly receivedBytes: number
  /** Writes to its sockets. */
  readonly writes: number
}

/** An event of the timeline, with wall time and the name of whom it is about. */
export type TimelineEvent = Omit<ClusterEvent, 'atMs'> & { readonly at: string; readonly name: string }

export type ReplicaStatus = {
  readonly id: number
  readonly name: string
  readonly clusterId: string
  readonly role: 'follower' | 'candidate' | 'leader' | 'pre-candidate'
  readonly term: number
  /** Member ID; 0: none known. */
  readonly leader: number
  readonly members: readonly MemberStatus[]
  /** The cluster's level (swarm/level.ts), and the one to raise it to now; 0: none, for a reason or ''. */
  readonly level: number
  readonly raise: Raise
  /** A joint configuration: members are being changed. */
  readonly joint: boolean
  /** A change of members is under way here, joint or asked for. */
  readonly changing: boolean
  readonly draining: boolean
  /** Why this replica is no member any more; '' while it is one. */
  readonly removed: string
  readonly transfers: readonly TransferStatus[]
  readonly refusedDials: readonly RefusedDial[]
  /** Members that are elsewhere than the directory says, by their own word. */
  readonly moved: readonly { readonly name: string; readonly address: string }[]
  /** Dials refused since the start: of an older copy of a member, or of one beside the original. */
  readonly refusedLives: number
  /** Why the last of them was; '' while there was none. */
  readonly refusedLife: string
  /** What is awaited before the next change of members; '': nothing. */
  readonly awaits: string
  readonly commit: number
  readonly applied: number
  readonly firstIndex: number
  readonly lastIndex: number
  readonly logBytes: number
  readonly snapshotIndex: number
  readonly snapshotRunning: boolean
  readonly snapshotsTaken: number
  readonly diskFull: boolean
  /** Why writes fail now, or why the last snapshot did; '' when nothing is wrong. */
  readonly diskError: string
  readonly failedWrites: number
  /** A lease holds: announces are answered. */
  readonly serving: boolean
  /** How long the lease still holds if nothing renews it, milliseconds; Infinity: alone. */
  readonly leaseMs: number
  /** A majority cannot store: changes are refused. */
  readonly refusing: boolean
  /** `--fsync interval` and the machine went down hard since the last clean stop. */
  readonly unclean: boolean
  /** Turns of the loop that had something to do, since start; writes of the log, and how long each took. */
  readonly cycles: number
  readonly syncs: number
  readonly syncMs: Histogram
  readonly changes: number
  readonly touches: number
  readonly refused: number
  readonly unknown: number
  readonly appliedEntries: number
  readonly droppedProposals: number
  /** Own batches sent to a leader, sent again, given back by one. */
  readonly forwardedBatches: number
  readonly resentBatches: number
  readonly refusedBatches: number
  /** As a leader: others' sections proposed, refused, come too early, malformed. */
  readonly joinedSections: number
  readonly refusedSections: number
  readonly earlySections: number
  readonly malformedSections: number
  readonly campaigns: number
  /** Votes and requests to stand that came too soon after a restart. */
  readonly unheardVotes: number
  readonly badMessages: number
  /** Notices of a commit that needed no frame of their own. */
  readonly joinedNotices: number
  readonly incarnation: number
  /** The cluster's clock, milliseconds. */
  readonly timeMs: number
  /** Linear memory of the Raft core, bytes. */
  readonly coreBytes: number
  readonly logStore: string
  readonly fsync: string
  readonly consistency: 'committed' | 'relaxed'
}

export type FailureKind =
  | 'damaged'
  | 'locked'
  | 'format'
  | 'disk'
  | 'full'
  | 'forbidden'
  | 'refused'
  | 'copy'
  | 'stopped'
  | 'port'
  | 'panic'
  | 'bug'

/** A snapshot that is about to be saved, piece by piece. */
export type SaveBegun = { readonly id: string; readonly index: number; readonly totalBytes: number }

/** What the thread is asked. */
export type OrderBody =
  | { readonly kind: 'status' }
  | { readonly kind: 'snapshot' }
  | { readonly kind: 'propose'; readonly entry: Uint8Array }
  | { readonly kind: 'members'; readonly request: Request }
  | { readonly kind: 'events'; readonly since: number }
  | { readonly kind: 'fault'; readonly member: number; readonly fault: Fault | null }
  | { readonly kind: 'drain'; readonly on: boolean }
  | { readonly kind: 'save' }
  | { readonly kind: 'piece'; readonly id: string }
  | { readonly kind: 'unsave'; readonly id: string }
  | { readonly kind: 'keys'; readonly keys: readonly string[] }
  | { readonly kind: 'stop'; readonly purge: boolean }

/** What each order is answered with. */
export type Answers = {
  readonly status: ReplicaStatus
  readonly snapshot: number
  readonly propose: Outcome
  readonly members: Reply
  readonly events: readonly TimelineEvent[]
  readonly fault: boolean
  readonly drain: string
  readonly save: SaveBegun
  readonly piece: Uint8Array | null
  readonly unsave: undefined
  readonly keys: undefined
  readonly stop: undefined
}

/** To the thread; `number` is the order's own, and comes back with its answer. */
export type Order = OrderBody & { readonly number: number }
/** From it. */
export type News =
  | { readonly kind: 'open'; readonly store: StoreBuffers }
  | { readonly kind: 'serving' }
  | { readonly kind: 'note'; readonly sentence: string }
  | { readonly kind: 'removed'; readonly sentence: string }
  /** Why another member does not let this life in; '': one does. */
  | { readonly kind: 'unwelcome'; readonly sentence: string }
  | {
      readonly kind: 'failed'
      readonly failure: FailureKind
      readonly message: string
      readonly stack?: string
    }
  | { readonly kind: 'answer'; readonly number: number; readonly value: unknown }
  | { readonly kind: 'error'; readonly number: number; readonly message: string }
