// The read side of an announce: which change it asks for, and the answer. Per packet: numbers and buffers,
// nothing allocated. Events are always changes: only the log says that one changes nothing. Readers run
// beside the writer: everything between two loads of a swarm's sequence number counts only if the number
// stayed the same and even. Refuses: to write to the table.

import { allowed } from './access.ts'
import { addressClass4, addressClass6, PUBLIC } from './address.ts'
import { bearsEvent, IPV6, KIND_MASK, LEAVE, SEEDER, WORD_DETAILS, WORD_HASH, WORD_TAG } from './change.ts'
import { type Family, sizeOf } from './family.ts'
import {
  BUCKET_MS,
  C_ACCESS,
  C_BUCKET,
  C_INDEX_LEVEL,
  C_SETTINGS,
  HAS_PRIVATE,
  RECORD,
  T_COMPLETED,
  T_FLAGS,
  T_LEECHERS,
  T_SEEDERS,
  T_SEQUENCE,
} from './layout.ts'
import type { Store } from './store.ts'
import { checkOf, lock } from './table.ts'
import { tagOf } from './twins.ts'
import { Windows } from './window.ts'

/** What an announce asks for. */
export const NONE = 0
/** Nothing but "still here": answer, and put `touch` into the touch ring. */
export const REFRESH = 1
/** A join, move, completion or leave, or may be one: park it, it must be committed. */
export const CHANGE = 2
/** The access lists forbid this info_hash; who leaves is let go all the same. */
export const DENIED = 3
/** The swarm kept changing while it was read: treat as CHANGE. */
export const BUSY = 4

const TRIES = 4
/** Looks at an index that is being laid anew: far longer than that takes. */
const INDEX_TRIES = 1 << 24
/** Announces of one batch that `warm` reads ahead for. */
const WARM_MOST = 256
const ALLOW_PRIVATE_AUTO = 0

export class Announcer {
  /** Counts of the swarm last looked at; a client seen on IPv4 and IPv6 counts once. */
  seeders = 0
  leechers = 0
  completed = 0
  /** Peers written by the last answer. */
  count4 = 0
  count6 = 0
  /** After REFRESH: the word for the touch ring. */
  touch = 0
  /** Of the info_hash that the next `announce` is about, if `willLook` has told; 0: it has not. */
  hash = 0
  private warmCount = 0
  private readonly warmSlots = new Int32Array(WARM_MOST)
  /** Keeps the reads of `warm` from being optimised away. */
  warmed = 0
  /** Looks that met a half-written swarm. */
  retries = 0
  private readonly store: Store
  private readonly torrents: Int32Array
  private readonly windows: Windows
  private readonly control: Int32Array

  /** `seed`: of the random windows, any number. */
  constructor(store: Store, seed: number) {
    this.store = store
    this.torrents = store.torrents
    this.control = store.control
    this.windows = new Windows(seed)
  }

  /**
   * Decides and answers. `words[at..]` is a change record (change.ts). Peers go to `out` from half-word `o`:
   * `count4` times 3 half-words, then `count6` times 9. `families`: 1 IPv4, 2 IPv6, 3 both. After CHANGE,
   * DENIED and BUSY nothing of the answer counts.
   */
  announce(
    words: Int32Array,
    at: number,
    want: number,
    families: number,
    out: Uint16Array,
    o: number,
    handles: Int32Array | null = null,
  ): number {
    const s = this.store
    const word0 = words[at]!
    if ((word0 & KIND_MASK) !== LEAVE && this.denied(words, at)) return DENIED
    if (bearsEvent(word0)) return CHANGE
    this.windows.handles = handles
    const hash = this.hash === 0 ? s.hashOf(words, at + WORD_HASH) : this.hash
    this.hash = 0
    for (let tries = 0; tries < TRIES; tries++) {
      const k = s.torrent(words, at + WORD_HASH, hash)
      if (k < 0) {
        this.nothing()
        return CHANGE
      }
      if (!this.enter(k)) continue
      const what = this.decide(k, words, at, want, families, out, o)
      if (this.leave(k)) return what
    }
    return BUSY
  }

  /**
   * Do the access lists forbid the info_hash? Asked once more when the change was applied: a list here may
   * have been behind.
   */
  denied(words: Int32Array, at: number): boolean {
    return this.control[C_ACCESS + 1] !== 0 && !allowed(this.store, words, at + WORD_HASH)
  }

  /**
   * The same answer without deciding anything: after the change was applied. False if the swarm kept
   * changing.
   */
  answer(
    words: Int32Array,
    at: number,
    want: number,
    families: number,
    out: Uint16Array,
    o: number,
    handles: Int32Array | null = null,
  ): boolean {
    const s = this.store
    this.windows.handles = handles
    for (let tries = 0; tries < TRIES * 16; tries++) {
      const before = s.indexSequence
      const k = s.torrent(words, at + WORD_HASH)
      if (k < 0) {
        this.nothing()
        if ((before & 1) === 0 && s.indexSequence === before) return true
        continue
      }
      if (!this.enter(k)) continue
      this.locate(k, words, at)
      this.fill(k, words, at, want, families, out, o)
      if (this.leave(k)) return true
    }
    return false
  }

