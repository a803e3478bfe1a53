// Where datagrams lie in memory, the same for every kind of socket: fixed slots, one Inbox of received
// datagrams and one Outbox of answers a socket. The layouts are the kernel's (mmsg.ts points it at these very
// buffers), so that nothing is copied between a system call and the code that decides. Refuses: to know what
// the bytes mean; anything but little-endian machines.
//
// Address slot (8 words), a sockaddr as the kernel writes it, raw network bytes:
//   IPv4: word 0 family (low half), port (high half)   1 address
//   IPv6: word 0 family, port   1 flow   2-5 address   6 scope
// Control slot (8 | 10 words), one control message with the address that was asked (ip(7) IP_PKTINFO, ipv6(7)
// IPV6_PKTINFO), so that the answer leaves from there: words 0-3 its head, then
//   IPv4: word 4 interface   5 our address   6 the packet's destination
//   IPv6: words 4-7 our address   8 interface
// A length of received datagram i is at i * 16 + 14 of `lengths`, of an answer at o * 4 + 2: inside the
// structures that recvmmsg(2) and sendmmsg(2) take.

/** AF_INET, AF_INET6 on Linux. */
export const AF_INET = 2
export const AF_INET6 = 10

export const ADDRESS_WORDS = 8
const CONTROL4_WORDS = 8
const CONTROL6_WORDS = 10

/** Bytes of a receive slot: the largest request is a scrape of 74 info_hashes, 1,496 bytes. */
export const RECEIVE_BYTES = 1500

/** Words of an endpoint as `saveEndpoint` keeps it: address slot, our address, interface. */
export const ENDPOINT_WORDS = 12

/**
 * Bytes from slot to slot: an odd number of cache lines, so that slots do not fall on the same cache sets.
 */
function slotStride(bytes: number): number {
  const lines = Math.ceil(bytes / 64)
  return 64 * (lines | 1)
}

/**
 * Bytes that start on a cache line and never move (an ArrayBuffer of this size is never inside the JS heap).
 */
function alignedBytes(bytes: number, align: (buffer: ArrayBuffer) => number = () => 0): Uint8Array {
  const buffer = new ArrayBuffer(bytes + 4096)
  return new Uint8Array(buffer, align(buffer), bytes)
}

const words = (bytes: Uint8Array): Int32Array =>
  new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2)
const halves = (bytes: Uint8Array): Uint16Array =>
  new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 1)

/** Received datagrams of one socket. */
export class Inbox {
  readonly family: 4 | 6
  readonly slots: number
  readonly strideWords: number
  readonly bytes: Uint8Array
  readonly words: Int32Array
  readonly halves: Uint16Array
  /** Address slots: who asked. */
  readonly from: Int32Array
  /** Control slots: which address was asked; 0 where nothing is known. */
  readonly control: Int32Array
  readonly controlWords: number
  /** Length of datagram i at i * 16 + 14. */
  readonly lengths: Int32Array

  constructor(family: 4 | 6, slots: number, align?: (buffer: ArrayBuffer) => number) {
    this.family = family
    this.slots = slots
    const stride = slotStride(RECEIVE_BYTES)
    this.strideWords = stride >> 2
    this.bytes = alignedBytes(slots * stride, align)
    this.words = words(this.bytes)
    this.halves = halves(this.bytes)
    this.from = words(alignedBytes(slots * ADDRESS_WORDS * 4, align))
    this.controlWords = family === 4 ? CONTROL4_WORDS : CONTROL6_WORDS
    this.control = words(alignedBytes(slots * this.controlWords * 4, align))
    this.lengths = words(alignedBytes(slots * 64, align))
  }
}

/** Answers of one socket, waiting to be sent together. */
export class Outbox {
  readonly family: 4 | 6
  readonly slots: number
  readonly strideWords: number
  readonly bytes: Uint8Array
  readonly words: Int32Array
  readonly halves: Uint16Array
  /** Address slots: whom to answer. */
  readonly to: Int32Array
  /** Control slots: which address to answer from. */
  readonly control: Int32Array
  readonly controlWords: number
  /** Length of answer o at o * 4 + 2. */
  readonly lengths: Int32Array
  /** Answers in it. */
  count = 0

