// The control API's port: HTTP/1.1 and HTTP/2 without TLS on one port, told apart by their first bytes.
// Connections that have not shown the token are few and short-lived (strangers.ts), so that whoever has it
// always finds room; those that have shown it have places of their own. Refuses: whoever has no token
// (guard.ts), large bodies, requests that do not end, and connections that a token opened that counts no
// more. The one door to connect-node.

import { createServer as createHttp1, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttp2, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { hostname } from 'node:os'
import type { ConnectRouter } from '@connectrpc/connect'
import { connectNodeAdapter } from '@connectrpc/connect-node'
import { KnownNetworks, Strangers } from '../replica/transport/strangers.ts'
import { monotonicMs } from '../threads/state.ts'
import { judge, type Refusal } from './guard.ts'
import { WrongTokens } from './wrong-tokens.ts'

/** Before the token: from the connection to the last header, and how many there may be. */
const STRANGERS = { most: 64, mostOfNetwork: 32, forMs: 10_000 }
/** Open connections that have shown the token. */
const PROVEN_MOST = 64
/** Largest request: a list of 131,072 info_hashes is 3 MiB. */
const REQUEST_MOST_BYTES = 8 * 1024 * 1024
/** From the last header of a request to its last byte. */
const BODY_MS = 60_000
/** Between two requests, the headers of the next one included. */
const IDLE_MS = 60_000
/** Between two looks whether the tokens that opened connections still count. */
const TOKENS_MS = 500

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

/** What the port counts since start, with what each means. */
export const CONTROL_COUNTERS = {
  strangersCrowded: 'Connections that had not shown the token and gave way to newer ones',
  strangersLate: 'Connections that did not show the token in time',
  wrongTokens: 'Requests with a wrong token',
  wrongTokensLimited: 'Those beyond what one address may show, answered by 429',
} as const

export type ControlCounts = Record<keyof typeof CONTROL_COUNTERS, number>

export const controlCounts = (): ControlCounts => ({
  strangersCrowded: 0,
  strangersLate: 0,
  wrongTokens: 0,
  wrongTokensLimited: 0,
})

export type ControlServer = {
  readonly port: number
  readonly counts: Readonly<ControlCounts>
  /** For people. */
  warnings(): string[]
  stop(): Promise<void>
}

type Request = IncomingMessage | Http2ServerRequest
type Response = ServerResponse | Http2ServerResponse

type Answer = {
  readonly status: number
  readonly body: object
  readonly headers?: Readonly<Record<string, string>>
}

/** One connection. */
type Visitor = {
  readonly socket: Socket
  readonly address: string
  /** The one it has shown; null: none yet. */
  token: string | null
  requests: number
  idle: NodeJS.Timeout | undefined
}

/** Rejects with the error of `listen` (EADDRINUSE and others). */
export async function startControlServer(options: ControlServerOptions): Promise<ControlServer> {
  const entrance = new Entrance(options)
  const { server } = entrance
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.controlPort, options.controlHost, () => {
      server.off('error', reject)
      resolve()
    })
  })
  return {
    port: (server.address() as AddressInfo).port,
    counts: entrance.counts,
    warnings: () => entrance.wrong.warnings(),
    stop: () => entrance.stop(),
  }
}

class Entrance {
  readonly counts = controlCounts()
  readonly wrong = new WrongTokens(monotonicMs)
  readonly server = createServer((socket) => this.came(socket))
  private readonly options: ControlServerOptions
  private readonly names: readonly string[]
  private readonly calls: ReturnType<typeof connectNodeAdapter>
  private readonly visitors = new Map<object, Visitor>()
  private readonly proven = new Set<Visitor>()
  private readonly known = new KnownNetworks(PROVEN_MOST)
  private readonly strangers = new Strangers<Visitor>(
    STRANGERS,
    ({ socket }, why) => {
      this.counts[why === 'late' ? 'strangersLate' : 'strangersCrowded']++
      socket.destroy()
    },
    (network) => this.known.has(network),
  )
  private readonly http1 = createHttp1((request, response) =>
    this.asked(this.visitors.get(request.socket), request, response),
  )
  private readonly http2 = createHttp2({ settings: { maxConcurrentStreams: 64 } }, (request, response) =>
    this.asked(this.visitors.get(request.stream.session!), request, response),
  )
  private readonly looking = setInterval(() => this.look(), TOKENS_MS)

  constructor(options: ControlServerOptions) {
    this.options = options
    this.names = [hostname(), options.controlHost, ...(options.names ?? [])]
    this.calls = connectNodeAdapter({
      routes: options.routes,
      readMaxBytes: REQUEST_MOST_BYTES,
      grpcWeb: true,
    })
    this.looking.unref()
  }

  stop(): Promise<void> {
    clearInterval(this.looking)
    return new Promise((resolve) => {
      this.server.close(() => resolve())
      for (const { socket } of this.visitors.values()) socket.destroy()
    })
  }

