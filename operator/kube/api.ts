// Api (model/ports.ts) over the real API server: reading from caches that watches keep, writing by
// server-side apply under one field owner. Refuses: to cache what is not labelled as ours; other people's
// Secrets and ConfigMaps are only ever read by name.

import { CLUSTER_LABEL } from '../model/labels.ts'
import {
  type Api,
  ApiError,
  CONFLICT,
  type EventNote,
  type KubeObject,
  NOT_FOUND,
  type WatchedKind,
} from '../model/ports.ts'
import type { Clock } from './clock.ts'
import { newEvents } from './events.ts'
import { pathOf } from './kinds.ts'
import type { Kube } from './kube.ts'
import { type Cache, type Change, newCache, SILENT_MS } from './watch.ts'

/** HTTP status of what validation refuses. */
const INVALID = 422

const FIELD_OWNER = 'skep-operator'

/** Ours by kind; all else by label. */
const OWN: readonly WatchedKind[] = ['TrackerCluster', 'TorrentPolicy', 'TrackerBackup']
const LABELLED: readonly WatchedKind[] = [
  'ConfigMap',
  'Secret',
  'ServiceAccount',
  'Service',
  'EndpointSlice',
  'PodDisruptionBudget',
  'StatefulSet',
  'Pod',
  'PersistentVolumeClaim',
  'Job',
  'CronJob',
]

export type LiveApi = Api & {
  /** Keeps the caches up to date until the signal is raised. */
  run(signal: AbortSignal): Promise<void>
  /** All caches were listed once. */
  filled(): boolean
  /** All kinds have been listed once. */
  readonly whenFilled: Promise<unknown>
  /** Kinds that are still to be listed. */
  awaits(): readonly WatchedKind[]
  readonly caches: readonly Cache[]
}

export type LiveOptions = {
  /** Empty: all of the cluster. */
  readonly namespaces: readonly string[]
  /** Of this process, in events. */
  readonly instance: string
  readonly onChange: (kind: WatchedKind, change: Change) => void
  readonly onError: (message: string) => void
}

export const liveApi = (kube: Kube, clock: Clock, options: LiveOptions): LiveApi => {
  const places = options.namespaces.length === 0 ? [null] : options.namespaces
  const caches = [...OWN, ...LABELLED].flatMap((kind) =>
    places.map((namespace) =>
      newCache(
        kube,
        { kind, namespace, labels: OWN.includes(kind) ? '' : CLUSTER_LABEL },
        clock,
        (change) => options.onChange(kind, change),
        options.onError,
      ),
    ),
  )
  const cacheOf = (kind: WatchedKind, namespace: string): Cache | undefined =>
    caches.find((c) => c.of.kind === kind && (c.of.namespace === null || c.of.namespace === namespace))
  const events = newEvents(kube, options.instance, clock)
  const write = async (
    method: 'PUT' | 'PATCH' | 'POST' | 'DELETE',
    path: string,
    body?: unknown,
    type?: string,
  ) =>
    (await kube.ask({
      method,
      path,
      ...(body === undefined ? {} : { body }),
      ...(type === undefined ? {} : { contentType: type }),
    })) as KubeObject

  return {
    caches,
    filled: () => caches.every((c) => c.filled()),
    whenFilled: Promise.all(caches.map((c) => c.whenFilled)),
    awaits: () => [...new Set(caches.filter((c) => !c.filled()).map((c) => c.of.kind as WatchedKind))],
    async run(signal) {
      await Promise.all(caches.map((c) => c.run(signal)))
    },
    list(kind, namespace, labels = {}) {
      const wanted = Object.entries(labels)
      const found: KubeObject[] = []
      for (const object of cacheOf(kind, namespace)?.all() ?? [])
        if (
          object.metadata.namespace === namespace &&
          wanted.every(([key, value]) => object.metadata.labels?.[key] === value)
        )
          found.push(object)
      return found
    },
    cached: (kind, namespace, name) => cacheOf(kind, namespace)?.get(namespace, name) ?? null,
    silent: () => (caches.find((c) => c.silentMs() > SILENT_MS)?.of.kind as WatchedKind | undefined) ?? null,
    get: (kind, namespace, name) => getOrNull(kube, pathOf(kind, namespace, name)),
    apply: async (object) => {
      const { name, namespace } = object.metadata
      const path = pathOf(object.kind as WatchedKind, namespace!, name)
      const query = `?fieldManager=${FIELD_OWNER}&force=true`
      try {
        return await write('PATCH', path + query, object, 'application/apply-patch+yaml')
      } catch (error) {
        // Of an apply the server takes another uid for a wish to change it.
        const other =
          error instanceof ApiError && error.code === INVALID && error.message.includes('metadata.uid')
        throw other ? new ApiError(CONFLICT, error.message, { cause: error }) : error
      }
    },
    patchMetadata: (kind, namespace, name, metadata) =>
      write('PATCH', pathOf(kind, namespace, name), { metadata }, 'application/merge-patch+json'),
    putStatus: ({ apiVersion, kind, metadata }, status) => {
      const { name, namespace, resourceVersion } = metadata
      const object = { apiVersion, kind, metadata: { name, namespace, resourceVersion }, status }
      return write('PUT', pathOf(kind as WatchedKind, namespace!, name, 'status'), object)
    },
    delete: (kind, namespace, name, { uid, force = false }) =>
      goneIsFine(
        write('DELETE', pathOf(kind, namespace, name), {
          apiVersion: 'v1',
          kind: 'DeleteOptions',
          propagationPolicy: 'Background',
          ...(uid === undefined ? {} : { preconditions: { uid } }),
          ...(force ? { gracePeriodSeconds: 0 } : {}),
        }),
      ),
    evict: (namespace, pod, uid) =>
      goneIsFine(
        write('POST', pathOf('Pod', namespace, pod, 'eviction'), {
          apiVersion: 'policy/v1',
          kind: 'Eviction',
          metadata: { name: pod, namespace },
          deleteOptions: { preconditions: { uid } },
        }),
      ),
    event: (note: EventNote) => events.tell(note),
  }
}

const goneIsFine = async (done: Promise<unknown>): Promise<void> => {
  try {
    await done
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== NOT_FOUND) throw error
  }
}

export const getOrNull = async (kube: Pick<Kube, 'ask'>, path: string): Promise<KubeObject | null> => {
  try {
    return (await kube.ask({ method: 'GET', path })) as KubeObject
  } catch (error) {
    if (error instanceof ApiError && error.code === NOT_FOUND) return null
    throw error
  }
}
