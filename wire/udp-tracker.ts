// BEP 15, the UDP tracker protocol, and BEP 41, its options: where each field lies, and a plain encoder and
// decoder for clients and tests. The tracker's own hot path (tracker/udp/packet.ts) uses the offsets only.
// Refuses: sockets, retransmission, anything that depends on the time; never throws on bytes from outside.
//
// Requests, bytes (all numbers big-endian):
//   connect   0 magic 8   8 action 4   12 transaction_id 4                                    = 16
//   announce  0 connection_id 8   8 action 4   12 transaction_id 4   16 info_hash 20   36 peer_id 20
//             56 downloaded 8   64 left 8   72 uploaded 8   80 event 4   84 IP address 4   88 key 4
//             92 num_want 4   96 port 2                                                       = 98, options follow
//   scrape    0 connection_id 8   8 action 4   12 transaction_id 4   16 info_hash 20 each
// Answers:
//   connect   0 action 4   4 transaction_id 4   8 connection_id 8                             = 16
//   announce  0 action 4   4 transaction_id 4   8 interval 4   12 leechers 4   16 seeders 4   20 peers, 6 or 18 each
//   scrape    0 action 4   4 transaction_id 4   8 (seeders 4, completed 4, leechers 4) each
//   error     0 action 4   4 transaction_id 4   8 message

import { decodePeers, encodePeers, type Peer } from './compact.ts'

export const CONNECT = 0
export const ANNOUNCE = 1
export const SCRAPE = 2
export const ERROR = 3

export const EVENT_NONE = 0
export const EVENT_COMPLETED = 1
export const EVENT_STARTED = 2
export const EVENT_STOPPED = 3

/** protocol_id of a connect request: 0x41727101980. */
export const MAGIC = 0x41727101980n

export const CONNECT_BYTES = 16
export const ANNOUNCE_BYTES = 98
/** Bytes of a scrape request before its info_hashes. */
const SCRAPE_HEAD_BYTES = 16
/** Most info_hashes of a scrape (BEP 15). */
export const SCRAPE_MOST = 74
const ANNOUNCE_ANSWER_BYTES = 20
const SCRAPE_ANSWER_BYTES = 8
/** Bytes of an answer for each info_hash scraped. */
const SCRAPE_ENTRY_BYTES = 12

/** BEP 41 option types. */
const OPTION_END = 0
const OPTION_NOP = 1
const OPTION_URL_DATA = 2
const OPTION_BYTES_MOST = 255

export type ConnectRequest = { readonly kind: 'connect'; readonly transactionId: number }
export type AnnounceRequest = {
  readonly kind: 'announce'
  readonly connectionId: bigint
  readonly transactionId: number
  readonly infoHash: Uint8Array
  readonly peerId: Uint8Array
  readonly downloaded: bigint
  readonly left: bigint
  readonly uploaded: bigint
  /** `EVENT_NONE` and so on; others are kept as they came. */
  readonly event: number
  /** IPv4 address the client claims, 0 for none. */
  readonly ip: number
  readonly key: number
  /** -1: as many as the tracker likes. */
  readonly numWant: number
  readonly port: number
  /** BEP 41: path and query of the tracker's URL; empty if none came. */
  readonly urlData: Uint8Array
}
export type ScrapeRequest = {
  readonly kind: 'scrape'
  readonly connectionId: bigint
  readonly transactionId: number
  readonly infoHashes: readonly Uint8Array[]
}
export type Request = ConnectRequest | AnnounceRequest | ScrapeRequest

export type ConnectAnswer = {
  readonly kind: 'connect'
  readonly transactionId: number
  readonly connectionId: bigint
}
export type AnnounceAnswer = {
  readonly kind: 'announce'
  readonly transactionId: number
  readonly intervalSeconds: number
  readonly leechers: number
  readonly seeders: number
  readonly peers: readonly Peer[]
}
export type Counts = { readonly seeders: number; readonly completed: number; readonly leechers: number }
export type ScrapeAnswer = {
  readonly kind: 'scrape'
  readonly transactionId: number
  readonly counts: readonly Counts[]
}
export type ErrorAnswer = { readonly kind: 'error'; readonly transactionId: number; readonly message: string }
export type Answer = ConnectAnswer | AnnounceAnswer | ScrapeAnswer | ErrorAnswer

/** Why bytes are no request or no answer. */
export type Refusal = {
  readonly kind: 'refused'
  readonly reason: 'too short' | 'bad magic' | 'bad action' | 'truncated option' | 'bad length'
}
const refused = (reason: Refusal['reason']): Refusal => ({ kind: 'refused', reason })

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/**
 * The bytes of a request. RangeError for an info_hash or peer_id that has not 20 bytes, or too many
 * info_hashes.
 */
