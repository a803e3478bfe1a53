// The calls that nearly all typed traffic consists of, read and written by hand: an announce or a scrape in
// ordinary JSON or binary Protocol Buffers (measured: an eighth of what they cost on the general path).
// Refuses: everything else, valid or not, among it whatever the schema does not allow; calls.ts knows what to
// answer.

import { formatIPv4, formatIPv6 } from '@skep/wire/ip.ts'
import type { Asker } from './address.ts'
import type { Form, Why } from './form.ts'
import type { AnnounceSaid } from './message.ts'
import type { Waiter } from './pending.ts'
import type { AnnounceQuery, ScrapeQuery } from './query.ts'
import type { Counts, Intervals } from './reply.ts'

/** Most info_hashes of one scrape, as the schema has it. */
const MOST_HASHES = 256

type Event = AnnounceSaid['said']['event']
const EVENTS = new Map<unknown, Event>([
  ...(['none', 'started', 'stopped', 'completed'] as const).map((event) => [event, event] as const),
  ['EVENT_UNSPECIFIED', 'none'],
  ['EVENT_STARTED', 'started'],
  ['EVENT_STOPPED', 'stopped'],
  ['EVENT_COMPLETED', 'completed'],
])
const BY_NUMBER: readonly Event[] = ['none', 'started', 'stopped', 'completed']

/** What is asked: one of both. */
export type Asked = { readonly announce: AnnounceSaid | null; readonly hashes: readonly Uint8Array[] }

/** 20 bytes in 40 hex digits, or in base64 as encoders write it. */
const HEX = /^[0-9a-fA-F]{40}$/
const BASE64 = /^[A-Za-z0-9+/]{26}[AEIMQUYcgkosw048]=$/

function bytesOf(value: unknown): Uint8Array | null {
  if (typeof value !== 'string') return null
  if (value.length === 40) return HEX.test(value) ? Buffer.from(value, 'hex') : null
  return value.length === 28 && BASE64.test(value) ? Buffer.from(value, 'base64') : null
}

const isWord = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 0xffffffff

/** A 64-bit number, written as text or as a number; null: in no ordinary way. */
function amountOf(value: unknown): bigint | null {
  if (value === '0' || value === 0) return 0n
  const ordinary =
    typeof value === 'string'
      ? /^[1-9]\d{0,18}$/.test(value)
      : Number.isSafeInteger(value) && Number(value) > 0
  return ordinary ? BigInt(value as string) : null
}

/** Of an object without escapes: as many quotes as its keys and texts need, so that no key is there twice. */
function parsed(text: string): { readonly [key: string]: unknown } | null {
  let quotes = 0
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === 0x22) quotes++
    else if (code === 0x5c || code > 0x7e) return null
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return null
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null
  for (const one of Object.values(value)) {
    quotes -= 2
    if (typeof one === 'string') quotes -= 2
    else if (Array.isArray(one)) quotes -= 2 * one.length
  }
  return quotes === 0 ? (value as { [key: string]: unknown }) : null
}

/** Null: left to the general path. */
export function announceInJson(text: string): Asked | null {
  const fields = parsed(text)
  if (fields === null) return null
  let infoHash: Uint8Array | null = null
  let peerId: Uint8Array | null = null
  let port = 0
  let key = 0
  let event: Event | undefined = 'none'
  let numwant: number | null = null
  let left: bigint | null = null
  let downloaded: bigint | null = 0n
  let uploaded: bigint | null = 0n
  for (const name in fields) {
    const value = fields[name]
    if (name === 'infoHash') infoHash = bytesOf(value)
    else if (name === 'peerId') peerId = bytesOf(value)
    else if (name === 'event') event = EVENTS.get(value)
    else if (name === 'leftBytes') {
      left = amountOf(value)
      if (left === null) return null
    } else if (name === 'downloadedBytes') downloaded = amountOf(value)
    else if (name === 'uploadedBytes') uploaded = amountOf(value)
    else if (!isWord(value)) return null
    else if (name === 'port') port = value
    else if (name === 'numwant') numwant = value
    else if (name === 'key') key = value
    else return null
  }
  if (infoHash === null || peerId === null || event === undefined || port > 65535) return null
  if (downloaded === null || uploaded === null) return null
  const said = { port, key, numwant, left, downloaded, uploaded, event }
  return { announce: { infoHash, peerId, said }, hashes: [] }
}

