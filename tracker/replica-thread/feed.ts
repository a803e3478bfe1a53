// From the front ends' rings to a member and back: drains every producer's changes and touches into a
// section, and tells each producer what became of its changes. Refuses: to know what Raft does with a batch;
// the member asks when it wants one.
//
// A batch waits a little for company (`lingerMs`), because every cycle has a fixed price; not when many wait
// already, and not when the last batch was long ago. Touches wait up to a second.

import { writeSync } from 'node:fs'
import type { Fed, Feed } from '../replica/batches/feed.ts'
import { BatchWriter, batchEntry } from '../swarm/entry.ts'
import { APPLIED, type Outcome, OutcomeRing, REFUSED, UNKNOWN } from '../threads/outcome.ts'
import type { ProducerBuffers } from '../threads/producer.ts'
import { ChangeRing, WordRing } from '../threads/ring.ts'
import { sectionFault } from './section.ts'

/** Most bytes of a batch. */
const BATCH_BYTES = 1024 * 1024
/** Changes that make a batch leave without waiting for company. */
const ENOUGH_CHANGES = 256
/** Touches of one producer in one batch: nine producers' leave half of the bytes to changes. */
const TOUCHES_EACH = 14_336
/** Touches that make a batch leave, and how long fewer may wait, milliseconds. */
const ENOUGH_TOUCHES = 16_384
const TOUCH_MS = 1000
/** How exactly it is known since when a change waits, milliseconds. */
const MARK_MS = 50

type Part = { readonly producer: number; readonly first: number; readonly count: number }
/** A batch that was handed over. `told`: its producers know what they will ever hear of it. */
export type Parked = { readonly parts: readonly Part[]; told: boolean }
type Mark = { tail: number; readonly ms: number }
type Producer = {
  readonly changes: ChangeRing
  readonly touches: WordRing
  readonly outcomes: OutcomeRing
  readonly eventFd: number
  /** What lay in the ring when. */
  readonly marks: Mark[]
  told: boolean
}

export type RingFeedOptions = {
  readonly member: number
  readonly incarnation: number
  readonly producers: readonly ProducerBuffers[]
  /** `--consistency relaxed`: a change counts as applied when it is taken from its ring. */
  readonly relaxed: boolean
  /** Cluster time as applied, milliseconds. */
  readonly timeMs: () => number
  readonly lastBatch: (member: number) => { incarnation: number; number: number }
  /** The first entry of a cluster, while it is not applied yet. */
  readonly birth: () => Uint8Array | null
}

export class RingFeed implements Feed<Parked> {
  private readonly o: RingFeedOptions
  private readonly producers: readonly Producer[]
  private readonly writer = new BatchWriter(BATCH_BYTES)
  private readonly touched = new Int32Array(TOUCHES_EACH)
  /** Handed over and not applied, in the order of their numbers. */
  private readonly parked: Parked[] = []
  private turn = 0
  private lastMs = Number.NEGATIVE_INFINITY
  private touchMs = Number.POSITIVE_INFINITY
  changes = 0
  touches = 0
  refused = 0
  unknown = 0

  constructor(options: RingFeedOptions) {
    this.o = options
    this.producers = options.producers.map((p) => ({
      changes: new ChangeRing(p.changes),
      touches: new WordRing(p.touches),
      outcomes: new OutcomeRing(p.outcomes),
      eventFd: p.eventFd,
      marks: [],
      told: false,
    }))
  }

  /** Changes and touches that wait in the rings: what ends a sleep. */
  waiting(): boolean {
    return this.producers.some((p) => p.changes.available() > 0 || p.touches.available() > 0)
  }

  /** Nothing of ours is on its way. */
  get idle(): boolean {
    return this.parked.length === 0 && !this.waiting()
  }

  due(nowMs: number, lingerMs: number): number {
    let changes = 0
    let touches = 0
    for (const p of this.producers) {
      const waiting = p.changes.available()
      if (waiting > 0) this.mark(p, waiting, nowMs)
      changes += waiting
      touches += p.touches.available()
    }
    if (changes >= ENOUGH_CHANGES || touches >= ENOUGH_TOUCHES) return nowMs
    if (touches > 0 && this.touchMs === Number.POSITIVE_INFINITY) this.touchMs = nowMs + TOUCH_MS
    const company = changes > 0 ? this.lastMs + lingerMs : Number.POSITIVE_INFINITY
    return Math.min(company, touches > 0 ? this.touchMs : Number.POSITIVE_INFINITY)
  }

  private mark(p: Producer, waiting: number, nowMs: number): void {
    const tail = (p.changes.head + waiting) | 0
    const last = p.marks.at(-1)
    if (last !== undefined && nowMs < last.ms + MARK_MS) last.tail = tail
    else if (last?.tail !== tail) p.marks.push({ tail, ms: nowMs })
  }

