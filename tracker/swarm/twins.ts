// One client seen twice: the same tag on IPv4 and IPv6 counts once (a seeder if either is), the same tag in
// one family and with the same port at another address (or the same address and another port) has moved. Sets
// are scanned up to some hundred peers; torrents with a larger one keep a tag index: a family of units (tag,
// hash of the peer's address). Refuses: tag 0, which is nobody's.

import { type Family, formOf, sizeOf } from './family.ts'
import {
  E_TAGS,
  E_TWIN_LEECHERS,
  E_TWIN_SEEDERS,
  PAGE,
  T_FLAGS,
  T_LEECHERS,
  T_SEEDERS,
  TAGGED,
} from './layout.ts'
import { WHOLE } from './pages.ts'
import type { Store } from './store.ts'

/**
 * A torrent with a set of so many peers gets a tag index: below it a scan costs less than the index takes
 * room.
 */
const INDEXED_FROM = 256
/** And loses it when all of its sets are smaller than this: nobody makes it come and go with one peer. */
const INDEXED_UNTIL = 128

export const tagOf = (family: Family, unit: number): number => {
  const q = unit * family.stride + family.keyLength + 1
  return family.units[q]! | (family.units[q + 1]! << 16)
}

export type Found = { readonly unit: number; readonly seeder: boolean }

/** The peer of one family with this tag, or null. */
export function findTagged(store: Store, k: number, v6: boolean, tag: number): Found | null {
  const base = v6 ? store.extension(k) : k
  if (base < 0) return null
  const family = v6 ? store.peers6 : store.peers4
  const set = v6 ? store.extensions : store.torrents
  const first = v6 ? base : base + T_LEECHERS
  for (let i = 0; i < 2; i++) {
    const at = first + 2 * i
    const form = formOf(set[at + 1]!)
    const unit =
      form === 0
        ? -1
        : form <= WHOLE
          ? scanTags(family, set[at]!, sizeOf(set[at + 1]!), tag)
          : (store.torrents[k + T_FLAGS]! & TAGGED) === 0
            ? scanLeaves(family, set, at, tag)
            : findInLeaves(store, k, family, set, at, tag)
    if (unit >= 0) return { unit, seeder: i === 1 }
  }
  return null
}

/** The tag is the last word of a unit. */
function scanTags(family: Family, first: number, count: number, tag: number): number {
  const { words } = family
  const stride = family.stride / 2
  let q = (first + 1) * stride - 1
  for (let i = 0; i < count; i++, q += stride) if (words[q] === tag) return first + i
  return -1
}

function scanLeaves(family: Family, set: Int32Array, at: number, tag: number): number {
  let found = -1
  family.eachLeaf(set, at, (page) => {
    if (found < 0) found = scanTags(family, page * PAGE, family.pages.count(page), tag)
  })
  return found
}

/** Asks the tag index for the address hashes of `tag`, and looks into the leaf of each. */
function findInLeaves(
  store: Store,
  k: number,
  family: Family,
  set: Int32Array,
  at: number,
  tag: number,
): number {
  let found = -1
  eachTagUnit(store, k, tag, (hash) => {
    if (found >= 0) return
    const depth = formOf(set[at + 1]!) - 32
    const slot = depth === 0 ? 0 : hash >>> (32 - depth)
    const page = family.directory.words[set[at]! + slot]!
    for (let i = 0, n = family.pages.count(page); i < n; i++) {
      const unit = page * PAGE + i
      if (tagOf(family, unit) === tag && family.hashOf(unit) === hash) found = unit
    }
  })
  return found
}

/** Address hashes noted for a tag. All units of a tag share a leaf, since only the tag is hashed. */
function eachTagUnit(store: Store, k: number, tag: number, visit: (hash: number) => void): void {
  const e = store.extension(k)
  if (e < 0) return
  const tags = store.tags
  setTagKey(tags, tag, 0)
  tags.eachAlike(store.extensions, e + E_TAGS, (unit) => {
    const q = unit * 4
    if ((tags.units[q]! | (tags.units[q + 1]! << 16)) === tag)
      visit((tags.units[q + 2]! | (tags.units[q + 3]! << 16)) >>> 0)
  })
}

function setTagKey(tags: Family, tag: number, hash: number): void {
  tags.key[0] = tag
  tags.key[1] = tag >>> 16
  tags.key[2] = hash
  tags.key[3] = hash >>> 16
}

