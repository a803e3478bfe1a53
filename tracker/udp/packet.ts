// The tracker's UDP protocol (BEP 15) at offsets in the batch buffers: what to do with one datagram. The hot
// path: numbers and buffers only, nothing is allocated for a packet. Refuses: to answer more than was asked
// to an address that has proven nothing; to believe the `ip` field; to look at BEP 41 options (nothing here
// needs them); sockets and clocks.
//
// Words are raw, as they lie in the packet: on a little-endian machine action 1 is 0x01000000.

import { ANNOUNCE_BYTES, CONNECT_BYTES, SCRAPE_MOST } from '@skep/wire/udp-tracker.ts'
import { addressClass4, addressClass6, addressRefusal, BOGON, PRIVATE, PUBLIC } from '../swarm/address.ts'
import { type Announcer, DENIED, NONE, REFRESH } from '../swarm/announce.ts'
import { COMPLETED, DETAILS, IPV6, LEAVE, PUT, peerTag, SEEDER, STARTED } from '../swarm/change.ts'
import type { ConnectionIds } from '../swarm/connection-id.ts'
import type { Store } from '../swarm/store.ts'
import { APPLIED, REFUSED } from '../threads/outcome.ts'
import type { ChangeRing, WordRing } from '../threads/ring.ts'
import {
  ANNOUNCES,
  BAD_ACTION,
  BAD_CONNECTION_ID,
  BAD_MAGIC,
  BUSY_SWARMS,
  COMMITTED,
  CONNECTS,
  type Counts,
  DENIALS,
  ERRORS,
  LATE,
  MALFORMED,
  PARKED,
  PARKED_FULL,
  PRIVATE_ANNOUNCES,
  REFUSALS,
  REFUSED_ADDRESS,
  SCRAPES,
  TOO_SHORT,
  TOUCHES,
  TOUCHES_DROPPED,
  UNKNOWNS,
} from './counters.ts'
import type { Pending } from './pending.ts'
import { ADDRESS_WORDS, ENDPOINT_WORDS, type Inbox, type Outbox } from './slots.ts'

const CONNECT = 0
export const ANNOUNCE = 0x01000000
export const SCRAPE = 0x02000000
const ERROR = 0x03000000
const EVENT_COMPLETED = 0x01000000
const EVENT_STARTED = 0x02000000
const EVENT_STOPPED = 0x03000000
/** BEP 15's protocol_id, 0x41727101980. */
const MAGIC_LO = 0x17040000
const MAGIC_HI = 0x80191027 | 0

/** Families of peers, as Announcer takes them. */
const ONLY4 = 1
const ONLY6 = 2

const message = (text: string): Uint8Array => new TextEncoder().encode(text)
const CUT_SHORT = message('announce or scrape is cut short')
const UNKNOWN_ACTION = message('unknown action')
const NOT_ALLOWED = message('info_hash not allowed')
const TRY_AGAIN = message('tracker cannot store this now, try again')

/** Datagrams of an inbox whose hashes are kept; of others they are made again. */
const HASHES_MOST = 1024

export type PacketParts = {
  readonly store: Store
  readonly announcer: Announcer
  readonly ids: ConnectionIds
  readonly ring: ChangeRing
  readonly touches: WordRing
  readonly pending: Pending
  readonly counts: Counts
  /** Of the intervals' jitter; any number. */
  readonly seed: number
  /** Largest answer, bytes; even. */
  readonly answerBytes: number
  /** Answers of parked requests leave within this, or not at all. */
  readonly parkForMs: number
}

/** A connect by its shape: length, action, protocol_id. */
export function looksLikeConnect(inbox: Inbox, i: number): boolean {
  const w = i * inbox.strideWords
  const { words } = inbox
  return (
    inbox.lengths[i * 16 + 14]! >= CONNECT_BYTES &&
    words[w + 2] === CONNECT &&
    words[w] === MAGIC_LO &&
    words[w + 1] === MAGIC_HI
  )
}

const swap = (x: number): number =>
  ((x & 0xff) << 24) | ((x & 0xff00) << 8) | ((x >>> 8) & 0xff00) | (x >>> 24)

export class Packets {
  private readonly store: Store
  private readonly announcer: Announcer
  private readonly ids: ConnectionIds
  private readonly ring: ChangeRing
  private readonly touches: WordRing
  private readonly pending: Pending
  private readonly counts: Counts
  private readonly parkForMs: number
  private readonly peers4Most: number
  private readonly peers6Most: number
  private readonly scrapeMost: number
  private readonly details: boolean
  /** By datagram of the inbox: what `readAhead` has hashed and `handle` has not looked at yet; 0: nothing. */
  private readonly hashes = new Int32Array(HASHES_MOST)
  private random: number
  private nowMs = 0
  private intervalSeconds = 1800
  /** By how much an answer's interval may be shorter. */
  private spreadSeconds = 180
  private storeFull = false
  private refusePrivate = false
  private numwantDefault = 50
  private want4 = 200
  private want6 = 200

