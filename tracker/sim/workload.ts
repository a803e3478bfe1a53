// Seeded BitTorrent clients of a simulated cluster, one request at a time each: they connect, join, refresh,
// complete, move, leave and scrape over BEP 15, send again when nothing comes, and ask another member when
// that does not help. Some hop: as soon as one member has answered they say the next thing to another one.
// Refuses: to know what the right answer is; checkers.ts does.

import type { Timer, VirtualClock } from '@skep/testing/clock.ts'
import type { Random } from '@skep/testing/random.ts'
import {
  decodeAnswer,
  EVENT_COMPLETED,
  EVENT_NONE,
  EVENT_STARTED,
  EVENT_STOPPED,
  encodeRequest,
  type Request,
} from '@skep/wire/udp-tracker.ts'
import type { Checkers, Operation } from './checkers.ts'
import type { Endpoint } from './front-end.ts'
import { peerName } from './history.ts'

export type WorkloadOptions = {
  readonly clients: number
  readonly infoHashes: readonly Uint8Array[]
  /** Between an answer and the next request, on average, milliseconds. */
  readonly pauseMs: number
}

export type WorkloadWorld = {
  readonly clock: VirtualClock
  readonly random: Random
  readonly checkers: Checkers
  /** Numbers of the members that there are now. */
  members(): readonly number[]
  /** From a client (1 to N) to a member. */
  send(client: number, member: number, from: Endpoint, bytes: Uint8Array): void
}

type State = 'absent' | 'leecher' | 'seeder' | 'unknown'
/** What an answer to the current request makes of the client's state. */
type Wish = { readonly to: State; readonly event: number; readonly left: bigint }

/**
 * A connection ID is renewed after this; it is good for two minutes of cluster time at least, milliseconds.
 */
const ID_MS = 60_000
/**
 * Waits for an answer at least this long, at most twice as long, milliseconds: sooner than real clients, for
 * more cases.
 */
const RETRY_MS = 1000
/** Then it wants something else. */
const TRIES = 8
/** So many clients hop, and after so many of their answers. */
const HOPPERS = 0.3
const HOPS = 0.6

export class Client {
  readonly number: number
  private readonly world: WorkloadWorld
  private readonly o: WorkloadOptions
  private readonly random: Random
  private readonly infoHash: Uint8Array
  private readonly peerId: Uint8Array
  private readonly key: number
  private readonly hops: boolean
  private endpoint: Endpoint
  private state: State = 'absent'
  private member: number
  private id = 0n
  private idMs = Number.NEGATIVE_INFINITY
  private operation: Operation | null = null
  private request: Request | null = null
  private wish: Wish | null = null
  private tries = 0
  private timer: Timer | null = null
  private resting = false
  private asked = 0
  /** Requests of this client that were answered. */
  answered = 0

  constructor(world: WorkloadWorld, options: WorkloadOptions, number: number) {
    this.world = world
    this.o = options
    this.number = number
    this.random = world.random.fork()
    const { random } = this
    this.infoHash = random.pick(options.infoHashes)
    this.peerId = random.bytes(20)
    this.key = random.chance(0.3) ? 0 : random.word() | 1
    const v6 = random.chance(0.25)
    // 30.0.0.0/8 and 2a00::/16, raw as they lie in memory: public addresses that nobody answers from here.
    const address = v6 ? [0x0000002a, 0, 0, number << 24] : [0x1e | (number << 24)]
    this.endpoint = { family: v6 ? 6 : 4, address, port: 1000 + random.below(50_000) }
    this.member = random.pick(world.members())
    this.hops = random.chance(HOPPERS)
  }

  /** Begins to live: first request after a while. */
  begin(): void {
    this.next()
  }

  /** No new requests; the current one goes on. */
  rest(): void {
    this.resting = true
  }

  get busy(): boolean {
    return this.operation !== null
  }

  private next(): void {
    if (this.resting) return
    const ms = this.random.exponential(this.o.pauseMs)
    this.world.clock.after(ms, () => {
      if (!this.resting) this.start()
    })
  }

  private start(): void {
    const { random } = this
    this.tries = 0
    if (random.chance(0.4)) this.ask('scrape', null)
    else this.ask('announce', this.draw())
    this.transmit()
  }

  /**
   * At another member, at once: what it says there must count although that member may not have heard yet of
   * what this client has just been told.
   */
  private hop(): void {
    const others = this.world.members().filter((number) => number !== this.member)
    if (this.resting || others.length === 0) {
      this.next()
      return
    }
    this.member = this.random.pick(others)
    this.tries = 0
    this.ask('announce', this.draw(true))
    this.transmit()
  }

