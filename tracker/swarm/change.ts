// A change as a fixed record of 32-bit words: what a front end asks for, what the ring carries, and
// (compacted) what the log keeps. Addresses, ports, hashes and IDs are raw: the network's bytes as they lie
// in memory. Refuses: to judge a change; that is announce.ts before the log and apply.ts after it.
//
// Record in the ring (RECORD_WORDS = 24, threads/ring.ts):
//   word 0      kind (bits 0-2), flags (bits 3-7), port (bits 16-31); STARTED is not logged
//   word 1-4    address: IPv4 in word 1, IPv6 in words 1-4
//   word 5-9    info_hash
//   word 10     tag: 32-bit hash of (peer_id, key), 0 without key
//   word 11-15  peer_id     | only with DETAILS
//   word 16     key         |
//   word 17-18  downloaded  | each 64 bits, big-endian as it came
//   word 19-20  left        |
//   word 21-22  uploaded    |
//   word 23     free

/** The peer is here with this state: a join, a completion, a move, a new identity, or a refresh in full. */
export const PUT = 1
/** The peer says goodbye (event `stopped`). */
export const LEAVE = 2

export const KIND_MASK = 7
/** Bit flags of word 0. */
export const SEEDER = 8
/** Event `completed` (BEP 3). */
export const COMPLETED = 16
export const IPV6 = 32
/** Words 11-22 are there. */
export const DETAILS = 64
/** Event `started`. Only front ends look at it (`bearsEvent`). */
export const STARTED = 128

export const WORD_ADDRESS = 1
export const WORD_HASH = 5
export const WORD_TAG = 10
export const WORD_DETAILS = 11
export const DETAIL_WORDS = 12

/**
 * Does the announce say that something has happened? Then it is a change, whatever the table here says: that
 * may be behind what this client was told elsewhere a moment ago.
 */
export const bearsEvent = (word0: number): boolean =>
  (word0 & (COMPLETED | STARTED)) !== 0 || (word0 & KIND_MASK) === LEAVE

/** Words a record takes in the log: [word 0, address 1 or 4, info_hash 5, tag 1, details 0 or 12]. */
export const loggedWords = (word0: number): number =>
  7 + ((word0 & IPV6) !== 0 ? 4 : 1) + ((word0 & DETAILS) !== 0 ? DETAIL_WORDS : 0)

/** Copies a ring record to its logged form; returns the words written. */
export function compact(from: Int32Array, at: number, to: Int32Array, out: number): number {
  const word0 = from[at]!
  let o = out
  to[o++] = word0 & ~STARTED
  to[o++] = from[at + 1]!
  if ((word0 & IPV6) !== 0) {
    to[o++] = from[at + 2]!
    to[o++] = from[at + 3]!
    to[o++] = from[at + 4]!
  }
  for (let i = WORD_HASH; i <= WORD_TAG; i++) to[o++] = from[at + i]!
  if ((word0 & DETAILS) !== 0) for (let i = 0; i < DETAIL_WORDS; i++) to[o++] = from[at + WORD_DETAILS + i]!
  return o - out
}

/**
 * The 32-bit tag of a peer's identity: a mix of peer_id (five words) and key; 0 when the key is 0, never 0
 * otherwise. Two addresses with one tag are one client seen twice (IPv4 and IPv6), or one that has moved
 * (same family and port).
 */
export function peerTag(p0: number, p1: number, p2: number, p3: number, p4: number, key: number): number {
  if (key === 0) return 0
  let h = Math.imul(key ^ 0x9e3779b1, 0x85ebca6b)
  h = Math.imul((h ^ (h >>> 15)) + p0, 0xc2b2ae35)
  h = Math.imul((h ^ (h >>> 13)) + p1, 0x27d4eb2f)
  h = Math.imul((h ^ (h >>> 15)) + p2, 0x165667b1)
  h = Math.imul((h ^ (h >>> 13)) + p3, 0x9e3779b1)
  h = Math.imul((h ^ (h >>> 15)) + p4, 0x85ebca6b)
  h ^= h >>> 16
  return h === 0 ? 1 : h | 0
}
