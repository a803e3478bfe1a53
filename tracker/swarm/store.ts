// A thread's view of the swarm table: typed arrays over the shared buffers, and finding a torrent.
// What little is written here (counters, extension records) only table.ts and twins.ts ask for, on the
// replica thread.

import { CopyOnWrite } from './cow.ts'
import { Directory } from './directory.ts'
import { Family } from './family.ts'
import { Hashing } from './hashing.ts'
import {
  C_ACCESS,
  C_BUCKET,
  C_COUNTERS,
  C_EXTENSION_FREE,
  C_EXTENSION_TOP,
  C_INDEX_LEVEL,
  C_INDEX_OLD,
  C_INDEX_SEQUENCE,
  C_LEVEL,
  C_TIME,
  C_TORRENTS,
  COUNTERS,
  type Counter,
  E_FREE,
  E_TWIN_LEECHERS,
  E_TWIN_SEEDERS,
  PAGE,
  RECORD,
  type StoreBuffers,
  T_COMPLETED,
  T_EXTENSION,
  T_LEECHERS,
  T_SEEDERS,
  T_SEQUENCE,
} from './layout.ts'
import { Pages } from './pages.ts'
import { readSettings, type Settings } from './settings.ts'

/** Order of the buffers for snapshots and copy on write; only ever added to at the end. */
export const BUFFER_NAMES = [
  'control',
  'index',
  'torrents',
  'extensions',
  'directory',
  'access',
  'peers4',
  'pages4',
  'details4',
  'peers6',
  'pages6',
  'details6',
  'tags',
  'pagesTags',
] as const
export const bufferNumber = (name: (typeof BUFFER_NAMES)[number]): number => BUFFER_NAMES.indexOf(name)

/** Share of a table's room. */
const NEARLY_FULL = 0.95
const E_BUFFER = bufferNumber('extensions')
const COUNTER_WORDS = Object.fromEntries(COUNTERS.map((name, i) => [name, C_COUNTERS + i])) as {
  readonly [name in Counter]: number
}

/**
 * Most index slots looked at before a look-up gives up (it then counts as a miss, which is safe: apply looks
 * again).
 */
const MAX_PROBES = 1 << 16

export class Store {
  readonly buffers: StoreBuffers
  readonly control: Int32Array<SharedArrayBuffer>
  readonly times: Float64Array<SharedArrayBuffer>
  readonly index: Int32Array<SharedArrayBuffer>
  readonly torrents: Int32Array<SharedArrayBuffer>
  readonly extensions: Int32Array<SharedArrayBuffer>
  readonly access: Int32Array<SharedArrayBuffer>
  readonly cow: CopyOnWrite
  readonly hashing: Hashing
  readonly peers4: Family
  readonly peers6: Family
  readonly tags: Family
  /** After `torrent`: the swarm's sequence as it was before its info_hash was compared. */
  sequence = 0

  constructor(buffers: StoreBuffers) {
    this.buffers = buffers
    this.control = new Int32Array(buffers.control)
    this.times = new Float64Array(buffers.control)
    this.index = new Int32Array(buffers.index)
    this.torrents = new Int32Array(buffers.torrents)
    this.extensions = new Int32Array(buffers.extensions)
    this.access = new Int32Array(buffers.access)
    this.cow = new CopyOnWrite(BUFFER_NAMES.map((name) => new Uint8Array(buffers[name])))
    this.hashing = new Hashing(this.control)
    const { limits } = buffers
    const directory = new Directory(
      buffers.directory,
      this.control,
      limits.directoryWords,
      this.cow,
      bufferNumber('directory'),
    )
    const family = (
      number: number,
      stride: number,
      keyLength: number,
      names: readonly [
        keyof StoreBuffers & string,
        keyof StoreBuffers & string,
        'details4' | 'details6' | null,
      ],
      limit: number,
    ) =>
      new Family({
        stride,
        keyLength,
        hashLength: number === 2 ? 2 : keyLength,
        family: number,
        units: buffers[names[0]] as SharedArrayBuffer,
        details: names[2] === null ? null : buffers[names[2]],
        pages: new Pages(
          buffers[names[1]] as SharedArrayBuffer,
          this.control,
          number,
          limit,
          this.cow,
          bufferNumber(names[1] as 'pages4'),
        ),
        directory,
        control: this.control,
        hashing: this.hashing,
        cow: this.cow,
        unitBuffer: bufferNumber(names[0] as 'peers4'),
        detailBuffer: names[2] === null ? -1 : bufferNumber(names[2]),
      })
    this.peers4 = family(0, 6, 3, ['peers4', 'pages4', 'details4'], limits.pages4)
    this.peers6 = family(1, 12, 9, ['peers6', 'pages6', 'details6'], limits.pages6)
    this.tags = family(2, 4, 4, ['tags', 'pagesTags', null], limits.pagesTags)
  }

  /** Index slot where a search for an info_hash begins, before masking. */
  hashOf(words: Int32Array, at: number): number {
    return this.hashing.infoHash(words, at)
  }

  /** Word offset of the torrent record of the info_hash at words[at], or -1. `sequence` is set when found. */
  torrent(words: Int32Array, at: number, hash = this.hashOf(words, at)): number {
    const level = this.control[C_INDEX_LEVEL]!
    const k = this.probe(words, at, hash, level)
    if (k >= 0) return k
    const old = this.control[C_INDEX_OLD]!
    return old === 0 ? -1 : this.probe(words, at, hash, old)
  }

