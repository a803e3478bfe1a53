// A simulated member's network: what replica-thread/network.ts is in production, over messages instead of
// sockets. Frames are real ones, written and read; connections, dials and admission follow the same rules, in
// fewer steps. Refuses: keys and bytes of TLS; they have tests of their own.

import { MSG_SNAP, messageInfo } from '@skep/raft/message.ts'
import type { Directory } from '../replica/membership/directory.ts'
import { Visitors } from '../replica/membership/visitors.ts'
import { raftType, WireClock } from '../replica/transport/echo.ts'
import {
  BATCH,
  clusterDigest,
  HEADER_BYTES,
  type Head,
  KEEPALIVE,
  MAX_FRAME_BYTES,
  NOTICE,
  RAFT,
  STREAM_ACK,
  STREAM_CHUNK,
  type Stamp,
  writeHeader,
} from '../replica/transport/frame.ts'
import { encodeBatchHead } from '../replica/transport/frame-body.ts'
import { FrameDecoder } from '../replica/transport/frame-decoder.ts'
import { Pen } from '../replica/transport/pen.ts'
import type { StreamWire } from '../replica/transport/stream.ts'
import { APPENDS, BULK, type Self, type StreamOut } from '../replica/transport/transport.ts'
import type { Behind } from '../replica-thread/network.ts'
import { canarySections } from './canaries.ts'
import type { Frame, Place } from './place.ts'
import { isStream, Streams } from './streams.ts'
import { OWN_TYPES } from './trace.ts'

/** Who sends, and in which of its lives. */
type Sender = { readonly id: number; readonly name: string; readonly life: number; readonly level: number }
type Sent = Frame & { readonly sender: Sender } & Content
type Content =
  | { readonly kind: 'frame'; readonly bytes: Uint8Array }
  | {
      readonly kind: 'refused'
      readonly code: 'removed member' | 'unknown member'
      readonly sentence: string
    }
  | { readonly kind: 'question'; readonly number: number; readonly bytes: Uint8Array }
  | { readonly kind: 'answer'; readonly number: number; readonly bytes: Uint8Array }

/** For the trace, by order of trace.ts. */
const BATCHES = OWN_TYPES
const NOTICES = OWN_TYPES + 1
const KEEPALIVES = OWN_TYPES + 2
const STREAMS = OWN_TYPES + 3
const QUESTIONS = OWN_TYPES + 4
const ANSWERS = OWN_TYPES + 5
const REFUSALS = OWN_TYPES + 6
const STREAM_ANSWERS = OWN_TYPES + 7

/** From a question to its answer, milliseconds. */
const ASK_MS = 1000

export const addressOfMember = (number: number): string => `h${number}:5560`
export const numberOfAddress = (address: string): number => Number(/^h(\d+):/.exec(address)?.[1] ?? 0)

export class Air {
  private readonly place: Place
  private readonly clock: WireClock
  private readonly pen: Pen
  private readonly decoder = new FrameDecoder(MAX_FRAME_BYTES)
  private readonly streams: Streams
  private readonly self: Self
  private digest = clusterDigest('')
  private readonly visitors = new Visitors()
  private directory: Directory | null = null
  /** Numbers of those who may be sent to, by ID. */
  private peers = new Map<number, number>()
  /** IDs of the others, as their messages told, by number. */
  private readonly ids = new Map<number, number>()
  /** Lives of the others, as their messages told, by number. */
  private readonly lives = new Map<number, number>()
  private readonly asked = new Map<number, (answer: Uint8Array) => void>()
  private questions = 0
  private readonly spoil: (section: Uint8Array) => Uint8Array
  private id = 0
  private behind: Behind

  /** `question`: answers while there is no member yet. */
  constructor(place: Place, question: (bytes: Uint8Array) => Promise<Uint8Array>) {
    this.place = place
    this.spoil = canarySections(place.canary)
    this.clock = new WireClock(place.clock.now(), place.random.unit())
    this.behind = { ...NOBODY, question }
    const { name, address, life } = place
    this.self = { clusterId: '', id: 0, name, address, level: place.level, incarnation: life }
    this.pen = new Pen(this.self, this.clock, () => place.clock.now(), {
      stamp: (_group, to, stamp) => this.behind.stamp(to, stamp),
    })
    this.streams = new Streams({
      pen: this.pen,
      wire: (to) => this.way(to, BULK),
      unanswered: (member) => place.breaks(this.numberOf(member), BULK),
      begun: (begin) => this.behind.stream(begin),
    })
  }

