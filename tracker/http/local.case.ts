// A Raft of one without a log, for the front end's tests and its bench: takes the changes of one front end
// from its rings and applies them to a real table in the same thread, or deals out the other outcomes.
// Refuses: to be durable.

import { Apply } from '../swarm/apply.ts'
import { BatchWriter, batchEntry, birthEntry } from '../swarm/entry.ts'
import { allocate, limitsFor, type StoreBuffers } from '../swarm/layout.ts'
import { DEFAULT_SETTINGS, type Settings } from '../swarm/settings.ts'
import { Store } from '../swarm/store.ts'
import { APPLIED, type Outcome, OutcomeRing } from '../threads/outcome.ts'
import { type ProducerBuffers, producerBuffers } from '../threads/producer.ts'
import { ChangeRing, WordRing } from '../threads/ring.ts'
import { Control, controlBuffer, SERVING } from '../threads/state.ts'

const MEMBER = 7

export type LocalReplicaOptions = {
  readonly memoryBytes?: number
  readonly details?: boolean
  readonly settings?: Partial<Settings>
  /** Changes that may be parked at once, a power of two. */
  readonly slots?: number
}

export class LocalReplica {
  readonly buffers: StoreBuffers
  readonly store: Store
  readonly controlBuffer = controlBuffer()
  readonly control = new Control(this.controlBuffer)
  readonly producer: ProducerBuffers
  /** What becomes of the changes taken from now on; null: they are held. */
  outcome: Outcome | null = APPLIED
  private readonly changes: ChangeRing
  private readonly touches: WordRing
  private readonly outcomes: OutcomeRing
  private readonly log: Apply
  private readonly writer = new BatchWriter(1 << 20)
  private readonly words = new Int32Array(4096)
  private batch = 0
  private timeMs = 1000
  private running = true
  /** Resolved when the loop has ended. */
  private readonly ended: Promise<void>

  constructor(options: LocalReplicaOptions = {}) {
    const limits = limitsFor(options.memoryBytes ?? 32 * 1024 * 1024, options.details ?? false)
    this.buffers = allocate(limits, true)
    this.store = new Store(this.buffers)
    this.producer = producerBuffers(options.slots ?? 1024, 4096)
    this.changes = new ChangeRing(this.producer.changes)
    this.touches = new WordRing(this.producer.touches)
    this.outcomes = new OutcomeRing(this.producer.outcomes)
    this.log = new Apply(this.store, { part: () => {}, batch: () => {} })
    this.propose(
      birthEntry({
        clusterId: '00112233445566778899aabbccddeeff',
        hashSeed: 12345,
        idKey: [1, 2],
        limits,
        settings: { ...DEFAULT_SETTINGS, ...options.settings },
        level: 1,
      }),
    )
    this.control.setIntervalSeconds(1800)
    this.control.setLeaseUntil(Number.POSITIVE_INFINITY)
    this.control.setState(SERVING)
    this.ended = this.run()
  }

  propose(entry: Uint8Array): void {
    this.log.apply(entry)
  }

  /** Lets cluster time pass, in entries of at most 2 s. */
  pass(ms: number): void {
    for (let left = ms; left > 0; left -= 2000) {
      this.timeMs += Math.min(left, 2000)
      this.propose(batchEntry(this.timeMs, []))
    }
  }

  /** Takes what lies in the rings, once. */
  turn(): void {
    const touches = this.touches.drain(this.words, 0, this.words.length)
    const count = this.outcome === null ? 0 : this.changes.available()
    if (touches + count === 0) return
    this.writer.begin(MEMBER, 1, ++this.batch)
    if (touches > 0) this.writer.addTouches(0, this.words, touches)
    const first = this.changes.head
    const taken = this.outcome === APPLIED ? this.writer.addChanges(0, this.changes, first, count) : count
    this.propose(batchEntry(++this.timeMs, [this.writer.bytes()]))
    if (taken === 0) return
    this.changes.take(taken)
    this.outcomes.push(first, taken, this.outcome!)
    this.outcomes.publish()
    if (this.outcomes.takeSleeper()) Atomics.notify(this.outcomes.control, 32)
  }

  private async run(): Promise<void> {
    while (this.running) {
      const sleep = this.control.sleepReplica(1000)
      this.turn()
      if (sleep.async) await sleep.value
      this.control.replicaAwake()
    }
  }

  async stop(): Promise<void> {
    this.running = false
    this.control.sleepReplica(0)
    this.control.wakeReplica()
    await this.ended
  }
}
