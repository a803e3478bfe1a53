// The write side of the swarm table: put, leave, touch, sweep. Only `apply` calls it, on the replica thread,
// so it is deterministic: same calls, same bytes. Every write to a swarm lies between two steps of its
// sequence number. Refuses: time, chance, and deciding what a request means (announce.ts does that before the
// log).

import { allowed } from './access.ts'
import { addressClass4, addressClass6, PUBLIC } from './address.ts'
import { COMPLETED, DETAIL_WORDS, DETAILS, IPV6, SEEDER } from './change.ts'
import { type Family, sizeOf } from './family.ts'
import {
  BUCKET_MS,
  C_BUCKET,
  C_EXTENSION_FREE,
  C_SETTINGS,
  C_SWEEP,
  C_TORRENT_FREE,
  C_TORRENT_TOP,
  C_TORRENTS,
  E_FREE,
  E_LEECHERS,
  E_SEEDERS,
  HAS_PRIVATE,
  MAX_UNITS,
  RECORD,
  T_COMPLETED,
  T_EMPTY_SINCE,
  T_FLAGS,
  T_FREE,
  T_LEECHERS,
  T_SEEDERS,
  T_SEQUENCE,
  T_STATE,
} from './layout.ts'
import { bufferNumber, type Store } from './store.ts'
import { insertIndex, removeIndex } from './torrent-index.ts'
import { type Found, findTagged, forgetTag, rememberTag, tagOf } from './twins.ts'

/** Peers taken out, and torrents looked at, by one sweep at the most; the next entry goes on. */
const SWEEP_PEERS = 8192
/** A whole round of the sweep takes about this long, milliseconds of cluster time. */
const SWEEP_ROUND_MS = 60_000
/**
 * In a table that is nearly full the only peer of a torrent lives for this share of a peer's life, from this
 * level on: it still has a quarter of the largest interval to come late.
 */
const LONELY_LIFE = 0.625
const LONELY_FROM = 2
const SWEEP_LEAST_TORRENTS = 4096
/** An empty torrent with completed downloads is remembered this long, milliseconds. */
const EMPTY_KEPT_MS = 86_400_000

/**
 * From this level on a client that keeps its address and changes its port has moved, as one that keeps its
 * port and changes its address; and a moved client's goodbye from its new place ends it.
 */
const MOVES_BY_ADDRESS = 2

const T_BUFFER = bufferNumber('torrents')

export class Table {
  readonly store: Store

  constructor(store: Store) {
    this.store = store
  }

  /**
   * A peer is here: `words[at..]` is a logged record (change.ts). Nothing happens if it may not be stored.
   */
  put(words: Int32Array, at: number): void {
    const s = this.store
    const word0 = words[at]!
    const hash = at + ((word0 & IPV6) !== 0 ? 5 : 2)
    if (s.accessActive && !allowed(s, words, hash)) {
      this.store.count('changes_denied')
      return
    }
    let k = s.torrent(words, hash)
    if (k < 0) k = this.create(words, hash)
    if (k < 0) {
      this.store.count('torrents_refused_full')
      return
    }
    this.enter(k)
    if (!this.putPeer(k, words, at, hash)) {
      this.store.count('peers_refused_full')
      if (this.isEmpty(k)) this.noteEmpty(k)
    }
    this.leaveSection(k)
    this.dropIfUnused(k)
  }