  /** There is a member: it hears everything from now on. */
  serve(clusterId: string, id: number, behind: Behind): void {
    this.id = id
    this.behind = behind
    this.digest = clusterDigest(clusterId)
    this.pen.identify({ ...this.self, clusterId, id })
  }

  /** Whom this member talks to; all others are strangers. */
  follow(directory: Directory, id: number): void {
    this.directory = directory
    const peers = this.visitors.peers(directory, id)
    this.peers = new Map(peers.map((p) => [p.id, numberOfAddress(`${p.address.host}:1`)]))
  }

  numberOf(id: number): number {
    return id === this.id ? this.place.number : (this.peers.get(id) ?? 0)
  }

  send(group: number, to: number, message: Uint8Array): void {
    this.stamped(null, RAFT, group, to, message)
  }

  sendBatch(group: number, to: number, its: number, number: number, section: Uint8Array): boolean {
    return this.stamped(APPENDS, BATCH, group, to, this.spoil(section), encodeBatchHead(its, number))
  }

  sendNotice(group: number, to: number, its: number, number: number, verdict: number): void {
    this.stamped(APPENDS, NOTICE, group, to, encodeBatchHead(its, number, verdict))
  }

  keepalive(group: number, to: number, body?: Uint8Array): void {
    this.stamped(null, KEEPALIVE, group, to, body)
  }

  flush(): void {
    this.pen.flush()
  }

  openStream(group: number, to: number, head: Uint8Array, totalBytes: number): StreamOut {
    return this.streams.open(to, group, head, totalBytes)
  }

  ask(address: string, question: Uint8Array): Promise<Uint8Array> {
    const { clock, stir } = this.place
    const number = ++this.questions
    const bytes = Uint8Array.from(question)
    return new Promise((resolve, reject) => {
      const late = clock.after(ASK_MS, () => {
        this.asked.delete(number)
        stir()
        reject(new Error('no answer'))
      })
      this.asked.set(number, (answer) => {
        clock.cancel(late)
        resolve(answer)
      })
      this.datagram(numberOfAddress(address), QUESTIONS, { kind: 'question', number, bytes })
    })
  }

  receive(from: number, message: Frame): void {
    const sent = message as Sent
    if (!this.known(from, sent)) return
    switch (sent.kind) {
      case 'frame':
        if (this.admits(from, sent.sender)) this.read(sent.bytes)
        break
      case 'refused':
        this.behind.refused(sent.sender.id, sent)
        break
      case 'question':
        void this.answer(from, sent.number, sent.bytes)
        break
      case 'answer':
        this.asked.get(sent.number)?.(sent.bytes)
        this.asked.delete(sent.number)
    }
  }

  /** Members' questions of strangers. A process that has ended answers no more; nor does one that cannot. */
  private async answer(to: number, number: number, question: Uint8Array): Promise<void> {
    const bytes = await this.behind.question(question).catch(() => null)
    if (bytes !== null) this.datagram(to, ANSWERS, { kind: 'answer', number, bytes })
  }

  /** False: from an earlier life. A new one's connections end what the old ones may still deliver. */
  private known(from: number, { sender }: Sent): boolean {
    const life = this.lives.get(from) ?? 0
    if (sender.life < life) return false
    this.lives.set(from, sender.life)
    if (sender.id !== 0) this.ids.set(from, sender.id)
    if (sender.life > life && sender.id !== 0) {
      this.streams.broken(sender.id)
      this.behind.started(sender.id)
      this.behind.connected(sender.id)
    }
    return true
  }

  /** Who dials is let in, or hears why not. */
  private admits(from: number, { id, name, level }: Sender): boolean {
    const { number, life } = this.place
    const hello = {
      clusterId: '',
      from: id,
      to: this.id,
      name,
      address: addressOfMember(from),
      channel: 0,
      level,
      incarnation: life,
      dial: 1,
    }
    const refusal = this.behind.admit(hello)
    if (refusal === null) {
      const { directory } = this
      if (directory !== null && this.visitors.came(directory, hello)) this.follow(directory, this.id)
      return true
    }
    const { code, sentence } = refusal
    if (code === 'removed member' && from !== number)
      this.datagram(from, REFUSALS, { kind: 'refused', code, sentence })
    return false
  }

