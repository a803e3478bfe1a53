// Snapshot files: frames of [length 4, CRC 4, bytes], each CRC over its predecessor's and the frame, a frame of length
// 0 at the end. Two phases: the whole file is on disk under its name before any record names it, so a crash in the
// middle leaves the old snapshot valid.
// Refuses: to look into a chunk; the machine checks its own.

import { crc32 } from 'node:zlib'
import type { ConfState } from '@skep/raft'
import type { SnapshotRecord, SnapshotWriter } from './log.ts'
import { LogDamaged } from './log.ts'
import type { LogDisk } from './log-disk.ts'

/** Largest chunk taken, bytes: what a reader may have to hold at once. */
export const CHUNK_LIMIT_BYTES = 16 * 1024 * 1024

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
  const frame = (chunk: Uint8Array): Promise<void> => {
    crc = crc32(chunk, crc)
    const header = Buffer.alloc(8)
    header.writeUInt32LE(chunk.byteLength, 0)
    header.writeUInt32LE(crc, 4)
    return blob.write([header, chunk])
  }
  return {
    async write(chunk) {
      if (chunk.byteLength === 0) return
      if (chunk.byteLength > CHUNK_LIMIT_BYTES) throw new RangeError(`a chunk of ${chunk.byteLength} bytes`)
      bytes += chunk.byteLength
      chunks++
      await frame(chunk)
    },
    async commit() {
      await frame(new Uint8Array(0))
      await blob.finish()
      const record = { index: at.index, term: at.term, confState: at.confState, bytes, chunks, crc }
      await named(record)
      return record
    },
    abort: () => blob.abort(),
  }
}

/** Chunks in order; throws LogDamaged at the first that does not fit its record. */
export async function* readSnapshotBlob(disk: LogDisk, record: SnapshotRecord): AsyncGenerator<Uint8Array> {
  const name = snapshotBlobName(record)
  const damaged = (what: string): LogDamaged => new LogDamaged(`${disk.place}, file ${name}`, what)
  const pieces = await disk.readBlob(name)
  if (pieces === null) throw damaged('the snapshot is missing')
  let rest: Buffer = Buffer.alloc(0)
  let crc = 0
  let chunks = 0
  for await (const piece of pieces) {
    rest = rest.length === 0 ? Buffer.from(piece) : Buffer.concat([rest, piece])
    for (;;) {
      if (rest.length < 8) break
      const length = rest.readUInt32LE(0)
      if (length > CHUNK_LIMIT_BYTES) throw damaged(`chunk ${chunks} claims ${length} bytes`)
      if (rest.length < 8 + length) break
      const chunk = rest.subarray(8, 8 + length)
      crc = crc32(chunk, crc)
      if (crc !== rest.readUInt32LE(4)) throw damaged(`chunk ${chunks} has a wrong checksum`)
      rest = rest.subarray(8 + length)
      if (length === 0) {
        if (rest.length > 0 || chunks !== record.chunks || crc !== record.crc)
          throw damaged('the snapshot is not the one that was written')
        return
      }
      chunks++
      yield chunk
    }
  }
  throw damaged(`the snapshot ends after ${chunks} of ${record.chunks} chunks`)
}
