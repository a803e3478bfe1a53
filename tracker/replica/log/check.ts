// What lies on the disk: read whole at the opening of a log, held against every witness, refused at the first
// doubt. Refuses: writing. Also keeps the small record that names a snapshot.

import { crc32 } from 'node:zlib'
import type { KeyValue, LogDisk } from './disk.ts'
import type { SnapshotRecord } from './log.ts'
import { LogDamaged } from './log.ts'
import type { Mark, Meta, Point } from './record.ts'
import {
  decodeMark,
  decodeMeta,
  entryRange,
  getEntry,
  identityKey,
  livesKey,
  metaKey,
  snapshotKey,
} from './record.ts'
import { snapshotBlobName } from './snapshot.ts'

export type Found = {
  readonly meta: Meta
  readonly mark: Mark | null
  readonly snapshot: SnapshotRecord | null
  readonly identity: Uint8Array | null
  readonly lives: Uint8Array | null
  /** Bytes of each entry kept, oldest first. */
  readonly sizes: number[]
}

const NOTHING: Point = { index: 0, term: 0, crc: 0 }
const EMPTY: Meta = {
  batch: 0,
  synced: 0,
  hardState: { term: 0, vote: 0, commit: 0 },
  before: NOTHING,
  last: NOTHING,
  incarnation: 0,
  snapshotIndex: 0,
  identityCrc: 0,
}

/** `fresh`: the directory was just made, so that nothing is what must be found. */
export const checkLog = async (
  disk: LogDisk,
  store: KeyValue,
  group: number,
  fresh: boolean,
): Promise<Found> => {
  const damaged = (what: string, place = ''): LogDamaged =>
    new LogDamaged(place === '' ? disk.place : `${disk.place}, ${place}`, what)
  const markBytes = disk.readMark()
  const mark = markBytes === null ? null : decodeMark(markBytes)
  if (markBytes !== null && mark === null && markBytes.some((b) => b !== 0))
    throw damaged('both slots of the mark are unreadable', 'file mark')
  const metaBytes = get(store, metaKey(group), damaged)
  if (metaBytes === undefined) {
    const left = await entriesIn(store, group, EMPTY, damaged, true)
    if (mark !== null || left.length > 0) throw damaged('the store has lost its records')
    return { meta: EMPTY, mark: null, snapshot: null, identity: null, lives: null, sizes: [] }
  }
  const meta = decodeMeta(metaBytes)
  if (meta === null) throw damaged('the meta record is altered', 'meta record')
  if (fresh) throw damaged('records lie in a directory without a format file')
  if (mark === null && meta.batch > 1) throw damaged('the mark is missing', 'file mark')
  if (mark !== null) agree(meta, mark, damaged)
  if (meta.last.index < meta.hardState.commit)
    throw damaged(
      `the log ends at ${meta.last.index}, but ${meta.hardState.commit} was committed`,
      'meta record',
    )
  const sizes = await entriesIn(store, group, meta, damaged, false)
  const snapshot = await snapshotIn(disk, store, group, meta, damaged)
  if (meta.before.index > (snapshot?.index ?? 0))
    throw damaged(`entries up to ${meta.before.index} are gone without a snapshot of them`)
  const sealed = get(store, identityKey(group), damaged)
  if ((sealed === undefined ? 0 : crc32(sealed)) !== meta.identityCrc)
    throw damaged('the record of who this replica is is missing or altered', 'identity record')
  const identity = sealed === undefined ? null : Uint8Array.from(sealed)
  const told = get(store, livesKey(group), damaged)
  const lives = told === undefined ? null : Uint8Array.from(told)
  return { meta, mark, snapshot, identity, lives, sizes }
}

type Damaged = (what: string, place?: string) => LogDamaged

/** A store that cannot read a key it has is damaged, whatever it throws. */
const get = (store: KeyValue, key: Uint8Array, damaged: Damaged): Uint8Array | undefined => {
  try {
    return store.get(key)
  } catch (error) {
    throw damaged(`the store cannot be read: ${error instanceof Error ? error.message : error}`)
  }
}

