// The receiving side of a state transfer: parts go to a snapshot file beside the log; only when all of it is
// on disk and fits its record is the MsgSnap stepped that names it. A stream that breaks leaves what came:
// the next one goes on there. Refuses: parts out of order, altered ones, and a leader whose term is over. A
// crash here leaves the log as it was.

import type { LogStore, SnapshotRecord, SnapshotWriter } from '../log/log.ts'
import type { Refusal } from '../transport/frame-body.ts'
import type { StreamBegin, StreamSink } from '../transport/transport.ts'
import {
  ALL_THERE,
  decodeHead,
  openPart,
  PART_BYTES,
  pace,
  sameSnapshot,
  type TransferStatus,
} from './transfer.ts'

/** Parts taken whose bytes are not in the file yet: the way and the disk work at the same time. */
const WRITE_BEHIND_PARTS = 8
/** An unfinished snapshot that nobody goes on with is deleted after this, milliseconds. */
const KEEP_MS = 10 * 60_000

export type TransferReceiverOptions = {
  readonly log: LogStore
  readonly now: () => number
  /**
   * As this replica knows them: a stream of an older term, or of what is committed here already, moves no
   * bytes.
   */
  readonly term: () => number
  readonly commit: () => number
  /**
   * `Member.stepSnapshot`: the snapshot is on disk as `record`. Null: the log has all of it already; the
   * message is just stepped, so that the leader hears how far this replica is.
   */
  readonly install: (message: Uint8Array, record: SnapshotRecord | null) => void
}

/**
 * Memory for parts that are on their way to the disk, used again and again: new memory costs more than the
 * copy.
 */
class Shelf {
  private readonly free: Uint8Array<ArrayBuffer>[] = []

  copyOf(part: Uint8Array): Uint8Array<ArrayBuffer> {
    const taken = this.free.pop()
    const memory =
      taken !== undefined && taken.length >= part.length
        ? taken
        : new Uint8Array(Math.max(part.length, PART_BYTES))
    memory.set(part)
    return memory.subarray(0, part.length)
  }

  giveBack(copy: Uint8Array<ArrayBuffer>): void {
    if (this.free.length <= WRITE_BEHIND_PARTS) this.free.push(new Uint8Array(copy.buffer))
  }
}

type Partial = {
  readonly record: SnapshotRecord
  from: number
  term: number
  writer: SnapshotWriter | null
  /** Writes under way, oldest first, and the end of them all. */
  behind: Promise<void>[]
  disk: Promise<void>
  failed: Error | null
  /** The sink that may write; an older stream's sink is refused. */
  owner: object | null
  next: number
  chunks: number
  bytes: number
  fresh: number
  sinceMs: number
  touchedMs: number
}

export class TransferReceiver {
  private readonly o: TransferReceiverOptions
  private partial: Partial | null = null
  private shelf = new Shelf()
  /**
   * Everything that touches the disk, in order: an old stream's last write must not meet the new one's first.
   */
  private tail: Promise<void> = Promise.resolve()
  received = 0
  receivedBytes = 0
  faults = 0
  lastError = ''

  constructor(options: TransferReceiverOptions) {
    this.o = options
  }

  /** For `Receiver.stream`. */
  stream(begin: StreamBegin): StreamSink | Refusal {
    const head = decodeHead(begin.head)
    if (typeof head === 'string') return { code: 'malformed', sentence: head }
    const { record, message, term } = head
    if (term < this.o.term())
      return { code: 'superseded', sentence: `term ${term} of this snapshot's leader is over` }
    if (record.index <= this.o.commit()) return this.needless(message)
    const old = this.partial
    if (old !== null && !sameSnapshot(old.record, record)) {
      if (old.term > term)
        return { code: 'superseded', sentence: `a leader of term ${old.term} sends another` }
      this.drop(old)
    }
    const nowMs = this.o.now()
    const kept = this.partial
    const p: Partial = kept ?? {
      record,
      from: begin.from,
      term,
      writer: null,
      behind: [],
      disk: Promise.resolve(),
      failed: null,
      owner: null,
      next: 0,
      chunks: 0,
      bytes: 0,
      fresh: 0,
      sinceMs: nowMs,
      touchedMs: nowMs,
    }
    p.from = begin.from
    p.term = Math.max(p.term, term)
    p.fresh = 0
    p.sinceMs = nowMs
    this.partial = p
    return this.sink(p, message)
  }

  private sink(p: Partial, message: Uint8Array): StreamSink {
    const owner = {}
    p.owner = owner
    const mine = (): void => {
      if (this.partial !== p || p.owner !== owner) throw new Error('a newer stream has taken over')
    }
    return {
      first: p.next,
      write: (part) => this.serially(p, mine, () => this.write(p, part)),
      end: () => this.serially(p, mine, () => this.end(p, message)),
      broken: (reason) => {
        if (p.owner !== owner) return
        p.owner = null
        this.lastError = reason
      },
    }
  }

