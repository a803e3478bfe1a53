// A member's UDP front end in a simulated world: the worker's own turn over sockets that are arrays.
// Refuses: threads. A turn is one event; it sleeps in virtual time.

import type { MemberClock, Timer } from '@skep/testing/clock.ts'
import { ConnectionIds } from '../swarm/connection-id.ts'
import type { Store } from '../swarm/store.ts'
import { OutcomeRing } from '../threads/outcome.ts'
import type { ProducerBuffers } from '../threads/producer.ts'
import { ChangeRing, WordRing } from '../threads/ring.ts'
import type { Control } from '../threads/state.ts'
import { type Counts, counterBuffer, countsOf } from '../udp/counters.ts'
import { Gather } from '../udp/gather.ts'
import { Packets } from '../udp/packet.ts'
import { Pending } from '../udp/pending.ts'
import { ADDRESS_WORDS, Inbox, Outbox } from '../udp/slots.ts'
import type { UdpSocket } from '../udp/socket.ts'
import { Turn } from '../udp/turn.ts'
import { canaryAnnouncer } from './canaries.ts'
import type { Canary } from './place.ts'

/** A client's side of a datagram: IPv4 in one raw word, IPv6 in four; the port raw, too. */
export type Endpoint = { readonly family: 4 | 6; readonly address: readonly number[]; readonly port: number }
export type Datagram = { readonly from: Endpoint; readonly bytes: Uint8Array }

const BATCH = 16
const ANSWER_BYTES = 1200
const WAITING_MOST = 64
const PARK_FOR_MS = 3500
/**
 * A worker that only waits looks again this often at most, milliseconds: 5 in production, more here to save
 * events.
 */
const LEAST_SLEEP_MS = 25
/** From a wake-up to running, milliseconds. */
const WAKE_MS = 0.05
/** Arrived and not received; more are dropped, as by a kernel. */
const SOCKET_ROOM = 256

class ArraySocket implements UdpSocket {
  readonly family: 4 | 6
  readonly port = 6969
  readonly receiveBufferBytes = 0
  readonly sendErrors = 0
  readonly inbox: Inbox
  readonly outbox: Outbox
  readonly arrived: Datagram[] = []
  private readonly sent: (to: Endpoint, bytes: Uint8Array) => void

  constructor(family: 4 | 6, sent: (to: Endpoint, bytes: Uint8Array) => void) {
    this.family = family
    this.sent = sent
    this.inbox = new Inbox(family, BATCH)
    this.outbox = new Outbox(family, BATCH, ANSWER_BYTES)
  }

  receive(): number {
    const taken = this.arrived.splice(0, BATCH)
    const { inbox } = this
    taken.forEach(({ from, bytes }, i) => {
      inbox.bytes.set(bytes, i * inbox.strideWords * 4)
      inbox.lengths[i * 16 + 14] = bytes.length
      const at = i * ADDRESS_WORDS
      inbox.from[at] = from.port << 16
      from.address.forEach((word, w) => {
        inbox.from[at + (this.family === 4 ? 1 : 2) + w] = word
      })
    })
    return taken.length
  }

  send(): number {
    const { outbox, family } = this
    const n = outbox.count
    outbox.count = 0
    for (let o = 0; o < n; o++) {
      const at = o * ADDRESS_WORDS
      const address = family === 4 ? [outbox.to[at + 1]!] : [...outbox.to.subarray(at + 2, at + 6)]
      const from = o * outbox.strideWords * 4
      const bytes = outbox.bytes.slice(from, from + outbox.lengths[o * 4 + 2]!)
      this.sent({ family, address, port: outbox.to[at]! >>> 16 }, bytes)
    }
    return n
  }

  drops(): number {
    return 0
  }
  close(): void {}
}

export type FrontEndParts = {
  readonly clock: MemberClock
  readonly store: Store
  readonly control: Control
  readonly producer: ProducerBuffers
  readonly seed: number
  readonly canary: Canary | null
  /** An answer leaves. */
  readonly answered: (to: Endpoint, bytes: Uint8Array) => void
  /**
   * Requests became changes in the ring: their sequence numbers, from `first` up to, not including, `end`,
   * and the transaction of each slot.
   */
  readonly parked: (
    ring: ChangeRing,
    transaction: (slot: number) => number,
    first: number,
    end: number,
  ) => void
  /** The replica has something to do. */
  readonly published: () => void
}

export class FrontEnd {
  readonly counts: Counts = countsOf(counterBuffer())
  private readonly parts: FrontEndParts
  private readonly sockets: readonly ArraySocket[]
  private readonly ring: ChangeRing
  private readonly turn: Turn
  private readonly pending: Pending
  private timer: Timer | null = null
  private wakeMs = Number.POSITIVE_INFINITY

  constructor(parts: FrontEndParts) {
    const { store, control, producer, clock, seed } = parts
    this.parts = parts
    this.sockets = [new ArraySocket(4, parts.answered), new ArraySocket(6, parts.answered)]
    this.ring = new ChangeRing(producer.changes)
    const { ring, counts } = this
    const touches = new WordRing(producer.touches)
    const pending = new Pending(ring.slots, ring.tail)
    this.pending = pending
    const packets = new Packets({
      store,
      announcer: canaryAnnouncer(parts.canary, store, seed),
      ids: new ConnectionIds(store),
      ring,
      touches,
      pending,
      counts,
      seed: ~seed,
      answerBytes: ANSWER_BYTES,
      parkForMs: PARK_FOR_MS,
    })
    this.turn = new Turn({
      sockets: this.sockets,
      packets,
      pending,
      ring,
      touches,
      outcomes: new OutcomeRing(producer.outcomes),
      control,
      counts,
      gather: new Gather(0),
      parkForMs: PARK_FOR_MS,
      waitingMost: WAITING_MOST,
      now: () => clock.now(),
    })
  }

  /** Requests that wait for their change to be decided. */
  get parked(): number {
    return this.pending.count
  }

  receive(datagram: Datagram): void {
    const socket = this.sockets[datagram.from.family === 4 ? 0 : 1]!
    if (socket.arrived.length < SOCKET_ROOM) socket.arrived.push(datagram)
    this.wake()
  }

  /** Something came in, or something was decided. */
  wake(): void {
    this.sleep(WAKE_MS)
  }

  private sleep(ms: number): void {
    const { clock } = this.parts
    const at = clock.now() + ms
    if (this.timer !== null) {
      if (this.wakeMs <= at) return
      clock.cancel(this.timer)
    }
    this.wakeMs = at
    this.timer = clock.after(ms, () => {
      this.timer = null
      this.run()
    })
  }

  private run(): void {
    const { ring, turn, parts } = this
    turn.warm()
    for (;;) {
      const first = ring.tail
      const busy = turn.run()
      if (ring.tail !== first) {
        parts.parked(ring, (slot) => bigEndian(this.pending.transactions[slot]!), first, ring.tail)
        parts.published()
      }
      if (!busy) break
    }
    this.sleep(Math.max(LEAST_SLEEP_MS, turn.sleepMs))
  }
}

const bigEndian = (raw: number): number =>
  (((raw & 0xff) << 24) | ((raw & 0xff00) << 8) | ((raw >>> 8) & 0xff00) | (raw >>> 24)) >>> 0
