// Full state transfer, decided: what a stream of a snapshot looks like, when one is sent, tried again or
// given up, and which parts a receiver takes. Pure: send.ts and receive.ts do the reading, writing and
// sending. Refuses: time and I/O of its own. Raft messages only name a snapshot; its bytes travel here,
// beside them.
//
// A stream's head, JSON: the snapshot's record, and the MsgSnap that is stepped once all of it is on disk.
// Then parts:
//   0 u32 number of the part   4 u32 CRC-32 of what follows   8 chunks: u32 length, bytes, ... as the snapshot file has them
// Parts are packed greedily, so the same snapshot gives the same parts: a receiver that has n of them names
// n.

import { crc32 } from 'node:zlib'
import { MSG_SNAP, messageInfo } from '@skep/raft/message.ts'
import type { SnapshotRecord } from '../log/log.ts'

/**
 * Chunks are packed into a part up to this size, bytes; a longer chunk is a part of its own. Work of one
 * turn.
 */
export const PART_BYTES = 256 * 1024
const PART_HEADER_BYTES = 8
/** Transfers sent at once; others wait their turn. */
const MOST_SENDING = 2
/** After a failure, milliseconds: doubled each time, up to the longest. */
const RETRY_MS = 500
const LONGEST_RETRY_MS = 15_000
/** Broken streams in a row, without a part more getting through, before Raft is told that it failed. */
const MOST_ATTEMPTS = 6
/** What a receiver answers when it needs no part: its log is as new as the snapshot. */
export const ALL_THERE = 2 ** 32 - 2

export type StreamHead = {
  readonly record: SnapshotRecord
  /** MsgSnap as protobuf. */
  readonly message: Uint8Array
  /** Term of the leader that sends it. */
  readonly term: number
}

export const encodeHead = (record: SnapshotRecord, message: Uint8Array): Uint8Array =>
  new TextEncoder().encode(
    JSON.stringify({ version: 1, record, message: Buffer.from(message).toString('base64') }),
  )

/** A sentence when it is none. */
export const decodeHead = (bytes: Uint8Array): StreamHead | string => {
  let value: { version?: unknown; record?: SnapshotRecord; message?: unknown }
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) ?? {}
  } catch {
    return 'the head of a snapshot stream is malformed'
  }
  if (value.version !== 1) return `a snapshot stream of version ${value.version}: upgrade this replica first`
  const message = typeof value.message === 'string' ? Buffer.from(value.message, 'base64') : Buffer.alloc(0)
  const named = snapshotOf(message)
  const { record } = value
  if (named === null || record === undefined || !sameSnapshot(named.record, record))
    return 'a snapshot stream that does not fit its message'
  return { record: named.record, message, term: named.term }
}

/**
 * The snapshot a MsgSnap names: `createSnapshot` was given its record as descriptor. Null: it is no such
 * message.
 */
export const snapshotOf = (message: Uint8Array): { record: SnapshotRecord; term: number } | null => {
  const info = messageInfo(message)
  if (info?.type !== MSG_SNAP || info.snapshot === null) return null
  const { index, term, confState, data } = info.snapshot
  try {
    const { bytes, chunks, crc } = JSON.parse(Buffer.from(data).toString()) as SnapshotRecord
    if (![bytes, chunks, crc].every((n) => Number.isSafeInteger(n) && n >= 0)) return null
    return { record: { index, term, confState, bytes, chunks, crc }, term: info.term }
  } catch {
    return null
  }
}

export const sameSnapshot = (a: SnapshotRecord, b: SnapshotRecord): boolean =>
  a.index === b.index && a.term === b.term && a.crc === b.crc && a.bytes === b.bytes && a.chunks === b.chunks

/**
 * A snapshot's chunks as parts, each valid only until the next one is asked for: all lie in the same memory,
 * for new memory costs more than copying into what is there.
 */
