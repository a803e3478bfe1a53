// The options of the replicas: a ConfigMap with a file for each pod, named after it, so that one pod template
// serves all. A file says who the replica is, whom to ask, and (pod 0 of a cluster that was never born) that
// it may form a new one. Refuses: settings that the log keeps after birth; options only seed those.

import type { ConfigSeen } from '../model/facts.ts'
import { owned } from '../model/labels.ts'
import {
  CONTROL_PORT,
  configName,
  HEALTH_PORT,
  podName,
  REPLICA_PORT,
  replicaAddress,
} from '../model/names.ts'
import type { KubeObject } from '../model/ports.ts'
import type { Settled } from '../model/settle.ts'
import type { Decided } from '../model/steps.ts'
import type { TrackerCluster } from '../model/types.ts'
import { fingerprint } from '../model/units.ts'

/** Where the files are mounted. */
export const CONFIG_FOLDER = '/etc/skep'
export const KEY_FOLDER = '/etc/skep-key'
export const DATA_FOLDER = '/data'
export const UDP_PORT = 6969
export const HTTP_PORT = 8168
const BIRTH_ENTRY = 'birth'
const CLUSTER_ENTRY = 'cluster-id'

/** On a node's own network its ports are the clients' ports; elsewhere the Service translates. */
export const ports = (s: Settled): { udp: number; http: number } =>
  s.hostNetwork
    ? { udp: s.services.udp.port ?? UDP_PORT, http: s.services.http.port ?? HTTP_PORT }
    : { udp: UDP_PORT, http: HTTP_PORT }

export const configMap = (resource: TrackerCluster, s: Settled, decided: Decided): KubeObject => {
  const { name, namespace } = resource.metadata
  const data: Record<string, string> = { [BIRTH_ENTRY]: decided.birth }
  if (decided.clusterID !== null) data[CLUSTER_ENTRY] = decided.clusterID
  for (let i = 0; i < Math.max(1, decided.size); i++)
    data[`${podName(name, i)}.json`] = text({ ...startOptions(s), ...place(name, namespace, i, decided) })
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: owned(resource, configName(name), 'replica'),
    data,
  }
}

/** What the ConfigMap says of birth; a mode that cannot be read never creates. */
export const readConfig = (object: KubeObject): ConfigSeen => ({
  birth: object.data?.[BIRTH_ENTRY] === 'create' ? 'create' : 'join',
  clusterID: object.data?.[CLUSTER_ENTRY] ?? null,
})

/**
 * Changes when running replicas would have to be restarted to follow the specification. Whom to ask is not in
 * it.
 */
export const configHash = (s: Settled): string => {
  // A setting of the cluster: after its birth the operator changes it without a restart.
  const { 'allow-private': _, ...rest } = startOptions(s)
  return fingerprint(text(rest))
}

const text = (options: Readonly<Record<string, unknown>>): string => `${JSON.stringify(options, null, 2)}\n`

/**
 * Replicas of 0.1.0 know no port of their own for probes, and refuse an option that they do not know. A tag
 * that does not begin with a version is taken for a newer one.
 */
export const hasHealthPort = ({ image }: Settled): boolean => !/^v?0\.1\.0(?![\d.])/.test(image.tag)

/**
 * Who keeps the way back open (`raise-level-after: never`) can go back: 0.1.0 has one level, and refuses the
 * option.
 */
const given = (s: Settled): Settled['options'] => {
  const { 'raise-level-after': _, ...others } = s.options
  return hasHealthPort(s) ? s.options : others
}

const startOptions = (s: Settled): Record<string, unknown> => ({
  ...given(s),
  'udp-port': ports(s).udp,
  'http-port': ports(s).http,
  ...(hasHealthPort(s) ? { 'health-port': HEALTH_PORT } : {}),
  // The operator asks from outside the pod; the bearer token and the cluster's NetworkPolicy guard it.
  'control-host': '0.0.0.0',
  'control-port': CONTROL_PORT,
  'replica-port': REPLICA_PORT,
  // The operator decides who votes (plan/membership.ts); with 1 the replicas promote nobody by themselves.
  // They replace a lost voter by its successor without being asked all the same.
  'max-voters': 1,
  'prefer-highest': s.preferHighest ? 'on' : 'off',
  keepalive: s.keepalive,
  missed: s.missed,
  consistency: s.consistency,
  'data-dir': DATA_FOLDER,
  'network-key-file': `${KEY_FOLDER}/network.key`,
  memory: s.memory,
  'allow-private': s.allowPrivate,
  ...(s.services.http.trustedProxies.length === 0
    ? {}
    : { 'trusted-proxies': s.services.http.trustedProxies }),
})

const place = (cluster: string, namespace: string, ordinal: number, decided: Decided): object => ({
  name: podName(cluster, ordinal),
  'replica-address': replicaAddress(cluster, namespace, ordinal),
  ...(decided.birth === 'create' && ordinal === 0
    ? { 'initial-members': [`${podName(cluster, 0)}=${replicaAddress(cluster, namespace, 0)}`] }
    : { join: others(cluster, namespace, ordinal, decided) }),
})

/** Never empty: a replica that is told of nobody would take itself for a cluster of its own. */
const others = (cluster: string, namespace: string, ordinal: number, { size }: { size: number }): string[] =>
  Array.from({ length: Math.max(2, size) }, (_, i) => i)
    .filter((i) => i !== ordinal)
    .map((i) => replicaAddress(cluster, namespace, i))