  /** The log has all that the snapshot has. */
  private needless(message: Uint8Array): StreamSink {
    return {
      first: ALL_THERE,
      write: () => Promise.reject(new Error('nothing was asked for')),
      end: async () => this.o.install(message, null),
      broken: () => {},
    }
  }

  /** When `turn` has something to do, milliseconds. */
  due(): number {
    return this.partial === null ? Number.POSITIVE_INFINITY : this.partial.touchedMs + KEEP_MS
  }

  turn(nowMs: number): void {
    const p = this.partial
    if (p !== null && p.owner === null && p.touchedMs + KEEP_MS <= nowMs) this.drop(p)
    else if (p !== null && p.owner !== null) p.touchedMs = nowMs
  }

  /** Gives up what is unfinished; resolves when the disk is left alone. */
  async stop(): Promise<void> {
    if (this.partial !== null) this.drop(this.partial)
    await this.tail
  }

  status(nowMs: number): TransferStatus[] {
    const p = this.partial
    if (p === null) return []
    const { record, bytes } = p
    return [
      {
        member: p.from,
        direction: 'from',
        index: record.index,
        state: p.owner === null ? 'waiting' : bytes >= record.bytes ? 'finishing' : 'moving',
        bytes,
        totalBytes: record.bytes,
        ...pace(bytes, record.bytes, p.fresh, p.sinceMs, nowMs),
        attempts: 0,
        lastError: this.lastError,
      },
    ]
  }

  private serially(p: Partial, mine: () => void, work: () => Promise<void>): Promise<void> {
    const done = this.tail.then(async () => {
      mine()
      p.touchedMs = this.o.now()
      await work()
    })
    this.tail = done.catch((error: unknown) => {
      this.faults++
      this.lastError = error instanceof Error ? error.message : String(error)
    })
    return done
  }

  private async write(p: Partial, part: Uint8Array): Promise<void> {
    // A copy: the bytes are the network's again as soon as this resolves.
    const copy = this.shelf.copyOf(part)
    const chunks = openPart(copy, p.next)
    if (chunks === 'again' || 'fault' in chunks) {
      this.shelf.giveBack(copy)
      if (chunks === 'again') return
      throw new Error(chunks.fault)
    }
    p.next++
    for (const chunk of chunks) {
      p.bytes += chunk.byteLength
      p.fresh += chunk.byteLength
      p.chunks++
    }
    this.receivedBytes += part.byteLength
    p.disk = p.disk.then(() => this.put(p, chunks)).then(() => this.shelf.giveBack(copy))
    p.behind.push(p.disk)
    if (p.behind.length > WRITE_BEHIND_PARTS) await p.behind.shift()
    this.sound(p)
  }

  private async put(p: Partial, chunks: readonly Uint8Array[]): Promise<void> {
    if (p.failed !== null) return
    try {
      p.writer ??= await this.o.log.createSnapshot(p.record, false)
      await p.writer.write(...chunks)
    } catch (error) {
      p.failed = error instanceof Error ? error : new Error(String(error))
    }
  }

  /** Throws when the disk has failed: half a part may be in the file, so nothing can go on behind it. */
  private sound(p: Partial): void {
    if (p.failed === null) return
    this.drop(p)
    throw p.failed
  }

  private async end(p: Partial, message: Uint8Array): Promise<void> {
    const { record } = p
    await p.disk
    this.sound(p)
    if (p.chunks < record.chunks)
      throw new Error(`the stream ends after ${p.chunks} of ${record.chunks} chunks`)
    if (p.writer === null || p.chunks !== record.chunks || p.bytes !== record.bytes) {
      this.drop(p)
      throw new Error('what came is not the snapshot that was named')
    }
    if (record.index <= this.o.commit()) {
      this.drop(p)
      return this.o.install(message, null)
    }
    const { writer } = p
    this.partial = null
    this.shelf = new Shelf()
    const written = await writer.commit().catch(async (error: unknown) => {
      await writer.abort().catch(() => {})
      throw error
    })
    // Nothing names that file: it is written over by the next attempt, or deleted at the next start.
    if (!sameSnapshot(written, record)) throw new Error('what came is not the snapshot that was named')
    this.received++
    this.lastError = ''
    this.o.install(message, written)
  }

  private drop(p: Partial): void {
    if (this.partial === p) this.partial = null
    // What is being written may still make the file.
    const abort = async (): Promise<void> => {
      p.failed ??= new Error('given up')
      await p.disk
      await p.writer?.abort()
      p.writer = null
    }
    this.tail = this.tail.then(abort).catch(() => {})
  }
}
