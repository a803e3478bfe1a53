// What answers on the HTTP port while a replica is no member of a cluster yet, or still reads its log: probes
// get the truth (alive, not ready, and why), clients a 503. It closes when the front end takes the port.
// Refuses: announces, and to be there at all where the start takes only an instant.

import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { HttpOpenError } from '../http/open-error.ts'

/** A start that is done within this never opens it, milliseconds. */
const PATIENCE_MS = 300
const REQUEST_MS = 5000
const CONNECTIONS_MOST = 64

export type WaitingRoom = {
  /** The port it had; 0: it was never open. */
  close(): Promise<number>
}

export type WaitingOptions = {
  readonly hosts: readonly string[]
  /** 0: any free one, the same on all hosts. */
  readonly port: number
  /** What is awaited, a sentence. */
  readonly awaits: () => string
  /** It is open now. */
  readonly opened: (port: number) => void
}

/** `failed` rejects with HttpOpenError when the port cannot be had; it never resolves. */
export function waitingRoom(options: WaitingOptions): WaitingRoom & { readonly failed: Promise<never> } {
  const { promise: failed, reject } = Promise.withResolvers<never>()
  failed.catch(() => {})
  const servers: Server[] = []
  let opening: Promise<void> | null = null
  const timer = setTimeout(() => {
    opening = open(options, servers)
    opening.then(() => options.opened(portOf(servers)), reject)
  }, PATIENCE_MS)
  return {
    failed,
    async close() {
      clearTimeout(timer)
      await opening?.catch(() => {})
      const port = portOf(servers)
      await Promise.all(servers.map(closed))
      return port
    },
  }
}

const portOf = (servers: readonly Server[]): number =>
  (servers[0]?.address() as AddressInfo | null | undefined)?.port ?? 0

const closed = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })

async function open({ hosts, port, awaits }: WaitingOptions, servers: Server[]): Promise<void> {
  const answer: RequestListener = (request, response) => {
    const alive = (request.url ?? '').replace(/\?.*$/, '') === '/livez'
    response.writeHead(alive ? 200 : 503, {
      'Content-Type': 'text/plain; charset=utf-8',
      'Cache-Control': 'no-store',
      Connection: 'close',
      ...(alive ? {} : { 'Retry-After': '5' }),
    })
    response.end(request.method === 'HEAD' ? undefined : `${alive ? 'ok' : awaits()}\n`)
  }
  for (const host of hosts) {
    const server = createServer({ headersTimeout: REQUEST_MS, requestTimeout: REQUEST_MS }, answer)
    server.maxConnections = CONNECTIONS_MOST
    // Who has closed its sending side still reads.
    Object.assign(server, { httpAllowHalfOpen: true })
    const at = portOf(servers) || port
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject)
        server.listen({ host, port: at, ipv6Only: host === '::' && hosts.includes('0.0.0.0') }, resolve)
      })
      servers.push(server)
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? 'unknown'
      if (hosts.length > 1 && ['EAFNOSUPPORT', 'EADDRNOTAVAIL'].includes(code)) continue
      throw new HttpOpenError(code, host, at)
    }
  }
}
