// From the front ends' rings to the log and back: drains every producer's changes and touches into one numbered batch,
// and tells each producer what became of its changes.
// Refuses: to know what Raft does with a batch; the loop asks when it wants one.
//
// A batch waits a little for company (`lingerMs`), because every cycle has a fixed price; not when many wait already,
// and not when the last batch was long ago. Touches wait up to a second. An idle leader still writes an empty batch each
// second, so that time passes and peers expire.

import { writeSync } from 'node:fs'
import { type Batch, Batches } from './replica/batches.ts'
import { ClusterClock } from './replica/cluster-clock.ts'
import type { Source } from './replica/source.ts'
import { APPLIED, type Outcome, OutcomeRing, REFUSED, UNKNOWN } from './shared/outcome.ts'
import type { ProducerBuffers } from './shared/producer.ts'
import { ChangeRing, WordRing } from './shared/ring.ts'
import { BatchWriter, batchEntry } from './swarm/entry.ts'

/** Most bytes of a batch. */
const BATCH_BYTES = 1024 * 1024
/** Changes that make a batch leave without waiting for company. */
const ENOUGH_CHANGES = 256
/** Touches of one producer in one batch: nine producers' leave half of the bytes to changes. */
const TOUCHES_EACH = 14_336
/** Touches that make a batch leave, and how long fewer may wait, milliseconds. */
const ENOUGH_TOUCHES = 16_384
const TOUCH_MS = 1000
/** An idle leader's empty batch, milliseconds. */
const IDLE_MS = 1000
/** Batches under way at once. */
const UNDER_WAY = 64
/** A batch that is not applied after this leaves its changes unknown, milliseconds. */
export const UNKNOWN_AFTER_MS = 5000

type Part = { readonly producer: number; readonly first: number; readonly count: number }
type Producer = {
  readonly changes: ChangeRing
  readonly touches: WordRing
  readonly outcomes: OutcomeRing
  readonly eventFd: number
  told: boolean
}

export type BatchSourceOptions = {
  readonly member: number
  readonly incarnation: number
  readonly producers: readonly ProducerBuffers[]
  readonly lingerMs: number
  /** Cluster time as applied, milliseconds. */
  readonly timeMs: () => number
  /** The first entry of a cluster, while it is not applied yet. */
  readonly birth: () => Uint8Array | null
  /** This replica leads, or does no more. */
  readonly onLeading: (leads: boolean) => void
}

export class BatchSource implements Source {
  private readonly o: BatchSourceOptions
  private readonly producers: readonly Producer[]
  private readonly batches: Batches<readonly Part[]>
  private readonly writer = new BatchWriter(BATCH_BYTES)
  private readonly touched = new Int32Array(TOUCHES_EACH)
  private clock = new ClusterClock(0, 0)
  private turn = 0
  private lastMs = Number.NEGATIVE_INFINITY
  private touchMs = Number.POSITIVE_INFINITY
  private parts: Part[] = []
  private birthUnderWay = false
  private offered: 'birth' | 'batch' = 'batch'
  private offeredMs = 0
  changes = 0
  touches = 0
  refused = 0
  unknown = 0

  constructor(options: BatchSourceOptions) {
    this.o = options
    this.batches = new Batches(options.incarnation, UNDER_WAY)
    this.producers = options.producers.map((p) => ({
      changes: new ChangeRing(p.changes),
      touches: new WordRing(p.touches),
      outcomes: new OutcomeRing(p.outcomes),
      eventFd: p.eventFd,
      told: false,
    }))
  }

  /** Changes and touches that wait in the rings: what ends a sleep. */
  waiting(): boolean {
    return this.producers.some((p) => p.changes.available() > 0 || p.touches.available() > 0)
  }

  get underWay(): number {
    return this.batches.underWay
  }

  due(nowMs: number): number {
    if (this.o.birth() !== null) return this.birthUnderWay ? Number.POSITIVE_INFINITY : nowMs
    if (!this.batches.mayAdd()) return Number.POSITIVE_INFINITY
    let changes = 0
    let touches = 0
    for (const p of this.producers) {
      changes += p.changes.available()
      touches += p.touches.available()
    }
    if (changes >= ENOUGH_CHANGES || touches >= ENOUGH_TOUCHES) return nowMs
    if (touches > 0 && this.touchMs === Number.POSITIVE_INFINITY) this.touchMs = nowMs + TOUCH_MS
    const idle = this.lastMs + IDLE_MS
    const company = changes > 0 ? this.lastMs + this.o.lingerMs : Number.POSITIVE_INFINITY
    return Math.min(idle, company, touches > 0 ? this.touchMs : Number.POSITIVE_INFINITY)
  }