const agree = (meta: Meta, mark: Mark, damaged: Damaged): void => {
  if (meta.batch < mark.batch)
    throw damaged(
      `the store ends with batch ${meta.batch}, but batch ${mark.batch} was on disk`,
      'newest batches',
    )
  const same = meta.last.index === mark.lastIndex && meta.last.crc === mark.lastCrc
  const { term, vote, commit } = meta.hardState
  if (meta.batch === mark.batch && !(same && term === mark.term && vote === mark.vote))
    throw damaged(`batch ${meta.batch} is not the one that was synced`, 'newest batch')
  if (term < mark.term || commit < mark.commit)
    throw damaged(
      `term ${term} and commit ${commit} are behind ${mark.term} and ${mark.commit}`,
      'hard state',
    )
}

/** Walks every entry; returns the bytes of each. `any`: stops at the first there is. */
const entriesIn = async (
  store: KeyValue,
  group: number,
  meta: Meta,
  damaged: Damaged,
  any: boolean,
): Promise<number[]> => {
  const [from, to] = entryRange(group)
  const sizes: number[] = []
  let at = meta.before
  const pairs = store.range(from, to)[Symbol.asyncIterator]()
  for (;;) {
    const step = await pairs.next().catch((error: unknown) => {
      throw damaged(`the store cannot be read: ${error instanceof Error ? error.message : error}`)
    })
    if (step.done === true) break
    const { key, value } = step.value
    const view = new DataView(key.buffer, key.byteOffset, key.byteLength)
    const index = view.getUint32(5) * 2 ** 32 + view.getUint32(9)
    if (any) return [value.byteLength]
    // Left over from a compaction whose batch was not synced: already covered by the snapshot.
    if (index <= meta.before.index) continue
    if (index !== at.index + 1)
      throw damaged(`entry ${at.index + 1} is missing, the next one is ${index}`, `entry ${at.index + 1}`)
    if (index > meta.last.index)
      throw damaged(`entry ${index} lies behind the end ${meta.last.index}`, `entry ${index}`)
    const read = getEntry(value, index)
    if (typeof read === 'string') throw damaged(read, `entry ${index}`)
    if (read.previousCrc !== at.crc) throw damaged(`entry ${index} follows another entry`, `entry ${index}`)
    sizes.push(value.byteLength)
    at = { index, term: read.entry.term, crc: read.crc }
  }
  if (at.index !== meta.last.index)
    throw damaged(`the entries end at ${at.index}, not at ${meta.last.index}`, `entry ${at.index + 1}`)
  if (at.index > meta.before.index && (at.crc !== meta.last.crc || at.term !== meta.last.term))
    throw damaged(`the last entry is not the one that was written`, `entry ${at.index}`)
  return sizes
}

const snapshotIn = async (
  disk: LogDisk,
  store: KeyValue,
  group: number,
  meta: Meta,
  damaged: Damaged,
): Promise<SnapshotRecord | null> => {
  const sealed = get(store, snapshotKey(group), damaged)
  if (sealed === undefined) {
    if (meta.snapshotIndex !== 0) throw damaged('the record of the snapshot is missing', 'snapshot record')
    return null
  }
  const record = unsealSnapshot(sealed)
  if (record === null || record.index !== meta.snapshotIndex)
    throw damaged('the record of the snapshot is altered', 'snapshot record')
  if (!(await disk.listBlobs()).includes(snapshotBlobName(record)))
    throw damaged(`the snapshot of entry ${record.index} is missing`, `file ${snapshotBlobName(record)}`)
  return record
}

/** The record as text with its CRC before it. */
export const sealSnapshot = (record: SnapshotRecord): Uint8Array => {
  const text = Buffer.from(JSON.stringify(record))
  const out = Buffer.alloc(4 + text.length)
  out.writeUInt32LE(crc32(text), 0)
  out.set(text, 4)
  return out
}

const unsealSnapshot = (sealed: Uint8Array): SnapshotRecord | null => {
  const b = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength)
  if (b.length < 4 || crc32(b.subarray(4)) !== b.readUInt32LE(0)) return null
  return JSON.parse(b.toString('utf8', 4)) as SnapshotRecord
}
