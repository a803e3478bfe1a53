// A replica thread without a log, for tests and measurements of the front ends: it takes changes from the
// rings, applies them at once, and tells the outcomes. Held, it is a leader that cannot commit. Refuses: to
// be used outside tests.

import { writeSync } from 'node:fs'
import { Apply } from '../swarm/apply.ts'
import { BatchWriter, batchEntry, birthEntry } from '../swarm/entry.ts'
import { allocate, limitsFor, type StoreBuffers } from '../swarm/layout.ts'
import { DEFAULT_SETTINGS, type Settings } from '../swarm/settings.ts'
import { Store } from '../swarm/store.ts'
import { APPLIED, type Outcome, OutcomeRing } from '../threads/outcome.ts'
import type { ProducerBuffers } from '../threads/producer.ts'
import { ChangeRing, WordRing } from '../threads/ring.ts'
import { Control, controlBuffer, SERVING } from '../threads/state.ts'

const MEMBER = 2 ** 40 + 5
const ONE = new Uint8Array(new BigUint64Array([1n]).buffer)

export class LocalReplica {
  readonly buffers: StoreBuffers
  readonly store: Store
  readonly controlBuffer = controlBuffer()
  readonly control = new Control(this.controlBuffer)
  /** While true changes stay in the rings. */
  holding = false
  /** The outcome told for changes; only APPLIED ones are applied. */
  outcome: Outcome = APPLIED
  changes = 0
  private readonly apply: Apply
  private readonly writer = new BatchWriter(1 << 20)
  private readonly lanes: {
    changes: ChangeRing
    touches: WordRing
    outcomes: OutcomeRing
    eventFd: number
  }[] = []
  private readonly touched = new Int32Array(1 << 14)
  private number = 0
  private timeMs = 1000
  private running: Promise<void> | null = null
  private ended = false

  constructor(bytes = 64 << 20, settings: Partial<Settings> = {}, details = false) {
    const limits = limitsFor(bytes, details)
    this.buffers = allocate(limits, process.arch === 'x64')
    this.store = new Store(this.buffers)
    this.apply = new Apply(this.store, { part: () => {}, batch: () => {} })
    this.apply.apply(
      birthEntry({
        clusterId: '0123456789abcdef0123456789abcdef',
        hashSeed: 0x5eed,
        idKey: [0x1234567, 0x89abcdef | 0],
        limits,
        settings: { ...DEFAULT_SETTINGS, allowPrivate: 'on', ...settings },
        level: 1,
      }),
    )
    this.control.setIntervalSeconds(1800)
    this.control.setLeaseUntil(Infinity)
    this.control.setState(SERVING)
    this.store.hashing.refresh()
  }

  serve(producer: ProducerBuffers): void {
    this.lanes.push({
      changes: new ChangeRing(producer.changes),
      touches: new WordRing(producer.touches),
      outcomes: new OutcomeRing(producer.outcomes),
      eventFd: producer.eventFd,
    })
  }

  /** Moves cluster time on. */
  advance(ms: number): void {
    this.timeMs += ms
    this.commit(() => {})
  }

  /** Everything in the rings becomes one entry; false if there was nothing. */
  step(): boolean {
    if (this.holding) return false
    let busy = false
    this.lanes.forEach((lane, producer) => {
      const { changes, touches, outcomes } = lane
      const first = changes.head
      const ready = Math.min(changes.available(), 4096)
      const touched = touches.drain(this.touched, 0, this.touched.length)
      if (ready + touched === 0) return
      busy = true
      let taken = ready
      if (this.outcome === APPLIED)
        this.commit((writer) => {
          if (ready > 0) taken = writer.addChanges(producer, changes, first, ready)
          if (touched > 0) writer.addTouches(producer, this.touched, touched)
        })
      changes.take(taken)
      this.changes += taken
      if (taken === 0) return
      outcomes.push(first, taken, this.outcome)
      outcomes.publish()
      if (!outcomes.takeSleeper()) return
      if (lane.eventFd >= 0) writeSync(lane.eventFd, ONE)
      else Atomics.notify(outcomes.control, 32)
    })
    return busy
  }

  /** An entry of another kind. */
  propose(entry: Uint8Array): void {
    this.apply.apply(entry)
  }

  private commit(fill: (writer: BatchWriter) => void): void {
    this.writer.begin(MEMBER, 1, ++this.number)
    fill(this.writer)
    this.apply.apply(batchEntry(this.timeMs, [this.writer.bytes()]))
  }

  /** Works in this thread's event loop until `end`. */
  start(): void {
    this.running = (async () => {
      while (!this.ended) {
        if (this.step()) continue
        const sleep = this.control.sleepReplica(50)
        if (!this.holding && this.step()) this.control.replicaAwake()
        else if (sleep.async) await sleep.value
        this.control.replicaAwake()
      }
    })()
  }

  async end(): Promise<void> {
    this.ended = true
    this.control.wakeReplica()
    await this.running
  }
}
