// The swarms a load is made of, so that every answer can be checked: which torrents there are, how large they
// are, and a rule that turns (torrent, rank) into one peer and back without a table. Refuses: sockets,
// clocks; it knows no tracker.
//
// A peer is the rank-th member of its torrent. Its address is one of the load's sources, its port follows
// from the rank, so that address and port are unique within a swarm and a returned peer tells its rank by
// arithmetic alone.

import { mix, seeded } from './random.ts'

/** First announced port. */
const PORT_FIRST = 1024
/** Ports used; they wrap around within this range. */
const PORTS = 64_000

export type Shape = {
  readonly torrents: number
  readonly peers: number
  /** Torrent of a peer = torrents x u^skew, u uniform in 0..1: 1 is even, 3 gives a few large swarms. */
  readonly skew: number
  /** Share of peers that have everything, 0..1. */
  readonly seeders: number
  readonly seed: number
}

export type Model = {
  readonly shape: Shape
  /** 20 bytes a torrent. */
  readonly hashes: Uint8Array
  /** Torrent t holds peers start[t] .. start[t + 1] - 1 of the loaded population. */
  readonly start: Uint32Array
  readonly torrentOf: Uint32Array
  /** Seeders among a torrent's loaded peers. */
  readonly seeders: Uint32Array
  readonly largest: number
}

/** Builds the population; the same shape gives the same one everywhere. */
export function buildModel(shape: Shape): Model {
  const { torrents, peers, skew } = shape
  const random = seeded(shape.seed)
  const hashes = new Uint8Array(torrents * 20)
  const words = new DataView(hashes.buffer)
  for (let at = 0; at < hashes.length; at += 4) words.setUint32(at, random.next() >>> 0)
  const start = new Uint32Array(torrents + 1)
  const chosen = new Uint32Array(peers)
  for (let p = 0; p < peers; p++) {
    chosen[p] = pickTorrent(random.unit(), torrents, skew)
    start[chosen[p]! + 1]!++
  }
  let largest = 0
  for (let t = 1; t < torrents; t++) if (start[t + 1]! > start[largest + 1]!) largest = t
  for (let t = 0; t < torrents; t++) start[t + 1]! += start[t]!
  const torrentOf = new Uint32Array(peers)
  const seeders = new Uint32Array(torrents)
  for (let t = 0; t < torrents; t++)
    for (let p = start[t]!; p < start[t + 1]!; p++) {
      torrentOf[p] = t
      if (isSeeder(shape, t, p - start[t]!)) seeders[t]!++
    }
  return { shape, hashes, start, torrentOf, seeders, largest }
}

export const pickTorrent = (unit: number, torrents: number, skew: number): number =>
  Math.min(torrents - 1, Math.floor(torrents * unit ** skew))

/** What stands for the peer in peer_id and key: differs for every (torrent, rank). */
export const peerWord = (torrent: number, rank: number): number => mix(torrent, rank)

export const isSeeder = (shape: Shape, torrent: number, rank: number): boolean =>
  (mix(rank, torrent ^ 0x5bd1e995) >>> 0) / 4294967296 < shape.seeders

export const sizeOf = (model: Model, torrent: number): number =>
  model.start[torrent + 1]! - model.start[torrent]!

/**
 * Where peers live: `addresses` different addresses, `sockets` sockets (a multiple of `addresses`). Sockets
 * that share an address (IPv6 loopback has just one) take its peers in turn.
 */
export type Homes = { readonly addresses: number; readonly sockets: number }

/** Most peers a swarm can have before ports repeat. */
export const swarmLimit = (homes: Homes): number => homes.addresses * PORTS

export const addressOf = (homes: Homes, torrent: number, rank: number): number =>
  (rank + (torrent % homes.addresses)) % homes.addresses

export function socketOf(homes: Homes, torrent: number, rank: number): number {
  const perAddress = homes.sockets / homes.addresses
  const address = addressOf(homes, torrent, rank)
  return address * perAddress + (Math.floor(rank / homes.addresses) % perAddress)
}

export const portOf = (homes: Homes, torrent: number, rank: number): number =>
  PORT_FIRST + (((mix(torrent, 77) >>> 8) + Math.floor(rank / homes.addresses)) % PORTS)

/**
 * The rank of the peer at (address index, port); may be beyond the swarm's size: then no such peer was ever
 * sent.
 */
export function rankOf(homes: Homes, torrent: number, address: number, port: number): number {
  const turn = (port - PORT_FIRST - ((mix(torrent, 77) >>> 8) % PORTS) + PORTS) % PORTS
  const a = homes.addresses
  return turn * a + ((address - (torrent % a) + a) % a)
}

/** Peers of the population by socket: `lists[k]` are the indices that socket k announces. */
export function peersBySocket(model: Model, homes: Homes): Uint32Array[] {
  const { start, torrentOf } = model
  const counts = new Uint32Array(homes.sockets)
  const home = new Uint16Array(torrentOf.length)
  for (let p = 0; p < torrentOf.length; p++) {
    const t = torrentOf[p]!
    home[p] = socketOf(homes, t, p - start[t]!)
    counts[home[p]!]!++
  }
  const lists = Array.from(counts, (n) => new Uint32Array(n))
  counts.fill(0)
  for (let p = 0; p < torrentOf.length; p++) {
    const k = home[p]!
    lists[k]![counts[k]!++] = p
  }
  return lists
}
