// Table <-> checksummed chunks: the used part of every buffer in order, 64 KiB a chunk, all-zero ones left
// out. Equal applied index gives equal bytes. Refuses: files, streams and time; and a chunk that does not
// fit.
//
// Chunk: words 0 magic, 1 buffer (or FIRST, LAST), 2 block, 3 bytes, 4 checksum of the bytes; then the bytes,
// padded to 4. FIRST carries a manifest as JSON: limits, used bytes a buffer. LAST carries the number of
// chunks.

import { BLOCK } from './cow.ts'
import {
  C_DIRECTORY_TOP,
  C_EXTENSION_TOP,
  C_INDEX_LEVEL,
  C_LEVEL,
  C_TORRENT_TOP,
  type Limits,
  RECORD,
} from './layout.ts'
import { LEVEL, LevelUnknown } from './level.ts'
import { BUFFER_NAMES, type Store } from './store.ts'

const MAGIC = 0x534b4350 // "SKCP"
const FIRST = 0xf1
const LAST = 0xf2
const HEADER = 20

export class SnapshotDamaged extends Error {
  override name = 'SnapshotDamaged'
}

type Manifest = { readonly version: 1; readonly limits: Limits; readonly used: readonly number[] }

/** A word-wise mix (not cryptographic) that notices any flipped, missing or swapped word. */
export function checksum(bytes: Uint8Array): number {
  let h = 0x9e3779b1 ^ bytes.length
  const words = bytes.length >>> 2
  const aligned = (bytes.byteOffset & 3) === 0 ? bytes : Uint8Array.from(bytes)
  const w = new Int32Array(aligned.buffer, aligned.byteOffset, words)
  for (let i = 0; i < words; i++) {
    h = Math.imul(h ^ w[i]!, 0x85ebca6b)
    h = (h << 13) | (h >>> 19)
  }
  for (let i = words * 4; i < bytes.length; i++) h = Math.imul(h ^ bytes[i]!, 0xc2b2ae35)
  return (h ^ (h >>> 15)) | 0
}

/** `into`: where it is made, instead of in memory of its own. */
export function sealChunk(
  buffer: number,
  block: number,
  data: Uint8Array,
  into = new Uint8Array(HEADER + Math.ceil(data.length / 4) * 4),
): Uint8Array {
  const out = into.subarray(0, HEADER + Math.ceil(data.length / 4) * 4)
  out.fill(0, HEADER + data.length)
  const w = new Int32Array(into.buffer, 0, 5)
  w[0] = MAGIC
  w[1] = buffer
  w[2] = block
  w[3] = data.length
  w[4] = checksum(data) ^ Math.imul(buffer + 1, 0x27d4eb2f) ^ Math.imul(block + 1, 0x165667b1)
  out.set(data, HEADER)
  return out
}

/** Bytes in use of each buffer, in the order of BUFFER_NAMES. */
export function usedBytes(store: Store): number[] {
  const c = store.control
  const pages = (f: { pages: { top: number } }) => f.pages.top
  const details = store.buffers.limits.details
  const used: { readonly [name in (typeof BUFFER_NAMES)[number]]: number } = {
    control: store.buffers.control.byteLength,
    index: 2 ** (c[C_INDEX_LEVEL]! + 1) * 4,
    torrents: c[C_TORRENT_TOP]! * RECORD * 4,
    extensions: c[C_EXTENSION_TOP]! * RECORD * 4,
    directory: c[C_DIRECTORY_TOP]! * 4,
    access: store.buffers.access.byteLength,
    peers4: pages(store.peers4) * 64 * 12,
    pages4: pages(store.peers4) * 32,
    details4: details ? pages(store.peers4) * 64 * 48 : 0,
    peers6: pages(store.peers6) * 64 * 24,
    pages6: pages(store.peers6) * 32,
    details6: details ? pages(store.peers6) * 64 * 48 : 0,
    tags: pages(store.tags) * 64 * 8,
    pagesTags: pages(store.tags) * 32,
  }
  return BUFFER_NAMES.map((name) => used[name])
}

/**
 * Begins a snapshot of this moment and yields its chunks; the table may change between two of them, and a
 * chunk is valid until the next is asked for.
 * `release` when it is given up early.
 */
export function takeSnapshot(store: Store): {
  bytes: number
  chunks(): Generator<Uint8Array>
  release(): void
} {
  const used = usedBytes(store)
  const control = new Uint8Array(store.buffers.control).slice()
  store.cow.begin()
  const manifest: Manifest = { version: 1, limits: store.buffers.limits, used }
  const room = new Uint8Array(HEADER + BLOCK)
  return {
    bytes: used.reduce((a, b) => a + b, 0),
    release: () => store.cow.end(),
    *chunks() {
      let count = 1
      try {
        yield sealChunk(FIRST, 0, new TextEncoder().encode(JSON.stringify(manifest)))
        for (let buffer = 0; buffer < used.length; buffer++)
          for (let block = 0; block * BLOCK < used[buffer]!; block++) {
            const whole =
              buffer === 0
                ? control.subarray(block * BLOCK, (block + 1) * BLOCK)
                : store.cow.read(buffer, block)
            const data = whole.subarray(0, Math.min(BLOCK, used[buffer]! - block * BLOCK))
            if (isZero(data)) continue
            count++
            yield sealChunk(buffer, block, data, room)
          }
        yield sealChunk(LAST, count, new Uint8Array(0))
      } finally {
        store.cow.end()
      }
    },
  }
}

