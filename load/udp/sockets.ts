// What a generator sends and receives through: many sources, batches, fixed buffers. Two ways to be had:
// mmsg.ts (Linux, one system call a batch) and dgram.ts (anywhere). Refuses: to know what the bytes mean.

export type SocketOptions = {
  /** Numeric address and port of the tracker. */
  readonly target: { readonly address: string; readonly port: number; readonly family: 4 | 6 }
  /** Address each socket binds to; one socket per entry. */
  readonly sources: readonly string[]
  /** Longest answer that is kept whole. */
  readonly answerBytes: number
}

export type LoadSockets = {
  readonly engine: 'mmsg' | 'dgram'
  readonly count: number
  /** Requests of one size, back to back; `segmentsMost` at a time. */
  readonly segments: Uint8Array
  readonly segmentsMost: number
  /** Sends the first `count` segments of `size` bytes from socket k; returns how many left. */
  sendSegments(k: number, count: number, size: number): number
  /** Requests of any size, `slotBytes` apart; `slotsMost` at a time. */
  readonly slots: Uint8Array
  readonly slotBytes: number
  readonly slotsMost: number
  sendSlots(k: number, count: number, lengths: Int32Array): number
  /**
   * Takes what has come for socket k: datagram i lies at i x `inStride`, cut to it; its whole length in
   * inLengths[i].
   */
  receive(k: number): number
  readonly inBytes: Uint8Array
  readonly inStride: number
  readonly inLengths: Int32Array
  /** Sends that the system refused. */
  refused(): number
  /** Waits at most so long for something to come; a busy generator need not call it. */
  wait(milliseconds: number): void
  close(): void
}

export const SEGMENTS_MOST = 60
export const SEGMENT_BYTES = 98
export const SLOTS_MOST = 128
export const SLOT_BYTES = 320
export const RECEIVE_MOST = 64
