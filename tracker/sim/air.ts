// A simulated member's network: what replica-thread/network.ts is in production, over messages instead of
// sockets. Frames are real ones, written and read; connections, dials and admission follow the same rules, in
// fewer steps. Refuses: keys and bytes of TLS; they have tests of their own.

import { MSG_SNAP, messageInfo } from '@skep/raft/message.ts'
import type { Directory } from '../replica/membership/directory.ts'
import { Visitors } from '../replica/membership/visitors.ts'
import { type Whereabout, Whereabouts } from '../replica/membership/whereabouts.ts'
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
import { encodeBatchHead, type Life, type Refusal } from '../replica/transport/frame-body.ts'
import { FrameDecoder } from '../replica/transport/frame-decoder.ts'
import { Pen } from '../replica/transport/pen.ts'
import type { StreamWire } from '../replica/transport/stream.ts'
import { APPENDS, BULK, type Self, type StreamOut } from '../replica/transport/transport.ts'
import type { Behind } from '../replica-thread/network.ts'
import { canarySections } from './canaries.ts'
import { type Frame, KEEPALIVE_MS, MISSED, type Place } from './place.ts'
import { isStream, Streams } from './streams.ts'
import { OWN_TYPES } from './trace.ts'

/** Who sends, and in which of its lives. */
type Sender = {
  readonly id: number
  readonly name: string
  readonly address: string
  readonly life: number
  readonly level: number
  /** Absent while there is no member. */
  readonly start: Life | undefined
}
/** Which life of a member was let in, and where it is. */
type Guest = {
  readonly number: number
  readonly nonce: string
  heardMs: number
  left: boolean
  /** Another life has knocked, which is why this one was asked whether it is there; and its answer. */
  aliveFor: string
}
type Sent = Frame & { readonly sender: Sender } & Content
type Content =
  | { readonly kind: 'frame'; readonly bytes: Uint8Array }
  | {
      readonly kind: 'refused'
      readonly refusal: Refusal
      /** The start that dialled; another one in its place has not. */
      readonly nonce: string | undefined
    }
  | { readonly kind: 'ping' | 'pong'; readonly nonce: string }
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
const PINGS = OWN_TYPES + 8
/** Refusals of a life, not of a member. */
const LIVES: readonly string[] = ['older life', 'held', 'doubled']
/** As the transport's: a life that was silent for longer is no rival of another one. */
const DEAD_MS = KEEPALIVE_MS * (MISSED + 1)

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
  private readonly whereabouts = new Whereabouts((said) =>
    this.place.canary === 'follows-copies' ? 'counts' : (this.behind.standing?.(said) ?? 'open'),
  )
  private directory: Directory | null = null
  /** Numbers of those who may be sent to, by ID. */
  private peers = new Map<number, number>()
  /** IDs of the others, as their messages told, by number. */
  private readonly ids = new Map<number, number>()
  /** Lives of the others, as their messages told, by number. */
  private readonly lives = new Map<number, number>()
  /** By ID. */
  private readonly guests = new Map<number, Guest>()
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
  serve(clusterId: string, id: number, life: Life, behind: Behind): void {
    this.id = id
    this.behind = behind
    this.digest = clusterDigest(clusterId)
    this.pen.identify({ ...this.self, clusterId, id, life })
  }

  /** Whom this member talks to; all others are strangers. */
  follow(directory: Directory, id: number): void {
    this.directory = directory
    const peers = this.visitors.peers(directory, id)
    this.peers = new Map(peers.map((p) => [p.id, numberOfAddress(`${p.address.host}:1`)]))
  }

  /** As replica-thread/network.ts: who is elsewhere than the directory says. */
  moved(): readonly Whereabout[] {
    const { directory, behind } = this
    return directory === null ? [] : this.whereabouts.moved(directory, behind.leader?.() ?? 0)
  }

  hear(said: Whereabout): void {
    if (this.directory !== null) this.whereabouts.hear(this.directory, said)
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
    // From an earlier life: a new one's connections end what the old ones may still deliver.
    if (sent.sender.life < (this.lives.get(from) ?? 0)) return
    switch (sent.kind) {
      case 'frame':
        if (this.admits(from, sent.sender)) this.read(sent.bytes)
        break
      case 'refused':
        if (sent.nonce === this.pen.self.life?.nonce) this.behind.refused(sent.sender.id, sent.refusal)
        break
      case 'question':
        void this.answer(from, sent.number, sent.bytes)
        break
      case 'answer':
        this.asked.get(sent.number)?.(sent.bytes)
        this.asked.delete(sent.number)
        break
      case 'ping':
        this.datagram(from, PINGS, { kind: 'pong', nonce: sent.nonce })
        break
      case 'pong': {
        const guest = this.guests.get(sent.sender.id)
        if (guest !== undefined && guest.nonce === sent.sender.start?.nonce) guest.aliveFor = sent.nonce
      }
    }
  }

  /** Members' questions of strangers. A process that has ended answers no more; nor does one that cannot. */
  private async answer(to: number, number: number, question: Uint8Array): Promise<void> {
    const bytes = await this.behind.question(question).catch(() => null)
    if (bytes !== null) this.datagram(to, ANSWERS, { kind: 'answer', number, bytes })
  }

  /** Who dials is let in, or hears why not. */
  private admits(from: number, sender: Sender): boolean {
    const { place, directory } = this
    const { id, name, address, life: incarnation, level, start } = sender
    const nowMs = place.clock.now()
    const guest = this.guests.get(id)
    const known = guest !== undefined && guest.nonce === start?.nonce
    // What its last words are worth, after its connections have ended: nothing.
    if (known && guest.left) return false
    const other = known || guest === undefined || guest.left || nowMs - guest.heardMs > DEAD_MS ? null : guest
    const hello = {
      ...{ clusterId: '', from: id, to: this.id, name, address, channel: 0, level, incarnation, dial: 1 },
      ...(start === undefined || known ? {} : { life: start }),
    }
    const rival = other === null ? null : { alive: other.aliveFor === start?.nonce }
    const refusal = this.behind.admit(hello, rival)
    if (refusal !== null) {
      const told =
        LIVES.includes(refusal.code) || (refusal.code === 'removed member' && from !== place.number)
      if (told) this.datagram(from, REFUSALS, { kind: 'refused', refusal, nonce: start?.nonce })
      if (refusal.code === 'held' && other !== null && start !== undefined)
        this.datagram(other.number, PINGS, { kind: 'ping', nonce: start.nonce })
      return false
    }
    if (known) guest.heardMs = nowMs
    else
      this.guests.set(id, {
        number: from,
        nonce: start?.nonce ?? '',
        heardMs: nowMs,
        left: false,
        aliveFor: '',
      })
    this.meets(from, sender)
    if (start !== undefined && !known)
      this.hear({ id, address, incarnation: start.incarnation, nonce: start.nonce, seen: true })
    if (directory !== null && this.visitors.came(directory, hello)) this.follow(directory, this.id)
    return true
  }

  private meets(from: number, { id, life }: Sender): void {
    const before = this.lives.get(from) ?? 0
    this.lives.set(from, life)
    this.ids.set(from, id)
    if (life === before) return
    this.streams.broken(id)
    this.behind.started(id)
    this.behind.connected(id)
  }

  /** Another life of that member counts. */
  turnOut(id: number): void {
    this.guests.delete(id)
  }

  /** Is this life of a member connected? */
  isHere(id: number, nonce: string): boolean {
    const guest = this.guests.get(id)
    return guest?.left === false && guest.nonce === nonce
  }

  /** The process at the other end is gone. */
  left(member: number): void {
    for (const guest of this.guests.values()) guest.left ||= guest.number === member
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
    const to = this.found(toId)
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

  /** Where a member is: if not where it was, perhaps where it is said to be. */
  private found(id: number): number | undefined {
    const usual = this.peers.get(id)
    if (usual === undefined || !this.place.isDown(usual, APPENDS)) return usual
    const { directory, behind } = this
    const said = this.whereabouts.dialled(directory!, behind.leader?.() ?? 0).findLast((m) => m.id === id)
    const elsewhere = numberOfAddress(said?.address ?? '')
    return elsewhere === 0 || this.place.isDown(elsewhere, APPENDS) ? usual : elsewhere
  }

  private datagram(to: number, type: number, content: Content): void {
    if (to === 0) return
    const reply = content.kind !== 'question'
    this.place.send(to, { ...this.from(), ...content, label: [type, 0, 0, 0], channel: null, reply } as Sent)
  }

  private from(): { sender: Sender } {
    const { name, address, life, level } = this.place
    return { sender: { id: this.id, name, address, life, level, start: this.pen.self.life } }
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
