// The swarm table as a machine that a log drives: apply, snapshot, restore. Has the shape that replica/ asks
// for, without either knowing the other. Refuses: to know who wrote the log.

import { Apply, type ApplyEvents } from './apply.ts'
import { Restorer, takeSnapshot } from './snapshot.ts'
import type { Store } from './store.ts'

export class SwarmMachine {
  private readonly store: Store
  private readonly log: Apply
  private readonly onApplied: (index: number) => void

  /** `onApplied`: after the committed entries of one Ready; outcomes become visible there. */
  constructor(store: Store, events: ApplyEvents, onApplied: (index: number) => void) {
    this.store = store
    this.log = new Apply(store, events)
    this.onApplied = onApplied
  }

  apply(_index: number, _term: number, data: Uint8Array): void {
    this.log.apply(data)
  }

  applied(index: number): void {
    this.onApplied(index)
  }

  snapshot(): { bytes: number; chunks(): AsyncIterable<Uint8Array>; release(): void } {
    const taken = takeSnapshot(this.store)
    return {
      bytes: taken.bytes,
      release: taken.release,
      async *chunks() {
        yield* taken.chunks()
      },
    }
  }

  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const restorer = new Restorer(this.store)
    for await (const chunk of chunks) restorer.add(chunk)
    restorer.finish()
  }

  /** The cluster's clock, milliseconds. */
  get timeMs(): number {
    return this.store.timeMs
  }

  lastBatch(member: number): { incarnation: number; number: number } {
    return this.log.lastBatch(member)
  }

  forgetMember(member: number): void {
    this.log.forgetMember(member)
  }
}
