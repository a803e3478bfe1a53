// The bodies of frames that have a layout of their own. Little-endian; JSON where a frame is rare.
// Refuses: by null, whatever is malformed; the connection that brought it is closed.
//
// BATCH: u32 incarnation, u48 number, u16 0, then the section, which nobody here reads NOTICE: u32
// incarnation, u48 number, u16 verdict STREAM_BEGIN: u32 stream, u32 0, f64 bytes of the whole as far as
// known, then the head: what the stream is, opaque here STREAM_CHUNK: u32 stream, u32 number of the chunk,
// then its bytes STREAM_END: u32 stream, u32 chunks in all STREAM_ACK: u32 stream, u8 what (0 go on, 1 all
// there, 2 refused), 3 x 0, u32 chunk to go on with, then why it was refused

import { get48, put48 } from './frame.ts'

const BATCH_HEAD_BYTES = 12
const NOTICE_BYTES = 12

/** The leader appended neither this batch nor anything after it. */
export const NOTICE_REFUSED = 1
/** The leader appended it: what becomes of it is told by the log. */
export const NOTICE_TAKEN = 2

export type BatchName = { readonly incarnation: number; readonly number: number }

/** Head of a BATCH (last 16 bits 0) or all of a NOTICE (last 16 bits its verdict). */
export const encodeBatchHead = (incarnation: number, number: number, verdict = 0): Uint8Array => {
  const bytes = new Uint8Array(BATCH_HEAD_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, incarnation, true)
  put48(view, 4, number)
  view.setUint16(10, verdict, true)
  return bytes
}

const batchName = (body: Uint8Array): { name: BatchName; last: number } | null => {
  if (body.length < BATCH_HEAD_BYTES) return null
  const view = viewOf(body)
  const name = { incarnation: view.getUint32(0, true), number: get48(view, 4) }
  return { name, last: view.getUint16(10, true) }
}

/** `section` is a view of the body. */
export const decodeBatch = (body: Uint8Array): (BatchName & { readonly section: Uint8Array }) | null => {
  const head = batchName(body)
  if (head === null || head.last !== 0) return null
  return { ...head.name, section: body.subarray(BATCH_HEAD_BYTES) }
}

export const decodeNotice = (
  body: Uint8Array,
): (BatchName & { readonly verdict: typeof NOTICE_REFUSED | typeof NOTICE_TAKEN }) | null => {
  const head = body.length === NOTICE_BYTES ? batchName(body) : null
  if (head === null || (head.last !== NOTICE_REFUSED && head.last !== NOTICE_TAKEN)) return null
  return { ...head.name, verdict: head.last }
}

export const STREAM_GO_ON = 0
export const STREAM_ALL_THERE = 1
export const STREAM_REFUSED = 2

/** Most bytes of a stream's head. */
export const MAX_STREAM_HEAD_BYTES = 60 * 1024

export const encodeStreamBegin = (stream: number, totalBytes: number): Uint8Array => {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, stream, true)
  view.setFloat64(8, totalBytes, true)
  return bytes
}

export const decodeStreamBegin = (
  body: Uint8Array,
): { stream: number; totalBytes: number; head: Uint8Array } | null => {
  if (body.length < 16 || body.length > 16 + MAX_STREAM_HEAD_BYTES) return null
  const view = viewOf(body)
  const totalBytes = view.getFloat64(8, true)
  if (!(totalBytes >= 0)) return null
  return { stream: view.getUint32(0, true), totalBytes, head: body.subarray(16) }
}

/** Head of a STREAM_CHUNK (`number`: of the chunk) or all of a STREAM_END (`number`: of chunks). */
export const encodeStreamPart = (stream: number, number: number): Uint8Array => {
  const bytes = new Uint8Array(8)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, stream, true)
  view.setUint32(4, number, true)
  return bytes
}

export const decodeStreamPart = (
  body: Uint8Array,
): { stream: number; number: number; bytes: Uint8Array } | null => {
  if (body.length < 8) return null
  const view = viewOf(body)
  return { stream: view.getUint32(0, true), number: view.getUint32(4, true), bytes: body.subarray(8) }
}

export type StreamAck = { stream: number; what: number; chunk: number; sentence: string }