  constructor(parts: PacketParts) {
    this.store = parts.store
    this.announcer = parts.announcer
    this.ids = parts.ids
    this.ring = parts.ring
    this.touches = parts.touches
    this.pending = parts.pending
    this.counts = parts.counts
    this.parkForMs = parts.parkForMs
    this.peers4Most = Math.floor((parts.answerBytes - 20) / 6)
    this.peers6Most = Math.floor((parts.answerBytes - 20) / 18)
    this.scrapeMost = Math.min(SCRAPE_MOST, Math.floor((parts.answerBytes - 8) / 12))
    this.details = parts.store.buffers.limits.details
    this.random = parts.seed | 0 || 88172645
    this.readSettings()
  }

  /** Once a batch: time and interval, and whether changes are refused because nothing can be stored. */
  begin(nowMs: number, intervalSeconds: number, graceWindows: number, storeFull: boolean): void {
    this.nowMs = nowMs
    this.intervalSeconds = intervalSeconds
    this.spreadSeconds = (intervalSeconds / 10) | 0
    this.storeFull = storeFull
    // Workers open before their cluster is born: until then there are no settings, and nobody would get
    // peers.
    if (this.want4 === 0) this.readSettings()
    this.ids.refresh(graceWindows, nowMs)
  }

  /** Now and then: the settings in the log that front ends obey. */
  readSettings(): void {
    const { numwantDefault, numwantMax, allowPrivate } = this.store.settings
    this.numwantDefault = numwantDefault
    this.want4 = Math.min(numwantMax, this.peers4Most)
    this.want6 = Math.min(numwantMax, this.peers6Most)
    this.refusePrivate = allowPrivate === 'off'
  }

  /** Before a batch is decided: reads ahead what its announces will look at (`Announcer.warm`). */
  readAhead(inbox: Inbox, from: number, n: number): void {
    const { words, strideWords, lengths } = inbox
    for (let i = from; i < from + n; i++)
      if (lengths[i * 16 + 14]! >= ANNOUNCE_BYTES && words[i * strideWords + 2] === ANNOUNCE)
        this.hashes[i] = this.announcer.willLook(words, i * strideWords + 4)
    this.announcer.warm()
  }

  /**
   * Is datagram i a connect that can be answered? It needs no leader and no lease, only the key: IDs are the
   * cluster's and say nothing about a swarm.
   */
  isConnect(inbox: Inbox, i: number): boolean {
    return this.ids.known && looksLikeConnect(inbox, i)
  }

  get idsKnown(): boolean {
    return this.ids.known
  }

  /** Connects are answered now without a lease. */
  lend(): void {
    this.ids.lend()
  }

  /**
   * Decides on datagram i of the inbox. An answer is written into the outbox's next slot, without its
   * address: its bytes are returned. 0: no answer, or none yet. `socket`: where an answer that waits will go
   * out.
   */
  handle(inbox: Inbox, i: number, outbox: Outbox, socket: number): number {
    const length = inbox.lengths[i * 16 + 14]!
    const hash = this.hashes[i]! | 0
    this.hashes[i] = 0
    const words = inbox.words
    const w = i * inbox.strideWords
    if (length < CONNECT_BYTES) {
      this.counts[TOO_SHORT]!++
      return 0
    }
    const f = i * ADDRESS_WORDS
    let a0 = inbox.from[f + 1]!
    let a1 = 0
    let a2 = 0
    let a3 = 0
    let v6 = false
    if (inbox.family === 6) {
      a0 = inbox.from[f + 2]!
      a1 = inbox.from[f + 3]!
      a2 = inbox.from[f + 4]!
      a3 = inbox.from[f + 5]!
      v6 = true
      if ((a0 | a1) === 0 && a2 === -65536) {
        // ::ffff:0:0/96 is an IPv4 client on a socket of both families: it is one peer, however it comes.
        a0 = a3
        a2 = a3 = 0
        v6 = false
      }
    }
    const action = words[w + 2]!
    if (action === CONNECT) {
      if (words[w] !== MAGIC_LO || words[w + 1] !== MAGIC_HI) {
        this.counts[BAD_MAGIC]!++
        return 0
      }
      this.counts[CONNECTS]!++
      const ids = this.ids
      ids.make(a0, a1, a2, a3)
      const o = outbox.count * outbox.strideWords
      outbox.words[o] = CONNECT
      outbox.words[o + 1] = words[w + 3]!
      outbox.words[o + 2] = ids.lo
      outbox.words[o + 3] = ids.hi
      return CONNECT_BYTES
    }
    if (!this.ids.check(words[w]!, words[w + 1]!, a0, a1, a2, a3)) {
      this.counts[BAD_CONNECTION_ID]!++
      return 0
    }
    if (action === ANNOUNCE) {
      this.announcer.hash = hash
      if (length < ANNOUNCE_BYTES) return this.fault(outbox, words[w + 3]!, CUT_SHORT, MALFORMED)
      return this.announce(inbox, i, outbox, socket, a0, a1, a2, a3, v6)
    }
    if (action === SCRAPE) return this.scrape(words, w, length, outbox)
    return this.fault(outbox, words[w + 3]!, UNKNOWN_ACTION, BAD_ACTION)
  }

