// Replicas over TCP: the members to dial, the door for those who dial us, and the beat that finds dead
// connections. Refuses: to run without the network key, except where somebody measures what the key costs.

import type { AddressInfo, LookupFunction } from 'node:net'
import { Acceptor } from './accept.ts'
import type { Security } from './dial.ts'
import { WireClock } from './echo.ts'
import { clusterDigest, type Frame } from './frame.ts'
import type { Refusal } from './frame-body.ts'
import { PeerWay } from './peer.ts'
import { Pen } from './pen.ts'
import type {
  Address,
  ClusterTransport,
  Fault,
  Peer,
  PeerStatus,
  Receiver,
  RefusedDial,
  Self,
  StreamOut,
} from './transport.ts'
import { StreamFailed } from './transport.ts'
import { isWho, whoAnswer } from './who.ts'

export type TcpOptions = {
  readonly self: Self
  /** Where others dial us; port 0: any free one. */
  readonly listen: Address
  /** The keys in force, asked at each handshake (see psk.ts). 'plain' is for measuring only. */
  readonly security: Security
  readonly receiver: Receiver
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number
  /** 0 up to 1. */
  readonly random: () => number
  readonly keepaliveMs: number
  /** Keepalives without an answer that close a connection. */
  readonly missed: number
  /**
   * How long a mere notice of a commit waits for an append that says the same, milliseconds; 0: not at all.
   */
  readonly noticeMs?: number
  /** Default: the system's look-up, at each dial. */
  readonly lookup?: LookupFunction
}

/** Most other members. */
export const MAX_PEERS = 64

export class TcpTransport implements ClusterTransport {
  private readonly o: TcpOptions
  private readonly clock: WireClock
  private readonly pen: Pen
  private readonly acceptor: Acceptor
  private readonly ways = new Map<number, PeerWay>()
  private digest: { high: number; low: number }
  private beating: ReturnType<typeof setInterval> | undefined
  private lastBeatMs: number
  private closed = false
  /** Frames of a member that were not for this cluster. */
  strayFrames = 0

  constructor(options: TcpOptions) {
    const { self, security, receiver, now, random } = options
    if (security !== 'plain' && security().length === 0) throw new Error('no network key')
    this.o = options
    this.clock = new WireClock(now(), random())
    this.pen = new Pen(self, this.clock, now, receiver)
    this.digest = clusterDigest(self.clusterId)
    this.lastBeatMs = now()
    this.acceptor = new Acceptor({
      security,
      pen: this.pen,
      now,
      countersOf: (member) => this.ways.get(member)?.counters ?? null,
      deadMs: options.keepaliveMs * (options.missed + 1),
      admit: (hello, rival) => {
        const cut = this.ways.get(hello.from)?.fault?.cut
        if (cut === 'in' || cut === 'both')
          return { code: 'cut by a fault on request', sentence: 'cut by a fault on request' }
        return receiver.admit(hello, rival)
      },
      started: (member, incarnation, from) => {
        receiver.started(member, incarnation)
        if (from !== '') this.ways.get(member)?.meet(from)
      },
      frame: (frame) => this.frame(frame),
      received: () => receiver.received(),
      turnedAway: (from, sentence) => receiver.turnedAway(from, sentence),
      stream: (begin) => receiver.stream(begin),
      question: async (question) =>
        isWho(question) ? whoAnswer(this.pen.self) : receiver.question(question),
    })
  }

