// Is that answer true? Every answer is held against the model: its length, its counts, and each peer it
// names. Refuses: sockets and clocks; counts faults by kind instead of stopping at the first.

import { type Homes, isSeeder, type Model, rankOf, sizeOf } from './model.ts'

/**
 * What can be wrong with an answer. The first group fails a tracker, the second is told and left to the
 * reader.
 */
export const FAULTS = [
  'unknownTransaction',
  'wrongAction',
  'wrongLength',
  'wrongCounts',
  'foreignPeer',
  'duplicatePeer',
  'wrongScrape',
  'errorAnswer',
] as const
export const REMARKS = [
  'askerReturned',
  'moreThanAsked',
  'fewerThanThere',
  'lateAnswer',
  'staleConnectionId',
] as const
export type Kind = (typeof FAULTS)[number] | (typeof REMARKS)[number]
export type Tally = Record<Kind, number>

export const newTally = (): Tally =>
  Object.fromEntries([...FAULTS, ...REMARKS].map((kind) => [kind, 0])) as Tally
export const faultsOf = (tally: Tally): number => FAULTS.reduce((sum, kind) => sum + tally[kind], 0)

/**
 * The swarms as a tracker was told of them: the model's population plus what joined since. A joined peer may
 * be returned from the moment its announce left.
 */
export class Swarms {
  readonly model: Model
  /** Peers announced so far, a torrent. */
  readonly sent: Uint32Array
  readonly sentSeeders: Uint32Array
  /** Peers whose announce was answered: an answer to what is asked from now on counts at least these. */
  readonly known: Uint32Array
  readonly knownSeeders: Uint32Array
  largest = 0

  /** `loaded`: the population is already in the tracker. */
  constructor(model: Model, loaded: boolean) {
    this.model = model
    const torrents = model.shape.torrents
    this.sent = new Uint32Array(torrents)
    this.sentSeeders = new Uint32Array(torrents)
    this.known = new Uint32Array(torrents)
    this.knownSeeders = new Uint32Array(torrents)
    if (loaded) this.assumeLoaded()
  }

  assumeLoaded(): void {
    for (let t = 0; t < this.sent.length; t++) {
      this.sent[t] = this.known[t] = sizeOf(this.model, t)
      this.sentSeeders[t] = this.knownSeeders[t] = this.model.seeders[t]!
      this.largest = Math.max(this.largest, this.sent[t]!)
    }
  }

  /** A peer nobody has announced yet: its rank. */
  join(torrent: number): number {
    const rank = this.sent[torrent]!
    this.sent[torrent] = rank + 1
    if (rank >= this.largest) this.largest = rank + 1
    if (isSeeder(this.model.shape, torrent, rank)) this.sentSeeders[torrent]!++
    return rank
  }

  answered(torrent: number, rank: number): void {
    this.known[torrent]!++
    if (isSeeder(this.model.shape, torrent, rank)) this.knownSeeders[torrent]!++
  }
}

export class Verifier {
  readonly tally = newTally()
  readonly swarms: Swarms
  /** During a preload any rank of the population may be there: only upper bounds hold. */
  loading = false
  /** Bytes a peer takes in an answer. */
  readonly peerBytes: number
  private readonly homes: Homes
  private readonly addresses: Map<number, number>
  private readonly first: number
  private readonly consecutive: boolean
  private stamps = new Uint32Array(0)
  private stamp = 0

  /** `raw`: the sources' addresses, 4 or 16 bytes each, in the order of address indices. */
  constructor(swarms: Swarms, homes: Homes, family: 4 | 6, raw: readonly Uint8Array[]) {
    this.swarms = swarms
    this.homes = homes
    this.peerBytes = family === 4 ? 6 : 18
    const words = raw.map((bytes) => new DataView(bytes.buffer, bytes.byteOffset).getInt32(bytes.length - 4))
    this.addresses = new Map(words.map((word, i) => [word, i]))
    this.first = words[0] ?? 0
    this.consecutive = words.every((word, i) => word === this.first + i)
  }

