// How many replicas may be evicted at once: one, whatever the size. Kubernetes counts it against the
// StatefulSet's replicas, so it follows the size by itself, and a drain of several nodes takes one replica
// after the other. Refuses: minAvailable, which is wrong for a moment whenever the size changes and blocks
// every drain if it is too large.

import { identity, owned } from '../model/labels.ts'
import type { KubeObject } from '../model/ports.ts'
import type { TrackerCluster } from '../model/types.ts'

export const disruptionBudget = (resource: TrackerCluster): KubeObject => ({
  apiVersion: 'policy/v1',
  kind: 'PodDisruptionBudget',
  metadata: owned(resource, resource.metadata.name, 'replica'),
  spec: {
    maxUnavailable: 1,
    selector: { matchLabels: identity(resource.metadata.name, 'replica') },
  },
})
