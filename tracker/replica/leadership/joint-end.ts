// The end of a joint configuration, so that those who stay can elect a leader whatever is lost meanwhile. A
// member counts by the configuration it knows to be committed. After a crash it may have forgotten that the
// joint one is over, and needs votes of those who went; they give none to a shorter log, and do not stand. So
// nothing is proposed behind the end before it is applied, and whoever has no vote is sent nothing newer
// before a majority of those who stay has something newer on disk: with it, that it is over. Refuses: to
// decide when a joint configuration ends (membership/plan.ts).

import type { ConfState } from '@skep/raft'

export class JointEnd {
  /** Resolves when the end that this member has proposed is decided; null: none is under way. */
  underWay: Promise<void> | null = null
  private joint = false
  /** Who is sent entries until one after `index` is committed; null: everybody. */
  private voters: ReadonlySet<number> | null = null
  private index = 0

  /** After a start or a snapshot it is not known how long `confState` has been in force. */
  constructor(confState: ConfState, applied: number) {
    this.joint = confState.votersOutgoing.length > 0
    this.begin(confState, applied)
  }

  private begin({ voters, votersOutgoing }: ConfState, index: number): void {
    this.voters = new Set([...voters, ...votersOutgoing])
    this.index = index
  }

  proposed(outcome: Promise<unknown>): void {
    const decided: Promise<void> = outcome.then(() => {
      if (this.underWay === decided) this.underWay = null
    })
    this.underWay = decided
  }

  /** Leadership has changed: what was proposed under the last one holds up nobody. */
  forget(): void {
    this.underWay = null
  }

  /** Entry `index` has led to this configuration. */
  configured(confState: ConfState, index: number): void {
    const joint = confState.votersOutgoing.length > 0
    if (this.joint && !joint) this.begin(confState, index)
    this.joint = joint
  }

  /** May `to` be sent entries? `commit`: the index up to which all is committed. */
  admits(to: number, commit: number): boolean {
    if (this.voters !== null && commit > this.index) this.voters = null
    return this.voters === null || this.voters.has(to)
  }
}
