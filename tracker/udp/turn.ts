// One turn of a UDP worker: outcomes -> answers; datagrams -> answers or parked changes; everything handed
// over at once. The driver (worker.ts) calls it until nothing is left and then sleeps, in poll or in the
// event loop. Refuses: offsets and hashing (packet.ts); to answer anything but connects while no lease holds,
// tested before every batch that is sent.

import { APPLIED, type OutcomeRing } from '../threads/outcome.ts'
import type { ChangeRing, WordRing } from '../threads/ring.ts'
import { type Control, STOPPING } from '../threads/state.ts'
import {
  ANSWERED,
  BATCHES,
  type Counts,
  LEASE_LOST,
  PARKED_NOW,
  RECEIVED,
  SEND_DROPPED,
  SEND_ERRORS,
  SOCKET_DROPS,
  WAITED,
  WAITING_FULL,
  WAITING_LATE,
  WAITING_NOW,
} from './counters.ts'
import type { Flood } from './flood.ts'
import type { Gather } from './gather.ts'
import { looksLikeConnect, type Packets } from './packet.ts'
import type { Pending } from './pending.ts'
import { ADDRESS_WORDS, type Inbox } from './slots.ts'
import type { UdpSocket } from './socket.ts'
import { looksLikeRequest, Waiting } from './waiting.ts'

/**
 * Turns between two looks at a socket that had nothing last time, while another one keeps the worker busy.
 */
const COLD_TURNS = 8
/** After a batch smaller than this the socket is taken to be empty, until poll says otherwise. */
const MORE_LEAST = 16
/** Datagrams of a batch for which reading ahead pays. */
const READ_AHEAD_LEAST = 4
/** Milliseconds. */
export const LONGEST_SLEEP_MS = 250
/** While requests or outcomes wait for a lease. */
const HELD_SLEEP_MS = 5
/** While the writer is in the way of an answer: it may need this very core to get on. */
const AGAIN_SLEEP_MS = 1
/** How often settings and the kernel's counters are read, milliseconds. */
const HOUSEKEEPING_MS = 500

export type TurnParts = {
  readonly sockets: readonly UdpSocket[]
  readonly packets: Packets
  readonly pending: Pending
  readonly ring: ChangeRing
  readonly touches: WordRing
  readonly outcomes: OutcomeRing
  readonly control: Control
  readonly counts: Counts
  readonly gather: Gather
  /** Who floods, while datagrams are lost. */
  readonly flood?: Flood
  readonly parkForMs: number
  /** Requests a socket keeps while there is no leader. */
  readonly waitingMost: number
  /** Milliseconds of the monotonic clock. */
  readonly now: () => number
}

/** A socket with what belongs to it. */
class Place {
  readonly number: number
  readonly socket: UdpSocket
  readonly waiting: Waiting
  /** Of the answer in slot o: which datagram of `from` it answers, -1 for a parked one. */
  readonly origin: Int32Array
  cold = 0
  /** Some of those that wait may be connects. */
  connectsWait = false

  constructor(number: number, socket: UdpSocket, waitingMost: number) {
    this.number = number
    this.socket = socket
    this.waiting = new Waiting(socket.family, waitingMost)
    this.origin = new Int32Array(socket.outbox.slots)
  }
}

export class Turn {
  private readonly parts: TurnParts
  private readonly places: readonly Place[]
  private nowMs = 0
  private housekeepingMs = -Infinity
  private publishedTail: number
  private sampling = false
  /** How long the driver may sleep when `run` has returned false, milliseconds. */
  sleepMs = LONGEST_SLEEP_MS
  /** Datagrams of the last `run`. */
  received = 0

  constructor(parts: TurnParts) {
    this.parts = parts
    this.places = parts.sockets.map((socket, i) => new Place(i, socket, parts.waitingMost))
    this.publishedTail = parts.ring.tail
  }

