// The side that is dialled: who may come in, and what they send. Answers go back on the same connection;
// whatever else we have to say to a member goes by the connection that we dialled. Refuses: other clusters,
// members that were removed, frames in another one's name, and old connections of a member that has dialled
// again: what they might still deliver is too late.

import type { Server, Socket } from 'node:net'
import { accept, GREETING_MS, type Security } from './dial.ts'
import {
  ANSWER,
  type Frame,
  HEADER_BYTES,
  HELLO,
  MAX_FRAME_BYTES,
  PING,
  PONG,
  QUESTION,
  REFUSED,
  STREAM_BEGIN,
  STREAM_CHUNK,
  STREAM_END,
  WELCOME,
} from './frame.ts'
import { decodeHello, encodeRefusal, type Hello, type Refusal } from './frame-body.ts'
import type { Pen } from './pen.ts'
import { cameByKey } from './psk.ts'
import { KnownNetworks, networkOf } from './strangers.ts'
import { IncomingStreams } from './stream.ts'
import { CHANNELS, type RefusedDial, type Rival, type StreamBegin, type StreamSink } from './transport.ts'
import { type Counters, newCounters, Wire } from './wire.ts'

/** What may wait to be answered, bytes: answers are small. */
const ANSWER_BYTES = 4 * 1024 * 1024
/**
 * A connection that says nothing for this long is closed: its other end pings many times in it. Milliseconds.
 */
const SILENT_MS = 60_000
/** Refused dials that are remembered, by where they came from and why. */
const REFUSED_KEPT = 16
/** Networks remembered from which the key was proved, here or there. */
const PROVED_MOST = 256

export type AcceptOptions = {
  readonly security: Security
  readonly pen: Pen
  readonly now: () => number
  /** Of a member that is known; null: count it nowhere. */
  readonly countersOf: (member: number) => Counters | null
  readonly admit: (hello: Hello, rival: Rival | null) => Refusal | null
  /** A life that was silent for longer is no rival of another one, milliseconds. */
  readonly deadMs: number
  /** `from`: the IP address it dialled from; '' when that is gone already. */
  readonly started: (member: number, incarnation: number, from: string) => void
  /** RAFT, BATCH, NOTICE, KEEPALIVE. */
  readonly frame: (frame: Frame) => void
  readonly received: () => void
  readonly turnedAway: (from: string, sentence: string) => void
  readonly stream: (begin: StreamBegin) => StreamSink | Refusal
  readonly question: (question: Uint8Array) => Promise<Uint8Array>
}

type Accepted = {
  readonly wire: Wire
  hello: Hello | null
  streams: IncomingStreams | null
  /** Nonce of another life that has dialled, so that this one was asked whether it is there; its answer. */
  askedFor: string
  aliveFor: string
}

export class Acceptor {
  readonly server: Server
  readonly refusedDials: RefusedDial[] = []
  private readonly o: AcceptOptions
  private readonly all = new Set<Accepted>()
  /** By member and channel: the connection that counts, or counted last. */
  private readonly newest = new Map<string, { hello: Hello; accepted: Accepted }>()

  /** Where members are as they were told, and where the key was proved. */
  private told: ReadonlySet<string> = new Set()
  private readonly proved = new KnownNetworks(PROVED_MOST)

  constructor(options: AcceptOptions) {
    this.o = options
    this.server = accept(
      options.security,
      (network) => this.told.has(network) || this.proved.has(network),
      (socket) => this.open(socket),
      (from, failure) => this.remember(from, failure.sentence),
    )
  }

  /** Hosts of members: no crowd of strangers elsewhere keeps them out. Names count once they were reached. */
  expect(hosts: readonly string[]): void {
    this.told = new Set(hosts.map(networkOf))
  }

  /** A member was reached there. */
  reached(address: string): void {
    if (address !== '') this.proved.proved(address)
  }

  /** Ends what a member has dialled. */
  drop(member: number, reason: string): void {
    for (const a of [...this.all]) if (a.hello?.from === member) a.wire.close(reason)
  }

  isHere(member: number, nonce: string): boolean {
    return [...this.all].some(({ hello }) => hello?.from === member && hello.life?.nonce === nonce)
  }

  sweep(nowMs: number): void {
    const keys = this.o.security === 'plain' ? null : this.o.security()
    for (const a of [...this.all])
      if (keys !== null && !cameByKey(a.wire.socket, keys)) a.wire.close('its network key was taken away')
      else if (!a.wire.holdsReading && nowMs - a.wire.heardMs > SILENT_MS) a.wire.close('silent for too long')
  }

