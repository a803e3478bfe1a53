// Snapshots between simulated members: production's two ends of a stream, over messages that arrive in order
// or break with their connection; what comes while a chunk is being worked off waits, as it would in a
// socket. Refuses: to look into what it carries.

import {
  type Frame,
  MAX_FRAME_BYTES,
  STREAM_ACK,
  STREAM_BEGIN,
  STREAM_CHUNK,
  STREAM_END,
} from '../replica/transport/frame.ts'
import type { Refusal } from '../replica/transport/frame-body.ts'
import { FrameDecoder } from '../replica/transport/frame-decoder.ts'
import type { Pen } from '../replica/transport/pen.ts'
import { IncomingStreams, OutgoingStreams, type StreamWire } from '../replica/transport/stream.ts'
import type { StreamBegin, StreamOut, StreamSink } from '../replica/transport/transport.ts'

/** What comes in from one member over one connection. */
type Incoming = {
  readonly streams: IncomingStreams
  readonly decoder: FrameDecoder
  tail: Promise<void>
  over: boolean
}

export type StreamsOptions = {
  readonly pen: Pen
  /** The bulk connection to a member, by its ID; null: there is none. */
  readonly wire: (to: number) => StreamWire | null
  /** What a member sent over bulk cannot be answered. */
  readonly unanswered: (member: number) => void
  /** Somebody sends: where it goes, or why it is not wanted. */
  readonly begun: (begin: StreamBegin) => StreamSink | Refusal
}

export const isStream = (kind: number): boolean =>
  kind === STREAM_BEGIN || kind === STREAM_CHUNK || kind === STREAM_END || kind === STREAM_ACK

/** By member, told by its ID. */
export class Streams {
  private readonly o: StreamsOptions
  private readonly outgoing = new Map<number, OutgoingStreams>()
  private readonly incoming = new Map<number, Incoming>()

  constructor(options: StreamsOptions) {
    this.o = options
  }

  open(to: number, group: number, head: Uint8Array, totalBytes: number): StreamOut {
    let streams = this.outgoing.get(to)
    if (streams === undefined) {
      streams = new OutgoingStreams(this.o.pen, to, () => this.o.wire(to))
      this.outgoing.set(to, streams)
    }
    return streams.open(group, head, totalBytes)
  }

  /** A frame of a stream, or the answer to one; `bytes`: all of it. */
  receive(frame: Frame, bytes: Uint8Array): void {
    if (frame.kind === STREAM_ACK) this.outgoing.get(frame.from)?.answered(frame)
    else this.later(this.from(frame.from), bytes)
  }

  private from(member: number): Incoming {
    const { pen, wire, begun, unanswered } = this.o
    let incoming = this.incoming.get(member)
    if (incoming === undefined) {
      // They go back on the connection that brought the stream: where they cannot, it has broken.
      const answers = (): StreamWire => ({
        push: (...frame) => {
          const sent = wire(member)?.push(...frame) ?? false
          if (!sent) unanswered(member)
          return sent
        },
        flush: () => {},
        below: () => Promise.resolve(),
      })
      incoming = {
        streams: new IncomingStreams(pen, answers, member, begun),
        decoder: new FrameDecoder(MAX_FRAME_BYTES),
        tail: Promise.resolve(),
        over: false,
      }
      this.incoming.set(member, incoming)
    }
    return incoming
  }

  /** After what came before. */
  private later(incoming: Incoming, bytes: Uint8Array): void {
    incoming.tail = incoming.tail.then(() => {
      if (incoming.over) return
      incoming.decoder.push(bytes)
      const frame = incoming.decoder.next()
      if (frame === null) throw new Error('a frame of a stream that is none')
      return incoming.streams.take(frame)
    })
  }

  /** The connection with a member broke, in either direction. */
  broken(member: number): void {
    this.outgoing.get(member)?.broken('the connection broke')
    const incoming = this.incoming.get(member)
    if (incoming === undefined) return
    this.incoming.delete(member)
    incoming.over = true
    incoming.streams.broken('the connection broke')
  }
}
