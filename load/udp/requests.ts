// BEP 15 requests of a load, written at an offset without allocating.
// Refuses: to decide what is asked; see generator.ts.

import { ANNOUNCE, CONNECT, MAGIC, SCRAPE } from '@skep/wire/udp-tracker.ts'
import { type Homes, isSeeder, type Model, peerWord, portOf } from './model.ts'

const CLIENT = new TextEncoder().encode('-SK0100-')
/** What a leecher still lacks, bytes. */
const LEFT = 0x3200_0000

/** The fields one announce needs beside its peer. */
export type Announce = {
  transaction: number
  torrent: number
  rank: number
  event: number
  want: number
  /** Connection ID as two words in the order of the packet, read big-endian. */
  idHigh: number
  idLow: number
}

const put32 = (out: Uint8Array, at: number, value: number): void => {
  out[at] = value >>> 24
  out[at + 1] = value >>> 16
  out[at + 2] = value >>> 8
  out[at + 3] = value
}

/** 98 bytes at `at`. */
export function writeAnnounce(out: Uint8Array, at: number, model: Model, homes: Homes, ask: Announce): void {
  const { torrent, rank } = ask
  put32(out, at, ask.idHigh)
  put32(out, at + 4, ask.idLow)
  put32(out, at + 8, ANNOUNCE)
  put32(out, at + 12, ask.transaction)
  const { hashes } = model
  for (let i = 0, from = torrent * 20; i < 20; i++) out[at + 16 + i] = hashes[from + i]!
  const word = peerWord(torrent, rank)
  for (let i = 0; i < 8; i++) out[at + 36 + i] = CLIENT[i]!
  put32(out, at + 44, rank)
  put32(out, at + 48, torrent)
  put32(out, at + 52, word)
  const left = isSeeder(model.shape, torrent, rank) ? 0 : LEFT
  put32(out, at + 56, 0)
  put32(out, at + 60, 0)
  put32(out, at + 64, 0)
  put32(out, at + 68, left)
  put32(out, at + 72, 0)
  put32(out, at + 76, 0)
  put32(out, at + 80, ask.event)
  put32(out, at + 84, 0)
  put32(out, at + 88, word ^ 0x2545f491)
  put32(out, at + 92, ask.want)
  const port = portOf(homes, torrent, rank)
  out[at + 96] = port >>> 8
  out[at + 97] = port
}

/** 16 bytes at `at`. */
export function writeConnect(out: Uint8Array, at: number, transaction: number): void {
  put32(out, at, Number(MAGIC >> 32n))
  put32(out, at + 4, Number(MAGIC & 0xffffffffn))
  put32(out, at + 8, CONNECT)
  put32(out, at + 12, transaction)
}

/** The 16-byte head of a scrape; hashes follow through `writeScrapeHash`. */
export function writeScrape(
  out: Uint8Array,
  at: number,
  transaction: number,
  high: number,
  low: number,
): void {
  put32(out, at, high)
  put32(out, at + 4, low)
  put32(out, at + 8, SCRAPE)
  put32(out, at + 12, transaction)
}

export function writeScrapeHash(
  out: Uint8Array,
  at: number,
  index: number,
  model: Model,
  torrent: number,
): void {
  const from = torrent * 20
  for (let i = 0; i < 20; i++) out[at + 16 + 20 * index + i] = model.hashes[from + i]!
}
