// Writing the torrent index: open addressing with 2^level slots that doubles step by step, so that no insert
// pays for all of it. While it doubles, look-ups try the new level, then the old (store.ts). Refuses: to run
// anywhere but on the replica thread.

import {
  C_INDEX_CURSOR,
  C_INDEX_LEVEL,
  C_INDEX_OLD,
  C_INDEX_SEQUENCE,
  C_TORRENT_TOP,
  C_TORRENTS,
  RECORD,
  T_STATE,
} from './layout.ts'
import { bufferNumber, type Store } from './store.ts'

/** Old slots moved by each insert: the move ends long before the new level is full. */
const MOVE = 16
/** The level a new table starts with. */
export const FIRST_LEVEL = 8

const INDEX_BUFFER = bufferNumber('index')

function write(store: Store, slot: number, value: number): void {
  if (store.cow.active) store.cow.before(INDEX_BUFFER, slot * 4, slot * 4 + 4)
  Atomics.store(store.index, slot, value)
}

/** Publishes record number `entry - 1` (its info_hash is already written). */
export function insertIndex(store: Store, entry: number): void {
  const c = store.control
  if (c[C_INDEX_OLD] === 0 && c[C_TORRENTS]! > 2 ** c[C_INDEX_LEVEL]! * 0.7) {
    Atomics.add(c, C_INDEX_SEQUENCE, 1)
    c[C_INDEX_OLD] = c[C_INDEX_LEVEL]!
    c[C_INDEX_LEVEL] = c[C_INDEX_LEVEL]! + 1
    c[C_INDEX_CURSOR] = 0
    Atomics.add(c, C_INDEX_SEQUENCE, 1)
  }
  if (c[C_INDEX_OLD] !== 0) moveSome(store)
  place(store, entry)
}

function place(store: Store, entry: number): void {
  const level = store.control[C_INDEX_LEVEL]!
  const base = 2 ** level
  const mask = base - 1
  let slot = store.hashOf(store.torrents, (entry - 1) * RECORD) & mask
  while (store.index[base + slot] !== 0) slot = (slot + 1) & mask
  write(store, base + slot, entry)
}

/** Copies a few old entries to the new level; they stay in the old one too until all are there. */
function moveSome(store: Store): void {
  const c = store.control
  const base = 2 ** c[C_INDEX_OLD]!
  let cursor = c[C_INDEX_CURSOR]!
  for (let n = 0; n < MOVE && cursor < base; n++, cursor++) {
    const entry = store.index[base + cursor]!
    if (entry > 0) place(store, entry)
  }
  c[C_INDEX_CURSOR] = cursor
  if (cursor < base) return
  Atomics.add(c, C_INDEX_SEQUENCE, 1)
  if (store.cow.active) store.cow.before(INDEX_BUFFER, base * 4, base * 8)
  store.index.fill(0, base, base * 2)
  c[C_INDEX_OLD] = 0
  Atomics.add(c, C_INDEX_SEQUENCE, 1)
}

/** Takes an entry out of both levels. */
export function removeIndex(store: Store, entry: number): void {
  const c = store.control
  Atomics.add(c, C_INDEX_SEQUENCE, 1)
  if (c[C_INDEX_OLD] !== 0) {
    const base = 2 ** c[C_INDEX_OLD]!
    const slot = slotOf(store, entry, c[C_INDEX_OLD]!)
    // A gap would cut look-ups short: the old level is thrown away soon, so it gets a tombstone.
    if (slot >= 0) write(store, base + slot, -1)
  }
  const slot = slotOf(store, entry, c[C_INDEX_LEVEL]!)
  if (slot >= 0) closeGap(store, slot)
  Atomics.add(c, C_INDEX_SEQUENCE, 1)
}

function slotOf(store: Store, entry: number, level: number): number {
  const base = 2 ** level
  const mask = base - 1
  let slot = store.hashOf(store.torrents, (entry - 1) * RECORD) & mask
  for (;;) {
    const found = store.index[base + slot]!
    if (found === entry) return slot
    if (found === 0) return -1
    slot = (slot + 1) & mask
  }
}

/** Backward shift (Knuth 6.4, algorithm R): no tombstones in the living level. */
function closeGap(store: Store, gap: number): void {
  const base = 2 ** store.control[C_INDEX_LEVEL]!
  const mask = base - 1
  let hole = gap
  let slot = gap
  for (;;) {
    slot = (slot + 1) & mask
    const entry = store.index[base + slot]!
    if (entry === 0) break
    const home = store.hashOf(store.torrents, (entry - 1) * RECORD) & mask
    if (((slot - home) & mask) >= ((slot - hole) & mask)) {
      write(store, base + hole, entry)
      hole = slot
    }
  }
  write(store, base + hole, 0)
}

/**
 * Lays the index anew, because info_hashes hash otherwise now. What takes long happens here; the function
 * that is returned puts it in force, and `meanwhile` with it, while no look-up counts.
 */
export function relayIndex(store: Store): (meanwhile: () => void) => void {
  const c = store.control
  const base = 2 ** c[C_INDEX_LEVEL]!
  const fresh = new Int32Array(base)
  for (let number = 0; number < c[C_TORRENT_TOP]!; number++) {
    if (store.torrents[number * RECORD + T_STATE] !== 1) continue
    let slot = store.hashOf(store.torrents, number * RECORD) & (base - 1)
    while (fresh[slot] !== 0) slot = (slot + 1) & (base - 1)
    fresh[slot] = number + 1
  }
  return (meanwhile) => {
    Atomics.add(c, C_INDEX_SEQUENCE, 1)
    // Both levels, if it was doubling: the old one is no more.
    const from = c[C_INDEX_OLD] === 0 ? base : 2 ** c[C_INDEX_OLD]!
    if (store.cow.active) store.cow.before(INDEX_BUFFER, from * 4, base * 8)
    store.index.fill(0, from, base)
    store.index.set(fresh, base)
    c[C_INDEX_OLD] = 0
    c[C_INDEX_CURSOR] = 0
    meanwhile()
    Atomics.add(c, C_INDEX_SEQUENCE, 1)
  }
}
