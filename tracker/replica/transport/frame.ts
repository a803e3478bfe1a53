// Frames between replicas: 64 bytes of header, then a body. Here are the layout, the encoder and the rules;
// the decoder is in frame-decoder.ts, the bodies of each kind in frame-body.ts. Refuses: to know sockets,
// clocks and Raft. Whether a frame is for us is the connection's question.
//
// Header, little-endian, offsets in bytes:
//   0  u32  bytes of the body
//   4  u8   kind
//   5  u8   behaviour level that the sender supports
//   6  u8   flags: 1 the sender leads (lease age and commit count), 2 not ready (its disk takes nothing: the error vote),
//           4 an echo is there
//   7  u8   format, 1
//   8  u64  first 64 bits of the cluster ID, as written; 0: no cluster yet
//   16 u64  member ID of the sender (52 bits)
//   24 u64  member ID of the addressee
//   32 u32  group
//   36 u32  age of the leader's lease when this was written, microseconds, rounded up; 2^32 - 1: no lease
//   40 u48  term of the sender
//   46 u48  the leader's commit index
//   52 u48  time of the sender's own clock, microseconds: means nothing to anybody else, who only echoes it
//   58 u48  the newest such time that the sender has stepped from the addressee in this term

export const HEADER_BYTES = 64
/** Longest frame, header included. */
export const MAX_FRAME_BYTES = 16 * 1024 * 1024
export const FORMAT = 1

/** raftpb.Message as the core wrote it. */
export const RAFT = 1
/** A numbered batch on its way to the leader of the header's term. */
export const BATCH = 2
/** What the leader of the header's term did with a batch. */
export const NOTICE = 3
/** Time, lease and commit between heartbeats; now and then a body in which a member tells of itself. */
export const KEEPALIVE = 4
export const STREAM_BEGIN = 5
export const STREAM_CHUNK = 6
export const STREAM_END = 7
/** Receiver of a stream: from where to go on, refused, or all there. */
export const STREAM_ACK = 8
/** First frame of a connection, and its answers. */
export const HELLO = 9
export const WELCOME = 10
export const REFUSED = 11
/** Is the other side alive? Each PING is answered on its own connection. */
export const PING = 12
export const PONG = 13
/** One question of somebody who is no member, and its answer. */
export const QUESTION = 14
export const ANSWER = 15
const LAST_KIND = ANSWER

const LEADS = 1
const NOT_READY = 2
const ECHO = 4
const ALL_FLAGS = LEADS | NOT_READY | ECHO
const NO_LEASE = 2 ** 32 - 1
const TWO_32 = 2 ** 32
const TWO_48 = 2 ** 48

/** What a member says of itself in every frame, as of the moment it is written. */
export type Stamp = {
  term: number
  leads: boolean
  /** Its disk takes nothing: a majority of these makes the leader refuse changes. */
  notReady: boolean
  /**
   * How long ago the leader's lease was last confirmed, milliseconds; Infinity: it has none. Only if it
   * leads.
   */
  leaseAgeMs: number
  /** True commit index. Only if it leads. */
  commit: number
  /** `sentUs` of the newest frame stepped from the addressee in this term, as it came; -1: none. */
  echoUs: number
}

/** A decoded frame. Reused: everything is valid only until the next one is read. */
export type Frame = Stamp & {
  kind: number
  level: number
  /** 64 bits of the cluster ID in two halves. */
  clusterHigh: number
  clusterLow: number
  from: number
  to: number
  group: number
  /** Opaque time of the sender. */
  sentUs: number
  /** The echo in milliseconds of our own clock (-Infinity: none); filled in by the transport. */
  echoMs: number
  body: Uint8Array
}

export const newStamp = (): Stamp => ({
  term: 0,
  leads: false,
  notReady: false,
  leaseAgeMs: Number.POSITIVE_INFINITY,
  commit: 0,
  echoUs: -1,
})

export const newFrame = (): Frame => ({
  ...newStamp(),
  kind: 0,
  level: 0,
  clusterHigh: 0,
  clusterLow: 0,
  from: 0,
  to: 0,
  group: 0,
  sentUs: 0,
  echoMs: Number.NEGATIVE_INFINITY,
  body: new Uint8Array(0),
})

/** What a header says besides the stamp. */
export type Head = Pick<
  Frame,
  'kind' | 'level' | 'clusterHigh' | 'clusterLow' | 'from' | 'to' | 'group' | 'sentUs'
>

/** Both halves of the 64 bits of a cluster ID (32 hexadecimal digits) that travel; zeros for none. */
export const clusterDigest = (clusterId: string): { high: number; low: number } => {
  if (clusterId === '') return { high: 0, low: 0 }
  if (!/^[0-9a-f]{32}$/.test(clusterId)) throw new RangeError(`"${clusterId}" is no cluster ID`)
  return {
    high: Number.parseInt(clusterId.slice(0, 8), 16),
    low: Number.parseInt(clusterId.slice(8, 16), 16),
  }
}

