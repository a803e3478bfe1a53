// What a load asks: draws requests from the mix, writes them, sends them in batches, keeps connection IDs
// fresh. Refuses: answers, clocks (the time is an argument); see generator.ts.

import { CONNECTING, InFlight, JOINING, LOADING, REFRESHING, SCRAPE_HASHES, SCRAPING } from './in-flight.ts'
import { type Homes, isSeeder, type Model, peersBySocket, pickTorrent, socketOf } from './model.ts'
import { type Random, seeded } from './random.ts'
import { type Announce, writeAnnounce, writeConnect, writeScrape, writeScrapeHash } from './requests.ts'
import type { LoadSockets } from './sockets.ts'
import type { Swarms } from './verify.ts'

/** What is asked for while measuring. */
export type Work = {
  /** Shares of announces, scrapes, connects. */
  readonly mix: readonly [number, number, number]
  /** Of a thousand announces so many are the first of a new peer; the others refresh a loaded one. */
  readonly joinsPermille: number
  readonly numwant: number
  /** Requests outstanding a source; with a rate: the most that may be. */
  readonly window: number
  /** Requests a second over all sources; 0: as fast as the window lets. */
  readonly rate: number
  /** With a rate, requests leave in groups of this many. */
  readonly burst: number
  /** An answer after this is a loss. */
  readonly timeoutMs: number
  readonly verify: boolean
}

/** BEP 15: a client may use a connection ID for one minute. */
const ID_LIFE_MS = 60_000
/** Until an unanswered renewal is sent again. */
const ID_RETRY_MS = 500
/** Requests that may wait for an answer, a source: the largest window. */
const IN_FLIGHT_A_SOURCE = 1024
const EVENT_NONE = 0
const EVENT_STARTED = 2

export class Asks {
  readonly flights: InFlight
  /** Peers to ask for in announces. */
  want = 0
  sent = 0
  private readonly io: LoadSockets
  private readonly model: Model
  private readonly homes: Homes
  private readonly swarms: Swarms
  private readonly lists: Uint32Array[]
  private readonly random: Random
  private readonly idHigh: Int32Array
  private readonly idLow: Int32Array
  private readonly idAt: Float64Array
  private readonly lengths: Int32Array
  private readonly slotOf: Int32Array
  private readonly segmentSlot: Int32Array
  private readonly ask: Announce
  private readonly cursor: Uint32Array
  /** Peers whose first announce got lost, by socket. */
  private readonly again: number[][]
  /** Joins drawn for a socket that was not at turn: torrent and rank in turn. */
  private readonly waitingJoins: number[][]

  constructor(io: LoadSockets, swarms: Swarms, homes: Homes, seed: number, lists?: Uint32Array[]) {
    this.io = io
    this.model = swarms.model
    this.homes = homes
    this.swarms = swarms
    this.random = seeded(seed ^ 0x6a09e667)
    this.flights = new InFlight(io.count * IN_FLIGHT_A_SOURCE, io.count, this.random.next())
    this.lists = lists ?? peersBySocket(swarms.model, homes)
    this.idHigh = new Int32Array(io.count)
    this.idLow = new Int32Array(io.count)
    this.idAt = new Float64Array(io.count).fill(-ID_LIFE_MS)
    this.lengths = new Int32Array(io.slotsMost)
    this.slotOf = new Int32Array(io.slotsMost)
    this.segmentSlot = new Int32Array(io.segmentsMost)
    this.cursor = new Uint32Array(io.count)
    this.again = Array.from({ length: io.count }, () => [])
    this.waitingJoins = Array.from({ length: io.count }, () => [])
    this.ask = { transaction: 0, torrent: 0, rank: 0, event: 0, want: 0, idHigh: 0, idLow: 0 }
  }

  /** Sources without a connection ID that may still be used. */
  unconnected(now: number): number {
    return this.idAt.reduce((sum, at) => sum + (now - at >= ID_LIFE_MS ? 1 : 0), 0)
  }

