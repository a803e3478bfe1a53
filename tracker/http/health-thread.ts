// The thread that answers probes: /livez and /readyz on a port of their own, whatever the main thread does
// meanwhile. What they say is asked of the main thread at each probe; what it said last stands in for it
// while it is busy, and turns bad when it is busy for too long. Refuses: everything that is no probe, and to
// be filled: beyond its connections the oldest one goes, so that a stranger cannot keep a probe out.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'
import { monotonicMs } from '../threads/state.ts'
import type { HealthNews, HealthOrders, Probe, Probes } from './health.ts'

/** A probe waits this long for the main thread's word, milliseconds: Kubernetes gives it one second. */
const ASK_MS = 300
/** The main thread is asked at least so often, milliseconds. */
const EVERY_MS = 1000
/** A main thread that has not answered for so long serves nobody over HTTP, milliseconds. */
const NOT_READY_MS = 10_000
/** And for so long, it is dead, milliseconds. */
const DEAD_MS = 30_000
/** From the connection to the last byte of its answer, milliseconds. */
const CONNECTION_MS = 2000
const CONNECTIONS_MOST = 256

const { hosts, port } = workerData as HealthOrders
let said: Probes = { live: { ok: true, reason: 'alive' }, ready: { ok: false, reason: 'starting' } }
/** When the question was put that has no answer yet; 0: there is none. */
let askedMs = 0
let waiting: (() => void)[] = []

function ask(): void {
  if (askedMs !== 0) return
  askedMs = monotonicMs()
  tell({ kind: 'ask' })
}

function tell(news: HealthNews): void {
  parentPort!.postMessage(news)
}

parentPort!.on('message', (probes: Probes) => {
  said = probes
  askedMs = 0
  for (const go of waiting.splice(0)) go()
})

/** Resolves when the main thread has answered, or has been given its time to. */
const asked = (): Promise<void> =>
  new Promise((resolve) => {
    const late = setTimeout(() => {
      waiting = waiting.filter((go) => go !== done)
      resolve()
    }, ASK_MS)
    const done = (): void => {
      clearTimeout(late)
      resolve()
    }
    waiting.push(done)
    ask()
  })

function verdict(path: string): Probe {
  const silent = askedMs === 0 ? 0 : monotonicMs() - askedMs
  if (silent < (path === '/livez' ? DEAD_MS : NOT_READY_MS)) return path === '/livez' ? said.live : said.ready
  return { ok: false, reason: `the main thread has not answered for ${Math.round(silent / 1000)} s` }
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = (request.url ?? '').replace(/\?.*$/, '')
  const known = path === '/livez' || path === '/readyz'
  if (known) await asked()
  const {
    ok,
    reason,
    note = '',
  }: Probe = known ? verdict(path) : { ok: false, reason: 'Only /livez and /readyz are here' }
  response.writeHead(ok ? 200 : known ? 503 : 404, {
    'Content-Type': 'text/plain; charset=utf-8',
    'Cache-Control': 'no-store',
    Connection: 'close',
  })
  response.end(request.method === 'HEAD' ? undefined : `${ok ? `ok${note && `\n${note}`}` : reason}\n`)
}

const servers: Server[] = []
/** In the order in which they came. */
const sockets = new Set<Socket>()

function connected(socket: Socket): void {
  sockets.add(socket)
  socket.setTimeout(CONNECTION_MS, () => socket.destroy())
  socket.once('close', () => sockets.delete(socket))
  if (sockets.size <= CONNECTIONS_MOST) return
  const [oldest] = sockets
  oldest!.destroy()
}

async function listen(): Promise<void> {
  let bound = port
  for (const host of hosts) {
    const server = createServer(
      { headersTimeout: CONNECTION_MS, requestTimeout: CONNECTION_MS, connectionsCheckingInterval: 500 },
      (request, response) => void answer(request, response),
    )
    server.on('connection', connected)
    // Who has closed its sending side still reads.
    Object.assign(server, { httpAllowHalfOpen: true })
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject)
        server.listen({ host, port: bound, ipv6Only: host === '::' && hosts.includes('0.0.0.0') }, resolve)
      })
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? 'unknown'
      const familyMissing = host === '::' && hosts.length > 1
      if (familyMissing && ['EAFNOSUPPORT', 'EADDRNOTAVAIL'].includes(code)) continue
      tell({ kind: 'fault', code, host, port: bound })
      return
    }
    servers.push(server)
    bound = (server.address() as AddressInfo).port
  }
  setInterval(ask, EVERY_MS)
  tell({ kind: 'open', port: bound })
}

await listen()
