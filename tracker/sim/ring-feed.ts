// A member's own changes on their way into batches: from one front end's rings, as the loop asks for them.
// Refuses: more than one front end; a simulated member has one.

import type { Fed, Feed } from '../replica/feed.ts'
import { APPLIED, type Outcome, OutcomeRing, REFUSED, UNKNOWN } from '../shared/outcome.ts'
import type { ProducerBuffers } from '../shared/producer.ts'
import { ChangeRing, WordRing } from '../shared/ring.ts'
import { BatchWriter, batchEntry, SECTION_WORDS } from '../swarm/entry.ts'
import type { SwarmMachine } from '../swarm/machine.ts'

const BATCH_BYTES = 64 * 1024
const TOUCHES_MOST = 1024
const TOUCH_MS = 1000

/** Changes of a batch: sequence numbers in the ring. */
export type Part = { readonly number: number; readonly first: number; readonly count: number; told: boolean }

export type RingFeedOptions = {
  readonly member: number
  readonly incarnation: number
  readonly producer: ProducerBuffers
  readonly machine: SwarmMachine
  readonly lingerMs: number
  /** The birth record while it is not applied. */
  readonly first: () => Uint8Array | null
  /** Outcomes can be seen now. */
  readonly told: () => void
  /** A bug on request: changes count as applied once they are in a batch. */
  readonly answersEarly: boolean
}

export class RingFeed implements Feed<Part> {
  private readonly o: RingFeedOptions
  private readonly changes: ChangeRing
  private readonly touches: WordRing
  private readonly outcomes: OutcomeRing
  private readonly writer = new BatchWriter(BATCH_BYTES)
  private readonly touched = new Int32Array(TOUCHES_MOST)
  /** Batches under way, in order. */
  private parts: Part[] = []
  private lastMs = Number.NEGATIVE_INFINITY
  private sinceMs = Number.POSITIVE_INFINITY
  private touchMs = Number.POSITIVE_INFINITY

  constructor(options: RingFeedOptions) {
    this.o = options
    this.changes = new ChangeRing(options.producer.changes)
    this.touches = new WordRing(options.producer.touches)
    this.outcomes = new OutcomeRing(options.producer.outcomes)
  }

  due(nowMs: number): number {
    this.look(nowMs)
    const company = Math.max(this.sinceMs, this.lastMs + this.o.lingerMs)
    return Math.min(company, this.touchMs)
  }

  /** Since when something waits. */
  private look(nowMs: number): void {
    if (this.changes.available() === 0) this.sinceMs = Number.POSITIVE_INFINITY
    else this.sinceMs = Math.min(this.sinceMs, nowMs)
    if (this.touches.available() === 0) this.touchMs = Number.POSITIVE_INFINITY
    else this.touchMs = Math.min(this.touchMs, nowMs + TOUCH_MS)
  }

  next(number: number, nowMs: number): Fed<Part> | null {
    this.look(nowMs)
    const { writer, changes, o } = this
    writer.begin(o.member, o.incarnation, number)
    const touched = this.touches.drain(this.touched, 0, TOUCHES_MOST)
    if (touched > 0) writer.addTouches(0, this.touched, touched)
    const first = changes.head
    const count = writer.addChanges(0, changes, first, changes.available())
    changes.take(count)
    if (writer.empty) return null
    const sinceMs = Math.min(this.sinceMs, nowMs)
    this.sinceMs = this.touchMs = Number.POSITIVE_INFINITY
    this.lastMs = nowMs
    const content: Part = { number, first, count, told: false }
    this.parts.push(content)
    if (o.answersEarly) {
      this.push(content, APPLIED)
      this.tell()
    }
    return { section: writer.bytes(), content, sinceMs }
  }

  /** The machine took changes of a batch. */
  part(member: number, incarnation: number, first: number, count: number): void {
    if (member !== this.o.member || incarnation !== this.o.incarnation) return
    const part = this.parts.find((p) => p.first === first && p.count === count)
    if (part === undefined)
      throw new Error(`changes ${first}, ${count} were applied, but are under way in no batch`)
    this.push(part, APPLIED)
  }

  /** Called after its parts. One that was refused when nobody waited for it any more may have the same number. */
  batch(member: number, incarnation: number, number: number, taken: boolean): void {
    if (taken && member === this.o.member && incarnation === this.o.incarnation)
      this.parts = this.parts.filter((p) => p.number > number)
  }

  end(content: Part, outcome: 'applied' | 'refused' | 'unknown'): void {
    this.push(content, OUTCOMES[outcome])
    // An unknown one is still under way: the log decides it, but nobody waits.
    if (outcome !== 'unknown') this.parts = this.parts.filter((p) => p !== content)
  }

  refuseWaiting(): number {
    while (this.touches.drain(this.touched, 0, TOUCHES_MOST) > 0);
    return this.endWaiting(REFUSED)
  }

  dropWaiting(beforeMs: number): number {
    return this.sinceMs < beforeMs ? this.endWaiting(UNKNOWN) : 0
  }

  private endWaiting(outcome: Outcome): number {
    const count = this.changes.available()
    if (count === 0) return 0
    this.push({ number: 0, first: this.changes.head, count, told: false }, outcome)
    this.changes.take(count)
    this.sinceMs = Number.POSITIVE_INFINITY
    return count
  }

  private push(part: Part, outcome: Outcome): void {
    if (part.told || part.count === 0) return
    part.told = true
    if (!this.outcomes.push(part.first, part.count, outcome)) throw new Error('the outcomes are full')
  }

  tell(): void {
    this.outcomes.publish()
    this.o.told()
  }

  entry(timeMs: number, sections: readonly Uint8Array[]): Uint8Array {
    return batchEntry(timeMs, sections)
  }

  first(): Uint8Array | null {
    return this.o.first()
  }

  fits(section: Uint8Array, member: number, incarnation: number, number: number): boolean {
    if (section.length < SECTION_WORDS * 4 || section.length % 4 !== 0) return false
    const view = new DataView(section.buffer, section.byteOffset, section.length)
    return (
      view.getUint32(0, true) + view.getInt32(4, true) * 2 ** 32 === member &&
      view.getInt32(8, true) === incarnation &&
      view.getInt32(12, true) === number &&
      view.getInt32(16, true) * 4 === section.length
    )
  }

  timeMs(): number {
    return this.o.machine.timeMs
  }

  lastBatch(member: number): { incarnation: number; number: number } {
    return this.o.machine.lastBatch(member)
  }
}

const OUTCOMES = { applied: APPLIED, refused: REFUSED, unknown: UNKNOWN } as const
