// Snapshots between simulated members: the two ends of a stream over messages that arrive in order or break with their
// connection. Refuses: to look into what it carries, and flow control beyond one chunk a turn.

import type { Refusal } from '../replica/frame-body.ts'
import { type StreamBegin, StreamFailed, type StreamOut, type StreamSink } from '../replica/transport.ts'

export type StreamPart =
  | { readonly what: 'begin'; readonly stream: number; readonly begin: StreamBegin }
  | { readonly what: 'chunk'; readonly stream: number; readonly bytes: Uint8Array }
  | { readonly what: 'end' | 'abort' | 'all there'; readonly stream: number }
  | { readonly what: 'go on'; readonly stream: number; readonly chunk: number }
  | { readonly what: 'refused'; readonly stream: number; readonly sentence: string }

type Sending = {
  readonly to: number
  readonly first: PromiseWithResolvers<number>
  readonly done: PromiseWithResolvers<void>
  failed: StreamFailed | null
}
type Receiving = { readonly sink: StreamSink; tail: Promise<void>; over: boolean }

export type StreamsOptions = {
  /** `to`: a member's number. False: there is no way. */
  readonly send: (to: number, part: StreamPart) => boolean
  /** Somebody sends: where it goes, or why it is not wanted. */
  readonly sink: (begin: StreamBegin) => StreamSink | Refusal
}

export class Streams {
  private readonly o: StreamsOptions
  private readonly sendings = new Map<number, Sending>()
  /** By sender and stream. */
  private readonly receivings = new Map<string, Receiving>()
  private streams = 0

  constructor(options: StreamsOptions) {
    this.o = options
  }

  open(to: number, begin: StreamBegin): StreamOut {
    const stream = ++this.streams
    const s: Sending = {
      to,
      first: Promise.withResolvers(),
      done: Promise.withResolvers(),
      failed: null,
    }
    // Whoever does not wait for them need not hear of their failure.
    s.first.promise.catch(() => {})
    s.done.promise.catch(() => {})
    this.sendings.set(stream, s)
    const send = (part: StreamPart): void => {
      if (s.failed === null && !this.o.send(to, part)) this.fail(stream, new StreamFailed('no connection'))
      if (s.failed !== null) throw s.failed
    }
    if (!this.o.send(to, { what: 'begin', stream, begin }))
      this.fail(stream, new StreamFailed('no connection'))
    return {
      first: s.first.promise,
      write: async (chunk) => send({ what: 'chunk', stream, bytes: Uint8Array.from(chunk) }),
      end: async () => {
        send({ what: 'end', stream })
        await s.done.promise
      },
      abort: () => {
        if (this.sendings.has(stream)) this.o.send(to, { what: 'abort', stream })
        this.fail(stream, new StreamFailed('given up by the sender'))
      },
    }
  }

  receive(from: number, part: StreamPart): void {
    const key = `${from} ${part.stream}`
    switch (part.what) {
      case 'begin':
        this.begin(from, key, part)
        break
      case 'chunk':
        this.afterwards(from, key, part.stream, (sink) => sink.write(part.bytes))
        break
      case 'end':
        this.afterwards(from, key, part.stream, async (sink) => {
          await sink.end()
          this.receivings.delete(key)
          this.o.send(from, { what: 'all there', stream: part.stream })
        })
        break
      case 'abort':
        this.close(key, 'given up by the sender')
        break
      case 'go on':
        this.sendings.get(part.stream)?.first.resolve(part.chunk)
        break
      case 'all there':
        this.sendings.get(part.stream)?.done.resolve()
        this.sendings.delete(part.stream)
        break
      case 'refused':
        this.fail(part.stream, new StreamFailed(part.sentence, true))
    }
  }

  /** The connection with a member broke, in either direction. */
  broken(member: number): void {
    for (const [stream, { to }] of this.sendings)
      if (to === member) this.fail(stream, new StreamFailed('the connection broke'))
    for (const key of this.receivings.keys())
      if (key.startsWith(`${member} `)) this.close(key, 'the connection broke')
  }

  private begin(from: number, key: string, part: Extract<StreamPart, { what: 'begin' }>): void {
    const { stream } = part
    const sink = this.o.sink(part.begin)
    if ('sentence' in sink) {
      this.o.send(from, { what: 'refused', stream, sentence: sink.sentence })
      return
    }
    this.receivings.set(key, { sink, tail: Promise.resolve(), over: false })
    this.o.send(from, { what: 'go on', stream, chunk: sink.first })
  }

  /** After what came before. */
  private afterwards(
    from: number,
    key: string,
    stream: number,
    work: (sink: StreamSink) => Promise<void>,
  ): void {
    const r = this.receivings.get(key)
    if (r === undefined) return
    r.tail = r.tail
      .then(() => (r.over ? undefined : work(r.sink)))
      .catch((error: unknown) => {
        if (r.over) return
        r.over = true
        this.receivings.delete(key)
        const sentence = error instanceof Error ? error.message : String(error)
        this.o.send(from, { what: 'refused', stream, sentence })
      })
  }

  private close(key: string, reason: string): void {
    const r = this.receivings.get(key)
    if (r === undefined) return
    r.over = true
    this.receivings.delete(key)
    r.sink.broken(reason)
  }

  private fail(stream: number, error: StreamFailed): void {
    const s = this.sendings.get(stream)
    if (s === undefined) return
    s.failed = error
    this.sendings.delete(stream)
    s.first.reject(error)
    s.done.reject(error)
  }
}
