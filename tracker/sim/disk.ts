// A log's disk over the simulated one: the key-value store is a journal of checksummed batches in one file,
// cut at the first that is not whole; mark and snapshots are files. So a power cut tears real bytes, and the
// log above has to cope. Refuses: speed, and to hide a fault of the disk below.

import { crc32 } from 'node:zlib'
import { diskError, type VirtualDisk } from '@skep/testing/disk.ts'
import type { BlobWriter, KeyValue, LogDisk, Pair } from '../replica/log/disk.ts'
import { MARK_SLOT_BYTES } from '../replica/log/disk.ts'
import { LogLocked } from '../replica/log/log.ts'

const FORMAT = 'format'
const MARK = 'mark'
const JOURNAL = 'journal'
const BLOBS = 'blobs/'
/** A journal this much larger than what is alive in it is written anew when it is opened, bytes. */
const JOURNAL_WASTE_BYTES = 256 * 1024
const READ_PIECE_BYTES = 4096

/** For one process: the next one makes its own, over what the crash left. */
export const simulatedLogDisk = (disk: VirtualDisk, place: string): LogDisk => {
  let open = false
  return {
    place,
    claim: async () => {
      const fresh = !disk.exists(FORMAT) || disk.size(FORMAT) === 0
      if (fresh) disk.write(FORMAT, 0, Buffer.from('simulated'))
      // As log/files.ts: whoever wrote it may have died before it was on disk.
      await disk.sync(FORMAT)
      return fresh
    },
    openStore: async () => {
      if (open) throw new LogLocked(place, 'this process')
      if (disk.fault === 'full') throw diskError('ENOSPC', 'no space left on device')
      const store = await Journal.open(disk, () => {
        open = false
      })
      open = true
      return store
    },
    readMark: () => (disk.exists(MARK) ? padded(disk.read(MARK)) : null),
    writeMark: (slot, bytes) => disk.write(MARK, slot * MARK_SLOT_BYTES, bytes),
    syncMark: () => disk.sync(MARK),
    createBlob: async (name) => blobWriter(disk, BLOBS + name),
    readBlob: async (name) => (disk.exists(BLOBS + name) ? pieces(disk.read(BLOBS + name).slice()) : null),
    listBlobs: async () =>
      disk
        .names()
        .filter((name) => name.startsWith(BLOBS))
        .map((name) => name.slice(BLOBS.length)),
    removeBlob: async (name) => disk.remove(BLOBS + name),
    bootNumber: () => disk.boot,
    release: async () => {
      open = false
    },
    destroy: async () => {
      for (const name of disk.names()) disk.remove(name)
    },
  }
}

/** A mark that was torn at its very beginning may be shorter than two slots. */
const padded = (bytes: Uint8Array): Uint8Array => {
  const out = new Uint8Array(2 * MARK_SLOT_BYTES)
  out.set(bytes.subarray(0, out.length))
  return out
}

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += READ_PIECE_BYTES) yield bytes.subarray(at, at + READ_PIECE_BYTES)
}

const blobWriter = (disk: VirtualDisk, name: string): BlobWriter => {
  const part = `${name}.part`
  disk.remove(part)
  disk.write(part, 0, new Uint8Array(0))
  return {
    write: async (parts) => {
      for (const p of parts) disk.append(part, p)
    },
    finish: async () => {
      await disk.sync(part)
      disk.rename(part, name)
    },
    abort: async () => disk.remove(part),
  }
}

/**
 * A record: [bytes of the rest 4, CRC-32 of it 4, then puts and deletes: kind 1, key length 1, value length
 * 4, key, value].
 */
class Journal implements KeyValue {
  private readonly disk: VirtualDisk
  private readonly closed: () => void
  private readonly values = new Map<string, Uint8Array>()

  private constructor(disk: VirtualDisk, closed: () => void) {
    this.disk = disk
    this.closed = closed
  }

  static async open(disk: VirtualDisk, closed: () => void): Promise<Journal> {
    const journal = new Journal(disk, closed)
    if (!disk.exists(JOURNAL)) return journal
    const end = journal.replay(disk.read(JOURNAL))
    if (end < disk.size(JOURNAL)) disk.truncate(JOURNAL, end)
    let alive = 0
    for (const [key, value] of journal.values) alive += key.length + value.length
    if (end > alive + JOURNAL_WASTE_BYTES) await journal.rewrite()
    return journal
  }

  async write(puts: readonly Pair[], deletes: readonly Uint8Array[], sync: boolean): Promise<void> {
    const record = encode(puts, deletes)
    this.disk.append(JOURNAL, record)
    this.perform(record, 8)
    if (sync) await this.disk.sync(JOURNAL)
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.values.get(nameOf(key))
  }

  async *range(from: Uint8Array, to: Uint8Array): AsyncGenerator<Pair> {
    const [first, end] = [nameOf(from), nameOf(to)]
    const keys = [...this.values.keys()].filter((k) => k >= first && k < end).sort()
    for (const key of keys) yield { key: Buffer.from(key, 'latin1'), value: this.values.get(key)! }
  }

  /** Deleted keys leave the journal when it is written anew. */
  async reclaim(): Promise<void> {}

  async close(): Promise<void> {
    this.closed()
  }

  /** Where the whole records end. */
  private replay(bytes: Uint8Array): number {
    const b = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    let at = 0
    while (at + 8 <= b.length) {
      const length = b.readUInt32LE(at)
      const end = at + 8 + length
      if (length === 0 || end > b.length || crc32(b.subarray(at + 8, end)) !== b.readUInt32LE(at + 4)) break
      this.perform(b.subarray(at, end), 8)
      at = end
    }
    return at
  }

  private perform(record: Buffer, from: number): void {
    for (let at = from; at < record.length; ) {
      const keyEnd = at + 6 + record[at + 1]!
      const valueEnd = keyEnd + record.readUInt32LE(at + 2)
      const key = record.toString('latin1', at + 6, keyEnd)
      if (record[at] === 1) this.values.set(key, Uint8Array.from(record.subarray(keyEnd, valueEnd)))
      else this.values.delete(key)
      at = valueEnd
    }
  }

  private async rewrite(): Promise<void> {
    const puts = [...this.values].map(([key, value]) => ({ key: Buffer.from(key, 'latin1'), value }))
    const next = `${JOURNAL}.new`
    this.disk.remove(next)
    this.disk.append(next, encode(puts, []))
    await this.disk.sync(next)
    this.disk.rename(next, JOURNAL)
  }
}

const nameOf = (key: Uint8Array): string =>
  Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1')

const encode = (puts: readonly Pair[], deletes: readonly Uint8Array[]): Buffer => {
  let bytes = 8
  for (const { key, value } of puts) bytes += 6 + key.length + value.length
  for (const key of deletes) bytes += 6 + key.length
  const out = Buffer.alloc(bytes)
  let at = 8
  const item = (kind: number, key: Uint8Array, value: Uint8Array): void => {
    out[at] = kind
    out[at + 1] = key.length
    out.writeUInt32LE(value.length, at + 2)
    out.set(key, at + 6)
    out.set(value, at + 6 + key.length)
    at += 6 + key.length + value.length
  }
  for (const key of deletes) item(2, key, NOTHING)
  for (const { key, value } of puts) item(1, key, value)
  out.writeUInt32LE(bytes - 8, 0)
  out.writeUInt32LE(crc32(out.subarray(8)), 4)
  return out
}

const NOTHING = new Uint8Array(0)
