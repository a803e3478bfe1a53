// Sets of units: the seeders or leechers of a swarm in one address family, or its tags. A set is two words
// anywhere: root, and size | form << 26. Small sets are one block, scanned; big ones are extendible hashing
// (Fagin et al. 1979): a directory of 2^depth pages of at most 64 units, so no write moves more than a page.
// Refuses: to know swarms, locks, or time.
//
// form: 0 empty; 1-12 a block of CAPS[form - 1] units at `root`; 32 + depth: a directory at `root`, indexed
// by the top `depth` bits of the unit's hash.

import { DETAIL_WORDS } from './change.ts'
import type { CopyOnWrite } from './cow.ts'
import type { Directory } from './directory.ts'
import type { Hashing } from './hashing.ts'
import { C_FAMILIES, DETAIL_BYTES, F_UNITS, FAMILY_WORDS, PAGE } from './layout.ts'
import { CAP_OF, type Pages, WHOLE } from './pages.ts'

const SIZE_MASK = (1 << 26) - 1
const MAX_DEPTH = 24
/** Two leaves are joined, and a directory becomes a block, when this few units are left. */
const JOIN_AT = 32

export const sizeOf = (word: number): number => word & SIZE_MASK
export const formOf = (word: number): number => word >>> 26

export class Family {
  /** Half-words a unit, and of its key (address and port, or the whole tag unit). */
  readonly stride: number
  readonly keyLength: number
  /** Leading half-words of the key that are hashed: all of it, or only the tag. */
  readonly hashLength: number
  readonly units: Uint16Array<SharedArrayBuffer>
  /** The same bytes as 32-bit words. */
  readonly words: Int32Array<SharedArrayBuffer>
  readonly details: Int32Array<SharedArrayBuffer>
  readonly pages: Pages
  readonly directory: Directory
  /** The key that `find` and `insert` are about. */
  readonly key = new Uint16Array(16)
  private readonly hashing: Hashing
  private readonly control: Int32Array<SharedArrayBuffer>
  private readonly used: number
  private readonly cow: CopyOnWrite
  private readonly unitBuffer: number
  private readonly detailBuffer: number

  constructor(options: {
    stride: number
    keyLength: number
    hashLength: number
    family: number
    units: SharedArrayBuffer
    details: SharedArrayBuffer | null
    pages: Pages
    directory: Directory
    control: Int32Array<SharedArrayBuffer>
    hashing: Hashing
    cow: CopyOnWrite
    unitBuffer: number
    detailBuffer: number
  }) {
    this.stride = options.stride
    this.keyLength = options.keyLength
    this.hashLength = options.hashLength
    this.units = new Uint16Array(options.units)
    this.words = new Int32Array(options.units)
    this.details = new Int32Array(options.details ?? new SharedArrayBuffer(0))
    this.pages = options.pages
    this.directory = options.directory
    this.control = options.control
    this.hashing = options.hashing
    this.used = C_FAMILIES + options.family * FAMILY_WORDS + F_UNITS
    this.cow = options.cow
    this.unitBuffer = options.unitBuffer
    this.detailBuffer = options.detailBuffer
  }

  /** Units in use. */
  get inUse(): number {
    return this.control[this.used]!
  }

  /** Hash of the key in `key`. */
  hashKey(): number {
    return this.hashing.halves(this.key, 0, this.hashLength)
  }

  hashOf(unit: number): number {
    return this.hashing.halves(this.units, unit * this.stride, this.hashLength)
  }

  /**
   * The unit with `key`, or -1. Safe for a reader while the set changes: bounded, and any number may come
   * out.
   */
  find(set: Int32Array, at: number): number {
    const root = set[at]!
    const word = set[at + 1]!
    const form = formOf(word)
    if (form === 0) return -1
    if (form <= WHOLE) return this.scan(root, Math.min(sizeOf(word), PAGE))
    const page = this.directory.words[root + this.slot(this.hashKey(), form - 32)]!
    return this.scan(page * PAGE, Math.min(this.pages.count(page), PAGE))
  }

  /** A unit begins with a word of its key. */
  private scan(first: number, count: number): number {
    const { words, units, key, keyLength } = this
    const stride = this.stride / 2
    const head = key[0]! | (key[1]! << 16)
    for (let i = 0, q = first * stride; i < count; i++, q += stride) {
      if (words[q] !== head) continue
      let j = 2
      while (j < keyLength && units[2 * q + j] === key[j]) j++
      if (j === keyLength) return first + i
    }
    return -1
  }

