// The lease arithmetic (docs/architecture.md, "Lease"): until when may a replica answer reads from its own
// table? Refuses: clocks and messages. All times are milliseconds of the monotonic clock of whoever's name
// they carry.
//
// Every frame carries its sender's time and echoes the newest one it stepped from the other side in this
// term. So a member knows: "at my time t they still took me for the leader", whatever their clocks say.
// Raft's own CheckQuorum is no lease: a leader that is cut off may reign for two election timeouts.

import type { ConfState } from '@skep/raft'

/**
 * Share of the shortest possible election timeout that a lease lasts: clocks may drift by a tenth between
 * members.
 */
const SAFETY = 0.9

/** How long a lease lasts from the moment it is counted from. */
export const leaseMs = (electionTicks: number, tickMs: number): number =>
  Math.floor(SAFETY * (electionTicks - 1) * tickMs)

/**
 * The newest own time that a majority of `voters` has echoed; this member counts as having echoed `nowMs`.
 * -Infinity when no majority has.
 */
const majorityEcho = (
  voters: readonly number[],
  self: number,
  nowMs: number,
  echoed: ReadonlyMap<number, number>,
): number => {
  if (voters.length === 0) return Number.POSITIVE_INFINITY
  const times = voters.map((id) => (id === self ? nowMs : (echoed.get(id) ?? Number.NEGATIVE_INFINITY)))
  times.sort((a, b) => b - a)
  return times[Math.floor(voters.length / 2)]!
}

export type LeaderFacts = {
  readonly self: number
  readonly nowMs: number
  readonly confState: ConfState
  /** By member: the newest of my times it has echoed in this term. */
  readonly echoed: ReadonlyMap<number, number>
  readonly leaseMs: number
  /** An entry of its own term is applied. */
  readonly ownTermApplied: boolean
  /** TimeoutNow was sent in this term: somebody may be leader before any timeout. */
  readonly transferred: boolean
}

/** Until when the leader may answer; in both configurations while one is being left for the other. */
export const leaderLeaseUntil = (f: LeaderFacts): number => {
  if (!f.ownTermApplied || f.transferred) return Number.NEGATIVE_INFINITY
  const { voters, votersOutgoing } = f.confState
  // Alone, nobody else can be elected.
  if (voters.length === 1 && voters[0] === f.self && votersOutgoing.length === 0)
    return Number.POSITIVE_INFINITY
  const since = Math.min(
    majorityEcho(voters, f.self, f.nowMs, f.echoed),
    majorityEcho(votersOutgoing, f.self, f.nowMs, f.echoed),
  )
  return since + f.leaseMs
}

/** What a leader's frame says of its lease. */
export type LeaseGrant = {
  /** My own newest time that the leader had stepped in this term when it sent this. */
  readonly echoMs: number
  /** How long before sending the leader's lease was last confirmed, milliseconds of its clock. */
  readonly ageMs: number
  /** The leader's commit index then. */
  readonly commit: number
}

/**
 * Until when a follower or learner may answer, counted from its own echoed time: the frame was sent after
 * that moment, and the leader's lease was then `ageMs` old. Reads must also have applied `commit`.
 */
export const followerLeaseUntil = (grant: LeaseGrant, appliedIndex: number, lease: number): number =>
  appliedIndex < grant.commit ? Number.NEGATIVE_INFINITY : grant.echoMs + lease - grant.ageMs
