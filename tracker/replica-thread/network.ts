// What a replica has of the network: the port for other replicas, the keys, the questions of newcomers,
// snapshots on their way. One of them stands before the member does (a cluster is born by asking), and serves
// it afterwards. Refuses: to run without the network key, and to decide who is a member.

import { randomBytes } from 'node:crypto'
import { addressOf, type Directory, nameOf } from '../replica/membership/directory.ts'
import { ask } from '../replica/membership/probe.ts'
import { Visitors } from '../replica/membership/visitors.ts'
import { type Standing, type Whereabout, Whereabouts } from '../replica/membership/whereabouts.ts'
import type { Frame, Stamp } from '../replica/transport/frame.ts'
import type { Hello, Life, Refusal } from '../replica/transport/frame-body.ts'
import type { Psk } from '../replica/transport/psk.ts'
import { MAX_PEERS, TcpTransport } from '../replica/transport/tcp.ts'
import {
  APPENDS,
  type Channel,
  type Fault,
  type Peer,
  type Receiver,
  type Rival,
  type Self,
  type StreamBegin,
  type StreamSink,
} from '../replica/transport/transport.ts'
import { monotonicMs } from '../threads/state.ts'
import type { ClusterOptions } from './messages.ts'

/** What stands behind the network: first the birth of a member, then the member. */
export type Behind = {
  frame(frame: Frame): void
  received(): void
  stamp(to: number, stamp: Stamp): void
  admit(hello: Hello, rival: Rival | null): Refusal | null
  connected(member: number): void
  started(member: number): void
  refused(member: number, refusal: Refusal): void
  stream(begin: StreamBegin): StreamSink | Refusal
  question(question: Uint8Array): Promise<Uint8Array>
  /** A member is elsewhere than the directory says, this one perhaps. */
  moved?(sentence: string): void
  /** What the word of a member's start is worth. */
  standing?(said: Whereabout): Standing
  /** Who leads, as far as this member knows; 0: nobody. */
  leader?(): number
  /** What was in this member's log when it was started is applied. */
  settled?(): boolean
}

const NOBODY_YET: Refusal = { code: 'no cluster yet', sentence: 'this replica is no member of a cluster yet' }

export class Network {
  private readonly options: ClusterOptions
  private readonly keys: () => readonly Psk[]
  private readonly self: Self
  private behind: Behind
  private incarnation = 0
  private unsaid = false
  /** By member: what was said last. */
  private readonly noted = new Map<number, string>()
  private readonly visitors = new Visitors()
  private readonly whereabouts = new Whereabouts((said) => this.behind.standing?.(said) ?? 'open')
  /** Who is elsewhere, as it was looked at last. */
  private looked = ''
  private nonce = ''
  private followed: { readonly directory: Directory; readonly id: number } | null = null
  readonly transport: TcpTransport

  /** `keys`: those in force, asked each time. `question`: answers while there is no member yet. */
  constructor(
    options: ClusterOptions,
    keys: () => readonly Psk[],
    name: string,
    level: number,
    question: (bytes: Uint8Array) => Promise<Uint8Array>,
  ) {
    this.options = options
    this.keys = keys
    this.self = { clusterId: '', id: 0, name, address: options.address, level, incarnation: 0 }
    this.behind = {
      frame: () => {},
      received: () => {},
      stamp: () => {},
      admit: () => NOBODY_YET,
      connected: () => {},
      started: () => {},
      refused: () => {},
      stream: () => NOBODY_YET,
      question,
    }
    this.transport = new TcpTransport({
      self: this.self,
      listen: { host: options.host, port: options.replicaPort },
      security: this.keys,
      receiver: this.receiver(),
      now: monotonicMs,
      random: () => randomBytes(4).readUInt32LE() / 2 ** 32,
      keepaliveMs: options.keepaliveMs,
      missed: options.missed,
    })
  }

  private receiver(): Receiver {
    return {
      frame: (frame) => this.behind.frame(frame),
      received: () => this.behind.received(),
      stamp: (_group, to, stamp) => this.behind.stamp(to, stamp),
      admit: (hello, rival) => this.admit(hello, rival),
      up: (member, channel: Channel) => {
        if (channel === APPENDS) this.behind.connected(member)
      },
      down: () => {},
      started: (member) => this.behind.started(member),
      refused: (member, refusal) => this.behind.refused(member, refusal),
      changed: () => {},
      turnedAway: () => {},
      stream: (begin) => this.behind.stream(begin),
      question: (question) => this.behind.question(question),
    }
  }