  next(number: number, nowMs: number): Fed<Parked> | null {
    const { writer, producers } = this
    const parts: Part[] = []
    writer.begin(this.o.member, this.o.incarnation, number)
    // Touches first: they are small, and have left their ring when they are looked at.
    producers.forEach(({ touches }, producer) => {
      const taken = touches.drain(this.touched, 0, TOUCHES_EACH)
      if (taken > 0) this.touches += writer.addTouches(producer, this.touched, taken)
    })
    // Another one begins each time, so that none starves when a batch is full.
    let sinceMs = nowMs
    for (let i = 0; i < producers.length; i++) {
      const producer = (this.turn + i) % producers.length
      const p = producers[producer]!
      const first = p.changes.head
      const count = writer.addChanges(producer, p.changes, first, p.changes.available())
      if (count === 0) continue
      sinceMs = Math.min(sinceMs, p.marks[0]?.ms ?? nowMs)
      this.take(p, count)
      this.changes += count
      parts.push({ producer, first, count })
    }
    this.turn++
    this.lastMs = nowMs
    this.touchMs = Number.POSITIVE_INFINITY
    if (writer.empty) return null
    const content = { parts, told: this.o.relaxed }
    this.parked.push(content)
    if (this.o.relaxed) {
      this.push(content, APPLIED)
      this.tell()
    }
    return { section: writer.bytes(), content, sinceMs }
  }

  private take(p: Producer, count: number): void {
    p.changes.take(count)
    while (p.marks[0] !== undefined && ((p.marks[0].tail - p.changes.head) | 0) <= 0) p.marks.shift()
  }

  /** The machine took a part of a batch: the producer hears of it with `tell`. */
  part(member: number, incarnation: number, producer: number, first: number, count: number): void {
    if (member !== this.o.member || incarnation !== this.o.incarnation) return
    // Batches are applied in the order of their numbers, so this part is of the oldest one.
    if (this.parked[0]?.told === false) this.say(producer, first, count, APPLIED)
  }

  /** The machine took a batch. */
  batch(member: number, incarnation: number): void {
    if (member === this.o.member && incarnation === this.o.incarnation) this.parked.shift()
  }

  end(content: Parked, outcome: 'applied' | 'refused' | 'unknown'): void {
    if (!content.told) {
      const changes = this.push(content, OUTCOMES[outcome])
      if (outcome === 'refused') this.refused += changes
      if (outcome === 'unknown') this.unknown += changes
    }
    content.told = true
    // Unknown: the log may still decide it, and its parts must not be told then.
    if (outcome !== 'unknown') this.parked.splice(this.parked.indexOf(content), 1)
  }

  refuseWaiting(): number {
    let changes = 0
    this.producers.forEach((p, number) => {
      const count = p.changes.available()
      if (count > 0) {
        this.say(number, p.changes.head, count, REFUSED)
        this.take(p, count)
        changes += count
      }
      while (p.touches.drain(this.touched, 0, this.touched.length) > 0);
    })
    this.refused += changes
    return changes
  }

  dropWaiting(beforeMs: number): number {
    let changes = 0
    this.producers.forEach((p, number) => {
      for (let m = p.marks[0]; m !== undefined && m.ms < beforeMs; m = p.marks[0]) {
        const count = (m.tail - p.changes.head) | 0
        this.say(number, p.changes.head, count, UNKNOWN)
        this.take(p, count)
        changes += count
      }
    })
    this.unknown += changes
    return changes
  }

  /** Makes the outcomes visible and wakes the front ends that sleep. */
  tell(): void {
    for (const p of this.producers) {
      if (!p.told) continue
      p.told = false
      p.outcomes.publish()
      if (!p.outcomes.takeSleeper()) continue
      if (p.eventFd >= 0) writeSync(p.eventFd, ONE)
      else Atomics.notify(p.outcomes.control, SLEEPING)
    }
  }

  entry(timeMs: number, sections: readonly Uint8Array[]): Uint8Array {
    return batchEntry(timeMs, sections)
  }

  first(): Uint8Array | null {
    return this.o.birth()
  }

  fits(section: Uint8Array, member: number, incarnation: number, number: number): boolean {
    return sectionFault(section, member, incarnation, number) === null
  }

  timeMs(): number {
    return this.o.timeMs()
  }

  lastBatch(member: number): { incarnation: number; number: number } {
    return this.o.lastBatch(member)
  }

  private push(content: Parked, outcome: Outcome): number {
    let changes = 0
    for (const { producer, first, count } of content.parts) {
      this.say(producer, first, count, outcome)
      changes += count
    }
    return changes
  }

  private say(producer: number, first: number, count: number, outcome: Outcome): void {
    const p = this.producers[producer]!
    if (!p.outcomes.push(first, count, outcome))
      throw new Error(`the outcomes of producer ${producer} are full`)
    p.told = true
  }
}

const OUTCOMES = { applied: APPLIED, refused: REFUSED, unknown: UNKNOWN } as const
/** Word of an outcome ring's control block that a front end sleeps on. */
const SLEEPING = 32
const ONE = new Uint8Array(new BigUint64Array([1n]).buffer)
