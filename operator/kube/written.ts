// What the operator has last written of one cluster, so that a pass can tell whether the caches have seen it:
// a plan made on an older view would do the same thing twice. Refuses: to wait for ever; what a cache does
// not show after a while was undone by somebody else.

import type { Api, KubeObject, WatchedKind } from '../model/ports.ts'

/**
 * After this a note counts no more, milliseconds: by then a watch is known to be silent, or somebody else was
 * quicker.
 */
const FORGET_MS = 30_000

export type Written = {
  /** An object as the API server gave it back. */
  wrote(object: KubeObject, nowMs: number): void
  deleted(kind: WatchedKind, namespace: string, name: string, uid: string, nowMs: number): void
  /** `Kind name` of what its cache has not seen yet; null: they have seen all. */
  behind(api: Pick<Api, 'cached'>, nowMs: number): string | null
}

type Note = {
  readonly kind: WatchedKind
  readonly namespace: string
  readonly name: string
  /** What the cache must have reached; null: that object must be gone, or on its way. */
  readonly version: bigint | null
  readonly uid: string
  readonly atMs: number
}

export const newWritten = (): Written => {
  const notes = new Map<string, Note>()
  const put = (note: Note): void => void notes.set(`${note.kind}/${note.namespace}/${note.name}`, note)
  return {
    wrote(object, nowMs) {
      const { name, namespace = '', resourceVersion, uid = '' } = object.metadata
      const version = versionOf(resourceVersion)
      const kind = object.kind as WatchedKind
      if (version !== null) put({ kind, namespace, name, version, uid, atMs: nowMs })
    },
    deleted(kind, namespace, name, uid, nowMs) {
      put({ kind, namespace, name, version: null, uid, atMs: nowMs })
    },
    behind(api, nowMs) {
      for (const [key, note] of notes) {
        if (nowMs - note.atMs > FORGET_MS || seen(note, api.cached(note.kind, note.namespace, note.name)))
          notes.delete(key)
        else return `${note.kind} ${note.name}`
      }
      return null
    },
  }
}

const seen = (note: Note, cached: KubeObject | null): boolean => {
  if (note.version === null)
    return (
      cached === null || cached.metadata.uid !== note.uid || cached.metadata.deletionTimestamp !== undefined
    )
  if (cached === null) return false
  const version = versionOf(cached.metadata.resourceVersion)
  return version === null || version >= note.version
}

/** Resource versions can be compared as numbers (Kubernetes 1.35 says so; etcd's revisions always could). */
const versionOf = (text: string | undefined): bigint | null =>
  text !== undefined && /^\d+$/.test(text) ? BigInt(text) : null