  constructor(family: 4 | 6, slots: number, answerBytes: number, align?: (buffer: ArrayBuffer) => number) {
    this.family = family
    this.slots = slots
    const stride = slotStride(answerBytes)
    this.strideWords = stride >> 2
    this.bytes = alignedBytes(slots * stride, align)
    this.words = words(this.bytes)
    this.halves = halves(this.bytes)
    this.to = words(alignedBytes(slots * ADDRESS_WORDS * 4, align))
    this.controlWords = family === 4 ? CONTROL4_WORDS : CONTROL6_WORDS
    this.control = words(alignedBytes(slots * this.controlWords * 4, align))
    this.lengths = words(alignedBytes(slots * 16, align))
  }

  /** The answer in the next slot, `length` bytes, goes back to where datagram i came from. */
  reply(inbox: Inbox, i: number, length: number): void {
    const o = this.count++
    const to = this.to
    const from = inbox.from
    let t = o * ADDRESS_WORDS
    let f = i * ADDRESS_WORDS
    this.lengths[o * 4 + 2] = length
    to[t] = from[f]!
    to[t + 1] = from[f + 1]!
    if (this.family === 4) {
      this.control[o * CONTROL4_WORDS + 5] = inbox.control[i * CONTROL4_WORDS + 5]!
      return
    }
    to[t + 2] = from[f + 2]!
    to[t + 3] = from[f + 3]!
    to[t + 4] = from[f + 4]!
    to[t + 5] = from[f + 5]!
    to[t + 6] = from[f + 6]!
    t = o * CONTROL6_WORDS + 4
    f = i * CONTROL6_WORDS + 4
    this.answerFrom6(t, inbox.control, f, inbox.control[f + 4]!)
  }

  /**
   * Our side of an IPv6 answer: the address asked; the interface only where the address means nothing
   * without.
   */
  private answerFrom6(t: number, source: Int32Array, f: number, from: number): void {
    const control = this.control
    const first = source[f]!
    if ((first & 0xff) === 0xff) {
      // Asked by multicast: nobody answers from there, the kernel chooses.
      control[t] = control[t + 1] = control[t + 2] = control[t + 3] = 0
    } else {
      control[t] = first
      control[t + 1] = source[f + 1]!
      control[t + 2] = source[f + 2]!
      control[t + 3] = source[f + 3]!
    }
    // fe80::/10; naming the interface of any other would force answers out where the question came in.
    control[t + 4] = (first & 0xc0ff) === 0x80fe ? from : 0
  }

  /** As `reply`, to an endpoint that `saveEndpoint` kept. */
  replyTo(endpoints: Int32Array, at: number, length: number): void {
    const o = this.count++
    this.lengths[o * 4 + 2] = length
    const t = o * ADDRESS_WORDS
    const n = this.family === 4 ? 2 : 7
    for (let j = 0; j < n; j++) this.to[t + j] = endpoints[at + j]!
    if (this.family === 4) this.control[o * CONTROL4_WORDS + 5] = endpoints[at + 7]!
    else this.answerFrom6(o * CONTROL6_WORDS + 4, endpoints, at + 7, endpoints[at + 11]!)
  }
}

/** Keeps where datagram i came from, and which address it asked, in ENDPOINT_WORDS words at endpoints[at]. */
export function saveEndpoint(inbox: Inbox, i: number, endpoints: Int32Array, at: number): void {
  const f = i * ADDRESS_WORDS
  if (inbox.family === 4) {
    endpoints[at] = inbox.from[f]!
    endpoints[at + 1] = inbox.from[f + 1]!
    endpoints[at + 7] = inbox.control[i * CONTROL4_WORDS + 5]!
    return
  }
  for (let j = 0; j < 7; j++) endpoints[at + j] = inbox.from[f + j]!
  const c = i * CONTROL6_WORDS + 4
  for (let j = 0; j < 5; j++) endpoints[at + 7 + j] = inbox.control[c + j]!
}

/** Copies datagram i of one inbox to slot j of another of the same family. */
export function copyDatagram(source: Inbox, i: number, target: Inbox, j: number): void {
  const length = source.lengths[i * 16 + 14]!
  const from = i * source.strideWords * 4
  target.bytes.set(source.bytes.subarray(from, from + length), j * target.strideWords * 4)
  target.lengths[j * 16 + 14] = length
  const n = source.controlWords
  target.from.set(source.from.subarray(i * ADDRESS_WORDS, (i + 1) * ADDRESS_WORDS), j * ADDRESS_WORDS)
  target.control.set(source.control.subarray(i * n, (i + 1) * n), j * n)
}
