// The network between simulated members: datagrams, and connections that end with the first message they lose
// or with the process at either end, are dialled anew until they stand, and carry nothing meanwhile. Refuses:
// to know what a message says.

import type { VirtualClock } from '@skep/testing/clock.ts'
import { CALM, Network } from '@skep/testing/network.ts'
import type { Random } from '@skep/testing/random.ts'
import { CHANNELS } from '../replica/transport/transport.ts'
import type { Frame, Member } from './place.ts'
import type { Trace } from './trace.ts'

/** Between attempts to connect anew, milliseconds. */
const DIAL_MS = 150

/** Who sits at a number, as far as the network is concerned. */
export type End = { readonly life: number; readonly lost: boolean; readonly member: Member | null }

export type ConnectionsOptions = {
  readonly clock: VirtualClock
  readonly random: Random
  readonly trace: Trace
  readonly end: (number: number) => End
  /** A message has come through, for that member. */
  readonly deliver: (from: number, to: number, frame: Frame, member: Member) => void
  /** Something asynchronous goes on now. */
  readonly stir: () => void
}

export class Connections {
  readonly network: Network<Frame>
  private readonly o: ConnectionsOptions
  /** Who received when messages of connections were sent. */
  private readonly receivers = new WeakMap<Frame, Member | null>()
  /** Who listens at another one's number: a copy that has taken its address. */
  private readonly taken = new Map<number, number>()
  private readonly dialling = new Set<number>()
  /** Connections that are being dialled. */
  private readonly down = new Set<string>()

  constructor(options: ConnectionsOptions) {
    this.o = options
    const { clock, random, trace } = options
    this.network = new Network<Frame>(clock, random, {
      deliver: (from, to, frame) => this.arrive(from, to, frame),
      broken: (from, to, channel) => this.broken(from, to, channel),
      fate: (fate, from, to, frame) => {
        if (fate === 'waits') trace.note(from, 'send', to, ...frame.label)
        else if (fate === 'repeated') trace.note(from, 'repeated', to, ...frame.label)
        else if (fate !== 'delivered') trace.note(from, 'lost', to, ...frame.label)
      },
    })
    this.network.weather = CALM
  }

  send(from: number, to: number, frame: Frame): void {
    const { channel } = frame
    this.dialling.add(from)
    if (channel === null) this.network.send(from, to, frame)
    else if (this.isDown(from, to, channel)) this.o.trace.note(from, 'lost', to, ...frame.label)
    else {
      this.receivers.set(frame, this.listener(to).member)
      this.network.sendInOrder(from, to, frame, channel)
    }
  }

  /** A connection that carries nothing now, and whoever would send over it knows. */
  isDown(from: number, to: number, channel: number): boolean {
    return (
      this.network.isCut(from, to) ||
      this.listener(to).member?.serving !== true ||
      this.down.has(this.key(from, to, channel))
    )
  }

  private key(from: number, to: number, channel: number): string {
    return `${from} ${this.o.end(from).life} ${to} ${channel}`
  }

  /** From now on `by` is met where `number` was: a network has moved, or a name. */
  take(number: number, by: number): void {
    this.taken.set(number, by)
    this.breakAll(number)
  }

  /** `by` is gone: who was there before is met again. */
  giveBack(by: number): void {
    for (const [number, taker] of this.taken)
      if (taker === by) {
        this.taken.delete(number)
        this.breakAll(number)
      }
  }

  /** Under which number it is met. */
  metAt(number: number): number {
    return [...this.taken].find(([, by]) => by === number)?.[0] ?? number
  }

  private breakAll(to: number): void {
    for (const from of this.dialling)
      if (from !== to) for (const channel of CHANNELS) this.network.break(from, to, channel)
  }

  private listener(number: number): End {
    return this.o.end(this.taken.get(number) ?? number)
  }

  private arrive(from: number, to: number, frame: Frame): void {
    const at = frame.reply === true ? to : (this.taken.get(to) ?? to)
    const { member } = this.o.end(at)
    const ended = member?.serving !== true || this.receivers.get(frame) !== member
    if (frame.channel !== null && ended) {
      this.o.trace.note(from, 'lost', to, ...frame.label)
      this.network.break(from, to, frame.channel)
    } else if (member !== null) this.o.deliver(from, at, frame, member)
  }

  /** Both ends notice; the sender dials. */
  private broken(from: number, to: number, channel: number): void {
    const { clock, trace, end, stir } = this.o
    const key = this.key(from, to, channel)
    if (this.down.has(key)) return
    this.down.add(key)
    trace.note(from, 'broken', to, channel)
    const { member } = end(from)
    member?.broken(to, channel)
    this.listener(to).member?.broken(from, channel)
    stir()
    const dial = (): void => {
      if (member === null || end(from).member !== member || end(to).lost) return
      if (this.network.isCut(from, to) || this.listener(to).member?.serving !== true)
        clock.after(DIAL_MS, dial)
      else {
        this.down.delete(key)
        trace.note(from, 'connected', to, channel)
        member.connected(to, channel)
        stir()
      }
    }
    clock.after(DIAL_MS, dial)
  }
}
