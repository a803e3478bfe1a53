// What waits to be written to one connection: the frames of a turn side by side in one buffer, and an account
// of what the socket has not taken yet. Refuses: more than its limit, and to write: the connection takes the
// buffer when the turn ends.

import { HEADER_BYTES, type Head, type Stamp, writeHeader } from './frame.ts'

const FIRST_BYTES = 16 * 1024
/** Buffers above this are not used twice: a bulk connection fills some of this size all the time. */
const KEEP_BYTES = 2 * 1024 * 1024
const SPARE_BUFFERS = 4
/** No further write while the socket holds this much: what comes meanwhile is joined. */
const IN_FLIGHT_BYTES = 256 * 1024
const NO_PREFIX = new Uint8Array(0)

export type Turn = { readonly bytes: Uint8Array; readonly frames: number }

export class Outbox {
  readonly limitBytes: number
  /** Written to the socket, which has not passed it on yet. */
  private inFlight = 0
  private buffer: Uint8Array = new Uint8Array(FIRST_BYTES)
  private view = new DataView(this.buffer.buffer)
  private used = 0
  private frames = 0
  private readonly spare: Uint8Array[] = []

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes
  }

  get queuedBytes(): number {
    return this.used + this.inFlight
  }

  get waitingFrames(): number {
    return this.frames
  }

  /** One frame; its body is `prefix` then `body`, copied. False: the limit is reached. */
  push(head: Head, stamp: Stamp, body: Uint8Array, prefix: Uint8Array = NO_PREFIX): boolean {
    const bytes = prefix.length + body.length
    const whole = HEADER_BYTES + bytes
    // An empty box takes any frame: else one that is longer than the limit would never leave.
    if (this.queuedBytes > 0 && this.queuedBytes + whole > this.limitBytes) return false
    if (this.used + whole > this.buffer.length) this.grow(this.used + whole)
    writeHeader(this.view, this.used, head, stamp, bytes)
    this.buffer.set(prefix, this.used + HEADER_BYTES)
    this.buffer.set(body, this.used + HEADER_BYTES + prefix.length)
    this.used += whole
    this.frames++
    return true
  }

  /**
   * All that waits, to be written at once, or null: nothing, or the socket has enough. Give it back by
   * `written`.
   */
  take(): Turn | null {
    if (this.frames === 0 || this.inFlight >= IN_FLIGHT_BYTES) return null
    const turn = { bytes: this.buffer.subarray(0, this.used), frames: this.frames }
    this.inFlight += this.used
    this.used = 0
    this.frames = 0
    this.buffer = this.spare.pop() ?? new Uint8Array(FIRST_BYTES)
    this.view = new DataView(this.buffer.buffer)
    return turn
  }

  /** The socket has passed it on and will not look at it again. */
  written(turn: Turn): void {
    this.inFlight -= turn.bytes.length
    const whole = new Uint8Array(turn.bytes.buffer)
    if (whole.length <= KEEP_BYTES && this.spare.length < SPARE_BUFFERS) this.spare.push(whole)
  }

  private grow(need: number): void {
    const larger = new Uint8Array(Math.max(need, 2 * this.buffer.length))
    larger.set(this.buffer.subarray(0, this.used))
    this.buffer = larger
    this.view = new DataView(larger.buffer)
  }
}
