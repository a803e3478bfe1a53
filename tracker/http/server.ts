// The HTTP front end's shell: takes connections, gives each its turn, waits for outcomes, sweeps, stops.
// Refuses: to decide anything about an announce (tracker.ts) or to know what replicates it.

import type { Socket } from 'node:net'
import type { StoreBuffers } from '../swarm/layout.ts'
import { Store } from '../swarm/store.ts'
import type { ProducerBuffers } from '../threads/producer.ts'
import { Control, monotonicMs } from '../threads/state.ts'
import { type Asker, parseAddress, TrustedNetworks } from './address.ts'
import { type CallAnswer, type CallRequest, Calls, faultAnswer } from './calls.ts'
import { Connection, type ConnectionOwner, type GeneralAnswer, type Turner } from './connection.ts'
import { httpCounts } from './counters.ts'
import { answerGeneral, type GeneralOptions } from './general.ts'
import type { Head } from './head.ts'
import { Listeners } from './listeners.ts'
import type { PageSources } from './pages.ts'
import type { Waiter } from './pending.ts'
import { PlainRequest } from './plain.ts'
import { httpResponse, UNAVAILABLE } from './reply.ts'
import { Session } from './session.ts'
import { HttpTracker } from './tracker.ts'
import { Places, Turns } from './turns.ts'

