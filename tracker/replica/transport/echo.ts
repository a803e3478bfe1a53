// The times that frames carry: which of another member's times we echo, and which of ours came back
// (docs/architecture.md, "Lease"). Pure. Refuses: to count what proves nothing. A follower echoes its
// leader's time only for frames that restarted its election timer, because the leader's lease rests on that
// timer; a vote restarts it too, but whoever has only voted may vote again.

import { MSG_APP, MSG_HEARTBEAT } from '@skep/raft/message.ts'
import { type Frame, RAFT } from './frame.ts'

/** raftpb.MessageType of an encoded message; -1: it is none. The core writes the type first. */
export const raftType = (message: Uint8Array): number =>
  message.length >= 2 && message[0] === 0x08 && message[1]! < 0x80 ? message[1]! : -1

export class Echoes {
  private current = 0
  /** By member: its newest `sentUs` that counts. */
  private readonly heard = new Map<number, number>()
  /** By member: the newest of our own times that it has echoed in this term, milliseconds of our clock. */
  readonly echoed = new Map<number, number>()

  get term(): number {
    return this.current
  }

  /** The core is in `term` now: what was said in another one counts no more. */
  enter(term: number): void {
    if (term === this.current) return
    this.current = term
    this.heard.clear()
    this.echoed.clear()
  }

  /**
   * A frame was stepped (a Raft message: given to the core first, then `enter`, then this). `leads`: we lead
   * now. A leader takes any frame of its term as a sign of life; a follower only what a leader alone can
   * send.
   */
  stepped(frame: Frame, leads: boolean): void {
    if (frame.term !== this.current) return
    if (frame.echoMs > (this.echoed.get(frame.from) ?? Number.NEGATIVE_INFINITY))
      this.echoed.set(frame.from, frame.echoMs)
    if (!leads && !restartsElectionTimer(frame)) return
    if (frame.sentUs > (this.heard.get(frame.from) ?? -1)) this.heard.set(frame.from, frame.sentUs)
  }

  /** For the stamp of a frame to `member`: its time to echo, or -1. */
  echoFor(member: number): number {
    return this.heard.get(member) ?? -1
  }

  /** The member has started anew (its first connection since): its old times mean nothing to it. */
  forget(member: number): void {
    this.heard.delete(member)
    this.echoed.delete(member)
  }
}

const restartsElectionTimer = (frame: Frame): boolean => {
  if (frame.kind !== RAFT || !frame.leads) return false
  const type = raftType(frame.body)
  // The header's term is the sender's when it wrote the frame; the core looks at the message's own.
  return (type === MSG_APP || type === MSG_HEARTBEAT) && raftTerm(frame.body) === frame.term
}

/** Field 4 of raftpb.Message. The core writes fields in order: type, to, from, term; all of them numbers. */
const raftTerm = (message: Uint8Array): number => {
  let at = 0
  for (let field = 1; field <= 4; field++) {
    if (message[at++] !== field * 8) return -1
    let n = 0
    for (let unit = 1; ; unit *= 128) {
      const byte = message[at++]
      if (byte === undefined) return -1
      n += (byte & 0x7f) * unit
      if (byte < 0x80) break
    }
    if (field === 4) return n
  }
  return -1
}

/** Room of the clock on the wire, microseconds: 2^48 less what a process may run (4.4 years). */
const BASE_RANGE_US = 2 ** 47

/**
 * Our clock as it travels. It starts at a random point in each process, so that an echo of a time from before
 * a restart (even of the machine, whose clock then starts again) is known as none of ours.
 */
export class WireClock {
  private readonly startMs: number
  private readonly baseUs: number

  /** `random`: 0 up to 1. */
  constructor(nowMs: number, random: number) {
    this.startMs = nowMs
    this.baseUs = Math.floor(random * BASE_RANGE_US)
  }

  /** Rounded down: a lease counted from it is shorter, never longer. */
  toWire(nowMs: number): number {
    return this.baseUs + Math.floor((nowMs - this.startMs) * 1000)
  }

  /** An echo as milliseconds of our clock; -Infinity when it is not a time of this process. */
  fromWire(us: number, nowMs: number): number {
    if (us < this.baseUs || us > this.toWire(nowMs)) return Number.NEGATIVE_INFINITY
    return this.startMs + (us - this.baseUs) / 1000
  }
}
