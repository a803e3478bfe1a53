// Members that talk over real sockets and write down what they hear, for tests that wait for events and never
// for time.

import { connect } from 'node:net'
import { clusterDigest, type Frame, HEADER_BYTES, newStamp, RAFT, type Stamp, writeHeader } from './frame.ts'
import { decodeBatch, decodeNotice, decodeRefusal, type Hello, type Refusal } from './frame-body.ts'
import { FrameDecoder } from './frame-decoder.ts'
import { pskRing } from './psk.ts'
import { type TcpOptions, TcpTransport } from './tcp.ts'
import {
  type Address,
  CHANNEL_NAMES,
  type Channel,
  type Peer,
  type Receiver,
  type Rival,
  type StreamBegin,
  type StreamSink,
} from './transport.ts'

export const CLUSTER = '0123456789abcdef0123456789abcdef'
export const KEY = 'a network key that is long enough, first'
export const OTHER_KEY = 'a network key that is long enough, second'

export const ring = (...keys: string[]) => {
  const psks = pskRing(keys.join('\n'))
  return () => psks
}

/** A raftpb.Message as far as the network looks at it: type, to, from, term, then a marker. */
export const message = (type: number, marker: number, term = 1): Uint8Array =>
  Uint8Array.of(8, type, 16, 2, 24, 1, 32, term, 0x30, marker & 0x7f)

export class TestMember implements Receiver {
  readonly id: number
  readonly transport: TcpTransport
  /** What was heard and what happened, in words. */
  heard: string[] = []
  events: string[] = []
  reads = 0
  admitted: (hello: Hello, rival: Rival | null) => Refusal | null = () => null
  sink: (begin: StreamBegin) => StreamSink | Refusal = () => ({ code: 'malformed', sentence: 'no' })
  answer: (question: Uint8Array) => Promise<Uint8Array> = async (q) => q
  onFrame: (frame: Frame) => void = () => {}
  says: Partial<Stamp> = {}
  address: Address = { host: '127.0.0.1', port: 0 }
  private waiters: (() => void)[] = []

  constructor(id: number, options: Partial<TcpOptions> = {}) {
    this.id = id
    this.transport = new TcpTransport({
      self: { clusterId: CLUSTER, id, name: `r${id}`, level: 1, incarnation: 1 },
      listen: this.address,
      security: ring(KEY),
      receiver: this,
      now: () => performance.now(),
      random: () => 0.5,
      keepaliveMs: 1000,
      missed: 2,
      ...options,
    })
  }

  async open(): Promise<this> {
    this.address = await this.transport.listen()
    return this
  }

  get peer(): Peer {
    return { id: this.id, name: `r${this.id}`, address: this.address }
  }

  /** Resolves once `test` holds; looked at after each event. */
  async until(test: () => boolean): Promise<void> {
    while (!test()) await new Promise<void>((resolve) => this.waiters.push(resolve))
  }

  connected(member: number): Promise<void> {
    return this.until(() => this.stateOf(member)?.state === 'connected')
  }

  stateOf(member: number) {
    return this.transport.status().find((p) => p.id === member)
  }

  frame(frame: Frame): void {
    this.onFrame(frame)
    this.heard.push(`${frame.from}: ${wordsOf(frame)}`)
    this.wake()
  }
  received(): void {
    this.reads++
  }
  stamp(_group: number, _to: number, stamp: Stamp): void {
    Object.assign(stamp, this.says)
  }
  admit(hello: Hello, rival: Rival | null): Refusal | null {
    return this.admitted(hello, rival)
  }
  up(member: number, channel: Channel): void {
    this.note(`up ${member} ${CHANNEL_NAMES[channel]}`)
  }
  down(member: number, channel: Channel): void {
    this.note(`down ${member} ${CHANNEL_NAMES[channel]}`)
  }
  started(member: number, incarnation: number): void {
    this.note(`started ${member} ${incarnation}`)
  }
  refused(member: number, refusal: Refusal): void {
    this.note(`refused by ${member}: ${refusal.code}: ${refusal.sentence}`)
  }
  changed(_member: number): void {
    this.wake()
  }
  turnedAway(_from: string, sentence: string): void {
    this.note(`turned away: ${sentence}`)
  }
  stream(begin: StreamBegin): StreamSink | Refusal {
    return this.sink(begin)
  }
  question(question: Uint8Array): Promise<Uint8Array> {
    return this.answer(question)
  }

  note(event: string): void {
    this.events.push(event)
    this.wake()
  }
  private wake(): void {
    for (const resolve of this.waiters.splice(0)) resolve()
  }
}

/**
 * A connection made by hand, without TLS: what it sends is up to the test; what comes back is told by kind.
 */
export const byHand = async (
  port: number,
): Promise<{
  send(kind: number, from: number, to: number, body?: Uint8Array): void
  next(): Promise<string>
  close(): void
}> => {
  const socket = connect(port, '127.0.0.1')
  const decoder = new FrameDecoder(65_536)
  const came: string[] = []
  let wake = (): void => {}
  socket.on('data', (piece: Buffer) => {
    decoder.push(piece)
    for (let f = decoder.next(); f !== null; f = decoder.next())
      came.push(`${f.kind} ${decodeRefusal(f.body)?.code ?? ''}`.trim())
    wake()
  })
  socket.on('error', () => {})
  socket.on('close', () => {
    came.push('closed')
    wake()
  })
  await new Promise<void>((resolve) => socket.once('connect', () => resolve()))
  const { high, low } = clusterDigest(CLUSTER)
  return {
    send: (kind, from, to, body = new Uint8Array(0)) => {
      const frame = new Uint8Array(HEADER_BYTES + body.length)
      const head = { kind, level: 1, clusterHigh: high, clusterLow: low, from, to, group: 0, sentUs: 0 }
      writeHeader(new DataView(frame.buffer), 0, head, newStamp(), body.length)
      frame.set(body, HEADER_BYTES)
      socket.write(frame)
    },
    next: async () => {
      while (came.length === 0)
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      return came.shift()!
    },
    close: () => void socket.destroy(),
  }
}

const wordsOf = (frame: Frame): string => {
  if (frame.kind === RAFT) return `raft ${frame.group} ${frame.body[1]}/${frame.body[9]}`
  const batch = decodeBatch(frame.body)
  if (batch !== null) return `batch ${batch.incarnation}.${batch.number} ${batch.section.length} bytes`
  const notice = decodeNotice(frame.body)
  return notice === null
    ? `kind ${frame.kind}`
    : `notice ${notice.incarnation}.${notice.number} ${notice.verdict}`
}

/**
 * Runs `body` with members that know each other, all connected unless `alone`; closes them whatever happens.
 */
export const withMembers = async (
  options: readonly Partial<TcpOptions>[],
  body: (...members: TestMember[]) => Promise<void>,
  alone = false,
): Promise<void> => {
  const members = options.map((o, i) => new TestMember(i + 1, o))
  try {
    for (const m of members) await m.open()
    if (!alone) {
      for (const m of members) m.transport.setPeers(members.map((x) => x.peer))
      for (const m of members) for (const x of members) if (x !== m) await m.connected(x.id)
    }
    await body(...members)
  } finally {
    for (const m of members) await m.transport.close()
  }
}