  /** A client that does not know what became of its last wish says plainly where it is. */
  private draw(hops = false): Wish {
    const { random } = this
    const join: Wish = { to: 'leecher', event: EVENT_STARTED, left: 1000n }
    const seed: Wish = { to: 'seeder', event: EVENT_STARTED, left: 0n }
    const leave: Wish = { to: 'absent', event: EVENT_STOPPED, left: this.state === 'seeder' ? 0n : 1000n }
    switch (this.state) {
      case 'absent':
        return random.chance(0.3) ? seed : join
      case 'unknown':
        return random.pick([join, seed, leave])
      case 'leecher':
        if (random.chance(0.25)) return { to: 'seeder', event: EVENT_COMPLETED, left: 0n }
    }
    if (random.chance(0.05)) this.move()
    if (random.chance(hops ? 0.6 : 0.25)) return leave
    return { to: this.state, event: EVENT_NONE, left: this.state === 'seeder' ? 0n : 1000n }
  }

  /** Another port, as behind a router that forgot: with a key it is the same client still. */
  private move(): void {
    this.endpoint = { ...this.endpoint, port: 1000 + this.random.below(50_000) }
    this.idMs = Number.NEGATIVE_INFINITY
  }

  private ask(kind: Operation['kind'], wish: Wish | null): void {
    const { checkers } = this.world
    const { endpoint } = this
    const v6 = endpoint.family === 6
    const hashes =
      kind === 'scrape' ? this.random.shuffle([...this.o.infoHashes]).slice(0, 2) : [this.infoHash]
    this.wish = wish
    this.operation = checkers.asks({
      transaction: this.number * 2 ** 20 + ++this.asked,
      kind,
      swarms: hashes.map(firstWord),
      peer: peerName(v6, endpoint.address, 0, endpoint.port),
      v6,
      leave: wish?.event === EVENT_STOPPED,
      seeder: wish?.left === 0n,
    })
    const transactionId = this.operation.transaction
    this.request =
      wish === null
        ? { kind: 'scrape', connectionId: 0n, transactionId, infoHashes: hashes }
        : {
            kind: 'announce',
            connectionId: 0n,
            transactionId,
            infoHash: this.infoHash,
            peerId: this.peerId,
            downloaded: 0n,
            uploaded: 0n,
            left: wish.left,
            event: wish.event,
            ip: 0,
            key: this.key,
            numWant: 200,
            // As it lies in memory: the checkers read ports raw.
            port: ((endpoint.port & 0xff) << 8) | (endpoint.port >>> 8),
            urlData: new Uint8Array(0),
          }
  }

  private transmit(): void {
    const { clock } = this.world
    const { operation } = this
    if (operation === null) return
    if (this.tries === TRIES) {
      this.giveUp()
      return
    }
    // Twice the same member, then another: an answer lost is as likely as a member gone.
    if (this.tries > 0 && this.tries % 2 === 0) this.another()
    const known = clock.now() - this.idMs < ID_MS
    const request: Request = known
      ? ({ ...this.request!, connectionId: this.id } as Request)
      : { kind: 'connect', transactionId: operation.transaction }
    this.world.send(this.number, this.member, this.endpoint, encodeRequest(request))
    this.tries++
    const wait = RETRY_MS * (1 + this.random.unit())
    this.timer = clock.after(wait, () => this.transmit())
  }

  private giveUp(): void {
    if (this.wish !== null) this.state = 'unknown'
    this.operation = null
    this.another()
    this.next()
  }

  private another(): void {
    const members = this.world.members()
    this.member = members[(members.indexOf(this.member) + 1) % members.length]!
  }

  /** Bytes from a member. */
  receive(member: number, to: Endpoint, bytes: Uint8Array): void {
    const { operation, world } = this
    const answer = decodeAnswer(bytes, to.family)
    if (operation === null || answer.kind === 'refused' || answer.transactionId !== operation.transaction)
      return
    if (this.timer !== null) world.clock.cancel(this.timer)
    switch (answer.kind) {
      case 'connect':
        this.id = answer.connectionId
        this.idMs = world.clock.now()
        this.member = member
        this.tries = 0
        this.transmit()
        return
      case 'error':
        // Refused, never appended; but a copy sent to another member may still take effect.
        if (this.wish !== null) this.state = 'unknown'
        break
      default:
        if (this.wish !== null) this.state = this.wish.to
        this.member = member
        this.answered++
    }
    this.operation = null
    if (this.hops && this.random.chance(HOPS)) this.hop()
    else this.next()
  }
}

const firstWord = (hash: Uint8Array): number => new DataView(hash.buffer, hash.byteOffset).getInt32(0, true)
