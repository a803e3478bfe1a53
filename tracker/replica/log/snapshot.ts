// Snapshot files: frames of [length 4, CRC 4, bytes], each CRC over its predecessor's and the frame, a frame
// of length 0 at the end. Two phases: the whole file is on disk under its name before any record names it, so
// a crash in the middle leaves the old snapshot valid. Refuses: to look into a chunk; the machine checks its
// own.

import { crc32 } from 'node:zlib'
import type { ConfState } from '@skep/raft'
import type { LogDisk } from './disk.ts'
import type { SnapshotRecord, SnapshotWriter } from './log.ts'
import { LogDamaged } from './log.ts'

/** Largest chunk taken, bytes: what a reader may have to hold at once. */
export const CHUNK_LIMIT_BYTES = 16 * 1024 * 1024

/** Length and CRC of a frame. */
const HEADER_BYTES = 8

export const snapshotBlobName = (at: { index: number; term: number }): string =>
  `snapshot-${at.index}-${at.term}`

export const writeSnapshotBlob = async (
  disk: LogDisk,
  at: { index: number; term: number; confState: ConfState },
  named: (record: SnapshotRecord) => Promise<void>,
): Promise<SnapshotWriter> => {
  const blob = await disk.createBlob(snapshotBlobName(at))
  let bytes = 0
  let chunks = 0
  let crc = 0
  const frames = (some: readonly Uint8Array[]): Promise<void> => {
    const headers = Buffer.allocUnsafe(HEADER_BYTES * some.length)
    const parts: Uint8Array[] = []
    some.forEach((chunk, i) => {
      crc = crc32(chunk, crc)
      headers.writeUInt32LE(chunk.byteLength, i * HEADER_BYTES)
      headers.writeUInt32LE(crc, i * HEADER_BYTES + 4)
      parts.push(headers.subarray(i * HEADER_BYTES, (i + 1) * HEADER_BYTES), chunk)
    })
    return blob.write(parts)
  }
  return {
    async write(...all) {
      // One of length 0 would be the end.
      const some = all.filter((chunk) => chunk.byteLength > 0)
      for (const { byteLength } of some) {
        if (byteLength > CHUNK_LIMIT_BYTES) throw new RangeError(`a chunk of ${byteLength} bytes`)
        bytes += byteLength
        chunks++
      }
      if (some.length > 0) await frames(some)
    },
    async commit() {
      await frames([new Uint8Array(0)])
      await blob.finish()
      const record = { index: at.index, term: at.term, confState: at.confState, bytes, chunks, crc }
      await named(record)
      return record
    },
    abort: () => blob.abort(),
  }
}

/**
 * Chunks in order, each valid until the next is read; throws LogDamaged at the first that does not fit its
 * record.
 */
export async function* readSnapshotBlob(disk: LogDisk, record: SnapshotRecord): AsyncGenerator<Uint8Array> {
  const name = snapshotBlobName(record)
  const damaged = (what: string): LogDamaged => new LogDamaged(`${disk.place}, file ${name}`, what)
  const pieces = await disk.readBlob(name)
  if (pieces === null) throw damaged('the snapshot is missing')
  const torn = new TornFrame()
  let crc = 0
  let chunks = 0
  let ended = false
  for await (const piece of pieces) {
    const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength)
    for (let at = 0; at < bytes.length; ) {
      if (ended) throw damaged('the snapshot is not the one that was written')
      const frame = torn.held > 0 ? null : wholeAt(bytes, at)
      if (frame === null) at += torn.add(bytes, at)
      else at += frame.length
      const whole = frame ?? torn.whole()
      if (torn.length > CHUNK_LIMIT_BYTES + HEADER_BYTES)
        throw damaged(`chunk ${chunks} claims ${torn.length - HEADER_BYTES} bytes`)
      if (whole === null) continue
      const chunk = whole.subarray(HEADER_BYTES)
      crc = crc32(chunk, crc)
      if (crc !== whole.readUInt32LE(4)) throw damaged(`chunk ${chunks} has a wrong checksum`)
      if (chunk.length > 0) {
        chunks++
        yield chunk
      } else ended = true
    }
  }
  if (!ended) throw damaged(`the snapshot ends after ${chunks} of ${record.chunks} chunks`)
  if (chunks !== record.chunks || crc !== record.crc)
    throw damaged('the snapshot is not the one that was written')
}

/** The frame at `at` if all of it is in `bytes`. */
const wholeAt = (bytes: Buffer, at: number): Buffer | null => {
  if (bytes.length - at < HEADER_BYTES) return null
  const end = at + HEADER_BYTES + bytes.readUInt32LE(at)
  return end <= bytes.length ? bytes.subarray(at, end) : null
}

/** A frame that lies in several pieces: put together in one buffer, which is used again. */
class TornFrame {
  private bytes = Buffer.allocUnsafe(64 * 1024)
  held = 0

  /** Of the frame, as far as its header is there. */
  get length(): number {
    return this.held < HEADER_BYTES ? HEADER_BYTES : HEADER_BYTES + this.bytes.readUInt32LE(0)
  }

  /** Takes what belongs to it; returns how much. */
  add(piece: Buffer, at: number): number {
    const n = Math.min(this.length - this.held, piece.length - at)
    this.bytes.set(piece.subarray(at, at + n), this.held)
    this.held += n
    if (this.length > this.bytes.length && this.length <= HEADER_BYTES + CHUNK_LIMIT_BYTES) {
      const larger = Buffer.allocUnsafe(this.length)
      larger.set(this.bytes.subarray(0, this.held))
      this.bytes = larger
    }
    return n
  }

  /** Null: something lacks. Valid until the next `add`. */
  whole(): Buffer | null {
    const { length } = this
    if (this.held < HEADER_BYTES || this.held < length) return null
    this.held = 0
    return this.bytes.subarray(0, length)
  }
}
