// The pod of a replica: non-root, nothing writable but its volume and a small /tmp, no capability, no API
// token. The same template for each ordinal; what differs is in the file of the ConfigMap that is named after
// the pod. Refuses: privileges. Receive buffers are raised on nodes, not by pods.

import { CONFIG_ANNOTATION, identity, labels } from '../model/labels.ts'
import { accountName, CONTROL_PORT, configName, HEALTH_PORT, keyName, REPLICA_PORT } from '../model/names.ts'
import type { Settled } from '../model/settle.ts'
import { ANNOTATIONS, type TrackerCluster } from '../model/types.ts'
import { bytesOf, mebibytes } from '../model/units.ts'
import { PROCESS_BYTES } from '../model/validate.ts'
import { CONFIG_FOLDER, configHash, DATA_FOLDER, hasHealthPort, KEY_FOLDER, ports } from './config.ts'

/** Of the image; numbers, so that Kubernetes itself can check that it is not root. */
export const USER = 10001
/** In the image. */
export const PROGRAM = ['node', '/app/skep.ts'] as const

export const CONTAINER_SECURITY = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  runAsNonRoot: true,
  capabilities: { drop: ['ALL'] },
} as const

export const POD_SECURITY = {
  runAsNonRoot: true,
  runAsUser: USER,
  runAsGroup: USER,
  fsGroup: USER,
  // Volumes with many files are not walked through at each start.
  fsGroupChangePolicy: 'OnRootMismatch',
  seccompProfile: { type: 'RuntimeDefault' },
} as const

const CPU = '100m'

export const imageOf = ({ image }: Settled): string => `${image.repository}:${image.tag}`

/** Template of the StatefulSet. */
export const podTemplate = (resource: TrackerCluster, s: Settled): object => {
  const { name, annotations } = resource.metadata
  const restart = annotations?.[ANNOTATIONS.restart]
  return {
    metadata: {
      // Identity last: no override may take a pod out of its Services.
      labels: { ...s.pod.labels, ...labels(name, 'replica') },
      annotations: {
        // A node is not emptied for the sake of saving one while its replica holds a vote.
        'cluster-autoscaler.kubernetes.io/safe-to-evict': 'false',
        ...s.pod.annotations,
        [CONFIG_ANNOTATION]: configHash(s),
        ...(restart === undefined ? {} : { [ANNOTATIONS.restart]: restart }),
      },
    },
    spec: {
      ...placement(name, s),
      serviceAccountName: s.pod.serviceAccountName ?? accountName(name),
      automountServiceAccountToken: false,
      // Variables named after Services would look like options.
      enableServiceLinks: false,
      // A name server that is gone with its node holds up the way to the other replicas for seconds, not for
      // ten of them.
      dnsConfig: {
        options: [
          { name: 'timeout', value: '1' },
          { name: 'attempts', value: '2' },
        ],
      },
      terminationGracePeriodSeconds: s.pod.terminationGracePeriodSeconds,
      securityContext: POD_SECURITY,
      ...(s.image.pullSecrets.length === 0
        ? {}
        : { imagePullSecrets: s.image.pullSecrets.map((secret) => ({ name: secret })) }),
      containers: [container(s)],
      volumes: [
        { name: 'config', configMap: { name: configName(name) } },
        {
          name: 'key',
          secret: {
            secretName: s.networkKey.secretName ?? keyName(name),
            // Readable for the group that the volume is mounted for, and for nobody else.
            defaultMode: 0o440,
            items: [{ key: s.networkKey.key, path: 'network.key' }],
          },
        },
        { name: 'tmp', emptyDir: { medium: 'Memory', sizeLimit: '16Mi' } },
      ],
    },
  }
}

