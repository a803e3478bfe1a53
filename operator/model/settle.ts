// A specification with every default filled in. The custom resource definition fills in the same ones; this
// is for older objects, for tests, and the one place where desired/ and plan/ read a field. Refuses: to judge
// (validate.ts).

import type {
  Autoscaling,
  Image,
  PerReplica,
  PodOverrides,
  ServiceSpec,
  Storage,
  TopologySpread,
  TrackerCluster,
  TrackerClusterSpec,
} from './types.ts'

type Whole<T, Optional extends keyof T = never> = Required<Omit<T, Optional>> & Pick<T, Optional>

export type SettledService = Whole<
  ServiceSpec & { port?: number },
  'nodePort' | 'loadBalancerClass' | 'loadBalancerSourceRanges'
>

export type Settled = Required<
  Pick<
    TrackerClusterSpec,
    | 'replicas'
    | 'maxVoters'
    | 'hostNetwork'
    | 'consistency'
    | 'keepalive'
    | 'missed'
    | 'memory'
    | 'allowPrivate'
    | 'preferHighest'
    | 'options'
    | 'purgeOnDelete'
    | 'paused'
    | 'hibernated'
    | 'replaceAfterSeconds'
  >
> &
  Pick<TrackerClusterSpec, 'tolerateFailures' | 'restoreFrom' | 'resources'> & {
    readonly image: Whole<Image>
    readonly storage: Whole<Storage, 'className'>
    readonly services: {
      readonly udp: SettledService
      readonly http: SettledService & { readonly trustedProxies: readonly string[] }
      readonly perReplica: Whole<PerReplica>
    }
    /** Absent secretName: made by the operator. */
    readonly networkKey: { readonly secretName?: string; readonly key: string }
    readonly autoscaling: Whole<Autoscaling> | null
    readonly topologySpread: Whole<TopologySpread>
    readonly pod: Whole<
      PodOverrides,
      'affinity' | 'priorityClassName' | 'runtimeClassName' | 'serviceAccountName'
    >
    readonly rollout: { readonly surge: boolean; readonly settleSeconds: number }
  }

/** Entry of the Secret that holds the network key. */
export const KEY_ENTRY = 'network.key'

/** Replicas without an image of their own take the operator's, which was pulled already. */
export const withRepository = <R extends Pick<TrackerCluster, 'spec'>>(resource: R, repository: string): R =>
  repository === '' || (resource.spec.image?.repository ?? '') !== ''
    ? resource
    : { ...resource, spec: { ...resource.spec, image: { ...resource.spec.image, repository } } }

/** `version`: the operator's own, the tag of an image without one. */
export const settle = (spec: TrackerClusterSpec, version: string): Settled => ({
  replicas: spec.replicas ?? 3,
  maxVoters: spec.maxVoters ?? 5,
  hostNetwork: spec.hostNetwork ?? false,
  consistency: spec.consistency ?? 'committed',
  keepalive: spec.keepalive ?? '1s',
  missed: spec.missed ?? 2,
  memory: spec.memory ?? '512Mi',
  allowPrivate: spec.allowPrivate ?? 'auto',
  preferHighest: spec.preferHighest ?? false,
  options: spec.options ?? {},
  purgeOnDelete: spec.purgeOnDelete ?? false,
  paused: spec.paused ?? false,
  hibernated: spec.hibernated ?? false,
  replaceAfterSeconds: spec.replaceAfterSeconds ?? 300,
  ...(spec.tolerateFailures === undefined ? {} : { tolerateFailures: spec.tolerateFailures }),
  ...(spec.restoreFrom === undefined ? {} : { restoreFrom: spec.restoreFrom }),
  ...(spec.resources === undefined ? {} : { resources: spec.resources }),
  image: {
    repository: spec.image?.repository ?? '',
    tag: spec.image?.tag ?? version,
    pullPolicy: spec.image?.pullPolicy ?? 'IfNotPresent',
    pullSecrets: spec.image?.pullSecrets ?? [],
  },
  storage: {
    size: spec.storage?.size ?? '2Gi',
    retention: spec.storage?.retention ?? 'Retain',
    ...(spec.storage?.className === undefined ? {} : { className: spec.storage.className }),
  },
  services: services(spec.services),
  networkKey: { key: KEY_ENTRY, ...spec.networkKey },
  autoscaling: autoscaling(spec.autoscaling),
  topologySpread: { nodes: 'Preferred', zones: 'Preferred', ...spec.topologySpread },
  pod: {
    labels: {},
    annotations: {},
    nodeSelector: {},
    tolerations: [],
    terminationGracePeriodSeconds: 60,
    drainSeconds: 5,
    ...spec.pod,
  },
  rollout: { surge: spec.rollout?.surge ?? false, settleSeconds: spec.rollout?.settleSeconds ?? 5 },
})

const services = ({
  udp = {},
  http = {},
  perReplica = {},
}: NonNullable<TrackerClusterSpec['services']> = {}): Settled['services'] => ({
  udp: { ...service(udp), port: udp.port ?? 6969 },
  http: { ...service(http), port: http.port ?? 8168, trustedProxies: http.trustedProxies ?? [] },
  perReplica: { enabled: perReplica.enabled ?? false, annotations: perReplica.annotations ?? {} },
})

const service = (s: ServiceSpec): Omit<SettledService, 'port'> => ({
  ...s,
  type: s.type ?? 'LoadBalancer',
  annotations: s.annotations ?? {},
  externalTrafficPolicy: s.externalTrafficPolicy ?? 'Local',
})

const autoscaling = (a: Autoscaling | undefined): Settled['autoscaling'] =>
  a === undefined
    ? null
    : {
        min: 3,
        max: 9,
        announcesPerSecondPerReplica: 20_000,
        memoryPercent: 85,
        upAfterSeconds: 30,
        downAfterSeconds: 300,
        ...a,
      }
