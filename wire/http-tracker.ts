// Tracker answers over HTTP (BEP 3, 7, 23, 24, 31, 48): announce and scrape replies as bencoded dictionaries,
// and the query strings that ask for them. For clients, tests and tools; the tracker builds its own answers
// without objects. Refuses: sockets, redirects, anything that is no tracker reply.

import { type Bencode, type BencodeLimits, decode, type Encodable, encode, latin1 } from './bencode.ts'
import { decodePeers, encodePeers } from './compact.ts'
import { formatIPv4, formatIPv6, parseIPv6 } from './ip.ts'

/** Largest reply a client should read: 1000 peers of both families with room to spare. */
export const REPLY_LIMITS: BencodeLimits = { depth: 8, bytes: 1024 * 1024, values: 20_000 }

export type AnnounceEvent = 'started' | 'completed' | 'stopped' | 'paused' | ''

export type AnnounceRequest = {
  /** 20 bytes. */
  readonly infoHash: Uint8Array
  /** 20 bytes. */
  readonly peerId: Uint8Array
  readonly port: number
  readonly uploaded: number | bigint
  readonly downloaded: number | bigint
  /** Bytes still missing; 0 makes a seeder. */
  readonly left: number | bigint
  readonly event?: AnnounceEvent
  readonly numwant?: number
  /** 32 bits; sent as eight hex digits. */
  readonly key?: number
  /** Default: true (BEP 23). */
  readonly compact?: boolean
  readonly noPeerId?: boolean
}

export type HttpPeer = {
  /** Address without brackets, or a host name where the tracker sent one. */
  readonly address: string
  readonly port: number
  /** 20 bytes, only in the dictionary form. */
  readonly peerId?: Uint8Array
}

export type AnnounceReply = {
  readonly kind: 'announce'
  /** Seconds until the next announce. */
  readonly intervalSeconds: number
  readonly minIntervalSeconds?: number
  /** Seeders. */
  readonly complete?: number
  /** Leechers. */
  readonly incomplete?: number
  readonly downloaded?: number
  /** The asker's address as the tracker sees it (BEP 24): 4 or 16 bytes. */
  readonly externalIp?: Uint8Array
  readonly trackerId?: string
  readonly warning?: string
  readonly peers: readonly HttpPeer[]
}

export type FailureReply = {
  readonly kind: 'failure'
  readonly reason: string
  readonly intervalSeconds?: number
  /** BEP 31: minutes, or not at all. */
  readonly retryIn?: number | 'never'
}

export type ScrapeCounts = {
  readonly complete: number
  readonly downloaded: number
  readonly incomplete: number
}

export type ScrapeReply = {
  readonly kind: 'scrape'
  /** By info_hash, 40 hex digits. */
  readonly files: ReadonlyMap<string, ScrapeCounts>
  readonly minRequestIntervalSeconds?: number
}

/** What arrived was no tracker reply. */
export type NoReply = { readonly kind: 'malformed'; readonly reason: string }

const UNRESERVED = /[A-Za-z0-9._~-]/

/** Every byte percent-encoded but RFC 3986's unreserved characters. */
export function percentEncode(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) {
    const character = String.fromCharCode(byte)
    text += UNRESERVED.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  return text
}

/** The query of an announce, without question mark. */
export function announceQuery(request: AnnounceRequest): string {
  const parts = [
    `info_hash=${percentEncode(request.infoHash)}`,
    `peer_id=${percentEncode(request.peerId)}`,
    `port=${request.port}`,
    `uploaded=${request.uploaded}`,
    `downloaded=${request.downloaded}`,
    `left=${request.left}`,
    `compact=${request.compact === false ? 0 : 1}`,
  ]
  if (request.event) parts.push(`event=${request.event}`)
  if (request.numwant !== undefined) parts.push(`numwant=${request.numwant}`)
  if (request.key !== undefined)
    parts.push(`key=${(request.key >>> 0).toString(16).toUpperCase().padStart(8, '0')}`)
  if (request.noPeerId) parts.push('no_peer_id=1')
  return parts.join('&')
}

/** The query of a scrape, without question mark. */
export const scrapeQuery = (infoHashes: readonly Uint8Array[]): string =>
  infoHashes.map((hash) => `info_hash=${percentEncode(hash)}`).join('&')

/**
 * BEP 48: the scrape URL has `scrape` for `announce` in the last part of the path; null if that is not how it
 * begins.
 */
export function scrapeUrl(announceUrl: string): string | null {
  const query = announceUrl.indexOf('?')
  const path = query < 0 ? announceUrl : announceUrl.slice(0, query)
  const slash = path.lastIndexOf('/')
  if (!path.startsWith('announce', slash + 1)) return null
  return `${path.slice(0, slash + 1)}scrape${announceUrl.slice(slash + 1 + 'announce'.length)}`
}

export function encodeAnnounceReply(reply: AnnounceReply, compact = true): Uint8Array {
  const members: { [key: string]: Encodable | undefined } = {
    complete: reply.complete,
    downloaded: reply.downloaded,
    'external ip': reply.externalIp,
    incomplete: reply.incomplete,
    interval: reply.intervalSeconds,
    'min interval': reply.minIntervalSeconds,
    'tracker id': reply.trackerId,
    'warning message': reply.warning,
  }
  if (compact) {
    const family6 = reply.peers.filter((peer) => parseIPv6(peer.address) !== null)
    members.peers = encodePeers(
      reply.peers.filter((peer) => !family6.includes(peer)),
      4,
    )
    if (family6.length > 0) members.peers6 = encodePeers(family6, 6)
  } else
    members.peers = reply.peers.map(({ address, port, peerId }) => ({
      ip: address,
      'peer id': peerId,
      port,
    }))
  return encode(members)
}

