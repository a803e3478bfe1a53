// The main thread's side of the replica: starts its thread, asks it, stops it, and hears of its end.
// Refuses: to keep anything alive: when the thread ends, `failed` says why and the process must end too.

import { Worker } from 'node:worker_threads'
import { COPY, INTERNAL, IO, NO_PERMISSION, OK, TEMPORARY, UNAVAILABLE, USAGE } from '@skep/cli/exit-codes.ts'
import type { Outcome } from '../replica/batches/proposals.ts'
import type { Reply } from '../replica/membership/desk.ts'
import type { Request } from '../replica/membership/requests.ts'
import type { Fault } from '../replica/transport/transport.ts'
import type { StoreBuffers } from '../swarm/layout.ts'
import type {
  Answers,
  FailureKind,
  News,
  OrderBody,
  ReplicaOptions,
  ReplicaStatus,
  TimelineEvent,
} from './messages.ts'

/**
 * Of the replica thread's heap, MiB: what it allocates dies young, and V8 would let it lie around up to 48.
 */
const YOUNG_MIB = 6

export type OpenOptions = ReplicaOptions & {
  /** What a starting replica waits for, whenever that changes; '' once it waits for nothing. */
  readonly onNote?: (sentence: string) => void
  /** Network keys, as they change. */
  readonly keys?: { follow(take: (keys: readonly string[]) => void): void }
  /** Ends a start that still waits for others. */
  readonly signal?: AbortSignal
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
  /** Why another member does not let this start of it in; '' while none says so. */
  unwelcome(): string
  /** What is in the rings is still committed. `purge`: then deletes the log. */
  stop(options: { readonly purge: boolean }): Promise<void>
  /** Resolves when announces are answered for the first time. */
  readonly serving: Promise<void>
  /** Resolves when the thread ends without having been told to. */
  readonly failed: Promise<ReplicaFailed>
}

const EXIT_CODES: Record<FailureKind, number> = {
  damaged: IO,
  locked: IO,
  format: IO,
  disk: IO,
  full: TEMPORARY,
  forbidden: NO_PERMISSION,
  refused: USAGE,
  copy: COPY,
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

type Asked = { readonly resolve: (value: never) => void; readonly reject: (error: Error) => void }

/**
 * Starts the replica; resolves when its table can be read (it may still be WAITING for a leader). Rejects:
 * ReplicaFailed.
 */
export const openReplica = ({ onNote, keys, signal, ...options }: OpenOptions): Promise<ReplicaHandle> => {
  const worker = new Worker(new URL('./thread.ts', import.meta.url), {
    workerData: options,
    name: 'replica',
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
  })
  const asked = new Map<number, Asked>()
  let count = 0
  let stopping = false
  let why: ReplicaFailed | null = null
  const said = { note: '', removed: '', unwelcome: '' }
  const failed = promised<ReplicaFailed>()
  const serving = promised<void>()
  const opened = promised<ReplicaHandle>()
  const ended = promised<void>()
  const ask: Ask = (order) =>
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
    status: () => ask({ kind: 'status' }),
    propose: (entry) => ask({ kind: 'propose', entry }),
    snapshot: () => ask({ kind: 'snapshot' }),
    members: (request) => ask({ kind: 'members', request }),
    events: (since) => ask({ kind: 'events', since }),
    fault: (member, fault) => ask({ kind: 'fault', member, fault }),
    drain: (on) => ask({ kind: 'drain', on }),
    save: () => saveBy(ask),
    removed: () => said.removed,
    unwelcome: () => said.unwelcome,
    stop: async ({ purge }) => {
      stopping = true
      if (why === null) await ask({ kind: 'stop', purge })
      await ended.promise
    },
  })
  const stopEarly = (): void => worker.postMessage({ kind: 'stop', number: 0, purge: false })
  const fail = (error: ReplicaFailed): void => {
    why ??= signal?.aborted === true ? new ReplicaFailed('stopped', 'stopped before it answered') : error
    for (const { reject } of asked.values()) reject(why)
    asked.clear()
    opened.reject(why)
    if (!stopping) failed.resolve(why)
  }
  worker.on('message', (news: News) => {
    if (news.kind === 'open' && signal?.aborted === true) stopEarly()
    else if (news.kind === 'open') opened.resolve(handle(news.store))
    else if (news.kind === 'serving') serving.resolve()
    else if (news.kind === 'note' || news.kind === 'removed' || news.kind === 'unwelcome') {
      said[news.kind] = news.sentence
      onNote?.(news.sentence)
    } else if (news.kind === 'failed') fail(new ReplicaFailed(news.failure, news.message, news.stack))
    else if (news.kind === 'answer') asked.get(news.number)?.resolve(news.value as never)
    else asked.get(news.number)?.reject(new Error(news.message))
    if (news.kind === 'answer' || news.kind === 'error') asked.delete(news.number)
  })
  signal?.addEventListener('abort', stopEarly)
  keys?.follow((now) => worker.postMessage({ kind: 'keys', number: 0, keys: now }))
  worker.on('error', (error: Error) => fail(new ReplicaFailed('bug', error.message, error.stack)))
  worker.on('exit', (code) => {
    if (code !== OK || !stopping)
      fail(new ReplicaFailed('bug', `the replica thread ended by itself (exit code ${code})`))
    ended.resolve()
  })
  return opened.promise
}

type Ask = <K extends keyof Answers>(order: Extract<OrderBody, { kind: K }>) => Promise<Answers[K]>

async function saveBy(ask: Ask): ReturnType<ReplicaHandle['save']> {
  const { id, totalBytes } = await ask({ kind: 'save' })
  const piece = () => ask({ kind: 'piece', id })
  return { totalBytes, pieces: piecesOf(piece, () => void ask({ kind: 'unsave', id }).catch(() => {})) }
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
