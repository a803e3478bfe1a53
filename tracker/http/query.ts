// The query string of an announce or a scrape (BEP 3, 7, 23, 48), read in place from the request's text, one
// character a byte. info_hash and peer_id are bytes, so nothing here decodes them as text. Refuses: hashes
// that are not 20 bytes, ports that are none. Parameters it does not know, and events it does not know (BEP
// 21 `paused` is one), are no fault; where the asker is, no parameter says.

import { COMPLETED, LEAVE, PUT, SEEDER, STARTED } from '../swarm/change.ts'

/** Longest request target (path and query), bytes. */
export const MAX_TARGET_BYTES = 8192
/** Most info_hash parameters that fit into a target: `info_hash=`, 20 bytes and what parts them. */
export const MAX_SCRAPE_HASHES = Math.floor(MAX_TARGET_BYTES / 31)

/** Why a request was not understood: the sentence goes to the client as `failure reason`. */
export type Refusal = { readonly name: string; readonly sentence: string }

const refusal = (name: string, sentence: string): Refusal => Object.freeze({ name, sentence })
export const NO_INFO_HASH = refusal('no_info_hash', 'info_hash is missing')
export const BAD_INFO_HASH = refusal('bad_info_hash', 'info_hash must be 20 bytes, percent-encoded')
export const BAD_PEER_ID = refusal('bad_peer_id', 'peer_id must be 20 bytes, percent-encoded')
export const BAD_PORT = refusal('bad_port', 'port must be a number from 0 to 65535')
export const NO_FULL_SCRAPE = refusal('no_full_scrape', 'full scrape is not offered: name each info_hash')

const PERCENT = 0x25
const AMPERSAND = 0x26
const MINUS = 0x2d
const PLUS = 0x2b
const SPACE = 0x20
const ZERO = 0x30

/** Value of a hex digit by character code, -1 for the rest. */
const HEX = new Int8Array(256).fill(-1)
for (let i = 0; i < 16; i++) {
  HEX[i.toString(16).charCodeAt(0)] = i
  HEX[i.toString(16).toUpperCase().charCodeAt(0)] = i
}

/** Swaps a number to the word that its big-endian bytes make in memory. */
export const swap32 = (n: number): number =>
  (n << 24) | ((n & 0xff00) << 8) | ((n >>> 8) & 0xff00) | ((n >>> 24) & 0xff)

/** One announce, overwritten by the next. */
export class AnnounceQuery {
  /** PUT or LEAVE with SEEDER, COMPLETED and STARTED: the low bits of word 0 of a change record. */
  kind = PUT
  readonly hash = new Int32Array(5)
  readonly peerId = new Int32Array(5)
  /** Host order. 0: the asker cannot be reached, and only wants to know. */
  port = 0
  /** Raw word, 0: none sent. */
  key = 0
  /** Peers asked for; -1: not said. */
  numwant = -1
  compact = true
  noPeerId = false
  /** downloaded, left, uploaded: two raw words each, as BEP 15 carries them. */
  readonly amounts = new Int32Array(6)

  private readonly hashBytes = new Uint8Array(this.hash.buffer)
  private readonly peerIdBytes = new Uint8Array(this.peerId.buffer)

  private hashes = 0
  private ids = 0
  /** 0: complete; 1: not, or not said in numbers. */
  private left = 1
  private completed = false
  private started = false
  private stopped = false

  /** As `parse`, of what was read already: 20 bytes each, amounts as numbers; null: not said. */
  fill(
    infoHash: Uint8Array,
    peerId: Uint8Array,
    said: {
      readonly port: number
      readonly key: number
      readonly numwant: number | null
      readonly left: bigint | null
      readonly downloaded: bigint
      readonly uploaded: bigint
      readonly event: 'none' | 'started' | 'stopped' | 'completed'
    },
  ): void {
    const { port, key, numwant, left, downloaded, uploaded, event } = said
    this.hashBytes.set(infoHash)
    this.peerIdBytes.set(peerId)
    this.port = port
    this.key = swap32(key)
    this.numwant = numwant ?? -1
    this.compact = true
    this.noPeerId = true
    for (const [i, amount] of [downloaded, left ?? 0n, uploaded].entries()) {
      this.amounts[i * 2] = swap32(Number(amount >> 32n))
      this.amounts[i * 2 + 1] = swap32(Number(amount & 0xffffffffn))
    }
    this.kind =
      (event === 'stopped' ? LEAVE : PUT) |
      (left === 0n ? SEEDER : 0) |
      (event === 'completed' ? COMPLETED : 0) |
      (event === 'started' ? STARTED : 0)
  }

