// A snapshot as a portable file: `skep ctl snapshot save FILE`, and the beginning of a new cluster from one.
// Without keys and without the group: whoever has the file can read the table and nothing more. Refuses: to
// restore over anything, and to begin before the whole file has proved its checksum.
//
// File: "SKEPSNAP", u32 version 1, u32 length, header as JSON; then chunks: u32 length, bytes; a length of 0;
// SHA-256 of all before it. Little-endian.

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { LogStore, SnapshotRecord } from '../log/log.ts'
import { CHUNK_LIMIT_BYTES } from '../log/snapshot.ts'
import { encodeIdentity, type Identity } from '../membership/birth.ts'
import { directoryOf } from '../membership/directory.ts'
import { decodeDirectory, encodeDirectory } from '../membership/members-machine.ts'

const MAGIC = Buffer.from('SKEPSNAP')
const VERSION = 1
const SHA_BYTES = 32
const MAX_HEADER_BYTES = 1024 * 1024
const SYNC_EVERY_BYTES = 4 * 1024 * 1024

export type ExportHeader = {
  /** The cluster it was taken from, and the entry it is of. */
  readonly clusterId: string
  readonly index: number
  readonly term: number
  /** Bytes of the chunks, about: for progress. */
  readonly bytes: number
  /** The machine's birth record without its keys: what a new cluster needs to take the table in. */
  readonly birth: unknown
}

export class ExportDamaged extends Error {
  override readonly name = 'ExportDamaged'
  constructor(what: string) {
    super(`this is no usable snapshot file: ${what}. Nothing was changed; take another copy of the file.`)
  }
}

/**
 * The file, piece by piece. `birth`: without keys; `strip`: takes keys out of a chunk of the machine. The
 * snapshot must stay (`Snapshots.pin`) until the last piece.
 */
export async function* exportOf(
  log: Pick<LogStore, 'readSnapshot'>,
  record: SnapshotRecord,
  clusterId: string,
  birth: unknown,
  strip: (chunk: Uint8Array) => Uint8Array,
): AsyncGenerator<Uint8Array> {
  const { index, term, bytes } = record
  yield* sealedExport({ clusterId, index, term, bytes, birth }, bareChunks(log, record, strip))
}

async function* bareChunks(
  log: Pick<LogStore, 'readSnapshot'>,
  record: SnapshotRecord,
  strip: (chunk: Uint8Array) => Uint8Array,
): AsyncGenerator<Uint8Array> {
  let first = true
  for await (const chunk of log.readSnapshot(record)) {
    // Who was a member is no affair of another cluster.
    const own = first && decodeDirectory(chunk) !== null
    first = false
    if (!own) yield strip(chunk)
  }
}

async function* sealedExport(
  head: ExportHeader,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const sha = createHash('sha256')
  const sealed = (piece: Uint8Array): Uint8Array => {
    sha.update(piece)
    return piece
  }
  const header = Buffer.from(JSON.stringify(head))
  yield sealed(Buffer.concat([MAGIC, word(VERSION), word(header.length), header]))
  for await (const chunk of chunks) yield sealed(Buffer.concat([word(chunk.byteLength), chunk]))
  yield sealed(word(0))
  yield sha.digest()
}

const word = (n: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(n)
  return bytes
}

/** Writes the pieces to `path`: whole and on disk, or not there at all. Returns its bytes. */
export const saveExport = async (path: string, pieces: AsyncIterable<Uint8Array>): Promise<number> => {
  const part = `${path}.part`
  const file = await open(part, 'w', 0o600)
  let bytes = 0
  try {
    let unsynced = 0
    for await (const piece of pieces) {
      for (let at = 0; at < piece.byteLength; ) at += (await file.write(piece, at)).bytesWritten
      bytes += piece.byteLength
      unsynced += piece.byteLength
      if (unsynced < SYNC_EVERY_BYTES) continue
      unsynced = 0
      await file.datasync()
    }
    await file.sync()
    await file.close()
    await rename(part, path)
  } catch (error) {
    await file.close().catch(() => {})
    await rm(part, { force: true })
    throw error
  }
  const dir = await open(dirname(path), 'r')
  await dir.sync().finally(() => dir.close())
  return bytes
}

/** Reads all of a file, and throws ExportDamaged unless it is what was written. */
export const checkExport = async (pieces: AsyncIterable<Uint8Array>): Promise<ExportHeader> => {
  let header: ExportHeader | null = null
  for await (const item of itemsOf(pieces)) if (!(item instanceof Uint8Array)) header = item
  if (header === null) throw new ExportDamaged('it is empty')
  return header
}