  /** Opens the port; rejects when it cannot. Resolves to where it listens. */
  async listen(): Promise<Address> {
    const { server } = this.acceptor
    const { host, port } = this.o.listen
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host, port }, () => {
        server.off('error', reject)
        resolve()
      })
    })
    this.beating = setInterval(() => this.beat(), this.o.keepaliveMs)
    return { host, port: (server.address() as AddressInfo).port }
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    clearInterval(this.beating)
    for (const way of this.ways.values()) way.stop('this replica stops')
    this.ways.clear()
    await this.acceptor.close()
  }

  /** The cluster was born, or joined. Before `setPeers`. */
  identify(self: Self): void {
    this.digest = clusterDigest(self.clusterId)
    this.pen.identify(self)
  }

  setPeers(peers: readonly Peer[]): void {
    if (this.closed) return
    if (peers.length > MAX_PEERS)
      throw new RangeError(`${peers.length} other members; ${MAX_PEERS} are the most`)
    this.acceptor.expect(peers.map((p) => p.address.host))
    const wanted = new Map(peers.filter((p) => p.id !== this.pen.self.id).map((p) => [p.id, p]))
    for (const [id, way] of [...this.ways]) {
      const peer = wanted.get(id)
      if (peer === undefined) {
        way.stop('no member any more')
        this.ways.delete(id)
        this.acceptor.drop(id, 'no member any more')
      } else if (same(peer, way.peer)) {
        way.moved(peer.elsewhere ?? null)
        wanted.delete(id)
      } else {
        way.stop('it has moved')
        this.ways.delete(id)
      }
    }
    for (const peer of wanted.values()) {
      const way = this.way(peer)
      this.ways.set(peer.id, way)
      way.start()
    }
  }

  send(group: number, to: number, message: Uint8Array): void {
    this.ways.get(to)?.raft(group, message)
  }

  sendBatch(group: number, to: number, incarnation: number, number: number, section: Uint8Array): boolean {
    return this.ways.get(to)?.batch(group, incarnation, number, section) ?? false
  }

  sendNotice(group: number, to: number, incarnation: number, number: number, verdict: number): void {
    this.ways.get(to)?.batchNotice(group, incarnation, number, verdict)
  }

  keepalive(group: number, to: number, body?: Uint8Array): void {
    this.ways.get(to)?.keepalive(group, body)
  }

  flush(): void {
    this.pen.flush()
  }

  openStream(group: number, to: number, head: Uint8Array, totalBytes: number): StreamOut {
    const way = this.ways.get(to)
    if (way === undefined) throw new StreamFailed(`${to} is no other member`)
    return way.streams.open(group, head, totalBytes)
  }

  /** A fault on request between this replica and one other, or null to end it. False: no such member. */
  setFault(member: number, fault: Fault | null): boolean {
    const way = this.ways.get(member)
    if (way === undefined) return false
    way.setFault(fault)
    if (fault?.cut === 'in' || fault?.cut === 'both') this.acceptor.drop(member, 'cut by a fault on request')
    return true
  }

  /** What it has dialled ends: another life of it counts. It dials again, and is judged anew. */
  turnOut(member: number): void {
    this.acceptor.drop(member, 'another life of this member counts')
  }

  /** Is this life of a member connected? */
  isHere(member: number, nonce: string): boolean {
    return this.acceptor.isHere(member, nonce)
  }

  status(): readonly PeerStatus[] {
    return [...this.ways.values()].map((way) => way.status())
  }

  /** Who wanted to come in and was not let in. */
  get refusedDials(): readonly RefusedDial[] {
    return this.acceptor.refusedDials
  }

  private frame(frame: Frame): void {
    const { now, receiver } = this.o
    if (frame.clusterHigh !== this.digest.high || frame.clusterLow !== this.digest.low) {
      this.strayFrames++
      return
    }
    const way = this.ways.get(frame.from)
    const nowMs = now()
    if (way !== undefined) {
      way.heardMs = nowMs
      way.level = frame.level
    }
    frame.echoMs = frame.echoUs < 0 ? Number.NEGATIVE_INFINITY : this.clock.fromWire(frame.echoUs, nowMs)
    receiver.frame(frame)
  }

  private beat(): void {
    const nowMs = this.o.now()
    const late = nowMs - this.lastBeatMs > 2 * this.o.keepaliveMs
    this.lastBeatMs = nowMs
    // A process that stood still has not read yet what would have kept its connections alive.
    if (late) return
    for (const way of this.ways.values()) way.beat(nowMs)
    this.acceptor.sweep(nowMs)
    this.pen.flush()
  }

  private way(peer: Peer): PeerWay {
    const { security, lookup, now, random, keepaliveMs, missed, noticeMs, receiver } = this.o
    const way: PeerWay = new PeerWay(peer, {
      pen: this.pen,
      clock: this.clock,
      security,
      lookup,
      now,
      random,
      // The first keepalive is sent up to one period after the last sign of life.
      deadMs: keepaliveMs * (missed + 1),
      noticeMs: noticeMs ?? 0,
      up: (channel) => {
        this.acceptor.reached(way.reachedAt(channel))
        receiver.up(peer.id, channel)
      },
      down: (channel, reason) => receiver.down(peer.id, channel, reason),
      refused: (refusal: Refusal) => receiver.refused(peer.id, refusal),
      changed: () => receiver.changed(peer.id),
    })
    return way
  }
}

const same = (a: Peer, b: Peer): boolean =>
  a.name === b.name && a.address.host === b.address.host && a.address.port === b.address.port
