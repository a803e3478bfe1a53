// Lays everything anew that strangers' bytes select, when a cluster's tables get their secret (hashing.ts).
// One entry does it, on every member from the same bytes to the same bytes. Readers go on: a swarm is laid
// between two steps of its sequence number, the index and the access lists in one go, together with the word
// that says which hash counts. Refuses: to be done in parts. A million peers take about half a second
// (docs/decisions/0010-keyed-tables.md).

import { relayAccess } from './access.ts'
import type { HashKey } from './entry.ts'
import { formOf } from './family.ts'
import {
  C_HASH_KEY,
  C_LEVEL,
  C_TORRENT_TOP,
  E_LEECHERS,
  E_SEEDERS,
  RECORD,
  T_FLAGS,
  T_LEECHERS,
  T_SEEDERS,
  T_STATE,
  TAGGED,
} from './layout.ts'
import { WHOLE } from './pages.ts'
import type { Table } from './table.ts'
import { relayIndex } from './torrent-index.ts'
import { countPairs, indexTags } from './twins.ts'

export function rehash(table: Table, level: number, key: HashKey): void {
  const { store } = table
  const c = store.control
  c.set(key, C_HASH_KEY)
  store.hashing.begin()
  for (let number = 0; number < c[C_TORRENT_TOP]!; number++)
    if (store.torrents[number * RECORD + T_STATE] === 1) relaySwarm(table, number * RECORD)
  const putInForce = relayIndex(store)
  relayAccess(store, () => putInForce(() => Atomics.store(c, C_LEVEL, level)))
  store.hashing.refresh()
}

function relaySwarm(table: Table, k: number): void {
  const { store } = table
  const { torrents, extensions, peers4, peers6 } = store
  const e = store.extension(k)
  const tagged = (torrents[k + T_FLAGS]! & TAGGED) !== 0
  const big = (set: Int32Array, at: number): boolean => formOf(set[at + 1]!) > WHOLE
  const big4 = big(torrents, k + T_LEECHERS) || big(torrents, k + T_SEEDERS)
  const big6 = e >= 0 && (big(extensions, e + E_LEECHERS) || big(extensions, e + E_SEEDERS))
  if (!big4 && !big6 && !tagged) return
  table.enter(k)
  let lost = peers4.relay(torrents, k + T_LEECHERS) + peers4.relay(torrents, k + T_SEEDERS)
  if (e >= 0) lost += peers6.relay(extensions, e + E_LEECHERS) + peers6.relay(extensions, e + E_SEEDERS)
  if (tagged) indexTags(store, k)
  // No room for it under another hash: only where the table is full to the last page.
  if (lost > 0) {
    store.count('expired', lost)
    countPairs(store, k)
  }
  table.leaveSection(k)
}
