// Clients of a whole cluster, by UDP and HTTP: many sources, each asking any replica, every answer kept with
// its time, however late. Refuses: retransmission, and to forget a request before an answer to it can no
// longer come.

import { createSocket, type Socket } from 'node:dgram'
import { EventEmitter, once } from 'node:events'
import type { Agent } from 'node:http'
import { type AnnounceRequest, decodeAnswer, encodeRequest, type Request } from '@skep/wire/udp-tracker.ts'
import type { Ask, History, Told } from './cluster-history.ts'
import { agentFrom, announceByHttp } from './cluster-http.ts'

/** BEP 15: a client may use a connection ID for a minute. */
const ID_LIFE_MS = 45_000
/** Without an answer for so long a request counts as unanswered: longer than a tracker lets any wait. */
export const ANSWER_MS = 6000
/** Answers may come so late and still be recognised. */
const LATE_MS = 90_000
const SWEEP_MS = 250
const CONNECT_AGAIN_MS = 200
const BUFFER_BYTES = 8 << 20
/** Requests and answers kept for whoever looks into a failure. */
const KEPT = 200_000
const ANSWERED_KEPT = 50_000
/** By BEP 15's number of an event. */
const EVENTS = ['', 'completed', 'started', 'stopped'] as const

export type Place = {
  readonly name: string
  readonly address: string
  readonly port: number
  /** Where it takes announces by HTTP, if it is to be asked so, too. */
  readonly httpPort?: number
  /** Something was being done to it: silence is no news. */
  readonly disturbed: boolean
}
type Flight = {
  ask: Ask | undefined
  place: Place
  sentMs: number
  given: boolean
  /** The answer, or undefined when it counts as unanswered. Absent: a request for a connection ID. */
  fate?: PromiseWithResolvers<Told | undefined>
}
type Source = {
  readonly address: string
  readonly socket: Socket
  readonly agent: Agent
  id: bigint
  idAtMs: number
  askedIdMs: number
}

/** Stands for all replicas together in `heard`. */
export const ANYBODY = 'anybody'
/** What one replica did for clients: for the report. */
export type Heard = { lastMs: number; longestMs: number; answers: number; unanswered: number }

export class ClusterClient {
  readonly history: History
  readonly infoHash: (torrent: number) => Uint8Array
  readonly heard = new Map<string, Heard>()
  private readonly sources: Source[] = []
  private readonly flights = new Map<number, Flight>()
  /** When the last requests were answered, by transaction. */
  private readonly answered = new Map<number, number>()
  private readonly kept: object[] = []
  private readonly answers = new EventEmitter()
  private transaction = 1
  private countedSinceMs = 0
  private sweeper: NodeJS.Timeout | undefined
  private sweptMs = performance.now()

  /**
   * Addresses whose answers count as never come, as for a client whose socket is connected to whom it asked.
   * Behind a NodePort that is a pod's own: when the node forgets the way of a request (its pod is to go), the
   * answer is not translated.
   */
  private readonly stray: (address: string) => boolean
  strays = 0

  constructor(history: History, seed: number, stray: (address: string) => boolean = () => false) {
    this.history = history
    this.stray = stray
    this.infoHash = (torrent) => {
      const bytes = Buffer.alloc(20, 0x5b)
      bytes.writeUInt32BE(seed >>> 0, 0)
      bytes.writeUInt32BE(torrent, 4)
      return new Uint8Array(bytes)
    }
  }

  async open(addresses: readonly string[]): Promise<void> {
    for (const address of addresses) {
      const socket = createSocket('udp4')
      socket.bind(0, address)
      await once(socket, 'listening')
      socket.setRecvBufferSize(BUFFER_BYTES)
      socket.on('error', () => {})
      const agent = agentFrom(address)
      const source: Source = { address, socket, agent, id: 0n, idAtMs: -Infinity, askedIdMs: -Infinity }
      socket.on('message', (bytes, from) => this.take(source, bytes, from.address))
      this.sources.push(source)
    }
    this.sweeper = setInterval(() => this.sweep(), SWEEP_MS)
  }

  close(): void {
    clearInterval(this.sweeper)
    for (const { socket, agent } of this.sources) {
      socket.close()
      agent.destroy()
    }
  }

  get addresses(): readonly string[] {
    return this.sources.map(({ address }) => address)
  }

  outstanding(): number {
    let waiting = 0
    for (const { given, ask } of this.flights.values()) if (!given && ask !== undefined) waiting++
    return waiting
  }