  /** Counts only (BEP 48); an unknown info_hash at words[at] has none. */
  scrape(words: Int32Array, at: number): void {
    const s = this.store
    for (let tries = 0; tries < TRIES * 16; tries++) {
      const before = s.indexSequence
      const k = s.torrent(words, at)
      if (k < 0) {
        this.nothing()
        if ((before & 1) === 0 && s.indexSequence === before) return
        continue
      }
      if (!this.enter(k)) continue
      this.counts(k)
      if (this.leave(k)) return
    }
    // The index is being laid anew: a miss says nothing.
    for (let tries = 0; tries < INDEX_TRIES; tries++) {
      const before = s.indexSequence
      if ((before & 1) === 0 && (s.torrent(words, at) >= 0 || s.indexSequence === before)) break
    }
    // The writer was held up inside this swarm: counts that are one change off are better than no answer.
    const k = s.torrent(words, at)
    if (k < 0) this.nothing()
    else this.counts(k)
  }

  /** Notes an info_hash at words[at] for `warm`, at most WARM_MOST before it; returns its hash. */
  willLook(words: Int32Array, at: number): number {
    const hash = this.store.hashOf(words, at)
    if (this.warmCount < WARM_MOST) this.warmSlots[this.warmCount++] = hash
    return hash
  }

  /**
   * Reads, once a batch, what the announces noted by `willLook` are about to read. Independent loads wait for
   * memory together, dependent ones one after the other: with cold caches this saves a fifth of an announce.
   */
  warm(): void {
    const slots = this.warmSlots
    const { index } = this.store
    const T = this.torrents
    const { words } = this.store.peers4
    const n = this.warmCount
    const base = 1 << this.control[C_INDEX_LEVEL]!
    let sum = 0
    for (let i = 0; i < n; i++) {
      const entry = index[base + (slots[i]! & (base - 1))]!
      const k = entry > 0 ? (entry - 1) * RECORD : 0
      slots[i] = k
      sum ^= T[k]!
    }
    for (let i = 0; i < n; i++) {
      const k = slots[i]!
      sum ^= words[T[k + T_LEECHERS]! * 3]! ^ words[T[k + T_SEEDERS]! * 3]!
    }
    this.warmCount = 0
    this.warmed = sum
  }

  /**
   * peer_id of a peer by a handle from `handles`, as five words into `to`; false where details are not kept.
   */
  peerId(handle: number, to: Int32Array): boolean {
    const family = handle < 0 ? this.store.peers6 : this.store.peers4
    if (family.details.length === 0) return false
    const unit = handle & 0x7fffffff
    for (let i = 0; i < 5; i++) to[i] = family.details[unit * 12 + i]!
    return true
  }

  private nothing(): void {
    this.seeders = 0
    this.leechers = 0
    this.completed = 0
    this.count4 = 0
    this.count6 = 0
  }

  private counts(k: number): void {
    this.seeders = this.store.seeders(k)
    this.leechers = this.store.leechers(k)
    this.completed = this.torrents[k + T_COMPLETED]!
  }

  private enter(k: number): boolean {
    if (!this.store.buffers.ordered) {
      lock(this.torrents, k + T_SEQUENCE)
      return true
    }
    if ((this.store.sequence & 1) === 0) return true
    this.retries++
    return false
  }

  private leave(k: number): boolean {
    if (!this.store.buffers.ordered) {
      const now = Atomics.load(this.torrents, k + T_SEQUENCE)
      Atomics.store(this.torrents, k + T_SEQUENCE, now - 1)
      return now - 1 === this.store.sequence
    }
    if (Atomics.load(this.torrents, k + T_SEQUENCE) === this.store.sequence) return true
    this.retries++
    return false
  }

  /** The asker's unit in the set of its state, in the other set, or nowhere. */
  private me = -1
  private meOther = false

  private locate(k: number, words: Int32Array, at: number): void {
    const s = this.store
    const word0 = words[at]!
    const seeder = (word0 & SEEDER) !== 0
    this.meOther = false
    this.me = -1
    if ((word0 & IPV6) === 0) {
      const f = s.peers4
      const address = words[at + 1]!
      const port = word0 >>> 16
      this.me = f.find4(this.torrents, k + (seeder ? T_SEEDERS : T_LEECHERS), address, port)
      if (this.me < 0) {
        this.me = f.find4(this.torrents, k + (seeder ? T_LEECHERS : T_SEEDERS), address, port)
        this.meOther = this.me >= 0
      }
      return
    }
    const e = s.extension(k)
    if (e < 0) return
    const f = s.peers6
    for (let i = 0; i < 4; i++) {
      f.key[2 * i] = words[at + 1 + i]!
      f.key[2 * i + 1] = words[at + 1 + i]! >>> 16
    }
    f.key[8] = word0 >>> 16
    this.me = f.find(s.extensions, e + (seeder ? 2 : 0))
    if (this.me < 0) {
      this.me = f.find(s.extensions, e + (seeder ? 0 : 2))
      this.meOther = this.me >= 0
    }
  }

