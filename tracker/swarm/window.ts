// Which peers an answer holds: runs of units from a random place on, leechers first for a seeder, both in the
// swarm's proportion for a leecher, never the asker. Reads tables that may change meanwhile: every loop is
// bounded, and the caller throws the result away if the swarm's sequence moved. Refuses: to decide, and to
// allocate.

import { addressClass4, addressClass6, PUBLIC } from './address.ts'
import { type Family, formOf, sizeOf } from './family.ts'
import { PAGE } from './layout.ts'
import { WHOLE } from './pages.ts'
import { tagOf } from './twins.ts'

/** Leaves looked at for one set of one answer, at the most. */
const MAX_LEAVES = 256

export class Windows {
  /**
   * The asker: its state, its unit in the family being written (-1: none), and whether it is stored in the
   * other state.
   */
  seeder = false
  me = -1
  meOther = false
  /** Leave out private addresses. */
  hidden = false
  /** Leave out this tag (the asker's own peer in the other family); 0: nobody. */
  tag = 0
  /** Receives a handle a peer (`Announcer.peerId`), or null. */
  handles: Int32Array | null = null
  handle = 0
  private random: number
  /** The buffer last written to, and the same bytes as 32-bit words. */
  private out: Uint16Array = new Uint16Array(0)
  private out32: Int32Array = new Int32Array(0)

  constructor(seed: number) {
    this.random = seed | 0 || 88172645
  }

  /** xorshift32 (Marsaglia). */
  private draw(): number {
    let r = this.random
    r ^= r << 13
    r ^= r >>> 17
    r ^= r << 5
    this.random = r
    return r
  }

  /**
   * Writes up to `want` peers of one family: leechers' set at `at`, seeders' at `at + 2`. Returns the new
   * offset.
   */
  write(f: Family, set: Int32Array, at: number, want: number, out: Uint16Array, o: number): number {
    const mine = this.me < 0 ? 0 : 1
    const inLeechers = this.seeder === this.meOther ? mine : 0
    const l = sizeOf(set[at + 1]!) - inLeechers
    const s = sizeOf(set[at + 3]!) - (mine - inLeechers)
    let leechers = l
    let seeders = s
    const r = this.draw()
    if (l + s > want) {
      // One peer more or less by chance, so that the proportion holds on average.
      leechers = this.seeder ? want : ((want * l) / (l + s) + (r & 0xffff) / 65536) | 0
      if (leechers > l) leechers = l
      if (want - leechers > s) leechers = want - s
      seeders = want - leechers
    }
    let d = o
    if (leechers > 0) d = this.window(f, set[at]!, set[at + 1]!, leechers, this.draw(), out, d)
    if (seeders > 0) d = this.window(f, set[at + 2]!, set[at + 3]!, seeders, this.draw(), out, d)
    return d
  }

  private window(
    f: Family,
    root: number,
    word: number,
    count: number,
    r: number,
    out: Uint16Array,
    o: number,
  ): number {
    const form = formOf(word)
    if (form <= WHOLE) {
      const size = sizeOf(word)
      const n = Math.min(size, PAGE)
      const start = n <= count ? 0 : ((r & 0xffff) * n) >>> 16
      return f.stride === 6 && !this.picky
        ? this.run4(f, root, n, start, count, out, o)
        : this.run(f, root, n, start, count, out, o)
    }
    const depth = form - 32
    const slots = 1 << depth
    // Other bits than `start` below takes, or page and place in it would go together.
    let slot = depth === 0 ? 0 : Math.imul(r, 0x9e3779b1) >>> (32 - depth)
    let left = count
    let d = o
    let walked = 0
    for (let leaves = 0; leaves < MAX_LEAVES && left > 0 && walked < slots; leaves++) {
      const page = f.directory.words[root + slot]!
      const n = f.pages.count(page)
      const span = 1 << Math.max(0, depth - f.pages.depth(page))
      if (n > 0 && n <= PAGE) {
        const start = leaves === 0 ? ((r & 0xffff) * n) >>> 16 : 0
        const to =
          f.stride === 6 && !this.picky
            ? this.run4(f, page * PAGE, n, start, left, out, d)
            : this.run(f, page * PAGE, n, start, left, out, d)
        left -= (to - d) / f.keyLength
        d = to
      }
      const next = (slot | (span - 1)) + 1
      walked += next - slot
      slot = next & (slots - 1)
    }
    return d
  }