  /** Sends; resolves to the answer, or undefined when none came in time or there is no connection ID yet. */
  ask(make: (sentMs: number) => Ask, place: Place, address: string): Promise<Told | undefined> {
    const source = this.sources.find((each) => each.address === address)!
    const now = performance.now()
    if (now - source.idAtMs > ID_LIFE_MS) {
      this.connect(source, place, now)
      if (now - source.idAtMs > ID_LIFE_MS * 1.3) return Promise.resolve(undefined)
    }
    const ask = make(now)
    this.history.asked(ask)
    const number = this.take31()
    const fate = Promise.withResolvers<Told | undefined>()
    this.flights.set(number, { ask, place, sentMs: now, given: false, fate })
    source.socket.send(encodeRequest(this.requestOf(ask, source.id, number)), place.port, place.address)
    return fate.promise
  }

  /** The same by HTTP, for an announce; also undefined when it was answered that nobody knows. */
  askByHttp(make: (sentMs: number) => Ask, place: Place, address: string): Promise<Told | undefined> {
    const { agent } = this.sources.find((each) => each.address === address)!
    const now = performance.now()
    const ask = make(now)
    this.history.asked(ask)
    const number = this.take31()
    const fate = Promise.withResolvers<Told | undefined>()
    const flight: Flight = { ask, place, sentMs: now, given: false, fate }
    this.flights.set(number, flight)
    const { numWant, event, left, ...request } = this.requestOf(ask, 0n, number) as AnnounceRequest
    const query = { ...request, left, numwant: numWant, event: EVENTS[event]! }
    const to = { address: place.address, httpPort: place.httpPort! }
    void announceByHttp(agent, to, query, 2 * ANSWER_MS).then((told) => {
      if (!this.flights.delete(number)) return
      if (told !== undefined) return this.settle(flight, told, performance.now())
      if (!flight.given) this.giveUp(flight, performance.now())
    })
    return fate.promise
  }

  /** Begins a new count of silences and requests without answers. */
  resetHeard(): void {
    const now = performance.now()
    this.countedSinceMs = now
    for (const one of this.heard.values())
      Object.assign(one, { lastMs: now, longestMs: 0, answers: 0, unanswered: 0 })
  }

  /** Until all that these replicas were asked before has been answered or counts as unanswered. */
  async settled(names: readonly string[]): Promise<void> {
    const asked = [...this.flights.values()].filter(({ place }) => names.includes(place.name))
    await Promise.all(asked.map(({ fate }) => fate?.promise))
  }

  /** Until so many more were acknowledged, by whomever. Rejects when that takes longer than `mostMs`. */
  async acknowledged(more: number, mostMs: number): Promise<void> {
    const goal = this.history.acknowledged + more
    const signal = AbortSignal.timeout(mostMs)
    while (this.history.acknowledged < goal)
      await once(this.answers, 'answer', { signal }).catch(() => {
        throw new Error(
          `${goal - this.history.acknowledged} of ${more} were not acknowledged in ${mostMs / 1000} s`,
        )
      })
  }

  /** The next request of each source asks for a connection ID first. */
  forgetIds(): void {
    for (const source of this.sources) source.idAtMs = source.askedIdMs = -Infinity
  }

  /** Begins a new count of how long our own event loop was away. */
  resetLag(): void {
    this.history.lagMs = 0
  }

  heardOf(name: string): Heard {
    let one = this.heard.get(name)
    if (one === undefined)
      this.heard.set(name, (one = { lastMs: performance.now(), longestMs: 0, answers: 0, unanswered: 0 }))
    return one
  }