  /** Does what there is to do; false when nothing is left, as far as it knows. */
  run(): boolean {
    const { control, counts, packets, pending } = this.parts
    const now = this.parts.now()
    this.nowMs = now
    const state = control.state
    const serving = control.mayAnswer(now)
    if (now - this.housekeepingMs >= HOUSEKEEPING_MS) this.housekeep(now)
    packets.begin(now, control.intervalSeconds, control.idGraceWindows, control.diskFull)
    let busy = false
    this.received = 0
    this.sleepMs = state === STOPPING ? HELD_SLEEP_MS : LONGEST_SLEEP_MS
    if (control.mayRelease(now)) busy = this.release()
    else if (this.parts.outcomes.available()) this.sleepMs = HELD_SLEEP_MS
    let waiting = 0
    for (let p = 0; p < this.places.length; p++) {
      const place = this.places[p]!
      if (place.waiting.count > 0) {
        if (serving) busy = this.handleWaiting(place) || busy
        else this.letWait(place)
      }
      if (state !== STOPPING && this.receive(place, serving)) busy = true
      if (place.socket.outbox.count > 0) this.send(place, place.socket.inbox)
      waiting += place.waiting.count
    }
    if (waiting > 0) this.sleepMs = HELD_SLEEP_MS
    if (pending.againCount > 0) this.sleepMs = AGAIN_SLEEP_MS
    counts[WAITING_NOW] = waiting
    counts[PARKED_NOW] = pending.count
    this.publish()
    return busy
  }

  /** Nothing parked and nothing waiting. */
  get drained(): boolean {
    return this.parts.pending.count === 0
  }

  /** Answers of changes whose outcome is there. */
  private release(): boolean {
    const { outcomes, pending } = this.parts
    let busy = false
    const again = pending.againCount
    pending.againCount = 0
    // Written over from the front while it is read: never past the place being read.
    for (let j = 0; j < again; j++) busy = this.releaseOne(pending.again[j]!, APPLIED) || busy
    while (outcomes.next()) {
      busy = true
      const { first, count, outcome } = outcomes
      for (let j = 0; j < count; j++) {
        const slot = pending.slot((first + j) | 0)
        if (slot >= 0) this.releaseOne(slot, outcome)
      }
    }
    return busy
  }

  private releaseOne(slot: number, outcome: number): boolean {
    const { pending, packets } = this.parts
    const place = this.places[pending.sockets[slot]!]!
    const { outbox } = place.socket
    if (outbox.count === outbox.slots) this.send(place, place.socket.inbox)
    if (packets.release(slot, outcome, outbox) === 0) return false
    place.origin[outbox.count - 1] = -1
    return true
  }

  /** Datagrams of one socket: decided now, or kept until somebody can decide. */
  private receive(place: Place, serving: boolean): boolean {
    if (place.cold > 0) {
      place.cold--
      return false
    }
    const { socket } = place
    const n = socket.receive()
    if (n === 0) {
      place.cold = this.places.length > 1 ? COLD_TURNS : 0
      return false
    }
    const { counts } = this.parts
    counts[RECEIVED]! += n
    counts[BATCHES]!++
    this.received += n
    this.parts.gather.note(n)
    if (this.sampling) this.parts.flood!.note(socket.family, socket.inbox.from, ADDRESS_WORDS, n)
    if (serving) this.decide(place, socket.inbox, 0, n)
    else this.hold(place, socket.inbox, n)
    return n >= MORE_LEAST
  }

  /** Every socket is looked at in the next turn: the driver has slept. */
  warm(): void {
    for (const place of this.places) place.cold = 0
  }

  private decide(place: Place, inbox: Inbox, from: number, n: number): void {
    const { packets } = this.parts
    const { outbox } = place.socket
    if (outbox.count + n > outbox.slots) this.send(place, inbox)
    if (n >= READ_AHEAD_LEAST) packets.readAhead(inbox, from, n)
    for (let i = from; i < from + n; i++) this.answer(place, inbox, i)
  }

  private answer(place: Place, inbox: Inbox, i: number): void {
    const { outbox } = place.socket
    const length = this.parts.packets.handle(inbox, i, outbox, place.number)
    if (length === 0) return
    place.origin[outbox.count] = i
    outbox.reply(inbox, i, length)
  }

  /**
   * Nobody can decide: connects are answered all the same, the others wait. A lost connect costs some clients
   * minutes, and an ID shows nothing that a lease is for.
   */
  private hold(place: Place, inbox: Inbox, n: number): void {
    const { packets } = this.parts
    if (place.socket.outbox.count > 0) this.send(place, inbox)
    for (let i = 0; i < n; i++) {
      if (packets.isConnect(inbox, i)) this.answer(place, inbox, i)
      else this.keep(place, inbox, i)
    }
    this.sendConnects(place)
  }

  /** All that lies in the outbox are answers to connects. */
  private sendConnects(place: Place): void {
    if (place.socket.outbox.count === 0) return
    this.parts.packets.lend()
    this.transmit(place.socket)
  }

