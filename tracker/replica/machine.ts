// What the replica replicates, as it sees it: three methods. replica/ knows nothing of swarms.

/** Called for each committed normal entry, in log order, once. */
export interface Machine {
  /**
   * Applies one entry: deterministic, never throws for a committed entry. `data` is valid only during the
   * call.
   */
  apply(index: number, term: number, data: Uint8Array): void
  /** After the committed entries of one Ready: outcomes become visible to the front ends here. */
  applied(index: number): void
  /** Begins a snapshot at the applied index; the machine goes on applying while `chunks` are read. */
  snapshot(): MachineSnapshot
  /** Replaces the state: chunks in order, each checked; throws a readable error when one does not fit. */
  restore(chunks: AsyncIterable<Uint8Array>): Promise<void>
}

export interface MachineSnapshot {
  /** Whole size, bytes, as far as known beforehand (for progress). */
  readonly bytes: number
  /** Self-checked chunks in order. A chunk is valid until the next is asked for. */
  chunks(): AsyncIterable<Uint8Array>
  /** Gives up early; harmless after the end. */
  release(): void
}
