// An API server in memory: resource versions, generations, uids, finalizers, preconditions, a log of changes
// that each operator's cache follows at its own pace. Requests may fail, or take effect and then fail, or be
// the last thing an operator does. Refuses: schemas and permissions.

import type { Random } from '@skep/testing/random.ts'
import { ApiError, CONFLICT, type KubeObject, NOT_FOUND, type WatchedKind } from '../model/ports.ts'

export type Json = Record<string, unknown>
type Meta = { -readonly [K in keyof KubeObject['metadata']]: KubeObject['metadata'][K] }
/** As the server keeps it: replaced, never changed in place. */
export type Stored = KubeObject & { readonly kind: WatchedKind }

export type Change = { readonly type: 'put' | 'gone'; readonly object: Stored }

export const keyOf = (kind: string, namespace: string, name: string): string => `${kind}/${namespace}/${name}`

/** Kinds whose deletion waits for somebody: pods for their node, claims for their pods. */
const GRACEFUL: readonly string[] = ['Pod', 'PersistentVolumeClaim']

export class Server {
  readonly objects = new Map<string, Stored>()
  readonly log: Change[] = []
  private version = 0
  private uids = 0
  readonly nowText: () => string

  constructor(nowText: () => string) {
    this.nowText = nowText
  }

  get(kind: WatchedKind, namespace: string, name: string): Stored | null {
    return this.objects.get(keyOf(kind, namespace, name)) ?? null
  }

  list(kind: WatchedKind): Stored[] {
    return [...this.objects.values()].filter((o) => o.kind === kind)
  }

  create(object: KubeObject): Stored {
    const { metadata } = object
    if (this.get(object.kind as WatchedKind, metadata.namespace!, metadata.name) !== null)
      throw new ApiError(CONFLICT, `${object.kind} ${metadata.name} is there`)
    return this.put({
      ...object,
      metadata: { ...metadata, uid: `u${++this.uids}`, generation: 1, creationTimestamp: this.nowText() },
    } as Stored)
  }

  /** What the owner of all fields wants; nothing happens when it is so. */
  apply(object: KubeObject): Stored {
    const there = this.get(object.kind as WatchedKind, object.metadata.namespace!, object.metadata.name)
    if (there === null) {
      const { resourceVersion: _, ...metadata } = object.metadata
      return this.create({ ...object, metadata })
    }
    this.expect(there, object.metadata)
    const changed = JSON.stringify([object.spec, object.data]) !== JSON.stringify([there.spec, there.data])
    const metadata: Meta = {
      ...there.metadata,
      ...(object.metadata.labels === undefined ? {} : { labels: object.metadata.labels }),
      ...(object.metadata.annotations === undefined ? {} : { annotations: object.metadata.annotations }),
      ...(object.metadata.ownerReferences === undefined
        ? {}
        : { ownerReferences: object.metadata.ownerReferences }),
      generation: (there.metadata.generation ?? 0) + (changed ? 1 : 0),
    }
    const next = {
      ...there,
      ...object,
      metadata,
      ...(there.status === undefined ? {} : { status: there.status }),
    } as Stored
    return JSON.stringify(next) === JSON.stringify(there) ? there : this.put(next)
  }

  update(object: Stored, change: { status?: object; spec?: Json; metadata?: Partial<Meta> }): Stored {
    const there = this.get(object.kind, object.metadata.namespace!, object.metadata.name)
    if (there === null) throw new ApiError(NOT_FOUND, `${object.kind} ${object.metadata.name} is gone`)
    const same = (a: unknown, b: unknown): boolean => a === b || JSON.stringify(a) === JSON.stringify(b)
    const unchanged =
      (change.status === undefined || same(change.status, there.status)) &&
      (change.spec === undefined || same(change.spec, there.spec)) &&
      (change.metadata === undefined || same({ ...there.metadata, ...change.metadata }, there.metadata))
    if (unchanged) return there
    const grown = change.spec === undefined ? 0 : 1
    const next = {
      ...there,
      ...(change.status === undefined ? {} : { status: change.status }),
      ...(change.spec === undefined ? {} : { spec: change.spec }),
      metadata: {
        ...there.metadata,
        ...change.metadata,
        generation: (there.metadata.generation ?? 0) + grown,
      },
    } as Stored
    const gone =
      next.metadata.deletionTimestamp !== undefined && (next.metadata.finalizers ?? []).length === 0
    if (gone && !GRACEFUL.includes(next.kind)) {
      this.remove(next)
      return next
    }
    return this.put(next)
  }

