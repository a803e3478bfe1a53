// The StatefulSet of the replicas. Its controller only makes pods and volumes: it starts all at once
// (Parallel, or a cluster of which pod 0 is lost would never come back), and replaces a pod only when
// somebody has deleted it (OnDelete): the plan chooses the order, leader last. podManagementPolicy,
// serviceName, selector and volume template can never be changed. Refuses: sizes of its own; they are decided
// before.

import { identity, labels, owned, SIZE_ANNOTATION } from '../model/labels.ts'
import { replicasName } from '../model/names.ts'
import type { KubeObject } from '../model/ports.ts'
import type { Settled } from '../model/settle.ts'
import type { Decided } from '../model/steps.ts'
import type { TrackerCluster } from '../model/types.ts'
import { podTemplate } from './pod.ts'

/** What the volume template of a StatefulSet that is there says, and for ever will. */
export type VolumeTemplate = { readonly size: string; readonly className?: string }

export const statefulSet = (
  resource: TrackerCluster,
  s: Settled,
  decided: Decided,
  there: VolumeTemplate | null,
): KubeObject => {
  const { name } = resource.metadata
  const volume = there ?? s.storage
  return {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: owned(resource, name, 'replica', { [SIZE_ANNOTATION]: String(decided.size) }),
    spec: {
      replicas: decided.replicas,
      serviceName: replicasName(name),
      podManagementPolicy: 'Parallel',
      updateStrategy: { type: 'OnDelete' },
      revisionHistoryLimit: 5,
      // Volumes are deleted by the operator alone, after Raft has said that their member is gone: a
      // StatefulSet that somebody deletes by mistake must not take the data along.
      persistentVolumeClaimRetentionPolicy: { whenDeleted: 'Retain', whenScaled: 'Retain' },
      selector: { matchLabels: identity(name, 'replica') },
      template: podTemplate(resource, s),
      volumeClaimTemplates: [
        {
          apiVersion: 'v1',
          kind: 'PersistentVolumeClaim',
          metadata: { name: 'data', labels: labels(name, 'replica') },
          spec: claimSpec(volume),
        },
      ],
    },
  }
}

export const claimSpec = (volume: VolumeTemplate): object => ({
  accessModes: ['ReadWriteOnce'],
  volumeMode: 'Filesystem',
  ...(volume.className === undefined ? {} : { storageClassName: volume.className }),
  resources: { requests: { storage: volume.size } },
})

type ClaimTemplate = {
  readonly spec?: {
    readonly storageClassName?: string
    readonly resources?: { readonly requests?: { readonly storage?: string } }
  }
}

export const volumeTemplateOf = (object: KubeObject): VolumeTemplate | null => {
  const [template] = (object.spec?.volumeClaimTemplates ?? []) as readonly ClaimTemplate[]
  const size = template?.spec?.resources?.requests?.storage
  if (size === undefined) return null
  const className = template?.spec?.storageClassName
  return { size, ...(className === undefined ? {} : { className }) }
}