  /** Asks for the IDs that are missing. */
  connectMissing(now: number): void {
    for (let k = 0; k < this.io.count; k++) if (now - this.idAt[k]! >= ID_LIFE_MS) this.sendConnect(k, now)
  }

  adopt(k: number, high: number, low: number, now: number): void {
    this.idHigh[k] = high
    this.idLow[k] = low
    this.idAt[k] = now
  }

  /** The tracker refused this source's ID: the next send asks for another first. */
  forgetId(k: number, now: number): void {
    this.idAt[k] = now - ID_LIFE_MS * 2
  }

  /** A first announce of the population was not answered. */
  loadAgain(slot: number): void {
    const { flights } = this
    if (flights.kind[slot] === LOADING)
      this.again[flights.socket[slot]!]!.push(this.model.start[flights.torrent[slot]!]! + flights.rank[slot]!)
  }

  forgetLoading(): void {
    this.cursor.fill(0)
    for (const list of this.again) list.length = 0
  }

  /**
   * One announce of a leecher of the largest swarm (seeders are rightly given leechers first); returns its
   * slot.
   */
  askLargest(now: number): number {
    const { shape, largest, start } = this.model
    const size = start[largest + 1]! - start[largest]!
    let rank = 0
    while (rank < size - 1 && isSeeder(shape, largest, rank)) rank++
    const k = socketOf(this.homes, largest, rank)
    const slot = this.takeAnnounce(REFRESHING, k, largest, rank, now)
    this.writeAnnounceAt(this.io.slots, 0, slot, EVENT_NONE)
    this.lengths[0] = 98
    this.io.sendSlots(k, 1, this.lengths)
    return slot
  }

  /** `count` requests of the mix from socket k. */
  sendMix(k: number, work: Work, count: number, now: number): void {
    if (now - this.idAt[k]! > ID_LIFE_MS) {
      this.sendConnect(k, now)
      this.idAt[k] = now - ID_LIFE_MS + ID_RETRY_MS
    }
    const [announces, scrapes, connects] = work.mix
    const total = announces + scrapes + connects
    const { flights, io, random } = this
    let segments = 0
    let others = 0
    for (let i = 0; i < count && flights.room > 0; i++) {
      const drawn = random.below(total)
      if (drawn < announces) {
        const join = work.joinsPermille > 0 && random.below(1000) < work.joinsPermille
        const slot = join ? this.takeJoin(k, now) : this.takeRefresh(k, now)
        if (slot < 0) continue
        this.writeAnnounceAt(io.segments, segments * 98, slot, join ? EVENT_STARTED : EVENT_NONE)
        this.segmentSlot[segments++] = slot
        if (segments === io.segmentsMost) segments = this.flushSegments(k, segments)
      } else if (others < io.slotsMost) {
        this.slotOf[others] =
          drawn < announces + scrapes
            ? this.writeScrapeAt(k, others, now)
            : this.writeConnectAt(k, others, now)
        others++
      }
    }
    this.flushSegments(k, segments)
    this.flushSlots(k, others)
  }

  /**
   * A torrent by the skew, and its next rank; a rank whose home is another socket waits there for its turn.
   */
  private takeJoin(k: number, now: number): number {
    const { shape } = this.model
    const mine = this.waitingJoins[k]!
    while (mine.length === 0) {
      const torrent = pickTorrent(this.random.unit(), shape.torrents, shape.skew)
      const rank = this.swarms.join(torrent)
      this.waitingJoins[socketOf(this.homes, torrent, rank)]!.push(torrent, rank)
    }
    const rank = mine.pop()!
    const torrent = mine.pop()!
    return this.takeAnnounce(JOINING, k, torrent, rank, now)
  }

  private takeRefresh(k: number, now: number): number {
    const list = this.lists[k]!
    if (list.length === 0) return -1
    const p = list[this.random.below(list.length)]!
    const torrent = this.model.torrentOf[p]!
    return this.takeAnnounce(REFRESHING, k, torrent, p - this.model.start[torrent]!, now)
  }