  private putPeer(k: number, words: Int32Array, at: number, hash: number): boolean {
    const s = this.store
    const v6 = (words[at]! & IPV6) !== 0
    const base = v6 ? s.extend(k) : k
    if (base < 0) return false
    const family = this.readKey(words, at)
    const set = v6 ? s.extensions : s.torrents
    const seeder = (words[at]! & SEEDER) !== 0
    let tag = words[hash + 5]!
    const target = this.setAt(base, v6, seeder)
    const other = this.setAt(base, v6, !seeder)
    let unit = family.find(set, target)
    const here = unit >= 0
    const old = here ? unit : family.find(set, other)
    const oldTag = old >= 0 ? tagOf(family, old) : 0
    if (here && oldTag === tag) {
      this.writeUnit(family, unit, tag, words, at, hash)
      return true
    }
    let known = old >= 0
    let wasSeeder = known && here === seeder
    if (known) forgetTag(this.store, k, v6, oldTag, wasSeeder, family.hashOf(old))
    if (tag !== 0 && oldTag !== tag) {
      const alike = findTagged(s, k, v6, tag)
      if (alike !== null && !this.hasMoved(family, alike.unit)) {
        // Two clients whose tags are equal by chance: both stay, and one of them is nobody's twin.
        tag = 0
        this.store.count('tag_clashes')
      } else if (alike !== null) {
        this.takeMoved(k, v6, family, tag, alike)
        if (!known) wasSeeder = alike.seeder
        known = true
      }
    }
    if (here)
      unit = family.find(set, target) // taking a moved peer away may have shifted it
    else {
      unit = family.insert(set, target)
      if (unit < 0) {
        if (old >= 0 && oldTag !== 0) rememberTag(this.store, k, v6, oldTag, !seeder, family.hashKey())
        return false
      }
      if (old >= 0) family.remove(set, other, family.find(set, other))
      this.notePrivate(k, words, at)
    }
    this.writeUnit(family, unit, tag, words, at, hash)
    const twinSeeds = rememberTag(this.store, k, v6, tag, seeder, family.hashOf(unit))
    this.countDownload(k, seeder, wasSeeder, known, (words[at]! & COMPLETED) !== 0, twinSeeds)
    if (!known) this.store.count('joins')
    s.torrents[k + T_EMPTY_SINCE] = 0
    return true
  }

  /**
   * BEP 48 `downloaded`: a stored peer that stops being incomplete, or an unknown one that says `completed`.
   */
  private countDownload(
    k: number,
    seeder: boolean,
    wasSeeder: boolean,
    known: boolean,
    event: boolean,
    twinSeeds: boolean,
  ): void {
    if (!seeder || wasSeeder || twinSeeds || (!known && !event)) return
    this.store.torrents[k + T_COMPLETED]!++
    this.store.count('completions')
  }

  /** Is the client of the family's key the one with the same tag in `unit`? (Replicated: by the level.) */
  private hasMoved(family: Family, unit: number): boolean {
    return samePort(family, unit) || (this.store.level >= MOVES_BY_ADDRESS && sameAddress(family, unit))
  }

  /** The client with this tag has moved to where the family's key says: its old place is forgotten. */
  private takeMoved(k: number, v6: boolean, family: Family, tag: number, from: Found): void {
    forgetTag(this.store, k, v6, tag, from.seeder, family.hashOf(from.unit))
    const set = v6 ? this.store.extensions : this.store.torrents
    const base = v6 ? this.store.extension(k) : k
    family.remove(set, this.setAt(base, v6, from.seeder), from.unit)
    this.store.count('moves')
  }

  private writeUnit(
    family: Family,
    unit: number,
    tag: number,
    words: Int32Array,
    at: number,
    hash: number,
  ): void {
    family.guard(unit, 1)
    const u = family.units
    const q = unit * family.stride + family.keyLength
    u[q] = this.store.control[C_BUCKET]!
    u[q + 1] = tag
    u[q + 2] = tag >>> 16
    if (family.details.length === 0) return
    const has = (words[at]! & DETAILS) !== 0
    for (let i = 0; i < DETAIL_WORDS; i++) family.details[unit * 12 + i] = has ? words[hash + 6 + i]! : 0
  }