  /**
   * `find` for IPv4 without the detour over `key`: one comparison of words a unit. The hot path of announces.
   */
  find4(set: Int32Array, at: number, address: number, port: number): number {
    const word = set[at + 1]!
    const form = word >>> 26
    if (form === 0) return -1
    const w = this.words
    let first = set[at]!
    let n = word & SIZE_MASK
    if (form > WHOLE) {
      const hash = this.hashing.peer4(address, port)
      const page = this.directory.words[first + this.slot(hash, form - 32)]!
      first = page * PAGE
      n = this.pages.count(page)
    }
    if (n > PAGE) n = PAGE
    const end = first + n
    for (let unit = first, q = first * 3; unit < end; unit++, q += 3)
      if (w[q] === address && (w[q + 1]! & 0xffff) === port) return unit
    return -1
  }

  private slot(hash: number, depth: number): number {
    return depth === 0 ? 0 : hash >>> (32 - depth)
  }

  /**
   * A new unit with `key` (which is not in the set), the rest of it undefined; -1 at capacity, the set
   * unchanged.
   */
  insert(set: Int32Array, at: number): number {
    let word = set[at + 1]!
    let form = formOf(word)
    const size = sizeOf(word)
    let unit: number
    if (form <= WHOLE) {
      if (size === CAP_OF[form]! && !this.growBlock(set, at)) return -1
      word = set[at + 1]!
      form = formOf(word)
    }
    if (form <= WHOLE) unit = set[at]! + size
    else {
      unit = this.insertLeaf(set, at)
      if (unit < 0) return -1
    }
    set[at + 1] = (set[at + 1]! & ~SIZE_MASK) | (size + 1)
    this.guard(unit, 1)
    const q = unit * this.stride
    for (let i = 0; i < this.keyLength; i++) this.units[q + i] = this.key[i]!
    this.control[this.used]!++
    return unit
  }

  /** Everything of a unit from another table of the same kind. */
  fill(unit: number, from: Family, its: number): void {
    const { stride } = this
    this.guard(unit, 1)
    this.units.set(from.units.subarray(its * stride, (its + 1) * stride), unit * stride)
    if (this.details.length === 0) return
    const at = its * DETAIL_WORDS
    this.details.set(from.details.subarray(at, at + DETAIL_WORDS), unit * DETAIL_WORDS)
  }

  /** Takes a unit out; the last of its block or leaf fills the gap. */
  remove(set: Int32Array, at: number, unit: number): void {
    const word = set[at + 1]!
    const form = formOf(word)
    const size = sizeOf(word) - 1
    this.control[this.used]!--
    if (form <= WHOLE) {
      this.move(set[at]! + size, unit, 1)
      set[at + 1] = (word & ~SIZE_MASK) | size
      this.shrinkBlock(set, at)
      return
    }
    const hash = this.hashOf(unit)
    const page = Math.floor(unit / PAGE)
    const count = this.pages.count(page) - 1
    this.move(page * PAGE + count, unit, 1)
    this.pages.setLeaf(page, count, this.pages.depth(page))
    set[at + 1] = (word & ~SIZE_MASK) | size
    if (size <= JOIN_AT) this.collapse(set, at)
    else this.joinLeaf(set, at, hash)
  }

  /** Gives back everything a set holds. */
  clear(set: Int32Array, at: number): void {
    const word = set[at + 1]!
    const form = formOf(word)
    this.control[this.used]! -= sizeOf(word)
    if (form > WHOLE) {
      this.eachLeaf(set, at, (page) => this.pages.freeLeaf(page))
      this.directory.free(set[at]!, form - 32)
    } else if (form > 0) this.pages.free(set[at]!, form)
    set[at] = 0
    set[at + 1] = 0
  }

