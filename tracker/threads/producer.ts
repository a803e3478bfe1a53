// The buffers between one front end (a UDP worker, the main thread) and the replica thread.
// Refuses: to know who is at either end.

import { changeRingBuffer, ringBuffer } from './ring.ts'

export type ProducerBuffers = {
  /** `ChangeRing`: changes to commit. */
  readonly changes: SharedArrayBuffer
  /** `WordRing`: touches, one word a refreshed peer. */
  readonly touches: SharedArrayBuffer
  /** `OutcomeRing`: what became of the changes. */
  readonly outcomes: SharedArrayBuffer
  /**
   * Linux eventfd that wakes a front end that sleeps in poll(2), written with 8 bytes; -1: it sleeps in
   * Atomics.waitAsync.
   */
  readonly eventFd: number
}

/**
 * `parked`: changes that may wait at once, a power of two; `touches`: refreshes that may wait, a power of
 * two.
 */
export const producerBuffers = (parked: number, touches: number, eventFd = -1): ProducerBuffers => ({
  changes: resident(changeRingBuffer(parked)),
  touches: resident(ringBuffer(touches)),
  outcomes: resident(ringBuffer(Math.max(4096, parked * 4))),
  eventFd,
})

/** Rings are gone through from end to end: all of each is used soon, so it is taken now and seen at once. */
const resident = (buffer: SharedArrayBuffer): SharedArrayBuffer => {
  new Uint8Array(buffer).fill(0)
  return buffer
}
