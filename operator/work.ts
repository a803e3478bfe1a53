// Turns what happens into passes: changes of watched objects become keys of the queue, due keys become
// passes, a few at once. Refuses: to look at what changed; a pass looks at all.

import type { Clock } from './kube/clock.ts'
import type { Change } from './kube/watch.ts'
import { BACKUP_LABEL, CLUSTER_LABEL } from './model/labels.ts'
import type { KubeObject, WatchedKind } from './model/ports.ts'
import type { Queue } from './queue.ts'

/** `Kind/namespace/name` of a resource of ours. */
export type Key = `${'TrackerCluster' | 'TorrentPolicy' | 'TrackerBackup'}/${string}/${string}`

export const keyOf = (kind: string, namespace: string, name: string): Key =>
  `${kind}/${namespace}/${name}` as Key

export const partsOf = (key: string): { kind: string; namespace: string; name: string } => {
  const [kind = '', namespace = '', name = ''] = key.split('/')
  return { kind, namespace, name }
}

const OWN: readonly string[] = ['TrackerCluster', 'TorrentPolicy', 'TrackerBackup']

/**
 * Which resources want a pass after a change. A resource itself only when something else than its status
 * changed: the operator writes status, and would wake itself up for ever. `marks`: of resources, as last
 * seen.
 */
export const wokenBy = (kind: WatchedKind, { type, object }: Change, marks: Map<string, string>): Key[] => {
  const { namespace = '', name, labels = {} } = object.metadata
  if (OWN.includes(kind)) {
    const key = keyOf(kind, namespace, name)
    const mark = type === 'gone' ? '' : markOf(object)
    if (marks.get(key) === mark) return []
    if (mark === '') marks.delete(key)
    else marks.set(key, mark)
    return [key]
  }
  const keys: Key[] = []
  const cluster = labels[CLUSTER_LABEL]
  const backup = labels[BACKUP_LABEL]
  if (backup !== undefined) keys.push(keyOf('TrackerBackup', namespace, backup))
  else if (cluster !== undefined) keys.push(keyOf('TrackerCluster', namespace, cluster))
  return keys
}

const markOf = ({ metadata }: KubeObject): string => {
  const { uid, generation, annotations, finalizers, deletionTimestamp } = metadata
  return JSON.stringify([uid, generation, annotations, finalizers, deletionTimestamp])
}

/**
 * Runs passes until the signal is raised and those under way have ended. `pass` says when to come again;
 * null: when woken.
 */
export const work = (
  queue: Queue,
  workers: number,
  clock: Clock,
  signal: AbortSignal,
  pass: (key: string) => Promise<number | null>,
  onFailure: (key: string, error: unknown, waitMs: number) => void,
): { wake(): void; readonly ended: Promise<void> } => {
  let nap = new AbortController()
  const running = new Set<Promise<void>>()
  const wake = (): void => nap.abort()
  const one = async (key: string): Promise<void> => {
    try {
      const againMs = await pass(key)
      if (againMs === null) queue.done(key, null)
      else queue.done(key, clock.nowMs() + againMs)
    } catch (error) {
      onFailure(key, error, queue.failed(key, clock.nowMs(), clock.chance()))
    }
  }
  const loop = async (): Promise<void> => {
    while (!signal.aborted) {
      nap = new AbortController()
      const key = running.size < workers ? queue.take(clock.nowMs()) : null
      if (key !== null) {
        const done = one(key).then(() => {
          running.delete(done)
          wake()
        })
        running.add(done)
        continue
      }
      const next =
        running.size < workers ? (queue.nextMs() ?? Number.POSITIVE_INFINITY) : Number.POSITIVE_INFINITY
      const waitMs = Math.min(60_000, Math.max(0, next - clock.nowMs()))
      await clock.wait(waitMs, AbortSignal.any([signal, nap.signal]))
    }
    await Promise.all(running)
  }
  return { wake, ended: loop() }
}
