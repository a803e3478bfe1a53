// Seeders and leechers of all torrents together: the table is walked a piece a second, so that nobody waits
// for it. Refuses: to be exact while the table changes; each torrent's own counts are.

import { C_TORRENT_TOP, RECORD, T_STATE } from '../swarm/layout.ts'
import type { Store } from '../swarm/store.ts'

/** Torrents looked at in one step: about a millisecond. */
const STEP_TORRENTS = 65_536

export type Census = {
  readonly seeders: number
  readonly leechers: number
  /** Walks on; whole counts are replaced when the end is reached. */
  step(): void
}

export function censusOf(store: Store): Census {
  let at = 0
  let seeders = 0
  let leechers = 0
  const census = {
    seeders: 0,
    leechers: 0,
    step() {
      const top = store.control[C_TORRENT_TOP]!
      const end = Math.min(top, at + STEP_TORRENTS)
      for (; at < end; at++) {
        if (store.torrents[at * RECORD + T_STATE] !== 1) continue
        seeders += store.seeders(at * RECORD)
        leechers += store.leechers(at * RECORD)
      }
      if (at < top) return
      census.seeders = seeders
      census.leechers = leechers
      at = seeders = leechers = 0
    },
  }
  return census
}
