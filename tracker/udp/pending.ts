// Announces whose change is on its way through the log. A change's sequence number in the ring is its place
// here, so a parked request costs no search; its record stays in the ring slot until the outcome came.
// Refuses: to time anything out by itself: a slot is held until its outcome, only the answer may come too
// late. Looking for the same request twice: clients repeat after 15 seconds, later than any change waits, and
// applying a change twice equals applying it once.

import { ENDPOINT_WORDS, type Inbox, saveEndpoint } from './slots.ts'

export class Pending {
  readonly endpoints: Int32Array
  readonly transactions: Int32Array
  /** Peers wanted. */
  readonly wants: Int16Array
  /** Families of peers in the answer: 1 IPv4, 2 IPv6. */
  readonly families: Uint8Array
  /** Which of the worker's sockets it came by. */
  readonly sockets: Uint8Array
  readonly arrivedMs: Float64Array
  private readonly held: Uint8Array
  private readonly mask: number
  /**
   * One less than the ring has slots: the next request is written into the ring before anyone knows what it
   * asks.
   */
  readonly most: number
  /** Slots whose change is applied while their swarm could not be read: looked at again in the next turn. */
  readonly again: Int32Array
  againCount = 0
  /** The oldest sequence number without an outcome, and the next to be given. */
  private oldest: number
  private next: number

  /** `slots`: of the change ring, a power of two; `first`: its next sequence number. */
  constructor(slots: number, first: number) {
    this.endpoints = new Int32Array(slots * ENDPOINT_WORDS)
    this.transactions = new Int32Array(slots)
    this.wants = new Int16Array(slots)
    this.families = new Uint8Array(slots)
    this.sockets = new Uint8Array(slots)
    this.arrivedMs = new Float64Array(slots)
    this.held = new Uint8Array(slots)
    this.again = new Int32Array(slots)
    this.mask = slots - 1
    this.most = slots - 1
    this.oldest = first
    this.next = first
  }

  /** Slots that cannot be used: from the oldest unresolved change on. */
  get count(): number {
    return (this.next - this.oldest) | 0
  }

  get full(): boolean {
    return ((this.next - this.oldest) | 0) >= this.most
  }

  /** Parks datagram i under `sequence`, the next one of the ring. */
  park(
    sequence: number,
    inbox: Inbox,
    i: number,
    socket: number,
    transaction: number,
    want: number,
    families: number,
    nowMs: number,
  ): void {
    const slot = sequence & this.mask
    saveEndpoint(inbox, i, this.endpoints, slot * ENDPOINT_WORDS)
    this.transactions[slot] = transaction
    this.wants[slot] = want
    this.families[slot] = families
    this.sockets[slot] = socket
    this.arrivedMs[slot] = nowMs
    this.held[slot] = 1
    this.next = (sequence + 1) | 0
  }

  /** The slot of `sequence` if it still waits, else -1 (an outcome told twice, or never asked for). */
  slot(sequence: number): number {
    const slot = sequence & this.mask
    return (sequence - this.oldest) >>> 0 < this.count && this.held[slot] === 1 ? slot : -1
  }

  /** The outcome of a slot came: it is free once all older ones are. */
  free(slot: number): void {
    this.held[slot] = 0
    while (this.oldest !== this.next && this.held[this.oldest & this.mask] === 0)
      this.oldest = (this.oldest + 1) | 0
  }
}
