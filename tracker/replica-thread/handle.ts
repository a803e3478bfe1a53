// The main thread's side of the replica: starts its thread, asks it, stops it, and hears of its end.
// Refuses: to keep anything alive: when the thread ends, `failed` says why and the process must end too.

import { Worker } from 'node:worker_threads'
import { INTERNAL, IO, OK, UNAVAILABLE, USAGE } from '@skep/cli/exit-codes.ts'
import type { Outcome } from '../replica/batches/proposals.ts'
import type { ClusterEvent } from '../replica/events.ts'
import type { Histogram } from '../replica/histogram.ts'
import type { Reply } from '../replica/membership/desk.ts'
import type { Request } from '../replica/membership/requests.ts'
import type { TransferStatus } from '../replica/transfer/transfer.ts'
import type { Fault, RefusedDial } from '../replica/transport/transport.ts'
import type { StoreBuffers } from '../swarm/layout.ts'
import type { Settings } from '../swarm/settings.ts'
import type { ProducerBuffers } from '../threads/producer.ts'
import type { SaveBegun } from './saving.ts'

/**
 * Of the replica thread's heap, MiB: what it allocates dies young, and V8 would let it lie around up to 48.
 */
const YOUNG_MIB = 6

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
  /** What a starting replica waits for, whenever that changes; '' once it waits for nothing. */
  readonly onNote?: (sentence: string) => void
  /** Ends a start that still waits for others. */
  readonly signal?: AbortSignal
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
  /** One network key a line; the first one is used for dialling. Read again when it changes. */
  readonly networkKeyFile: string
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
  /** A joint configuration: members are being changed. */
  readonly joint: boolean
  /** A change of members is under way here, joint or asked for. */
  readonly changing: boolean
  readonly draining: boolean
  /** Why this replica is no member any more; '' while it is one. */
  readonly removed: string
  readonly transfers: readonly TransferStatus[]
  readonly refusedDials: readonly RefusedDial[]
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

export interface ReplicaHandle {
  readonly store: StoreBuffers
  status(): Promise<ReplicaStatus>
  /** One entry of its own: settings, access lists. 'unknown': not known in time; it may still take effect. */
  propose(entry: Uint8Array): Promise<Outcome>
  /** Resolves with the snapshot's index once it is on disk and the log is cut. */
  snapshot(): Promise<number>
  /**
   * Adds, promotes, demotes or removes a member, or moves leadership; only the leader does. The sentence is
   * for people.
   */
  members(request: Request): Promise<Reply>
  /** Those after number `since`, oldest first: the last 1,000 are kept. */
  events(since: number): Promise<readonly TimelineEvent[]>
  /**
   * A fault between this replica and another one, or null to end it; false: no such member, or not allowed.
   */
  fault(member: number, fault: Fault | null): Promise<boolean>
  /**
   * `on`: leads no more if anybody else can, and does not come to lead; it goes on answering. Resolves with
   * what came of it once leadership is elsewhere.
   */
  drain(on: boolean): Promise<string>
  /** A snapshot of now as a portable file, without keys, piece by piece. */
  save(): Promise<{ readonly totalBytes: number; readonly pieces: AsyncGenerator<Uint8Array> }>
  /** Why this replica is no member any more; '' while it is one. */
  removed(): string
  /** What is in the rings is still committed. `purge`: then deletes the log. */
  stop(options: { readonly purge: boolean }): Promise<void>
  /** Resolves when announces are answered for the first time. */
  readonly serving: Promise<void>
  /** Resolves when the thread ends without having been told to. */
  readonly failed: Promise<ReplicaFailed>
}

export type FailureKind =
  | 'damaged'
  | 'locked'
  | 'format'
  | 'disk'
  | 'refused'
  | 'stopped'
  | 'port'
  | 'panic'
  | 'bug'
const EXIT_CODES: Record<FailureKind, number> = {
  damaged: IO,
  locked: IO,
  format: IO,
  disk: IO,
  refused: USAGE,
  stopped: OK,
  port: UNAVAILABLE,
  panic: INTERNAL,
  bug: INTERNAL,
}

/** Why there is no replica (any more), with the exit code that the process should end with. */
export class ReplicaFailed extends Error {
  override readonly name = 'ReplicaFailed'
  readonly kind: FailureKind
  readonly exitCode: number
  constructor(kind: FailureKind, message: string, stack?: string) {
    super(message)
    this.kind = kind
    this.exitCode = EXIT_CODES[kind]
    if (stack !== undefined && (kind === 'bug' || kind === 'panic')) this.stack = stack
  }
}

/** To the thread. */
export type Order =
  | { readonly kind: 'status'; readonly number: number }
  | { readonly kind: 'snapshot'; readonly number: number }
  | { readonly kind: 'propose'; readonly number: number; readonly entry: Uint8Array }
  | { readonly kind: 'members'; readonly number: number; readonly request: Request }
  | { readonly kind: 'events'; readonly number: number; readonly since: number }
  | {
      readonly kind: 'fault'
      readonly number: number
      readonly member: number
      readonly fault: Fault | null
    }
  | { readonly kind: 'drain'; readonly number: number; readonly on: boolean }
  | { readonly kind: 'save'; readonly number: number }
  | { readonly kind: 'piece'; readonly number: number; readonly id: string }
  | { readonly kind: 'unsave'; readonly number: number; readonly id: string }
  | { readonly kind: 'stop'; readonly number: number; readonly purge: boolean }