  /** The last requests and answers, a line of JSON each. */
  lines(): string {
    const plain = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value)
    return this.kept.map((one) => JSON.stringify(one, plain)).join('\n')
  }

  note(what: object): void {
    this.kept.push({ atMs: Math.round(performance.now() * 10) / 10, ...what })
    if (this.kept.length > KEPT) this.kept.splice(0, KEPT / 4)
  }

  private take31(): number {
    this.transaction = (this.transaction + 1) & 0x7fffffff
    return this.transaction
  }

  /** Connection IDs belong to the cluster: one from anybody is good everywhere. */
  private connect(source: Source, place: Place, now: number): void {
    if (now - source.askedIdMs < CONNECT_AGAIN_MS) return
    source.askedIdMs = now
    const number = this.take31()
    this.flights.set(number, { ask: undefined, place, sentMs: now, given: false })
    source.socket.send(encodeRequest({ kind: 'connect', transactionId: number }), place.port, place.address)
  }

  private requestOf(ask: Ask, connectionId: bigint, transactionId: number): Request {
    if (ask.kind === 'scrape') {
      const infoHashes = ask.torrents.map(this.infoHash)
      return { kind: 'scrape', connectionId, transactionId, infoHashes }
    }
    const peer = ask.peer!
    const peerId = Buffer.alloc(20, 0x2d)
    peerId.writeUInt32BE(peer.torrent, 8)
    peerId.writeUInt32BE(peer.port, 12)
    const left = peer.seeder ? 0n : 1000n
    return {
      ...{ kind: 'announce', connectionId, transactionId, infoHash: this.infoHash(peer.torrent) },
      ...{ peerId: new Uint8Array(peerId), downloaded: 0n, left, uploaded: 0n, event: ask.event, ip: 0 },
      ...{ key: peer.torrent * 65536 + peer.port, numWant: ask.numWant, port: peer.port },
      urlData: new Uint8Array(0),
    }
  }

  private take(source: Source, bytes: Buffer, from: string): void {
    if (this.stray(from)) {
      this.strays++
      return
    }
    const now = performance.now()
    const answer = decodeAnswer(bytes, 4)
    if (answer.kind === 'refused') {
      this.history.fail(`${from} sent ${bytes.length} bytes that are no answer: ${answer.reason}`)
      return
    }
    const flight = this.flights.get(answer.transactionId >>> 0)
    if (flight === undefined) {
      const before = this.answered.get(answer.transactionId >>> 0)
      const how =
        before === undefined ? 'what nobody asked' : `twice, first ${(now - before).toFixed(0)} ms ago`
      this.note({ from, unexpected: answer, how })
      this.history.fail(`${from} answered ${how}: ${answer.kind}`)
      return
    }
    this.answered.set(answer.transactionId >>> 0, now)
    if (this.answered.size > ANSWERED_KEPT) this.answered.delete(this.answered.keys().next().value!)
    const { ask, place } = flight
    this.flights.delete(answer.transactionId >>> 0)
    if (from !== place.address) this.history.fail(`${from} answered what ${place.name} was asked`)
    if (ask === undefined) {
      // A connect needs no lease: who is cut off may answer it, and who answers only that is silent.
      if (answer.kind !== 'connect') return
      source.id = answer.connectionId
      source.idAtMs = now
      return
    }
    if (answer.kind !== ask.kind && answer.kind !== 'error') {
      this.history.fail(`${place.name} answered a ${ask.kind} with a ${answer.kind}`)
      flight.fate?.resolve(undefined)
      return
    }
    const told: Told =
      answer.kind === 'announce'
        ? { kind: 'announce', counts: answer, peers: answer.peers }
        : (answer as Exclude<Told, { kind: 'announce' }>)
    this.settle(flight, told, now)
  }

  private settle({ ask, place, given, fate }: Flight, told: Told, now: number): void {
    for (const one of [this.heardOf(place.name), this.heardOf(ANYBODY)]) {
      one.longestMs = Math.max(one.longestMs, now - one.lastMs)
      one.lastMs = now
      one.answers++
    }
    this.record(ask!, told, now, given)
    this.history.answered(ask!, told, now, given)
    fate?.resolve(told)
    this.answers.emit('answer')
  }

  /** No answer that says anything. */
  private giveUp(flight: Flight, now: number): void {
    flight.given = true
    if (flight.ask !== undefined) {
      this.record(flight.ask, undefined, now, false)
      this.history.unanswered(flight.ask)
    }
    flight.fate?.resolve(undefined)
  }

  private record(ask: Ask, told: Told | undefined, now: number, late: boolean): void {
    const { kind, replica, torrents, peer, event, sentMs } = ask
    const who = peer === undefined ? {} : { peer: peer.port, event }
    const counts = told === undefined || told.kind === 'error' ? told : told.counts
    const ms = Math.round((now - sentMs) * 10) / 10
    this.note({ kind, replica, torrents, ...who, sentMs: Math.round(sentMs * 10) / 10, ms, late, counts })
  }

  private sweep(): void {
    const now = performance.now()
    this.history.lagMs = Math.max(this.history.lagMs, now - this.sweptMs - SWEEP_MS)
    this.sweptMs = now
    for (const [number, flight] of this.flights) {
      if (now - flight.sentMs < ANSWER_MS) break
      if (!flight.given) {
        this.giveUp(flight, now)
        if (flight.ask !== undefined && flight.sentMs > this.countedSinceMs && !flight.place.disturbed)
          for (const name of [flight.place.name, ANYBODY]) this.heardOf(name).unanswered++
      }
      if (now - flight.sentMs > LATE_MS) this.flights.delete(number)
    }
  }
}
