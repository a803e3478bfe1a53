// Who may have how much of a turn of the event loop, and how many connections an address may hold: so that
// probes, the control API and other clients are served whatever one client sends. Refuses: to look at a
// clock: shares are counted in requests, a large answer as several.

import type { Asker } from './address.ts'

/** Units of work in one turn, over all connections: about ten milliseconds. */
const TURN_UNITS = 1024
/** Of these at most for one address. */
const ADDRESS_UNITS = 256
/** And for one connection. */
export const CONNECTION_UNITS = 64
/** A page costs as much as so many announces. */
export const PAGE_UNITS = 16

/** Units of a request and its answer, of so many bytes: a scrape of seventy torrents is not one announce. */
export const unitsOf = (asked: number, answered: number): number => 1 + (asked >>> 9) + (answered >>> 10)

/** One address (of IPv6 a /64) with its connections. */
export class Place {
  /** Open connections. */
  open = 0
  /** Most of them. */
  readonly most: number
  private readonly units: number
  private used = 0
  private turn = -1

  constructor(most: number, units: number) {
    this.most = most
    this.units = units
  }

  /** Units left in turn number `turn`. */
  left(turn: number): number {
    if (this.turn !== turn) {
      this.turn = turn
      this.used = 0
    }
    return this.units - this.used
  }

  use(units: number): void {
    this.used += units
  }
}

export class Turns {
  private turn = 0
  private used = 0

  /** A new turn begins. */
  next(): void {
    this.turn = (this.turn + 1) | 0
    this.used = 0
  }

  /** Has this turn room for anybody? */
  get room(): boolean {
    return this.used < TURN_UNITS
  }

  /** And for this address? */
  roomFor(place: Place): boolean {
    return this.used < TURN_UNITS && place.left(this.turn) > 0
  }

  use(place: Place, units: number): void {
    this.used += units
    place.use(units)
  }
}

export class Places {
  private readonly places = new Map<string, Place>()
  private readonly most: number
  /** A proxy speaks for many clients: it may have all. */
  private readonly proxies = new Place(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY)

  /** `most` connections for one address. */
  constructor(most: number) {
    this.most = most
  }

  /** The place of an address; it is kept while `enter` was called more often than `leave`. */
  of(asker: Asker, trusted: boolean): Place {
    if (trusted) return this.proxies
    return this.places.get(keyOf(asker)) ?? new Place(this.most, ADDRESS_UNITS)
  }

  enter(place: Place, asker: Asker): void {
    if (place.open++ === 0 && place !== this.proxies) this.places.set(keyOf(asker), place)
  }

  leave(place: Place, asker: Asker): void {
    if (--place.open === 0 && place !== this.proxies) this.places.delete(keyOf(asker))
  }
}

const keyOf = ({ v6, words }: Asker): string => (v6 ? `${words[0]}:${words[1]}` : String(words[0]))
