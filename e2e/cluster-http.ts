// An announce of a cluster's client by HTTP, from one of its addresses. Refuses: to send anything twice.

import { Agent, request } from 'node:http'
import { type AnnounceRequest, announceQuery, decodeAnnounceReply } from '@skep/wire/http-tracker.ts'
import type { Told } from './cluster-history.ts'

const OK = 200
/** Connections of one address to one replica. */
const CONNECTIONS_MOST = 64

/** What a source keeps its connections by. */
export const agentFrom = (localAddress: string): Agent =>
  new Agent({ localAddress, keepAlive: true, maxSockets: CONNECTIONS_MOST })

/**
 * What was answered; undefined: nothing that says whether it took effect (a 503, a connection that broke or
 * stayed without an answer for so long).
 */
export function announceByHttp(
  agent: Agent,
  place: { readonly address: string; readonly httpPort: number },
  announce: AnnounceRequest,
  timeoutMs: number,
): Promise<Told | undefined> {
  const path = `/announce?${announceQuery(announce)}`
  return new Promise((resolve) => {
    const asked = request({ agent, host: place.address, port: place.httpPort, path, timeout: timeoutMs })
    asked.on('timeout', () => asked.destroy())
    asked.on('error', () => resolve(undefined))
    asked.on('response', (response) => {
      const parts: Buffer[] = []
      response.on('data', (part: Buffer) => parts.push(part))
      response.on('error', () => resolve(undefined))
      response.on('end', () => resolve(response.statusCode === OK ? toldBy(Buffer.concat(parts)) : undefined))
    })
    asked.end()
  })
}

function toldBy(body: Uint8Array): Told {
  const reply = decodeAnnounceReply(body)
  if (reply.kind !== 'announce') return { kind: 'error', message: reply.reason }
  const counts = { seeders: reply.complete ?? 0, leechers: reply.incomplete ?? 0 }
  return { kind: 'announce', counts, peers: reply.peers }
}
