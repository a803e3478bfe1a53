// Requests that wait for their answer: fixed arrays, found by transaction ID in one step.
// Refuses: sockets, clocks (the time is an argument).

export const CONNECTING = 1
export const REFRESHING = 2
export const JOINING = 3
export const LOADING = 4
export const SCRAPING = 5

/** Most info_hashes of one of our scrapes. */
export const SCRAPE_HASHES = 10

export class InFlight {
  readonly kind: Uint8Array
  readonly socket: Uint16Array
  readonly torrent: Int32Array
  readonly rank: Int32Array
  readonly sentAt: Float64Array
  /** Peers and seeders known to be in the swarm when the request left: an answer may not count fewer. */
  readonly low: Uint32Array
  readonly lowSeeders: Uint32Array
  readonly transaction: Int32Array
  /** Torrents of a scrape, SCRAPE_HASHES a slot; `rank` holds how many. */
  readonly scraped: Int32Array
  readonly bySocket: Int32Array
  private readonly mask: number
  private readonly shift: number
  private readonly free: Int32Array
  private freeCount: number
  private turn: number

  constructor(slots: number, sockets: number, turn: number) {
    const size = 2 ** Math.ceil(Math.log2(slots))
    this.mask = size - 1
    this.shift = Math.log2(size)
    this.kind = new Uint8Array(size)
    this.socket = new Uint16Array(size)
    this.torrent = new Int32Array(size)
    this.rank = new Int32Array(size)
    this.sentAt = new Float64Array(size)
    this.low = new Uint32Array(size)
    this.lowSeeders = new Uint32Array(size)
    this.transaction = new Int32Array(size)
    this.scraped = new Int32Array(size * SCRAPE_HASHES)
    this.bySocket = new Int32Array(sockets)
    this.free = Int32Array.from({ length: size }, (_, i) => size - 1 - i)
    this.freeCount = size
    this.turn = turn >>> 0
  }

  get room(): number {
    return this.freeCount
  }

  /** A slot with a transaction ID of its own; the caller has asked `room`. */
  take(kind: number, socket: number, torrent: number, rank: number, now: number): number {
    const slot = this.free[--this.freeCount]!
    this.turn = (this.turn + 1) >>> 0
    this.kind[slot] = kind
    this.socket[slot] = socket
    this.torrent[slot] = torrent
    this.rank[slot] = rank
    this.sentAt[slot] = now
    this.transaction[slot] = (this.turn << this.shift) | slot
    this.bySocket[socket]!++
    return slot
  }

  /** The slot that waits for this transaction on this socket, or -1. */
  find(transaction: number, socket: number): number {
    const slot = transaction & this.mask
    return this.kind[slot] !== 0 && this.transaction[slot] === transaction && this.socket[slot] === socket
      ? slot
      : -1
  }

  /**
   * Was this transaction ours, not long ago? Then its answer is late or came twice. Of all turns that the ID
   * has room for, the last three quarters count as ours.
   */
  wasOurs(transaction: number): boolean {
    const mask = 0xffffffff >>> this.shift
    return ((this.turn - (transaction >>> this.shift)) & mask) < mask * 0.75
  }

  release(slot: number): void {
    this.bySocket[this.socket[slot]!]!--
    this.kind[slot] = 0
    this.free[this.freeCount++] = slot
  }

  /** Hands every slot sent before `then` to `lost` and frees it. */
  expire(then: number, lost: (slot: number) => void): number {
    let expired = 0
    for (let slot = 0; slot <= this.mask; slot++)
      if (this.kind[slot] !== 0 && this.sentAt[slot]! < then) {
        lost(slot)
        this.release(slot)
        expired++
      }
    return expired
  }
}
