// The allocator of one family of units (IPv4 peers, IPv6 peers, tags): pages of 64 units, cut into blocks of
// one of twelve sizes or used whole. Like malloc's size classes, but every list lies in shared memory, so
// that equal logs give equal bytes. Refuses: to know what a unit holds.
//
// Page words: 0 kind (0 free, 1-12 cut into blocks of CAPS[kind - 1], 31 a leaf) | count << 8 | depth << 16;
// 1-2 bit mask of free block slots; 3 next, 4 previous page + 1 in the list of partly used (or free) pages.

import type { CopyOnWrite } from './cow.ts'
import { C_FAMILIES, F_FREE, F_PARTIAL, F_TOP, FAMILY_WORDS, PAGE, PAGE_WORDS } from './layout.ts'

/** Units a block of kind k + 1 holds. */
export const CAPS = [1, 2, 3, 4, 6, 8, 10, 12, 16, 21, 32, 64] as const
export const WHOLE = CAPS.length
const LEAF = 31
/** CAPS as a typed array, indexed by kind. */
export const CAP_OF = Uint8Array.from([0, ...CAPS])
const SLOTS_OF = Uint8Array.from([0, ...CAPS.map((c) => Math.floor(PAGE / c))])

export class Pages {
  readonly words: Int32Array<SharedArrayBuffer>
  private readonly control: Int32Array<SharedArrayBuffer>
  private readonly base: number
  private readonly limit: number
  private readonly cow: CopyOnWrite
  private readonly buffer: number

  /** `buffer`: number of the page words' buffer for copy on write. */
  constructor(
    words: SharedArrayBuffer,
    control: Int32Array<SharedArrayBuffer>,
    family: number,
    limit: number,
    cow: CopyOnWrite,
    buffer: number,
  ) {
    this.words = new Int32Array(words)
    this.control = control
    this.base = C_FAMILIES + family * FAMILY_WORDS
    this.limit = limit
    this.cow = cow
    this.buffer = buffer
  }

  /** Peers in a leaf page. */
  count(page: number): number {
    return (this.words[page * PAGE_WORDS]! >>> 8) & 0xff
  }

  /** Hash bits that all peers of a leaf share. */
  depth(page: number): number {
    return (this.words[page * PAGE_WORDS]! >>> 16) & 0xff
  }

  setLeaf(page: number, count: number, depth: number): void {
    this.guard(page)
    this.words[page * PAGE_WORDS] = LEAF | (count << 8) | (depth << 16)
  }

  /** Pages ever used: everything above is untouched. */
  get top(): number {
    return this.control[this.base + F_TOP]!
  }

  /** A whole page as an empty leaf, or -1 at capacity. */
  takeLeaf(depth: number): number {
    const page = this.takePage()
    if (page >= 0) this.setLeaf(page, 0, depth)
    return page
  }

  freeLeaf(page: number): void {
    this.freePage(page)
  }

  /** First unit of a free block of `kind`, or -1 at capacity. */
  take(kind: number): number {
    let page = this.control[this.base + F_PARTIAL + kind - 1]! - 1
    if (page < 0) {
      page = this.takePage()
      if (page < 0) return -1
      const w = page * PAGE_WORDS
      const slots = SLOTS_OF[kind]!
      this.words[w] = kind
      this.words[w + 1] = slots >= 32 ? -1 : (1 << slots) - 1
      this.words[w + 2] = slots === 64 ? -1 : slots > 32 ? (1 << (slots - 32)) - 1 : 0
      this.link(page, kind)
    }
    this.guard(page)
    const w = page * PAGE_WORDS
    const half = this.words[w + 1] !== 0 ? 1 : 2
    const mask = this.words[w + half]!
    const bit = 31 - Math.clz32(mask & -mask)
    this.words[w + half] = mask & ~(1 << bit)
    if (this.words[w + 1] === 0 && this.words[w + 2] === 0) this.unlink(page, kind)
    return page * PAGE + (half === 1 ? bit : bit + 32) * CAP_OF[kind]!
  }

  /** Gives a block back; a page without blocks goes back too. */
  free(unit: number, kind: number): void {
    const page = Math.floor(unit / PAGE)
    this.guard(page)
    const w = page * PAGE_WORDS
    const slot = (unit - page * PAGE) / CAP_OF[kind]!
    const wasFull = this.words[w + 1] === 0 && this.words[w + 2] === 0
    if (slot < 32) this.words[w + 1]! |= 1 << slot
    else this.words[w + 2]! |= 1 << (slot - 32)
    if (wasFull) this.link(page, kind)
    const slots = SLOTS_OF[kind]!
    const allLow = slots >= 32 ? -1 : (1 << slots) - 1
    const allHigh = slots === 64 ? -1 : slots > 32 ? (1 << (slots - 32)) - 1 : 0
    if (this.words[w + 1] === allLow && this.words[w + 2] === allHigh) {
      this.unlink(page, kind)
      this.freePage(page)
    }
  }

  private takePage(): number {
    const c = this.control
    const free = c[this.base + F_FREE]! - 1
    if (free >= 0) {
      this.guard(free)
      c[this.base + F_FREE] = this.words[free * PAGE_WORDS + 3]!
      this.words[free * PAGE_WORDS + 3] = 0
      return free
    }
    const top = c[this.base + F_TOP]!
    if (top >= this.limit) return -1
    c[this.base + F_TOP] = top + 1
    this.guard(top)
    return top
  }

  private freePage(page: number): void {
    this.guard(page)
    const w = page * PAGE_WORDS
    this.words[w] = 0
    this.words[w + 1] = 0
    this.words[w + 2] = 0
    this.words[w + 3] = this.control[this.base + F_FREE]!
    this.words[w + 4] = 0
    this.control[this.base + F_FREE] = page + 1
  }

  private link(page: number, kind: number): void {
    const head = this.base + F_PARTIAL + kind - 1
    const next = this.control[head]!
    this.words[page * PAGE_WORDS + 3] = next
    this.words[page * PAGE_WORDS + 4] = 0
    if (next > 0) {
      this.guard(next - 1)
      this.words[(next - 1) * PAGE_WORDS + 4] = page + 1
    }
    this.control[head] = page + 1
  }

  private unlink(page: number, kind: number): void {
    const w = page * PAGE_WORDS
    const next = this.words[w + 3]!
    const previous = this.words[w + 4]!
    if (previous > 0) {
      this.guard(previous - 1)
      this.words[(previous - 1) * PAGE_WORDS + 3] = next
    } else this.control[this.base + F_PARTIAL + kind - 1] = next
    if (next > 0) {
      this.guard(next - 1)
      this.words[(next - 1) * PAGE_WORDS + 4] = previous
    }
    this.words[w + 3] = 0
    this.words[w + 4] = 0
  }

  private guard(page: number): void {
    if (this.cow.active) this.cow.before(this.buffer, page * PAGE_WORDS * 4, (page + 1) * PAGE_WORDS * 4)
  }
}
