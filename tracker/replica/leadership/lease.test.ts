// The lease holds where it must not be broken: never past the moment another leader could be elected.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ClusterClock } from '../batches/cluster-clock.ts'
import { followerLeaseUntil, leaderLeaseUntil, leaseMs } from './lease.ts'

const conf = (voters: number[], votersOutgoing: number[] = []) => ({
  voters,
  votersOutgoing,
  learners: [],
  learnersNext: [],
  autoLeave: false,
})
const facts = {
  self: 1,
  nowMs: 1000,
  confState: conf([1, 2, 3]),
  echoed: new Map([
    [2, 900],
    [3, 400],
  ]),
  leaseMs: leaseMs(20, 100),
  ownTermApplied: true,
  transferred: false,
}

test('a leader counts from the newest own time that a majority echoed', () => {
  assert.equal(facts.leaseMs, 1710)
  assert.equal(leaderLeaseUntil(facts), 900 + 1710)
  assert.equal(leaderLeaseUntil({ ...facts, confState: conf([1, 2, 3, 4, 5]) }), 400 + 1710)
  assert.equal(leaderLeaseUntil({ ...facts, confState: conf([1, 4, 5]) }), Number.NEGATIVE_INFINITY)
})

test('both configurations of a joint one must have echoed', () => {
  assert.equal(leaderLeaseUntil({ ...facts, confState: conf([1, 2, 4], [1, 3, 5]) }), 400 + 1710)
  assert.equal(leaderLeaseUntil({ ...facts, confState: conf([1], [1, 4, 5]) }), Number.NEGATIVE_INFINITY)
})

test('no lease before an own entry is applied, nor after TimeoutNow; alone it has no end', () => {
  assert.equal(leaderLeaseUntil({ ...facts, ownTermApplied: false }), Number.NEGATIVE_INFINITY)
  assert.equal(leaderLeaseUntil({ ...facts, transferred: true }), Number.NEGATIVE_INFINITY)
  assert.equal(leaderLeaseUntil({ ...facts, confState: conf([1]) }), Number.POSITIVE_INFINITY)
})

test('a leader that leads but does not vote counts only voters', () => {
  assert.equal(leaderLeaseUntil({ ...facts, confState: conf([2, 3]) }), 400 + 1710)
})

test('a follower counts from its own echoed time, less the age of the leader’s lease, once it has applied', () => {
  const grant = { echoMs: 5000, ageMs: 300, commit: 77 }
  assert.equal(followerLeaseUntil(grant, 77, 1710), 6410)
  assert.equal(followerLeaseUntil(grant, 76, 1710), Number.NEGATIVE_INFINITY)
})

/**
 * A voter that echoed time t will not vote for another before an election timeout has passed on its clock.
 * With clocks that differ in rate by up to 5 %, the leader's lease ends before a majority could have voted.
 */
test('with drifting clocks no lease outlives the earliest possible election', () => {
  const rate = fc.double({ min: 0.95, max: 1.05, noNaN: true })
  const election = 1900
  fc.assert(
    fc.property(
      rate,
      fc.array(fc.tuple(rate, fc.nat(3000)), { minLength: 2, maxLength: 4 }),
      (own, others) => {
        // True time 0 is now. Voter i was last heard at true time -ago; the leader's clock then stood at
        // `at`.
        const voters = [1, ...others.map((_, i) => i + 2)]
        const echoed = new Map(others.map(([, ago], i) => [i + 2, -ago * own]))
        const until = leaderLeaseUntil({
          ...facts,
          nowMs: 0,
          confState: conf(voters),
          echoed,
          leaseMs: leaseMs(20, 100),
        })
        const untilTrue = until / own
        // A voter times out `election` of its own milliseconds after it was heard; a majority without us
        // must.
        const free = others.map(([r, ago]) => -ago + election / r).sort((a, b) => a - b)
        const needed = Math.floor(voters.length / 2) + 1
        const elected = free[needed - 1]
        if (elected !== undefined) assert.ok(untilTrue < elected, `${untilTrue} against ${elected}`)
      },
    ),
  )
})

test('cluster time follows the leader’s clock, never back, never more than a step an entry', () => {
  const clock = new ClusterClock(10_000, 50.5)
  assert.equal(clock.next(50.5), 10_000)
  assert.equal(clock.next(51.4), 10_000)
  assert.equal(clock.next(51.6), 10_001)
  assert.equal(clock.next(40), 10_001)
  assert.equal(clock.next(1051.5), 11_001)
  // A stall of an hour is not owed.
  assert.equal(clock.next(3_600_000), 13_001)
  assert.equal(clock.next(3_600_100), 13_101)
})