  private came(socket: Socket): void {
    const address = socket.remoteAddress ?? ''
    const visitor: Visitor = { socket, address, token: null, requests: 0, idle: undefined }
    this.visitors.set(socket, visitor)
    socket.once('close', () => {
      clearTimeout(visitor.idle)
      this.strangers.left(visitor)
      this.proven.delete(visitor)
      this.visitors.delete(socket)
    })
    socket.on('error', () => socket.destroy())
    this.strangers.came(visitor, address)
    socket.once('readable', () => {
      const first = socket.read() as Buffer | null
      if (first === null) return socket.destroy()
      // "PRI * HTTP/2.0" begins every HTTP/2 connection (RFC 9113, 3.4); no HTTP/1.1 method does.
      const is2 = first.subarray(0, 3).toString('latin1') === 'PRI'
      if (is2)
        this.http2.once('session', (session) => {
          this.visitors.set(session, visitor)
          session.once('close', () => this.visitors.delete(session))
        })
      const http = is2 ? this.http2 : this.http1
      socket.unshift(first)
      http.emit('connection', socket)
    })
  }

  /** The headers of a request are there. */
  private asked(visitor: Visitor | undefined, request: Request, response: Response): void {
    if (visitor === undefined) {
      request.destroy()
      return
    }
    const said = this.judge(visitor, request)
    if (said !== null) {
      this.answer(visitor, request, response, said)
      return
    }
    this.follow(visitor, request, response)
    this.calls(request as IncomingMessage, response as ServerResponse)
  }

  /** Null: it is let through to the calls. */
  private judge(visitor: Visitor, request: Request): Answer | null {
    const path = (request.url ?? '').replace(/\?.*$/, '')
    const open = path === '/health' && request.method === 'GET'
    const { authorization, origin } = request.headers
    const host = (request.headers[':authority'] as string | undefined) ?? request.headers.host
    const headers = { authorization, origin: origin as string | undefined, host }
    const judged = judge(headers, this.options.tokens(), this.names, open)
    if (judged.kind === 'refused') return this.refuse(visitor, judged)
    if (judged.kind === 'open') {
      const { ok, reason } = this.options.live()
      return { status: ok ? 200 : 503, body: { status: ok ? 'ok' : reason } }
    }
    if (this.prove(visitor, judged.token)) return null
    const message = `${PROVEN_MOST} connections with the token are open, which is the most: close some`
    return { status: 503, body: { code: 'unavailable', message } }
  }

  private refuse(visitor: Visitor, { status, code, message, wrongToken }: Refusal): Answer {
    if (!wrongToken) return { status, body: { code, message } }
    this.counts.wrongTokens++
    const seconds = this.wrong.another(visitor.address)
    if (seconds === 0) return { status, body: { code, message } }
    this.counts.wrongTokensLimited++
    const more = `too many wrong tokens from ${visitor.address}: show the right one, or wait ${seconds} s`
    return {
      status: 429,
      body: { code: 'resource_exhausted', message: more },
      headers: { 'retry-after': String(seconds) },
    }
  }

  /** False: there is no place for it. */
  private prove(visitor: Visitor, token: string): boolean {
    this.known.proved(visitor.address)
    if (visitor.token === null && this.proven.size >= PROVEN_MOST) {
      const idle = [...this.proven].find((each) => each.requests === 0)
      if (idle === undefined) return false
      this.proven.delete(idle)
      idle.socket.destroy()
    }
    visitor.token = token
    this.strangers.left(visitor)
    this.proven.add(visitor)
    return true
  }

  /** A request comes to its end in time, and the next one begins in time. */
  private follow(visitor: Visitor, request: Request, response: Response): void {
    const { socket } = visitor
    clearTimeout(visitor.idle)
    visitor.requests++
    const body = setTimeout(() => socket.destroy(), BODY_MS)
    request.once('end', () => clearTimeout(body))
    request.once('close', () => clearTimeout(body))
    response.once('close', () => {
      clearTimeout(body)
      if (--visitor.requests === 0) visitor.idle = setTimeout(() => socket.destroy(), IDLE_MS)
      visitor.idle?.unref()
    })
  }

  /**
   * Whoever is answered here asks once a connection. What it still sends is read, so that it sees the answer,
   * for as long as strangers may take.
   */
  private answer(visitor: Visitor, request: Request, response: Response, said: Answer): void {
    const { status } = said
    const body = `${JSON.stringify(said.body)}\n`
    const headers = {
      'content-type': 'application/json',
      'cache-control': 'no-store',
      'content-length': Buffer.byteLength(body),
      ...said.headers,
    }
    const once = visitor.token === null
    if (request.httpVersionMajor === 1) {
      const http1 = response as ServerResponse
      http1.writeHead(status, once ? { ...headers, connection: 'close' } : headers)
      http1.write(body)
      request.once('end', () => http1.end())
    } else {
      const http2 = response as Http2ServerResponse
      const { session } = http2.stream
      http2.writeHead(status, headers)
      http2.end(body)
      if (once) http2.once('close', () => session?.close())
    }
    request.resume()
  }

  /** Ends what was opened by a token that counts no more. */
  private look(): void {
    if (this.proven.size === 0) return
    const tokens = this.options.tokens()
    for (const { token, socket } of this.proven) if (!tokens.includes(token!)) socket.destroy()
  }
}
