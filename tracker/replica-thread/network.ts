// What a replica has of the network: the port for other replicas, the keys, the questions of newcomers,
// snapshots on their way. One of them stands before the member does (a cluster is born by asking), and serves
// it afterwards. Refuses: to run without the network key, and to decide who is a member.

import { randomBytes } from 'node:crypto'
import { watchedKeys } from '../keys/network-key.ts'
import { addressOf, type Directory } from '../replica/membership/directory.ts'
import { ask } from '../replica/membership/probe.ts'
import { Visitors } from '../replica/membership/visitors.ts'
import type { Frame, Stamp } from '../replica/transport/frame.ts'
import type { Hello, Refusal } from '../replica/transport/frame-body.ts'
import { type Psk, pskOf } from '../replica/transport/psk.ts'
import { MAX_PEERS, TcpTransport } from '../replica/transport/tcp.ts'
import {
  APPENDS,
  type Channel,
  type Fault,
  type Receiver,
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
  admit(hello: Hello): Refusal | null
  connected(member: number): void
  started(member: number): void
  refused(member: number, refusal: Refusal): void
  stream(begin: StreamBegin): StreamSink | Refusal
  question(question: Uint8Array): Promise<Uint8Array>
}

const NOBODY_YET: Refusal = { code: 'no cluster yet', sentence: 'this replica is no member of a cluster yet' }

export class Network {
  private readonly options: ClusterOptions
  private readonly keys: () => readonly Psk[]
  private readonly self: Self
  private behind: Behind
  private readonly visitors = new Visitors()
  private followed: { readonly directory: Directory; readonly id: number } | null = null
  readonly transport: TcpTransport

  /** `question`: answers while there is no member yet. */
  constructor(
    options: ClusterOptions,
    name: string,
    level: number,
    question: (bytes: Uint8Array) => Promise<Uint8Array>,
  ) {
    this.options = options
    this.keys = watchedKeys(options.networkKeyFile, (keys) => keys.map(pskOf))
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
      admit: (hello) => this.admit(hello),
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
  serve(clusterId: string, id: number, incarnation: number, behind: Behind): void {
    this.behind = behind
    this.transport.identify({ ...this.self, clusterId, id, incarnation })
  }

  /** Whom this member talks to. */
  follow(directory: Directory, id: number): void {
    this.followed = { directory, id }
    this.transport.setPeers(this.visitors.peers(directory, id).slice(0, MAX_PEERS))
  }

  private admit(hello: Hello): Refusal | null {
    const refusal = this.behind.admit(hello)
    const { followed } = this
    if (refusal === null && followed !== null && this.visitors.came(followed.directory, hello))
      this.follow(followed.directory, followed.id)
    return refusal
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