/** From it. */
export type News =
  | { readonly kind: 'open'; readonly store: StoreBuffers }
  | { readonly kind: 'serving' }
  | { readonly kind: 'note'; readonly sentence: string }
  | { readonly kind: 'removed'; readonly sentence: string }
  | {
      readonly kind: 'failed'
      readonly failure: FailureKind
      readonly message: string
      readonly stack?: string
    }
  | { readonly kind: 'answer'; readonly number: number; readonly value: unknown }
  | { readonly kind: 'error'; readonly number: number; readonly message: string }

type OrderBody = Order extends infer O ? (O extends Order ? Omit<O, 'number'> : never) : never
type Asked = { readonly resolve: (value: never) => void; readonly reject: (error: Error) => void }

/**
 * Starts the replica; resolves when its table can be read (it may still be WAITING for a leader). Rejects:
 * ReplicaFailed.
 */
export const openReplica = ({ onNote, signal, ...options }: ReplicaOptions): Promise<ReplicaHandle> => {
  const worker = new Worker(new URL('./thread.ts', import.meta.url), {
    workerData: options,
    name: 'replica',
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
  })
  const asked = new Map<number, Asked>()
  let count = 0
  let stopping = false
  let why: ReplicaFailed | null = null
  let removed = ''
  const failed = promised<ReplicaFailed>()
  const serving = promised<void>()
  const opened = promised<ReplicaHandle>()
  const ended = promised<void>()
  const ask = <T>(order: OrderBody): Promise<T> =>
    new Promise((resolve, reject) => {
      if (why !== null) return reject(why)
      count++
      asked.set(count, { resolve, reject })
      worker.postMessage({ ...order, number: count })
    })
  const handle = (store: StoreBuffers): ReplicaHandle => ({
    store,
    serving: serving.promise,
    failed: failed.promise,
    status: () => ask<ReplicaStatus>({ kind: 'status' }),
    propose: (entry) => ask<Outcome>({ kind: 'propose', entry }),
    snapshot: () => ask<number>({ kind: 'snapshot' }),
    members: (request) => ask<Reply>({ kind: 'members', request }),
    events: (since) => ask<readonly TimelineEvent[]>({ kind: 'events', since }),
    fault: (member, fault) => ask<boolean>({ kind: 'fault', member, fault }),
    drain: (on) => ask<string>({ kind: 'drain', on }),
    save: async () => {
      const { id, totalBytes } = await ask<SaveBegun>({ kind: 'save' })
      const piece = () => ask<Uint8Array | null>({ kind: 'piece', id })
      return { totalBytes, pieces: piecesOf(piece, () => void ask({ kind: 'unsave', id }).catch(() => {})) }
    },
    removed: () => removed,
    stop: async ({ purge }) => {
      stopping = true
      if (why === null) await ask<void>({ kind: 'stop', purge })
      await ended.promise
    },
  })
  const fail = (error: ReplicaFailed): void => {
    why ??= error
    for (const { reject } of asked.values()) reject(why)
    asked.clear()
    opened.reject(why)
    if (!stopping) failed.resolve(why)
  }
  worker.on('message', (news: News) => {
    if (news.kind === 'open') opened.resolve(handle(news.store))
    else if (news.kind === 'serving') serving.resolve()
    else if (news.kind === 'note') onNote?.(news.sentence)
    else if (news.kind === 'removed') {
      removed = news.sentence
      onNote?.(removed)
    } else if (news.kind === 'failed') fail(new ReplicaFailed(news.failure, news.message, news.stack))
    else if (news.kind === 'answer') asked.get(news.number)?.resolve(news.value as never)
    else asked.get(news.number)?.reject(new Error(news.message))
    if (news.kind === 'answer' || news.kind === 'error') asked.delete(news.number)
  })
  signal?.addEventListener('abort', () => worker.postMessage({ kind: 'stop', number: 0, purge: false }))
  worker.on('error', (error: Error) => fail(new ReplicaFailed('bug', error.message, error.stack)))
  worker.on('exit', (code) => {
    if (code !== OK || !stopping)
      fail(new ReplicaFailed('bug', `the replica thread ended by itself (exit code ${code})`))
    ended.resolve()
  })
  return opened.promise
}

/** Read ahead by nothing: a reader that is slow holds the file, and nobody else, up. */
async function* piecesOf(
  next: () => Promise<Uint8Array | null>,
  end: () => void,
): AsyncGenerator<Uint8Array> {
  try {
    for (let piece = await next(); piece !== null; piece = await next()) yield piece
  } finally {
    end()
  }
}

const promised = <T>(): {
  promise: Promise<T>
  resolve: (value: T) => void
  reject: (error: Error) => void
} => {
  const made = Promise.withResolvers<T>()
  // Nobody may be listening yet.
  made.promise.catch(() => {})
  return made
}
