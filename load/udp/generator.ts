// One load against one tracker: asks, matches answers to requests, verifies them, measures. Closed loop (so
// many requests outstanding a source) or a fixed rate. Refuses: to guess; what it cannot verify it counts as
// a fault.
//
// It spins while it works: a generator that sleeps measures its own wake-ups.

import { performance } from 'node:perf_hooks'
import { ANNOUNCE, CONNECT, ERROR, SCRAPE } from '@skep/wire/udp-tracker.ts'
import { Asks, type Work } from './asks.ts'
import { CONNECTING, type InFlight, JOINING, LOADING, SCRAPE_HASHES, SCRAPING } from './in-flight.ts'
import { Latency } from './latency.ts'
import type { Homes, Model } from './model.ts'
import type { LoadSockets } from './sockets.ts'
import { read32, Swarms, Verifier } from './verify.ts'

export type Counts = {
  sent: number
  lost: number
  /** Fixed rate only: requests that could not leave because the window was full. */
  heldBack: number
  announces: number
  joins: number
  scrapes: number
  connects: number
  errors: number
  peers: number
  bytes: number
}

const newCounts = (): Counts => ({
  sent: 0,
  lost: 0,
  heldBack: 0,
  announces: 0,
  joins: 0,
  scrapes: 0,
  connects: 0,
  errors: 0,
  peers: 0,
  bytes: 0,
})

/** Between looks at losses and the event loop. */
const SLICE_MS = 40
/** Between connects to a tracker that does not answer yet. */
const CONNECT_AGAIN_MS = 200

export class Generator {
  readonly model: Model
  readonly swarms: Swarms
  readonly verifier: Verifier
  readonly latency = new Latency()
  counts = newCounts()
  /** First texts of error answers, for the report. */
  readonly errorTexts = new Map<string, number>()
  private readonly io: LoadSockets
  private readonly asks: Asks
  private readonly flights: InFlight
  private readonly sliceMs: number
  private due = 0
  private nextSocket = 0
  private swept = 0
  private acknowledged = new Uint8Array(0)

  /**
   * `raw`: addresses of the sources as bytes, one per different address. `loaded`: the tracker knows the
   * population.
   */
  constructor(
    io: LoadSockets,
    model: Model,
    options: {
      homes: Homes
      family: 4 | 6
      raw: readonly Uint8Array[]
      loaded: boolean
      seed: number
      lists?: Uint32Array[]
    },
  ) {
    this.io = io
    this.model = model
    this.swarms = new Swarms(model, options.loaded)
    this.verifier = new Verifier(this.swarms, options.homes, options.family, options.raw)
    this.asks = new Asks(io, this.swarms, options.homes, options.seed, options.lists)
    this.flights = this.asks.flights
    // Without batched calls answers come only when the event loop turns.
    this.sliceMs = io.engine === 'dgram' ? 0 : SLICE_MS
  }

  /** A connection ID for every source, or how many sources got none in the time. */
  async connect(timeoutMs: number): Promise<number> {
    const until = performance.now() + timeoutMs
    let asked = 0
    for (;;) {
      const now = performance.now()
      const missing = this.asks.unconnected(now)
      if (missing === 0 || now > until) return missing
      if (now - asked > CONNECT_AGAIN_MS) {
        asked = now
        this.asks.connectMissing(now)
      }
      for (let k = 0; k < this.io.count; k++) this.receive(k, false)
      this.io.wait(20)
      await turn()
    }
  }

  /** Announces every peer of the population once, until each is answered. Returns how many never were. */
  async preload(work: Work, progress: (done: number) => void, deadlineMs: number): Promise<number> {
    const total = this.model.shape.peers
    this.acknowledged = new Uint8Array(total)
    this.verifier.loading = true
    this.asks.want = work.numwant
    const until = performance.now() + deadlineMs
    const left = (): number => total - this.counts.joins
    while (left() > 0 && performance.now() < until) {
      const sliceEnd = performance.now() + this.sliceMs
      do
        for (let k = 0; k < this.io.count; k++) {
          this.asks.sendLoading(k, work.window, performance.now())
          this.receive(k, work.verify)
        }
      while (left() > 0 && performance.now() < sliceEnd)
      this.sweep(work.timeoutMs)
      progress(this.counts.joins)
      await turn()
    }
    const missing = left()
    this.acknowledged = new Uint8Array(0)
    this.verifier.loading = false
    this.asks.forgetLoading()
    if (missing === 0) this.swarms.assumeLoaded()
    this.counts = newCounts()
    return missing
  }

