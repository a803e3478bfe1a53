// What commonly goes wrong around a cluster on Kubernetes, looked at one by one in what kubectl shows, each
// with its fix. Refuses: to ask anything itself (plugin.ts); a kind that could not be read is said so, never
// taken for good.

import { counted } from '@skep/wire/words.ts'
import type { KubeObject } from '../model/ports.ts'
import { settle } from '../model/settle.ts'
import type { TrackerCluster } from '../model/types.ts'

export type Finding = {
  /** A pod, or absent for the cluster as a whole. */
  readonly where?: string
  readonly verdict: 'good' | 'fair' | 'bad'
  readonly what: string
  readonly mend: string
}

/** Of the cluster; null: may not be read. */
export type Seen = {
  readonly cluster: TrackerCluster
  readonly services: readonly KubeObject[] | null
  readonly slices: readonly KubeObject[] | null
  readonly pods: readonly KubeObject[] | null
  readonly claims: readonly KubeObject[] | null
  readonly budgets: readonly KubeObject[] | null
}

/** A container that was started anew more often is worth a look. */
const RESTARTS_FEW = 3
/** Status older than this by a generation means that no operator works, milliseconds. */
const OPERATOR_MS = 120_000

const good = (what: string): Finding => ({ verdict: 'good', what, mend: '' })
const fair = (what: string, mend: string): Finding => ({ verdict: 'fair', what, mend })
const bad = (what: string, mend: string): Finding => ({ verdict: 'bad', what, mend })

export const examine = (seen: Seen, nowMs: number): Finding[] => [
  ...operator(seen.cluster, nowMs),
  ...conditions(seen.cluster),
  ...readable(seen),
  ...services(seen),
  ...endpoints(seen),
  ...pods(seen),
  ...claims(seen),
  ...budget(seen),
]

function operator({ metadata, status }: TrackerCluster, nowMs: number): Finding[] {
  const mend = 'kubectl get pods -A -l app.kubernetes.io/name=skep-operator, and their logs'
  if (status?.observedGeneration === undefined) {
    const ageMs = nowMs - Date.parse(metadata.creationTimestamp ?? '')
    return ageMs > OPERATOR_MS ? [bad('no operator has looked at it', mend)] : [fair('it is new', '')]
  }
  return status.observedGeneration === metadata.generation
    ? [good('the operator has seen the specification')]
    : [fair('the operator has not seen the last change of the specification', mend)]
}

/** Those that are good when False. */
const FEARED = ['Degraded', 'QuorumAtRisk', 'Stalled']

function conditions({ status }: TrackerCluster): Finding[] {
  return (status?.conditions ?? []).flatMap(({ type, status: is, reason, message }) => {
    const words = `${type} is ${is}: ${message} (${reason})`
    if (type === 'Progressing') return is === 'True' ? [fair(words, '')] : []
    if (is === 'Unknown') return [fair(words, '')]
    if ((is === 'True') !== FEARED.includes(type)) return type === 'Ready' ? [good(words)] : []
    return [type === 'Degraded' ? fair(words, '') : bad(words, `docs/runbooks.md`)]
  })
}

function readable(seen: Seen): Finding[] {
  const kinds = ['services', 'slices', 'pods', 'claims', 'budgets'] as const
  const not = kinds.filter((kind) => seen[kind] === null)
  return not.length === 0 ? [] : [fair(`you may not read ${not.join(', ')}: not looked at`, '')]
}

type ServiceSpec = {
  readonly type?: string
  readonly externalTrafficPolicy?: string
  readonly ports?: readonly { readonly nodePort?: number; readonly protocol?: string }[]
}
type Balanced = { readonly loadBalancer?: { readonly ingress?: readonly unknown[] } }

function services({ cluster, services }: Seen): Finding[] {
  return (services ?? []).flatMap((object) => {
    const part = partOf(object)
    if (part !== 'udp' && part !== 'http') return []
    const { name } = object.metadata
    const { type, externalTrafficPolicy: policy } = (object.spec ?? {}) as ServiceSpec
    const waiting = ((object.status ?? {}) as Balanced).loadBalancer?.ingress === undefined
    const found: Finding[] = []
    if (type === 'LoadBalancer' && waiting)
      found.push(
        fair(
          `Service ${name} has no address of a load balancer yet`,
          `is there one in this cluster? Else: spec.services.${part}.type: NodePort`,
        ),
      )
    if (type !== 'ClusterIP' && policy !== 'Local' && !cluster.spec.hostNetwork)
      found.push(
        bad(
          `Service ${name} hides the clients' addresses (externalTrafficPolicy: ${policy ?? 'Cluster'})`,
          `spec.services.${part}.externalTrafficPolicy: Local`,
        ),
      )
    return found.length === 0 ? [good(`Service ${name} keeps the clients' addresses`)] : found
  })
}

