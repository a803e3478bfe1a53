// Kubernetes objects as plain facts, one function a kind. The shapes are those of the API; whatever is absent
// has a value here. Refuses: I/O.

import type {
  ClaimSeen,
  JobPurpose,
  JobSeen,
  OwnServiceSeen,
  PodSeen,
  ServiceSeen,
  StatefulSetSeen,
} from './model/facts.ts'
import { ORDINAL_LABEL, POD_LABEL, PURPOSE_LABEL, SIZE_ANNOTATION } from './model/labels.ts'
import { ordinalOf } from './model/names.ts'
import type { KubeObject } from './model/ports.ts'
import { bytesOf, epochMs } from './model/units.ts'

type ConditionSeen = {
  readonly type: string
  readonly status: string
  readonly reason?: string
  readonly message?: string
  readonly lastTransitionTime?: string
}

export const statefulSetSeen = (object: KubeObject): StatefulSetSeen => {
  const spec = object.spec as { replicas?: number }
  const status = object.status as { observedGeneration?: number; updateRevision?: string } | undefined
  const replicas = spec.replicas ?? 1
  const size = Number(object.metadata.annotations?.[SIZE_ANNOTATION])
  return {
    uid: object.metadata.uid ?? '',
    replicas,
    size: Number.isSafeInteger(size) && size > 0 ? size : Math.max(1, replicas),
    revision: status?.observedGeneration === object.metadata.generation ? (status?.updateRevision ?? '') : '',
    deleting: object.metadata.deletionTimestamp !== undefined,
  }
}

type Ended = { readonly exitCode: number }
type ContainerStatus = {
  readonly name: string
  readonly state?: {
    readonly waiting?: { readonly reason?: string; readonly message?: string }
    readonly terminated?: Ended
  }
  readonly lastState?: { readonly terminated?: Ended }
}
type PodStatus = {
  readonly phase?: PodSeen['phase']
  readonly hostIP?: string
  readonly conditions?: readonly ConditionSeen[]
  readonly containerStatuses?: readonly ContainerStatus[]
}

/** Waiting that ends by itself and says nothing. */
const USUAL_WAITING = ['ContainerCreating', 'PodInitializing']

/** null: no pod of this cluster's StatefulSet. */
export const podSeen = (cluster: string, object: KubeObject): PodSeen | null => {
  const ordinal = ordinalOf(cluster, object.metadata.name)
  if (ordinal === null) return null
  const status = (object.status ?? {}) as PodStatus
  const ready = status.conditions?.find((c) => c.type === 'Ready')
  const sinceMs = epochMs(ready?.lastTransitionTime)
  return {
    name: object.metadata.name,
    ordinal,
    uid: object.metadata.uid ?? '',
    revision: object.metadata.labels?.['controller-revision-hash'] ?? '',
    phase: status.phase ?? 'Unknown',
    ready: ready?.status === 'True',
    readySinceMs: Number.isNaN(sinceMs) ? null : sinceMs,
    deleting: object.metadata.deletionTimestamp !== undefined,
    createdMs: epochMs(object.metadata.creationTimestamp),
    node: (object.spec as { nodeName?: string } | undefined)?.nodeName ?? '',
    ...(status.hostIP === undefined ? {} : { hostIP: status.hostIP }),
    ...waitingOf(status),
  }
}

const waitingOf = (status: PodStatus): Pick<PodSeen, 'waiting' | 'waitingMessage' | 'exitCode'> => {
  const scheduled = status.conditions?.find((c) => c.type === 'PodScheduled')
  const tracker = status.containerStatuses?.find((c) => c.name === 'tracker')
  const ended = tracker?.state?.terminated ?? tracker?.lastState?.terminated
  const exitCode = ended?.exitCode ?? null
  if (scheduled?.status === 'False')
    return { waiting: scheduled.reason ?? 'Unschedulable', waitingMessage: scheduled.message ?? '', exitCode }
  const { reason = '', message = '' } = tracker?.state?.waiting ?? {}
  if (reason === '' || USUAL_WAITING.includes(reason)) return { waiting: '', exitCode }
  return { waiting: reason, waitingMessage: message, exitCode }
}