  private read(bytes: Uint8Array): void {
    const { decoder, clock, place, digest } = this
    decoder.push(bytes)
    const frame = decoder.next()
    if (frame === null) throw new Error(`a frame that is none: ${decoder.fault}`)
    if (frame.to !== this.id || frame.clusterHigh !== digest.high || frame.clusterLow !== digest.low) return
    frame.echoMs =
      frame.echoUs < 0 ? Number.NEGATIVE_INFINITY : clock.fromWire(frame.echoUs, place.clock.now())
    if (isStream(frame.kind)) this.streams.receive(frame, bytes)
    else {
      this.behind.frame(frame)
      this.behind.received()
    }
  }

  private stamped(
    channel: number | null,
    kind: number,
    group: number,
    to: number,
    body?: Uint8Array,
    prefix?: Uint8Array,
  ): boolean {
    const way = this.way(to, channel)
    return way !== null && this.pen.stamped(way, kind, group, to, body, prefix)
  }

  /** Where frames to a member go, in order over a connection (`channel`) or not; null: nowhere. */
  private way(toId: number, channel: number | null): StreamWire | null {
    const { place } = this
    const to = this.peers.get(toId)
    const down = (): boolean => channel !== null && place.isDown(to!, channel)
    if (to === undefined || down()) return null
    return {
      push: (head, stamp, body, prefix = NOTHING) => {
        if (down()) return false
        const bytes = frameOf(head, stamp, body, prefix)
        const label = labelOf(head.kind, stamp.term, body, prefix)
        place.send(to, { ...this.from(), kind: 'frame', bytes, label, channel } as Sent)
        return true
      },
      flush: () => {},
      below: () => Promise.resolve(),
    }
  }

  private datagram(to: number, type: number, content: Content): void {
    if (to === 0) return
    this.place.send(to, { ...this.from(), ...content, label: [type, 0, 0, 0], channel: null } as Sent)
  }

  private from(): { sender: Sender } {
    const { name, life, level } = this.place
    return { sender: { id: this.id, name, life, level } }
  }

  /** What was sent over a connection may not have arrived. */
  broken(member: number, channel: number): void {
    if (channel === BULK) this.streams.broken(this.ids.get(member) ?? 0)
  }

  /** A connection that broke stands again. */
  connected(member: number, channel: number): void {
    if (channel !== APPENDS) return
    for (const [id, number] of this.peers) if (number === member) this.behind.connected(id)
  }
}

const NOBODY: Omit<Behind, 'question'> = {
  frame: () => {},
  received: () => {},
  stamp: () => {},
  admit: () => ({ code: 'no cluster yet', sentence: 'no member yet' }),
  connected: () => {},
  started: () => {},
  refused: () => {},
  stream: () => ({ code: 'no cluster yet', sentence: 'no member yet' }),
}

const NOTHING = new Uint8Array(0)

const frameOf = (head: Head, stamp: Stamp, body: Uint8Array, prefix: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(HEADER_BYTES + prefix.length + body.length)
  writeHeader(new DataView(bytes.buffer), 0, head, stamp, prefix.length + body.length)
  bytes.set(prefix, HEADER_BYTES)
  bytes.set(body, HEADER_BYTES + prefix.length)
  return bytes
}

const labelOf = (kind: number, term: number, body: Uint8Array, prefix: Uint8Array): Frame['label'] => {
  if (kind === BATCH) return [BATCHES, term, prefix.length + body.length, 0]
  if (kind === NOTICE) return [NOTICES, term, 0, 0]
  if (kind === KEEPALIVE) return [KEEPALIVES, term, 0, 0]
  if (isStream(kind))
    return [kind === STREAM_ACK ? STREAM_ANSWERS : STREAMS, 0, 0, kind === STREAM_CHUNK ? 1 : 0]
  const type = raftType(body)
  if (type === MSG_SNAP) return [type, term, 0, 0]
  const info = messageInfo(body)!
  return [type, info.term, info.index, info.entries]
}