/** The header, then the chunks. The checksum is only known to be right once the last has come. */
async function* itemsOf(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<ExportHeader | Uint8Array> {
  const sha = createHash('sha256')
  const source = pieces[Symbol.asyncIterator]()
  let held: Buffer = Buffer.alloc(0)
  const take = async (bytes: number, what: string): Promise<Buffer> => {
    while (held.length < bytes) {
      const next = await source.next()
      if (next.done === true) throw new ExportDamaged(`it ends in the middle of ${what}`)
      held = held.length === 0 ? Buffer.from(next.value) : Buffer.concat([held, next.value])
    }
    const taken = held.subarray(0, bytes)
    held = held.subarray(bytes)
    return taken
  }
  const counted = async (bytes: number, what: string): Promise<Buffer> => {
    const taken = await take(bytes, what)
    sha.update(taken)
    return taken
  }
  const head = await counted(MAGIC.length + 8, 'its beginning')
  if (!head.subarray(0, MAGIC.length).equals(MAGIC)) throw new ExportDamaged('it does not begin like one')
  const version = head.readUInt32LE(MAGIC.length)
  if (version !== VERSION) throw new ExportDamaged(`it has version ${version}, this program reads ${VERSION}`)
  const length = head.readUInt32LE(MAGIC.length + 4)
  if (length > MAX_HEADER_BYTES) throw new ExportDamaged(`a header of ${length} bytes`)
  const header = parseHeader(await counted(length, 'its header'))
  yield header
  for (let chunk = 0; ; chunk++) {
    const bytes = (await counted(4, `chunk ${chunk}`)).readUInt32LE()
    if (bytes === 0) break
    if (bytes > CHUNK_LIMIT_BYTES) throw new ExportDamaged(`chunk ${chunk} claims ${bytes} bytes`)
    yield await counted(bytes, `chunk ${chunk}`)
  }
  const expected = await take(SHA_BYTES, 'its checksum')
  if (!sha.digest().equals(expected)) throw new ExportDamaged('its checksum is wrong')
  if (held.length > 0 || (await source.next()).done !== true)
    throw new ExportDamaged('it goes on behind its end')
}

const parseHeader = (bytes: Buffer): ExportHeader => {
  try {
    const { clusterId, index, term, bytes: size, birth } = JSON.parse(bytes.toString()) as ExportHeader
    const numbers = [index, term, size].every((n) => Number.isSafeInteger(n) && n >= 0)
    if (typeof clusterId === 'string' && numbers && index > 0)
      return { clusterId, index, term, bytes: size, birth }
  } catch {
    // Said below.
  }
  throw new ExportDamaged('its header is malformed')
}

export type RestoreOptions = {
  /** Empty, or left by a restore that was interrupted. */
  readonly log: LogStore
  /** Opens the file anew each time. */
  readonly pieces: () => AsyncIterable<Uint8Array>
  readonly name: string
  /** `host:port` under which others reach it; '': it stays alone. */
  readonly address: string
  /** New, random: the cluster's and the member's. */
  readonly clusterId: string
  readonly memberId: number
  /** The new cluster's birth record, with new keys, from the one in the header. */
  readonly birth: (birth: unknown) => unknown
  /** The machine's chunks as of the new cluster. */
  readonly renew: (chunks: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>
  /** The level that the new cluster begins at. */
  readonly level: number
}

/**
 * Begins a new cluster of one with the table of a file: another ID, other keys, so that it can never be taken
 * for the one it came from. Others join it as usual. A crash in the middle leaves a directory that refuses to
 * start until restored again. Throws ExportDamaged, or an Error that says why the directory is not free.
 */
export const restoreExport = async (o: RestoreOptions): Promise<Identity> => {
  const { log, name, address, clusterId, memberId } = o
  const interrupted = log.identity !== null && isRestoring(log.identity)
  if (!interrupted && (log.identity !== null || log.lastIndex > 0))
    throw new Error(
      'this data directory belongs to a cluster already: a snapshot is restored into an empty one (--data-dir), ' +
        'and the other replicas join it with empty ones',
    )
  const header = await checkExport(o.pieces())
  const identity: Identity = {
    version: o.level,
    clusterId,
    memberId,
    name,
    initialMembers: [{ name, id: memberId, ...(address === '' ? {} : { address }) }],
    birth: o.birth(header.birth),
  }
  await log.setIdentity(encodeIdentity({ ...identity, phase: 'restoring' }))
  const confState = {
    voters: [memberId],
    learners: [],
    votersOutgoing: [],
    learnersNext: [],
    autoLeave: false,
  }
  const writer = await log.createSnapshot({ index: header.index, term: 1, confState }, false)
  try {
    await writer.write(encodeDirectory(directoryOf([{ id: memberId, name, address }])))
    for await (const chunk of o.renew(chunksOf(itemsOf(o.pieces())))) await writer.write(chunk)
  } catch (error) {
    await writer.abort()
    throw error
  }
  const snapshot = await writer.commit()
  await log.append({
    hardState: { term: 1, vote: 0, commit: header.index },
    entries: [],
    snapshot,
    sync: true,
  })
  await log.setIdentity(encodeIdentity(identity))
  return identity
}

async function* chunksOf(items: AsyncIterable<ExportHeader | Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const item of items) if (item instanceof Uint8Array) yield item
}

/** The file again with other chunks and another birth record, for whoever writes it down. */
export async function* rewritten(
  pieces: AsyncIterable<Uint8Array>,
  birth: (birth: unknown) => unknown,
  renew: (chunks: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const items = itemsOf(pieces)
  const first = await items.next()
  if (first.done === true || first.value instanceof Uint8Array) throw new ExportDamaged('it is empty')
  yield* sealedExport({ ...first.value, birth: birth(first.value.birth) }, renew(chunksOf(items)))
}

const isRestoring = (identity: Uint8Array): boolean =>
  (JSON.parse(Buffer.from(identity).toString()) as Identity).phase === 'restoring'

export const readFilePieces = (path: string): AsyncIterable<Uint8Array> =>
  createReadStream(path, { highWaterMark: 1024 * 1024 })
