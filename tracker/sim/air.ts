// A simulated member's network: what replica-network.ts is in production, over messages instead of sockets. Frames are
// real ones, written and read; connections, dials and admission follow the same rules, in fewer steps.
// Refuses: keys and bytes of TLS; they have tests of their own.

import { MSG_SNAP, messageInfo } from '@skep/raft/message.ts'
import { raftType, WireClock } from '../replica/echo.ts'
import {
  BATCH,
  HEADER_BYTES,
  KEEPALIVE,
  NOTICE,
  newFrame,
  newStamp,
  RAFT,
  readHeader,
  type Frame as WireFrame,
  writeHeader,
} from '../replica/frame.ts'
import { encodeBatchHead } from '../replica/frame-body.ts'
import type { Directory } from '../replica/members.ts'
import { APPENDS, BULK, type StreamOut } from '../replica/transport.ts'
import { Visitors } from '../replica/visitors.ts'
import type { Behind } from '../replica-network.ts'
import { canarySections } from './canaries.ts'
import type { Frame, Place } from './place.ts'
import { type StreamPart, Streams } from './streams.ts'
import { OWN_TYPES } from './trace.ts'

/** Who sends, and in which of its lives. */
type Sender = { readonly id: number; readonly name: string; readonly life: number }
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
  | { readonly kind: 'stream'; readonly part: StreamPart }

/** For the trace, by order of trace.ts. */
const BATCHES = OWN_TYPES
const NOTICES = OWN_TYPES + 1
const KEEPALIVES = OWN_TYPES + 2
const STREAMS = OWN_TYPES + 3
const QUESTIONS = OWN_TYPES + 4
const ANSWERS = OWN_TYPES + 5
const REFUSALS = OWN_TYPES + 6

/** From a question to its answer, milliseconds. */
const ASK_MS = 1000

export const addressOfMember = (number: number): string => `h${number}:5560`
export const numberOfAddress = (address: string): number => Number(/^h(\d+):/.exec(address)?.[1] ?? 0)

export class Air {
  private readonly place: Place
  private readonly wire: WireClock
  private readonly streams: Streams
  private readonly frame: WireFrame = newFrame()
  private readonly stamp = newStamp()
  /** Numbers of those who may be sent to, by ID. */
  private peers = new Map<number, number>()
  /** Lives of the others, as their messages told, by number. */
  private readonly lives = new Map<number, number>()
  private readonly asked = new Map<number, (answer: Uint8Array) => void>()
  private questions = 0
  private readonly spoil: (section: Uint8Array) => Uint8Array
  private readonly visitors = new Visitors()
  private directory: Directory | null = null
  private id = 0
  private behind: Behind

  /** `question`: answers while there is no member yet. */
  constructor(place: Place, question: (bytes: Uint8Array) => Promise<Uint8Array>) {
    this.place = place
    this.spoil = canarySections(place.canary)
    this.wire = new WireClock(place.clock.now(), place.random.unit())
    this.behind = { ...NOBODY, question }
    this.streams = new Streams({
      send: (to, part) => {
        const label = [STREAMS, 0, part.stream, 'bytes' in part ? 1 : 0] as const
        return this.post(to, BULK, label, { kind: 'stream', part })
      },
      sink: (begin) => this.behind.stream(begin),
    })
  }

  /** There is a member: it hears everything from now on. */
  serve(id: number, behind: Behind): void {
    this.id = id
    this.behind = behind
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

  send(_group: number, to: number, message: Uint8Array): void {
    this.write(to, RAFT, message)
  }

  sendBatch(_group: number, to: number, its: number, number: number, section: Uint8Array): boolean {
    return this.write(to, BATCH, Buffer.concat([encodeBatchHead(its, number), this.spoil(section)]))
  }

  sendNotice(_group: number, to: number, its: number, number: number, verdict: number): void {
    this.write(to, NOTICE, encodeBatchHead(its, number, verdict))
  }

  keepalive(_group: number, to: number): void {
    this.write(to, KEEPALIVE, new Uint8Array(0))
  }

  flush(): void {}

  openStream(group: number, to: number, head: Uint8Array, totalBytes: number): StreamOut {
    const begin = { group, from: this.id, head: Uint8Array.from(head), totalBytes }
    return this.streams.open(this.peers.get(to) ?? 0, begin)
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
      case 'stream':
        if (this.admits(from, sent.sender)) this.streams.receive(from, sent.part)
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
    if (sender.life > life && sender.id !== 0) {
      this.streams.broken(from)
      this.behind.started(sender.id)
      this.behind.connected(sender.id)
    }
    return true
  }

  /** Who dials is let in, or hears why not. */
  private admits(from: number, { id, name }: Sender): boolean {
    const { number, life } = this.place
    const hello = {
      clusterId: '',
      from: id,
      to: this.id,
      name,
      address: addressOfMember(from),
      channel: 0,
      level: 1,
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
    const { frame, wire, place } = this
    readHeader(new DataView(bytes.buffer, bytes.byteOffset), 0, frame)
    if (frame.to !== this.id) return
    frame.body = bytes.subarray(HEADER_BYTES)
    frame.echoMs =
      frame.echoUs < 0 ? Number.NEGATIVE_INFINITY : wire.fromWire(frame.echoUs, place.clock.now())
    this.behind.frame(frame)
    this.behind.received()
  }

  private write(toId: number, kind: number, body: Uint8Array): boolean {
    const to = this.peers.get(toId)
    if (to === undefined) return false
    const { place, stamp, id } = this
    this.behind.stamp(toId, stamp)
    const bytes = new Uint8Array(HEADER_BYTES + body.length)
    const sentUs = this.wire.toWire(place.clock.now())
    const head = { kind, level: 1, clusterHigh: 0, clusterLow: 0, from: id, to: toId, group: 0, sentUs }
    writeHeader(new DataView(bytes.buffer), 0, head, stamp, body.length)
    bytes.set(body, HEADER_BYTES)
    const label = labelOf(kind, stamp.term, body)
    if (kind === BATCH || kind === NOTICE) return this.post(to, APPENDS, label, { kind: 'frame', bytes })
    place.send(to, { ...this.from(), kind: 'frame', bytes, label, channel: null } as Sent)
    return true
  }

  /** In order, over a connection. */
  private post(to: number, channel: number, label: Frame['label'], content: Content): boolean {
    const { place } = this
    if (to === 0 || place.isDown(to, channel)) return false
    place.send(to, { ...this.from(), ...content, label, channel } as Sent)
    return true
  }

  private datagram(to: number, type: number, content: Content): void {
    if (to === 0) return
    this.place.send(to, { ...this.from(), ...content, label: [type, 0, 0, 0], channel: null } as Sent)
  }

  private from(): { sender: Sender } {
    const { name, life } = this.place
    return { sender: { id: this.id, name, life } }
  }

  /** What was sent over a connection may not have arrived. */
  broken(member: number, channel: number): void {
    if (channel === BULK) this.streams.broken(member)
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

const labelOf = (kind: number, term: number, body: Uint8Array): Frame['label'] => {
  if (kind === BATCH) return [BATCHES, term, body.length, 0]
  if (kind === NOTICE) return [NOTICES, term, 0, 0]
  if (kind === KEEPALIVE) return [KEEPALIVES, term, 0, 0]
  const type = raftType(body)
  if (type === MSG_SNAP) return [type, term, 0, 0]
  const info = messageInfo(body)!
  return [type, info.term, info.index, info.entries]
}
