// Who waits for which entry: single proposals (settings, access lists, membership) from their proposal to
// their fate. Refuses: to guess. An entry that its leader may have sent is "unknown" until the log says what
// stands in its place.

import type { Entry } from '@skep/raft'
import { ENTRY_NORMAL } from '@skep/raft'

export type Outcome = 'committed' | 'refused' | 'unknown'
type Done = (outcome: Outcome) => void
type Waiting = { readonly index: number; readonly term: number; readonly done: Done }

export class Proposals {
  /** Proposed since the last Ready, in order; null: somebody else keeps account of it. */
  private unplaced: { readonly term: number; readonly change: boolean; readonly done: Done | null }[] = []
  private readonly waiting: Waiting[] = []

  /** The core took a proposal in `term`; `change`: of the configuration. */
  took(term: number, change: boolean, done: Done | null): void {
    this.unplaced.push({ term, change, done })
  }

  /**
   * Entries of a Ready. Only the leader of a term makes entries of it: ours lie in the order in which they
   * were proposed.
   */
  place(entries: readonly Entry[]): void {
    if (this.unplaced.length === 0) return
    const at = new Map<string, number>()
    for (const { term, change, done } of this.unplaced) {
      const key = `${term} ${change}`
      const from = at.get(key) ?? 0
      const found = entries.findIndex((e, i) => i >= from && e.term === term && isOurs(e, change))
      at.set(key, found < 0 ? entries.length : found + 1)
      if (done === null) continue
      // Gone before it was seen: its appends may be on their way all the same.
      if (found < 0) done('unknown')
      else this.waiting.push({ index: entries[found]!.index, term, done })
    }
    this.unplaced = []
    this.waiting.sort((a, b) => a.index - b.index)
  }

  /** An entry was applied. */
  settle(index: number, term: number): void {
    for (let w = this.waiting[0]; w !== undefined && w.index <= index; w = this.waiting[0]) {
      this.waiting.shift()
      // Another term's entry in its place: ours was never committed and never will be.
      w.done(w.index === index && w.term === term ? 'committed' : 'refused')
    }
  }

  /** The state came as a snapshot, as of `index`: what was decided on the way was not told. */
  skip(index: number): void {
    while (this.waiting[0] !== undefined && this.waiting[0].index <= index)
      this.waiting.shift()!.done('unknown')
  }

  /** Whoever still waits hears "unknown". */
  abandon(): void {
    for (const w of this.waiting.splice(0)) w.done('unknown')
    this.unplaced = this.unplaced.map((u) => {
      u.done?.('unknown')
      return { ...u, done: null }
    })
  }
}

/**
 * A new leader's own empty entry is nobody's proposal; an empty change of configuration is one: leaving a
 * joint one.
 */
const isOurs = (entry: Entry, change: boolean): boolean =>
  change ? entry.type !== ENTRY_NORMAL : entry.type === ENTRY_NORMAL && entry.data.byteLength > 0