  /** Reads `text` from `from` (after the question mark) to `end`. Null: understood. Never throws. */
  parse(text: string, from: number, end: number): Refusal | null {
    this.port = -1
    this.key = 0
    this.numwant = -1
    this.compact = true
    this.noPeerId = false
    this.amounts.fill(0)
    this.hashes = 0
    this.ids = 0
    this.left = 1
    this.completed = false
    this.started = false
    this.stopped = false
    for (let at = from; at < end; ) {
      const next = endOfParameter(text, at, end)
      let fault: Refusal | null
      if (!percent || text.startsWith('info_hash=', at) || text.startsWith('peer_id=', at))
        fault = this.take(text, at, next)
      else {
        const plain = decoded(text.slice(at, next))
        fault = this.take(plain, 0, plain.length)
      }
      if (fault !== null) return fault
      at = next + 1
    }
    if (this.hashes === 0) return NO_INFO_HASH
    if (this.ids === 0) return BAD_PEER_ID
    if (this.port < 0 || this.port > 65535) return BAD_PORT
    this.kind =
      (this.stopped ? LEAVE : PUT) |
      (this.left === 0 ? SEEDER : 0) |
      (this.completed ? COMPLETED : 0) |
      (this.started ? STARTED : 0)
    return null
  }

  /** One parameter; nothing but hash and ID is percent-encoded any more. */
  private take(text: string, at: number, next: number): Refusal | null {
    switch (text.charCodeAt(at)) {
      case 0x69: // i
        if (text.startsWith('info_hash=', at)) {
          if (decodeBytes(text, at + 10, next, this.hashBytes, 0) !== 20) return BAD_INFO_HASH
          this.hashes++
        }
        break
      case 0x70: // p
        if (text.startsWith('port=', at)) this.port = parseCount(text, at + 5, next, 65536)
        else if (text.startsWith('peer_id=', at)) {
          if (decodeBytes(text, at + 8, next, this.peerIdBytes, 0) !== 20) return BAD_PEER_ID
          this.ids++
        }
        break
      case 0x6c: // l
        if (text.startsWith('left=', at)) {
          const left = parseAmount(text, at + 5, next, this.amounts, 2)
          // Empty, or a word: as if it had not been said.
          if (left >= 0) this.left = left
        }
        break
      case 0x64: // d
        if (text.startsWith('downloaded=', at)) parseAmount(text, at + 11, next, this.amounts, 0)
        break
      case 0x75: // u
        if (text.startsWith('uploaded=', at)) parseAmount(text, at + 9, next, this.amounts, 4)
        break
      case 0x65: // e
        if (text.startsWith('event=stopped', at)) this.stopped = next === at + 13
        else if (text.startsWith('event=completed', at)) this.completed = next === at + 15
        else if (text.startsWith('event=started', at)) this.started = next === at + 13
        break
      case 0x6e: // n
        if (text.startsWith('numwant=', at)) this.numwant = parseCount(text, at + 8, next, 65536)
        else if (text.startsWith('no_peer_id=', at)) this.noPeerId = text.charCodeAt(at + 11) !== ZERO
        break
      case 0x63: // c
        if (text.startsWith('compact=', at)) this.compact = text.charCodeAt(at + 8) !== ZERO
        break
      case 0x6b: // k
        if (text.startsWith('key=', at)) this.key = parseKey(text, at + 4, next)
        break
    }
    return null
  }
}

/** One scrape, overwritten by the next. */
export class ScrapeQuery {
  readonly hashes = new Int32Array(MAX_SCRAPE_HASHES * 5)
  readonly bytes = new Uint8Array(this.hashes.buffer)
  /** Hashes in `hashes`, five words each. */
  count = 0

  /** As `parse`, of hashes that were read already, at most MAX_SCRAPE_HASHES. */
  fill(infoHashes: readonly Uint8Array[]): void {
    this.count = infoHashes.length
    for (const [i, hash] of infoHashes.entries()) this.bytes.set(hash, i * 20)
  }