/** Those of single replicas are looked at like the common ones. */
const partOf = (object: KubeObject): string =>
  (object.metadata.labels?.['skep.dev/part'] ?? '').replace('own-', '')

type Endpoint = { readonly conditions?: { readonly ready?: boolean }; readonly nodeName?: string }

function endpoints({ services, slices }: Seen): Finding[] {
  const parts = (services ?? []).filter((s) => ['udp', 'http'].includes(partOf(s)))
  if (slices === null) return []
  return parts.map(({ metadata }) => {
    const own = slices.filter((s) => s.metadata.labels?.['kubernetes.io/service-name'] === metadata.name)
    const all = own.flatMap((s) => (s as unknown as { endpoints?: readonly Endpoint[] }).endpoints ?? [])
    const ready = all.filter((e) => e.conditions?.ready !== false)
    if (ready.length === 0) return bad(`Service ${metadata.name} leads to no ready replica`, 'see the pods')
    const nodes = [...new Set(ready.map((e) => e.nodeName ?? '?'))].sort()
    return good(`Service ${metadata.name}: ${ready.length} ready replicas, on ${nodes.join(', ')}`)
  })
}

type PodStatus = {
  readonly phase?: string
  readonly conditions?: readonly {
    readonly type: string
    readonly status: string
    readonly message?: string
  }[]
  readonly containerStatuses?: readonly {
    readonly restartCount: number
    readonly ready: boolean
    readonly image: string
    readonly state?: { readonly waiting?: { readonly reason?: string; readonly message?: string } }
    readonly lastState?: { readonly terminated?: { readonly exitCode: number; readonly reason?: string } }
  }[]
}

function pods({ cluster, pods }: Seen): Finding[] {
  if (pods === null) return []
  const wished = cluster.status?.wishedReplicas ?? settle(cluster.spec, '').replicas
  const count =
    pods.length >= wished || cluster.spec.hibernated
      ? []
      : [fair(`${pods.length} of ${counted(wished, 'pod')} there`, 'the operator adds one at a time')]
  const nodes = pods.map((p) => (p.spec as { nodeName?: string } | undefined)?.nodeName)
  const shared = pods.length > 1 && new Set(nodes).size < pods.length
  const spread = shared
    ? [
        fair(
          'some replicas share a node: its loss takes them all',
          'more nodes, or spec.topologySpread.nodes: Required',
        ),
      ]
    : []
  return [...count, ...pods.flatMap(pod), ...spread]
}

function pod(object: KubeObject): Finding[] {
  const where = object.metadata.name
  const { phase, conditions: list, containerStatuses } = (object.status ?? {}) as PodStatus
  const [container] = containerStatuses ?? []
  const waiting = container?.state?.waiting
  const scheduled = list?.find((c) => c.type === 'PodScheduled')
  if (scheduled?.status === 'False')
    return [
      { where, ...bad(`waits for a node: ${scheduled.message ?? ''}`, 'room, volumes of that zone, taints') },
    ]
  if (waiting !== undefined)
    return [
      { where, ...bad(`${waiting.reason ?? 'waits'}: ${waiting.message ?? ''}`, `kubectl logs -p ${where}`) },
    ]
  const restarts = container?.restartCount ?? 0
  const last = container?.lastState?.terminated
  const often =
    restarts > RESTARTS_FEW
      ? [
          {
            where,
            ...fair(
              `started ${counted(restarts, 'time')} again; the last end: ${last?.reason ?? last?.exitCode ?? '?'}`,
              `kubectl logs -p ${where}`,
            ),
          },
        ]
      : []
  return container?.ready === true
    ? [{ where, ...good(`ready, ${container.image}`) }, ...often]
    : [{ where, ...fair(`not ready (${phase ?? '?'})`, `kubectl logs ${where}`) }, ...often]
}

function claims({ claims }: Seen): Finding[] {
  const waiting = (claims ?? []).filter(
    (c) => (c.status as { phase?: string } | undefined)?.phase !== 'Bound',
  )
  return waiting.map((c) =>
    bad(
      `volume claim ${c.metadata.name} is not bound`,
      `kubectl describe pvc ${c.metadata.name}: is there a StorageClass?`,
    ),
  )
}

function budget({ cluster, budgets }: Seen): Finding[] {
  if (budgets === null) return []
  const own = budgets.find((b) => b.metadata.name === cluster.metadata.name)
  if (own === undefined)
    return [bad('there is no disruption budget: a drain may take several replicas at once', '')]
  const { disruptionsAllowed } = (own.status ?? {}) as { disruptionsAllowed?: number }
  return disruptionsAllowed === 1
    ? [good('one replica may be evicted now')]
    : [fair('no replica may be evicted now', 'drain no node until all of them are ready')]
}
