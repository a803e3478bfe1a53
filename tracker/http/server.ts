// The HTTP front end's shell: listens, hands connections out, waits for outcomes, sweeps, stops.
// Refuses: to decide anything about an announce (tracker.ts) or to know what replicates it.

import { createServer, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { StoreBuffers } from '../swarm/layout.ts'
import { Store } from '../swarm/store.ts'
import type { ProducerBuffers } from '../threads/producer.ts'
import { Control, monotonicMs } from '../threads/state.ts'
import { parseAddress, TrustedNetworks } from './address.ts'
import { Connection, type ConnectionOwner } from './connection.ts'
import { httpCounts } from './counters.ts'
import { answerFault, type GeneralOptions, handleRequest } from './general.ts'
import { HttpOpenError } from './open-error.ts'
import type { PageSources } from './pages.ts'
import { MAX_PLAIN_BYTES, PlainRequest } from './plain.ts'
import { HttpTracker } from './tracker.ts'

/** Milliseconds a new connection may stay silent, and a request may take to arrive. */
const FIRST_REQUEST_MS = 10_000
/** Milliseconds a connection may stay silent between requests. */
const KEEP_ALIVE_MS = 60_000
/** How often waiting requests are looked at, milliseconds. */
const SWEEP_MS = 50
/** Longest sleep on the outcome ring, milliseconds: a lost wake-up costs no more. */
const SLEEP_MS = 1000

export type HttpOptions = PageSources & {
  /** Addresses to listen on. */
  readonly hosts: readonly string[]
  /** TCP port; 0: any free one, the same on all hosts. */
  readonly port: number
  readonly store: StoreBuffers
  readonly control: SharedArrayBuffer
  readonly producer: ProducerBuffers
  /** Longest wait for a leader or an outcome, milliseconds. */
  readonly parkForMs: number
  /** Requests that may wait for a leader at once. */
  readonly maxWaiting: number
  readonly maxConnections: number
  /** `min interval` of the answers where the interval is longer, seconds; 0: none. */
  readonly minIntervalSeconds: number
  readonly fullScrape: boolean
  /** Networks whose word about a client's address is believed: addresses or CIDR blocks. */
  readonly trustedProxies: readonly string[]
  readonly onError?: (error: unknown) => void
}

export type HttpFrontEnd = {
  readonly port: number
  /** The hosts really listened on: an address family that the machine lacks is left out. */
  readonly hosts: readonly string[]
  counters(): Record<string, number>
  /** Takes nothing new, answers what waits (at most `parkForMs`), closes every connection. */
  stop(): Promise<void>
  /** Resolves if a listening socket fails after the start. */
  readonly failed: Promise<Error>
}

export async function startHttp(options: HttpOptions): Promise<HttpFrontEnd> {
  const front = new FrontEnd(options)
  await front.listen()
  return front
}

class FrontEnd implements HttpFrontEnd, ConnectionOwner {
  port = 0
  hosts: string[] = []
  readonly tracker: HttpTracker
  readonly networks: TrustedNetworks
  readonly plain = new PlainRequest()
  readonly failed: Promise<Error>
  readonly counts = httpCounts()
  private readonly options: HttpOptions
  private readonly control: Control
  private readonly general: GeneralOptions
  private readonly servers: Server[] = []
  private readonly connections = new Set<Connection>()
  /** Sockets at the general server. */
  private readonly sockets = new Set<Socket>()
  /** The general server's own listener for connections, of the first host. */
  private take: ((socket: Socket) => void) | undefined
  private fail!: (error: Error) => void
  private sweeper: NodeJS.Timeout | undefined
  private sweptMs = 0
  private flushing = false
  private asleep = false
  private stopped = false

  constructor(options: HttpOptions) {
    this.options = options
    this.control = new Control(options.control)
    this.networks = new TrustedNetworks(options.trustedProxies)
    this.failed = new Promise((resolve) => {
      this.fail = resolve
    })
    this.tracker = new HttpTracker({
      ...options,
      store: new Store(options.store),
      control: this.control,
      counts: this.counts,
      seed: (Math.random() * 2 ** 31) | 1,
    })
    const onError = options.onError ?? (() => {})
    const { tracker, networks, counts } = this
    this.general = { tracker, networks, counts, pages: options, worked: () => this.worked(), onError }
  }

  async listen(): Promise<void> {
    const { hosts } = this.options
    this.port = this.options.port
    for (const host of hosts) {
      try {
        await this.listenOn(host, host === '::' && hosts.includes('0.0.0.0'))
        this.hosts.push(host)
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code ?? 'unknown'
        const familyMissing =
          host === '::' && hosts.length > 1 && ['EAFNOSUPPORT', 'EADDRNOTAVAIL'].includes(code)
        if (familyMissing) continue
        for (const server of this.servers) server.close()
        throw new HttpOpenError(code, host, this.port)
      }
    }
    this.sweeper = setInterval(() => this.sweep(), SWEEP_MS)
  }

  private async listenOn(host: string, ipv6Only: boolean): Promise<void> {
    const server = createServer({
      maxHeaderSize: MAX_PLAIN_BYTES,
      headersTimeout: FIRST_REQUEST_MS,
      requestTimeout: FIRST_REQUEST_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: 1000,
      noDelay: true,
    })
    server.on('request', (request, response) => handleRequest(request, response, this.general))
    server.on('clientError', (error, socket) => answerFault(error, socket, this.counts))
    // The general server's own listener gets only those connections that are not plain tracker clients.
    const [take] = server.listeners('connection') as [(this: Server, socket: Socket) => void]
    server.removeAllListeners('connection')
    server.on('connection', (socket: Socket) => this.connected(socket))
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host, port: this.port, ipv6Only, backlog: 4096 }, () => {
        server.off('error', reject)
        resolve()
      })
    })
    server.on('error', (error) => this.fail(error))
    this.take ??= take.bind(server)
    this.servers.push(server)
    this.port = (server.address() as AddressInfo).port
  }

  private connected(socket: Socket): void {
    const remote = socket.remoteAddress
    const trusted = remote !== undefined && this.networks.has(remote)
    const asker = remote === undefined ? null : parseAddress(remote)
    const full = this.connections.size + this.sockets.size >= this.options.maxConnections
    if (asker === null || full || this.stopped) {
      if (full) this.counts.connectionsRefused++
      socket.on('error', () => {})
      socket.destroy()
      return
    }
    this.counts.connections++
    this.connections.add(new Connection(socket, asker, trusted, this, monotonicMs()))
  }

  left(connection: Connection): void {
    this.connections.delete(connection)
  }

  handOver(socket: Socket): void {
    this.counts.general++
    this.sockets.add(socket)
    socket.once('close', () => this.sockets.delete(socket))
    this.take!(socket)
  }

  /** Once an event loop turn with requests: publishes its changes together, then waits for their outcomes. */
  worked(): void {
    if (this.flushing || !this.tracker.pending.unpublished) return
    this.flushing = true
    setImmediate(this.flush)
  }

  private readonly flush = (): void => {
    this.flushing = false
    this.tracker.pending.publish(this.control)
    this.await()
  }

  private await(): void {
    if (this.asleep || this.tracker.pending.size === 0) return
    this.asleep = true
    const wait = this.tracker.pending.sleep()
      ? Atomics.waitAsync(this.tracker.pending.sleepWords, 32, 1, SLEEP_MS)
      : null
    if (wait?.async) wait.value.then(this.wake)
    else setImmediate(this.wake)
  }

  private readonly wake = (): void => {
    this.asleep = false
    this.tracker.drain()
    if (this.tracker.hasRetries) {
      this.asleep = true
      setImmediate(this.wake)
    } else this.await()
    this.worked()
  }

  private sweep(): void {
    const now = monotonicMs()
    this.tracker.sweep(now)
    this.worked()
    if (now - this.sweptMs < 1000) return
    this.sweptMs = now
    for (const connection of this.connections) {
      if (connection.busy) continue
      if (now - connection.activeMs < (connection.served ? KEEP_ALIVE_MS : FIRST_REQUEST_MS)) continue
      this.counts.connectionsTimedOut++
      connection.close()
    }
  }

  counters(): Record<string, number> {
    return {
      ...this.counts,
      connectionsNow: this.connections.size + this.sockets.size,
      parkedNow: this.tracker.pending.size,
      waitingNow: this.tracker.waitingNow,
    }
  }

  async stop(): Promise<void> {
    if (this.stopped) return
    this.stopped = true
    this.tracker.stop()
    this.tracker.sweep(monotonicMs())
    this.tracker.pending.publish(this.control)
    const closed = this.servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())))
    const until = monotonicMs() + this.options.parkForMs + 4 * SWEEP_MS
    while (this.tracker.pending.size > 0 && monotonicMs() < until)
      await new Promise((resolve) => setTimeout(resolve, SWEEP_MS / 5))
    clearInterval(this.sweeper)
    await this.closeConnections()
    await Promise.all(closed)
  }

  /** Gives answers just written a turn to leave, then closes everything. */
  private async closeConnections(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    for (const connection of this.connections) connection.close()
    for (const socket of this.sockets) socket.destroy()
  }
}