export function encodeRequest(request: Request): Uint8Array {
  switch (request.kind) {
    case 'connect': {
      const bytes = new Uint8Array(CONNECT_BYTES)
      viewOf(bytes).setBigUint64(0, MAGIC)
      viewOf(bytes).setUint32(12, request.transactionId)
      return bytes
    }
    case 'announce':
      return encodeAnnounce(request)
    case 'scrape': {
      if (request.infoHashes.length > SCRAPE_MOST)
        throw new RangeError('more info_hashes than a scrape holds')
      const bytes = new Uint8Array(SCRAPE_HEAD_BYTES + 20 * request.infoHashes.length)
      const view = viewOf(bytes)
      view.setBigUint64(0, request.connectionId)
      view.setUint32(8, SCRAPE)
      view.setUint32(12, request.transactionId)
      request.infoHashes.forEach((infoHash, i) => {
        putHash(bytes, SCRAPE_HEAD_BYTES + 20 * i, infoHash)
      })
      return bytes
    }
  }
}

function encodeAnnounce(request: AnnounceRequest): Uint8Array {
  const options = encodeUrlData(request.urlData)
  const bytes = new Uint8Array(ANNOUNCE_BYTES + options.length)
  const view = viewOf(bytes)
  view.setBigUint64(0, request.connectionId)
  view.setUint32(8, ANNOUNCE)
  view.setUint32(12, request.transactionId)
  putHash(bytes, 16, request.infoHash)
  putHash(bytes, 36, request.peerId)
  view.setBigUint64(56, request.downloaded)
  view.setBigUint64(64, request.left)
  view.setBigUint64(72, request.uploaded)
  view.setUint32(80, request.event)
  view.setUint32(84, request.ip)
  view.setUint32(88, request.key)
  view.setInt32(92, request.numWant)
  view.setUint16(96, request.port)
  bytes.set(options, ANNOUNCE_BYTES)
  return bytes
}

function putHash(bytes: Uint8Array, at: number, hash: Uint8Array): void {
  if (hash.length !== 20) throw new RangeError(`${hash.length} bytes instead of 20`)
  bytes.set(hash, at)
}

/** BEP 41: URL data in as many options as it takes, then an end; nothing for empty data. */
export function encodeUrlData(data: Uint8Array): Uint8Array {
  if (data.length === 0) return new Uint8Array(0)
  const parts = Math.ceil(data.length / OPTION_BYTES_MOST)
  const bytes = new Uint8Array(data.length + 2 * parts + 1)
  let at = 0
  for (let from = 0; from < data.length; from += OPTION_BYTES_MOST) {
    const part = data.subarray(from, from + OPTION_BYTES_MOST)
    bytes[at] = OPTION_URL_DATA
    bytes[at + 1] = part.length
    bytes.set(part, at + 2)
    at += 2 + part.length
  }
  bytes[at] = OPTION_END
  return bytes
}

/** BEP 41: the URL data in the options; unknown options are skipped, one that ends early is refused. */
export function decodeOptions(
  bytes: Uint8Array,
): { readonly kind: 'options'; readonly urlData: Uint8Array } | Refusal {
  const parts: Uint8Array[] = []
  let total = 0
  let at = 0
  while (at < bytes.length) {
    const type = bytes[at++]!
    if (type === OPTION_END) break
    if (type === OPTION_NOP) continue
    const length = bytes[at++]
    if (length === undefined || at + length > bytes.length) return refused('truncated option')
    if (type === OPTION_URL_DATA) {
      parts.push(bytes.subarray(at, at + length))
      total += length
    }
    at += length
  }
  const urlData = new Uint8Array(total)
  let to = 0
  for (const part of parts) {
    urlData.set(part, to)
    to += part.length
  }
  return { kind: 'options', urlData }
}

