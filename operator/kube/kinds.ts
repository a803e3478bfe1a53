// Where the API server keeps each kind that the operator touches.
// Refuses: discovery; these are all.

import type { WatchedKind } from '../model/ports.ts'
import { GROUP, VERSION } from '../model/types.ts'

export type Kind = WatchedKind | 'Lease' | 'Event'

const at = (base: string, plural: string): { readonly base: string; readonly plural: string } => ({
  base,
  plural,
})
const OWN = `/apis/${GROUP}/${VERSION}`

export const KINDS: Readonly<Record<Kind, { readonly base: string; readonly plural: string }>> = {
  TrackerCluster: at(OWN, 'trackerclusters'),
  TorrentPolicy: at(OWN, 'torrentpolicies'),
  TrackerBackup: at(OWN, 'trackerbackups'),
  ConfigMap: at('/api/v1', 'configmaps'),
  Secret: at('/api/v1', 'secrets'),
  ServiceAccount: at('/api/v1', 'serviceaccounts'),
  Service: at('/api/v1', 'services'),
  Pod: at('/api/v1', 'pods'),
  PersistentVolumeClaim: at('/api/v1', 'persistentvolumeclaims'),
  EndpointSlice: at('/apis/discovery.k8s.io/v1', 'endpointslices'),
  PodDisruptionBudget: at('/apis/policy/v1', 'poddisruptionbudgets'),
  StatefulSet: at('/apis/apps/v1', 'statefulsets'),
  Job: at('/apis/batch/v1', 'jobs'),
  CronJob: at('/apis/batch/v1', 'cronjobs'),
  Lease: at('/apis/coordination.k8s.io/v1', 'leases'),
  Event: at('/apis/events.k8s.io/v1', 'events'),
}

/** Of one object, or (without a name) of all of a kind; `namespace` null: of all namespaces. */
export const pathOf = (kind: Kind, namespace: string | null, name?: string, part?: string): string => {
  const { base, plural } = KINDS[kind]
  const place = namespace === null ? base : `${base}/namespaces/${encodeURIComponent(namespace)}`
  return [place, plural, name === undefined ? undefined : encodeURIComponent(name), part]
    .filter((piece) => piece !== undefined)
    .join('/')
}

export const apiVersionOf = (kind: Kind): string => KINDS[kind].base.replace(/^\/apis?\//, '')
