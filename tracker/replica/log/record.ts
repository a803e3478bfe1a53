// The bytes of the log: keys, entries chained by CRC, the meta record, the mark. Pure; all integers
// little-endian except in keys (big-endian, so that they sort). Refuses: to decide what a mismatch means;
// store.ts does.

import { crc32 } from 'node:zlib'
import type { Entry, HardState } from '@skep/raft'

export const FORMAT = 'skep log 1'

const ENTRY = 2
/** Bytes before an entry's data: index 8, term 8, type 4, length 4, predecessor's CRC 4, CRC 4. */
export const ENTRY_HEADER_BYTES = 32

/** Key of entry `index` of a group: kind 1, group 4, index 8. */
export const entryKey = (group: number, index: number): Uint8Array => {
  const key = Buffer.allocUnsafe(13)
  key[0] = ENTRY
  key.writeUInt32BE(group, 1)
  key.writeUInt32BE(Math.floor(index / 2 ** 32), 5)
  key.writeUInt32BE(index >>> 0, 9)
  return key
}

const named = (kind: number, group: number): Uint8Array => {
  const key = Buffer.alloc(5)
  key[0] = kind
  key.writeUInt32BE(group, 1)
  return key
}
export const metaKey = (group: number): Uint8Array => named(1, group)
export const snapshotKey = (group: number): Uint8Array => named(3, group)
export const identityKey = (group: number): Uint8Array => named(4, group)
/** Version 0.1.0 does not look there. */
export const livesKey = (group: number): Uint8Array => named(5, group)
/** The range that holds every entry key of a group. */
export const entryRange = (group: number): [Uint8Array, Uint8Array] => [
  entryKey(group, 0),
  Buffer.concat([entryKey(group, 0).subarray(0, 5), Buffer.alloc(9, 0xff)]),
]

const put64 = (b: Buffer, at: number, n: number): void => {
  b.writeUInt32LE(n >>> 0, at)
  b.writeUInt32LE(Math.floor(n / 2 ** 32), at + 4)
}
const get64 = (b: Buffer, at: number): number => b.readUInt32LE(at) + b.readUInt32LE(at + 4) * 2 ** 32
const asBuffer = (b: Uint8Array): Buffer => Buffer.from(b.buffer, b.byteOffset, b.byteLength)

/**
 * Writes header and data at `at`; returns the entry's CRC: of predecessor's CRC, header and data, in that
 * order.
 */
export const putEntry = (to: Buffer, at: number, entry: Entry, previousCrc: number): number => {
  put64(to, at, entry.index)
  put64(to, at + 8, entry.term)
  to.writeUInt32LE(entry.type, at + 16)
  to.writeUInt32LE(entry.data.byteLength, at + 20)
  to.writeUInt32LE(previousCrc, at + 24)
  to.set(entry.data, at + ENTRY_HEADER_BYTES)
  const header = crc32(to.subarray(at, at + 28), previousCrc)
  const crc = crc32(
    to.subarray(at + ENTRY_HEADER_BYTES, at + ENTRY_HEADER_BYTES + entry.data.byteLength),
    header,
  )
  to.writeUInt32LE(crc, at + 28)
  return crc
}

export type EntryRecord = { readonly entry: Entry; readonly previousCrc: number; readonly crc: number }

/** The record, or a sentence on what is wrong with it. */
export const getEntry = (bytes: Uint8Array, index: number): EntryRecord | string => {
  if (bytes.byteLength < ENTRY_HEADER_BYTES) return `entry ${index} is cut short`
  const b = asBuffer(bytes)
  const length = b.readUInt32LE(20)
  const previousCrc = b.readUInt32LE(24)
  const crc = b.readUInt32LE(28)
  if (b.length !== ENTRY_HEADER_BYTES + length) return `entry ${index} has the wrong length`
  if (crc32(b.subarray(ENTRY_HEADER_BYTES), crc32(b.subarray(0, 28), previousCrc)) !== crc)
    return `entry ${index} has a wrong checksum`
  if (get64(b, 0) !== index) return `entry ${index} calls itself ${get64(b, 0)}`
  const data = b.subarray(ENTRY_HEADER_BYTES)
  return { entry: { index, term: get64(b, 8), type: b.readUInt32LE(16), data }, previousCrc, crc }
}

/** Rewritten by every batch, so that each batch says what the log holds. */
export type Meta = {
  /** Batches written so far, this one included. */
  readonly batch: number
  /** The last batch known to be on disk when this one was begun. */
  readonly synced: number
  readonly hardState: HardState
  /** The entry before the first one kept: what the chain and Raft's term checks begin with. */
  readonly before: Point
  readonly last: Point
  readonly incarnation: number
  /** Index of the adopted snapshot; 0: none. */
  readonly snapshotIndex: number
  /** CRC of the identity record; 0: none was stored. */
  readonly identityCrc: number
}
export type Point = { readonly index: number; readonly term: number; readonly crc: number }

