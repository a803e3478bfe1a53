// What a pass is given: the world to look at and act on, and what is remembered of a cluster between passes.
// Losing the memory (the operator was started again) is harmless: it only saves questions. Refuses:
// decisions.

import { newWritten, type Written } from './kube/written.ts'
import type { MemberReport } from './model/facts.ts'
import { identity } from './model/labels.ts'
import type { Api, KubeObject, Members } from './model/ports.ts'
import type { TrackerCluster } from './model/types.ts'

export type World = {
  readonly api: Api
  readonly members: Members
  /** Milliseconds since the epoch. */
  nowMs(): number
  /** A new network key, at least 32 characters of chance. */
  makeKey(): string
  /** Where the operator's own image was pulled from; '' : nobody told it. */
  readonly repository: string
  /** The operator's own: the tag of images where none is named. */
  readonly version: string
  /** By `namespace/name`. */
  readonly memories: Map<string, Memory>
}

/** The last answer of a pod, and why the last question had none. */
export type Heard = {
  readonly podUid: string
  readonly report: MemberReport | null
  readonly atMs: number
  readonly error: string
}

export type Memory = {
  readonly written: Written
  /** By name of the pod. */
  readonly heard: Map<string, Heard>
  /** The cluster's network keys, the one in use first: members.ts needs them for its token. */
  keys: readonly string[]
  /** Why the last step could not be done; '' : it was. */
  failure: string
  /** For which specification and leader the settings were looked at last, and when. */
  settingsKept: { readonly of: string; readonly atMs: number }
}

/** Pods of the replicas, as the cache shows them. */
export const replicasOf = (
  api: Pick<Api, 'list'>,
  { metadata }: Pick<TrackerCluster, 'metadata'>,
): readonly KubeObject[] => api.list('Pod', metadata.namespace, identity(metadata.name, 'replica'))

export const clusterKey = (namespace: string, name: string): string => `${namespace}/${name}`

export const memoryOf = (
  world: Pick<World, 'memories'>,
  { metadata }: Pick<TrackerCluster, 'metadata'>,
): Memory => {
  const key = clusterKey(metadata.namespace, metadata.name)
  const memory = world.memories.get(key) ?? {
    written: newWritten(),
    heard: new Map(),
    keys: [],
    failure: '',
    settingsKept: { of: '', atMs: 0 },
  }
  world.memories.set(key, memory)
  return memory
}