  /**
   * Peers in an announce answer of `length` bytes at `at`, after counting what is wrong with it. `low`,
   * `lowSeeders`: what was known of the swarm when the request left.
   */
  announce(
    bytes: Uint8Array,
    at: number,
    length: number,
    torrent: number,
    rank: number,
    want: number,
    low: number,
    lowSeeders: number,
  ): number {
    const { tally, swarms, homes } = this
    const step = this.peerBytes
    const peers = Math.floor((length - 20) / step)
    if (length < 20 || 20 + peers * step !== length) {
      tally.wrongLength++
      return 0
    }
    // Trackers may or may not count the asker itself, so the lower bounds are one wide of the model.
    this.counts(read32(bytes, at + 16), read32(bytes, at + 12), torrent, low - 1, lowSeeders - 1)
    if (want > 0 && peers > want) tally.moreThanAsked++
    if (!this.loading && want > 0 && peers < Math.min(want, low - 1)) tally.fewerThanThere++
    if (this.stamps.length < swarms.largest) this.stamps = new Uint32Array(swarms.largest * 2)
    const stamp = (this.stamp = (this.stamp + 1) >>> 0)
    const size = this.loading ? sizeOf(swarms.model, torrent) : swarms.sent[torrent]!
    for (let i = 0, p = at + 20; i < peers; i++, p += step) {
      const q = p + step - 6
      const address = this.addressIndex(read32(bytes, q))
      const found = address < 0 ? -1 : rankOf(homes, torrent, address, (bytes[q + 4]! << 8) | bytes[q + 5]!)
      if (found < 0 || found >= size) tally.foreignPeer++
      else if (found === rank) tally.askerReturned++
      else if (this.stamps[found] === stamp) tally.duplicatePeer++
      else this.stamps[found] = stamp
    }
    return peers
  }

  /** Counts of a scrape entry: seeders, completed, leechers. */
  scrape(bytes: Uint8Array, at: number, torrent: number): void {
    const { tally } = this
    const before = tally.wrongCounts
    const { model } = this.swarms
    this.counts(
      read32(bytes, at),
      read32(bytes, at + 8),
      torrent,
      sizeOf(model, torrent),
      model.seeders[torrent]!,
    )
    tally.wrongScrape += tally.wrongCounts - before
    tally.wrongCounts = before
  }

  /**
   * Distinct peers marked by `announce` answers so far would need a set: `ranks` names those of one answer.
   */
  ranks(bytes: Uint8Array, at: number, peers: number, torrent: number, into: Set<number>): void {
    const step = this.peerBytes
    for (let i = 0, q = at + 20 + step - 6; i < peers; i++, q += step) {
      const address = this.addressIndex(read32(bytes, q))
      if (address >= 0) into.add(rankOf(this.homes, torrent, address, (bytes[q + 4]! << 8) | bytes[q + 5]!))
    }
  }

  private counts(seeders: number, leechers: number, torrent: number, low: number, lowSeeders: number): void {
    const { swarms, tally, loading } = this
    const sent = loading ? sizeOf(swarms.model, torrent) : swarms.sent[torrent]!
    const sentSeeders = loading ? swarms.model.seeders[torrent]! : swarms.sentSeeders[torrent]!
    const all = (seeders >>> 0) + (leechers >>> 0)
    const over = all > sent || seeders >>> 0 > sentSeeders
    const under = !loading && (all < low || seeders >>> 0 < lowSeeders)
    if (over || under) tally.wrongCounts++
  }

  private addressIndex(word: number): number {
    if (this.consecutive) {
      const index = word - this.first
      return index >= 0 && index < this.homes.addresses ? index : -1
    }
    return this.addresses.get(word) ?? -1
  }
}

export const read32 = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!
