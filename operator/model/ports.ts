// What a pass needs of the world: the API server and the replicas' control API. kube/kube.ts and members.ts
// implement it with sockets, the simulator in memory; observe.ts, act.ts and reconcile.ts see nothing else.
// Refuses: clocks and retries. A pass that fails is an error, and the queue backs off.

import type { MemberReport } from './facts.ts'

/** Any Kubernetes object as JSON. */
export type KubeObject = {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly uid?: string
    readonly generation?: number
    readonly resourceVersion?: string
    readonly labels?: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
    readonly finalizers?: readonly string[]
    readonly ownerReferences?: readonly Readonly<Record<string, unknown>>[]
    readonly creationTimestamp?: string
    readonly deletionTimestamp?: string
  }
  readonly spec?: Readonly<Record<string, unknown>>
  readonly status?: Readonly<Record<string, unknown>>
  readonly data?: Readonly<Record<string, string>>
  readonly type?: string
}

/** Kinds that are watched; `list` answers from the cache. */
export type WatchedKind =
  | 'TrackerCluster'
  | 'TorrentPolicy'
  | 'TrackerBackup'
  | 'ConfigMap'
  | 'Secret'
  | 'ServiceAccount'
  | 'Service'
  | 'EndpointSlice'
  | 'PodDisruptionBudget'
  | 'StatefulSet'
  | 'Pod'
  | 'PersistentVolumeClaim'
  | 'Job'
  | 'CronJob'

export type EventNote = {
  /** What it is about. */
  readonly about: KubeObject
  readonly type: 'Normal' | 'Warning'
  readonly reason: string
  readonly message: string
}

/** Codes of ApiError that are told apart. */
export const CONFLICT = 409
export const NOT_FOUND = 404
/** An eviction that a disruption budget refuses. */
export const TOO_MANY = 429

/**
 * The API server said no, or nothing: `code` is the HTTP status, 0 without an answer (it may have happened).
 */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly code: number
  constructor(code: number, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

export interface Api {
  /** From the cache, which may be old; all labels have to be there. */
  list(kind: WatchedKind, namespace: string, labels?: Readonly<Record<string, string>>): readonly KubeObject[]
  /** From the cache. */
  cached(kind: WatchedKind, namespace: string, name: string): KubeObject | null
  /**
   * Of a watch that has not been heard of for longer than the cache's own limit: what it shows cannot be
   * believed.
   */
  silent(): WatchedKind | null
  /** From the server. */
  get(kind: WatchedKind, namespace: string, name: string): Promise<KubeObject | null>
  /**
   * Server-side apply under the operator's field owner, by force. Where a uid is given, only that object
   * (409).
   */
  apply(object: KubeObject): Promise<KubeObject>
  /** Merge patch of metadata only; `resourceVersion` in it is a precondition. */
  patchMetadata(
    kind: WatchedKind,
    namespace: string,
    name: string,
    metadata: Readonly<Record<string, unknown>>,
  ): Promise<KubeObject>
  /** Replaces the whole status; 409 if the object has another resourceVersion by now. */
  putStatus(object: KubeObject, status: object): Promise<KubeObject>
  /** Gone already is fine. With `uid` only that one (409). `force`: no grace. */
  delete(
    kind: WatchedKind,
    namespace: string,
    name: string,
    options: { readonly uid?: string; readonly force?: boolean },
  ): Promise<void>
  /** Refused with 429 by a disruption budget. */
  evict(namespace: string, pod: string, uid: string): Promise<void>
  /** Never fails a pass. */
  event(note: EventNote): Promise<void>
}

/** A replica's answer to a request about members. */
export type MemberAnswer =
  /** Done, or it was so already. */
  | { readonly kind: 'done'; readonly sentence: string }
  /** Nothing has happened; asking again later may be fine. */
  | { readonly kind: 'later'; readonly sentence: string }
  /** Nothing has happened, and the sentence says what is in the way. */
  | { readonly kind: 'refused'; readonly sentence: string }
  /** It may have happened. */
  | { readonly kind: 'unknown'; readonly sentence: string }

/** Where a replica's control API is, and all keys that may be right for it, the one in use first. */
export type MemberAddress = {
  readonly pod: string
  readonly podUid: string
  readonly ip: string
  readonly namespace: string
  /** The cluster's name; keys are looked up by it. */
  readonly cluster: string
}

export interface Members {
  /** Rejects when nobody answers. */
  status(at: MemberAddress): Promise<MemberReport>
  promote(at: MemberAddress, members: readonly string[]): Promise<MemberAnswer>
  demote(at: MemberAddress, members: readonly string[]): Promise<MemberAnswer>
  remove(at: MemberAddress, member: string): Promise<MemberAnswer>
  transfer(at: MemberAddress, to: string): Promise<MemberAnswer>
  /** Not ready any more, but answering; `undo` ends that. */
  drain(at: MemberAddress, undo: boolean): Promise<MemberAnswer>
}