export async function* partsOf(
  chunks: AsyncIterable<Uint8Array>,
  partBytes = PART_BYTES,
): AsyncGenerator<Uint8Array> {
  let part = Buffer.alloc(0)
  let at = PART_HEADER_BYTES
  let number = 0
  for await (const chunk of chunks) {
    const bytes = 4 + chunk.byteLength
    if (at > PART_HEADER_BYTES && at + bytes > partBytes) {
      yield sealPart(number++, part.subarray(0, at))
      at = PART_HEADER_BYTES
    }
    if (at === PART_HEADER_BYTES && part.length < Math.max(partBytes, PART_HEADER_BYTES + bytes))
      part = Buffer.allocUnsafeSlow(Math.max(partBytes, PART_HEADER_BYTES + bytes))
    part.writeUInt32LE(chunk.byteLength, at)
    part.set(chunk, at + 4)
    at += bytes
  }
  if (at > PART_HEADER_BYTES) yield sealPart(number, part.subarray(0, at))
}

const sealPart = (number: number, part: Buffer): Uint8Array => {
  part.writeUInt32LE(number, 0)
  part.writeUInt32LE(crc32(part.subarray(PART_HEADER_BYTES)), 4)
  return part
}

/** Chunks of a part (views), `again` when it is there already, or why it cannot be taken. */
export const openPart = (
  part: Uint8Array,
  next: number,
): readonly Uint8Array[] | 'again' | { fault: string } => {
  const bytes = Buffer.from(part.buffer, part.byteOffset, part.byteLength)
  if (bytes.length < PART_HEADER_BYTES) return { fault: `a part of ${bytes.length} bytes` }
  const number = bytes.readUInt32LE(0)
  if (crc32(bytes.subarray(PART_HEADER_BYTES)) !== bytes.readUInt32LE(4))
    return { fault: `part ${number} was altered on the way` }
  if (number < next) return 'again'
  if (number > next) return { fault: `part ${number} came instead of ${next}` }
  const chunks: Uint8Array[] = []
  for (let at = PART_HEADER_BYTES; at < bytes.length; ) {
    const length = at + 4 <= bytes.length ? bytes.readUInt32LE(at) : Number.POSITIVE_INFINITY
    if (length === 0 || at + 4 + length > bytes.length) return { fault: `part ${number} is malformed` }
    chunks.push(bytes.subarray(at + 4, at + 4 + length))
    at += 4 + length
  }
  return chunks
}

/** How a transfer stands, for people. */
export type TransferStatus = {
  readonly member: number
  readonly direction: 'to' | 'from'
  /** Applied index the snapshot is of. */
  readonly index: number
  readonly state: 'waiting' | 'moving' | 'finishing'
  readonly bytes: number
  readonly totalBytes: number
  /** 0 to 100. */
  readonly percent: number
  /** Of the attempt under way; 0: not known yet. */
  readonly bytesPerSecond: number
  /** Null: not known. */
  readonly secondsLeft: number | null
  readonly attempts: number
  readonly lastError: string
}

/** Percent, speed and time left. `bytes` were there of `totalBytes`, `fresh` of them since `sinceMs`. */
export const pace = (
  bytes: number,
  totalBytes: number,
  fresh: number,
  sinceMs: number,
  nowMs: number,
): Pick<TransferStatus, 'percent' | 'bytesPerSecond' | 'secondsLeft'> => {
  const bytesPerSecond = nowMs > sinceMs && fresh > 0 ? (fresh * 1000) / (nowMs - sinceMs) : 0
  const left = Math.max(0, totalBytes - bytes)
  return {
    percent: totalBytes === 0 ? 100 : Math.min(100, (bytes * 100) / totalBytes),
    bytesPerSecond,
    secondsLeft: bytesPerSecond === 0 ? null : left / bytesPerSecond,
  }
}

/** One snapshot on its way to one member. */
export type Outgoing = {
  readonly to: number
  readonly record: SnapshotRecord
  readonly message: Uint8Array
  /** Broken attempts in a row without progress. */
  attempts: number
  notBeforeMs: number
  state: 'waiting' | 'moving' | 'finishing'
  /** Bytes the receiver has; of them in this attempt; since when. */
  bytes: number
  fresh: number
  sinceMs: number
}

/**
 * Which snapshot goes to whom, and when: the sender's side as a machine. Whoever drives it starts what
 * `starting` returns, and reports to Raft when `failed` or `done` say so: each MsgSnap is answered exactly
 * once.
 */
export class Sendings {
  private readonly under = new Map<number, Outgoing>()
  /** By member, kept over offers: Raft offers again at the next heartbeat. */
  private readonly delays = new Map<number, { failures: number; untilMs: number; lastError: string }>()