const META_BYTES = 112
const META_MAGIC = 0x314d4b53 // "SKM1"

export const encodeMeta = (m: Meta): Uint8Array => {
  const b = Buffer.alloc(META_BYTES)
  b.writeUInt32LE(META_MAGIC, 0)
  const words = [m.batch, m.synced, m.hardState.term, m.hardState.vote, m.hardState.commit]
  words.push(m.before.index, m.before.term, m.last.index, m.last.term, m.incarnation, m.snapshotIndex)
  words.forEach((w, i) => {
    put64(b, 4 + i * 8, w)
  })
  b.writeUInt32LE(m.before.crc, 92)
  b.writeUInt32LE(m.last.crc, 96)
  b.writeUInt32LE(m.identityCrc, 100)
  b.writeUInt32LE(crc32(b.subarray(0, META_BYTES - 4)), META_BYTES - 4)
  return b
}

/** Null: not a meta record, or altered. */
export const decodeMeta = (bytes: Uint8Array): Meta | null => {
  const b = asBuffer(bytes)
  if (b.length !== META_BYTES || b.readUInt32LE(0) !== META_MAGIC) return null
  if (crc32(b.subarray(0, META_BYTES - 4)) !== b.readUInt32LE(META_BYTES - 4)) return null
  const word = (i: number): number => get64(b, 4 + i * 8)
  return {
    batch: word(0),
    synced: word(1),
    hardState: { term: word(2), vote: word(3), commit: word(4) },
    before: { index: word(5), term: word(6), crc: b.readUInt32LE(92) },
    last: { index: word(7), term: word(8), crc: b.readUInt32LE(96) },
    incarnation: word(9),
    snapshotIndex: word(10),
    identityCrc: b.readUInt32LE(100),
  }
}

/** Written after a sync has returned: never ahead of what is on disk. */
export type Mark = {
  /** Marks written so far, this one included: the newer slot is the higher one. */
  readonly sequence: number
  readonly batch: number
  readonly lastIndex: number
  readonly lastCrc: number
  readonly term: number
  readonly vote: number
  readonly commit: number
  /** Some batches may not be synced (`--fsync interval`). */
  readonly loose: boolean
  /** Stopped in order. */
  readonly clean: boolean
  /** Which start of the machine wrote this. */
  readonly boot: number
}

const MARK_MAGIC = 0x4b4d // "MK"
const MARK_BYTES = 64

export const encodeMark = (m: Mark): Uint8Array => {
  const b = Buffer.alloc(MARK_BYTES)
  b.writeUInt16LE(MARK_MAGIC, 0)
  b.writeUInt16LE((m.loose ? 1 : 0) | (m.clean ? 2 : 0), 2)
  b.writeUInt32LE(m.boot, 4)
  put64(b, 8, m.batch)
  put64(b, 16, m.lastIndex)
  put64(b, 24, m.term)
  put64(b, 32, m.vote)
  put64(b, 40, m.commit)
  b.writeUInt32LE(m.lastCrc, 48)
  put64(b, 52, m.sequence)
  b.writeUInt32LE(crc32(b.subarray(0, MARK_BYTES - 4)), MARK_BYTES - 4)
  return b
}

/** The newer of the two slots; null when neither is whole. */
export const decodeMark = (bytes: Uint8Array): Mark | null => {
  let best: Mark | null = null
  for (let at = 0; at + MARK_BYTES <= bytes.byteLength; at += MARK_BYTES) {
    const b = asBuffer(bytes).subarray(at, at + MARK_BYTES)
    if (b.readUInt16LE(0) !== MARK_MAGIC) continue
    if (crc32(b.subarray(0, MARK_BYTES - 4)) !== b.readUInt32LE(MARK_BYTES - 4)) continue
    const mark: Mark = {
      sequence: get64(b, 52),
      batch: get64(b, 8),
      lastIndex: get64(b, 16),
      term: get64(b, 24),
      vote: get64(b, 32),
      commit: get64(b, 40),
      lastCrc: b.readUInt32LE(48),
      loose: (b.readUInt16LE(2) & 1) !== 0,
      clean: (b.readUInt16LE(2) & 2) !== 0,
      boot: b.readUInt32LE(4),
    }
    if (best === null || mark.sequence > best.sequence) best = mark
  }
  return best
}