export const encodeFailureReply = (reply: FailureReply): Uint8Array =>
  encode({ 'failure reason': reply.reason, interval: reply.intervalSeconds, 'retry in': reply.retryIn })

export function encodeScrapeReply(reply: ScrapeReply): Uint8Array {
  const files = new Map<string, Encodable>()
  for (const [hex, counts] of reply.files)
    files.set(
      (hex.match(/../g) ?? []).map((byte) => String.fromCharCode(Number.parseInt(byte, 16))).join(''),
      counts,
    )
  const min = reply.minRequestIntervalSeconds
  return encode({ files, flags: min === undefined ? undefined : { min_request_interval: min } })
}

type Members = ReadonlyMap<string, Bencode>

/**
 * Reads a reply to an announce. Lenient where trackers differ: either peer form, `peers` missing, unknown
 * keys.
 */
export function decodeAnnounceReply(bytes: Uint8Array): AnnounceReply | FailureReply | NoReply {
  const members = dictionaryOf(bytes)
  if (!(members instanceof Map)) return members as NoReply
  const failure = failureOf(members)
  if (failure !== null) return failure
  const intervalSeconds = count(members, 'interval')
  if (intervalSeconds === undefined) return { kind: 'malformed', reason: 'no interval' }
  const peers = peersOf(members)
  if (peers === null) return { kind: 'malformed', reason: 'peers are no list of peers' }
  const externalIp = members.get('external ip')
  return strip({
    kind: 'announce',
    intervalSeconds,
    minIntervalSeconds: count(members, 'min interval'),
    complete: count(members, 'complete'),
    incomplete: count(members, 'incomplete'),
    downloaded: count(members, 'downloaded'),
    externalIp: externalIp instanceof Uint8Array ? externalIp : undefined,
    trackerId: text(members, 'tracker id'),
    warning: text(members, 'warning message'),
    peers,
  })
}

export function decodeScrapeReply(bytes: Uint8Array): ScrapeReply | FailureReply | NoReply {
  const members = dictionaryOf(bytes)
  if (!(members instanceof Map)) return members as NoReply
  const failure = failureOf(members)
  if (failure !== null) return failure
  const files = members.get('files')
  if (!(files instanceof Map)) return { kind: 'malformed', reason: 'no files' }
  const counts = new Map<string, ScrapeCounts>()
  for (const [hash, file] of files as Members) {
    if (hash.length !== 20 || !(file instanceof Map))
      return { kind: 'malformed', reason: 'a file without info_hash' }
    counts.set([...hash].map((c) => c.charCodeAt(0).toString(16).padStart(2, '0')).join(''), {
      complete: count(file, 'complete') ?? 0,
      downloaded: count(file, 'downloaded') ?? 0,
      incomplete: count(file, 'incomplete') ?? 0,
    })
  }
  const flags = members.get('flags')
  return strip({
    kind: 'scrape',
    files: counts,
    minRequestIntervalSeconds: flags instanceof Map ? count(flags, 'min_request_interval') : undefined,
  })
}

function dictionaryOf(bytes: Uint8Array): Members | NoReply {
  const decoded = decode(bytes, REPLY_LIMITS)
  if (!decoded.ok) return { kind: 'malformed', reason: `${decoded.reason} at byte ${decoded.at}` }
  if (!(decoded.value instanceof Map)) return { kind: 'malformed', reason: 'no dictionary' }
  return decoded.value
}

function failureOf(members: Members): FailureReply | null {
  const reason = text(members, 'failure reason')
  if (reason === undefined) return null
  const retry = members.get('retry in')
  const never = retry instanceof Uint8Array && latin1(retry) === 'never'
  return strip({
    kind: 'failure',
    reason,
    intervalSeconds: count(members, 'interval'),
    retryIn: never ? 'never' : typeof retry === 'number' ? retry : undefined,
  })
}

function peersOf(members: Members): HttpPeer[] | null {
  const peers = members.get('peers') ?? new Uint8Array(0)
  const peers6 = members.get('peers6') ?? new Uint8Array(0)
  const second = peers6 instanceof Uint8Array ? decodePeers(peers6, 6) : null
  if (second === null) return null
  if (peers instanceof Uint8Array) {
    const first = decodePeers(peers, 4)
    return first === null ? null : [...first, ...second]
  }
  if (!Array.isArray(peers)) return null
  const first: HttpPeer[] = []
  for (const peer of peers as readonly Bencode[]) {
    if (!(peer instanceof Map)) return null
    const address = text(peer, 'ip')
    const port = count(peer, 'port')
    if (address === undefined || port === undefined || port > 65535) return null
    const peerId = peer.get('peer id')
    first.push(strip({ address, port, peerId: peerId instanceof Uint8Array ? peerId : undefined }))
  }
  return [...first, ...second]
}

function count(members: Members, key: string): number | undefined {
  const value = members.get(key)
  return typeof value === 'number' && value >= 0 ? value : undefined
}

const utf8 = new TextDecoder()

function text(members: Members, key: string): string | undefined {
  const value = members.get(key)
  return value instanceof Uint8Array ? utf8.decode(value) : undefined
}

type Stripped<T> = { [K in keyof T]: Exclude<T[K], undefined> }

/** Leaves out members that are undefined. */
function strip<T extends object>(value: T): Stripped<T> {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as Stripped<T>
}

/** A BEP 24 address as text; null for another length. */
export const externalIpText = (bytes: Uint8Array): string | null =>
  bytes.length === 4 ? formatIPv4(bytes) : bytes.length === 16 ? formatIPv6(bytes) : null
