// What the loop asks whoever makes entries, and tells it.
// Refuses: to know what an entry holds.

import type { ConfState, Entry } from '@skep/raft'

/** Where entries come from while this replica leads. */
export interface Source {
  /**
   * When the next entry is due, milliseconds: at most `nowMs` when it is. Infinity: not before something
   * happens.
   */
  due(nowMs: number): number
  /** The next entry, copied by the caller, or null. */
  next(nowMs: number): Uint8Array | null
  /** What became of it: false: never appended, try again later. */
  proposed(appended: boolean): void
  /** This replica leads, and has applied all that was before; called again after each loss. */
  leading(nowMs: number): void
  lost(): void
  /** Who is a member now: by an applied entry, or by a snapshot (null). */
  configured?(confState: ConfState, entry: Entry | null): void
}
