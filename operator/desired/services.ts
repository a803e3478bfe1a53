// The Services of a cluster. UDP and HTTP are apart: one Service with both protocols on one port loses
// entries when it is merged, and many load balancers take only one protocol. Refuses: leader-only endpoints.
// Every replica answers; a follower relays the change.

import { CONTROL_PORT, httpName, REPLICA_PORT, replicasName, udpName } from '../model/names.ts'
import type { KubeObject } from '../model/ports.ts'
import type { Settled, SettledService } from '../model/settle.ts'
import type { TrackerCluster } from '../model/types.ts'
import { HTTP_PORT, UDP_PORT } from './config.ts'
import { identity, owned } from './labels.ts'

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
