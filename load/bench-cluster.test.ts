// What the cluster's benchmark makes of what it saw: silences, goals, tables. The measuring itself is seen by
// running it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { longestSilence } from './cluster/outage.ts'
import { type ClusterResults, clusterGoals, printCluster } from './cluster/report.ts'
import { Latency } from './udp/latency.ts'

test('the longest silence is between answers, before the first and after the last', () => {
  assert.equal(longestSilence([10, 20, 90], 0, 100), 70)
  assert.equal(longestSilence([60, 90], 0, 100), 60)
  assert.equal(longestSilence([10, 20], 0, 100), 80)
  assert.equal(longestSilence([], 0, 100), 100)
  assert.equal(longestSilence([-50, 50, 300], 0, 100), 50, 'only what lies between')
})

test('an outage is judged by joins, whatever keepalive it had', () => {
  const row = { kills: 2, silentMs: [100, 200], unanswered: 0, asked: 900 }
  const results: ClusterResults = {
    outages: [
      { ...row, keepaliveMs: 1000, joinsSilentMs: [2100, 2499] },
      { ...row, keepaliveMs: 100, joinsSilentMs: [300, 701] },
    ],
    missing: [],
  }
  assert.deepEqual(
    clusterGoals(results).map(({ most, met }) => ({ most, met })),
    [
      { most: 2500, met: true },
      { most: 700, met: false },
    ],
  )
  assert.match(printCluster(results), /keepalive 100 ms +2 +\d+ +701 .* 0 of 900/)
})

test('what was not measured is no goal, and what has no figure is neither met nor missed', () => {
  assert.deepEqual(clusterGoals({ outages: [], missing: ['etcd is not installed'] }), [])
  const transfer = {
    ...{ millions: 1, megabytes: 30, sentMBs: Number.NaN, plainMBs: 100, takingPauseMs: 10 },
    ...{ sendingPauseMs: 60, alonePauseMs: 5, restoredSeconds: 1 },
  }
  assert.deepEqual(
    clusterGoals({ outages: [], missing: [], transfer }).map(({ met }) => met),
    [undefined, false, true],
  )
})

test('waits of several loads are one histogram', () => {
  const [all, one, two] = [new Latency(), new Latency(), new Latency()]
  for (let i = 1; i <= 100; i++) {
    all.add(i)
    ;(i % 3 === 0 ? one : two).add(i)
  }
  one.merge(two)
  for (const q of [0.1, 0.5, 0.99, 1]) assert.equal(one.quantile(q), all.quantile(q))
  assert.equal(one.total, 100)
})
