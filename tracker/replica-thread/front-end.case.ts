// A front end by hand and a replica in its thread, for the tests of both.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Announcer } from '../swarm/announce.ts'
import { PUT, SEEDER, WORD_HASH, WORD_TAG } from '../swarm/change.ts'
import { DEFAULT_SETTINGS } from '../swarm/settings.ts'
import { Store } from '../swarm/store.ts'
import { OutcomeRing } from '../threads/outcome.ts'
import { type ProducerBuffers, producerBuffers } from '../threads/producer.ts'
import { ChangeRing } from '../threads/ring.ts'
import { Control, controlBuffer } from '../threads/state.ts'
import { openReplica, type ReplicaHandle } from './handle.ts'
import type { ReplicaOptions } from './messages.ts'

export const MEMORY = 32 * 1024 * 1024

/** A front end by hand. */
export class FrontEnd {
  readonly buffers: ProducerBuffers = producerBuffers(1024, 1024)
  readonly changes = new ChangeRing(this.buffers.changes)
  readonly outcomes = new OutcomeRing(this.buffers.outcomes)
  readonly control: Control
  /** Set when the replica is no more, so that nobody waits for it. */
  dead: Error | null = null
  constructor(control: SharedArrayBuffer) {
    this.control = new Control(control)
  }
  /**
   * Joins peers first..first+count-1 to the swarm `hash`; returns their outcomes as [first, count, outcome].
   */
  async join(hash: number, first: number, count: number): Promise<number[][]> {
    const from = this.changes.tail
    for (let i = 0; i < count; i++) {
      const w = this.changes.words
      const at = this.changes.at(this.changes.tail)
      w.fill(0, at, at + 24)
      w[at] = PUT | SEEDER | (6881 << 16)
      w[at + 1] = 0x08000001 + ((first + i) << 8) // the host's bytes: a public address
      w.fill(hash, at + WORD_HASH, at + WORD_HASH + 5)
      w[at + WORD_TAG] = first + i + 1
      this.changes.tail++
    }
    this.changes.publish()
    this.control.wakeReplica()
    const out: number[][] = []
    for (let answered = 0; answered < count; ) {
      if (this.dead !== null) throw this.dead
      this.outcomes.sleeping(true)
      if (!this.outcomes.available()) await Atomics.waitAsync(this.outcomes.control, 32, 1, 1000).value
      this.outcomes.sleeping(false)
      while (this.outcomes.next()) {
        out.push([this.outcomes.first - from, this.outcomes.count, this.outcomes.outcome])
        answered += this.outcomes.count
      }
    }
    return out
  }
}

export const seeders = (handle: ReplicaHandle, hash: number): number => {
  const announcer = new Announcer(new Store(handle.store), 1)
  announcer.scrape(new Int32Array(5).fill(hash), 0)
  return announcer.seeders
}

export const started = async (
  dir: string,
  change: Partial<ReplicaOptions> = {},
): Promise<{ handle: ReplicaHandle; front: FrontEnd; control: Control }> => {
  const buffer = controlBuffer()
  const front = new FrontEnd(buffer)
  const handle = await openReplica({
    dataDir: dir,
    name: 'r0',
    fsync: 'always',
    logStore: 'classic-level',
    memoryBytes: MEMORY,
    peerDetails: false,
    birthSettings: DEFAULT_SETTINGS,
    control: buffer,
    producers: [front.buffers],
    lingerMs: 1,
    snapshotLogBytes: 64 * 1024 * 1024,
    ...change,
  })
  void handle.failed.then((error) => {
    front.dead = error
  })
  await Promise.race([handle.serving, handle.failed])
  return { handle, front, control: new Control(buffer) }
}

export const withDir = async (body: (dir: string) => Promise<void>): Promise<void> => {
  const dir = await mkdtemp(join(tmpdir(), 'skep-replica-'))
  try {
    await body(dir)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}
