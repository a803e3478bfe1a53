// The log's promises, kept over any LogDisk: what was synced is there again after a restart, or the log
// refuses. Refuses: repairing. A damaged log is reported with its place; only what was never promised is cut.
//
// How a torn tail is told from damage. Batches are atomic in the store and one is under way at a time, so a
// crash can lose exactly the last batch, whole. Everything else is damage, and three witnesses find it:
//   1. Each entry carries its predecessor's CRC, and the meta record, rewritten by every batch, names first and last
//      entry with their CRCs: a hole, an altered entry or a missing end does not fit, whichever batch was lost.
//   2. The meta record has a CRC of its own and a batch number.
//   3. The mark, a file of its own, is written after each sync has returned, in place and without a sync: it can be
//      older than the log, never ahead of it. A log that ends before its mark has lost what was on disk. This is what
//      sees the loss of the *newest* batches, which leave no hole. (It reaches the disk on the system's own terms; we
//      sync it once a second. So undetected stays: the last batches of that second damaged AND the machine's power
//      lost. A process that is killed loses nothing of the mark.)

import { crc32 } from 'node:zlib'
import type { Entry, HardState } from '@skep/raft'
import { checkLog, sealSnapshot } from './check.ts'
import type { KeyValue, LogDisk, Pair } from './disk.ts'
import type { LogBatch, LogStore, SnapshotRecord } from './log.ts'
import { LogDamaged, LogWriteFailed, saysFull } from './log.ts'
import type { Meta, Point } from './record.ts'
import {
  ENTRY_HEADER_BYTES,
  encodeMark,
  encodeMeta,
  entryKey,
  getEntry,
  identityKey,
  livesKey,
  metaKey,
  putEntry,
  snapshotKey,
} from './record.ts'
import { readSnapshotBlob, snapshotBlobName, writeSnapshotBlob } from './snapshot.ts'

export type LogOptions = {
  /** Raft group whose keys these are. */
  readonly group: number
  /** `--fsync interval`: batches without `sync` are allowed. */
  readonly loose: boolean
}

/** Keys deleted in one batch while compacting. */
const COMPACT_KEYS = 4096

