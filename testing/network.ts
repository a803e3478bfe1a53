// A network between numbered places, for simulations: each message is delayed, lost, repeated or overtaken as
// the seed says, links can be cut one way or both, and clogged for a while. Refuses: to know what it carries.
// Datagrams keep no promise; what is sent in order arrives in order or not at all.

import type { VirtualClock } from './clock.ts'
import type { Random } from './random.ts'

/** How a network behaves while nothing in particular is wrong. */
export type Weather = {
  /** Every message takes this long at least, milliseconds. */
  readonly delayMs: number
  /** And this much more on average, exponentially distributed. */
  readonly jitterMs: number
  /** Chances of a single message, 0 to 1. */
  readonly loss: number
  readonly repeat: number
  /** Not to wait for those sent before it. */
  readonly reorder: number
}

export const CALM: Weather = { delayMs: 0.2, jitterMs: 0.3, loss: 0, repeat: 0, reorder: 0 }

/** What became of a message. `waits`: it is on its way. */
export type Fate = 'waits' | 'repeated' | 'delivered' | 'lost' | 'cut'

export type NetworkEvents<T> = {
  deliver(from: number, to: number, payload: T): void
  /** Each step in the life of a message, for traces and counts. */
  fate?(fate: Fate, from: number, to: number, payload: T): void
  /** What was sent in order from `from` to `to` and had not arrived is lost: that connection broke. */
  broken?(from: number, to: number, channel: number): void
}

/** More waiting than this on one link: the newest is lost. */
const MOST_WAITING = 10_000

type Link = {
  cut: boolean
  clearMs: number
  waiting: number
  /** Datagrams, and each connection, keep an order of their own. */
  readonly lanes: Map<number, Lane>
}
type Lane = {
  /** When the last message that keeps its place arrives. */
  lastMs: number
  /** A broken connection's number is never used again. */
  connection: number
}
const DATAGRAMS = -1

export class Network<T> {
  weather: Weather = CALM
  private readonly clock: VirtualClock
  private readonly random: Random
  private readonly events: NetworkEvents<T>
  private readonly links = new Map<number, Map<number, Link>>()

  constructor(clock: VirtualClock, random: Random, events: NetworkEvents<T>) {
    this.clock = clock
    this.random = random
    this.events = events
  }

  /** One datagram. */
  send(from: number, to: number, payload: T): void {
    const link = this.link(from, to)
    const { random, weather } = this
    if (link.cut || random.chance(weather.loss) || link.waiting >= MOST_WAITING) {
      this.tell(link.cut ? 'cut' : 'lost', from, to, payload)
      return
    }
    this.tell('waits', from, to, payload)
    const lane = random.chance(weather.reorder) ? null : laneOf(link, DATAGRAMS)
    this.travel(link, lane, from, to, payload)
    if (!random.chance(weather.repeat)) return
    this.tell('repeated', from, to, payload)
    this.travel(link, null, from, to, payload)
  }

  /**
   * One message of a connection (there may be several, by channel): in order, once. Where a datagram would be
   * lost, the connection breaks, and with it all that is still on its way; the next one sent opens a new
   * connection.
   */
  sendInOrder(from: number, to: number, payload: T, channel = 0): void {
    const link = this.link(from, to)
    const { random, weather } = this
    if (link.cut || random.chance(weather.loss) || link.waiting >= MOST_WAITING) {
      this.tell(link.cut ? 'cut' : 'lost', from, to, payload)
      this.break(from, to, channel)
      return
    }
    this.tell('waits', from, to, payload)
    this.travel(link, laneOf(link, channel), from, to, payload, channel)
  }

  /** Ends the connection from `from` to `to`. */
  break(from: number, to: number, channel = 0): void {
    laneOf(this.link(from, to), channel).connection++
    this.events.broken?.(from, to, channel)
  }

  /** Nothing gets from `from` to `to`, not even what is on its way. */
  cut(from: number, to: number): void {
    this.link(from, to).cut = true
  }

  /** Only places of one group reach each other, both ways. */
  partition(groups: readonly (readonly number[])[]): void {
    groups.forEach((group, g) => {
      groups.forEach((other, o) => {
        if (g !== o) for (const a of group) for (const b of other) this.cut(a, b)
      })
    })
  }

  /** Everything between the two waits for `ms` more, in order. */
  clog(from: number, to: number, ms: number): void {
    this.link(from, to).clearMs = this.clock.now() + ms
  }

  mend(from: number, to: number): void {
    this.link(from, to).cut = false
  }

  /** No link is cut or clogged any more. */
  heal(): void {
    for (const row of this.links.values())
      for (const link of row.values()) {
        link.cut = false
        link.clearMs = 0
      }
  }

  isCut(from: number, to: number): boolean {
    return this.link(from, to).cut
  }

  /**
   * `lane` null: overtakes whoever is slower. `channel`: of a connection, which ends with the first that it
   * loses.
   */
  private travel(
    link: Link,
    lane: Lane | null,
    from: number,
    to: number,
    payload: T,
    channel = DATAGRAMS,
  ): void {
    const { weather, random, clock } = this
    const start = Math.max(clock.now(), link.clearMs)
    let at = start + weather.delayMs + random.exponential(weather.jitterMs)
    if (lane !== null) lane.lastMs = at = Math.max(at, lane.lastMs)
    const connection = lane?.connection
    link.waiting++
    clock.after(at - clock.now(), () => {
      link.waiting--
      const whole = lane?.connection === connection
      const arrives = !link.cut && whole
      this.tell(arrives ? 'delivered' : link.cut ? 'cut' : 'lost', from, to, payload)
      if (arrives) this.events.deliver(from, to, payload)
      else if (channel !== DATAGRAMS && whole) this.break(from, to, channel)
    })
  }

  private tell(fate: Fate, from: number, to: number, payload: T): void {
    this.events.fate?.(fate, from, to, payload)
  }

  private link(from: number, to: number): Link {
    let row = this.links.get(from)
    if (row === undefined) this.links.set(from, (row = new Map()))
    let link = row.get(to)
    if (link === undefined) row.set(to, (link = { cut: false, clearMs: 0, waiting: 0, lanes: new Map() }))
    return link
  }
}

const laneOf = (link: Link, channel: number): Lane => {
  let lane = link.lanes.get(channel)
  if (lane === undefined) link.lanes.set(channel, (lane = { lastMs: 0, connection: 0 }))
  return lane
}
