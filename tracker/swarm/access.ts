// Allow and deny lists of info_hashes, both at once, replicated. An open-addressing table of 6 words an entry
// (info_hash, flags) under one sequence number. A denied hash is refused; while the allow list is on, so is
// every hash that is not on it. Refuses: to read files; that is access/file.ts.

import { accessSlots, C_ACCESS } from './layout.ts'
import { bufferNumber, type Store } from './store.ts'

export const ALLOW = 1
export const DENY = 2
export type AccessList = typeof ALLOW | typeof DENY
/** Flag of an entry that is in no list any more: it keeps its slot until the table is laid anew. */
const USED = 4

/**
 * Words at C_ACCESS: sequence; lists that are on (bits); entries of allow, of deny; revisions; slots taken.
 */
const SEQUENCE = C_ACCESS
const ACTIVE = C_ACCESS + 1
const ENTRIES = C_ACCESS + 1 // + list
const REVISION = C_ACCESS + 3 // + list
const TAKEN = C_ACCESS + 6
const WORDS = 6
/** Looks at lists that are being changed: far longer than a change of the longest takes. */
const TRIES = 1 << 24

export type AccessOperation = 'replace' | 'add' | 'remove' | 'off'

/** May the info_hash at words[at] be tracked? */
export function allowed(store: Store, words: Int32Array, at: number): boolean {
  if (store.control[ACTIVE] === 0) return true
  for (let tries = 0; tries < TRIES; tries++) {
    const sequence = Atomics.load(store.control, SEQUENCE)
    if ((sequence & 1) === 1) continue
    const i = find(store, words, at)
    const flags = i < 0 ? 0 : store.access[i + 5]!
    if (Atomics.load(store.control, SEQUENCE) !== sequence) continue
    if ((flags & DENY) !== 0) return false
    return (store.control[ACTIVE]! & ALLOW) === 0 || (flags & ALLOW) !== 0
  }
  return true // a list is being replaced for longer than we look: apply decides again
}

export const accessState = (store: Store, list: AccessList) => ({
  active: (store.control[ACTIVE]! & list) !== 0,
  entries: store.control[ENTRIES + list]!,
  revision: store.control[REVISION + list]! >>> 0,
})

/**
 * Every info_hash on a list, as 20-byte views of one array. Call on the replica thread or expect a mixture.
 */
export function accessEntries(store: Store, list: AccessList): Uint8Array[] {
  const out: Uint8Array[] = []
  const bytes = new Uint8Array(store.buffers.access)
  for (let i = 0; i < store.access.length; i += WORDS)
    if ((store.access[i + 5]! & list) !== 0) out.push(bytes.slice(i * 4, i * 4 + 20))
  return out
}

/**
 * Replica thread: changes one list. `hashes` holds five words an info_hash. A revision that is not newer than
 * the list's is ignored (revision 0: next). Returns false when ignored or when the table would be over its
 * limit.
 */
export function changeAccess(
  store: Store,
  list: AccessList,
  operation: AccessOperation,
  revision: number,
  hashes: Int32Array,
): boolean {
  const now = store.control[REVISION + list]! >>> 0
  if (revision !== 0 && revision <= now) return false
  const adding = operation === 'replace' || operation === 'add' ? hashes.length / 5 : 0
  const limit = store.buffers.limits.access
  if (entriesAfter(store, list, operation) + adding > limit) return false
  Atomics.add(store.control, SEQUENCE, 1)
  if (operation === 'replace' || operation === 'off' || store.control[TAKEN]! + adding > limit)
    rebuild(store, operation === 'replace' || operation === 'off' ? list : 0)
  for (let at = 0; at < hashes.length; at += 5)
    if (operation === 'remove') setFlag(store, list, hashes, at, false)
    else if (operation !== 'off') setFlag(store, list, hashes, at, true)
  const active = store.control[ACTIVE]!
  store.control[ACTIVE] =
    operation === 'off'
      ? active & ~list
      : operation === 'remove' && list === DENY && store.control[ENTRIES + DENY] === 0
        ? active & ~DENY
        : active | list
  store.control[REVISION + list] = revision === 0 ? now + 1 : revision
  Atomics.add(store.control, SEQUENCE, 1)
  return true
}

function entriesAfter(store: Store, list: AccessList, operation: AccessOperation): number {
  const other = store.control[ENTRIES + (list === ALLOW ? DENY : ALLOW)]!
  return operation === 'replace' || operation === 'off' ? other : other + store.control[ENTRIES + list]!
}

/** Lays the table anew, because info_hashes hash otherwise now, and puts that in force with `meanwhile`. */
export function relayAccess(store: Store, meanwhile: () => void): void {
  Atomics.add(store.control, SEQUENCE, 1)
  if (store.control[TAKEN] !== 0) rebuild(store, 0)
  meanwhile()
  Atomics.add(store.control, SEQUENCE, 1)
}

/** Lays the table anew without one list's flags (0: keep both) and without entries that are in none. */
function rebuild(store: Store, without: number): void {
  const kept: number[] = []
  for (let i = 0; i < store.access.length; i += WORDS) {
    const flags = store.access[i + 5]! & (ALLOW | DENY) & ~without
    if (flags !== 0) kept.push(...store.access.subarray(i, i + 5), flags)
  }
  guard(store, 0, store.access.length)
  store.access.fill(0)
  store.control[TAKEN] = 0
  if (without !== 0) store.control[ENTRIES + without] = 0
  for (let i = 0; i < kept.length; i += WORDS) {
    const at = place(store, kept, i)
    store.access[at + 5] = kept[i + 5]! | USED
  }
}

function setFlag(store: Store, list: AccessList, hashes: Int32Array, at: number, on: boolean): void {
  let i = find(store, hashes, at)
  if (i < 0) {
    if (!on) return
    i = place(store, hashes, at)
  }
  const flags = store.access[i + 5]!
  if (((flags & list) !== 0) === on) return
  guard(store, i, WORDS)
  store.access[i + 5] = (on ? flags | list : flags & ~list) | USED
  store.control[ENTRIES + list]! += on ? 1 : -1
}

/** A new entry without flags; returns its offset. */
function place(store: Store, hash: ArrayLike<number>, at: number): number {
  const slots = accessSlots(store.buffers.limits.access)
  const words = Int32Array.from({ length: 5 }, (_, j) => hash[at + j]!)
  let slot = store.hashOf(words, 0) & (slots - 1)
  while (store.access[slot * WORDS + 5] !== 0) slot = (slot + 1) & (slots - 1)
  guard(store, slot * WORDS, WORDS)
  store.access.set(words, slot * WORDS)
  store.control[TAKEN]!++
  return slot * WORDS
}

function find(store: Store, words: Int32Array, at: number): number {
  const slots = accessSlots(store.buffers.limits.access)
  let slot = store.hashOf(words, at) & (slots - 1)
  for (let n = 0; n < slots; n++, slot = (slot + 1) & (slots - 1)) {
    const i = slot * WORDS
    if (store.access[i + 5] === 0) return -1
    let j = 0
    while (j < 5 && store.access[i + j] === words[at + j]) j++
    if (j === 5) return i
  }
  return -1
}

function guard(store: Store, from: number, count: number): void {
  if (store.cow.active) store.cow.before(bufferNumber('access'), from * 4, (from + count) * 4)
}