/**
 * A peer was stored: notes its tag and counts its pair once (tag 0: only keeps the index complete). True if
 * its twin in the other family seeds already (its download is counted then).
 */
export function rememberTag(
  store: Store,
  k: number,
  v6: boolean,
  tag: number,
  seeder: boolean,
  hash: number,
): boolean {
  if ((store.torrents[k + T_FLAGS]! & TAGGED) === 0) {
    if (hasSetOf(store, k, INDEXED_FROM)) indexAll(store, k)
  } else if (tag !== 0) addTag(store, k, tag, hash)
  if (tag === 0) return false
  const twin = findTagged(store, k, !v6, tag)
  if (twin !== null) {
    countPair(store, k, seeder, twin.seeder, 1)
    store.count('twins')
  }
  return twin?.seeder === true
}

/** A tagged peer is about to go, or to change its tag or state. */
export function forgetTag(
  store: Store,
  k: number,
  v6: boolean,
  tag: number,
  seeder: boolean,
  hash: number,
): void {
  if (tag === 0) return
  const twin = findTagged(store, k, !v6, tag)
  if (twin !== null) countPair(store, k, seeder, twin.seeder, -1)
  if ((store.torrents[k + T_FLAGS]! & TAGGED) === 0) return
  const e = store.extension(k)
  setTagKey(store.tags, tag, hash)
  const unit = store.tags.find(store.extensions, e + E_TAGS)
  if (unit >= 0) store.tags.remove(store.extensions, e + E_TAGS, unit)
  if (!hasSetOf(store, k, INDEXED_UNTIL)) {
    store.tags.clear(store.extensions, e + E_TAGS)
    store.torrents[k + T_FLAGS]! &= ~TAGGED
  }
}

function countPair(store: Store, k: number, a: boolean, b: boolean, by: number): void {
  const e = store.extension(k)
  store.extensions[e + (a && b ? E_TWIN_SEEDERS : E_TWIN_LEECHERS)]! += by
}

function addTag(store: Store, k: number, tag: number, hash: number): void {
  setTagKey(store.tags, tag, hash)
  const e = store.extension(k)
  if (
    store.tags.find(store.extensions, e + E_TAGS) < 0 &&
    store.tags.insert(store.extensions, e + E_TAGS) < 0
  )
    store.count('tag_index_full')
}

function hasSetOf(store: Store, k: number, size: number): boolean {
  const T = store.torrents
  if (sizeOf(T[k + T_LEECHERS + 1]!) >= size || sizeOf(T[k + T_SEEDERS + 1]!) >= size) return true
  const e = store.extension(k)
  return e >= 0 && (sizeOf(store.extensions[e + 1]!) >= size || sizeOf(store.extensions[e + 3]!) >= size)
}

/** A set has just become large: from now on this torrent's tags are indexed. */
function indexAll(store: Store, k: number): void {
  const e = store.extend(k)
  if (e < 0) {
    store.count('tag_index_full')
    return
  }
  store.torrents[k + T_FLAGS]! |= TAGGED
  const add = (family: Family, set: Int32Array, at: number) =>
    family.each(set, at, (unit) => {
      const tag = tagOf(family, unit)
      if (tag !== 0) addTag(store, k, tag, family.hashOf(unit))
    })
  for (let i = 0; i < 2; i++) {
    add(store.peers4, store.torrents, k + T_LEECHERS + 2 * i)
    add(store.peers6, store.extensions, e + 2 * i)
  }
}

/** Addresses hash otherwise now: the index is made anew. */
export function indexTags(store: Store, k: number): void {
  store.tags.clear(store.extensions, store.extension(k) + E_TAGS)
  indexAll(store, k)
}

/** Counts all pairs of a swarm anew: peers have gone without a word. */
export function countPairs(store: Store, k: number): void {
  const e = store.extension(k)
  if (e < 0) return
  store.extensions[e + E_TWIN_LEECHERS] = 0
  store.extensions[e + E_TWIN_SEEDERS] = 0
  for (const seeder of [false, true])
    store.peers6.each(store.extensions, e + (seeder ? 2 : 0), (unit) => {
      const tag = tagOf(store.peers6, unit)
      const twin = tag === 0 ? null : findTagged(store, k, false, tag)
      if (twin !== null) countPair(store, k, seeder, twin.seeder, 1)
    })
}
