// A log's disk in memory, for tests and the simulator: says when a write lands, fails on request, and forgets
// in a crash what was not synced. Refuses: randomness and time of its own; whoever drives it decides when a
// write is done and what a crash leaves.

import type { BlobWriter, KeyValue, LogDisk, Pair } from './disk.ts'
import { MARK_SLOT_BYTES } from './disk.ts'
import { LogLocked } from './log.ts'

type Write = { readonly puts: readonly [string, Uint8Array][]; readonly deletes: readonly string[] }

/** What a crash leaves of the writes that were not synced, oldest first, and of the mark. */
export type Crash = {
  /** Of each unsynced write: did it reach the disk? Default: none did. */
  readonly kept?: (index: number, count: number) => boolean
  /** Does the mark show its newest (unsynced) bytes? Default: yes, as when only the process was killed. */
  readonly newestMark?: boolean
}

export type MemoryDisk = LogDisk & {
  /** Set to make writes fail: before anything landed, or after everything did. */
  fault: 'none' | 'full' | 'fails' | 'fails-but-lands'
  /** Awaited between the landing of a write and its being on disk; the simulator's virtual disk. */
  delay: (() => Promise<void>) | null
  /** Counts, for tests that assert that nothing was written. */
  writes: number
  syncs: number
  /** The machine as it comes up again; this disk is dead from here on: its writes never return. */
  crash(what?: Crash): MemoryDisk
  /** Every stored value, to damage: key as hex. */
  readonly values: Map<string, Uint8Array>
  readonly blobs: Map<string, Uint8Array>
}

export const memoryDisk = (name = 'memory'): MemoryDisk => new Memory(name)

class Memory implements MemoryDisk {
  readonly place: string
  fault: MemoryDisk['fault'] = 'none'
  delay: MemoryDisk['delay'] = null
  writes = 0
  syncs = 0
  values = new Map<string, Uint8Array>()
  blobs = new Map<string, Uint8Array>()
  private durable = new Map<string, Uint8Array>()
  private unsynced: Write[] = []
  private mark: Uint8Array | null = null
  private durableMark: Uint8Array | null = null
  private claimed = false
  private open = false
  private dead = false
  private boot = 1

  constructor(place: string) {
    this.place = place
  }

  async claim(): Promise<boolean> {
    const fresh = !this.claimed
    this.claimed = true
    return fresh
  }

  async openStore(): Promise<KeyValue> {
    if (this.open) throw new LogLocked(this.place, 'this process')
    if (this.fault === 'full') throw new Error('ENOSPC: no space left')
    this.open = true
    return {
      write: (puts, deletes, sync) => this.write(puts, deletes, sync),
      get: (key) => this.values.get(hex(key)),
      range: (from, to) => this.range(hex(from), hex(to)),
      reclaim: async () => {},
      close: async () => {
        this.open = false
      },
    }
  }

  private async write(puts: readonly Pair[], deletes: readonly Uint8Array[], sync: boolean): Promise<void> {
    this.writes++
    if (this.dead) return new Promise(() => {})
    if (this.fault === 'full') throw new Error('ENOSPC: no space left on device')
    if (this.fault === 'fails') throw new Error('EIO: i/o error')
    const write: Write = {
      puts: puts.map(({ key, value }) => [hex(key), Uint8Array.from(value)]),
      deletes: deletes.map(hex),
    }
    perform(this.values, write)
    this.unsynced.push(write)
    if (this.delay !== null) await this.delay()
    if (this.dead) return new Promise(() => {})
    if (this.fault === 'fails-but-lands') throw new Error('EIO: i/o error')
    if (!sync) return
    this.syncs++
    for (const w of this.unsynced) perform(this.durable, w)
    this.unsynced = []
  }

  private async *range(from: string, to: string): AsyncGenerator<Pair> {
    for (const key of [...this.values.keys()].filter((k) => k >= from && k < to).sort())
      yield { key: Uint8Array.from(Buffer.from(key, 'hex')), value: this.values.get(key)! }
  }

  crash(what: Crash = {}): MemoryDisk {
    this.dead = true
    const next = new Memory(this.place)
    next.claimed = this.claimed
    next.boot = this.boot + 1
    next.durable = new Map(this.durable)
    this.unsynced.forEach((w, i) => {
      if (what.kept?.(i, this.unsynced.length) ?? false) perform(next.durable, w)
    })
    next.values = new Map(next.durable)
    next.mark = what.newestMark === false ? this.durableMark : this.mark
    next.durableMark = next.mark
    next.blobs = new Map(this.blobs)
    return next
  }

  readMark(): Uint8Array | null {
    return this.mark === null ? null : Uint8Array.from(this.mark)
  }
  writeMark(slot: number, bytes: Uint8Array): void {
    if (this.dead) return
    this.mark = this.mark === null ? new Uint8Array(2 * MARK_SLOT_BYTES) : Uint8Array.from(this.mark)
    this.mark.set(bytes, slot * MARK_SLOT_BYTES)
  }
  async syncMark(): Promise<void> {
    this.durableMark = this.mark
  }

  async createBlob(name: string): Promise<BlobWriter> {
    const parts: Uint8Array[] = []
    const failing = (): void => {
      if (this.fault !== 'none') throw new Error(this.fault === 'full' ? 'ENOSPC' : 'EIO')
    }
    return {
      write: async (more) => {
        failing()
        for (const p of more) parts.push(Uint8Array.from(p))
        if (!this.dead) this.blobs.set(`${name}.part`, Buffer.concat(parts))
      },
      finish: async () => {
        failing()
        if (this.dead) return new Promise(() => {})
        this.blobs.delete(`${name}.part`)
        this.blobs.set(name, Buffer.concat(parts))
      },
      abort: async () => {
        this.blobs.delete(`${name}.part`)
      },
    }
  }
  async readBlob(name: string): Promise<AsyncIterable<Uint8Array> | null> {
    const blob = this.blobs.get(name)
    if (blob === undefined) return null
    return (async function* () {
      for (let at = 0; at < blob.byteLength; at += 1000) yield blob.subarray(at, at + 1000)
    })()
  }
  async listBlobs(): Promise<string[]> {
    return [...this.blobs.keys()]
  }
  async removeBlob(name: string): Promise<void> {
    if (!this.dead) this.blobs.delete(name)
  }

  bootNumber(): number {
    return this.boot
  }
  async release(): Promise<void> {
    this.open = false
  }
  async destroy(): Promise<void> {
    this.claimed = false
    this.values.clear()
    this.durable.clear()
    this.blobs.clear()
    this.unsynced = []
    this.mark = this.durableMark = null
  }
}

const hex = (key: Uint8Array): string =>
  Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('hex')

const perform = (map: Map<string, Uint8Array>, write: Write): void => {
  for (const key of write.deletes) map.delete(key)
  for (const [key, value] of write.puts) map.set(key, value)
}
