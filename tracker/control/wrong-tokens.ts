// How many wrong tokens an address may show. The right token is never held up, from whatever address it
// comes: on loopback its owner cannot be told from a stranger. So this bounds what strangers cost, and says
// who they are; what keeps them out is that a token has 256 bits. Refuses: to grow with the addresses.

import { networkOf } from '../replica/transport/strangers.ts'

/** Answered as such without a pause, of one address: whoever changes keys tries each of eight. */
export const WRONG_AT_ONCE = 20
/** One more each, milliseconds. */
const WRONG_EVERY_MS = 6000
/** Addresses remembered; the one that was not wrong for longest goes first. */
const ADDRESSES_MOST = 256
/** An address is worth a warning for so long after its last wrong token, milliseconds. */
const WARN_MS = 60_000

type Wrong = { room: number; count: number; atMs: number }

export class WrongTokens {
  private readonly now: () => number
  private readonly of = new Map<string, Wrong>()

  constructor(now: () => number) {
    this.now = now
  }

  /** One more of this address. 0: within bounds; else seconds until the next is. */
  another(address: string): number {
    const network = networkOf(address)
    const now = this.now()
    const before = this.of.get(network) ?? { room: WRONG_AT_ONCE, count: 0, atMs: now }
    const room = Math.min(WRONG_AT_ONCE, before.room + (now - before.atMs) / WRONG_EVERY_MS)
    this.of.delete(network)
    this.of.set(network, { room: room < 1 ? room : room - 1, count: before.count + 1, atMs: now })
    for (const first of this.of.keys()) if (this.of.size > ADDRESSES_MOST) this.of.delete(first)
    return room < 1 ? Math.ceil(((1 - room) * WRONG_EVERY_MS) / 1000) : 0
  }

  /** For people: who shows more than it may, now. */
  warnings(): string[] {
    const since = this.now() - WARN_MS
    return [...this.of]
      .filter(([, w]) => w.room < 1 && w.atMs >= since)
      .map(([network, w]) => `${network} asked the control API with wrong tokens ${w.count} times`)
  }
}