/** Writes a header at `at`. Throws RangeError for what has no place in it: that is a bug of the caller. */
export const writeHeader = (
  view: DataView,
  at: number,
  head: Head,
  stamp: Stamp,
  bodyBytes: number,
): void => {
  if (bodyBytes > MAX_FRAME_BYTES - HEADER_BYTES)
    throw new RangeError(`a frame of ${bodyBytes + HEADER_BYTES} bytes; ${MAX_FRAME_BYTES} is the most`)
  const echo = stamp.echoUs >= 0
  const leaseUs = Math.ceil(stamp.leaseAgeMs * 1000)
  view.setUint32(at, bodyBytes, true)
  view.setUint8(at + 4, head.kind)
  view.setUint8(at + 5, head.level)
  view.setUint8(at + 6, (stamp.leads ? LEADS : 0) | (stamp.notReady ? NOT_READY : 0) | (echo ? ECHO : 0))
  view.setUint8(at + 7, FORMAT)
  view.setUint32(at + 8, head.clusterHigh, false)
  view.setUint32(at + 12, head.clusterLow, false)
  putId(view, at + 16, head.from)
  putId(view, at + 24, head.to)
  view.setUint32(at + 32, head.group, true)
  view.setUint32(at + 36, leaseUs >= 0 && leaseUs < NO_LEASE ? leaseUs : NO_LEASE, true)
  put48(view, at + 40, stamp.term)
  put48(view, at + 46, stamp.commit)
  put48(view, at + 52, head.sentUs)
  put48(view, at + 58, echo ? stamp.echoUs : 0)
}

/**
 * Why a header cannot be one of ours. The connection is of no use afterwards: nobody knows where the next one
 * begins.
 */
export type FrameFault = 'not a frame' | 'unknown kind' | 'unknown flags' | 'too long' | 'bad member'

/** Bytes of the body of the header at `at`, or why it is none. */
export const checkHeader = (view: DataView, at: number, maxBodyBytes: number): number | FrameFault => {
  if (view.getUint8(at + 7) !== FORMAT) return 'not a frame'
  const kind = view.getUint8(at + 4)
  if (kind === 0 || kind > LAST_KIND) return 'unknown kind'
  if ((view.getUint8(at + 6) & ~ALL_FLAGS) !== 0) return 'unknown flags'
  if (view.getUint32(at + 20, true) >= 2 ** 20 || view.getUint32(at + 28, true) >= 2 ** 20)
    return 'bad member'
  const bytes = view.getUint32(at, true)
  return bytes > maxBodyBytes ? 'too long' : bytes
}

/** Reads a header that `checkHeader` has passed. */
export const readHeader = (view: DataView, at: number, out: Frame): void => {
  const flags = view.getUint8(at + 6)
  const lease = view.getUint32(at + 36, true)
  out.kind = view.getUint8(at + 4)
  out.level = view.getUint8(at + 5)
  out.leads = (flags & LEADS) !== 0
  out.notReady = (flags & NOT_READY) !== 0
  out.clusterHigh = view.getUint32(at + 8, false)
  out.clusterLow = view.getUint32(at + 12, false)
  out.from = getId(view, at + 16)
  out.to = getId(view, at + 24)
  out.group = view.getUint32(at + 32, true)
  out.leaseAgeMs = lease === NO_LEASE ? Number.POSITIVE_INFINITY : lease / 1000
  out.term = get48(view, at + 40)
  out.commit = get48(view, at + 46)
  out.sentUs = get48(view, at + 52)
  out.echoUs = (flags & ECHO) !== 0 ? get48(view, at + 58) : -1
  out.echoMs = Number.NEGATIVE_INFINITY
}

const putId = (view: DataView, at: number, id: number): void => {
  if (!(id >= 0 && id < 2 ** 52)) throw new RangeError(`${id} is no member ID`)
  view.setUint32(at, id >>> 0, true)
  view.setUint32(at + 4, Math.floor(id / TWO_32), true)
}

const getId = (view: DataView, at: number): number =>
  view.getUint32(at, true) + view.getUint32(at + 4, true) * TWO_32

/** 48 bits: 2^48 microseconds are 8.9 years, and no log has 2^48 entries. */
export const put48 = (view: DataView, at: number, n: number): void => {
  if (!(n >= 0 && n < TWO_48)) throw new RangeError(`${n} does not fit 48 bits`)
  view.setUint32(at, n >>> 0, true)
  view.setUint16(at + 4, Math.floor(n / TWO_32), true)
}

export const get48 = (view: DataView, at: number): number =>
  view.getUint32(at, true) + view.getUint16(at + 4, true) * TWO_32
