// The sending side of a state transfer: reads the snapshot file, packs parts, hands them to the network's
// stream, one a turn. transfer.ts decides when; Raft hears of every outcome. Refuses: to send a file that is
// no longer the log's snapshot, and to hurry: between two parts everybody else has a turn, and the network
// takes the next part only when there is room for it.

import type { LogStore } from '../log/log.ts'
import { LogDamaged } from '../log/log.ts'
import type { ClusterTransport, StreamOut } from '../transport/transport.ts'
import { StreamFailed } from '../transport/transport.ts'
import {
  ALL_THERE,
  encodeHead,
  type Outgoing,
  partsOf,
  Sendings,
  sameSnapshot,
  snapshotOf,
  type TransferStatus,
} from './transfer.ts'

/**
 * How long a snapshot that arrived stays pinned, milliseconds: its receiver restores it and then asks for
 * what follows.
 */
const PIN_AFTER_MS = 30_000

export type TransferSenderOptions = {
  readonly group: number
  readonly log: LogStore
  readonly transport: Pick<ClusterTransport, 'openStream'>
  readonly now: () => number
  /**
   * Resolves when everybody else has had a turn: `setImmediate` in a thread, the next event in a simulation.
   */
  readonly breathe: () => Promise<void>
  /** `Member.reportSnapshot`: once for each offer that came to an end. */
  readonly report: (to: number, ok: boolean) => void
  /** Keeps the log behind a snapshot until the returned function is called: `Snapshots.pin`. */
  readonly pin: (index: number) => () => void
  /** The snapshot file is damaged: take a new one. */
  readonly retake: (error: LogDamaged) => void
  /** Bytes of a part; all replicas of a cluster have the same. Default PART_BYTES; small in tests. */
  readonly partBytes?: number
}

type Pinned = { readonly release: () => void; untilMs: number }

export class TransferSender {
  private readonly o: TransferSenderOptions
  private readonly sendings = new Sendings()
  private readonly pins = new Map<number, Pinned>()
  /** MsgSnaps that named nothing we know; streams that arrived; attempts that ended early. */
  malformed = 0
  sent = 0
  failures = 0
  sentBytes = 0

  constructor(options: TransferSenderOptions) {
    this.o = options
  }

  /** Raft wants to send this MsgSnap. It is copied; nothing happens before the next `turn`. */
  offer(to: number, message: Uint8Array): void {
    const copy = Uint8Array.from(message)
    const named = snapshotOf(copy)
    if (named === null) {
      this.malformed++
      return
    }
    this.sendings.offered(to, named.record, copy)
    this.unpin(to)
    this.pins.set(to, { release: this.o.pin(named.record.index), untilMs: Number.POSITIVE_INFINITY })
  }

  /** Begins what is due. To be called outside the handling of a Ready: it may report to the core. */
  turn(nowMs: number): void {
    for (const [to, pinned] of this.pins) if (pinned.untilMs <= nowMs) this.unpin(to)
    for (const s of this.sendings.starting(nowMs)) void this.attempt(s)
  }

  /** When `turn` has something to do, milliseconds; Infinity: not before the next offer. */
  due(): number {
    let dueMs = this.sendings.due()
    for (const { untilMs } of this.pins.values()) dueMs = Math.min(dueMs, untilMs)
    return dueMs
  }

  /**
   * Only these are members; null: this replica leads no more. Everything else is given up without a report.
   */
  only(members: ReadonlySet<number> | null): void {
    this.sendings.only(members)
    for (const to of [...this.pins.keys()]) if (members === null || !members.has(to)) this.unpin(to)
  }

  status(nowMs: number): TransferStatus[] {
    return this.sendings.status(nowMs)
  }

  private async attempt(s: Outgoing): Promise<void> {
    const { log, transport, group } = this.o
    if (log.snapshot === null || !sameSnapshot(log.snapshot, s.record)) {
      if (this.sendings.replaced(s)) this.gaveUp(s.to)
      return
    }
    let out: StreamOut | null = null
    try {
      out = transport.openStream(group, s.to, encodeHead(s.record, s.message), s.record.bytes)
      if (!(await this.stream(s, out))) {
        out.abort()
        return
      }
      this.sent++
      this.sendings.done(s)
      const pinned = this.pins.get(s.to)
      if (pinned !== undefined) pinned.untilMs = this.o.now() + PIN_AFTER_MS
      this.o.report(s.to, true)
    } catch (error) {
      out?.abort()
      this.ended(s, error)
    }
  }

  /** False: nobody wants it any more. */
  private async stream(s: Outgoing, out: StreamOut): Promise<boolean> {
    const first = await out.first
    let number = 0
    if (first !== ALL_THERE)
      for await (const part of partsOf(this.o.log.readSnapshot(s.record), this.o.partBytes)) {
        if (!this.sendings.current(s)) return false
        const fresh = number++ >= first
        if (fresh) {
          await out.write(part)
          this.sentBytes += part.byteLength
        }
        this.sendings.moved(s, part.byteLength, fresh)
        await this.o.breathe()
      }
    if (!this.sendings.current(s)) return false
    s.state = 'finishing'
    await out.end()
    return this.sendings.current(s)
  }

  private ended(s: Outgoing, error: unknown): void {
    const sentence = error instanceof Error ? error.message : String(error)
    const again = error instanceof StreamFailed && !error.refused
    this.failures++
    if (error instanceof LogDamaged) this.o.retake(error)
    if (this.sendings.failed(s, !again, sentence, this.o.now())) this.gaveUp(s.to)
  }

  private gaveUp(to: number): void {
    this.unpin(to)
    this.o.report(to, false)
  }

  private unpin(to: number): void {
    this.pins.get(to)?.release()
    this.pins.delete(to)
  }
}