export const encodeStreamAck = (ack: StreamAck): Uint8Array => {
  const text = new TextEncoder().encode(ack.sentence.slice(0, MAX_SENTENCE))
  const bytes = new Uint8Array(12 + text.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, ack.stream, true)
  view.setUint8(4, ack.what)
  view.setUint32(8, ack.chunk, true)
  bytes.set(text, 12)
  return bytes
}

export const decodeStreamAck = (body: Uint8Array): StreamAck | null => {
  if (body.length < 12) return null
  const view = viewOf(body)
  const what = view.getUint8(4)
  if (what > STREAM_REFUSED) return null
  const sentence = new TextDecoder().decode(body.subarray(12))
  return { stream: view.getUint32(0, true), what, chunk: view.getUint32(8, true), sentence }
}

/** What one start of a replica says of itself (membership/lives.ts). */
export type Life = {
  /** Random: no two starts have the same, whatever folders they have. */
  readonly nonce: string
  /** Starts from this folder so far. */
  readonly incarnation: number
  /** Batches that the log held when this life opened it: they only rise unless the folder is set back. */
  readonly began: number
  /** Last entry of the log then. */
  readonly lastIndex: number
}

/** What a greeting says of a life; null: nothing, or nothing whole. */
const lifeOf = (value: unknown): Life | null => {
  const { nonce, incarnation, began, lastIndex } = (value ?? {}) as Record<string, unknown>
  if (!isCount(incarnation) || !isCount(began) || !isCount(lastIndex)) return null
  if (typeof nonce !== 'string' || nonce === '' || nonce.length > 64) return null
  return { nonce, incarnation, began, lastIndex }
}

export const isCount = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0

/** First frame of a connection: who dials whom, and what for. */
export type Hello = {
  /** Of the cluster, whole: 32 hexadecimal digits. */
  readonly clusterId: string
  readonly from: number
  readonly to: number
  readonly name: string
  /** Where it can be dialled, `host:port`: for a member that has not heard of it yet. */
  readonly address?: string
  readonly channel: number
  readonly level: number
  /**
   * Starts of the dialling replica, and its dials of this channel since: the newest connection is the one
   * that counts.
   */
  readonly incarnation: number
  readonly dial: number
  /** Absent: version 0.1.0, which does not tell. */
  readonly life?: Life
}

export const encodeHello = (hello: Hello): Uint8Array => json(hello)

export const decodeHello = (body: Uint8Array): Hello | null => {
  const h = parse(body)
  if (h === null || typeof h.clusterId !== 'string' || typeof h.name !== 'string') return null
  if (h.address !== undefined && typeof h.address !== 'string') return null
  for (const key of ['from', 'to', 'channel', 'level', 'incarnation', 'dial'])
    if (!isCount(h[key])) return null
  const { life: told, ...hello } = h
  const life = lifeOf(told)
  return (life === null ? hello : { ...hello, life }) as unknown as Hello
}

/** Why a connection is not wanted. `code` is for programs, the sentence for people. */
export type Refusal = {
  readonly code: RefusalCode
  readonly sentence: string
  /** Of a life: the leader says so, and it is not to come back. */
  readonly final?: boolean
}
export type RefusalCode = (typeof REFUSALS)[number]
const REFUSALS = [
  'wrong cluster',
  'wrong member',
  'removed member',
  'unknown member',
  'superseded',
  'too many connections',
  'cut by a fault on request',
  'no cluster yet',
  'too old',
  'malformed',
  'older life',
  'held',
  'doubled',
] as const

const MAX_SENTENCE = 1000

export const encodeRefusal = (refusal: Refusal): Uint8Array =>
  json({ ...refusal, sentence: refusal.sentence.slice(0, MAX_SENTENCE) })

export const decodeRefusal = (body: Uint8Array): Refusal | null => {
  const r = parse(body)
  if (r === null || typeof r.sentence !== 'string' || typeof r.code !== 'string') return null
  const code = REFUSALS.find((c) => c === r.code) ?? 'malformed'
  return { code, sentence: r.sentence, ...(r.final === true ? { final: true } : {}) }
}

const json = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value))

const parse = (body: Uint8Array): Record<string, unknown> | null => {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null
  } catch {
    return null
  }
}

const viewOf = (body: Uint8Array): DataView => new DataView(body.buffer, body.byteOffset, body.byteLength)
