// Requests that arrived while there was nobody to decide on them (no leader, no lease, still starting): raw
// copies in order of arrival, bounded in number and in age. A client that gets nothing comes back after 5 to
// 65 seconds only, so waiting here is what makes a change of leader invisible. Connects wait only where there
// is no key yet. Refuses: datagrams that
// are no request by their shape; to wait for ever.

import { ANNOUNCE, looksLikeConnect, SCRAPE } from './packet.ts'
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

  /** Forgets those of which `taken` says that it has taken them; the others keep their order. */
  sift(taken: (slot: number) => boolean): void {
    let kept = 0
    for (let n = 0; n < this.count; n++) {
      const [from, to] = [this.slot(n), this.slot(kept)]
      if (taken(from)) continue
      kept++
      if (from === to) continue
      copyDatagram(this.inbox, from, this.inbox, to)
      this.arrivedMs[to] = this.arrivedMs[from]!
    }
    this.count = kept
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
  const action = inbox.words[i * inbox.strideWords + 2]!
  if (inbox.lengths[i * 16 + 14]! < 16) return false
  return action === ANNOUNCE || action === SCRAPE || looksLikeConnect(inbox, i)
}
