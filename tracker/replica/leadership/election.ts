// When to stand for election. Raft alone elects; here is only who tries first and how soon, so that the
// silence after a leader's death has a bound instead of a random length. Refuses: clocks and messages; and to
// try while others may still believe in the leader.

export type Standing = {
  readonly id: number
  /** Of both configurations while one is left for the other. */
  readonly voters: readonly number[]
  /** Last known leader: it is the one that is silent. 0: none known. */
  readonly leader: number
  /** Who goes first among those that are there: the highest. */
  readonly preference: (id: number) => number
}

/** 0: tries first; -1: does not vote. */
export const rankOf = (s: Standing): number => {
  const mine = s.preference(s.id)
  if (!s.voters.includes(s.id)) return -1
  const others = s.voters.filter((v) => v !== s.id && v !== s.leader)
  return others.filter((v) => s.preference(v) > mine || (s.preference(v) === mine && v > s.id)).length
}

/**
 * Ticks beyond an election timeout before the first try: others have heard the leader's last word as late as
 * we did, but their ticks lie elsewhere; until their own timeout is over they would not even answer.
 */
const MARGIN_TICKS = 1.5
/** After so many tries the time between them doubles, at most twice: nobody is there to hear. */
const PATIENT_TRIES = 4

export type ElectionTimes = { readonly tickMs: number; readonly electionTicks: number }

export class Election {
  private readonly times: ElectionTimes
  private heardMs: number
  private tries = 0
  private lastMs = Number.NEGATIVE_INFINITY
  private notBeforeMs = Number.NEGATIVE_INFINITY

  /** `heardMs`: when a leader was, or may have been, heard last. */
  constructor(times: ElectionTimes, heardMs: number) {
    this.times = times
    this.heardMs = heardMs
  }

  /** There was no leader yet that anybody could believe in: the first try need not wait. */
  never(nowMs: number): void {
    this.heardMs = nowMs - this.timeoutMs - MARGIN_TICKS * this.times.tickMs
  }

  /** The next try is, or the last one was, the first since a leader was heard. */
  get first(): boolean {
    return this.tries <= 1
  }

  get timeoutMs(): number {
    return this.times.electionTicks * this.times.tickMs
  }

  /** The leader gave a sign of life, or this member has just voted, or leads. */
  heard(nowMs: number): void {
    this.heardMs = nowMs
    this.tries = 0
    this.lastMs = Number.NEGATIVE_INFINITY
  }

  /** Somebody else stands: one turn of patience. */
  rival(nowMs: number, voters: number): void {
    this.notBeforeMs = nowMs + voters * this.times.tickMs
  }

  /** When to stand (again), milliseconds of this member's clock. */
  at(rank: number, voters: number): number {
    if (rank < 0) return Number.POSITIVE_INFINITY
    const { tickMs } = this.times
    // A tick a rank: 100 ms at the default keepalive of a second.
    const first = this.heardMs + this.timeoutMs + (MARGIN_TICKS + rank) * tickMs
    const doubled = Math.min(2, Math.floor(this.tries / PATIENT_TRIES))
    const again = this.tries === 0 ? first : this.lastMs + voters * tickMs * 2 ** doubled
    return Math.max(first, again, this.notBeforeMs + rank * tickMs)
  }

  stood(nowMs: number): void {
    this.lastMs = nowMs
    this.tries++
  }
}