export function scrapeInJson(text: string): Asked | null {
  const fields = parsed(text)
  const list = fields?.infoHashes
  if (!Array.isArray(list) || Object.keys(fields!).length !== 1) return null
  if (list.length === 0 || list.length > MOST_HASHES) return null
  const hashes: Uint8Array[] = []
  for (const each of list) {
    const bytes = bytesOf(each)
    if (bytes === null) return null
    hashes.push(bytes)
  }
  return { announce: null, hashes }
}

/** A message of gRPC with its five bytes of length. */
const wholeMessage = (body: Buffer): boolean =>
  body.length >= 5 && body[0] === 0 && body.readUInt32BE(1) === body.length - 5

/** After `varint`: where it ends; -1: it is longer than is ordinary, or does not end. */
let varintEnd = 0
function varint(body: Buffer, from: number): number {
  let value = 0
  for (let at = from, scale = 1; at < body.length && at < from + 7; at++, scale *= 128) {
    const byte = body[at]!
    value += (byte & 0x7f) * scale
    if (byte < 0x80) {
      varintEnd = at + 1
      return value
    }
  }
  varintEnd = -1
  return 0
}

/** Field numbers of AnnounceRequest that are numbers; 32 bits but for the amounts. */
const AMOUNTS = [4, 8, 9]

export function announceInProto(body: Buffer): Asked | null {
  if (!wholeMessage(body)) return null
  const numbers: (number | undefined)[] = []
  let infoHash: Uint8Array | null = null
  let peerId: Uint8Array | null = null
  for (let at = 5; at < body.length; ) {
    const tag = body[at]!
    const field = tag >> 3
    if (tag === 10 || tag === 18) {
      if (body[at + 1] !== 20 || at + 22 > body.length) return null
      const bytes = body.subarray(at + 2, at + 22)
      if ((tag === 10 ? infoHash : peerId) !== null) return null
      if (tag === 10) infoHash = bytes
      else peerId = bytes
      at += 22
      continue
    }
    if ((tag & 7) !== 0 || field < 3 || field > 9 || numbers[field] !== undefined) return null
    const value = varint(body, at + 1)
    if (varintEnd < 0 || (value > 0xffffffff && !AMOUNTS.includes(field))) return null
    numbers[field] = value
    at = varintEnd
  }
  const [, , , port = 0, left, event = 0, numwant = null, key = 0, downloaded = 0, uploaded = 0] = numbers
  if (infoHash === null || peerId === null || port > 65535 || event > 3) return null
  const amounts = { downloaded: BigInt(downloaded), uploaded: BigInt(uploaded) }
  const said = { ...amounts, port, key, numwant, left: left === undefined ? null : BigInt(left) }
  return { announce: { infoHash, peerId, said: { ...said, event: BY_NUMBER[event]! } }, hashes: [] }
}

export function scrapeInProto(body: Buffer): Asked | null {
  const count = (body.length - 5) / 22
  if (!wholeMessage(body) || !Number.isInteger(count) || count < 1 || count > MOST_HASHES) return null
  const hashes: Uint8Array[] = []
  for (let at = 5; at < body.length; at += 22) {
    if (body[at] !== 10 || body[at + 1] !== 20) return null
    hashes.push(body.subarray(at + 2, at + 22))
  }
  return { announce: null, hashes }
}

/** Who is asking and how an answer is written. */
abstract class LeanCall implements Form, Waiter {
  readonly form = this
  protected readonly asked: Asked
  private readonly client: { readonly gone: boolean }
  private readonly done: () => void

  /** `done`: a parked call is answered. */
  constructor(asked: Asked, client: { readonly gone: boolean }, done: () => void) {
    this.asked = asked
    this.client = client
    this.done = done
  }

  get gone(): boolean {
    return this.client.gone
  }

  answer(): void {
    this.done()
  }

  readAnnounce(query: AnnounceQuery): void {
    const { infoHash, peerId, said } = this.asked.announce!
    query.fill(infoHash, peerId, said)
  }

  readScrape(query: ScrapeQuery): void {
    query.fill(this.asked.hashes)
  }

  abstract announced(
    counts: Counts,
    intervals: Intervals,
    asker: Asker,
    peers: Uint8Array,
    count4: number,
    count6: number,
  ): void
  abstract scraped(counts: readonly Counts[]): void
  abstract failed(why: Why, reason: string): void
}

const ownAddress = ({ v6, words }: Asker): string => {
  const own = new Uint8Array(words.buffer)
  return v6 ? formatIPv6(own, 0) : formatIPv4(own, 0)
}

/** As HTTP status and name of a code of Connect, and as number of one of gRPC. */
const CODES: { readonly [why in Why]: { status: number; name: string; number: number } } = {
  invalid: { status: 400, name: 'invalid_argument', number: 3 },
  forbidden: { status: 403, name: 'permission_denied', number: 7 },
  nobody: { status: 400, name: 'failed_precondition', number: 9 },
  unavailable: { status: 503, name: 'unavailable', number: 14 },
  unknown: { status: 504, name: 'deadline_exceeded', number: 4 },
}

