// A client of the control API with its token. Refuses: retrying; a change may have been made.

import { type Client, createClient } from '@connectrpc/connect'
import { createConnectTransport } from '@connectrpc/connect-node'
import { Cluster } from '@skep/wire/proto/gen/skep/cluster/v1/cluster_pb.js'

export type ClusterClient = Client<typeof Cluster>

/** `url`: such as `http://127.0.0.1:8169`. Calls reject with ConnectError. */
export function clusterClient(url: string, token: string): ClusterClient {
  const transport = createConnectTransport({
    baseUrl: url,
    httpVersion: '1.1',
    interceptors: [
      (next) => (request) => {
        request.header.set('authorization', `Bearer ${token}`)
        return next(request)
      },
    ],
  })
  return createClient(Cluster, transport)
}