  private keep(place: Place, inbox: Inbox, i: number): void {
    const { counts } = this.parts
    if (!looksLikeRequest(inbox, i)) return
    const kept = place.waiting.push(inbox, i, this.nowMs)
    counts[kept ? WAITED : WAITING_FULL]!++
    if (kept && looksLikeConnect(inbox, i)) place.connectsWait = true
  }

  /** Still nobody can decide; connects that came before there was a key are answered once there is one. */
  private letWait(place: Place): void {
    this.dropOld(place)
    const { packets } = this.parts
    const { waiting, socket } = place
    if (!place.connectsWait || !packets.idsKnown) return
    place.connectsWait = false
    if (socket.outbox.count > 0) this.send(place, socket.inbox)
    waiting.sift((slot) => {
      if (!packets.isConnect(waiting.inbox, slot)) return false
      if (socket.outbox.count === socket.outbox.slots) this.sendConnects(place)
      this.answer(place, waiting.inbox, slot)
      return true
    })
    this.sendConnects(place)
  }

  private dropOld(place: Place): void {
    const { counts, parkForMs } = this.parts
    while (this.nowMs - place.waiting.oldestMs > parkForMs) {
      place.waiting.shift(1)
      counts[WAITING_LATE]!++
    }
  }

  /**
   * A lease holds again: requests that waited are handled as if they had come just now, in order of arrival.
   */
  private handleWaiting(place: Place): boolean {
    this.dropOld(place)
    const { waiting, socket } = place
    while (waiting.count > 0) {
      if (socket.outbox.count > 0) this.send(place, socket.inbox)
      // Up to the end of the ring of slots, so that it is one run.
      const first = waiting.slot(0)
      const n = Math.min(waiting.count, socket.outbox.slots, waiting.inbox.slots - first)
      this.decide(place, waiting.inbox, first, n)
      const replies = socket.outbox.count
      if (replies > 0 && !this.send(place, null)) {
        // Only what could not be sent waits again: changes among them are parked, and would be made and
        // answered twice.
        waiting.shiftBut(n, place.origin, replies)
        return false
      }
      waiting.shift(n)
    }
    return true
  }

  /**
   * Sends what is in the outbox if a lease holds still. If it does not, the requests answered go to wait
   * (`inbox` holds them; null: they wait already), all but connects, and answers of parked ones are dropped,
   * since their records are free by now.
   */
  private send(place: Place, inbox: Inbox | null): boolean {
    const { control, counts, packets } = this.parts
    const { outbox } = place.socket
    if (control.mayRelease(this.parts.now())) {
      this.transmit(place.socket)
      return true
    }
    const n = outbox.count
    outbox.count = 0
    for (let o = 0; o < n; o++) {
      const i = place.origin[o]!
      if (i < 0) counts[LEASE_LOST]!++
      else if (inbox === null) continue
      else if (packets.isConnect(inbox, i)) this.answer(place, inbox, i)
      else this.keep(place, inbox, i)
    }
    this.sendConnects(place)
    return false
  }

  private transmit(socket: UdpSocket): void {
    const { counts } = this.parts
    const n = socket.outbox.count
    const errors = socket.sendErrors
    const sent = socket.send()
    counts[ANSWERED]! += sent
    if (sent < n) counts[SEND_DROPPED]! += n - sent - (socket.sendErrors - errors)
  }

  /**
   * What this turn has written becomes visible; the replica thread is woken for changes, or when touches pile
   * up.
   */
  private publish(): void {
    const { ring, touches, control } = this.parts
    touches.publish()
    if (ring.tail !== this.publishedTail) {
      this.publishedTail = ring.tail
      ring.publish()
      control.wakeReplica()
    } else if (touches.room(touches.words.length >> 1) < touches.words.length >> 1) control.wakeReplica()
  }

  private housekeep(now: number): void {
    const { counts, packets, sockets } = this.parts
    this.housekeepingMs = now
    packets.readSettings()
    let drops = 0
    let errors = 0
    for (const socket of sockets) {
      drops += socket.drops()
      errors += socket.sendErrors
    }
    counts[SOCKET_DROPS] = drops
    this.parts.flood?.look(drops, now)
    this.sampling = this.parts.flood?.sampling ?? false
    counts[SEND_ERRORS] = errors
  }
}
