// Where changes come from and what a log entry looks like, as a member sees it: rings and swarms are somebody
// else's. Refuses: to know Raft. `T` is what the owner wants to be reminded of when a batch is decided.

export type Fed<T> = {
  /** The section of a log entry; a view, valid until the next call. */
  readonly section: Uint8Array
  readonly content: T
  /** When the first of its changes was seen, milliseconds. */
  readonly sinceMs: number
}

export interface Feed<T> {
  /**
   * When the next batch should leave if changes wait for company for `lingerMs`, milliseconds: at most
   * `nowMs` when it is due. Infinity: nothing waits.
   */
  due(nowMs: number, lingerMs: number): number
  /** All that waits, as far as it fits, as batch `number` of this member. Null: nothing. */
  next(number: number, nowMs: number): Fed<T> | null
  /**
   * What became of a batch whose parts the machine did not tell: `applied` when a snapshot contained it.
   * After `unknown` the log may still decide it: another `end` or the machine follows, and its front ends
   * must not be told twice.
   */
  end(content: T, outcome: 'applied' | 'refused' | 'unknown'): void
  /** Nothing can be stored: what waits is refused. Returns how many changes. */
  refuseWaiting(): number
  /**
   * What has waited since before `beforeMs` without getting into any batch is unknown. Returns how many
   * changes.
   */
  dropWaiting(beforeMs: number): number
  /** Makes outcomes visible. */
  tell(): void
  /** An entry of this cluster time, milliseconds, with these sections; without any it only lets time pass. */
  entry(timeMs: number, sections: readonly Uint8Array[]): Uint8Array
  /** What a leader writes before anything else, while it is not applied: the birth record. */
  first(): Uint8Array | null
  /** Is this really a section with that name? What does not fit never gets into the log. */
  fits(section: Uint8Array, member: number, incarnation: number, number: number): boolean
  /** Cluster time as applied, milliseconds. */
  timeMs(): number
  /** The last batch of a member that is applied. */
  lastBatch(member: number): { incarnation: number; number: number }
}
