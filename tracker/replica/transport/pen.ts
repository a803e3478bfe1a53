// Writes frames in this replica's name: header, time, and what the owner wants to say in it; and sees that
// what was written in one turn goes out together. Refuses: to know what the frames are for.

import type { WireClock } from './echo.ts'
import { clusterDigest, type Head, newStamp } from './frame.ts'
import type { Receiver, Self } from './transport.ts'
import type { Wire } from './wire.ts'

/** What it writes to: a connection. */
export type PenWire = Pick<Wire, 'push' | 'flush'>

const NOTHING: Uint8Array = new Uint8Array(0)
/** Of frames that are not about a group. */
const BLANK = newStamp()

export class Pen {
  private readonly clock: WireClock
  private readonly now: () => number
  private readonly receiver: Pick<Receiver, 'stamp'>
  private readonly head: Head = {
    kind: 0,
    level: 0,
    clusterHigh: 0,
    clusterLow: 0,
    from: 0,
    to: 0,
    group: 0,
    sentUs: 0,
  }
  private readonly stamp = newStamp()
  private readonly pong = newStamp()
  private readonly written = new Set<PenWire>()
  private flushing = false
  self: Self
  /** Dials so far: each is newer than all before, whoever it went to. */
  dials = 0

  constructor(self: Self, clock: WireClock, now: () => number, receiver: Pick<Receiver, 'stamp'>) {
    this.self = self
    this.clock = clock
    this.now = now
    this.receiver = receiver
    this.identify(self)
  }

  identify(self: Self): void {
    const { high, low } = clusterDigest(self.clusterId)
    this.self = self
    this.head.clusterHigh = high
    this.head.clusterLow = low
    this.head.from = self.id
    this.head.level = self.level
  }

  /** About a group: stamped by the owner. False: it does not fit; nothing was written. */
  stamped(wire: PenWire, kind: number, group: number, to: number, body = NOTHING, prefix = NOTHING): boolean {
    this.receiver.stamp(group, to, this.stamp)
    return this.push(wire, kind, group, to, this.stamp, body, prefix)
  }

  /** About the connection itself, or a stream. */
  plain(wire: PenWire, kind: number, to: number, body = NOTHING, prefix = NOTHING, group = 0): boolean {
    return this.push(wire, kind, group, to, BLANK, body, prefix)
  }

  /** Gives a time back to whose it is. */
  echo(wire: PenWire, kind: number, to: number, sentUs: number): boolean {
    this.pong.echoUs = sentUs
    return this.push(wire, kind, 0, to, this.pong, NOTHING, NOTHING)
  }

  /** What was written since the last time goes out, one write a connection. */
  flush(): void {
    for (const wire of this.written) wire.flush()
    this.written.clear()
  }

  private push(
    wire: PenWire,
    kind: number,
    group: number,
    to: number,
    stamp: typeof BLANK,
    body: Uint8Array,
    prefix: Uint8Array,
  ): boolean {
    const { head } = this
    head.kind = kind
    head.group = group
    head.to = to
    head.sentUs = this.clock.toWire(this.now())
    if (!wire.push(head, stamp, body, prefix)) return false
    this.written.add(wire)
    if (!this.flushing) {
      // Whoever forgets to end its turn loses the joining with later turns, not the frame.
      this.flushing = true
      queueMicrotask(() => {
        this.flushing = false
        this.flush()
      })
    }
    return true
  }
}
