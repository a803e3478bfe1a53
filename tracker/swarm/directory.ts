// Directories of big swarms: runs of 2^n words in one array, from free lists by power of two.
// Refuses: to know what the words mean.

import type { CopyOnWrite } from './cow.ts'
import { C_DIRECTORY_FREE, C_DIRECTORY_TOP } from './layout.ts'

export class Directory {
  readonly words: Int32Array<SharedArrayBuffer>
  private readonly control: Int32Array<SharedArrayBuffer>
  private readonly limit: number
  private readonly cow: CopyOnWrite
  private readonly buffer: number

  constructor(
    words: SharedArrayBuffer,
    control: Int32Array<SharedArrayBuffer>,
    limit: number,
    cow: CopyOnWrite,
    buffer: number,
  ) {
    this.words = new Int32Array(words)
    this.control = control
    this.limit = limit
    this.cow = cow
    this.buffer = buffer
  }

  /** Offset of a run of 2^bits words, contents undefined; -1 at capacity. */
  take(bits: number): number {
    const head = C_DIRECTORY_FREE + bits
    const free = this.control[head]! - 1
    if (free >= 0) {
      this.control[head] = this.words[free]!
      return free
    }
    const top = this.control[C_DIRECTORY_TOP]!
    if (top + 2 ** bits > this.limit) return -1
    this.control[C_DIRECTORY_TOP] = top + 2 ** bits
    return top
  }

  free(offset: number, bits: number): void {
    this.guard(offset, 1)
    const head = C_DIRECTORY_FREE + bits
    this.words[offset] = this.control[head]!
    this.control[head] = offset + 1
  }

  guard(offset: number, count: number): void {
    if (this.cow.active) this.cow.before(this.buffer, offset * 4, (offset + count) * 4)
  }
}