  /**
   * Lays a set anew, because its units hash otherwise now: its two words are changed last and at once, so
   * that its size is right for whoever looks meanwhile. Returns how many units found no room.
   */
  relay(set: Int32Array, at: number): number {
    const size = sizeOf(set[at + 1]!)
    if (formOf(set[at + 1]!) <= WHOLE) return 0
    const { units, details, stride } = this
    const kept = new Uint16Array(size * stride)
    const keptDetails = new Int32Array(details.length > 0 ? size * DETAIL_WORDS : 0)
    let n = 0
    this.each(set, at, (unit) => {
      kept.set(units.subarray(unit * stride, (unit + 1) * stride), n * stride)
      if (details.length > 0)
        keptDetails.set(details.subarray(unit * DETAIL_WORDS, (unit + 1) * DETAIL_WORDS), n * DETAIL_WORDS)
      n++
    })
    const now = Int32Array.of(set[at]!, set[at + 1]!)
    this.clear(now, 0)
    let lost = 0
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < this.keyLength; j++) this.key[j] = kept[i * stride + j]!
      const unit = this.insert(now, 0)
      if (unit < 0) {
        lost++
        continue
      }
      units.set(kept.subarray(i * stride, (i + 1) * stride), unit * stride)
      if (details.length > 0)
        details.set(keptDetails.subarray(i * DETAIL_WORDS, (i + 1) * DETAIL_WORDS), unit * DETAIL_WORDS)
    }
    set[at] = now[0]!
    set[at + 1] = now[1]!
    return lost
  }

  /** Every unit of a set, in an order that only depends on the bytes. The set must not change meanwhile. */
  each(set: Int32Array, at: number, visit: (unit: number) => void): void {
    const form = formOf(set[at + 1]!)
    if (form === 0) return
    if (form <= WHOLE) {
      const n = sizeOf(set[at + 1]!)
      for (let i = 0; i < n; i++) visit(set[at]! + i)
    } else
      this.eachLeaf(set, at, (page) => {
        for (let i = 0, n = this.pages.count(page); i < n; i++) visit(page * PAGE + i)
      })
  }

  /** Every unit that may have the hash of `key`: its leaf, or the whole block. */
  eachAlike(set: Int32Array, at: number, visit: (unit: number) => void): void {
    const form = formOf(set[at + 1]!)
    if (form <= WHOLE) {
      this.each(set, at, visit)
      return
    }
    const page = this.directory.words[set[at]! + this.slot(this.hashKey(), form - 32)]!
    for (let i = 0, n = this.pages.count(page); i < n; i++) visit(page * PAGE + i)
  }

  eachLeaf(set: Int32Array, at: number, visit: (page: number) => void): void {
    const root = set[at]!
    const depth = formOf(set[at + 1]!) - 32
    for (let slot = 0; slot < 2 ** depth; ) {
      const page = this.directory.words[root + slot]!
      const span = 2 ** (depth - this.pages.depth(page))
      visit(page)
      slot += span
    }
  }

  guard(unit: number, count: number): void {
    if (!this.cow.active) return
    this.cow.before(this.unitBuffer, unit * this.stride * 2, (unit + count) * this.stride * 2)
    if (this.details.length > 0)
      this.cow.before(this.detailBuffer, unit * DETAIL_BYTES, (unit + count) * DETAIL_BYTES)
  }

  private move(from: number, to: number, count: number): void {
    if (from === to || count === 0) return
    this.guard(to, count)
    this.units.copyWithin(to * this.stride, from * this.stride, (from + count) * this.stride)
    if (this.details.length > 0) this.details.copyWithin(to * 12, from * 12, (from + count) * 12)
  }

  private growBlock(set: Int32Array, at: number): boolean {
    const form = formOf(set[at + 1]!)
    const size = sizeOf(set[at + 1]!)
    if (form === WHOLE) return this.toDirectory(set, at)
    const unit = this.pages.take(form + 1)
    if (unit < 0) return false
    this.move(set[at]!, unit, size)
    if (form > 0) this.pages.free(set[at]!, form)
    set[at] = unit
    set[at + 1] = size | ((form + 1) << 26)
    return true
  }

  private shrinkBlock(set: Int32Array, at: number): void {
    const form = formOf(set[at + 1]!)
    const size = sizeOf(set[at + 1]!)
    if (size === 0) {
      this.pages.free(set[at]!, form)
      set[at] = 0
      set[at + 1] = 0
      return
    }
    if (form < 3 || size > CAP_OF[form - 2]!) return
    const unit = this.pages.take(form - 1)
    if (unit < 0) return
    this.move(set[at]!, unit, size)
    this.pages.free(set[at]!, form)
    set[at] = unit
    set[at + 1] = size | ((form - 1) << 26)
  }

  /** A full block of 64 becomes the only leaf of a directory of one; `insertLeaf` then splits it. */
  private toDirectory(set: Int32Array, at: number): boolean {
    const offset = this.directory.take(0)
    if (offset < 0) return false
    const page = this.pages.takeLeaf(0)
    if (page < 0) {
      this.directory.free(offset, 0)
      return false
    }
    const size = sizeOf(set[at + 1]!)
    this.move(set[at]!, page * PAGE, size)
    this.pages.setLeaf(page, size, 0)
    this.pages.free(set[at]!, WHOLE)
    this.directory.guard(offset, 1)
    this.directory.words[offset] = page
    set[at] = offset
    set[at + 1] = size | (32 << 26)
    return true
  }

  private insertLeaf(set: Int32Array, at: number): number {
    const hash = this.hashKey()
    for (;;) {
      const depth = formOf(set[at + 1]!) - 32
      const page = this.directory.words[set[at]! + this.slot(hash, depth)]!
      const count = this.pages.count(page)
      if (count < PAGE) {
        this.pages.setLeaf(page, count + 1, this.pages.depth(page))
        return page * PAGE + count
      }
      if (this.pages.depth(page) === depth && !this.double(set, at)) return -1
      if (!this.split(set, at, page, hash)) return -1
    }
  }

  private double(set: Int32Array, at: number): boolean {
    const form = formOf(set[at + 1]!)
    const depth = form - 32
    if (depth >= MAX_DEPTH) return false
    const offset = this.directory.take(depth + 1)
    if (offset < 0) return false
    const d = this.directory.words
    const from = set[at]!
    this.directory.guard(offset, 2 ** (depth + 1))
    for (let i = 0; i < 2 ** depth; i++) {
      d[offset + 2 * i] = d[from + i]!
      d[offset + 2 * i + 1] = d[from + i]!
    }
    this.directory.free(from, depth)
    set[at] = offset
    set[at + 1] = sizeOf(set[at + 1]!) | ((form + 1) << 26)
    return true
  }

  /** Splits a full leaf by its next hash bit. */
  private split(set: Int32Array, at: number, page: number, hash: number): boolean {
    const depth = formOf(set[at + 1]!) - 32
    const local = this.pages.depth(page)
    const twin = this.pages.takeLeaf(local + 1)
    if (twin < 0) return false
    let stay = 0
    let gone = 0
    for (let i = 0; i < PAGE; i++) {
      const unit = page * PAGE + i
      if (((this.hashOf(unit) >>> (31 - local)) & 1) === 1) this.move(unit, twin * PAGE + gone++, 1)
      else this.move(unit, page * PAGE + stay++, 1)
    }
    this.pages.setLeaf(page, stay, local + 1)
    this.pages.setLeaf(twin, gone, local + 1)
    const span = 2 ** (depth - local)
    const first = Math.floor(this.slot(hash, depth) / span) * span + span / 2
    const root = set[at]!
    this.directory.guard(root + first, span / 2)
    this.directory.words.fill(twin, root + first, root + first + span / 2)
    return true
  }

  /** After a removal: joins a leaf with its buddy when both are nearly empty. */
  private joinLeaf(set: Int32Array, at: number, hash: number): void {
    const depth = formOf(set[at + 1]!) - 32
    const root = set[at]!
    const slot = this.slot(hash, depth)
    const page = this.directory.words[root + slot]!
    const local = this.pages.depth(page)
    if (local === 0) return
    const span = 2 ** (depth - local)
    const mine = Math.floor(slot / span)
    const buddy = this.directory.words[root + (mine ^ 1) * span]!
    const a = this.pages.count(page)
    const b = this.pages.count(buddy)
    if (this.pages.depth(buddy) !== local || a + b > JOIN_AT) return
    this.move(buddy * PAGE, page * PAGE + a, b)
    this.pages.setLeaf(page, a + b, local - 1)
    this.pages.freeLeaf(buddy)
    const first = (mine & ~1) * span
    this.directory.guard(root + first, span * 2)
    this.directory.words.fill(page, root + first, root + first + span * 2)
  }

  /** A directory with few units left becomes a block again. */
  private collapse(set: Int32Array, at: number): void {
    const word = set[at + 1]!
    const size = sizeOf(word)
    let kind = 1
    while (CAP_OF[kind]! < size + 1) kind++
    const unit = this.pages.take(kind)
    if (unit < 0) return
    let filled = 0
    this.eachLeaf(set, at, (page) => {
      const n = this.pages.count(page)
      this.move(page * PAGE, unit + filled, n)
      filled += n
    })
    this.eachLeaf(set, at, (page) => this.pages.freeLeaf(page))
    this.directory.free(set[at]!, formOf(word) - 32)
    set[at] = unit
    set[at + 1] = size | (kind << 26)
  }
}
