// Copy on write for snapshots: while one is being read, the old bytes of a 64 KiB block are set aside before
// their first later write. Refuses: to write anything itself, and more than one snapshot at a time.

/** Bytes a block. */
export const BLOCK = 65536

export class CopyOnWrite {
  /** True while a snapshot is being read: writers call `before` only then. */
  active = false
  private readonly buffers: readonly Uint8Array[]
  /** A bit a block: 1 = already read or set aside. */
  private done: Uint8Array[] = []
  private aside: Map<number, Uint8Array>[] = []

  constructor(buffers: readonly Uint8Array[]) {
    this.buffers = buffers
  }

  begin(): void {
    if (this.active) throw new Error('a snapshot is already being read')
    this.done = this.buffers.map((b) => new Uint8Array(Math.ceil(b.length / BLOCK)))
    this.aside = this.buffers.map(() => new Map())
    this.active = true
  }

  end(): void {
    this.active = false
    this.done = []
    this.aside = []
  }

  /** A writer is about to change bytes `from` to `to` (exclusive) of a buffer. */
  before(buffer: number, from: number, to: number): void {
    const done = this.done[buffer]!
    for (let block = Math.floor(from / BLOCK); block * BLOCK < to; block++) {
      if (done[block] === 1) continue
      done[block] = 1
      this.aside[buffer]!.set(block, this.buffers[buffer]!.slice(block * BLOCK, (block + 1) * BLOCK))
    }
  }

  /**
   * The block as it was when the snapshot began, until the next write to the table; each is asked for once.
   */
  read(buffer: number, block: number): Uint8Array {
    const aside = this.aside[buffer]!
    const kept = aside.get(block)
    if (kept !== undefined) {
      aside.delete(block)
      return kept
    }
    this.done[buffer]![block] = 1
    return this.buffers[buffer]!.subarray(block * BLOCK, (block + 1) * BLOCK)
  }
}
