// Log entries: 32-bit little-endian words, written by front threads' batches and by admins, read by apply.
// Refuses: to decide anything; what may be proposed was settled before.
//
// Every entry: word 0 kind | version << 8, words 1-2 cluster time in milliseconds (low, high; 0: none).
// BATCH: word 3 sections; a section: member ID low, high, incarnation, number, words (all of it), parts; a
// part:
//   producer | what << 16 (0 changes, 1 touches), first sequence, count, words, then that many words: records as change.ts has
//   them, or touches, packed (touches.ts).
// ACCESS: word 3 list | operation << 8, word 4 revision, then five words an info_hash.
// Others: word 3 length in bytes, then JSON (rare, and easy to extend).

import type { AccessList, AccessOperation } from './access.ts'
import { compact, loggedWords } from './change.ts'
import type { Limits } from './layout.ts'
import type { Settings } from './settings.ts'
import { PADDING, packTouches, TOUCH_BYTES } from './touches.ts'

export const BATCH = 1
export const SETTINGS = 2
export const ACCESS = 3
export const BIRTH = 4
export const LEVEL = 5
export const ID_KEY = 6
const VERSION = 1

export const ENTRY_WORDS = 4
export const SECTION_WORDS = 6
export const PART_WORDS = 4
export const CHANGES = 0
export const TOUCHES = 1

export const OPERATIONS: readonly AccessOperation[] = ['replace', 'add', 'remove', 'off']

/** Secret of the hash tables: four random words. */
export type HashKey = readonly [number, number, number, number]

/** The first entry of a cluster: everything `apply` depends on. */
export type Birth = {
  /** 32 hexadecimal digits. */
  readonly clusterId: string
  /** Seed of the hash tables at level 1. */
  readonly hashSeed: number
  /** Key of the hash tables from level 2 on; a cluster of level 1 draws it when its level is raised. */
  readonly hashKey?: HashKey
  /** First key of connection IDs: two random words. */
  readonly idKey: readonly [number, number]
  readonly limits: Limits
  readonly settings: Settings
  readonly level: number
}

/** One member's numbered batch: changes and touches of its front ends. */
export class BatchWriter {
  private readonly words: Int32Array<ArrayBuffer>
  private readonly packed: Uint8Array
  private keys = new Uint32Array(1024)
  private at = SECTION_WORDS

  constructor(maxBytes: number) {
    this.words = new Int32Array(maxBytes >>> 2)
    this.packed = new Uint8Array(this.words.buffer)
  }

  begin(member: number, incarnation: number, number: number): void {
    const w = this.words
    w[0] = member
    w[1] = Math.floor(member / 2 ** 32)
    w[2] = incarnation
    w[3] = number
    w[5] = 0
    this.at = SECTION_WORDS
  }

  get empty(): boolean {
    return this.at === SECTION_WORDS
  }

  /** Compacts ring records from sequence `first` on; returns how many of `count` fitted. */
  addChanges(
    producer: number,
    ring: { readonly words: Int32Array; at(sequence: number): number },
    first: number,
    count: number,
  ): number {
    const part = this.at
    let at = part + PART_WORDS
    let n = 0
    for (; n < count; n++) {
      const from = ring.at((first + n) | 0)
      if (at + loggedWords(ring.words[from]!) > this.words.length) break
      at += compact(ring.words, from, this.words, at)
    }
    if (n > 0) this.part(part, producer, CHANGES, first, n, at)
    return n
  }

  /** Adds touch words; returns how many fitted. */
  addTouches(producer: number, words: Int32Array, count: number): number {
    const part = this.at
    const from = (part + PART_WORDS) * 4
    const n = Math.min(count, Math.floor((this.packed.length - from) / TOUCH_BYTES))
    if (n <= 0) return 0
    if (n > this.keys.length) this.keys = new Uint32Array(2 * n)
    const to = packTouches(words, n, this.keys, this.packed, from)
    const end = (to + 3) >>> 2
    this.packed.fill(PADDING, to, end * 4)
    this.part(part, producer, TOUCHES, 0, n, end)
    return n
  }

