// Frames out of a stream of bytes that arrives in any pieces. What lies whole in a piece is read in place;
// only what is torn over several is copied together. Refuses: to go on after a fault, because nobody knows
// where the next frame begins.

import { checkHeader, type Frame, type FrameFault, HEADER_BYTES, newFrame, readHeader } from './frame.ts'

/** A buffer for torn frames above this is given back after use, bytes. */
const KEEP_BYTES = 1024 * 1024
const FIRST_BYTES = 4096

export class FrameDecoder {
  /** Longest body taken from now on, bytes; a stranger's is shorter than a member's. */
  maxBodyBytes: number
  /** Why nothing more is decoded. */
  fault: FrameFault | null = null
  private readonly frame = newFrame()
  private piece: Uint8Array = new Uint8Array(0)
  private view = new DataView(this.piece.buffer)
  private at = 0
  /** The torn frame: `held` of `need` bytes are there. */
  private hold = new Uint8Array(FIRST_BYTES)
  private held = 0
  private need = HEADER_BYTES

  constructor(maxBodyBytes: number) {
    this.maxBodyBytes = maxBodyBytes
  }

  /** The next piece. The last one must have been read to its end: `next` gave null. */
  push(piece: Uint8Array): void {
    if (this.fault !== null) return
    if (this.at < this.piece.length) throw new Error('the piece before is not read to its end')
    this.piece = piece
    this.view = new DataView(piece.buffer, piece.byteOffset, piece.byteLength)
    this.at = 0
  }

  /**
   * The next whole frame, always the same object, its body a view: valid until the next call. null: `push`
   * more.
   */
  next(): Frame | null {
    if (this.fault !== null) return null
    if (this.held > 0) return this.torn()
    const left = this.piece.length - this.at
    if (left >= HEADER_BYTES) {
      const body = checkHeader(this.view, this.at, this.maxBodyBytes)
      if (typeof body !== 'number') return this.refuse(body)
      if (left >= HEADER_BYTES + body) {
        const from = this.at
        this.at += HEADER_BYTES + body
        return this.read(this.piece, this.view, from, body)
      }
    }
    return left > 0 ? this.torn() : null
  }

  private torn(): Frame | null {
    if (this.held === 0) this.need = HEADER_BYTES
    for (;;) {
      const n = Math.min(this.need - this.held, this.piece.length - this.at)
      this.hold.set(this.piece.subarray(this.at, this.at + n), this.held)
      this.held += n
      this.at += n
      if (this.held < this.need) return null
      const view = new DataView(this.hold.buffer)
      const body = checkHeader(view, 0, this.maxBodyBytes)
      if (typeof body !== 'number') return this.refuse(body)
      if (this.held === HEADER_BYTES + body) {
        const whole = this.hold
        this.held = 0
        if (whole.length > KEEP_BYTES) this.hold = new Uint8Array(FIRST_BYTES)
        return this.read(whole, view, 0, body)
      }
      this.need = HEADER_BYTES + body
      if (this.hold.length < this.need) {
        const larger = new Uint8Array(this.need)
        larger.set(this.hold.subarray(0, this.held))
        this.hold = larger
      }
    }
  }

  private read(bytes: Uint8Array, view: DataView, from: number, body: number): Frame {
    readHeader(view, from, this.frame)
    this.frame.body = bytes.subarray(from + HEADER_BYTES, from + HEADER_BYTES + body)
    return this.frame
  }

  private refuse(fault: FrameFault): null {
    this.fault = fault
    this.piece = new Uint8Array(0)
    this.at = 0
    return null
  }
}