  next(nowMs: number): Uint8Array | null {
    const birth = this.o.birth()
    if (birth !== null) {
      this.offered = 'birth'
      return birth
    }
    const { writer, producers } = this
    this.offered = 'batch'
    this.offeredMs = nowMs
    this.parts = []
    writer.begin(this.o.member, this.batches.incarnation, this.batches.next)
    // Touches first: they are small, and have left their ring when they are looked at.
    producers.forEach(({ touches }, number) => {
      const taken = touches.drain(this.touched, 0, TOUCHES_EACH)
      if (taken > 0) this.touches += writer.addTouches(number, this.touched, taken)
    })
    // Another one begins each time, so that none starves when a batch is full.
    for (let i = 0; i < producers.length; i++) {
      const number = (this.turn + i) % producers.length
      const { changes } = producers[number]!
      const count = writer.addChanges(number, changes, changes.head, changes.available())
      if (count > 0) this.parts.push({ producer: number, first: changes.head, count })
    }
    this.turn++
    this.touchMs = Number.POSITIVE_INFINITY
    return batchEntry(this.clock.next(nowMs), writer.empty ? [] : [writer.bytes()])
  }

  /** Not appended: the changes are still in the rings and go with the next batch; touches are worth no second try. */
  proposed(appended: boolean): void {
    if (this.offered === 'birth') {
      this.birthUnderWay = appended
      return
    }
    this.lastMs = this.offeredMs
    if (!appended) return
    for (const part of this.parts) {
      this.producers[part.producer]!.changes.take(part.count)
      this.changes += part.count
    }
    if (!this.writer.empty) this.batches.add(this.parts, this.offeredMs)
  }

  leading(nowMs: number): void {
    this.clock = new ClusterClock(this.o.timeMs(), nowMs)
    this.birthUnderWay = false
    this.o.onLeading(true)
  }

  lost(): void {
    this.o.onLeading(false)
  }

  /** The machine took a part of a batch: the producer hears of it with `tell`. */
  part(member: number, incarnation: number, producer: number, first: number, count: number): void {
    if (member !== this.o.member || incarnation !== this.batches.incarnation) return
    // Batches are applied in the order of their numbers, so this part is of the oldest one.
    if (this.batches.oldest?.abandoned !== true) this.push(producer, first, count, APPLIED)
  }

  batch(member: number, incarnation: number, number: number): void {
    if (member === this.o.member) this.batches.applied(incarnation, number)
  }

  /** Changes of batches that took too long are unknown: their front ends stop waiting. */
  abandon(nowMs: number): void {
    for (const batch of this.batches.abandon(nowMs - UNKNOWN_AFTER_MS))
      this.unknown += this.end(batch, UNKNOWN)
    this.tell()
  }

  /** The store takes nothing: whatever waits in the rings is refused at once, touches are dropped. */
  refuseAll(): void {
    this.producers.forEach((p, number) => {
      const count = p.changes.available()
      if (count > 0) {
        this.push(number, p.changes.head, count, REFUSED)
        p.changes.take(count)
        this.refused += count
      }
      while (p.touches.drain(this.touched, 0, this.touched.length) > 0);
    })
    this.tell()
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

  private end(batch: Batch<readonly Part[]>, outcome: Outcome): number {
    let changes = 0
    for (const part of batch.content) {
      this.push(part.producer, part.first, part.count, outcome)
      changes += part.count
    }
    return changes
  }

  private push(producer: number, first: number, count: number, outcome: Outcome): void {
    const p = this.producers[producer]!
    if (!p.outcomes.push(first, count, outcome))
      throw new Error(`the outcomes of producer ${producer} are full`)
    p.told = true
  }
}

/** Word of an outcome ring's control block that a front end sleeps on. */
const SLEEPING = 32
const ONE = new Uint8Array(new BigUint64Array([1n]).buffer)
