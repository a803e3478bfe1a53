// Streams over the bulk connection: begin, chunks, end; and the answers, which come back on the same
// connection. One that breaks is opened again by its owner and goes on with the chunk the receiver asks for.
// Refuses: chunks out of order, and to read ahead of a receiver that is still at work.

import {
  type Frame,
  HEADER_BYTES,
  MAX_FRAME_BYTES,
  STREAM_ACK,
  STREAM_BEGIN,
  STREAM_CHUNK,
  STREAM_END,
} from './frame.ts'
import {
  decodeStreamAck,
  decodeStreamBegin,
  decodeStreamPart,
  encodeStreamAck,
  encodeStreamBegin,
  encodeStreamPart,
  MAX_STREAM_HEAD_BYTES,
  type Refusal,
  STREAM_ALL_THERE,
  STREAM_GO_ON,
  STREAM_REFUSED,
} from './frame-body.ts'
import type { Pen, PenWire } from './pen.ts'
import type { StreamBegin, StreamOut, StreamSink } from './transport.ts'
import { StreamFailed } from './transport.ts'
import type { Wire } from './wire.ts'

/** What it goes over: a connection. */
export type StreamWire = PenWire & Pick<Wire, 'below'>

/** Longest chunk, bytes. */
const MAX_CHUNK_BYTES = MAX_FRAME_BYTES - HEADER_BYTES - 8
/** A sender waits while this much of its chunks has not gone out. */
const ROOM_BYTES = 1024 * 1024
/** From one member at once. */
const MAX_STREAMS = 4

type Settled<T> = { promise: Promise<T>; resolve: (value: T) => void; reject: (error: Error) => void }
const settled = <T>(): Settled<T> => {
  const s = Promise.withResolvers<T>()
  // Whoever does not look at it has heard of the failure elsewhere.
  s.promise.catch(() => {})
  return s
}

type Sending = {
  readonly first: Settled<number>
  readonly done: Settled<void>
  failed: StreamFailed | null
}

/** The streams that go out to one member. `wire`: its bulk connection, null while there is none. */
export class OutgoingStreams {
  private readonly pen: Pen
  private readonly member: number
  private readonly wire: () => StreamWire | null
  private readonly sending = new Map<number, Sending>()
  private numbers = 0

  constructor(pen: Pen, member: number, wire: () => StreamWire | null) {
    this.pen = pen
    this.member = member
    this.wire = wire
  }

  open(group: number, head: Uint8Array, totalBytes: number): StreamOut {
    if (head.length > MAX_STREAM_HEAD_BYTES) throw new RangeError(`a stream head of ${head.length} bytes`)
    const stream = ++this.numbers
    const s: Sending = { first: settled(), done: settled(), failed: null }
    const wire = this.wire()
    this.sending.set(stream, s)
    const begin = encodeStreamBegin(stream, totalBytes)
    if (wire === null || !this.pen.plain(wire, STREAM_BEGIN, this.member, head, begin, group))
      this.fail(stream, new StreamFailed('no connection for bulk'))
    let number = -1
    const part = async (kind: number, body?: Uint8Array): Promise<void> => {
      if (number < 0) number = await s.first.promise
      if (s.failed !== null) throw s.failed
      const prefix = encodeStreamPart(stream, kind === STREAM_CHUNK ? number++ : number)
      if (wire === null || !this.pen.plain(wire, kind, this.member, body, prefix))
        throw this.fail(stream, new StreamFailed('the bulk connection takes nothing'))
    }
    return {
      first: s.first.promise,
      write: async (chunk) => {
        if (chunk.length > MAX_CHUNK_BYTES) throw new RangeError(`a chunk of ${chunk.length} bytes`)
        await part(STREAM_CHUNK, chunk)
        // What may wait at most is far above this: the next push finds room.
        await wire!.below(ROOM_BYTES).catch(() => {})
        if (s.failed !== null) throw s.failed
      },
      end: async () => {
        await part(STREAM_END)
        await s.done.promise
      },
      abort: () => {
        // The receiver hears of it by an end that comes too early.
        if (wire !== null && this.sending.has(stream))
          this.pen.plain(wire, STREAM_END, this.member, undefined, encodeStreamPart(stream, 2 ** 32 - 1))
        this.fail(stream, new StreamFailed('given up by the sender'))
      },
    }
  }