/** A request as the tracker sees it; bytes after a scrape's last whole info_hash are ignored. */
export function decodeRequest(bytes: Uint8Array): Request | Refusal {
  if (bytes.length < CONNECT_BYTES) return refused('too short')
  const view = viewOf(bytes)
  const connectionId = view.getBigUint64(0)
  const transactionId = view.getUint32(12)
  switch (view.getUint32(8)) {
    case CONNECT:
      return connectionId === MAGIC ? { kind: 'connect', transactionId } : refused('bad magic')
    case ANNOUNCE: {
      if (bytes.length < ANNOUNCE_BYTES) return refused('too short')
      const options = decodeOptions(bytes.subarray(ANNOUNCE_BYTES))
      if (options.kind === 'refused') return options
      return {
        kind: 'announce',
        connectionId,
        transactionId,
        infoHash: bytes.slice(16, 36),
        peerId: bytes.slice(36, 56),
        downloaded: view.getBigUint64(56),
        left: view.getBigUint64(64),
        uploaded: view.getBigUint64(72),
        event: view.getUint32(80),
        ip: view.getUint32(84),
        key: view.getUint32(88),
        numWant: view.getInt32(92),
        port: view.getUint16(96),
        urlData: options.urlData,
      }
    }
    case SCRAPE: {
      const n = Math.min(SCRAPE_MOST, Math.floor((bytes.length - SCRAPE_HEAD_BYTES) / 20))
      const infoHashes: Uint8Array[] = []
      for (let i = 0; i < n; i++) infoHashes.push(bytes.slice(16 + 20 * i, 36 + 20 * i))
      return n === 0 ? refused('too short') : { kind: 'scrape', connectionId, transactionId, infoHashes }
    }
    default:
      return refused('bad action')
  }
}

/** The bytes of an answer; peers are of the family of the packet that carries it. */
export function encodeAnswer(answer: Answer, family: 4 | 6): Uint8Array {
  switch (answer.kind) {
    case 'connect': {
      const bytes = new Uint8Array(CONNECT_BYTES)
      viewOf(bytes).setUint32(4, answer.transactionId)
      viewOf(bytes).setBigUint64(8, answer.connectionId)
      return bytes
    }
    case 'announce': {
      const peers = encodePeers(answer.peers, family)
      const bytes = new Uint8Array(ANNOUNCE_ANSWER_BYTES + peers.length)
      const view = viewOf(bytes)
      view.setUint32(0, ANNOUNCE)
      view.setUint32(4, answer.transactionId)
      view.setUint32(8, answer.intervalSeconds)
      view.setUint32(12, answer.leechers)
      view.setUint32(16, answer.seeders)
      bytes.set(peers, ANNOUNCE_ANSWER_BYTES)
      return bytes
    }
    case 'scrape': {
      const bytes = new Uint8Array(SCRAPE_ANSWER_BYTES + SCRAPE_ENTRY_BYTES * answer.counts.length)
      const view = viewOf(bytes)
      view.setUint32(0, SCRAPE)
      view.setUint32(4, answer.transactionId)
      answer.counts.forEach((counts, i) => {
        view.setUint32(8 + 12 * i, counts.seeders)
        view.setUint32(12 + 12 * i, counts.completed)
        view.setUint32(16 + 12 * i, counts.leechers)
      })
      return bytes
    }
    case 'error': {
      const message = new TextEncoder().encode(answer.message)
      const bytes = new Uint8Array(8 + message.length)
      viewOf(bytes).setUint32(0, ERROR)
      viewOf(bytes).setUint32(4, answer.transactionId)
      bytes.set(message, 8)
      return bytes
    }
  }
}

/** An answer as a client sees it that asked over a socket of `family`. */
export function decodeAnswer(bytes: Uint8Array, family: 4 | 6): Answer | Refusal {
  if (bytes.length < 8) return refused('too short')
  const view = viewOf(bytes)
  const transactionId = view.getUint32(4)
  switch (view.getUint32(0)) {
    case CONNECT:
      if (bytes.length < CONNECT_BYTES) return refused('too short')
      return { kind: 'connect', transactionId, connectionId: view.getBigUint64(8) }
    case ANNOUNCE: {
      if (bytes.length < ANNOUNCE_ANSWER_BYTES) return refused('too short')
      const peers = decodePeers(bytes.subarray(ANNOUNCE_ANSWER_BYTES), family)
      if (peers === null) return refused('bad length')
      return {
        kind: 'announce',
        transactionId,
        intervalSeconds: view.getUint32(8),
        leechers: view.getUint32(12),
        seeders: view.getUint32(16),
        peers,
      }
    }
    case SCRAPE: {
      if ((bytes.length - SCRAPE_ANSWER_BYTES) % SCRAPE_ENTRY_BYTES !== 0) return refused('bad length')
      const counts: Counts[] = []
      for (let at = 8; at < bytes.length; at += SCRAPE_ENTRY_BYTES)
        counts.push({
          seeders: view.getUint32(at),
          completed: view.getUint32(at + 4),
          leechers: view.getUint32(at + 8),
        })
      return { kind: 'scrape', transactionId, counts }
    }
    case ERROR:
      return { kind: 'error', transactionId, message: new TextDecoder().decode(bytes.subarray(8)) }
    default:
      return refused('bad action')
  }
}