  private part(
    part: number,
    producer: number,
    what: number,
    first: number,
    count: number,
    end: number,
  ): void {
    const w = this.words
    w[part] = producer | (what << 16)
    w[part + 1] = first
    w[part + 2] = count
    w[part + 3] = end - part - PART_WORDS
    w[5]!++
    this.at = end
  }

  /** The section; a view, valid until `begin`. */
  bytes(): Uint8Array {
    this.words[4] = this.at
    return new Uint8Array(this.words.buffer, 0, this.at * 4)
  }
}

function header(kind: number, timeMs: number, words: number): { bytes: Uint8Array; view: Int32Array } {
  const view = new Int32Array(words)
  view[0] = kind | (VERSION << 8)
  view[1] = timeMs
  view[2] = Math.floor(timeMs / 2 ** 32)
  return { bytes: new Uint8Array(view.buffer), view }
}

/** Several members' sections in one entry. `timeMs`: the cluster's clock as the leader counts it. */
export function batchEntry(timeMs: number, sections: readonly Uint8Array[]): Uint8Array {
  let words = ENTRY_WORDS
  for (const s of sections) words += s.length >>> 2
  const { bytes, view } = header(BATCH, timeMs, words)
  view[3] = sections.length
  let at = ENTRY_WORDS * 4
  for (const s of sections) {
    bytes.set(s, at)
    at += s.length
  }
  return bytes
}

function jsonEntry(kind: number, timeMs: number, value: unknown): Uint8Array {
  const text = new TextEncoder().encode(JSON.stringify(value))
  const { bytes, view } = header(kind, timeMs, ENTRY_WORDS + Math.ceil(text.length / 4))
  view[3] = text.length
  bytes.set(text, ENTRY_WORDS * 4)
  return bytes
}

export const birthEntry = (birth: Birth): Uint8Array => jsonEntry(BIRTH, 0, birth)

/** Settings that are to change; those left out stay. */
export const settingsEntry = (settings: Partial<Settings>): Uint8Array => jsonEntry(SETTINGS, 0, settings)

/**
 * Raises the behaviour level; only once every member supports it. `hashKey`: the cluster's secret from level
 * 2 on, drawn by whoever proposes.
 */
export const levelEntry = (level: number, hashKey: HashKey): Uint8Array =>
  jsonEntry(LEVEL, 0, { level, hashKey })

/** A new key for connection IDs, good from the next window on; the old one stays for the windows before. */
export const idKeyEntry = (key: readonly [number, number]): Uint8Array => jsonEntry(ID_KEY, 0, { key })

/**
 * `hashes`: 20 bytes an info_hash. `revision` 0 takes the next one; one that is not newer is ignored by
 * apply.
 */
export function accessEntry(
  list: AccessList,
  operation: AccessOperation,
  revision: number,
  hashes: Uint8Array,
): Uint8Array {
  if (hashes.length % 20 !== 0) throw new RangeError(`${hashes.length} bytes: not a multiple of 20`)
  const { bytes, view } = header(ACCESS, 0, ENTRY_WORDS + 1 + hashes.length / 4)
  view[3] = list | (OPERATIONS.indexOf(operation) << 8)
  view[4] = revision
  bytes.set(hashes, (ENTRY_WORDS + 1) * 4)
  return bytes
}

const entryKind = (data: Uint8Array): number => (data.length >= 16 ? data[0]! : 0)

/** The JSON of an entry of a rare kind. */
export function jsonOf(words: Int32Array): unknown {
  const text = new Uint8Array(words.buffer, words.byteOffset + ENTRY_WORDS * 4, words[3]!).slice()
  return JSON.parse(new TextDecoder().decode(text))
}

/** The birth record, if `data` is one. */
export function readBirth(data: Uint8Array): Birth | null {
  if (entryKind(data) !== BIRTH) return null
  const copy = data.slice()
  return jsonOf(new Int32Array(copy.buffer, 0, copy.length >>> 2)) as Birth
}