type Job = {
  readonly puts: readonly Pair[]
  readonly deletes: readonly Uint8Array[]
  readonly sync: boolean
  /** The meta record after this job, from the one before it. */
  readonly change: (meta: Meta) => Meta
  readonly landed: () => void
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** Opens and checks the log: LogLocked, LogFormat, LogDamaged or LogWriteFailed when it cannot be used. */
export const openLog = async (disk: LogDisk, options: LogOptions): Promise<LogStore> => {
  const fresh = await disk.claim()
  let store: KeyValue | undefined
  try {
    store = await disk.openStore()
    const found = await checkLog(disk, store, options.group, fresh)
    return await new Log(disk, store, options, found).start(found.mark?.sequence ?? 0)
  } catch (error) {
    await store?.close().catch(() => {})
    await disk.release().catch(() => {})
    throw error
  }
}

class Log implements LogStore {
  private readonly disk: LogDisk
  private readonly options: LogOptions
  private readonly keys: Record<'meta' | 'snapshot' | 'identity' | 'lives', Uint8Array>
  private readonly boot: number
  private store: KeyValue
  private meta: Meta
  /** The end of the log once everything queued has landed. */
  private tail: Point
  private markSequence = 0
  private jobs: Job[] = []
  private running = false
  /** Reused for the records of one append, which is copied by the store or kept while it is pending. */
  private buffer = Buffer.allocUnsafe(64 * 1024)
  /** Bytes of each entry from `before` on to `tail`, and their sum. */
  private sizes: number[]
  private kept: number
  private closed = false
  private reclaiming: Promise<void> = Promise.resolve()
  /** Index of the newest snapshot that is in force or about to be. */
  private newest: number
  snapshot: SnapshotRecord | null
  identity: Uint8Array | null
  lives: Uint8Array | null
  readonly began: number
  synced: number
  failed: LogWriteFailed | null = null
  readonly unclean: boolean

  constructor(
    disk: LogDisk,
    store: KeyValue,
    options: LogOptions,
    found: Awaited<ReturnType<typeof checkLog>>,
  ) {
    this.disk = disk
    this.store = store
    this.options = options
    const g = options.group
    this.keys = { meta: metaKey(g), snapshot: snapshotKey(g), identity: identityKey(g), lives: livesKey(g) }
    this.boot = disk.bootNumber()
    this.meta = found.meta
    this.tail = found.meta.last
    this.sizes = found.sizes
    this.kept = sum(found.sizes)
    this.snapshot = found.snapshot
    this.newest = found.snapshot?.index ?? 0
    this.identity = found.identity
    this.lives = found.lives
    this.began = found.meta.batch
    this.synced = found.mark?.batch ?? 0
    const mark = found.mark
    this.unclean = mark?.loose === true && !mark.clean && (mark.boot !== this.boot || this.boot === 0)
  }

  /** The first batch of this life says that the log is in use and shows that the disk takes writes. */
  async start(markSequence: number): Promise<LogStore> {
    this.markSequence = markSequence
    await this.run([], [], true, (m) => m)
    await this.disk.syncMark()
    const keep = this.snapshot === null ? '' : snapshotBlobName(this.snapshot)
    for (const name of await this.disk.listBlobs()) if (name !== keep) await this.disk.removeBlob(name)
    return this
  }

  get hardState(): HardState | null {
    const h = this.meta.hardState
    return h.term === 0 && h.vote === 0 && h.commit === 0 ? null : h
  }
  get firstIndex(): number {
    return this.meta.before.index + 1
  }
  get lastIndex(): number {
    return this.tail.index
  }
  get bytes(): number {
    return this.kept
  }

  append(batch: LogBatch): Promise<void> {
    if (this.failed !== null) return Promise.reject(this.failed)
    const { entries, hardState, snapshot } = batch
    let deletes: Uint8Array[] = []
    let tail = this.tail
    if (snapshot) {
      this.newest = snapshot.index
      deletes = this.keysBetween(this.meta.before.index + 1, tail.index)
      tail = { index: snapshot.index, term: snapshot.term, crc: 0 }
    }
    const before = snapshot ? tail : this.meta.before
    if (entries.length > 0 && entries[0]!.index <= tail.index) {
      const from = entries[0]!.index
      if (from <= before.index)
        throw new RangeError(`entry ${from} is before the log's start ${before.index}`)
      deletes = deletes.concat(this.keysBetween(from + entries.length, tail.index))
      tail = this.point(from - 1)
    }
    const written = this.encode(entries, tail)
    const puts = written.puts
    if (snapshot) puts.push({ key: this.keys.snapshot, value: sealSnapshot(snapshot) })
    this.tail = written.last
    const landed = (): void => {
      this.kept -= sum(this.sizes.splice(snapshot ? 0 : tail.index - this.meta.before.index))
      for (const size of written.sizes) this.sizes.push(size)
      this.kept += sum(written.sizes)
      if (snapshot) this.snapshot = snapshot
    }
    return this.run(
      puts,
      deletes,
      batch.sync,
      (m) => ({
        ...m,
        hardState: hardState ?? m.hardState,
        before: snapshot ? before : m.before,
        last: written.last,
        snapshotIndex: snapshot ? snapshot.index : m.snapshotIndex,
      }),
      landed,
    )
  }

  readEntries(from: number, to: number, maxBytes: number): Entry[] | null {
    if (from <= this.meta.before.index || from > this.tail.index || this.closed || this.failed !== null)
      return null
    const out: Entry[] = []
    let bytes = 0
    for (let index = from; index < to && index <= this.tail.index; index++) {
      const read = getEntry(this.record(index), index)
      if (typeof read === 'string') throw new LogDamaged(this.disk.place, read)
      bytes += read.entry.data.byteLength
      if (out.length > 0 && bytes > maxBytes) break
      out.push(read.entry)
    }
    return out
  }

  term(index: number): number | null {
    if (index === this.tail.index) return this.tail.term
    if (index === this.meta.before.index) return this.meta.before.term
    return this.readEntries(index, index + 1, 0)?.[0]?.term ?? null
  }

  async compactTo(index: number): Promise<void> {
    const end = Math.min(index, this.snapshot?.index ?? 0, this.tail.index)
    if (end <= this.meta.before.index) return
    while (this.meta.before.index < end) {
      const from = this.meta.before.index + 1
      const to = Math.min(end, from + COMPACT_KEYS - 1)
      const before = this.point(to)
      // Not synced: what a crash brings back lies before `before` in no later batch, or is cut again.
      await this.run(
        [],
        this.keysBetween(from, to),
        false,
        (m) => ({ ...m, before }),
        () => {
          this.kept -= sum(this.sizes.splice(0, to - from + 1))
        },
      )
    }
    const { group } = this.options
    // Only space is at stake, and it is given back with the next one at the latest.
    this.reclaiming = this.store.reclaim(entryKey(group, 0), entryKey(group, end)).catch(() => {})
  }

  async nextIncarnation(): Promise<number> {
    await this.run([], [], true, (m) => ({ ...m, incarnation: m.incarnation + 1 }))
    return this.meta.incarnation
  }

  setIdentity(identity: Uint8Array): Promise<void> {
    const value = Uint8Array.from(identity)
    const identityCrc = crc32(value)
    return this.run(
      [{ key: this.keys.identity, value }],
      [],
      true,
      (m) => ({ ...m, identityCrc }),
      () => {
        this.identity = value
      },
    )
  }

  setLives(lives: Uint8Array, sync: boolean): Promise<void> {
    const value = Uint8Array.from(lives)
    const landed = (): void => {
      this.lives = value
    }
    return this.run([{ key: this.keys.lives, value }], [], sync, (m) => m, landed)
  }

  createSnapshot: LogStore['createSnapshot'] = (at, adopt) =>
    writeSnapshotBlob(this.disk, at, async (record) => {
      if (!adopt) return
      // A newer one came from the leader while this one was being written: the log may begin behind it.
      if (record.index <= this.newest) {
        if (record.index < this.newest) await this.disk.removeBlob(snapshotBlobName(record))
        return
      }
      this.newest = record.index
      const puts = [{ key: this.keys.snapshot, value: sealSnapshot(record) }]
      const old = this.snapshot
      const change = (m: Meta): Meta => ({ ...m, snapshotIndex: record.index })
      await this.run(puts, [], true, change, () => {
        this.snapshot = record
      })
      if (old !== null && snapshotBlobName(old) !== snapshotBlobName(record))
        await this.disk.removeBlob(snapshotBlobName(old))
    })

  readSnapshot(record: SnapshotRecord): AsyncIterable<Uint8Array> {
    return readSnapshotBlob(this.disk, record)
  }

  async heal(): Promise<void> {
    if (this.failed === null) return
    await this.reclaiming
    await this.store.close().catch(() => {})
    try {
      this.store = await this.disk.openStore()
      const found = await checkLog(this.disk, this.store, this.options.group, false)
      // The failed batch may have landed or not; anything else is not ours.
      if (found.meta.batch < this.meta.batch || found.meta.batch > this.meta.batch + 1)
        throw new LogDamaged(
          this.disk.place,
          `batch ${found.meta.batch} where ${this.meta.batch} was written`,
        )
      for (let job = this.jobs[0]; job !== undefined; job = this.jobs[0]) {
        await this.write(job)
        this.jobs.shift()
      }
    } catch (error) {
      if (error instanceof LogDamaged) throw error
      throw (this.failed = new LogWriteFailed(saysFull(error), error))
    }
    this.failed = null
  }

  async flush(): Promise<void> {
    if (this.options.loose) await this.run([], [], true, (m) => m)
    await this.disk.syncMark()
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    if (this.failed === null) {
      await this.run([], [], true, (m) => m).then(
        async () => {
          this.writeMark(true)
          await this.disk.syncMark()
        },
        () => {},
      )
    }
    await this.reclaiming
    await this.store.close().catch(() => {})
    await this.disk.release()
  }

  async purge(): Promise<void> {
    await this.close()
    await this.disk.destroy()
  }

  private record(index: number): Uint8Array {
    const bytes = this.store.get(entryKey(this.options.group, index))
    if (bytes === undefined) throw new LogDamaged(this.disk.place, `entry ${index} is missing`)
    return bytes
  }

  private point(index: number): Point {
    if (index === this.meta.before.index) return this.meta.before
    if (index === this.tail.index) return this.tail
    const read = getEntry(this.record(index), index)
    if (typeof read === 'string') throw new LogDamaged(this.disk.place, read)
    return { index, term: read.entry.term, crc: read.crc }
  }

  private keysBetween(from: number, to: number): Uint8Array[] {
    const keys: Uint8Array[] = []
    for (let i = from; i <= to; i++) keys.push(entryKey(this.options.group, i))
    return keys
  }

  private encode(entries: readonly Entry[], after: Point): { puts: Pair[]; sizes: number[]; last: Point } {
    let bytes = 0
    for (const e of entries) bytes += ENTRY_HEADER_BYTES + e.data.byteLength
    if (this.running || this.jobs.length > 0) this.buffer = Buffer.allocUnsafe(bytes)
    else if (bytes > this.buffer.length) this.buffer = Buffer.allocUnsafe(2 * bytes)
    const puts: Pair[] = []
    const sizes: number[] = []
    let last = after
    let at = 0
    for (const e of entries) {
      if (e.index !== last.index + 1) throw new RangeError(`entry ${e.index} after entry ${last.index}`)
      const crc = putEntry(this.buffer, at, e, last.crc)
      const end = at + ENTRY_HEADER_BYTES + e.data.byteLength
      puts.push({ key: entryKey(this.options.group, e.index), value: this.buffer.subarray(at, end) })
      sizes.push(end - at)
      last = { index: e.index, term: e.term, crc }
      at = end
    }
    return { puts, sizes, last }
  }

  private run(
    puts: readonly Pair[],
    deletes: readonly Uint8Array[],
    sync: boolean,
    change: (meta: Meta) => Meta,
    landed: () => void = () => {},
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.failed !== null) {
        reject(this.failed)
        return
      }
      this.jobs.push({ puts, deletes, sync, change, landed, resolve, reject })
      if (!this.running) void this.work()
    })
  }

  private async work(): Promise<void> {
    this.running = true
    for (let job = this.jobs[0]; job !== undefined; job = this.jobs[0]) {
      try {
        await this.write(job)
      } catch (error) {
        // What is queued stays queued, in order, until `heal` has written it; each caller hears of the
        // failure.
        this.failed = new LogWriteFailed(saysFull(error), error)
        this.running = false
        for (const waiting of this.jobs) waiting.reject(this.failed)
        return
      }
      this.jobs.shift()
      job.resolve()
    }
    this.running = false
  }

  private async write(job: Job): Promise<void> {
    const m = this.meta
    const next = { ...job.change(m), batch: m.batch + 1, synced: job.sync ? m.batch : m.synced }
    const puts = [...job.puts, { key: this.keys.meta, value: encodeMeta(next) }]
    await this.store.write(puts, job.deletes, job.sync)
    this.meta = next
    job.landed()
    if (job.sync) this.writeMark(false)
  }

  private writeMark(clean: boolean): void {
    const m = this.meta
    this.markSequence++
    const mark = encodeMark({
      sequence: this.markSequence,
      batch: m.batch,
      lastIndex: m.last.index,
      lastCrc: m.last.crc,
      term: m.hardState.term,
      vote: m.hardState.vote,
      commit: m.hardState.commit,
      loose: this.options.loose,
      clean,
      boot: this.boot,
    })
    this.disk.writeMark(this.markSequence & 1, mark)
    this.synced = m.batch
  }
}

const sum = (sizes: readonly number[]): number => {
  let bytes = 0
  for (const size of sizes) bytes += size
  return bytes
}