  /** As `AnnounceQuery.parse`. No info_hash at all is the question for everything: `NO_FULL_SCRAPE`. */
  parse(text: string, from: number, end: number): Refusal | null {
    this.count = 0
    for (let at = from; at < end; ) {
      const next = endOfParameter(text, at, end)
      let plain = text
      let value = at + 10
      let last = next
      if (!text.startsWith('info_hash=', at)) {
        value = -1
        if (percent) {
          plain = decoded(text.slice(at, next))
          if (plain.startsWith('info_hash=')) value = 10
          last = plain.length
        }
      }
      if (value >= 0) {
        if (this.count === MAX_SCRAPE_HASHES) return BAD_INFO_HASH
        if (decodeBytes(plain, value, last, this.bytes, this.count * 20) !== 20) return BAD_INFO_HASH
        this.count++
      }
      at = next + 1
    }
    return this.count === 0 ? NO_FULL_SCRAPE : null
  }
}

/** After `endOfParameter`: something in it is percent-encoded. */
let percent = false

function endOfParameter(text: string, from: number, end: number): number {
  percent = false
  for (let at = from; at < end; at++) {
    const code = text.charCodeAt(at)
    if (code === AMPERSAND) return at
    if (code === PERCENT) percent = true
  }
  return end
}

/**
 * A parameter whose name or value is percent-encoded though it need not be (`event=%73topped`), as RFC 3986
 * (6.2.2.2) reads it; the bytes of a hash or an ID stay encoded. Rare: clients encode nothing else.
 */
function decoded(parameter: string): string {
  const equals = parameter.indexOf('=')
  const name = unescaped(equals < 0 ? parameter : parameter.slice(0, equals))
  if (equals < 0) return name
  const value = parameter.slice(equals + 1)
  return `${name}=${name === 'info_hash' || name === 'peer_id' ? value : unescaped(value)}`
}

const unescaped = (text: string): string =>
  text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))

/**
 * Decodes up to 20 bytes to `out`; returns how many there were, -1 for a fault or more. A plus is a space, as
 * in a form: who writes one (Python's, Java's and PHP's query encoders) means that.
 */
function decodeBytes(text: string, from: number, end: number, out: Uint8Array, o: number): number {
  let n = 0
  for (let at = from; at < end; at++) {
    let byte = text.charCodeAt(at)
    if (byte === PERCENT) {
      if (at + 2 >= end) return -1
      const high = HEX[text.charCodeAt(at + 1) & 0xff]!
      const low = HEX[text.charCodeAt(at + 2) & 0xff]!
      if ((high | low) < 0) return -1
      byte = (high << 4) | low
      at += 2
    } else if (byte === PLUS) byte = SPACE
    if (n === 20 || byte > 255) return -1
    out[o + n++] = byte
  }
  return n
}

/** A decimal number below `limit`; -1 if it is none, `limit` if it is larger. */
function parseCount(text: string, from: number, end: number, limit: number): number {
  if (from === end) return -1
  let n = 0
  for (let at = from; at < end; at++) {
    const digit = text.charCodeAt(at) - ZERO
    if (digit < 0 || digit > 9) return -1
    n = Math.min(limit, n * 10 + digit)
  }
  return n
}

/**
 * A number of bytes into two raw words (64 bits, big-endian; more is cut to all ones). Returns 0 for zero, 1
 * for anything else, -1 for what is no number. A minus is read as "not known": some clients say left=-1
 * before they have the metainfo.
 */
function parseAmount(text: string, from: number, end: number, out: Int32Array, o: number): number {
  const unknown = text.charCodeAt(from) === MINUS && end > from
  let high = 0
  let low = 0
  if (from === end) return -1
  for (let at = unknown ? from + 1 : from; at < end; at++) {
    const digit = text.charCodeAt(at) - ZERO
    if (digit < 0 || digit > 9) return -1
    low = low * 10 + digit
    high = high * 10 + Math.floor(low / 4294967296)
    low %= 4294967296
    if (high > 4294967295) high = low = 4294967295
  }
  if (unknown) high = low = 4294967295
  out[o] = swap32(high | 0)
  out[o + 1] = swap32(low | 0)
  return high === 0 && low === 0 ? 0 : 1
}

/**
 * Up to 8 hex digits, as clients print the 32-bit key of BEP 15, give the same word as there; other text is
 * hashed (FNV-1a).
 */
function parseKey(text: string, from: number, end: number): number {
  let value = 0
  let hex = end - from <= 8
  let hash = 0x811c9dc5
  for (let at = from; at < end; at++) {
    const code = text.charCodeAt(at) & 0xff
    const digit = HEX[code]!
    if (digit < 0) hex = false
    value = (value << 4) | digit
    hash = Math.imul(hash ^ code, 0x01000193)
  }
  if (from === end) return 0
  return hex ? swap32(value) : hash
}
