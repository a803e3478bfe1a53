// Settings and access lists: what is in force, and changing them through the log, one change at a time.
// Refuses: settings out of their limits, and lists that changed since the caller looked.

import {
  type AccessList,
  type AccessOperation,
  ALLOW,
  accessEntries,
  accessState,
  DENY,
} from '../swarm/access.ts'
import { accessEntry, settingsEntry } from '../swarm/entry.ts'
import { C_ACCESS } from '../swarm/layout.ts'
import { type Settings, settingsFault } from '../swarm/settings.ts'
import type { Store } from '../swarm/store.ts'

/** What became of a change that an administrator asked for. */
export type Changed =
  | { readonly kind: 'done' }
  /** Wrong in itself: asking again is useless. */
  | { readonly kind: 'invalid' | 'conflict' | 'full'; readonly why: string }
  /** Not now, and nothing has happened. */
  | { readonly kind: 'refused'; readonly why: string }
  /** Not known whether it happened. */
  | { readonly kind: 'unknown'; readonly why: string }

export type Propose = (entry: Uint8Array) => Promise<'committed' | 'refused' | 'unknown'>

export type AccessView = { readonly active: boolean; readonly revision: number; readonly entries: number }

export type Changes = {
  settings(): Settings
  changeSettings(change: Partial<Settings>): Promise<Changed>
  access(list: AccessList): AccessView
  /** 20 bytes each, sorted. */
  infoHashes(list: AccessList): Uint8Array[]
  /** `expectedRevision` null: whatever the list is now. `hashes`: 20 bytes each. */
  changeAccess(
    list: AccessList,
    operation: AccessOperation,
    expectedRevision: number | null,
    hashes: Uint8Array,
  ): Promise<Changed>
}

/**
 * `store`: this thread's view of the table; `propose` resolves once the entry is applied to it; `elsewhere`:
 * whom to ask instead, as a sentence, '' where this replica leads.
 */
export function changesOf(
  store: Store,
  propose: Propose,
  elsewhere: () => Promise<string> = async () => '',
): Changes {
  const commit = async (entry: Uint8Array): Promise<Changed> => {
    const outcome = await propose(entry)
    return told(outcome, outcome === 'refused' ? await elsewhere() : '')
  }
  let last: Promise<unknown> = Promise.resolve()
  /** One at a time, so that what was checked before a change is still so when it is made. */
  const inTurn = (change: () => Promise<Changed>): Promise<Changed> => {
    const mine = last.then(change)
    last = mine.catch(() => {})
    return mine
  }
  return {
    settings: () => store.settings,
    changeSettings: (change) =>
      inTurn(async () => {
        const fault = settingsFault({ ...store.settings, ...change })
        if (fault !== null) return { kind: 'invalid', why: fault }
        if (Object.keys(change).length === 0) return { kind: 'done' }
        return await commit(settingsEntry(change))
      }),
    access: (list) => accessState(store, list),
    infoHashes: (list) =>
      consistent(store, () => accessEntries(store, list)).sort((a, b) => Buffer.compare(a, b)),
    changeAccess: (list, operation, expectedRevision, hashes) =>
      inTurn(async () => {
        const before = accessState(store, list)
        if (expectedRevision !== null && expectedRevision !== before.revision)
          return {
            kind: 'conflict',
            why: `the list has revision ${before.revision} by now, not ${expectedRevision}`,
          }
        const limit = store.buffers.limits.access
        const others = accessState(store, list === ALLOW ? DENY : ALLOW).entries
        const adding = operation === 'replace' || operation === 'add' ? hashes.length / 20 : 0
        const kept = operation === 'replace' || operation === 'off' ? others : others + before.entries
        if (adding > 0 && kept + adding > limit)
          return {
            kind: 'full',
            why: `both lists together hold at most ${limit} info_hashes, this would be ${kept + adding}`,
          }
        return await commit(accessEntry(list, operation, before.revision + 1, hashes))
      }),
  }
}

function told(outcome: 'committed' | 'refused' | 'unknown', elsewhere: string): Changed {
  if (outcome === 'committed') return { kind: 'done' }
  if (outcome === 'refused')
    return {
      kind: 'refused',
      why: elsewhere || 'this replica cannot store changes now, its disk is full; try again',
    }
  return {
    kind: 'unknown',
    why: 'the change was sent but not committed in time: look whether it is there before trying again',
  }
}

/**
 * Reads the access table while nobody writes it: its sequence number is even and the same before and after.
 */
function consistent<T>(store: Store, read: () => T): T {
  for (;;) {
    const before = Atomics.load(store.control, C_ACCESS)
    if ((before & 1) === 1) continue
    const value = read()
    if (Atomics.load(store.control, C_ACCESS) === before) return value
  }
}
