// The way to one member on one channel: dials, greets, keeps alive, dials again. Each side sends on what it
// dialled and only answers on what was dialled to it, so no two connections ever compete for one job, a way
// that is cut in one direction only is seen as such, and the newest dial always wins. A member that has just
// dialled us from somewhere is tried there first: its name may go on leading to where it was for as long as
// name servers remember. Refuses: to keep what could not be sent. Raft repairs its own; batches hear `down`.

import type { LookupFunction, Socket } from 'node:net'
import { backoffMs } from './backoff.ts'
import { type DialFailure, dial, type Security } from './dial.ts'
import { type Frame, HEADER_BYTES, HELLO, MAX_FRAME_BYTES, PING, PONG, REFUSED, WELCOME } from './frame.ts'
import { decodeRefusal, encodeHello, type Refusal } from './frame-body.ts'
import type { Pen } from './pen.ts'
import { type Address, BULK, type Channel, type Peer } from './transport.ts'
import { type Counters, Wire } from './wire.ts'

/** From the look-up of the name to the welcome, milliseconds. */
export const CONNECT_MS = 3000
/** Bulk may be silent this many times longer: its answers wait behind chunks that are worked off. */
const BULK_PATIENCE = 10

export type LinkOptions = {
  readonly peer: Peer
  readonly channel: Channel
  readonly pen: Pen
  readonly counters: Counters
  readonly security: Security
  readonly lookup?: LookupFunction | undefined
  readonly now: () => number
  /** 0 up to 1. */
  readonly random: () => number
  readonly queueBytes: number
  /** No sign of life for this long closes a connection, milliseconds. */
  readonly deadMs: number
  readonly up: () => void
  readonly down: (reason: string) => void
  readonly refused: (refusal: Refusal) => void
  readonly changed: () => void
  /** Answers on this connection other than the greeting. */
  readonly reply: (frame: Frame) => void
}

/** Refusals that end by themselves, soon. */
const PASSING: readonly string[] = ['cut by a fault on request', 'no cluster yet', 'held']

export type LinkState = 'stopped' | 'dialing' | 'up' | 'refused'

export class Link {
  readonly o: LinkOptions
  state: LinkState = 'stopped'
  /** Greeted and welcomed. */
  wire: Wire | null = null
  /** Why it is not up, or was not the last time. */
  lastError = ''
  connects = 0
  private socket: Socket | null = null
  private timer: ReturnType<typeof setTimeout> | undefined
  /** Of the dial that counts: what an older one still says is nobody's. */
  private attempt = 0
  private failures = 0
  private key = 0
  /** Identity of the key of the dial that counts; '': none was needed. */
  private provedBy = ''
  private delay = 0
  /** Where it was met since this was last up; null: nowhere. One dial goes there. */
  private met: Address | null = null
  /** Where it may be as well: every second dial goes there. */
  private elsewhere: Address | null
  /** Where the dial that counts went. */
  private at: Address

  constructor(options: LinkOptions) {
    this.o = options
    this.elsewhere = options.peer.elsewhere ?? null
    this.at = options.peer.address
  }

  start(): void {
    if (this.state === 'stopped') this.dial()
  }

  /**
   * It has just dialled us from there, and is now dialled there instead of where this dial, or the next,
   * would go.
   */
  meet(host: string): void {
    if (this.state === 'stopped' || this.state === 'up' || this.socket?.remoteAddress === host) return
    this.meetAt({ host, port: (this.elsewhere ?? this.o.peer.address).port })
  }

  /** It may be there as well, and is dialled there at once if it is away; null: not any more. */
  moved(elsewhere: Address | null): void {
    const { host = '', port = 0 } = this.elsewhere ?? {}
    this.elsewhere = elsewhere
    if (elsewhere === null || (elsewhere.host === host && elsewhere.port === port)) return
    if (this.state !== 'stopped' && this.state !== 'up') this.meetAt(elsewhere)
  }

  private meetAt(address: Address): void {
    this.end(this.lastError)
    this.met = address
    this.dial()
  }

  /** No more dials; what waits is lost. */
  stop(reason: string): void {
    this.end(reason)
    this.met = null
    this.state = 'stopped'
    this.failures = 0
  }

  /** Fault on request. */
  set delayMs(ms: number) {
    this.delay = ms
    if (this.wire !== null) this.wire.delayMs = ms
  }

  /** Once every keepalive: asks for a sign of life, and ends a connection that gives none. */
  beat(nowMs: number): void {
    const { wire } = this
    if (wire === null) return
    const { channel, deadMs, pen, peer } = this.o
    const patience = channel === BULK ? deadMs * BULK_PATIENCE : deadMs
    const lifeMs = channel === BULK ? Math.max(wire.heardMs, wire.passedMs) : wire.heardMs
    const { security } = this.o
    if (security !== 'plain' && !security().some((k) => k.identity === this.provedBy))
      wire.close('its network key was taken away')
    else if (nowMs - lifeMs > patience) wire.close(`no sign of life for ${Math.round(nowMs - lifeMs)} ms`)
    else pen.plain(wire, PING, peer.id)
  }

