// Who is sent entries around the end of a joint configuration.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ConfState } from '@skep/raft'
import { JointEnd } from './joint-end.ts'

const conf = (voters: number[], learners: number[], votersOutgoing: number[] = []): ConfState => ({
  ...{ voters, learners, votersOutgoing, learnersNext: [], autoLeave: false },
})
const all = (end: JointEnd, commit: number): number[] => [1, 2, 3].filter((to) => end.admits(to, commit))

test('who has lost its vote is sent nothing after the end until something after it is committed', () => {
  const end = new JointEnd(conf([1, 2, 3], []), 10)
  assert.deepEqual(all(end, 11), [1, 2, 3])
  end.configured(conf([1], [], [1, 2, 3]), 20)
  assert.deepEqual(all(end, 20), [1, 2, 3])
  end.configured(conf([1], [2, 3]), 25)
  assert.deepEqual(all(end, 25), [1])
  assert.deepEqual(all(end, 26), [1, 2, 3])
})

test('a learner of a cluster that has just started waits for the first commit', () => {
  const end = new JointEnd(conf([1, 2], [3]), 7)
  assert.deepEqual(all(end, 7), [1, 2])
  assert.deepEqual(all(end, 8), [1, 2, 3])
  end.configured(conf([1, 2], [3]), 9)
  assert.deepEqual(all(end, 9), [1, 2, 3])
})

test('an end is under way until it is decided, or somebody else leads', async () => {
  const end = new JointEnd(conf([1, 2, 3], []), 1)
  const [first, second] = [Promise.withResolvers<string>(), Promise.withResolvers<string>()]
  end.proposed(first.promise)
  first.resolve('applied')
  await end.underWay
  assert.equal(end.underWay, null)
  end.proposed(second.promise)
  end.forget()
  assert.equal(end.underWay, null)
})
