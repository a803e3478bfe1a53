// Who stands when, who may lead next, and who cannot store: as text cases.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { integerOption, integersOption, runCases } from '@skep/testing/datadriven.ts'
import { Election, rankOf } from './election.ts'
import { Handover, successor } from './handover.ts'
import { ReadyVotes } from './ready-votes.ts'

test('elections', async () => {
  let election = new Election({ tickMs: 100, electionTicks: 20 }, 0)
  await runCases(new URL('testdata/election.txt', import.meta.url), (c) => {
    const voters = integersOption(c, 'voters')
    const at = integerOption(c, 'at', 0)
    switch (c.command) {
      case 'ranks': {
        const leader = integerOption(c, 'leader', 0)
        const preference = (id: number): number => (c.words.includes('all-equal') ? 0 : id)
        const rank = (id: number): string => `${id}: ${rankOf({ id, voters, leader, preference })}`
        return integersOption(c, 'of').map(rank).join('\n')
      }
      case 'new':
        election = new Election(
          { tickMs: integerOption(c, 'tick'), electionTicks: integerOption(c, 'ticks') },
          at,
        )
        if (c.words.includes('fresh')) election.never(at)
        return ''
      case 'heard':
        election.heard(at)
        return ''
      case 'voted':
        election.rival(at, integerOption(c, 'voters'))
        return ''
      case 'stood':
        election.stood(at)
        return ''
      case 'stands': {
        const many = integerOption(c, 'voters', 3)
        return integersOption(c, 'ranks')
          .map((rank) => `rank ${rank}: ${election.at(rank, many)}`)
          .join('\n')
      }
      default:
        throw new Error(`${c.place}: no command ${c.command}`)
    }
  })
})

test('the ready vote counts what is said, for a while, in both configurations', () => {
  const votes = new ReadyVotes(2000)
  const conf = (voters: number[], votersOutgoing: number[] = []) => ({
    ...{ voters, votersOutgoing, learners: [], learnersNext: [], autoLeave: false },
  })
  assert.equal(votes.heard(1, true, 0), true)
  assert.equal(votes.heard(1, true, 10), false)
  assert.equal(votes.majorityFails(conf([1, 2, 3]), 10), false)
  votes.heard(2, true, 20)
  assert.equal(votes.majorityFails(conf([1, 2, 3]), 20), true)
  assert.equal(votes.majorityFails(conf([1, 2, 3, 4, 5]), 20), false)
  assert.equal(votes.majorityFails(conf([3, 4, 5], [1, 2, 3]), 20), true)
  assert.equal(votes.majorityFails(conf([1, 2, 3]), 2015), false, 'the first one has not said so again')
  assert.equal(votes.heard(2, false, 2016), true)
  assert.ok(votes.isReady(2, 2016))
})

const progress = (id: number, match: number, more = {}) => ({
  ...{ id, match, next: match + 1, state: 'replicate' as const, recentActive: true },
  ...{ isLearner: false, pendingSnapshot: 0, ...more },
})

test('the successor answers, votes, can store, and is not far behind; the preferred one of those', () => {
  const all = [
    progress(1, 100),
    progress(2, 95),
    progress(3, 50),
    progress(4, 100, { isLearner: true }),
    progress(5, 100, { recentActive: false }),
    progress(6, 100),
  ]
  const choose = (fit: (id: number) => boolean) => successor(1, 100, 10, all, fit, (id) => id)
  assert.equal(
    choose(() => true),
    6,
  )
  assert.equal(
    choose((id) => id !== 6),
    2,
  )
  assert.equal(
    choose((id) => id === 3),
    0,
  )
})

test('a handover waits for what is proposed, asks once, and gives up in time', () => {
  const facts = { nowMs: 0, leads: true, term: 3, applied: 9, lastIndex: 10, transferee: 0 }
  const h = new Handover(2, 3, 2000)
  const both = [progress(1, 10), progress(2, 10)]
  assert.equal(h.step({ ...facts, progress: both }).kind, 'wait', 'not applied yet')
  assert.equal(h.step({ ...facts, applied: 10, progress: [progress(2, 9)] }).kind, 'wait')
  assert.deepEqual(h.step({ ...facts, applied: 10, progress: both }), { kind: 'move', to: 2 })
  assert.equal(h.step({ ...facts, transferee: 2, progress: both }).kind, 'wait')
  assert.equal(h.step({ ...facts, leads: false, progress: [] }).kind, 'done')
  assert.equal(h.step({ ...facts, term: 4, progress: both }).kind, 'done')
  assert.match(JSON.stringify(h.step({ ...facts, progress: both })), /did not take over/)
  const slow = new Handover(2, 3, 2000)
  const behind = slow.step({ ...facts, nowMs: 2000, applied: 10, progress: [progress(2, 3)] })
  assert.match(JSON.stringify(behind), /7 entries behind/)
})
