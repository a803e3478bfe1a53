// Requests that arrived while there was nobody to decide on them (no leader, no lease, still starting): raw
// copies in order of arrival, bounded in number and in age. A BEP 15 client that gets nothing comes back
// after 15 seconds only, so waiting here is what makes a change of leader invisible. Refuses: datagrams that
// are no request by their shape; to wait for ever.

import { ANNOUNCE, MAGIC_HI, MAGIC_LO, SCRAPE } from './packet.ts'
import { copyDatagram, Inbox } from './slots.ts'

export class Waiting {
  readonly inbox: Inbox
  private readonly arrivedMs: Float64Array
  private head = 0
  count = 0

  /** `slots`: how many may wait. */
  constructor(family: 4 | 6, slots: number) {
    this.inbox = new Inbox(family, slots)
    this.arrivedMs = new Float64Array(slots)
  }

  /** Keeps datagram i of `source`; false if as many wait as may. */
  push(source: Inbox, i: number, nowMs: number): boolean {
    const { slots } = this.inbox
    if (this.count === slots) return false
    const slot = (this.head + this.count) % slots
    copyDatagram(source, i, this.inbox, slot)
    this.arrivedMs[slot] = nowMs
    this.count++
    return true
  }

  /** Slot of the n-th oldest. */
  slot(n: number): number {
    return (this.head + n) % this.inbox.slots
  }

  /** When the oldest arrived; Infinity if none waits. */
  get oldestMs(): number {
    return this.count === 0 ? Infinity : this.arrivedMs[this.head]!
  }

  /**
   * Forgets the n oldest, which lie in one run, but the first `count` of `kept`: their slots, in order of
   * arrival. Those go on waiting, in their order and before all others.
   */
  shiftBut(n: number, kept: ArrayLike<number>, count: number): void {
    let to = n
    for (let k = count - 1; k >= 0; k--) {
      const [from, slot] = [kept[k]!, this.slot(--to)]
      if (from === slot) continue
      copyDatagram(this.inbox, from, this.inbox, slot)
      this.arrivedMs[slot] = this.arrivedMs[from]!
    }
    this.shift(to)
  }

  /** Forgets the n oldest. */
  shift(n: number): void {
    this.head = (this.head + n) % this.inbox.slots
    this.count -= n
  }
}

/**
 * Could datagram i be a request: long enough, an action a client may ask, a connect's protocol_id? (IDs tell
 * later.)
 */
export function looksLikeRequest(inbox: Inbox, i: number): boolean {
  const w = i * inbox.strideWords
  const action = inbox.words[w + 2]!
  if (inbox.lengths[i * 16 + 14]! < 16) return false
  if (action === 0) return inbox.words[w] === MAGIC_LO && inbox.words[w + 1] === MAGIC_HI
  return action === ANNOUNCE || action === SCRAPE
}
