// What a UDP worker counts, by name, in shared memory: the worker writes, the main thread reads for /metrics.
// Refuses: labels, histograms, counts of the swarm table (those are in the store).

/** Every counter, in the order it lies in the buffer. All only grow, except `parkedNow` and `waitingNow`. */
export const UDP_COUNTERS = [
  /** Datagrams that arrived. */
  'received',
  /** Datagrams handed to the kernel. */
  'answered',
  'connects',
  'announces',
  'scrapes',
  /** Error answers. */
  'errors',
  /** Under 16 bytes: silence. */
  'tooShort',
  /** A connect without BEP 15's protocol_id: silence. */
  'badMagic',
  /** A connection ID that is not ours, not this address's, or too old: silence. */
  'badConnectionId',
  /** Proven requests that are cut short: error answer. */
  'malformed',
  /** Proven requests with an action that BEP 15 does not know: error answer. */
  'badAction',
  /** Announces of an info_hash that the access lists forbid: error answer. */
  'denied',
  /**
   * Announces from an address that may not be a peer: no peer can have it, or it is private while the cluster
   * refuses those. Error answer.
   */
  'refusedAddress',
  /**
   * Announces from addresses that no peer on the Internet has: private, loopback, link-local, not to be
   * routed.
   */
  'privateAnnounces',
  /** Refreshes handed to the replica thread. */
  'touches',
  /** Refreshes it could not take: the peer lives on by its next announce. */
  'touchesDropped',
  /** Announces that wait for their change to be committed, since start. */
  'parked',
  /** Of those: answered. */
  'committed',
  /** Of those: refused, error answer. */
  'refused',
  /** Of those: outcome unknown, silence. */
  'unknown',
  /** Of those: outcome came after `parkForMs`, silence. */
  'late',
  /** Announces dropped because as many are parked as may be. */
  'parkedFull',
  /** Requests that wait for a leader, since start. */
  'waited',
  /** Requests dropped because as many wait for a leader as may. */
  'waitingFull',
  /** Requests dropped because no leader came within `parkForMs`. */
  'waitingLate',
  /** Answers dropped because the lease ran out between decision and sending. */
  'leaseLost',
  /** Announces whose swarm was rewritten at every look; they go the way of a change. */
  'busySwarms',
  /** Datagrams the kernel would not send, by an error of that one datagram. */
  'sendErrors',
  /** Answers dropped because the socket's send buffer was full. */
  'sendDropped',
  /** Datagrams the kernel dropped because the receive buffer was full (or, without native sockets, ours). */
  'socketDrops',
  /** System calls that received something. */
  'batches',
  /** Times the worker slept. */
  'sleeps',
  /** Announces parked at this moment. */
  'parkedNow',
  /** Requests that wait for a leader at this moment. */
  'waitingNow',
] as const
export type UdpCounter = (typeof UDP_COUNTERS)[number]

const INDEX = Object.fromEntries(UDP_COUNTERS.map((name, i) => [name, i])) as Record<UdpCounter, number>

export const RECEIVED = INDEX.received
export const ANSWERED = INDEX.answered
export const CONNECTS = INDEX.connects
export const ANNOUNCES = INDEX.announces
export const SCRAPES = INDEX.scrapes
export const ERRORS = INDEX.errors
export const TOO_SHORT = INDEX.tooShort
export const BAD_MAGIC = INDEX.badMagic
export const BAD_CONNECTION_ID = INDEX.badConnectionId
export const MALFORMED = INDEX.malformed
export const BAD_ACTION = INDEX.badAction
export const DENIALS = INDEX.denied
export const REFUSED_ADDRESS = INDEX.refusedAddress
export const PRIVATE_ANNOUNCES = INDEX.privateAnnounces
export const TOUCHES = INDEX.touches
export const TOUCHES_DROPPED = INDEX.touchesDropped
export const PARKED = INDEX.parked
export const COMMITTED = INDEX.committed
export const REFUSALS = INDEX.refused
export const UNKNOWNS = INDEX.unknown
export const LATE = INDEX.late
export const PARKED_FULL = INDEX.parkedFull
export const WAITED = INDEX.waited
export const WAITING_FULL = INDEX.waitingFull
export const WAITING_LATE = INDEX.waitingLate
export const LEASE_LOST = INDEX.leaseLost
export const BUSY_SWARMS = INDEX.busySwarms
export const SEND_ERRORS = INDEX.sendErrors
export const SEND_DROPPED = INDEX.sendDropped
export const SOCKET_DROPS = INDEX.socketDrops
export const BATCHES = INDEX.batches
export const SLEEPS = INDEX.sleeps
export const PARKED_NOW = INDEX.parkedNow
export const WAITING_NOW = INDEX.waitingNow

/** One float64 a counter: exact to 2^53, written by one thread, aligned, so never seen half-written. */
export type Counts = Float64Array<SharedArrayBuffer>

export const counterBuffer = (): SharedArrayBuffer => new SharedArrayBuffer(UDP_COUNTERS.length * 8)
export const countsOf = (buffer: SharedArrayBuffer): Counts => new Float64Array(buffer)

/** The sum over all workers, by name. */
export function sumCounters(all: readonly Counts[]): Record<UdpCounter, number> {
  const sums = {} as Record<UdpCounter, number>
  UDP_COUNTERS.forEach((name, i) => {
    sums[name] = all.reduce((sum, counts) => sum + counts[i]!, 0)
  })
  return sums
}
