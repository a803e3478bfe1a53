// Whether this member may stand and vote yet, and when it stands. Built on Election, which knows only times;
// here is what the member knows: who led last, and that a restarted voter has promised its silence.
// Refuses: to campaign itself, and clocks.

import { MSG_TIMEOUT_NOW, MSG_VOTE } from '@skep/raft/message.ts'
import { Election, type ElectionTimes, rankOf } from './election.ts'

const MSG_PRE_VOTE = 17

export type CandidacyOptions = ElectionTimes & {
  readonly id: number
  /** Who goes first among those that are there: the highest. */
  readonly preference: (id: number) => number
  /** It has never run before, or is alone: nobody was promised anything. */
  readonly quiet: boolean
}

export class Candidacy {
  readonly election: Election
  private readonly o: CandidacyOptions
  /** A restarted voter may have promised a leader its silence: it is kept until then. */
  private readonly silentUntilMs: number
  private lastLeader = 0
  campaigns = 0
  /** Votes and requests to stand that came too soon after a restart. */
  unheard = 0

  constructor(options: CandidacyOptions, nowMs: number) {
    this.o = options
    this.election = new Election(options, nowMs)
    if (options.quiet) this.election.never(nowMs)
    this.silentUntilMs = options.quiet ? Number.NEGATIVE_INFINITY : nowMs + this.election.timeoutMs
  }

  /** Who leads now; 0: nobody, and the last one is the one that is silent. */
  follows(leader: number): void {
    if (leader !== 0) this.lastLeader = leader
  }

  /** Is a message of that type one that this member must not hear yet? */
  isDeafTo(type: number, nowMs: number): boolean {
    if (nowMs >= this.silentUntilMs) return false
    if (type !== MSG_VOTE && type !== MSG_PRE_VOTE && type !== MSG_TIMEOUT_NOW) return false
    this.unheard++
    return true
  }

  /** When it stands (again) if nothing is heard before, milliseconds. */
  at(voters: readonly number[]): number {
    const { id, preference } = this.o
    const rank = rankOf({ id, voters, leader: this.lastLeader, preference })
    return Math.max(this.election.at(rank, voters.length), this.silentUntilMs)
  }

  /** It stands now. True: for the first time since a leader was heard. */
  stands(nowMs: number): boolean {
    this.election.stood(nowMs)
    this.campaigns++
    return this.election.first
  }
}
