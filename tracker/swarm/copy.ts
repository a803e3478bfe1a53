// A table as if it had been filled anew, under another secret: torrents in the order in which they came, the
// peers of a set and the entries of a list sorted, no trace of how they lay before or of what has gone. For
// files that leave the cluster, and for what comes of them. Refuses: a table that is in use, of either side.

import { ALLOW, accessEntries, accessState, changeAccess, DENY } from './access.ts'
import type { Family } from './family.ts'
import {
  C_ACCESS,
  C_BATCHES,
  C_BIRTH,
  C_BUCKET,
  C_COUNTERS,
  C_DIRECTORY_FREE,
  C_HASH_KEY,
  C_LEVEL,
  C_SETTINGS,
  C_TIME,
  C_TORRENT_TOP,
  C_TORRENTS,
  E_SEEDERS,
  E_TWIN_LEECHERS,
  E_TWIN_SEEDERS,
  RECORD,
  T_COMPLETED,
  T_EMPTY_SINCE,
  T_EXTENSION,
  T_FLAGS,
  T_LEECHERS,
  T_SEEDERS,
  T_STATE,
  TAGGED,
} from './layout.ts'
import type { Store } from './store.ts'
import { insertIndex } from './torrent-index.ts'
import { countPairs, indexTags } from './twins.ts'

/** What hashes the copy. */
export type Secret = { readonly level: number; readonly seed: number; readonly key: readonly number[] }

/** Fills `to`, an empty table of the same capacity in which nothing was applied but for its birth mark. */
export function copyTable(from: Store, to: Store, secret: Secret): void {
  const a = from.control
  const b = to.control
  const copy = (at: number, end: number): void => b.set(a.subarray(at, end), at)
  copy(C_TIME, C_BUCKET + 1)
  copy(C_SETTINGS, C_ACCESS)
  copy(C_COUNTERS, C_DIRECTORY_FREE)
  copy(C_BATCHES, C_HASH_KEY)
  b[C_BIRTH + 5] = secret.seed
  b.set(secret.key, C_HASH_KEY)
  b[C_LEVEL] = secret.level
  to.hashing.refresh()
  for (let number = 0; number < a[C_TORRENT_TOP]!; number++)
    if (from.torrents[number * RECORD + T_STATE] === 1) copySwarm(from, to, number * RECORD)
  for (const list of [ALLOW, DENY] as const) copyList(from, to, list)
}

function copySwarm(from: Store, to: Store, k: number): void {
  const number = to.control[C_TORRENT_TOP]!++
  to.control[C_TORRENTS]!++
  const at = number * RECORD
  const T = to.torrents
  T.set(from.torrents.subarray(k, k + 5), at)
  for (const word of [T_COMPLETED, T_FLAGS, T_STATE, T_EMPTY_SINCE]) T[at + word] = from.torrents[k + word]!
  T[at + T_FLAGS]! &= ~TAGGED
  insertIndex(to, number + 1)
  let lost = copySet(from.peers4, from.torrents, k + T_LEECHERS, to.peers4, T, at + T_LEECHERS)
  lost += copySet(from.peers4, from.torrents, k + T_SEEDERS, to.peers4, T, at + T_SEEDERS)
  if (from.torrents[k + T_EXTENSION] !== 0) {
    const e = from.extension(k)
    const own = to.extend(at)
    const E = to.extensions
    lost += copySet(from.peers6, from.extensions, e, to.peers6, E, own)
    lost += copySet(from.peers6, from.extensions, e + E_SEEDERS, to.peers6, E, own + E_SEEDERS)
    for (const word of [E_TWIN_LEECHERS, E_TWIN_SEEDERS]) E[own + word] = from.extensions[e + word]!
    if ((from.torrents[k + T_FLAGS]! & TAGGED) !== 0) indexTags(to, at)
  }
  if (lost > 0) countPairs(to, at)
}

/** Returns how many peers found no room: another secret may need a page more. */
function copySet(
  family: Family,
  set: Int32Array,
  at: number,
  toFamily: Family,
  toSet: Int32Array,
  toAt: number,
): number {
  const found: number[] = []
  family.each(set, at, (unit) => void found.push(unit))
  const { stride, keyLength, units } = family
  found.sort((x, y) => {
    for (let i = 0; i < keyLength; i++) {
      const less = units[x * stride + i]! - units[y * stride + i]!
      if (less !== 0) return less
    }
    return 0
  })
  let lost = 0
  for (const unit of found) {
    for (let i = 0; i < keyLength; i++) toFamily.key[i] = units[unit * stride + i]!
    const own = toFamily.insert(toSet, toAt)
    if (own < 0) lost++
    else toFamily.fill(own, family, unit)
  }
  return lost
}

function copyList(from: Store, to: Store, list: typeof ALLOW | typeof DENY): void {
  const { active, revision } = accessState(from, list)
  to.control[C_ACCESS + 3 + list] = from.control[C_ACCESS + 3 + list]!
  if (!active) return
  const hashes = accessEntries(from, list).map((hash) => Buffer.from(hash))
  hashes.sort(Buffer.compare)
  const bytes = new Uint8Array(Buffer.concat(hashes))
  to.control[C_ACCESS + 3 + list] = 0
  changeAccess(to, list, 'replace', revision, new Int32Array(bytes.buffer))
  to.control[C_ACCESS + 3 + list] = from.control[C_ACCESS + 3 + list]!
}
