// Known bugs, put in on request: wrappers around the parts they spoil. Whoever simulates must find each of
// them. Refuses: to be anywhere near production.

import type { Random } from '@skep/testing/random.ts'
import type { LogDisk } from '../replica/log/disk.ts'
import type { LogBatch, LogStore } from '../replica/log/log.ts'
import type { Machine } from '../replica/machine.ts'
import type { Refusal } from '../replica/transport/frame-body.ts'
import { Announcer, CHANGE, NONE } from '../swarm/announce.ts'
import { COMPLETED, KIND_MASK, LEAVE, PUT, SEEDER, STARTED, WORD_HASH } from '../swarm/change.ts'
import type { Store } from '../swarm/store.ts'
import type { Canary } from './place.ts'

/** skip-fsync: the store says "on disk" before it is. */
export const canaryDisk = (canary: Canary | null, disk: LogDisk): LogDisk => {
  if (canary !== 'skip-fsync') return disk
  return {
    ...disk,
    openStore: async () => {
      const store = await disk.openStore()
      return {
        get: (key) => store.get(key),
        range: (from, to) => store.range(from, to),
        reclaim: (from, to) => store.reclaim(from, to),
        close: () => store.close(),
        write: (puts, deletes) => store.write(puts, deletes, false),
      }
    },
  }
}

/** keeps-incarnation: the number is read and not raised. forgets-votes: who was voted for is not written. */
export const canaryLog = (canary: Canary | null, log: LogStore): LogStore => {
  if (canary !== 'keeps-incarnation' && canary !== 'forgets-votes') return log
  return new Proxy(log, {
    get: (target, name) => {
      if (canary === 'keeps-incarnation' && name === 'nextIncarnation') return () => Promise.resolve(7)
      if (canary === 'forgets-votes' && name === 'append')
        return ({ hardState, ...batch }: LogBatch) =>
          target.append({ ...batch, hardState: hardState && { ...hardState, vote: 0 } })
      const value = target[name as keyof LogStore]
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

/** welcomes-copies: who should be turned away is remembered like everybody, and let in. */
export const canaryLife = (canary: Canary | null, refusal: Refusal | null): Refusal | null =>
  canary === 'welcomes-copies' ? null : refusal

/** Every so many entries. */
const SWAPPED = 12
const SKIPPED = 50

export const canaryMachine = (canary: Canary | null, store: Store, machine: Machine): Machine => {
  if (canary === 'skips-entries') return skipping(machine)
  if (canary !== 'snapshot-moves') return machine
  return {
    apply: (index, term, data) => machine.apply(index, term, data),
    applied: (index) => machine.applied(index),
    restore: (chunks) => machine.restore(chunks),
    snapshot: () => {
      const snapshot = machine.snapshot()
      store.cow.active = false
      return snapshot
    },
  }
}

/** apply-out-of-order: of the machine and of whoever watches it. */
export const canaryOrder = (canary: Canary | null, machine: Machine): Machine =>
  canary === 'apply-out-of-order' ? swapping(machine) : machine

/** All members alike: their tables are equal, and wrong. */
const skipping = (machine: Machine): Machine => ({
  apply: (index, term, data) => {
    if (index % SKIPPED !== 0) machine.apply(index, term, data)
  },
  applied: (index) => machine.applied(index),
  snapshot: () => machine.snapshot(),
  restore: (chunks) => machine.restore(chunks),
})

/** Holds an entry back until the next one of the same Ready has been applied. */
const swapping = (machine: Machine): Machine => {
  let held: { index: number; term: number; data: Uint8Array } | null = null
  const release = (): void => {
    if (held !== null) machine.apply(held.index, held.term, held.data)
    held = null
  }
  return {
    apply: (index, term, data) => {
      if (held === null && index % SWAPPED === 0) {
        held = { index, term, data: Uint8Array.from(data) }
        return
      }
      machine.apply(index, term, data)
      release()
    },
    applied: (index) => {
      release()
      machine.applied(index)
    },
    snapshot: () => machine.snapshot(),
    restore: (chunks) => machine.restore(chunks),
  }
}

/** Every so many batches that are forwarded. */
const REPEATED = 20

/** sends-old-changes: the section that was sent before, under the number of this one. */
export const canarySections = (canary: Canary | null): ((section: Uint8Array) => Uint8Array) => {
  if (canary !== 'sends-old-changes') return (section) => section
  let before: Uint8Array | null = null
  let count = 0
  return (section) => {
    const old = before
    before = Uint8Array.from(section)
    if (old === null || ++count % REPEATED !== 0) return section
    old.set(section.subarray(0, NAME_BYTES))
    return old
  }
}

/** Of a section: member, incarnation and number. */
const NAME_BYTES = 16

/** One dial in so many. */
const TURNED_AWAY = 0.001

/** turns-members-away. */
export const canaryRefusal = (canary: Canary | null, random: Random): Refusal | null =>
  canary === 'turns-members-away' && random.chance(TURNED_AWAY)
    ? { code: 'removed member', sentence: 'a known bug' }
    : null

export const canaryAnnouncer = (canary: Canary | null, store: Store, seed: number): Announcer =>
  canary === 'believes-its-table' ? new BelievingAnnouncer(store, seed) : new Announcer(store, seed)

/** believes-its-table: as every front end did once, and followers are behind. */
class BelievingAnnouncer extends Announcer {
  override announce(...ask: Parameters<Announcer['announce']>): number {
    const [words, at] = ask
    const word0 = words[at]!
    const plain = word0 & ~(KIND_MASK | COMPLETED | STARTED)
    const asIf = (other: number): number => {
      words[at] = other
      const what = super.announce(...ask)
      words[at] = word0
      return what
    }
    if ((word0 & KIND_MASK) !== LEAVE) return asIf(plain | PUT)
    if (asIf(plain | PUT) !== CHANGE || asIf((plain | PUT) ^ SEEDER) !== CHANGE) return CHANGE
    this.scrape(words, at + WORD_HASH)
    this.count4 = this.count6 = 0
    return NONE
  }
}
