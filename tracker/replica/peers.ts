// What is known of the other members from their frames.
// Refuses: to judge by it who is alive; Raft does.

import type { Frame } from './transport/frame.ts'

export type PeerNews = {
  readonly id: number
  /** When anything of it came last, milliseconds of our clock. */
  heardMs: number
  /** It says that its disk takes nothing. */
  notReady: boolean
  term: number
}

export class Peers {
  private readonly byId = new Map<number, PeerNews>()
  private readonly levels = new Map<number, number>()
  /** Members that lack a snapshot and are too old for it. */
  private readonly withheld = new Set<number>()

  heard(frame: Frame, nowMs: number): void {
    const { from: id, notReady, level, term } = frame
    this.levels.set(id, level)
    const known = this.byId.get(id)
    if (known === undefined) {
      this.byId.set(id, { id, heardMs: nowMs, notReady, term })
      return
    }
    known.heardMs = nowMs
    known.notReady = notReady
    known.term = term
  }

  /** A member that dials says which level it supports, whether it is let in or not. */
  speaks(id: number, level: number): void {
    this.levels.set(id, level)
  }

  /** The highest behaviour level that a member supports; 0: not known. */
  levelOf(id: number): number {
    return this.levels.get(id) ?? 0
  }

  /**
   * A member whose version does not know the cluster's rules would come to another table from the same log:
   * it is sent nothing and believed nothing until it is upgraded.
   */
  tooOld(id: number, level: number): boolean {
    const its = this.levelOf(id)
    return its > 0 && its < level
  }

  withhold(id: number): void {
    this.withheld.add(id)
  }

  /** It knows enough now. True: it was not to have a snapshot before. */
  admit(id: number): boolean {
    return this.withheld.delete(id)
  }

  of(id: number): PeerNews | null {
    return this.byId.get(id) ?? null
  }
}