  /** Raft wants this member to have this snapshot. Whatever went to it before is no longer wanted. */
  offered(to: number, record: SnapshotRecord, message: Uint8Array): Outgoing {
    const notBeforeMs = this.delays.get(to)?.untilMs ?? Number.NEGATIVE_INFINITY
    const sending: Outgoing = {
      to,
      record,
      message,
      attempts: 0,
      notBeforeMs,
      state: 'waiting',
      bytes: 0,
      fresh: 0,
      sinceMs: 0,
    }
    this.under.set(to, sending)
    return sending
  }

  /** Still the one that is wanted. */
  current(s: Outgoing): boolean {
    return this.under.get(s.to) === s
  }

  /** Those to begin now. They count as moving from here on. */
  starting(nowMs: number): Outgoing[] {
    let moving = 0
    for (const s of this.under.values()) if (s.state !== 'waiting') moving++
    const begun: Outgoing[] = []
    for (const s of this.under.values()) {
      if (moving >= MOST_SENDING || s.state !== 'waiting' || s.notBeforeMs > nowMs) continue
      moving++
      s.state = 'moving'
      s.bytes = 0
      s.fresh = 0
      s.sinceMs = nowMs
      begun.push(s)
    }
    return begun
  }

  due(): number {
    let dueMs = Number.POSITIVE_INFINITY
    let moving = 0
    for (const s of this.under.values())
      if (s.state === 'waiting') dueMs = Math.min(dueMs, s.notBeforeMs)
      else moving++
    return moving >= MOST_SENDING ? Number.POSITIVE_INFINITY : dueMs
  }

  /** A part is behind us: sent, or (not `fresh`) there already from an earlier attempt. */
  moved(s: Outgoing, bytes: number, fresh: boolean): void {
    s.bytes += bytes
    if (fresh) s.fresh += bytes
  }

  /** The receiver has all of it, safely: report success. */
  done(s: Outgoing): void {
    if (this.current(s)) this.under.delete(s.to)
    this.delays.delete(s.to)
  }

  /**
   * An attempt ended early. True: report the failure to Raft, which offers again later; false: it is tried
   * again here.
   * `final`: trying the same again is of no use (refused, or the file is gone).
   */
  failed(s: Outgoing, final: boolean, sentence: string, nowMs: number): boolean {
    const old = this.delays.get(s.to)
    // What got through counts: a way that breaks now and then is still a way.
    const failures = s.fresh > 0 && !final ? 1 : (old?.failures ?? 0) + 1
    const untilMs = nowMs + Math.min(RETRY_MS * 2 ** (failures - 1), LONGEST_RETRY_MS)
    this.delays.set(s.to, { failures, untilMs, lastError: sentence })
    if (!this.current(s)) return false
    s.attempts = s.fresh > 0 ? 1 : s.attempts + 1
    s.notBeforeMs = untilMs
    s.state = 'waiting'
    if (!final && s.attempts < MOST_ATTEMPTS) return false
    this.under.delete(s.to)
    return true
  }

  /**
   * The log has a newer snapshot than this one: report the failure to Raft, which offers that one. Nobody is
   * to blame, so nobody waits longer for it: a log that grows fast would replace each snapshot during the
   * wait for its turn.
   */
  replaced(s: Outgoing): boolean {
    return this.current(s) && this.under.delete(s.to)
  }

  /** Only these are members; null: this replica leads no more, so nothing is its affair. */
  only(members: ReadonlySet<number> | null): void {
    for (const to of [...this.under.keys(), ...this.delays.keys()])
      if (members === null || !members.has(to)) {
        this.under.delete(to)
        this.delays.delete(to)
      }
  }

  status(nowMs: number): TransferStatus[] {
    return [...this.under.values()].map((s) => ({
      member: s.to,
      direction: 'to',
      index: s.record.index,
      state: s.state,
      bytes: s.bytes,
      totalBytes: s.record.bytes,
      ...pace(s.bytes, s.record.bytes, s.fresh, s.sinceMs, s.state === 'waiting' ? s.sinceMs : nowMs),
      attempts: s.attempts,
      lastError: this.delays.get(s.to)?.lastError ?? '',
    }))
  }
}
