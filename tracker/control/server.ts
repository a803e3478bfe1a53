// The control API's port: HTTP/1.1 and HTTP/2 without TLS on one port, told apart by their first bytes.
// Refuses: whoever has no token (guard.ts), large bodies, slow and too many connections. The one door to
// connect-node.

import { createServer as createHttp1, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttp2, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { hostname } from 'node:os'
import type { ConnectRouter } from '@connectrpc/connect'
import { connectNodeAdapter } from '@connectrpc/connect-node'
import { refusal } from './guard.ts'

/** Open connections at once. */
const CONNECTIONS_MOST = 128
/** Largest request: a list of 131,072 info_hashes is 3 MiB. */
const REQUEST_MOST_BYTES = 8 * 1024 * 1024
/** From the connection to its first byte, and from the first byte to the last header. */
const HEADERS_MS = 10_000

export type ControlServerOptions = {
  readonly controlHost: string
  readonly controlPort: number
  /** Those that open, asked at each request: keys are replaced while this runs. */
  readonly tokens: () => readonly string[]
  /** Names under which others reach it, beside that of the machine. */
  readonly names?: readonly string[]
  readonly routes: (router: ConnectRouter) => void
  /** Asked by GET /health, which needs no token. */
  readonly live: () => { readonly ok: boolean; readonly reason: string }
}

export type ControlServer = { readonly port: number; stop(): Promise<void> }

type Request = IncomingMessage | Http2ServerRequest
type Response = ServerResponse | Http2ServerResponse

/** Rejects with the error of `listen` (EADDRINUSE and others). */
export async function startControlServer(options: ControlServerOptions): Promise<ControlServer> {
  const names = [hostname(), options.controlHost, ...(options.names ?? [])]
  const calls = connectNodeAdapter({
    routes: options.routes,
    readMaxBytes: REQUEST_MOST_BYTES,
    grpcWeb: true,
  })
  const onRequest = (request: Request, response: Response): void => {
    const path = (request.url ?? '').replace(/\?.*$/, '')
    const open = path === '/health' && request.method === 'GET'
    const { authorization, origin } = request.headers
    const host = (request.headers[':authority'] as string | undefined) ?? request.headers.host
    const refused = refusal(
      { authorization, origin: origin as string | undefined, host },
      options.tokens(),
      names,
      open,
    )
    if (refused !== null) answer(response, refused.status, { code: refused.code, message: refused.message })
    else if (open) {
      const { ok, reason } = options.live()
      answer(response, ok ? 200 : 503, { status: ok ? 'ok' : reason })
    } else calls(request as IncomingMessage, response as ServerResponse)
  }
  const http1 = createHttp1({ headersTimeout: HEADERS_MS }, onRequest)
  const http2 = createHttp2({ settings: { maxConcurrentStreams: 64 } }, onRequest)
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    socket.on('error', () => socket.destroy())
    socket.setTimeout(HEADERS_MS, () => socket.destroy())
    socket.once('readable', () => {
      const first = socket.read() as Buffer | null
      if (first === null) return socket.destroy()
      socket.setTimeout(0)
      socket.removeAllListeners('timeout')
      // "PRI * HTTP/2.0" begins every HTTP/2 connection (RFC 9113, 3.4); no HTTP/1.1 method does.
      const http = first.subarray(0, 3).toString('latin1') === 'PRI' ? http2 : http1
      socket.unshift(first)
      http.emit('connection', socket)
    })
  })
  server.maxConnections = CONNECTIONS_MOST
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.controlPort, options.controlHost, () => {
      server.off('error', reject)
      resolve()
    })
  })
  return {
    port: (server.address() as AddressInfo).port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
}

function answer(response: Response, status: number, body: object): void {
  const http1 = response as ServerResponse
  http1.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' })
  http1.end(`${JSON.stringify(body)}\n`)
}