  private probe(words: Int32Array, at: number, hash: number, level: number): number {
    const T = this.torrents
    const index = this.index
    const base = 1 << level
    const mask = base - 1
    const a = words[at]!
    const b = words[at + 1]!
    const c = words[at + 2]!
    const d = words[at + 3]!
    const e = words[at + 4]!
    let slot = hash & mask
    for (let n = 0; n < MAX_PROBES; n++) {
      const entry = index[base + slot]!
      if (entry === 0) return -1
      if (entry > 0) {
        const k = (entry - 1) * RECORD
        if (T[k] === a && T[k + 1] === b && T[k + 2] === c && T[k + 3] === d && T[k + 4] === e) {
          // Looked at twice: the record may have become another torrent's between the first look and the
          // sequence number. (Atomic loads are calls, 30 ns each: only where the order matters.)
          this.sequence = Atomics.load(T, k + T_SEQUENCE)
          if (T[k] === a && T[k + 1] === b && T[k + 2] === c && T[k + 3] === d && T[k + 4] === e) return k
        }
      }
      slot = (slot + 1) & mask
    }
    return -1
  }

  /** Changes whenever an index slot may have moved: a miss counts only if this stayed the same and even. */
  get indexSequence(): number {
    return Atomics.load(this.control, C_INDEX_SEQUENCE)
  }

  /** Offset of a torrent's extension record, or -1. */
  extension(k: number): number {
    return this.torrents[k + T_EXTENSION]! === 0 ? -1 : (this.torrents[k + T_EXTENSION]! - 1) * RECORD
  }

  /** Replica thread: the extension record of a torrent, made if need be; -1 at capacity. */
  extend(k: number): number {
    const has = this.extension(k)
    if (has >= 0) return has
    const c = this.control
    let number = c[C_EXTENSION_FREE]! - 1
    if (number >= 0) c[C_EXTENSION_FREE] = this.extensions[number * RECORD + E_FREE]!
    else {
      number = c[C_EXTENSION_TOP]!
      if (number >= this.buffers.limits.extensions) return -1
      c[C_EXTENSION_TOP] = number + 1
    }
    this.guardExtension(number * RECORD)
    this.extensions.fill(0, number * RECORD, (number + 1) * RECORD)
    this.torrents[k + T_EXTENSION] = number + 1
    return number * RECORD
  }

  /** Replica thread: an extension record is about to change. */
  guardExtension(e: number): void {
    if (this.cow.active) this.cow.before(E_BUFFER, e * 4, (e + RECORD) * 4)
  }

  /** Replica thread: something happened, as every member sees it. */
  count(name: Counter, by = 1): void {
    this.control[COUNTER_WORDS[name]]! += by
  }

  seeders(k: number): number {
    const e = this.extension(k)
    const n = this.torrents[k + T_SEEDERS + 1]! & 0x3ffffff
    return e < 0 ? n : n + (this.extensions[e + 3]! & 0x3ffffff) - this.extensions[e + E_TWIN_SEEDERS]!
  }

  leechers(k: number): number {
    const e = this.extension(k)
    const n = this.torrents[k + T_LEECHERS + 1]! & 0x3ffffff
    return e < 0 ? n : n + (this.extensions[e + 1]! & 0x3ffffff) - this.extensions[e + E_TWIN_LEECHERS]!
  }

  completed(k: number): number {
    return this.torrents[k + T_COMPLETED]!
  }

  get timeMs(): number {
    return this.times[C_TIME / 2]!
  }

  get bucket(): number {
    return this.control[C_BUCKET]!
  }

  get settings(): Settings {
    return readSettings(this.control)
  }

  get torrentCount(): number {
    return this.control[C_TORRENTS]!
  }

  /** Peers stored, both families; twins count twice here. */
  get peerCount(): number {
    return this.peers4.inUse + this.peers6.inUse
  }

  counter(name: Counter): number {
    return this.control[COUNTER_WORDS[name]]! >>> 0
  }

  /** The behaviour level of the cluster (level.ts); 0 before its birth. */
  get level(): number {
    return this.control[C_LEVEL]!
  }

  /** No room for new torrents, or hardly any. */
  get nearlyFull(): boolean {
    const { torrents, pages4, pages6 } = this.buffers.limits
    const full = (used: number, room: number): boolean => used > room * NEARLY_FULL
    if (full(this.control[C_TORRENTS]!, torrents)) return true
    return full(this.peers4.inUse, pages4 * PAGE) || full(this.peers6.inUse, pages6 * PAGE)
  }

  counters(): Record<Counter, number> {
    return Object.fromEntries(COUNTERS.map((name) => [name, this.counter(name)])) as Record<Counter, number>
  }

  /** Bytes in use by what is stored, without what was only reserved. */
  get bytesInUse(): number {
    const unit = this.buffers.limits.details ? 48 : 0
    return (
      this.control[C_TORRENTS]! * RECORD * 4 +
      2 ** this.control[C_INDEX_LEVEL]! * 4 +
      this.peers4.pages.top * 64 * (12 + unit) +
      this.peers6.pages.top * 64 * (24 + unit) +
      this.tags.pages.top * 64 * 8
    )
  }

  get accessActive(): boolean {
    return this.control[C_ACCESS + 1] !== 0
  }
}