  patchMetadata(kind: WatchedKind, namespace: string, name: string, patch: Json): Stored {
    const there = this.get(kind, namespace, name)
    if (there === null) throw new ApiError(NOT_FOUND, `${kind} ${name} is gone`)
    const { resourceVersion, annotations, ...rest } = patch as Json & { annotations?: Json }
    this.expect(there, { resourceVersion } as Meta)
    const merged: Json = { ...there.metadata.annotations, ...annotations }
    for (const [key, value] of Object.entries(merged)) if (value === null) delete merged[key]
    return this.update(there, { metadata: { ...rest, annotations: merged as Record<string, string> } })
  }

  putStatus(object: KubeObject, status: object): Stored {
    const there = this.get(object.kind as WatchedKind, object.metadata.namespace!, object.metadata.name)
    if (there === null) throw new ApiError(NOT_FOUND, `${object.kind} ${object.metadata.name} is gone`)
    this.expect(there, object.metadata)
    return this.update(there, { status: JSON.parse(JSON.stringify(status)) as object })
  }

  /** Asks for its end; what waits for nobody is gone at once. */
  delete(
    kind: WatchedKind,
    namespace: string,
    name: string,
    options: { uid?: string; force?: boolean },
  ): void {
    const there = this.get(kind, namespace, name)
    if (there === null) return
    this.expect(there, { ...(options.uid === undefined ? {} : { uid: options.uid }) } as Meta)
    const waits =
      (GRACEFUL.includes(kind) && !(kind === 'Pod' && options.force === true)) ||
      (there.metadata.finalizers ?? []).length > 0
    if (!waits) this.remove(there)
    else if (there.metadata.deletionTimestamp === undefined)
      this.put({ ...there, metadata: { ...there.metadata, deletionTimestamp: this.nowText() } })
  }

  remove(object: Stored): void {
    const { namespace, name } = object.metadata
    this.objects.delete(keyOf(object.kind, namespace!, name))
    this.version++
    this.log.push({ type: 'gone', object })
  }

  private put(object: Stored): Stored {
    const next = { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.version) } }
    this.objects.set(keyOf(object.kind, object.metadata.namespace!, object.metadata.name), next)
    this.log.push({ type: 'put', object: next })
    return next
  }

  private expect(there: Stored, wanted: Partial<Meta>): void {
    const { uid, resourceVersion } = wanted
    if (uid !== undefined && uid !== there.metadata.uid)
      throw new ApiError(CONFLICT, `${there.kind} ${there.metadata.name} is another one`)
    if (resourceVersion !== undefined && resourceVersion !== there.metadata.resourceVersion)
      throw new ApiError(CONFLICT, `${there.kind} ${there.metadata.name} has changed`)
  }
}

/** What an operator has seen of the server: the log up to a place. */
export class Cache {
  private readonly server: Server
  private readonly objects = new Map<string, Stored>()
  private at = 0

  constructor(server: Server) {
    this.server = server
    // A new operator lists first.
    for (const [key, object] of server.objects) this.objects.set(key, object)
    this.at = server.log.length
  }

  get behind(): number {
    return this.server.log.length - this.at
  }

  /** Follows `most` changes of the log. */
  follow(most: number, seen: (change: Change) => void): void {
    const end = Math.min(this.server.log.length, this.at + most)
    for (; this.at < end; this.at++) {
      const change = this.server.log[this.at]!
      const { kind, metadata } = change.object
      const key = keyOf(kind, metadata.namespace!, metadata.name)
      if (change.type === 'put') this.objects.set(key, change.object)
      else this.objects.delete(key)
      seen(change)
    }
  }

  get(kind: WatchedKind, namespace: string, name: string): Stored | null {
    return this.objects.get(keyOf(kind, namespace, name)) ?? null
  }

  list(kind: WatchedKind, labels: Readonly<Record<string, string>>): Stored[] {
    const wanted = Object.entries(labels)
    return [...this.objects.values()].filter(
      (o) => o.kind === kind && wanted.every(([k, v]) => o.metadata.labels?.[k] === v),
    )
  }
}

/** The operator's process is gone: nothing of the pass goes on. */
export class Crash extends Error {
  override readonly name = 'Crash'
}

export type Faults = {
  readonly random: Random
  /** Chance that a request fails without effect, or after it. */
  failures: number
  /** Writes until the operator is gone; Infinity: never. */
  crashAfter: number
}
