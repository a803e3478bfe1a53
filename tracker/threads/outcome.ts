// What became of the changes of one front end: ranges of sequence numbers with an outcome, replica thread ->
// front end. Refuses: outcomes of single changes; why one peer was not stored is seen in the table that the
// answer is built from.

import { WordRing } from './ring.ts'

/** The three outcomes of a change (docs/architecture.md, "Three outcomes"). */
export const APPLIED = 1
/** Never appended: the peer gets an error answer. */
export const REFUSED = 2
/** Appended, not committed in time: UDP is silent, HTTP says 503; it may still take effect. */
export const UNKNOWN = 3
export type Outcome = typeof APPLIED | typeof REFUSED | typeof UNKNOWN

const WORDS = 4

/** One outcome for the changes `first`, `first + 1`, ... of `count` (sequence numbers mod 2^32). */
export class OutcomeRing {
  private readonly ring: WordRing
  /** Read side: the range that `next` has found. */
  first = 0
  count = 0
  outcome: number = APPLIED

  constructor(buffer: SharedArrayBuffer) {
    this.ring = new WordRing(buffer)
  }

  /**
   * Replica thread: adds a range. False when the ring is full (it holds as many ranges as changes can wait,
   * so: a bug).
   */
  push(first: number, count: number, outcome: Outcome): boolean {
    const r = this.ring
    if (r.room(WORDS) < WORDS) return false
    r.push(first)
    r.push(count)
    r.push(outcome)
    r.push(0)
    return true
  }

  publish(): void {
    this.ring.publish()
  }

  /** Front end: the next range into `first`, `count`, `outcome`; false if there is none. */
  next(): boolean {
    const r = this.ring
    if (r.available() < WORDS) return false
    const at = r.head & r.mask
    this.first = r.words[at]!
    this.count = r.words[at + 1]!
    this.outcome = r.words[at + 2]!
    r.head = (r.head + WORDS) | 0
    Atomics.store(r.control, 0, r.head)
    return true
  }

  available(): boolean {
    return this.ring.available() >= WORDS
  }

  sleeping(yes: boolean): void {
    this.ring.sleeping(yes)
  }

  takeSleeper(): boolean {
    return this.ring.takeSleeper()
  }

  /**
   * The control words, for `Atomics.waitAsync` by a front end that sleeps in the event loop (word index 32).
   */
  get control(): Int32Array<SharedArrayBuffer> {
    return this.ring.control
  }
}
