// Log entry -> table. The only caller of the write side: same entries, same bytes, on every member. Peers
// expire here, by the entry's time. Refuses: anything that two members could see differently.

import { type AccessList, changeAccess } from './access.ts'
import { KIND_MASK, LEAVE, loggedWords } from './change.ts'
import { WINDOW_MS } from './connection-id.ts'
import {
  ACCESS,
  BATCH,
  BIRTH,
  type Birth,
  CHANGES,
  ENTRY_WORDS,
  type HashKey,
  ID_KEY,
  jsonOf,
  LEVEL,
  OPERATIONS,
  PART_WORDS,
  SECTION_WORDS,
  SETTINGS,
} from './entry.ts'
import { KEYED_FROM } from './hashing.ts'
import {
  BATCH_MEMBERS,
  BUCKET_MS,
  C_BATCHES,
  C_BIRTH,
  C_BUCKET,
  C_HASH_KEY,
  C_ID_KEYS,
  C_INDEX_LEVEL,
  C_LEVEL,
  C_MAGIC,
  C_TIME,
  MAGIC,
} from './layout.ts'
import { LEVEL as KNOWN_LEVEL, LevelUnknown } from './level.ts'
import { rehash } from './rehash.ts'
import { readSettings, type Settings, settingsFault, writeSettings } from './settings.ts'
import type { Store } from './store.ts'
import { Table } from './table.ts'
import { FIRST_LEVEL } from './torrent-index.ts'
import { unpackTouches } from './touches.ts'

/** Cluster time moves at most this much an entry, milliseconds. */
export const MAX_STEP_MS = 2000

export type ApplyEvents = {
  /** A part of a batch was applied: the changes first, first + 1, ... of a producer of that member. */
  part(member: number, incarnation: number, producer: number, first: number, count: number): void
  /** A batch was taken, or refused because it is not the next of its member. */
  batch(member: number, incarnation: number, number: number, taken: boolean): void
}

export class Apply {
  readonly table: Table
  private readonly store: Store
  private readonly events: ApplyEvents
  private words = new Int32Array(1 << 18)
  /** The same memory. */
  private bytes = new Uint8Array(this.words.buffer)

  constructor(store: Store, events: ApplyEvents) {
    this.store = store
    this.table = new Table(store)
    this.events = events
    if (store.control[C_MAGIC] === 0) markBorn(store)
  }

  /** One committed entry. `data` may be a view into memory that moves: it is copied first. */
  apply(data: Uint8Array): void {
    if (data.length < ENTRY_WORDS * 4) return // a new leader's empty entry
    const n = data.length >>> 2
    if (n > this.words.length) {
      this.words = new Int32Array(2 ** Math.ceil(Math.log2(n)))
      this.bytes = new Uint8Array(this.words.buffer)
    }
    this.bytes.set(data)
    const w = this.words
    this.advance((w[1]! >>> 0) + w[2]! * 2 ** 32)
    switch (w[0]! & 0xff) {
      case BATCH:
        this.batch(w)
        break
      case SETTINGS:
        this.settings(jsonOf(w) as Partial<Settings>)
        break
      case ACCESS:
        changeAccess(
          this.store,
          (w[3]! & 0xff) as AccessList,
          OPERATIONS[w[3]! >>> 8]!,
          w[4]! >>> 0,
          w.slice(ENTRY_WORDS + 1, n),
        )
        break
      case BIRTH:
        this.birth(jsonOf(w) as Birth)
        break
      case LEVEL:
        this.raise(jsonOf(w) as { level: number; hashKey?: HashKey })
        break
      case ID_KEY:
        this.idKey((jsonOf(w) as { key: [number, number] }).key)
    }
  }

  /**
   * Time is a counter in the log: it moves forward, a little an entry, and takes the silent peers with it.
   */
  private advance(timeMs: number): void {
    const times = this.store.times
    const was = times[C_TIME / 2]!
    if (timeMs <= was) return
    const now = Math.min(timeMs, was + MAX_STEP_MS)
    times[C_TIME / 2] = now
    Atomics.store(this.store.control, C_BUCKET, Math.floor(now / BUCKET_MS) & 0xffff)
    const seconds = Math.floor(now / 1000) - Math.floor(was / 1000)
    if (seconds > 0) this.table.sweep(seconds * 1000)
  }

  private batch(w: Int32Array): void {
    let at = ENTRY_WORDS
    for (let section = 0; section < w[3]!; section++) {
      const member = (w[at]! >>> 0) + w[at + 1]! * 2 ** 32
      const incarnation = w[at + 2]!
      const number = w[at + 3]!
      const taken = this.isNext(member, incarnation, number)
      if (taken) this.parts(w, at + SECTION_WORDS, w[at + 5]!, member, incarnation)
      else this.store.count('duplicate_batches')
      this.events.batch(member, incarnation, number, taken)
      at += w[at + 4]!
    }
  }