  /** There is a member: it hears everything from now on. */
  serve(clusterId: string, id: number, life: Life, behind: Behind): void {
    this.behind = behind
    this.incarnation = life.incarnation
    this.nonce = life.nonce
    this.transport.identify({ ...this.self, clusterId, id, incarnation: life.incarnation, life })
  }

  /** Whom this member talks to. */
  follow(directory: Directory, id: number): void {
    const before = this.followed?.directory
    this.followed = { directory, id }
    if (before !== undefined && this.behind.settled?.() === true) this.agreed(before, directory)
    const { incarnation, nonce } = this
    this.hear({ id, address: this.options.address, incarnation, nonce })
    this.dial()
  }

  /** A move is in the log. */
  private agreed(before: Directory, now: Directory): void {
    for (const { id, address } of now.members) {
      const was = before.members.find((m) => m.id === id)?.address ?? address
      if (was !== address)
        this.behind.moved?.(`the cluster has ${nameOf(now, id)} at ${address} now (was ${was})`)
    }
  }

  private dial(): void {
    if (this.followed === null) return
    const { directory, id } = this.followed
    const moved = new Map(this.dialled().map((m) => [m.id, m.address]))
    const named = new Map(this.options.initialMembers.map((m) => [m.name, m.address]))
    const peers = this.visitors.peers(directory, id).map((peer): Peer => {
      const elsewhere = addressOf(moved.get(peer.id) ?? named.get(peer.name) ?? '')
      return elsewhere === null ? peer : { ...peer, elsewhere }
    })
    this.transport.setPeers(peers.slice(0, MAX_PEERS))
  }

  /** Members that are elsewhere than the directory says, by their own word or that of whoever met them. */
  moved(): readonly Whereabout[] {
    const { followed, behind } = this
    return followed === null ? [] : this.whereabouts.moved(followed.directory, behind.leader?.() ?? 0)
  }

  private dialled(): readonly Whereabout[] {
    const { followed, behind } = this
    return followed === null ? [] : this.whereabouts.dialled(followed.directory, behind.leader?.() ?? 0)
  }

  /** A member is there, as it says itself, or whoever met it. */
  hear(said: Whereabout): void {
    const { followed } = this
    if (followed === null) return
    this.whereabouts.hear(followed.directory, said)
    this.look()
  }

  /** Has anybody moved? Every now and then, too: a start may have come to count, or a leader have gone. */
  look(): void {
    const now = [this.moved(), this.dialled()]
      .map((some) => some.map((m) => `${m.id} ${m.address}`).join())
      .join(';')
    if (now === this.looked) return
    this.looked = now
    this.unsaid = true
    this.note()
    this.dial()
  }

  private admit(hello: Hello, rival: Rival | null): Refusal | null {
    const refusal = this.behind.admit(hello, rival)
    const { followed } = this
    if (refusal !== null || followed === null) return refusal
    if (this.visitors.came(followed.directory, hello)) this.dial()
    const { from: id, address = '', incarnation, life } = hello
    this.hear({ id, address, incarnation, seen: true, ...(life === undefined ? {} : { nonce: life.nonce }) })
    return null
  }

  /** Says who has moved, once it is known what the log has of it. */
  note(): void {
    const { followed } = this
    if (!this.unsaid || followed === null || this.behind.settled?.() !== true) return
    this.unsaid = false
    for (const { id, address } of this.moved()) {
      const was = followed.directory.members.find((m) => m.id === id)!.address
      const sentence = `${nameOf(followed.directory, id)} is at ${address} now, and the cluster has it at ${was || 'nowhere'}`
      if (this.noted.get(id) !== sentence) this.behind.moved?.(sentence)
      this.noted.set(id, sentence)
    }
  }

  /** One question to whoever is at `address` (`host:port`). */
  ask(address: string, question: Uint8Array): Promise<Uint8Array> {
    const to = addressOf(address)
    if (to === null) return Promise.reject(new Error(`"${address}" is no address: host:port is needed`))
    return ask(to, question, { security: this.keys, now: monotonicMs })
  }

  /** A fault on request. False: there is no such member, or faults are not allowed here. */
  fault(member: number, fault: Fault | null): boolean {
    return this.options.allowFaults && this.transport.setFault(member, fault)
  }
}
