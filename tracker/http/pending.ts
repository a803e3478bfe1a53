// Changes of the HTTP front end between the ring and their outcome, by sequence number: who waits, since
// when, and which slots are free again. The record itself stays in the ring slot and is read back when the
// answer is built. Refuses: to build answers, to know time but as a number.

import { OutcomeRing } from '../threads/outcome.ts'
import type { ProducerBuffers } from '../threads/producer.ts'
import { ChangeRing } from '../threads/ring.ts'
import type { Control } from '../threads/state.ts'
import type { Asker } from './address.ts'
import type { Form } from './form.ts'

/**
 * Who waits for an answer: a connection. `answer` is called once for a parked request, unless the client is
 * `gone`.
 */
export interface Waiter {
  readonly gone: boolean
  /** Null: a query and a bencoded body (BEP 3). */
  readonly form: Form | null
  answer(status: number, body: string): void
}

export type ParkedChange = {
  readonly waiter: Waiter
  readonly asker: Asker
  readonly want: number
  readonly compact: boolean
  readonly peerIds: boolean
  readonly sinceMs: number
  /** Given up; the slot stays taken until its outcome. */
  late: boolean
  tries: number
}

export class PendingChanges {
  readonly changes: ChangeRing
  /** The control words of the outcome ring, to sleep on. */
  readonly sleepWords: Int32Array<SharedArrayBuffer>
  /** Records were added since the last `publish`. */
  unpublished = false
  private readonly outcomes: OutcomeRing
  /** By slot; null: free, or its outcome came already. */
  private readonly parked: (ParkedChange | null)[]
  /** Sequence number of the oldest change without an outcome. */
  private oldest: number

  constructor(producer: ProducerBuffers) {
    this.changes = new ChangeRing(producer.changes)
    this.outcomes = new OutcomeRing(producer.outcomes)
    this.sleepWords = this.outcomes.control
    this.parked = new Array<ParkedChange | null>(this.changes.slots).fill(null)
    this.oldest = this.changes.tail
  }

  /** Changes whose outcome is not known. */
  get size(): number {
    return (this.changes.tail - this.oldest) | 0
  }

  /** Copies the record to the next slot; false if as many wait as may. */
  add(record: Int32Array, change: ParkedChange): boolean {
    const { changes } = this
    if (this.size >= changes.slots) return false
    changes.words.set(record, changes.at(changes.tail))
    this.parked[changes.tail & changes.mask] = change
    changes.tail = (changes.tail + 1) | 0
    this.unpublished = true
    return true
  }

  /** Makes what was added visible and wakes the replica thread. */
  publish(control: Control): void {
    if (!this.unpublished) return
    this.unpublished = false
    this.changes.publish()
    control.wakeReplica()
  }

  /** Says that the event loop is about to wait for outcomes; false if there are some already. */
  sleep(): boolean {
    this.outcomes.sleeping(true)
    if (!this.outcomes.available()) return true
    this.outcomes.sleeping(false)
    return false
  }

  /** Hands every outcome that came to `settle`, which calls `take` for those it is done with. */
  drain(settle: (sequence: number, outcome: number) => void): void {
    const { outcomes, changes } = this
    while (outcomes.next()) {
      const { first, count, outcome } = outcomes
      for (let i = 0; i < count; i++) settle((first + i) | 0, outcome)
    }
    while (this.oldest !== changes.tail && this.parked[this.oldest & changes.mask] === null)
      this.oldest = (this.oldest + 1) | 0
  }

  get(sequence: number): ParkedChange | null {
    return this.parked[sequence & this.changes.mask]!
  }

  /** The slot is free again (and used again once all before it are). */
  take(sequence: number): void {
    this.parked[sequence & this.changes.mask] = null
  }

  /** Calls `giveUp` once for each change that has waited longer than `waitMs`. */
  late(nowMs: number, waitMs: number, giveUp: (change: ParkedChange) => void): void {
    const { changes } = this
    for (let n = this.oldest; n !== changes.tail; n = (n + 1) | 0) {
      const change = this.get(n)
      if (change === null || change.late) continue
      if (nowMs - change.sinceMs <= waitMs) return
      change.late = true
      giveUp(change)
    }
  }
}