  private parts(w: Int32Array, from: number, parts: number, member: number, incarnation: number): void {
    const table = this.table
    let at = from
    for (let part = 0; part < parts; part++) {
      const count = w[at + 2]!
      const end = at + PART_WORDS + w[at + 3]!
      if (w[at]! >>> 16 === CHANGES) {
        for (let o = at + PART_WORDS, i = 0; i < count; i++) {
          const word0 = w[o]!
          if ((word0 & KIND_MASK) === LEAVE) table.leave(w, o)
          else table.put(w, o)
          o += loggedWords(word0)
        }
        this.events.part(member, incarnation, w[at]! & 0xffff, w[at + 1]!, count)
      } else unpackTouches(this.bytes, (at + PART_WORDS) * 4, end * 4, count, table)
      at = end
    }
  }

  /**
   * Batches of a member count only in order: an old join cannot come back after a leave. Numbers go round.
   */
  private isNext(member: number, incarnation: number, number: number): boolean {
    const c = this.store.control
    const low = member | 0
    const high = Math.floor(member / 2 ** 32)
    let slot = -1
    for (let i = 0; i < BATCH_MEMBERS && slot < 0; i++) {
      const at = C_BATCHES + i * 4
      if (c[at] === low && c[at + 1] === high) slot = at
      else if (c[at] === 0 && c[at + 1] === 0) slot = at
    }
    if (slot < 0) return false
    const fresh = incarnation > c[slot + 2]!
    if (fresh ? number !== 1 : incarnation !== c[slot + 2] || number !== ((c[slot + 3]! + 1) | 0))
      return false
    // What is late of a member that was removed takes no place.
    c[slot] = low
    c[slot + 1] = high
    c[slot + 2] = incarnation
    c[slot + 3] = number
    return true
  }

  /** The last batch of a member that was taken. */
  lastBatch(member: number): { incarnation: number; number: number } {
    const c = this.store.control
    for (let at = C_BATCHES; at < C_BATCHES + BATCH_MEMBERS * 4; at += 4)
      if (c[at] === (member | 0) && c[at + 1] === Math.floor(member / 2 ** 32))
        return { incarnation: c[at + 2]!, number: c[at + 3]! }
    return { incarnation: 0, number: 0 }
  }

  /** A member was removed for good: its place in the batch table is free. */
  forgetMember(member: number): void {
    const c = this.store.control
    const from = C_BATCHES
    for (let i = 0; i < BATCH_MEMBERS; i++) {
      const at = from + i * 4
      if (c[at] !== (member | 0) || c[at + 1] !== Math.floor(member / 2 ** 32)) continue
      c.copyWithin(at, at + 4, from + BATCH_MEMBERS * 4)
      c.fill(0, from + (BATCH_MEMBERS - 1) * 4, from + BATCH_MEMBERS * 4)
      return
    }
  }

  private settings(change: Partial<Settings>): void {
    const next = { ...readSettings(this.store.control), ...change }
    if (settingsFault(next) === null) writeSettings(this.store.control, next)
  }

  private birth(birth: Birth): void {
    const c = this.store.control
    if (c[C_BIRTH + 6] !== 0) return
    for (let i = 0; i < 4; i++) c[C_BIRTH + i] = Number.parseInt(birth.clusterId.slice(i * 8, i * 8 + 8), 16)
    c[C_BIRTH + 5] = birth.hashSeed
    c[C_BIRTH + 6] = 1
    if (birth.level > KNOWN_LEVEL) throw new LevelUnknown(birth.level)
    // The secret first: whoever sees the level reads it.
    if (birth.hashKey !== undefined) c.set(birth.hashKey, C_HASH_KEY)
    Atomics.store(c, C_LEVEL, birth.level)
    c[C_ID_KEYS] = birth.idKey[0]
    c[C_ID_KEYS + 1] = birth.idKey[1]
    writeSettings(c, birth.settings)
    this.store.hashing.refresh()
  }

  /** From here on the log is read by other rules. */
  private raise({ level, hashKey }: { level: number; hashKey?: HashKey }): void {
    const c = this.store.control
    if (level <= c[C_LEVEL]!) return
    if (level > KNOWN_LEVEL) throw new LevelUnknown(level)
    if (c[C_LEVEL]! >= KEYED_FROM) Atomics.store(c, C_LEVEL, level)
    else rehash(this.table, level, hashKey ?? [0, 0, 0, 0])
  }

  private idKey(key: readonly [number, number]): void {
    const c = this.store.control
    c[C_ID_KEYS + 2] = c[C_ID_KEYS]!
    c[C_ID_KEYS + 3] = c[C_ID_KEYS + 1]!
    c[C_ID_KEYS] = key[0]
    c[C_ID_KEYS + 1] = key[1]
    c[C_ID_KEYS + 4] = Math.floor(this.store.timeMs / WINDOW_MS) + 1
  }
}

/** An empty table is one from here on. */
export function markBorn(store: Store): void {
  store.control[C_MAGIC] = MAGIC
  store.control[C_INDEX_LEVEL] = FIRST_LEVEL
}

/** The cluster's ID, 32 hexadecimal digits; '' before birth. */
export function clusterIdOf(store: Store): string {
  if (store.control[C_BIRTH + 6] === 0) return ''
  let id = ''
  for (let i = 0; i < 4; i++) id += (store.control[C_BIRTH + i]! >>> 0).toString(16).padStart(8, '0')
  return id
}