  /** Event `stopped`. */
  leave(words: Int32Array, at: number): void {
    const s = this.store
    const v6 = (words[at]! & IPV6) !== 0
    const k = s.torrent(words, at + (v6 ? 5 : 2))
    if (k < 0) return
    const base = v6 ? s.extension(k) : k
    if (base < 0) return
    const family = this.readKey(words, at)
    const set = v6 ? s.extensions : s.torrents
    let known = false
    for (const seeder of [true, false]) {
      const setAt = this.setAt(base, v6, seeder)
      const unit = family.find(set, setAt)
      if (unit < 0) continue
      known = true
      this.leaveFrom(k, v6, seeder, unit)
    }
    if (!known && s.level >= MOVES_BY_ADDRESS) this.leaveMoved(k, v6, family, words[at + (v6 ? 10 : 7)]!)
    this.dropIfUnused(k)
  }

  private leaveFrom(k: number, v6: boolean, seeder: boolean, unit: number): void {
    this.enter(k)
    this.removePeer(k, v6, seeder, unit)
    this.leaveSection(k)
    this.store.count('leaves')
  }

  /** A client that has moved and says goodbye before it has announced from its new place. */
  private leaveMoved(k: number, v6: boolean, family: Family, tag: number): void {
    const alike = tag === 0 ? null : findTagged(this.store, k, v6, tag)
    if (alike !== null && this.hasMoved(family, alike.unit)) this.leaveFrom(k, v6, alike.seeder, alike.unit)
  }

  /**
   * "Still here": a touch word is unit (bits 0-24), family (bit 25), check of the address (bits 26-31). A
   * stale one is dropped; the peer's next announce repairs that, since a peer lives for at least two.
   */
  touch(word: number): void {
    const family = (word & (1 << 25)) !== 0 ? this.store.peers6 : this.store.peers4
    const unit = word & (MAX_UNITS - 1)
    if (unit >= family.pages.top * 64 || checkOf(family, unit) !== word >>> 26) {
      this.store.count('stale_touches')
      return
    }
    family.guard(unit, 1)
    family.units[unit * family.stride + family.keyLength] = this.store.control[C_BUCKET]!
    this.store.count('touches')
  }

  /**
   * Takes out peers that have been silent for longer than twice the largest interval; `stepMs` since the last
   * entry.
   */
  sweep(stepMs: number): void {
    const c = this.store.control
    const top = c[C_TORRENT_TOP]!
    if (top === 0) return
    const share = Math.ceil((top * stepMs) / SWEEP_ROUND_MS)
    const life = this.lifeBuckets()
    const lonely =
      this.store.level >= LONELY_FROM && this.store.nearlyFull ? Math.ceil(life * LONELY_LIFE) : life
    let look = Math.min(top, Math.max(SWEEP_LEAST_TORRENTS, share))
    let room = SWEEP_PEERS
    let at = c[C_SWEEP]! % top
    for (; look > 0 && room > 0; look--) {
      if (this.store.torrents[at * RECORD + T_STATE] === 1)
        room -= this.sweepTorrent(at * RECORD, life, lonely)
      at = at + 1 === top ? 0 : at + 1
    }
    c[C_SWEEP] = at
  }

  /** Buckets of silence after which a peer is gone. */
  lifeBuckets(): number {
    return Math.ceil((2 * this.store.control[C_SETTINGS + 1]! * 1000) / BUCKET_MS)
  }

  /** `lonely`: the life of whoever is the only one: nobody is told of it. */
  private sweepTorrent(k: number, all: number, lonely: number): number {
    const s = this.store
    const life = lonely < all && s.seeders(k) + s.leechers(k) === 1 ? lonely : all
    const now = s.control[C_BUCKET]!
    const denied = s.accessActive && !allowed(s, s.torrents, k)
    let gone = 0
    const e = s.extension(k)
    for (let i = 0; i < 4; i++) {
      const v6 = i > 1
      if (v6 && e < 0) break
      const family = v6 ? s.peers6 : s.peers4
      const set = v6 ? s.extensions : s.torrents
      const seeder = (i & 1) === 1
      const at = this.setAt(v6 ? e : k, v6, seeder)
      if (sizeOf(set[at + 1]!) === 0) continue
      const silent: number[] = []
      family.each(set, at, (unit) => {
        const q = unit * family.stride
        if (denied || ((now - family.units[q + family.keyLength]!) & 0xffff) > life)
          for (let j = 0; j < family.keyLength; j++) silent.push(family.units[q + j]!)
      })
      gone += this.removeAll(k, v6, seeder, family, silent)
    }
    if (gone > 0) this.store.count('expired', gone)
    if (this.isEmpty(k)) this.dropIfUnused(k)
    return gone
  }

