// The ready/error vote: who has said in its frames that its disk takes nothing. When too few are left to
// store a change, it is refused at once instead of being appended to no end. Refuses: to count silence. A
// member that is not heard is Raft's affair, not a vote.

import type { ConfState } from '@skep/raft'

export class ReadyVotes {
  /** By member: until when its word that it cannot store counts, milliseconds. */
  private readonly failing = new Map<number, number>()
  private readonly forgetMs: number

  /** `forgetMs`: a word that is not repeated counts this long. */
  constructor(forgetMs: number) {
    this.forgetMs = forgetMs
  }

  /** What a frame said. True when that is new. */
  heard(member: number, notReady: boolean, nowMs: number): boolean {
    const was = this.failing.has(member)
    if (notReady) this.failing.set(member, nowMs + this.forgetMs)
    else if (was) this.failing.delete(member)
    return was !== notReady
  }

  isReady(member: number, nowMs: number): boolean {
    const until = this.failing.get(member)
    return until === undefined || until < nowMs
  }

  /** Can a majority (of both configurations) not store? */
  majorityFails(confState: ConfState, nowMs: number): boolean {
    if (this.failing.size === 0) return false
    return [confState.voters, confState.votersOutgoing].some((voters) => {
      const ready = voters.filter((id) => this.isReady(id, nowMs)).length
      return voters.length > 0 && ready <= Math.floor(voters.length / 2)
    })
  }
}