/** How often waiting requests are looked at, milliseconds. */
const SWEEP_MS = 50
/** Longest sleep on the outcome ring, milliseconds: a lost wake-up costs no more. */
const SLEEP_MS = 1000
/** Bytes held for all clients together: answers that they do not take, requests that wait for their turn. */
const HELD_BYTES = 64 * 1024 * 1024
/** One address may have one in so many of the connections. */
const ADDRESS_PART = 4
/** But always so many. */
const ADDRESS_LEAST = 16
/** From so many in a hundred of the connections on, those that are silent are ended sooner. */
const SCARCE_PERCENT = 75
/** Connections over the share of their address that may be told so at once; further ones are reset. */
const CROWD_MOST = 64
/** And how long they may take to hear it, milliseconds. */
const CROWD_MS = 1000
/** At a stop, how long HTTP/2 clients may take over the last answers, milliseconds. */
const FAREWELL_MS = 1000

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
  readonly tracker: HttpTracker
  readonly networks: TrustedNetworks
  readonly plain = new PlainRequest()
  readonly turns = new Turns()
  readonly failed: Promise<Error>
  readonly counts = httpCounts()
  private readonly options: HttpOptions
  private readonly control: Control
  private readonly generalOptions: GeneralOptions
  private readonly listeners: Listeners
  private readonly places: Places
  private readonly connections = new Set<Connection | Session>()
  private readonly calls: Calls
  /** Connections that wait for their turn, in order. */
  private queue: Turner[] = []
  private heldBytes = 0
  private crowd = 0
  private fail!: (error: Error) => void
  private sweeper: NodeJS.Timeout | undefined
  private sweptMs = 0
  private turning = false
  private asleep = false
  private stopped = false

  constructor(options: HttpOptions) {
    this.options = options
    this.control = new Control(options.control)
    this.networks = new TrustedNetworks(options.trustedProxies)
    this.places = new Places(Math.max(ADDRESS_LEAST, Math.ceil(options.maxConnections / ADDRESS_PART)))
    this.listeners = new Listeners(options.hosts, options.port, (socket) => this.connected(socket))
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
    this.calls = new Calls(this.tracker, () => this.worked())
    const onError = options.onError ?? (() => {})
    const { tracker, counts } = this
    const pages = {
      ...options,
      stats: once(async () => options.stats()),
      metricsText: once(options.metricsText),
    }
    this.generalOptions = { tracker, counts, pages, onError }
  }

  get port(): number {
    return this.listeners.port
  }

  get hosts(): readonly string[] {
    return this.listeners.hosts
  }

  async listen(): Promise<void> {
    await this.calls.warmUp()
    await this.listeners.open((error) => this.fail(error))
    this.sweeper = setInterval(() => this.sweep(), SWEEP_MS)
  }

  private connected(socket: Socket): void {
    const remote = socket.remoteAddress
    const trusted = remote !== undefined && this.networks.has(remote)
    const asker = remote === undefined ? null : parseAddress(remote)
    if (asker === null || this.stopped) {
      socket.on('error', () => {})
      socket.destroy()
      return
    }
    const place = this.places.of(asker, trusted)
    if (place.open >= place.most) {
      this.turnAway(socket)
      return
    }
    this.counts.connections++
    this.places.enter(place, asker)
    this.connections.add(new Connection(socket, asker, trusted, place, this, monotonicMs()))
    // What has come already is taken first: closing the listener would reset it.
    if (this.connections.size >= this.options.maxConnections) setImmediate(this.refuseMore)
  }

  private readonly refuseMore = (): void => {
    if (this.connections.size < this.options.maxConnections || this.stopped) return
    if (this.listeners.suspend()) this.counts.connectionsRefused++
  }

  /** An address has its share: who comes from it too is told that it is busy here. */
  private turnAway(socket: Socket): void {
    this.counts.connectionsCrowded++
    socket.on('error', () => {})
    if (this.crowd >= CROWD_MOST) {
      socket.destroy()
      return
    }
    this.crowd++
    socket.once('close', () => this.crowd--)
    socket.setTimeout(CROWD_MS, () => socket.destroy())
    socket.resume()
    this.tracker.crowded()
    socket.end(httpResponse(UNAVAILABLE, this.tracker.body, true), 'latin1')
  }

  upgrade(connection: Connection, socket: Socket, first: string): void {
    const { asker, place, trusted } = connection
    this.connections.delete(connection)
    this.counts.sessions++
    this.connections.add(new Session(socket, first, asker, trusted, place, this, monotonicMs()))
  }

  async call(request: CallRequest): Promise<CallAnswer> {
    this.counts.calls++
    try {
      return await this.calls.answer(request)
    } catch (error) {
      this.generalOptions.onError(error)
      return faultAnswer(500, 'internal', 'this call could not be answered; the log says why')
    }
  }

  leanCall(): void {
    this.counts.calls++
  }

  leanWaits(more: number): void {
    this.calls.now += more
  }

  left(connection: Connection | Session): void {
    this.connections.delete(connection)
    this.places.leave(connection.place, connection.asker)
    this.takeMore()
  }

  /** With some room to spare, so that the listener does not come and go with each connection. */
  private takeMore(): void {
    if (!this.listeners.suspended) return
    const { maxConnections } = this.options
    const spare = Math.max(1, maxConnections >> 6)
    if (!this.stopped && this.connections.size <= maxConnections - spare) void this.listeners.resume()
  }

  general(head: Head, asker: Asker | null, waiter: Waiter, nowMs: number): GeneralAnswer {
    return answerGeneral(head, asker, waiter, nowMs, this.generalOptions)
  }

  hold(bytes: number): boolean {
    this.heldBytes += bytes
    return this.heldBytes <= HELD_BYTES
  }

  later(turner: Turner): void {
    this.queue.push(turner)
  }

  /** Once an event loop turn with requests. */
  worked(): void {
    if (this.turning) return
    this.turning = true
    setImmediate(this.endTurn)
  }

  /** Publishes the turn's changes together, then waits for their outcomes; who had no room has it now. */
  private readonly endTurn = (): void => {
    this.turning = false
    this.turns.next()
    if (this.queue.length > 0) {
      const queue = this.queue
      this.queue = []
      let next = 0
      while (next < queue.length && this.turns.room) queue[next++]!.turn()
      this.queue = queue.slice(next).concat(this.queue)
      this.worked()
    }
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
    if (this.tracker.pending.unpublished) this.worked()
  }

  private sweep(): void {
    const now = monotonicMs()
    this.tracker.sweep(now)
    if (this.tracker.pending.unpublished) this.worked()
    if (now - this.sweptMs < 1000) return
    this.sweptMs = now
    const scarce = this.connections.size * 100 > this.options.maxConnections * SCARCE_PERCENT
    for (const connection of this.connections) connection.sweep(now, scarce)
    this.takeMore()
  }

  counters(): Record<string, number> {
    return {
      ...this.counts,
      connectionsNow: this.connections.size,
      callsNow: this.calls.now,
      parkedNow: this.tracker.pending.size,
      waitingNow: this.tracker.waitingNow,
    }
  }

  async stop(): Promise<void> {
    if (this.stopped) return
    this.stopped = true
    this.listeners.suspend()
    this.tracker.stop()
    this.tracker.sweep(monotonicMs())
    this.tracker.pending.publish(this.control)
    const until = monotonicMs() + this.options.parkForMs + 4 * SWEEP_MS
    while ((this.tracker.pending.size > 0 || this.calls.now > 0) && monotonicMs() < until)
      await new Promise((resolve) => setTimeout(resolve, SWEEP_MS / 5))
    clearInterval(this.sweeper)
    // Answers just written get a turn to leave.
    await new Promise((resolve) => setImmediate(resolve))
    for (const connection of this.connections) connection.farewell()
    const leaving = monotonicMs() + FAREWELL_MS
    while ([...this.connections].some((each) => each instanceof Session) && monotonicMs() < leaving)
      await new Promise((resolve) => setTimeout(resolve, SWEEP_MS / 5))
    for (const connection of this.connections) connection.close()
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Whoever asks while it is being made gets the same: a page is made once, however many want it. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let making: Promise<T> | null = null
  return () => {
    making ??= make().finally(() => {
      making = null
    })
    return making
  }
}