  private removeAll(
    k: number,
    v6: boolean,
    seeder: boolean,
    family: Family,
    keys: readonly number[],
  ): number {
    if (keys.length === 0) return 0
    const set = v6 ? this.store.extensions : this.store.torrents
    const at = this.setAt(v6 ? this.store.extension(k) : k, v6, seeder)
    for (let i = 0; i < keys.length; i += family.keyLength) {
      for (let j = 0; j < family.keyLength; j++) family.key[j] = keys[i + j]!
      const unit = family.find(set, at)
      this.enter(k)
      this.removePeer(k, v6, seeder, unit)
      this.leaveSection(k)
    }
    return keys.length / family.keyLength
  }

  private removePeer(k: number, v6: boolean, seeder: boolean, unit: number): void {
    const family = v6 ? this.store.peers6 : this.store.peers4
    const tag = tagOf(family, unit)
    if (tag !== 0) forgetTag(this.store, k, v6, tag, seeder, family.hashOf(unit))
    const set = v6 ? this.store.extensions : this.store.torrents
    family.remove(set, this.setAt(v6 ? this.store.extension(k) : k, v6, seeder), unit)
    if (this.isEmpty(k)) this.noteEmpty(k)
  }

  setAt(base: number, v6: boolean, seeder: boolean): number {
    if (v6) return base + (seeder ? E_SEEDERS : E_LEECHERS)
    return base + (seeder ? T_SEEDERS : T_LEECHERS)
  }

  /** Puts a logged record's address and port into its family's key. */
  private readKey(words: Int32Array, at: number): Family {
    const v6 = (words[at]! & IPV6) !== 0
    const family = v6 ? this.store.peers6 : this.store.peers4
    const n = v6 ? 4 : 1
    for (let i = 0; i < n; i++) {
      family.key[2 * i] = words[at + 1 + i]!
      family.key[2 * i + 1] = words[at + 1 + i]! >>> 16
    }
    family.key[2 * n] = words[at]! >>> 16
    return family
  }

  private create(words: Int32Array, hash: number): number {
    const s = this.store
    const c = s.control
    let number = c[C_TORRENT_FREE]! - 1
    if (number >= 0) c[C_TORRENT_FREE] = s.torrents[number * RECORD + T_FREE]!
    else {
      number = c[C_TORRENT_TOP]!
      if (number >= s.buffers.limits.torrents) return -1
      c[C_TORRENT_TOP] = number + 1
    }
    const k = number * RECORD
    this.enter(k)
    for (let i = 0; i < 5; i++) s.torrents[k + i] = words[hash + i]!
    s.torrents.fill(0, k + T_COMPLETED, k + RECORD)
    s.torrents[k + T_STATE] = 1
    c[C_TORRENTS]!++
    this.leaveSection(k)
    insertIndex(s, number + 1)
    return k
  }

  private isEmpty(k: number): boolean {
    const T = this.store.torrents
    const e = this.store.extension(k)
    const v4 = sizeOf(T[k + T_LEECHERS + 1]!) + sizeOf(T[k + T_SEEDERS + 1]!)
    if (v4 > 0 || e < 0) return v4 === 0
    const E = this.store.extensions
    return sizeOf(E[e + E_LEECHERS + 1]!) + sizeOf(E[e + E_SEEDERS + 1]!) === 0
  }

