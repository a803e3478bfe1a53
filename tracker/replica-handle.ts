// The main thread's side of the replica: starts its thread, asks it, stops it, and hears of its end.
// Refuses: to keep anything alive: when the thread ends, `failed` says why and the process must end too.

import { Worker } from 'node:worker_threads'
import { INTERNAL, IO, OK, USAGE } from './exit-codes.ts'
import type { Histogram } from './replica/histogram.ts'
import type { Outcome } from './replica/proposals.ts'
import type { ProducerBuffers } from './shared/producer.ts'
import type { StoreBuffers } from './swarm/layout.ts'
import type { Settings } from './swarm/settings.ts'

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
}

export type ReplicaStatus = {
  readonly id: number
  readonly name: string
  readonly clusterId: string
  readonly role: 'follower' | 'candidate' | 'leader' | 'pre-candidate'
  readonly term: number
  /** Member ID; 0: none known. */
  readonly leader: number
  readonly members: readonly { readonly id: number; readonly name: string; readonly voter: boolean }[]
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
  readonly incarnation: number
  /** The cluster's clock, milliseconds. */
  readonly timeMs: number
  /** Linear memory of the Raft core, bytes. */
  readonly coreBytes: number
  readonly logStore: string
  readonly fsync: string
}

export interface ReplicaHandle {
  readonly store: StoreBuffers
  status(): Promise<ReplicaStatus>
  /** One entry of its own: settings, access lists. 'unknown': not known in time; it may still take effect. */
  propose(entry: Uint8Array): Promise<Outcome>
  /** Resolves with the snapshot's index once it is on disk and the log is cut. */
  snapshot(): Promise<number>
  /** What is in the rings is still committed. `purge`: then deletes the log. */
  stop(options: { readonly purge: boolean }): Promise<void>
  /** Resolves when announces are answered for the first time. */
  readonly serving: Promise<void>
  /** Resolves when the thread ends without having been told to. */
  readonly failed: Promise<ReplicaFailed>
}

export type FailureKind = 'damaged' | 'locked' | 'format' | 'disk' | 'refused' | 'panic' | 'bug'
const EXIT_CODES: Record<FailureKind, number> = {
  damaged: IO,
  locked: IO,
  format: IO,
  disk: IO,
  refused: USAGE,
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
  | { readonly kind: 'stop'; readonly number: number; readonly purge: boolean }
/** From it. */
export type News =
  | { readonly kind: 'open'; readonly store: StoreBuffers }
  | { readonly kind: 'serving' }
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

/** Starts the replica; resolves when its table can be read (it may still be WAITING for a leader). Rejects: ReplicaFailed. */
export const openReplica = (options: ReplicaOptions): Promise<ReplicaHandle> => {
  const worker = new Worker(new URL('./replica-thread.ts', import.meta.url), {
    workerData: options,
    name: 'replica',
  })
  const asked = new Map<number, Asked>()
  let count = 0
  let stopping = false
  let why: ReplicaFailed | null = null
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
    else if (news.kind === 'failed') fail(new ReplicaFailed(news.failure, news.message, news.stack))
    else if (news.kind === 'answer') asked.get(news.number)?.resolve(news.value as never)
    else asked.get(news.number)?.reject(new Error(news.message))
    if (news.kind === 'answer' || news.kind === 'error') asked.delete(news.number)
  })
  worker.on('error', (error: Error) => fail(new ReplicaFailed('bug', error.message, error.stack)))
  worker.on('exit', (code) => {
    if (code !== OK || !stopping)
      fail(new ReplicaFailed('bug', `the replica thread ended by itself (exit code ${code})`))
    ended.resolve()
  })
  return opened.promise
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