  close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()))
    for (const a of [...this.all]) a.wire.close('this replica stops')
    return closed
  }

  private open(socket: Socket): void {
    const from = socket.remoteAddress ?? 'somebody'
    this.reached(socket.remoteAddress ?? '')
    const wire = new Wire(socket, ANSWER_BYTES, newCounters(), this.o.now, {
      frame: (frame) => this.take(accepted, frame, from),
      read: () => {
        if (accepted.hello !== null) this.o.received()
      },
      closed: (reason) => {
        clearTimeout(timer)
        this.all.delete(accepted)
        accepted.streams?.broken(reason)
      },
    })
    const accepted: Accepted = { wire, hello: null, streams: null, askedFor: '', aliveFor: '' }
    const timer = setTimeout(() => {
      if (accepted.hello === null) wire.close('it did not greet')
    }, GREETING_MS)
    this.all.add(accepted)
  }

  private take(a: Accepted, frame: Frame, from: string): Promise<void> | undefined {
    if (a.hello === null) {
      if (frame.kind === QUESTION) return this.ask(a, frame)
      this.greet(a, frame, from)
      return
    }
    const { self } = this.o.pen
    if (frame.from !== a.hello.from || frame.to !== self.id) {
      a.wire.close('a frame in another name')
      return
    }
    switch (frame.kind) {
      case PING:
        this.o.pen.echo(a.wire, PONG, a.hello.from, frame.sentUs)
        return
      case PONG:
        a.aliveFor = a.askedFor
        return
      case STREAM_BEGIN:
      case STREAM_CHUNK:
      case STREAM_END:
        return this.inStream(a, frame)
      default:
        this.o.frame(frame)
        return
    }
  }

  private inStream(a: Accepted, frame: Frame): Promise<void> | undefined {
    const { pen, stream } = this.o
    a.streams ??= new IncomingStreams(pen, () => a.wire, a.hello!.from, stream)
    try {
      return a.streams.take(frame)
    } catch (error) {
      a.wire.close((error as Error).message)
      return
    }
  }

  private async ask(a: Accepted, frame: Frame): Promise<void> {
    const answer = await this.o.question(Uint8Array.from(frame.body))
    this.o.pen.plain(a.wire, ANSWER, frame.from, answer.subarray(0, MAX_FRAME_BYTES - HEADER_BYTES))
    a.wire.finish('answered')
  }

  private greet(a: Accepted, frame: Frame, from: string): void {
    const hello = frame.kind === HELLO ? decodeHello(frame.body) : null
    const refusal: Refusal | null =
      hello === null ? { code: 'malformed', sentence: 'that is no greeting' } : this.judge(hello)
    if (hello === null || refusal !== null) {
      if (!PASSING.includes(refusal!.code)) this.remember(from, `${nameOf(hello)}: ${refusal!.sentence}`)
      this.o.pen.plain(a.wire, REFUSED, frame.from, encodeRefusal(refusal!))
      a.wire.finish('refused')
      return
    }
    const key = `${hello.from} ${hello.channel}`
    const last = this.newest.get(key)
    last?.accepted.wire.close('superseded by a newer connection')
    for (const rival of this.rivals(hello)) rival.wire.close('another life of this member took over')
    const began = !CHANNELS.some((c) => {
      const known = this.newest.get(`${hello.from} ${c}`)?.hello
      return known?.incarnation === hello.incarnation && sameLife(known, hello)
    })
    this.newest.set(key, { hello, accepted: a })
    a.hello = hello
    a.wire.counters = this.o.countersOf(hello.from) ?? a.wire.counters
    a.wire.allow(MAX_FRAME_BYTES - HEADER_BYTES)
    if (began) this.o.started(hello.from, hello.incarnation, a.wire.socket.remoteAddress ?? '')
    this.o.pen.plain(a.wire, WELCOME, hello.from)
  }

  private judge(hello: Hello): Refusal | null {
    const { self } = this.o.pen
    if (self.clusterId === '')
      return { code: 'no cluster yet', sentence: `"${self.name}" belongs to no cluster yet` }
    if (hello.clusterId !== self.clusterId)
      return {
        code: 'wrong cluster',
        sentence: `"${self.name}" belongs to cluster ${self.clusterId}, not to ${hello.clusterId || 'none'}`,
      }
    if (hello.to !== self.id)
      return {
        code: 'wrong member',
        sentence: `member ${hello.to} is not here: this is "${self.name}", member ${self.id}`,
      }
    const last = this.newest.get(`${hello.from} ${hello.channel}`)?.hello
    const older =
      last !== undefined &&
      sameLife(last, hello) &&
      (hello.incarnation < last.incarnation ||
        (hello.incarnation === last.incarnation && hello.dial <= last.dial))
    if (older) return { code: 'superseded', sentence: 'a newer connection is there' }
    const nowMs = this.o.now()
    const rivals = this.rivals(hello).filter((r) => nowMs - r.wire.heardMs <= this.o.deadMs)
    const nonce = hello.life?.nonce ?? ''
    const alive = rivals.some((r) => r.aliveFor === nonce)
    const refusal = this.o.admit(hello, rivals.length === 0 ? null : { alive })
    if (refusal?.code === 'held')
      for (const rival of rivals) {
        rival.askedFor = nonce
        this.o.pen.plain(rival.wire, PING, hello.from)
      }
    return refusal
  }

  /** Connections of the same member in another life. */
  private rivals(hello: Hello): Accepted[] {
    if (hello.life === undefined) return []
    return [...this.all].filter((a) => a.hello?.from === hello.from && !sameLife(a.hello, hello))
  }

  private remember(from: string, sentence: string): void {
    const at = this.refusedDials.findIndex((r) => r.from === from && r.sentence === sentence)
    const count = at < 0 ? 1 : this.refusedDials.splice(at, 1)[0]!.count + 1
    this.refusedDials.push({ from, sentence, count, atMs: this.o.now() })
    if (this.refusedDials.length > REFUSED_KEPT) this.refusedDials.shift()
    this.o.turnedAway(from, sentence)
  }
}

/** One that does not tell of its life may be any. */
const sameLife = (a: Hello, b: Hello): boolean =>
  a.life === undefined || b.life === undefined || a.life.nonce === b.life.nonce

/** Refusals that end by themselves, soon: nobody need know. */
const PASSING: readonly string[] = ['superseded', 'held', 'no cluster yet']

const nameOf = (hello: Hello | null): string =>
  hello === null ? 'somebody' : `"${hello.name}" (member ${hello.from})`