  private announce(
    inbox: Inbox,
    i: number,
    outbox: Outbox,
    socket: number,
    a0: number,
    a1: number,
    a2: number,
    a3: number,
    v6: boolean,
  ): number {
    const words = inbox.words
    const w = i * inbox.strideWords
    const transaction = words[w + 3]!
    const port = inbox.halves[w * 2 + 48]!
    this.counts[ANNOUNCES]!++
    const kind = v6 ? addressClass6(a0, a1, a2, a3) : addressClass4(a0)
    if (kind !== PUBLIC) this.counts[PRIVATE_ANNOUNCES]!++
    if (kind === BOGON || (kind === PRIVATE && this.refusePrivate))
      return this.badAddress(outbox, transaction, addressRefusal(kind, v6, [a0, a1, a2, a3]))

    const most = v6 ? this.want6 : this.want4
    const asked = swap(words[w + 23]!)
    let want = asked < 0 ? this.numwantDefault : asked
    if (want > most) want = most
    const event = words[w + 20]!
    let word0 = (port << 16) | (event === EVENT_STOPPED ? LEAVE : PUT)
    if ((words[w + 16]! | words[w + 17]!) === 0) word0 |= SEEDER
    if (event === EVENT_COMPLETED) word0 |= COMPLETED
    else if (event === EVENT_STARTED) word0 |= STARTED
    if (v6) word0 |= IPV6

    // The record is written where it would be taken from; if nothing changes, the next request overwrites it.
    const ring = this.ring.words
    const at = this.ring.at(this.ring.tail)
    ring[at + 1] = a0
    if (v6) this.restOf6(ring, at, a1, a2, a3)
    ring[at + 5] = words[w + 4]!
    ring[at + 6] = words[w + 5]!
    ring[at + 7] = words[w + 6]!
    ring[at + 8] = words[w + 7]!
    ring[at + 9] = words[w + 8]!
    const key = words[w + 22]!
    ring[at + 10] = peerTag(
      words[w + 9]!,
      words[w + 10]!,
      words[w + 11]!,
      words[w + 12]!,
      words[w + 13]!,
      key,
    )
    if (this.details) {
      word0 |= DETAILS
      for (let j = 0; j < 5; j++) ring[at + 11 + j] = words[w + 9 + j]!
      ring[at + 16] = key
      for (let j = 0; j < 6; j++) ring[at + 17 + j] = words[w + 14 + j]!
    }
    ring[at] = word0

    const families = v6 ? ONLY6 : ONLY4
    const o = outbox.count * outbox.strideWords
    const what = this.announcer.announce(ring, at, want, families, outbox.halves, o * 2 + 10)
    if (what === REFRESH) this.touch()
    else if (what === DENIED) return this.fault(outbox, transaction, NOT_ALLOWED, DENIALS)
    else if (what !== NONE) {
      if (port !== 0) return this.park(inbox, i, outbox, socket, transaction, want, families, what)
      // Who has no port cannot be a peer, but may know who is.
      if (!this.announcer.answer(ring, at, want, families, outbox.halves, o * 2 + 10)) return 0
    }
    return this.head(outbox, o, transaction)
  }

  /** An IPv4 address is one word: nobody reads the three others. */
  private restOf6(ring: Int32Array, at: number, a1: number, a2: number, a3: number): void {
    ring[at + 2] = a1
    ring[at + 3] = a2
    ring[at + 4] = a3
  }

  private touch(): void {
    this.counts[TOUCHES]!++
    if (this.touches.room(1) > 0) this.touches.push(this.announcer.touch)
    else this.counts[TOUCHES_DROPPED]!++
  }

