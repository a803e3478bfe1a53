// Where an entry of a table begins to be searched, from bytes that strangers choose. From level 2 on this is
// HalfSipHash-1-3 (Aumasson, Bernstein) with 128 bits of key and without the length word, since every input
// of a table has the same length: all bytes count, and without the cluster's secret nobody can make two of
// them meet. At level 1 it is the weaker mix of version 0.1.0. Refuses: to write; rehash.ts lays the tables
// anew.

import { C_BIRTH, C_HASH_KEY, C_LEVEL } from './layout.ts'

/** From this level on tables are keyed. */
export const KEYED_FROM = 2

/** The mix of level 1; `seed` is the cluster's. */
export const mixInto = (h: number, word: number): number => {
  let x = Math.imul(h ^ word, 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 15), 0xc2b2ae35)
  return x ^ (x >>> 13)
}

export class Hashing {
  private readonly control: Int32Array
  /** As of which level the secret was read; -1: never. */
  private level = -1
  private keyed = false
  private seed = 0
  private k0 = 0
  private k1 = 0
  private k2 = 0
  private k3 = 0
  /** A key whose words lie elsewhere otherwise. */
  private readonly words = new Int32Array(8)

  constructor(control: Int32Array) {
    this.control = control
  }

  /** A view may be older than its cluster, or than its level: the secret is known from then on. */
  refresh(): void {
    const c = this.control
    this.level = c[C_LEVEL]!
    this.keyed = this.level >= KEYED_FROM
    this.seed = c[C_BIRTH + 5]!
    this.readKey()
  }

  /** Replica thread: the tables are being laid anew, and everybody else still uses the old hash. */
  begin(): void {
    this.refresh()
    this.keyed = true
  }

  private readKey(): void {
    const c = this.control
    this.k0 = c[C_HASH_KEY]!
    this.k1 = c[C_HASH_KEY + 1]!
    this.k2 = c[C_HASH_KEY + 2]!
    this.k3 = c[C_HASH_KEY + 3]!
  }

  /** Of the info_hash at words[at]. */
  infoHash(words: Int32Array, at: number): number {
    if (this.level !== this.control[C_LEVEL]) this.refresh()
    if (!this.keyed) return mixInto(mixInto(this.seed, words[at]!), words[at + 1]!)
    return this.five(words, at)
  }

  /** Of an IPv4 peer, all 32 bits of it positive. */
  peer4(address: number, port: number): number {
    if (this.level !== this.control[C_LEVEL]) this.refresh()
    if (!this.keyed) {
      const h = mixInto(mixInto(this.seed, address), port)
      return (h ^ (h >>> 16)) >>> 0
    }
    this.words[0] = address
    this.words[1] = port
    return this.mix(this.words, 0, 2) >>> 0
  }

  /** The same of any key: its first `length` half-words, at units[at]. */
  halves(units: Uint16Array, at: number, length: number): number {
    if (this.level !== this.control[C_LEVEL]) this.refresh()
    const { words } = this
    const n = (length + 1) >> 1
    for (let i = 0; i < n; i++) {
      const high = 2 * i + 1 < length ? units[at + 2 * i + 1]! : 0
      words[i] = units[at + 2 * i]! | (high << 16)
    }
    if (this.keyed) return this.mix(words, 0, n) >>> 0
    let h = this.seed
    for (let i = 0; i < n; i++) h = mixInto(h, words[i]!)
    return (h ^ (h >>> 16)) >>> 0
  }

  /**
   * `mix` of five words, written out: a loop takes V8 more instructions, and every announce begins with this.
   * A copy for other words is in connection-id.ts; hashing-words.test.ts holds all against one plain twin.
   */
  // biome-ignore format: a round is four lines, for eyes that compare them
  private five(words: Int32Array, at: number): number {
    const m0 = words[at]!, m1 = words[at + 1]!, m2 = words[at + 2]!, m3 = words[at + 3]!, m4 = words[at + 4]!
    let v0 = this.k0, v1 = this.k1, v2 = this.k2 ^ 0x6c796765, v3 = this.k3 ^ 0x74656462
    v3 ^= m0; v0 = (v0 + v1) | 0; v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0; v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0; v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0; v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0; v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2; v2 = (v2 << 16) | (v2 >>> 16); v0 ^= m0
    v3 ^= m1; v0 = (v0 + v1) | 0; v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0; v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0; v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0; v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0; v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2; v2 = (v2 << 16) | (v2 >>> 16); v0 ^= m1
    v3 ^= m2; v0 = (v0 + v1) | 0; v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0; v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0; v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0; v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0; v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2; v2 = (v2 << 16) | (v2 >>> 16); v0 ^= m2
    v3 ^= m3; v0 = (v0 + v1) | 0; v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0; v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0; v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0; v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0; v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2; v2 = (v2 << 16) | (v2 >>> 16); v0 ^= m3
    v3 ^= m4; v0 = (v0 + v1) | 0; v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0; v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0; v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0; v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0; v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2; v2 = (v2 << 16) | (v2 >>> 16); v0 ^= m4
    v2 ^= 0xff
    v0 = (v0 + v1) | 0; v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0; v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0; v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0; v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0; v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2; v2 = (v2 << 16) | (v2 >>> 16)
    v0 = (v0 + v1) | 0; v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0; v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0; v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0; v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0; v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2; v2 = (v2 << 16) | (v2 >>> 16)
    v0 = (v0 + v1) | 0; v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0; v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0; v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0; v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0; v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2; v2 = (v2 << 16) | (v2 >>> 16)
    return v1 ^ v3
  }

  /** `n` words from words[at] on. */
  private mix(words: Int32Array, at: number, n: number): number {
    let v0 = this.k0
    let v1 = this.k1
    let v2 = this.k2 ^ 0x6c796765
    let v3 = this.k3 ^ 0x74656462
    for (let i = at; i < at + n; i++) {
      const m = words[i]!
      v3 ^= m
      v0 = (v0 + v1) | 0
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
      v0 = (v0 << 16) | (v0 >>> 16)
      v2 = (v2 + v3) | 0
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
      v0 = (v0 + v3) | 0
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
      v2 = (v2 + v1) | 0
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
      v2 = (v2 << 16) | (v2 >>> 16)
      v0 ^= m
    }
    v2 ^= 0xff
    for (let i = 0; i < 3; i++) {
      v0 = (v0 + v1) | 0
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
      v0 = (v0 << 16) | (v0 >>> 16)
      v2 = (v2 + v3) | 0
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
      v0 = (v0 + v3) | 0
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
      v2 = (v2 + v1) | 0
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
      v2 = (v2 << 16) | (v2 >>> 16)
    }
    return v1 ^ v3
  }
}
