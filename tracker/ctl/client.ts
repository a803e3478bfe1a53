// A client of the control API with its token. Refuses: retrying what may have been done; only a wrong token
// is followed by the next one, while keys are being replaced.

import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect'
import { createConnectTransport } from '@connectrpc/connect-node'
import { Cluster } from '@skep/wire/proto/gen/skep/cluster/v1/cluster_pb.js'

export type ClusterClient = Client<typeof Cluster>

/** `url`: such as `http://127.0.0.1:8169`; `tokens`: the one in use first. Calls reject with ConnectError. */
export function clusterClient(url: string, tokens: readonly string[]): ClusterClient {
  let inUse = 0
  const transport = createConnectTransport({
    baseUrl: url,
    httpVersion: '1.1',
    interceptors: [
      (next) => async (request) => {
        const messages = request.stream ? await Array.fromAsync(request.message) : []
        for (let tried = 1; ; tried++) {
          request.header.set('authorization', `Bearer ${tokens[inUse] ?? ''}`)
          try {
            return await next(request.stream ? { ...request, message: again(messages) } : request)
          } catch (error) {
            const wrong = error instanceof ConnectError && error.code === Code.Unauthenticated
            if (!wrong || tried >= tokens.length) throw error
            inUse = (inUse + 1) % tokens.length
          }
        }
      },
    ],
  })
  return createClient(Cluster, transport)
}

async function* again<T>(messages: readonly T[]): AsyncGenerator<T> {
  yield* messages
}