  /** Asks for so long; `each` is called between slices with the time that went by. */
  async run(work: Work, milliseconds: number, each: (elapsedMs: number) => void = () => {}): Promise<number> {
    const begin = performance.now()
    const end = begin + milliseconds
    this.begin(work, begin)
    let now = begin
    while (now < end) {
      const sliceEnd = Math.min(now + this.sliceMs, end)
      do this.round(work, now)
      while ((now = performance.now()) < sliceEnd)
      this.sweep(work.timeoutMs)
      each(now - begin)
      await turn()
    }
    return performance.now() - begin
  }

  /** For who turns several loads in one thread: before the first `round`. */
  begin(work: Work, now: number): void {
    this.due = now
    this.asks.want = work.numwant
  }

  /** Takes answers that still come, so that a later run does not meet them. */
  async drain(work: Work, milliseconds: number): Promise<void> {
    const until = performance.now() + milliseconds
    while (this.outstanding() > 0 && performance.now() < until) {
      for (let k = 0; k < this.io.count; k++) this.receive(k, work.verify)
      await turn()
    }
    this.flights.expire(Number.POSITIVE_INFINITY, () => {})
  }

  outstanding(): number {
    return this.flights.bySocket.reduce((sum, n) => sum + n, 0)
  }

  reset(): void {
    this.counts = newCounts()
    this.asks.sent = 0
    this.latency.clear()
  }

  close(): void {
    this.io.close()
  }

  /**
   * How evenly a tracker picks: distinct peers over many answers of the largest swarm / what chance would
   * give.
   */
  async diversity(answers: number, numwant: number): Promise<number> {
    const t = this.model.largest
    const seen = new Set<number>()
    let shown = 0
    const first = this.model.start[t]!
    this.asks.want = numwant
    for (let i = 0; i < answers; i++) {
      const now = performance.now()
      const slot = this.asks.askLargest(now)
      const k = this.flights.socket[slot]!
      // Answers that come late, to questions asked before, are passed over: the next one may be ours.
      for (let found = false; !found && performance.now() - now < 300; ) {
        const n = Math.max(0, this.io.receive(k))
        for (let j = 0; j < n; j++) {
          const at = j * this.io.inStride
          if (read32(this.io.inBytes, at + 4) !== this.flights.transaction[slot]) continue
          found = true
          const peers = Math.floor((this.io.inLengths[j]! - 20) / this.verifier.peerBytes)
          this.verifier.ranks(this.io.inBytes, at, peers, t, seen)
          shown += peers
        }
        if (n === 0 && this.io.engine === 'dgram') await turn()
      }
      this.flights.release(slot)
    }
    const size = this.model.start[t + 1]! - first
    const expected = size * (1 - Math.exp(-shown / size))
    return expected > 0 ? seen.size / expected : 0
  }

  /** Sends what may leave now, takes what has come. */
  round(work: Work, now: number): void {
    if (work.rate > 0) {
      // What is due leaves in bursts, each from the next source; a late generator sends what it owes, up to
      // 10 ms of it.
      if (now - this.due > 10) this.due = now - 10
      const step = (work.burst * 1000) / work.rate
      while (this.due + step <= now) {
        this.due += step
        const k = this.nextSocket++ % this.io.count
        const room = Math.min(work.burst, work.window - this.flights.bySocket[k]!)
        this.counts.heldBack += work.burst - Math.max(0, room)
        if (room > 0) this.asks.sendMix(k, work, room, this.due)
      }
      for (let k = 0; k < this.io.count; k++) if (this.flights.bySocket[k]! > 0) this.receive(k, work.verify)
      return
    }
    for (let k = 0; k < this.io.count; k++) {
      const room = work.window - this.flights.bySocket[k]!
      if (room >= work.window >> 1 || this.flights.bySocket[k] === 0) this.asks.sendMix(k, work, room, now)
      this.receive(k, work.verify)
    }
  }

