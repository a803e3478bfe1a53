// What is decided about owned objects before any step: how an empty pod may come to a cluster, how many pods
// a new StatefulSet begins with, whether pods may start at all. observe.ts compares the objects with what
// comes of this. Refuses: to let a second cluster come into being. docs/decisions/0006-operator-birth.md
// tells the whole story.

import type { BirthMode, Observed } from '../model/facts.ts'
import { settle } from '../model/settle.ts'
import type { Decided } from '../model/steps.ts'
import type { TrackerClusterSpec } from '../model/types.ts'

/** All that was ever written or said about which cluster this is; `drift` is not looked at. */
type Seen = Omit<Observed, 'drift'>

/** The cluster's ID as recorded, or as a replica says it; null: there was never any. */
export const clusterIdOf = (seen: Seen): string | null => {
  const recorded = recordedId(seen)
  if (recorded !== null) return recorded
  const said = seen.members.map((m) => m.report?.clusterID ?? '').filter((id) => id !== '')
  return said[0] ?? null
}

/** Of status, or, where that was lost, of the ConfigMap. */
export const recordedId = (seen: Seen): string | null => {
  const inStatus = seen.resource.status?.clusterID ?? ''
  if (inStatus !== '') return inStatus
  return seen.config?.clusterID ?? null
}

export const decide = (seen: Seen): Decided => {
  const { statefulSet, claims } = seen
  const highest = Math.max(-1, ...claims.map((c) => c.ordinal))
  const size = statefulSet?.size ?? Math.max(1, highest + 1)
  return {
    birth: birthMode(seen),
    clusterID: recordedId(seen),
    replicas: statefulSet?.replicas ?? size,
    size,
    targets: targets(seen),
    startPods: startPods(seen),
  }
}

/**
 * Replicas that have Services of their own, which are there before the replicas are. Those that autoscaling
 * adds for a while have none: an address in torrents has to last.
 */
export const addressed = (spec: TrackerClusterSpec): number => {
  const { services, replicas, autoscaling } = settle(spec, '')
  return services.perReplica.enabled ? (autoscaling?.min ?? replicas) : 0
}

/** Where they lead; one that is not there yet will lead home. */
const targets = ({ resource, ownServices }: Seen): number[] =>
  Array.from({ length: addressed(resource.spec) }, (_, i) => {
    const there = ownServices.find((s) => s.ordinal === i && s.target !== null)
    return there?.target ?? i
  })

/**
 * Once `join`, always `join`. `create` is only for a cluster of which nothing is there but what the operator
 * itself has begun: claims that are older than the StatefulSet may hold a cluster, and a volume filled from a
 * backup does.
 */
const birthMode = (seen: Seen): BirthMode => {
  if (recordedId(seen) !== null) return 'join'
  if (seen.config !== null) return seen.config.birth
  if (seen.resource.spec.restoreFrom !== undefined) return 'join'
  return seen.claims.length > 0 || seen.statefulSet !== null ? 'join' : 'create'
}

/** With a backup to begin with: not before pod 0's volume is filled. */
const startPods = (seen: Seen): boolean => {
  if (seen.statefulSet !== null || recordedId(seen) !== null) return true
  if (seen.resource.spec.restoreFrom === undefined) return true
  return seen.jobs.some((j) => j.purpose === 'restore' && j.state === 'succeeded')
}
