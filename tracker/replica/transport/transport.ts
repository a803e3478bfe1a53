// What the loop, the lease and the batches need of a network. The real one is tcp.ts; the simulator has its
// own. Refuses: guarantees that Raft does not ask for. Raft messages may be lost, repeated and reordered;
// batches keep their order on one connection, and are never lost without a word: either `sendBatch` says no,
// or `down` says that what was sent may not have arrived.

import type { Frame, Stamp } from './frame.ts'
import type { Hello, Life, Refusal } from './frame-body.ts'

/** All that the loop asks for. */
export interface Transport {
  /**
   * A Raft message for one member. The bytes are a view: copied before this returns. Dropped when the way is
   * clogged.
   */
  send(group: number, to: number, message: Uint8Array): void
}

/** Heartbeats, votes, keepalives: small, never behind anything large. */
export const CONTROL = 0
/** Appends and their answers; batches and what became of them. */
export const APPENDS = 1
/** Snapshots. */
export const BULK = 2
export const CHANNELS = [CONTROL, APPENDS, BULK] as const
export type Channel = (typeof CHANNELS)[number]
export const CHANNEL_NAMES = ['control', 'appends', 'bulk'] as const

export type Address = { readonly host: string; readonly port: number }

export type Peer = {
  readonly id: number
  readonly name: string
  readonly address: Address
  /** It may be there as well: dialled in turn with `address`. */
  readonly elsewhere?: Address
}

/** Who this replica is. `clusterId` is empty before there is a cluster: then only questions are answered. */
export type Self = {
  readonly clusterId: string
  readonly id: number
  readonly name: string
  /** Where others dial it, `host:port`: told to those who have not heard of it. */
  readonly address?: string
  readonly level: number
  /** Counts the starts of this replica, synced before use. */
  readonly incarnation: number
  /** Of this start; absent while there is no member. */
  readonly life?: Life
}

/** Another life of a member that dials is connected here; `alive`: it has answered since. */
export type Rival = { readonly alive: boolean }

/**
 * What the network tells its owner. Called from the network's own turns, never from within a call of the
 * owner.
 */
export interface Receiver {
  /** RAFT, BATCH, NOTICE or KEEPALIVE of a member for this group. Valid only during the call. */
  frame(frame: Frame): void
  /** Those of one read are all told: a good moment to take a turn. */
  received(): void
  /**
   * Fills in what this replica says of itself in a frame that is being written. Called from within `send` and
   * its like.
   */
  stamp(group: number, to: number, stamp: Stamp): void
  /**
   * A member (`from`) dials us: null to let it in, or why not. Its cluster and the addressee are right
   * already. `rival`: another life of it that it would displace.
   */
  admit(hello: Hello, rival: Rival | null): Refusal | null
  /** What is sent on this channel arrives from now on. On APPENDS: batches that are not resolved go again. */
  up(member: number, channel: Channel): void
  /** What was sent on this channel may not have arrived. */
  down(member: number, channel: Channel, reason: string): void
  /** The member's first connection since its last start: echoes of its former times mean nothing. */
  started(member: number, incarnation: number): void
  /** A member has said no: say, that this replica was removed. Repeated at each dial. */
  refused(member: number, refusal: Refusal): void
  /** The way to a member is another than before: `status` tells. */
  changed(member: number): void
  /** Somebody who wanted to come in was not let in. */
  turnedAway(from: string, sentence: string): void
  /** Somebody sends a snapshot: where its chunks go, or why it is not wanted. */
  stream(begin: StreamBegin): StreamSink | Refusal
  /** A question of somebody who holds the network key but need not be a member; the answer goes back. */
  question(question: Uint8Array): Promise<Uint8Array>
}

export type StreamBegin = {
  readonly group: number
  readonly from: number
  /** What the stream is: opaque to the network. A copy. */
  readonly head: Uint8Array
  /** Whole size as far as known beforehand, bytes. */
  readonly totalBytes: number
}

/**
 * The receiving end of a stream, made by its owner. Only `broken` is called while a promise of it is pending.
 */