const container = (s: Settled): object => {
  const { udp, http } = ports(s)
  return {
    name: 'tracker',
    image: imageOf(s),
    imagePullPolicy: s.image.pullPolicy,
    args: ['tracker', '--config', `${CONFIG_FOLDER}/$(POD_NAME).json`],
    env: [{ name: 'POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }],
    ports: [
      { name: 'udp', containerPort: udp, protocol: 'UDP' },
      { name: 'http', containerPort: http, protocol: 'TCP' },
      ...(hasHealthPort(s) ? [{ name: 'health', containerPort: HEALTH_PORT, protocol: 'TCP' }] : []),
      { name: 'replica', containerPort: REPLICA_PORT, protocol: 'TCP' },
      { name: 'control', containerPort: CONTROL_PORT, protocol: 'TCP' },
    ],
    resources: resources(s),
    securityContext: CONTAINER_SECURITY,
    // Alive also while it waits for its cluster: a pod that waits must not be killed. A log that is read
    // takes its time. Asked at a port of their own, which no flood of HTTP can keep waiting.
    startupProbe: probe(s, '/livez', { periodSeconds: 1, failureThreshold: 600, timeoutSeconds: 5 }),
    livenessProbe: probe(s, '/livez', { periodSeconds: 10, failureThreshold: 6, timeoutSeconds: 5 }),
    readinessProbe: probe(s, '/readyz', { periodSeconds: 1, failureThreshold: 3, timeoutSeconds: 2 }),
    // Leadership goes first, and answers go on while balancers notice: datagrams sent to a pod that is gone
    // are lost.
    lifecycle: {
      preStop: {
        exec: {
          command: [
            ...PROGRAM,
            'ctl',
            'drain',
            '--for',
            `${s.pod.drainSeconds}s`,
            '--network-key-file',
            `${KEY_FOLDER}/network.key`,
          ],
        },
      },
    },
    terminationMessagePolicy: 'FallbackToLogsOnError',
    volumeMounts: [
      { name: 'data', mountPath: DATA_FOLDER },
      { name: 'config', mountPath: CONFIG_FOLDER, readOnly: true },
      { name: 'key', mountPath: KEY_FOLDER, readOnly: true },
      { name: 'tmp', mountPath: '/tmp' },
    ],
  }
}

const probe = (s: Settled, path: string, times: object): object => ({
  httpGet: { path, port: hasHealthPort(s) ? 'health' : 'http' },
  ...times,
})

/**
 * The table's room is taken page by page; what is asked for is all that it may ever take. Some CPU is asked
 * for, too: a container that asks for none gets next to nothing on a busy node, and keepalives are late.
 */
const resources = (s: Settled): object => {
  const memory = mebibytes((bytesOf(s.memory) ?? 0) + PROCESS_BYTES)
  return {
    requests: { cpu: CPU, memory, ...s.resources?.requests },
    ...(s.resources?.limits === undefined ? {} : { limits: s.resources.limits }),
  }
}

const placement = (cluster: string, s: Settled): object => {
  const labelSelector = { matchLabels: identity(cluster, 'replica') }
  const apart = { topologyKey: 'kubernetes.io/hostname', labelSelector }
  const { nodes, zones } = s.topologySpread
  const spread = [
    ...(nodes === 'Preferred' ? [spreadOver('kubernetes.io/hostname', 'ScheduleAnyway', labelSelector)] : []),
    ...(zones === 'Preferred'
      ? [spreadOver('topology.kubernetes.io/zone', 'ScheduleAnyway', labelSelector)]
      : []),
    ...(zones === 'Required'
      ? [spreadOver('topology.kubernetes.io/zone', 'DoNotSchedule', labelSelector)]
      : []),
  ]
  const affinity =
    s.pod.affinity ??
    (nodes === 'Required'
      ? { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [apart] } }
      : undefined)
  return {
    ...(s.hostNetwork ? { hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' } : {}),
    ...(spread.length === 0 ? {} : { topologySpreadConstraints: spread }),
    ...(affinity === undefined ? {} : { affinity }),
    ...(Object.keys(s.pod.nodeSelector).length === 0 ? {} : { nodeSelector: s.pod.nodeSelector }),
    ...(s.pod.tolerations.length === 0 ? {} : { tolerations: s.pod.tolerations }),
    ...(s.pod.priorityClassName === undefined ? {} : { priorityClassName: s.pod.priorityClassName }),
    ...(s.pod.runtimeClassName === undefined ? {} : { runtimeClassName: s.pod.runtimeClassName }),
  }
}

const spreadOver = (topologyKey: string, whenUnsatisfiable: string, labelSelector: object): object => ({
  maxSkew: 1,
  topologyKey,
  whenUnsatisfiable,
  labelSelector,
})