/** null: not a volume of a replica. */
export const claimSeen = (cluster: string, object: KubeObject): ClaimSeen | null => {
  const ordinal = ordinalOf(`data-${cluster}`, object.metadata.name)
  if (ordinal === null) return null
  const spec = object.spec as { resources?: { requests?: { storage?: string } } } | undefined
  return {
    name: object.metadata.name,
    ordinal,
    uid: object.metadata.uid ?? '',
    phase: ((object.status as { phase?: ClaimSeen['phase'] } | undefined)?.phase ??
      'Pending') as ClaimSeen['phase'],
    deleting: object.metadata.deletionTimestamp !== undefined,
    bytes: bytesOf(spec?.resources?.requests?.storage ?? '') ?? 0,
  }
}

export const serviceSeen = (object: KubeObject, protocol: 'udp' | 'http'): ServiceSeen => {
  const spec = (object.spec ?? {}) as {
    type?: string
    externalTrafficPolicy?: string
    ports?: readonly { nodePort?: number }[]
  }
  const status = object.status as
    | { loadBalancer?: { ingress?: readonly { ip?: string; hostname?: string }[] } }
    | undefined
  return {
    name: object.metadata.name,
    protocol,
    type: spec.type ?? 'ClusterIP',
    externalTrafficPolicy: spec.externalTrafficPolicy ?? '',
    nodePort: spec.ports?.[0]?.nodePort ?? null,
    addresses: (status?.loadBalancer?.ingress ?? []).flatMap((i) => i.ip ?? i.hostname ?? []),
  }
}

/** null: not of a replica, or on its way out. */
export const ownServiceSeen = (cluster: string, object: KubeObject): OwnServiceSeen | null => {
  const ordinal = Number(object.metadata.labels?.[ORDINAL_LABEL] ?? Number.NaN)
  if (!Number.isSafeInteger(ordinal) || object.metadata.deletionTimestamp !== undefined) return null
  const { selector = {} } = (object.spec ?? {}) as { selector?: Readonly<Record<string, string>> }
  return {
    name: object.metadata.name,
    uid: object.metadata.uid ?? '',
    ordinal,
    target: ordinalOf(cluster, selector[POD_LABEL] ?? ''),
  }
}

const PURPOSES: readonly string[] = ['restore', 'recover', 'purge'] satisfies JobPurpose[]

/** null: a Job of another sort. */
export const jobSeen = (object: KubeObject): JobSeen | null => {
  const purpose = object.metadata.labels?.[PURPOSE_LABEL] ?? ''
  const ordinal = Number(object.metadata.labels?.[ORDINAL_LABEL])
  if (!PURPOSES.includes(purpose) || !Number.isSafeInteger(ordinal)) return null
  const conditions =
    (object.status as { conditions?: readonly ConditionSeen[] } | undefined)?.conditions ?? []
  const holds = (type: string): ConditionSeen | undefined =>
    conditions.find((c) => c.type === type && c.status === 'True')
  const failed = holds('Failed')
  return {
    name: object.metadata.name,
    purpose: purpose as JobPurpose,
    ordinal,
    state: holds('Complete') !== undefined ? 'succeeded' : failed !== undefined ? 'failed' : 'running',
    message: failed === undefined ? '' : `${failed.reason ?? ''}: ${failed.message ?? ''}`,
  }
}

type Slice = { readonly endpoints?: readonly { readonly conditions?: { readonly ready?: boolean } }[] }

/** Endpoints are beside spec and status, at the top of a slice. */
export const readyEndpoints = (slices: readonly KubeObject[]): number =>
  slices
    .flatMap((slice) => (slice as unknown as Slice).endpoints ?? [])
    .filter((e) => e.conditions?.ready !== false).length
