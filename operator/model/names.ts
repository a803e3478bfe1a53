// Names of all that belongs to a cluster. They are identity: nothing here may depend on a wish that can
// change. Refuses: labels (model/labels.ts).

export const podName = (cluster: string, ordinal: number): string => `${cluster}-${ordinal}`
/** As a StatefulSet names the claims of its template "data". */
export const claimName = (cluster: string, ordinal: number): string => `data-${cluster}-${ordinal}`
/** The headless Service by which replicas find each other. */
export const replicasName = (cluster: string): string => `${cluster}-replicas`
export const udpName = (cluster: string): string => `${cluster}-udp`
export const httpName = (cluster: string): string => `${cluster}-http`
/** Of one replica. No cluster's name makes it another Service's: those end in a word, this in a number. */
export const ownServiceName = (cluster: string, part: 'udp' | 'http', ordinal: number): string =>
  `${cluster}-${part}-${ordinal}`
/** ConfigMap with a file of options for each pod, named after it. */
export const configName = (cluster: string): string => `${cluster}-config`
/** Service account of the pods. Not the cluster's own name: that may be "default". */
export const accountName = (cluster: string): string => `${cluster}-replica`
/** The network key, where the operator makes it. */
export const keyName = (cluster: string): string => `${cluster}-network-key`
export const jobName = (cluster: string, purpose: string, ordinal: number): string =>
  `${cluster}-${purpose}-${ordinal}`

export const REPLICA_PORT = 5560
export const CONTROL_PORT = 8169
/** Of probes alone. */
export const HEALTH_PORT = 8167

/** Where the other replicas reach the one of this ordinal. */
export const replicaAddress = (cluster: string, namespace: string, ordinal: number): string =>
  `${podName(cluster, ordinal)}.${replicasName(cluster)}.${namespace}.svc:${REPLICA_PORT}`

/** The ordinal at the end of a pod's or claim's name; null: it is not one of this cluster's. */
export const ordinalOf = (prefix: string, name: string): number | null => {
  const rest = name.startsWith(`${prefix}-`) ? name.slice(prefix.length + 1) : ''
  return /^(0|[1-9]\d{0,3})$/.test(rest) ? Number(rest) : null
}