function isZero(bytes: Uint8Array): boolean {
  const w = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2)
  for (let i = 0; i < w.length; i++) if (w[i] !== 0) return false
  for (let i = w.length * 4; i < bytes.length; i++) if (bytes[i] !== 0) return false
  return true
}

/** Checks a chunk; throws SnapshotDamaged. */
export function openChunk(bytes: Uint8Array): { buffer: number; block: number; data: Uint8Array } {
  const aligned = (bytes.byteOffset & 3) === 0 ? bytes : Uint8Array.from(bytes)
  if (aligned.length < HEADER)
    throw new SnapshotDamaged(`snapshot chunk of ${bytes.length} bytes is too short`)
  const w = new Int32Array(aligned.buffer, aligned.byteOffset, 5)
  const [magic, buffer, block, length, sum] = w as unknown as [number, number, number, number, number]
  if (magic !== MAGIC) throw new SnapshotDamaged('not a snapshot chunk')
  if (length > aligned.length - HEADER)
    throw new SnapshotDamaged(`snapshot chunk ${buffer}/${block} is cut short`)
  const data = aligned.subarray(HEADER, HEADER + length)
  if ((checksum(data) ^ Math.imul(buffer + 1, 0x27d4eb2f) ^ Math.imul(block + 1, 0x165667b1)) !== sum)
    throw new SnapshotDamaged(`snapshot chunk ${buffer}/${block} has a wrong checksum`)
  return { buffer, block, data }
}

/** The capacity a snapshot needs, from its first chunk. */
export function snapshotLimits(first: Uint8Array): Limits {
  const { buffer, data } = openChunk(first)
  if (buffer !== FIRST) throw new SnapshotDamaged('a snapshot begins with its manifest')
  return (JSON.parse(new TextDecoder().decode(data)) as Manifest).limits
}

/** Takes chunks in order and replaces the whole table. */
export class Restorer {
  private readonly store: Store
  private count = 0
  private manifest: Manifest | null = null
  private done = false
  private readonly views: Uint8Array[]

  constructor(store: Store) {
    this.store = store
    this.views = BUFFER_NAMES.map((name) => new Uint8Array(store.buffers[name]))
  }

  add(bytes: Uint8Array): void {
    const { buffer, block, data } = openChunk(bytes)
    if (this.manifest === null) {
      if (buffer !== FIRST) throw new SnapshotDamaged('a snapshot begins with its manifest')
      this.begin(JSON.parse(new TextDecoder().decode(data)) as Manifest)
    } else if (buffer === LAST) {
      if (block !== this.count)
        throw new SnapshotDamaged(`snapshot has ${this.count} chunks instead of ${block}`)
      this.done = true
      return
    } else {
      const view = this.views[buffer]
      if (view === undefined || block * BLOCK + data.length > view.length)
        throw new SnapshotDamaged(`snapshot chunk ${buffer}/${block} lies outside its buffer`)
      if (buffer === 0 && block === 0) this.restoreControl(data)
      else view.set(data, block * BLOCK)
    }
    this.count++
  }

  /** The level last: whoever sees it reads the secret of the tables (hashing.ts). */
  private restoreControl(data: Uint8Array): void {
    const words = new Int32Array(Uint8Array.from(data).buffer)
    const level = words[C_LEVEL]!
    words[C_LEVEL] = 0
    this.store.control.set(words)
    Atomics.store(this.store.control, C_LEVEL, level)
  }

  private begin(manifest: Manifest): void {
    const mine = this.store.buffers.limits
    for (const [name, value] of Object.entries(manifest.limits))
      if (mine[name as keyof Limits] !== value)
        throw new SnapshotDamaged(
          `snapshot needs ${name} = ${value}, this replica has ${mine[name as keyof Limits]}`,
        )
    usedBytes(this.store).forEach((used, i) => {
      this.views[i]!.fill(0, 0, Math.min(used, this.views[i]!.length))
    })
    this.manifest = manifest
  }

  /** Throws if the last chunk has not come. */
  finish(): void {
    if (!this.done) throw new SnapshotDamaged(`snapshot ends after ${this.count} chunks`)
    if (this.store.level > LEVEL) throw new LevelUnknown(this.store.level)
    this.store.hashing.refresh()
  }
}

/** One number for all the table's bytes: equal on members that have applied the same entries. */
export function digest(store: Store): number {
  let h = 0
  usedBytes(store).forEach((used, i) => {
    h = Math.imul(h ^ checksum(new Uint8Array(store.buffers[BUFFER_NAMES[i]!]).subarray(0, used)), 0x85ebca6b)
    h ^= h >>> 15
  })
  return h | 0
}