  /** Is there more to look at than who asks? */
  private get picky(): boolean {
    return this.hidden || this.tag !== 0 || this.handles !== null
  }

  /**
   * IPv4 units first + (start, start + 1, ... mod n) but the asker, at most `count` of them: 6 bytes each to
   * `out`.
   */
  private run4(
    f: Family,
    first: number,
    n: number,
    start: number,
    count: number,
    out: Uint16Array,
    o: number,
  ): number {
    const d = this.stretch4(f, first + start, first + n, count, out, o)
    const left = (count - (d - o) / 3) | 0
    return left > 0 && start > 0 ? this.stretch4(f, first, first + start, left, out, d) : d
  }

  /** Units from..to but the asker, at most `count`. Two peers are three words: pairs are written as such. */
  private stretch4(f: Family, from: number, to: number, count: number, out: Uint16Array, o: number): number {
    const me = this.me
    if (me >= from && me < to) {
      const d = this.copy4(f, from, Math.min(me, from + count), out, o)
      const left = count - (((d - o) / 3) | 0)
      return left > 0 ? this.copy4(f, me + 1, Math.min(to, me + 1 + left), out, d) : d
    }
    return this.copy4(f, from, Math.min(to, from + count), out, o)
  }

  private copy4(f: Family, from: number, to: number, out: Uint16Array, o: number): number {
    const w = f.words
    let d = o
    let q = from * 3
    let end = to * 3
    if (q >= end) return d
    if (out !== this.out) this.look(out)
    const out32 = this.out32
    if ((d & 1) !== 0) {
      const a = w[q]!
      out[d] = a
      out[d + 1] = a >>> 16
      out[d + 2] = w[q + 1]!
      d += 3
      q += 3
    }
    let e = d >> 1
    for (end -= 3; q < end; q += 6, e += 3) {
      const b = w[q + 3]!
      out32[e] = w[q]!
      out32[e + 1] = (w[q + 1]! & 0xffff) | (b << 16)
      out32[e + 2] = (b >>> 16) | (w[q + 4]! << 16)
    }
    d = e << 1
    if (q === end) {
      const a = w[q]!
      out[d] = a
      out[d + 1] = a >>> 16
      out[d + 2] = w[q + 1]!
      d += 3
    }
    return d
  }

  private look(out: Uint16Array): void {
    this.out = out
    this.out32 = new Int32Array(out.buffer, out.byteOffset, out.length >> 1)
  }

  /** The same for either family, looking at each peer. */
  private run(
    f: Family,
    first: number,
    n: number,
    start: number,
    count: number,
    out: Uint16Array,
    o: number,
  ): number {
    const u = f.units
    const stride = f.stride
    const keyLength = f.keyLength
    let d = o
    let left = count
    for (let i = 0; i < n && left > 0; i++) {
      const unit = first + (start + i < n ? start + i : start + i - n)
      if (unit === this.me || this.skipped(f, unit)) continue
      const q = unit * stride
      for (let j = 0; j < keyLength; j++) out[d + j] = u[q + j]!
      d += keyLength
      left--
      if (this.handles !== null) this.handles[this.handle++] = keyLength === 9 ? unit | (1 << 31) : unit
    }
    return d
  }

  /** Peers that this asker must not see: private ones from outside, and its own other address. */
  private skipped(f: Family, unit: number): boolean {
    if (this.tag !== 0 && tagOf(f, unit) === this.tag) return true
    if (!this.hidden) return false
    const u = f.units
    const q = unit * f.stride
    if (f.keyLength === 3) return addressClass4(u[q]! | (u[q + 1]! << 16)) !== PUBLIC
    return (
      addressClass6(
        u[q]! | (u[q + 1]! << 16),
        u[q + 2]! | (u[q + 3]! << 16),
        u[q + 4]! | (u[q + 5]! << 16),
        u[q + 6]! | (u[q + 7]! << 16),
      ) !== PUBLIC
    )
  }
}
