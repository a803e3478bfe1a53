// What a log needs of a disk: ordered keys with atomic batches, a small mark written in place, and snapshot
// files. Refuses: to know entries or Raft. Three implementations: classic-level and lmdb over real files, and
// memory.

export type Pair = { readonly key: Uint8Array; readonly value: Uint8Array }

/** An embedded key-value store; keys sort bytewise. */
export interface KeyValue {
  /** All or nothing, in the order of the calls; one call at a time. `sync`: on disk when it resolves. */
  write(puts: readonly Pair[], deletes: readonly Uint8Array[], sync: boolean): Promise<void>
  get(key: Uint8Array): Uint8Array | undefined
  /** Keys `from <= key < to`, ascending. */
  range(from: Uint8Array, to: Uint8Array): AsyncIterable<Pair>
  /** Gives the space of deleted keys `from <= key < to` back, while other calls go on; may do nothing. */
  reclaim(from: Uint8Array, to: Uint8Array): Promise<void>
  close(): Promise<void>
}

export interface BlobWriter {
  write(parts: readonly Uint8Array[]): Promise<void>
  /** On disk under its name, or not there at all. */
  finish(): Promise<void>
  abort(): Promise<void>
}

/** Bytes of the mark file: two slots, written in turn, so that a torn write leaves the other one. */
export const MARK_SLOT_BYTES = 64

export interface LogDisk {
  /** For messages: where this is. */
  readonly place: string
  /**
   * Makes the directory ours: throws LogLocked, LogFormat or LogDamaged. True when it was empty and has just
   * been made.
   */
  claim(): Promise<boolean>
  openStore(): Promise<KeyValue>
  /** Both slots as they lie there; null when the mark does not exist. */
  readMark(): Uint8Array | null
  /** Written at once but not synced. */
  writeMark(slot: number, bytes: Uint8Array): void
  syncMark(): Promise<void>
  createBlob(name: string): Promise<BlobWriter>
  /**
   * The blob's bytes in pieces, each valid only until the next one is read; null when there is no such blob.
   */
  readBlob(name: string): Promise<AsyncIterable<Uint8Array> | null>
  listBlobs(): Promise<string[]>
  removeBlob(name: string): Promise<void>
  /** A number that changes when the machine starts anew; 0 when it cannot be told. */
  bootNumber(): number
  release(): Promise<void>
  /** After `release`: deletes everything. */
  destroy(): Promise<void>
}