  private receive(k: number, verify: boolean): void {
    const { io } = this
    const n = io.receive(k)
    if (n <= 0) return
    const now = performance.now()
    for (let i = 0; i < n; i++) this.answer(k, i * io.inStride, io.inLengths[i]!, verify, now)
  }

  private answer(k: number, at: number, length: number, verify: boolean, now: number): void {
    const { flights, counts, verifier } = this
    const bytes = this.io.inBytes
    const tally = verifier.tally
    if (length < 8) {
      tally.wrongLength++
      return
    }
    const action = read32(bytes, at)
    const transaction = read32(bytes, at + 4)
    const slot = flights.find(transaction, k)
    if (slot < 0) {
      if (flights.wasOurs(transaction)) tally.lateAnswer++
      else tally.unknownTransaction++
      return
    }
    counts.bytes += length
    this.latency.add(now - flights.sentAt[slot]!)
    const kind = flights.kind[slot]!
    if (action === ERROR) this.errorAnswer(k, slot, at, length, now)
    else if (kind === CONNECTING) {
      counts.connects++
      if (action !== CONNECT) tally.wrongAction++
      else if (length < 16) tally.wrongLength++
      else this.asks.adopt(k, read32(bytes, at + 8), read32(bytes, at + 12), now)
    } else if (kind === SCRAPING) {
      counts.scrapes++
      if (action !== SCRAPE) tally.wrongAction++
      else if (length !== 8 + 12 * flights.rank[slot]!) tally.wrongLength++
      else if (verify)
        for (let i = 0; i < flights.rank[slot]!; i++)
          verifier.scrape(bytes, at + 8 + 12 * i, flights.scraped[slot * SCRAPE_HASHES + i]!)
    } else {
      counts.announces++
      if (action !== ANNOUNCE) tally.wrongAction++
      else this.announced(kind, slot, at, length, verify)
    }
    flights.release(slot)
  }

  private announced(kind: number, slot: number, at: number, length: number, verify: boolean): void {
    const { flights, counts, verifier, model } = this
    const torrent = flights.torrent[slot]!
    const rank = flights.rank[slot]!
    if (kind === JOINING) {
      counts.joins++
      this.swarms.answered(torrent, rank)
    } else if (kind === LOADING) {
      const p = model.start[torrent]! + rank
      if (this.acknowledged[p] === 0) counts.joins++
      this.acknowledged[p] = 1
    }
    counts.peers += verify
      ? verifier.announce(
          this.io.inBytes,
          at,
          length,
          torrent,
          rank,
          this.asks.want,
          flights.low[slot]!,
          flights.lowSeeders[slot]!,
        )
      : Math.max(0, Math.floor((length - 20) / verifier.peerBytes))
  }

  /** A stale connection ID is mended by asking for a new one; every other error is a fault. */
  private errorAnswer(k: number, slot: number, at: number, length: number, now: number): void {
    const text = Buffer.from(this.io.inBytes.subarray(at + 8, at + Math.min(length, 120))).toString('latin1')
    this.counts.errors++
    if (this.errorTexts.size < 8 || this.errorTexts.has(text))
      this.errorTexts.set(text, (this.errorTexts.get(text) ?? 0) + 1)
    if (/connection/i.test(text)) {
      this.verifier.tally.staleConnectionId++
      this.asks.forgetId(k, now)
    } else this.verifier.tally.errorAnswer++
    this.asks.loadAgain(slot)
  }

  /** Counts what stayed unanswered for too long; to be called every few milliseconds. */
  sweep(timeoutMs: number): void {
    const now = performance.now()
    this.counts.sent = this.asks.sent
    if (now - this.swept < SLICE_MS / 2) return
    this.swept = now
    this.counts.lost += this.flights.expire(now - timeoutMs, (slot) => this.asks.loadAgain(slot))
  }
}

const turn = (): Promise<void> => new Promise((done) => setImmediate(done))