  private dial(): void {
    const { peer, security, lookup } = this.o
    if (this.state !== 'refused') this.state = 'dialing'
    clearTimeout(this.timer)
    const number = ++this.attempt
    const current = (): boolean => this.attempt === number && this.state !== 'stopped'
    const keys = security === 'plain' ? 1 : security().length
    if (this.key >= keys) this.key = 0
    this.provedBy = security === 'plain' ? '' : (security()[this.key]?.identity ?? '')
    this.timer = setTimeout(() => {
      if (current()) this.fail({ wrongKey: false, sentence: `no welcome within ${CONNECT_MS} ms` })
    }, CONNECT_MS)
    const usual = this.elsewhere !== null && this.failures % 2 === 1 ? this.elsewhere : peer.address
    this.at = this.met ?? usual
    this.socket = dial(
      { address: this.at, security, key: this.key, lookup },
      (socket) => {
        if (current()) this.greet(socket, number)
        else socket.destroy()
      },
      (failure) => {
        if (!current()) return
        // Another key may be in force over there while they are being changed.
        if (failure.wrongKey && ++this.key < keys) this.dial()
        else this.fail(failure)
      },
    )
  }

  private greet(socket: Socket, number: number): void {
    const { peer, channel, pen, queueBytes, counters, now } = this.o
    const wire: Wire = new Wire(socket, queueBytes, counters, now, {
      frame: (frame) => {
        if (this.attempt === number) this.take(wire, frame)
        return undefined
      },
      closed: (reason) => {
        if (this.attempt === number && this.state !== 'stopped')
          this.fail({ wrongKey: false, sentence: reason })
      },
    })
    wire.delayMs = this.delay
    const { clusterId, id, name, address = '', level, incarnation, life } = pen.self
    const hello = encodeHello({
      clusterId,
      from: id,
      to: peer.id,
      name,
      address,
      channel,
      level,
      incarnation,
      dial: ++pen.dials,
      ...(life === undefined ? {} : { life }),
    })
    pen.plain(wire, HELLO, peer.id, hello)
  }

  private take(wire: Wire, frame: Frame): void {
    const { pen, peer } = this.o
    // Somebody else dials over there in our name: are we still here?
    if (this.wire !== null && frame.kind === PING) pen.echo(wire, PONG, peer.id, frame.sentUs)
    else if (this.wire !== null) this.o.reply(frame)
    else if (frame.kind === WELCOME) {
      clearTimeout(this.timer)
      wire.allow(MAX_FRAME_BYTES - HEADER_BYTES)
      this.wire = wire
      this.state = 'up'
      this.failures = 0
      this.key = 0
      this.met = null
      this.connects++
      this.o.changed()
      this.o.up()
    } else if (frame.kind === REFUSED) {
      const refusal = decodeRefusal(frame.body)
      if (refusal === null) wire.close('it refused without a reason')
      else this.turnedAway(refusal)
    } else wire.close('it did not greet')
  }

  private turnedAway(refusal: Refusal): void {
    // Where it was met, or may be, somebody else may listen, who does not speak for it.
    if (this.at === this.o.peer.address) this.o.refused(refusal)
    // The owner may have stopped this in the meantime.
    if (this.state !== 'stopped') this.fail({ wrongKey: false, sentence: refusal.sentence }, refusal)
  }

  /** This dial, or the connection it made, is over. */
  private fail(failure: DialFailure, refusal: Refusal | null = null): void {
    this.end(failure.sentence)
    if (this.met !== null) {
      this.met = null
      this.dial()
      return
    }
    const said = this.at === this.o.peer.address ? refusal : null
    const lasting = failure.wrongKey || (said !== null && said.code !== 'superseded')
    const passing = refusal !== null && PASSING.includes(refusal.code)
    this.failures++
    this.key = 0
    this.state = lasting && !passing ? 'refused' : 'dialing'
    this.timer = setTimeout(
      () => {
        if (this.state !== 'stopped') this.dial()
      },
      backoffMs(this.failures, this.state === 'refused', this.o.random()),
    )
    this.o.changed()
  }

  private end(reason: string): void {
    const { wire, socket } = this
    clearTimeout(this.timer)
    this.attempt++
    this.lastError = reason
    this.wire = null
    this.socket = null
    socket?.destroy()
    if (wire === null) return
    wire.close(reason)
    this.o.down(reason)
  }
}