  private decide(
    k: number,
    words: Int32Array,
    at: number,
    want: number,
    families: number,
    out: Uint16Array,
    o: number,
  ): number {
    this.locate(k, words, at)
    if (this.me < 0 || this.meOther) return CHANGE
    const v6 = (words[at]! & IPV6) !== 0
    const family = v6 ? this.store.peers6 : this.store.peers4
    const tag = tagOf(family, this.me)
    if (tag !== words[at + WORD_TAG] && (tag === 0 || !this.isMine(family, words, at))) return CHANGE
    const stamp = family.units[this.me * family.stride + family.keyLength]!
    const age = (this.control[C_BUCKET]! - stamp) & 0xffff
    let what = NONE
    if (age !== 0) {
      // In the last quarter of its life a peer is stored again rather than touched: a touch may be lost.
      if (age * BUCKET_MS > this.control[C_SETTINGS + 1]! * 1500) return CHANGE
      what = REFRESH
      this.touch = this.me | (v6 ? 1 << 25 : 0) | (checkOf(family, this.me) << 26)
    }
    this.fill(k, words, at, want, families, out, o)
    return what
  }

  /**
   * Is the peer stored at the asker's address and port the asker, though it has another tag? aria2 draws a
   * key for each announce; a client that is new says `started`. The old tag stays. (A peer stored without a
   * tag gets one as soon as it has one to show.)
   */
  private isMine(family: Family, words: Int32Array, at: number): boolean {
    const { details } = family
    if (details.length === 0) return true
    for (let i = 0; i < 5; i++) if (details[this.me * 12 + i] !== words[at + WORD_DETAILS + i]) return false
    return true
  }

  /** Counts and peers of one or both families. */
  private fill(
    k: number,
    words: Int32Array,
    at: number,
    want: number,
    families: number,
    out: Uint16Array,
    o: number,
  ): void {
    this.counts(k)
    this.count4 = 0
    this.count6 = 0
    if (want <= 0 || (words[at]! & KIND_MASK) === LEAVE) return
    const s = this.store
    const w = this.windows
    const v6 = (words[at]! & IPV6) !== 0
    const e = families === 1 ? -1 : s.extension(k)
    w.seeder = (words[at]! & SEEDER) !== 0
    w.hidden = (this.torrents[k + T_FLAGS]! & HAS_PRIVATE) !== 0 && this.hidesPrivate(words, at)
    w.meOther = this.meOther
    w.handle = 0
    let d = o
    if ((families & 1) !== 0) {
      w.me = v6 ? -1 : this.me
      w.tag = v6 ? this.ownTag(words, at) : 0
      const most = e < 0 ? want : this.share(k, e, want)
      d = w.write(s.peers4, this.torrents, k + T_LEECHERS, most, out, d)
      this.count4 = ((d - o) / 3) | 0
    }
    if (e >= 0) {
      const from = d
      w.me = v6 ? this.me : -1
      w.tag = v6 ? 0 : this.ownTag(words, at)
      d = w.write(s.peers6, s.extensions, e, want - this.count4, out, d)
      this.count6 = ((d - from) / 9) | 0
    }
  }

  /** The tag that the asker is stored with, or would be. */
  private ownTag(words: Int32Array, at: number): number {
    const family = (words[at]! & IPV6) !== 0 ? this.store.peers6 : this.store.peers4
    return (this.me < 0 ? 0 : tagOf(family, this.me)) || words[at + WORD_TAG]!
  }

  /** IPv4's part of an answer with both families. */
  private share(k: number, e: number, want: number): number {
    const T = this.torrents
    const E = this.store.extensions
    const n4 = sizeOf(T[k + T_LEECHERS + 1]!) + sizeOf(T[k + T_SEEDERS + 1]!)
    const n6 = sizeOf(E[e + 1]!) + sizeOf(E[e + 3]!)
    if (n4 + n6 <= want) return want
    return Math.max(want - n6, Math.ceil((want * n4) / (n4 + n6)))
  }

  /** Does this asker come from outside, and must not see private addresses? */
  private hidesPrivate(words: Int32Array, at: number): boolean {
    if (this.control[C_SETTINGS + 4] !== ALLOW_PRIVATE_AUTO) return false
    const kind =
      (words[at]! & IPV6) === 0
        ? addressClass4(words[at + 1]!)
        : addressClass6(words[at + 1]!, words[at + 2]!, words[at + 3]!, words[at + 4]!)
    return kind === PUBLIC
  }
}
