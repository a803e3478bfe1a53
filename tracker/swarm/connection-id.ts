// BEP 15 connection IDs of a cluster: stateless, a keyed hash of the asker's address and a window of cluster
// time. The keys are replicated, so an ID from one member is good at every other and through a change of
// leader. One may be lent while there is no lease: without a leader the window stands still, and for a member
// that is cut off it stands still for longer than for the others. Refuses: to know the wall clock.
//
// ID, as two words in packet order: HalfSipHash-1-3 (Aumasson, Bernstein) of address and window; 24 further
// bits of the same state, then the window's low 8 bits.

import { C_ID_KEYS, C_TIME } from './layout.ts'
import type { Store } from './store.ts'

/** Milliseconds of cluster time a window. */
export const WINDOW_MS = 120_000

/** An ID that was lent is good for this long where it was, however far the window moves, milliseconds. */
const LENT_MS = WINDOW_MS

/** Words at C_ID_KEYS: current key 2, previous key 2, first window of the current key. */
export const ID_KEY_WORDS = 5

export class ConnectionIds {
  lo = 0
  hi = 0
  private readonly store: Store
  private window = 0
  private grace = 0
  private k0 = 0
  private k1 = 0
  private old0 = 0
  private old1 = 0
  private since = 0
  private nowMs = 0
  /** The window that was lent last, and until when its IDs are taken. */
  private lentWindow = 0
  private lentUntilMs = Number.NEGATIVE_INFINITY

  constructor(store: Store) {
    this.store = store
    this.refresh(0)
  }

  /**
   * Reads window and keys; once a batch. `graceWindows`: older windows taken beyond the previous one.
   * `nowMs`: of any clock that goes on.
   */
  refresh(graceWindows: number, nowMs = 0): void {
    const c = this.store.control
    this.nowMs = nowMs
    this.window = Math.floor(this.store.times[C_TIME / 2]! / WINDOW_MS)
    this.grace = Math.min(200, graceWindows)
    this.k0 = c[C_ID_KEYS]!
    this.k1 = c[C_ID_KEYS + 1]!
    this.old0 = c[C_ID_KEYS + 2]!
    this.old1 = c[C_ID_KEYS + 3]!
    this.since = c[C_ID_KEYS + 4]!
  }

  /** There is a key: the cluster's birth is known here. */
  get known(): boolean {
    return (this.k0 | this.k1) !== 0
  }

  /** IDs are given out now although no lease holds. */
  lend(): void {
    this.lentWindow = this.window
    this.lentUntilMs = this.nowMs + LENT_MS
  }

  /** The ID of an address in the current window, into `lo` and `hi`. */
  make(a0: number, a1: number, a2: number, a3: number): void {
    this.hash(this.window, a0, a1, a2, a3)
  }

  /** Was this ID made for this address in the current, the next, the previous or a window of grace? */
  check(lo: number, hi: number, a0: number, a1: number, a2: number, a3: number): boolean {
    const behind = ((this.window + 1) & 0xff) - ((hi >>> 24) & 0xff)
    let age = (behind & 0xff) - 1 // -1: the next window, 0: this one, 1: the previous
    if (age > this.grace + 1) {
      if (this.nowMs > this.lentUntilMs || hi >>> 24 !== (this.lentWindow & 0xff)) return false
      age = this.window - this.lentWindow
    }
    const l = this.lo
    const h = this.hi
    this.hash(this.window - age, a0, a1, a2, a3)
    const good = this.lo === lo && this.hi === hi
    this.lo = l
    this.hi = h
    return good
  }

  /** `hash` of an IPv4 address, written out as `Hashing.five` is: every datagram but a connect needs it. */
  // biome-ignore format: a round is four lines, for eyes that compare them
  private hash4(window: number, address: number): void {
    const fresh = window >= this.since
    const k0 = fresh ? this.k0 : this.old0, k1 = fresh ? this.k1 : this.old1, w = window | 0
    let v0 = k0, v1 = k1, v2 = 0x6c796765 ^ k0, v3 = 0x74656462 ^ k1
    v3 ^= address; v0 = (v0 + v1) | 0; v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0; v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0; v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0; v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0; v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2; v2 = (v2 << 16) | (v2 >>> 16); v0 ^= address
    v3 ^= w; v0 = (v0 + v1) | 0; v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0; v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0; v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0; v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0; v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2; v2 = (v2 << 16) | (v2 >>> 16); v0 ^= w
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
    this.lo = v1 ^ v3
    this.hi = ((v0 ^ v2) & 0xffffff) | ((w & 0xff) << 24)
  }

  private hash(window: number, a0: number, a1: number, a2: number, a3: number): void {
    if ((a1 | a2 | a3) === 0) {
      this.hash4(window, a0)
      return
    }
    const fresh = window >= this.since
    const k0 = fresh ? this.k0 : this.old0
    const k1 = fresh ? this.k1 : this.old1
    let v0 = k0
    let v1 = k1
    let v2 = 0x6c796765 ^ k0
    let v3 = 0x74656462 ^ k1
    for (let i = 0; i < 8; i++) {
      const last = i - 5
      const m = last >= 0 ? 0 : i === 0 ? a0 : i === 1 ? a1 : i === 2 ? a2 : i === 3 ? a3 : window | 0
      if (last === 0) v2 ^= 0xff
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
    this.lo = v1 ^ v3
    this.hi = ((v0 ^ v2) & 0xffffff) | ((window & 0xff) << 24)
  }
}