  private noteEmpty(k: number): void {
    this.store.torrents[k + T_EMPTY_SINCE] = this.store.control[C_BUCKET]! | 0x10000
  }

  /** An empty torrent goes at once, or after a while when it has downloads to remember. */
  private dropIfUnused(k: number): void {
    const s = this.store
    const since = s.torrents[k + T_EMPTY_SINCE]!
    if (since === 0) return
    const age = (s.control[C_BUCKET]! - since) & 0xffff
    if (s.torrents[k + T_COMPLETED]! > 0 && age * BUCKET_MS < EMPTY_KEPT_MS && !this.mustGo(k)) return
    this.enter(k)
    removeIndex(s, k / RECORD + 1)
    const e = s.extension(k)
    if (e >= 0) {
      s.tags.clear(s.extensions, e + 4)
      s.extensions[e + E_FREE] = s.control[C_EXTENSION_FREE]!
      s.control[C_EXTENSION_FREE] = e / RECORD + 1
    }
    s.torrents.fill(0, k, k + T_SEQUENCE)
    s.torrents.fill(0, k + T_COMPLETED, k + RECORD)
    s.torrents[k + T_FREE] = s.control[C_TORRENT_FREE]!
    s.control[C_TORRENT_FREE] = k / RECORD + 1
    s.control[C_TORRENTS]!--
    this.leaveSection(k)
  }

  private mustGo(k: number): boolean {
    return this.store.accessActive && !allowed(this.store, this.store.torrents, k)
  }

  /** Notes that a swarm holds private addresses, so that answers to public askers look at each. */
  private notePrivate(k: number, words: Int32Array, at: number): void {
    const v6 = (words[at]! & IPV6) !== 0
    const kind = v6
      ? addressClass6(words[at + 1]!, words[at + 2]!, words[at + 3]!, words[at + 4]!)
      : addressClass4(words[at + 1]!)
    if (kind !== PUBLIC) this.store.torrents[k + T_FLAGS]! |= HAS_PRIVATE
  }

  /** What follows changes this swarm: readers throw away what they see until `leaveSection`. */
  enter(k: number): void {
    const s = this.store
    if (s.cow.active) {
      s.cow.before(T_BUFFER, k * 4, (k + RECORD) * 4)
      const e = s.extension(k)
      if (e >= 0) s.guardExtension(e)
    }
    if (s.buffers.ordered) Atomics.add(s.torrents, k + T_SEQUENCE, 1)
    else lock(s.torrents, k + T_SEQUENCE)
  }

  leaveSection(k: number): void {
    const T = this.store.torrents
    Atomics.store(T, k + T_SEQUENCE, (T[k + T_SEQUENCE]! + 1) & 0x3fffffff)
  }
}

/** Has a unit the port of the family's key? */
const samePort = (family: Family, unit: number): boolean => {
  const last = family.keyLength - 1
  return family.units[unit * family.stride + last] === family.key[last]
}

/** Has a unit the address of the family's key? */
const sameAddress = (family: Family, unit: number): boolean => {
  const q = unit * family.stride
  for (let i = family.keyLength - 2; i >= 0; i--) if (family.units[q + i] !== family.key[i]) return false
  return true
}

/** Six bits of a unit's address: tells a touch that its unit has another peer now. */
export function checkOf(family: Family, unit: number): number {
  const u = family.units
  const q = unit * family.stride
  const n = family.keyLength
  return (Math.imul(u[q]! ^ (u[q + n - 2]! << 3) ^ (u[q + n - 1]! << 1), 0x9e3779b1) >>> 26) & 63
}

/** Takes the lock of a swarm where reads are not ordered: even to odd, against readers that do the same. */
export function lock(words: Int32Array, at: number): void {
  for (;;) {
    const s = Atomics.load(words, at)
    if ((s & 1) === 0 && Atomics.compareExchange(words, at, s, s + 1) === s) return
  }
}
