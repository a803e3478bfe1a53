// Whom the replicas are for the API server: nobody. They never ask it, so no token is mounted and no role is
// bound. Refuses: rights.

import { owned } from '../model/labels.ts'
import { accountName } from '../model/names.ts'
import type { KubeObject } from '../model/ports.ts'
import type { TrackerCluster } from '../model/types.ts'

export const serviceAccount = (
  resource: TrackerCluster,
): KubeObject & { automountServiceAccountToken: false } => ({
  apiVersion: 'v1',
  kind: 'ServiceAccount',
  metadata: owned(resource, accountName(resource.metadata.name), 'replica'),
  automountServiceAccountToken: false,
})