export class JsonCall extends LeanCall {
  status = 200
  body = ''

  announced(
    { seeders, leechers, completed }: Counts,
    { interval, min }: Intervals,
    asker: Asker,
    bytes: Uint8Array,
    count4: number,
    count6: number,
  ): void {
    let peers = ''
    for (let i = 0, at = 0; i < count4 + count6; i++, at += 2) {
      const v6 = i >= count4
      const address = v6 ? formatIPv6(bytes, at) : formatIPv4(bytes, at)
      at += v6 ? 16 : 4
      const port = (bytes[at]! << 8) | bytes[at + 1]!
      peers += `${i === 0 ? '' : ','}{"address":"${address}","port":${port}}`
    }
    this.status = 200
    this.body =
      `{"peers":[${peers}],"seeders":${seeders},"leechers":${leechers},"completed":${completed >>> 0},` +
      `"intervalSeconds":${interval},"minIntervalSeconds":${min},"externalAddress":"${ownAddress(asker)}"}`
  }

  scraped(counts: readonly Counts[]): void {
    const { hashes } = this.asked
    const swarms = counts.map(({ seeders, leechers, completed }, i) => {
      const infoHash = Buffer.from(hashes[i]!).toString('base64')
      const figures = `"seeders":${seeders},"leechers":${leechers},"completed":${completed >>> 0}`
      return `{"infoHash":"${infoHash}",${figures}}`
    })
    this.status = 200
    this.body = `{"swarms":[${swarms.join(',')}]}`
  }

  failed(why: Why, message: string): void {
    const { status, name } = CODES[why]
    this.status = status
    this.body = JSON.stringify({ code: name, message })
  }
}

/** Where messages are written before their length is known: 1000 peers of at most 60 bytes, and the rest. */
const scratch = Buffer.alloc(64 * 1024)

function put(at: number, tag: number, value: number): number {
  if (value === 0) return at
  scratch[at] = tag
  return putVarint(at + 1, value)
}

function putVarint(from: number, value: number): number {
  let at = from
  let rest = value
  for (; rest > 127; rest = Math.floor(rest / 128)) scratch[at++] = (rest & 0x7f) | 0x80
  scratch[at] = rest
  return at + 1
}

function putText(at: number, tag: number, text: string): number {
  scratch[at] = tag
  scratch[at + 1] = text.length
  return at + 2 + scratch.write(text, at + 2, 'latin1')
}

export class ProtoCall extends LeanCall {
  /** With its five bytes of length; nothing for an error. */
  body = Buffer.alloc(0)
  trailer: { readonly [name: string]: string } = {}

  announced(
    { seeders, leechers, completed }: Counts,
    { interval, min }: Intervals,
    asker: Asker,
    bytes: Uint8Array,
    count4: number,
    count6: number,
  ): void {
    let o = 5
    for (let i = 0, at = 0; i < count4 + count6; i++, at += 2) {
      const v6 = i >= count4
      const address = v6 ? formatIPv6(bytes, at) : formatIPv4(bytes, at)
      at += v6 ? 16 : 4
      scratch[o] = 10
      const end = put(putText(o + 2, 10, address), 16, (bytes[at]! << 8) | bytes[at + 1]!)
      scratch[o + 1] = end - o - 2
      o = end
    }
    o = put(put(put(o, 16, seeders), 24, leechers), 32, completed >>> 0)
    this.written(putText(put(put(o, 40, interval), 48, min), 58, ownAddress(asker)))
  }

  scraped(counts: readonly Counts[]): void {
    let o = 5
    for (const [i, { seeders, leechers, completed }] of counts.entries()) {
      scratch.set([10, 0, 10, 20], o)
      scratch.set(this.asked.hashes[i]!, o + 4)
      const end = put(put(put(o + 24, 16, seeders), 24, leechers), 32, completed >>> 0)
      scratch[o + 1] = end - o - 2
      o = end
    }
    this.written(o)
  }

  private written(end: number): void {
    scratch[0] = 0
    scratch.writeUInt32BE(end - 5, 1)
    this.body = Buffer.from(scratch.subarray(0, end))
    this.trailer = { 'grpc-status': '0' }
  }

  failed(why: Why, reason: string): void {
    this.body = Buffer.alloc(0)
    this.trailer = { 'grpc-status': String(CODES[why].number), 'grpc-message': encodeURIComponent(reason) }
  }
}