  private takeAnnounce(kind: number, k: number, torrent: number, rank: number, now: number): number {
    const slot = this.flights.take(kind, k, torrent, rank, now)
    this.flights.low[slot] = this.swarms.known[torrent]!
    this.flights.lowSeeders[slot] = this.swarms.knownSeeders[torrent]!
    return slot
  }

  /** The next peers of the population from socket k, lost ones last. */
  sendLoading(k: number, window: number, now: number): void {
    const { flights, io, model, cursor } = this
    const list = this.lists[k]!
    const again = this.again[k]!
    const room = Math.min(io.segmentsMost, window - flights.bySocket[k]!)
    if (room < Math.min(window >> 1, 16) && flights.bySocket[k]! > 0) return
    let segments = 0
    while (segments < room) {
      const p = cursor[k]! < list.length ? list[cursor[k]!++] : again.pop()
      if (p === undefined) break
      const torrent = model.torrentOf[p]!
      const slot = flights.take(LOADING, k, torrent, p - model.start[torrent]!, now)
      this.writeAnnounceAt(io.segments, segments * 98, slot, EVENT_STARTED)
      this.segmentSlot[segments++] = slot
    }
    this.flushSegments(k, segments)
  }

  private sendConnect(k: number, now: number): void {
    this.slotOf[0] = this.writeConnectAt(k, 0, now)
    this.flushSlots(k, 1)
  }

  private writeAnnounceAt(out: Uint8Array, at: number, slot: number, event: number): void {
    const { ask, flights } = this
    const k = flights.socket[slot]!
    ask.transaction = flights.transaction[slot]!
    ask.torrent = flights.torrent[slot]!
    ask.rank = flights.rank[slot]!
    ask.event = event
    ask.want = this.want
    ask.idHigh = this.idHigh[k]!
    ask.idLow = this.idLow[k]!
    writeAnnounce(out, at, this.model, this.homes, ask)
  }

  private writeScrapeAt(k: number, index: number, now: number): number {
    const { flights, io, random, model } = this
    const hashes = 1 + random.below(SCRAPE_HASHES)
    const slot = flights.take(SCRAPING, k, -1, hashes, now)
    const at = index * io.slotBytes
    writeScrape(io.slots, at, flights.transaction[slot]!, this.idHigh[k]!, this.idLow[k]!)
    for (let i = 0; i < hashes; i++) {
      const torrent = random.below(model.shape.torrents)
      flights.scraped[slot * SCRAPE_HASHES + i] = torrent
      writeScrapeHash(io.slots, at, i, model, torrent)
    }
    this.lengths[index] = 16 + 20 * hashes
    return slot
  }

  private writeConnectAt(k: number, index: number, now: number): number {
    const slot = this.flights.take(CONNECTING, k, -1, 0, now)
    writeConnect(this.io.slots, index * this.io.slotBytes, this.flights.transaction[slot]!)
    this.lengths[index] = 16
    return slot
  }

  private flushSegments(k: number, count: number): number {
    if (count === 0) return 0
    const left = this.io.sendSegments(k, count, 98)
    this.sent += left
    for (let i = left; i < count; i++) this.unsent(this.segmentSlot[i]!)
    return 0
  }

  private flushSlots(k: number, count: number): void {
    if (count === 0) return
    const left = this.io.sendSlots(k, count, this.lengths)
    this.sent += left
    for (let i = left; i < count; i++) this.unsent(this.slotOf[i]!)
  }

  /**
   * The system did not take it (its buffer is full, or nobody listens there): as if never drawn, joins go
   * again.
   */
  private unsent(slot: number): void {
    const { flights } = this
    const k = flights.socket[slot]!
    this.loadAgain(slot)
    if (flights.kind[slot] === JOINING)
      this.waitingJoins[k]!.push(flights.torrent[slot]!, flights.rank[slot]!)
    flights.release(slot)
  }
}
