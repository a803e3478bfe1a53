// What is known of the other members from their frames.
// Refuses: to judge by it who is alive; Raft does.

import type { Frame } from './transport/frame.ts'

export type PeerNews = {
  readonly id: number
  /** When anything of it came last, milliseconds of our clock. */
  heardMs: number
  /** It says that its disk takes nothing. */
  notReady: boolean
  level: number
  term: number
}

export class Peers {
  private readonly byId = new Map<number, PeerNews>()

  heard(frame: Frame, nowMs: number): void {
    const { from: id, notReady, level, term } = frame
    const known = this.byId.get(id)
    if (known === undefined) {
      this.byId.set(id, { id, heardMs: nowMs, notReady, level, term })
      return
    }
    known.heardMs = nowMs
    known.notReady = notReady
    known.level = level
    known.term = term
  }

  of(id: number): PeerNews | null {
    return this.byId.get(id) ?? null
  }
}