  /** The record in the ring becomes a change; its answer waits for it. */
  private park(
    inbox: Inbox,
    i: number,
    outbox: Outbox,
    socket: number,
    transaction: number,
    want: number,
    families: number,
    what: number,
  ): number {
    if (this.storeFull) return this.fault(outbox, transaction, TRY_AGAIN, REFUSALS)
    if (this.pending.full) {
      this.counts[PARKED_FULL]!++
      return 0
    }
    if (what !== 2) this.counts[BUSY_SWARMS]!++
    this.counts[PARKED]!++
    const sequence = this.ring.tail
    this.pending.park(sequence, inbox, i, socket, transaction, want, families, this.nowMs)
    this.ring.tail = (sequence + 1) | 0
    return 0
  }

  /**
   * The first 20 bytes of an announce answer, around what the Announcer has found. Returns the answer's
   * bytes.
   */
  private head(outbox: Outbox, o: number, transaction: number): number {
    const { announcer } = this
    let r = this.random
    r ^= r << 13
    r ^= r >>> 17
    r ^= r << 5
    this.random = r
    // 0.9 to 1.0 of the interval, so that clients that came together do not come back together.
    const interval = this.intervalSeconds - (((r >>> 16) * this.spreadSeconds) >>> 16)
    const out = outbox.words
    out[o] = ANNOUNCE
    out[o + 1] = transaction
    out[o + 2] = swap(interval)
    out[o + 3] = swap(announcer.leechers)
    out[o + 4] = swap(announcer.seeders)
    return 20 + announcer.count4 * 6 + announcer.count6 * 18
  }

  private scrape(words: Int32Array, w: number, length: number, outbox: Outbox): number {
    let n = ((length - 16) / 20) | 0
    if (n === 0) return this.fault(outbox, words[w + 3]!, CUT_SHORT, MALFORMED)
    if (n > this.scrapeMost) n = this.scrapeMost
    this.counts[SCRAPES]!++
    const { announcer } = this
    const out = outbox.words
    let o = outbox.count * outbox.strideWords
    out[o++] = SCRAPE
    out[o++] = words[w + 3]!
    for (let j = 0; j < n; j++) {
      announcer.scrape(words, w + 4 + 5 * j)
      out[o++] = swap(announcer.seeders)
      out[o++] = swap(announcer.completed)
      out[o++] = swap(announcer.leechers)
    }
    return 8 + 12 * n
  }

  /** An error answer; only ever to an address that has proven itself by its connection ID. */
  private badAddress(outbox: Outbox, transaction: number, why: string): number {
    return this.fault(outbox, transaction, message(why), REFUSED_ADDRESS)
  }

  private fault(outbox: Outbox, transaction: number, text: Uint8Array, counter: number): number {
    this.counts[counter]!++
    this.counts[ERRORS]!++
    const o = outbox.count * outbox.strideWords
    outbox.words[o] = ERROR
    outbox.words[o + 1] = transaction
    outbox.bytes.set(text, o * 4 + 8)
    return 8 + text.length
  }

  /**
   * The outcome of a parked request is known: its answer into the outbox's next slot. Returns its bytes; 0:
   * silence. The slot is free then, except where the swarm could not be read: it comes once more through
   * `pending.again`.
   */
  release(slot: number, outcome: number, outbox: Outbox): number {
    const { pending, counts } = this
    const transaction = pending.transactions[slot]!
    let length = 0
    if (this.nowMs - pending.arrivedMs[slot]! > this.parkForMs) counts[LATE]!++
    else if (outcome === APPLIED) {
      length = this.answer(slot, transaction, outbox)
      if (length === 0) {
        counts[BUSY_SWARMS]!++
        pending.again[pending.againCount++] = slot
        return 0
      }
      counts[COMMITTED]!++
    } else if (outcome === REFUSED) length = this.fault(outbox, transaction, TRY_AGAIN, REFUSALS)
    else counts[UNKNOWNS]!++
    if (length > 0) outbox.replyTo(pending.endpoints, slot * ENDPOINT_WORDS, length)
    pending.free(slot)
    return length
  }

  /**
   * Built now, from the table with the change in it; the record still lies in the ring. 0: the writer is in
   * the way.
   */
  private answer(slot: number, transaction: number, outbox: Outbox): number {
    const { pending } = this
    const o = outbox.count * outbox.strideWords
    const at = this.ring.at(slot)
    if (this.announcer.denied(this.ring.words, at))
      return this.fault(outbox, transaction, NOT_ALLOWED, DENIALS)
    const found = this.announcer.answer(
      this.ring.words,
      at,
      pending.wants[slot]!,
      pending.families[slot]!,
      outbox.halves,
      o * 2 + 10,
    )
    return found ? this.head(outbox, o, transaction) : 0
  }
}