export interface StreamSink {
  /** Chunks that are there already, from an earlier attempt: the stream goes on with this number. */
  readonly first: number
  /**
   * The next chunk, valid until the promise resolves. Nothing more is read meanwhile. Rejects: the stream is
   * refused.
   */
  write(chunk: Uint8Array): Promise<void>
  /** All chunks were written. Resolves when they are safe. Rejects: refused. */
  end(): Promise<void>
  /** It ended early; the sender may come back. */
  broken(reason: string): void
}

/** The sending end of a stream. */
export interface StreamOut {
  /** With which chunk to begin; earlier ones are there already. Rejects with StreamFailed. */
  readonly first: Promise<number>
  /**
   * Sends the next chunk (copied before `first` or this resolves); resolves when there is room for another.
   * Rejects with StreamFailed.
   */
  write(chunk: Uint8Array): Promise<void>
  /** Resolves when the receiver says that it has all of it, safely. Rejects with StreamFailed. */
  end(): Promise<void>
  abort(): void
}

/**
 * A stream came to nothing. `refused`: the receiver does not want it; else the way broke: open it again
 * later.
 */
export class StreamFailed extends Error {
  override readonly name = 'StreamFailed'
  readonly refused: boolean
  constructor(sentence: string, refused = false) {
    super(sentence)
    this.refused = refused
  }
}

/** A fault on request, between this replica and one other. It ends by itself. */
export type Fault = {
  /** No connection: that we dial, that the other dials, or neither. */
  readonly cut?: 'out' | 'in' | 'both'
  /** Everything that we send is written this much later, in order. Milliseconds. */
  readonly delayMs?: number
  /** Share of the Raft messages and keepalives that we send which vanish: 0 to 1. */
  readonly loss?: number
  /** When it heals, milliseconds of the clock that the network was given. */
  readonly untilMs: number
}

export type PeerState = 'connected' | 'connecting' | 'dialing' | 'refused' | 'cut'

export type PeerStatus = {
  readonly id: number
  readonly name: string
  readonly address: string
  /** connected: all channels are up; connecting: some are. */
  readonly state: PeerState
  /** A sentence for people: `refused: wrong network key`, with what to do. */
  readonly detail: string
  readonly lastError: string
  /** Of the control channel; null: not measured yet. */
  readonly rttMs: number | null
  /** Behaviour level that its last frame told; 0: nothing heard yet. */
  readonly level: number
  /** Since anything of it arrived, milliseconds; null: nothing yet. */
  readonly heardMsAgo: number | null
  readonly queuedBytes: number
  readonly droppedFrames: number
  readonly refusedBatches: number
  readonly sentFrames: number
  readonly sentBytes: number
  /** Writes to sockets: frames of one turn share one. */
  readonly writes: number
  readonly receivedFrames: number
  readonly receivedBytes: number
  readonly connects: number
}

/** Dials of strangers that were refused, newest last. */
export type RefusedDial = {
  readonly from: string
  readonly sentence: string
  readonly count: number
  readonly atMs: number
}

export interface ClusterTransport extends Transport {
  /**
   * A numbered batch for the leader of the current term. False: it was not sent, and will not be; try again
   * later.
   */
  sendBatch(group: number, to: number, incarnation: number, number: number, section: Uint8Array): boolean
  /** What a leader did with a batch of `to` (NOTICE_REFUSED, NOTICE_TAKEN). Lost only with its connection. */
  sendNotice(group: number, to: number, incarnation: number, number: number, verdict: number): void
  /**
   * Time, echo, lease and commit alone, when nothing else carries them; `body`: opaque here, and lost as
   * easily.
   */
  keepalive(group: number, to: number, body?: Uint8Array): void
  /**
   * Ends a turn: what was sent in it goes out, in one write a channel. Without it the same happens a moment
   * later.
   */
  flush(): void
  openStream(group: number, to: number, head: Uint8Array, totalBytes: number): StreamOut
  /** The other members, whole. Those that are gone are let go, new ones dialled. */
  setPeers(peers: readonly Peer[]): void
  status(): readonly PeerStatus[]
}
