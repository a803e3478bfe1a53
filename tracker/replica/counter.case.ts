// A machine that counts, and the small world a loop is tested in: no swarm, no thread, no clock.

import type { Core } from '@skep/raft'
import { loadCore } from '@skep/raft'
import type { Source } from './batches/source.ts'
import { begin } from './log/begin.ts'
import type { LogStore } from './log/log.ts'
import type { Machine, MachineSnapshot } from './machine.ts'
import type { ReplicaOptions } from './replica.ts'
import { DONE, IDLE, Replica } from './replica.ts'
import { restoreSnapshot } from './snapshots.ts'

/** Adds up the numbers in the entries (8 bytes each) and remembers the order of what it was told. */
export class Counter implements Machine {
  sum = 0
  seen: string[] = []
  apply(index: number, _term: number, data: Uint8Array): void {
    const n = new DataView(data.buffer, data.byteOffset).getUint32(0, true)
    this.sum += n
    this.seen.push(`${index}:${n}`)
  }
  applied(index: number): void {
    this.seen.push(`applied ${index}`)
  }
  snapshot(): MachineSnapshot {
    const text = Buffer.from(String(this.sum))
    return {
      bytes: text.length,
      async *chunks() {
        for (const byte of text) yield Uint8Array.of(byte)
      },
      release() {},
    }
  }
  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    let text = ''
    for await (const c of chunks) text += Buffer.from(c).toString()
    this.sum = Number(text)
  }
}

/** Proposes the numbers it is given, one an entry, at once. */
export class Numbers implements Source {
  queue: number[] = []
  size = 8
  events: string[] = []
  due(nowMs: number): number {
    return this.queue.length > 0 ? nowMs : Number.POSITIVE_INFINITY
  }
  next(): Uint8Array | null {
    if (this.queue.length === 0) return null
    const data = new Uint8Array(this.size)
    new DataView(data.buffer).setUint32(0, this.queue[0]!, true)
    return data
  }
  proposed(appended: boolean): void {
    if (appended) this.queue.shift()
  }
  leading(): void {
    this.events.push('leading')
  }
  lost(): void {
    this.events.push('lost')
  }
}

let shared: Promise<Core> | null = null
/** One instance for all tests of a file: groups do not meet. */
export const testCore = (): Promise<Core> => (shared ??= loadCore({ random: () => 0.5, now: () => 1 }))

export type World = { replica: Replica; counter: Counter; numbers: Numbers; now: number }

export const startReplica = async (log: LogStore, options: Partial<ReplicaOptions> = {}): Promise<World> => {
  await begin(log, [1])
  const counter = new Counter()
  await restoreSnapshot(log, counter)
  const numbers = new Numbers()
  const replica = new Replica(
    {
      core: await testCore(),
      group: 0,
      id: 1,
      log,
      machine: counter,
      source: numbers,
      transport: { send: () => {} },
      tickMs: 100,
      electionTicks: 20,
      heartbeatTicks: 10,
      loose: false,
      snapshotLogBytes: 64 * 1024 * 1024,
      ...options,
    },
    0,
  )
  replica.campaign()
  return { replica, counter, numbers, now: 0 }
}

/** Turns until there is nothing to do. */
export const settle = async (w: World): Promise<void> => {
  for (;;) {
    const what = w.replica.turn(w.now)
    if (what === IDLE) return
    if (what === DONE) continue
    await w.replica.writing
    w.replica.finish(w.now)
  }
}
