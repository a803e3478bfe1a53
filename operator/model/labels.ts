// Labels and annotations of all that belongs to a cluster, and whose it is. Selectors are made of identity
// alone: what a template wishes may change under running pods, and a selector that follows it loses them.
// Refuses: versions and chart names in selectors.

import type { KubeObject } from './ports.ts'
import { GROUP, type TrackerCluster, VERSION } from './types.ts'

/** Name of the cluster; all that the operator caches beside its own resources has it. */
export const CLUSTER_LABEL = 'skep.dev/cluster'
/** Which part of a cluster an object is: replica, udp, http, own-udp, own-http, peers, job, backup. */
export const PART_LABEL = 'skep.dev/part'
/** TrackerBackup that an object belongs to. */
export const BACKUP_LABEL = 'skep.dev/backup'
/** What a Job is for. */
export const PURPOSE_LABEL = 'skep.dev/purpose'
export const ORDINAL_LABEL = 'skep.dev/ordinal'
/** Written by the StatefulSet's controller: the pod's own name. */
export const POD_LABEL = 'statefulset.kubernetes.io/pod-name'
/** Hash of what the operator last wanted of an object; a field that it gave up shows in nothing else. */
export const HASH_ANNOTATION = 'skep.dev/desired'
/** Replicas of a cluster that does not sleep. */
export const SIZE_ANNOTATION = 'skep.dev/size'
/** Hash of the options that a replica reads at its start. */
export const CONFIG_ANNOTATION = 'skep.dev/config'
/**
 * Of the Secret: the value of skep.dev/rotate-key that its lines were last changed for, and how far that is.
 */
export const ROTATION_ANNOTATION = 'skep.dev/rotation'
export const PHASE_ANNOTATION = 'skep.dev/rotation-phase'

export type Part = 'replica' | 'peers' | 'udp' | 'http' | 'own-udp' | 'own-http' | 'job' | 'backup'

/** What never changes as long as the cluster is there. */
export const identity = (cluster: string, part: Part): Record<string, string> => ({
  [CLUSTER_LABEL]: cluster,
  [PART_LABEL]: part,
})

export const labels = (cluster: string, part: Part): Record<string, string> => ({
  'app.kubernetes.io/name': 'skep',
  'app.kubernetes.io/instance': cluster,
  'app.kubernetes.io/component': part,
  'app.kubernetes.io/managed-by': 'skep-operator',
  ...identity(cluster, part),
})

/**
 * With its owner, an object goes. Without blockOwnerDeletion, which would ask for the right to change
 * finalizers of the owner.
 */
export const ownedBy = (owner: {
  readonly kind: string
  readonly metadata: { readonly name: string; readonly uid: string }
}): NonNullable<KubeObject['metadata']['ownerReferences']> => [
  {
    apiVersion: `${GROUP}/${VERSION}`,
    kind: owner.kind,
    name: owner.metadata.name,
    uid: owner.metadata.uid,
    controller: true,
  },
]

/** Metadata of an owned object. */
export const owned = (
  { kind, metadata }: Pick<TrackerCluster, 'kind' | 'metadata'>,
  name: string,
  part: Part,
  annotations: Readonly<Record<string, string>> = {},
): KubeObject['metadata'] => ({
  name,
  namespace: metadata.namespace,
  labels: labels(metadata.name, part),
  ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
  ownerReferences: ownedBy({ kind, metadata }),
})

/** Selects the pods of the replicas, of any template. */
export const replicaSelector = (cluster: string): string =>
  Object.entries(identity(cluster, 'replica'))
    .map(([key, value]) => `${key}=${value}`)
    .join(',')