  /** A STREAM_ACK came. */
  answered(frame: Frame): void {
    const ack = decodeStreamAck(frame.body)
    const s = ack === null ? undefined : this.sending.get(ack.stream)
    if (ack === null || s === undefined) return
    if (ack.what === STREAM_GO_ON) s.first.resolve(ack.chunk)
    else if (ack.what === STREAM_ALL_THERE) {
      s.done.resolve()
      this.sending.delete(ack.stream)
    } else {
      this.fail(ack.stream, new StreamFailed(ack.sentence, true))
    }
  }

  broken(reason: string): void {
    for (const stream of [...this.sending.keys()]) this.fail(stream, new StreamFailed(reason))
  }

  private fail(stream: number, error: StreamFailed): StreamFailed {
    const s = this.sending.get(stream)
    if (s === undefined) return error
    s.failed = error
    s.first.reject(error)
    s.done.reject(error)
    this.sending.delete(stream)
    return error
  }
}

type Receiving = { readonly sink: StreamSink; next: number }

/** The streams that come in on one connection. */
export class IncomingStreams {
  private readonly pen: Pen
  private readonly wire: () => StreamWire
  private readonly member: number
  private readonly begun: (begin: StreamBegin) => StreamSink | Refusal
  private readonly receiving = new Map<number, Receiving>()

  constructor(
    pen: Pen,
    wire: () => StreamWire,
    member: number,
    begun: (begin: StreamBegin) => StreamSink | Refusal,
  ) {
    this.pen = pen
    this.wire = wire
    this.member = member
    this.begun = begun
  }

  /**
   * A frame of a stream. A promise: no further one before it resolves; rejects when the frame is malformed.
   */
  take(frame: Frame): Promise<void> | undefined {
    if (frame.kind === STREAM_BEGIN) {
      this.begin(frame)
      return
    }
    const part = decodeStreamPart(frame.body)
    if (part === null) throw new Error('a part of a stream is malformed')
    const r = this.receiving.get(part.stream)
    // It was refused; its sender has not heard of that yet.
    if (r === undefined) return
    if (frame.kind === STREAM_END) return this.end(part.stream, r, part.number)
    if (part.number !== r.next) {
      this.refuse(part.stream, r, `chunk ${part.number} instead of ${r.next}`)
      return
    }
    r.next++
    return r.sink.write(part.bytes).catch((e: unknown) => this.refuse(part.stream, r, sentenceOf(e)))
  }

  broken(reason: string): void {
    for (const r of this.receiving.values()) r.sink.broken(reason)
    this.receiving.clear()
  }

  private begin(frame: Frame): void {
    const begin = decodeStreamBegin(frame.body)
    if (begin === null) throw new Error('the beginning of a stream is malformed')
    const { stream, totalBytes } = begin
    const head = Uint8Array.from(begin.head)
    const sink: StreamSink | Refusal =
      this.receiving.size >= MAX_STREAMS
        ? { code: 'too many connections', sentence: `${MAX_STREAMS} streams at once are the most` }
        : this.begun({ group: frame.group, from: frame.from, head, totalBytes })
    if ('sentence' in sink) {
      this.answer(stream, STREAM_REFUSED, 0, sink.sentence)
      return
    }
    this.receiving.set(stream, { sink, next: sink.first })
    this.answer(stream, STREAM_GO_ON, sink.first)
  }

  private async end(stream: number, r: Receiving, chunks: number): Promise<void> {
    if (chunks !== r.next)
      return this.refuse(stream, r, `the stream ends after chunk ${r.next} of ${chunks}: given up`)
    try {
      await r.sink.end()
      this.receiving.delete(stream)
      this.answer(stream, STREAM_ALL_THERE, r.next)
    } catch (error) {
      this.receiving.delete(stream)
      this.answer(stream, STREAM_REFUSED, 0, sentenceOf(error))
    }
  }

  private refuse(stream: number, r: Receiving, sentence: string): void {
    if (!this.receiving.delete(stream)) return
    r.sink.broken(sentence)
    this.answer(stream, STREAM_REFUSED, 0, sentence)
  }

  private answer(stream: number, what: number, chunk: number, sentence = ''): void {
    const body = encodeStreamAck({ stream, what, chunk, sentence })
    this.pen.plain(this.wire(), STREAM_ACK, this.member, body)
  }
}

const sentenceOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
