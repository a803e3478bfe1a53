// The Services of a cluster. UDP and HTTP are apart: one Service with both protocols on one port loses
// entries when it is merged, and many load balancers take only one protocol. On wish each replica has a pair
// of its own, whose addresses go on as tiers into torrents: clients stay with the address that they know, so
// it has to be answered also while its replica is gone, by another one. Refuses: leader-only endpoints. Every
// replica answers; a follower relays the change.

import { identity, ORDINAL_LABEL, owned, POD_LABEL } from '../model/labels.ts'
import {
  CONTROL_PORT,
  httpName,
  ownServiceName,
  podName,
  REPLICA_PORT,
  replicasName,
  udpName,
} from '../model/names.ts'
import type { KubeObject } from '../model/ports.ts'
import type { Settled, SettledService } from '../model/settle.ts'
import type { TrackerCluster } from '../model/types.ts'
import { HTTP_PORT, UDP_PORT } from './config.ts'

/** Names for pods: replicas find each other before they are ready, or none would ever become so. */
export const replicasService = (resource: TrackerCluster): KubeObject => {
  const { name } = resource.metadata
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: owned(resource, replicasName(name), 'peers'),
    spec: {
      clusterIP: 'None',
      publishNotReadyAddresses: true,
      selector: identity(name, 'replica'),
      ports: [
        { name: 'replica', protocol: 'TCP', port: REPLICA_PORT, targetPort: 'replica' },
        { name: 'control', protocol: 'TCP', port: CONTROL_PORT, targetPort: 'control' },
      ],
    },
  }
}

export const udpService = (resource: TrackerCluster, s: Settled): KubeObject =>
  clientService(resource, udpName(resource.metadata.name), 'udp', s.services.udp, UDP_PORT)

export const httpService = (resource: TrackerCluster, s: Settled): KubeObject =>
  clientService(resource, httpName(resource.metadata.name), 'http', s.services.http, HTTP_PORT)

/** Of one replica, leading to `target`: itself, or whoever stands in for it. */
export const ownServices = (
  resource: TrackerCluster,
  s: Settled,
  ordinal: number,
  target: number,
): KubeObject[] =>
  (['udp', 'http'] as const).map((part) => {
    const { name } = resource.metadata
    // A node port and annotations are of one Service: a second one with the same would be refused, or take
    // the first one's host name.
    const { nodePort: _, ...shared } = s.services[part]
    const service = { ...shared, annotations: numbered(s.services.perReplica.annotations, ordinal) }
    const usualPort = part === 'udp' ? UDP_PORT : HTTP_PORT
    const made = clientService(resource, ownServiceName(name, part, ordinal), part, service, usualPort)
    const metadata = owned(resource, made.metadata.name, `own-${part}`, service.annotations)
    const selector = { ...identity(name, 'replica'), [POD_LABEL]: podName(name, target) }
    return {
      ...made,
      metadata: { ...metadata, labels: { ...metadata.labels, [ORDINAL_LABEL]: String(ordinal) } },
      spec: { ...made.spec, selector },
    }
  })

const numbered = (annotations: Readonly<Record<string, string>>, ordinal: number): Record<string, string> =>
  Object.fromEntries(
    Object.entries(annotations).map(([key, value]) => [key, value.replaceAll('$(ORDINAL)', String(ordinal))]),
  )

const clientService = (
  resource: TrackerCluster,
  name: string,
  part: 'udp' | 'http',
  service: SettledService,
  usualPort: number,
): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: owned(resource, name, part, service.annotations),
  spec: {
    type: service.type,
    selector: identity(resource.metadata.name, 'replica'),
    ports: [
      {
        name: part,
        protocol: part === 'udp' ? 'UDP' : 'TCP',
        port: service.port ?? usualPort,
        targetPort: part,
        ...(service.nodePort === undefined || service.type === 'ClusterIP'
          ? {}
          : { nodePort: service.nodePort }),
      },
    ],
    // Local keeps the client's address. A tracker hands out the addresses that it sees: behind a balancer
    // that rewrites them it would hand out the balancer's to everybody. Nodes without a ready replica fail
    // the balancer's health check and get nothing.
    ...(service.type === 'ClusterIP' ? {} : { externalTrafficPolicy: service.externalTrafficPolicy }),
    ...(service.type === 'LoadBalancer' ? balancer(service) : {}),
  },
})

const balancer = (service: SettledService): object => ({
  ...(service.loadBalancerClass === undefined ? {} : { loadBalancerClass: service.loadBalancerClass }),
  ...(service.loadBalancerSourceRanges === undefined
    ? {}
    : { loadBalancerSourceRanges: service.loadBalancerSourceRanges }),
})
