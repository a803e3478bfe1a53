// When the level is raised, and what is said while it is not.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Peers } from '../peers.ts'
import { admitLevel, type Readiness, raiseOf } from './level.ts'

const DIRECTORY = {
  members: ['r0', 'r1', 'r2'].map((name, id) => ({ id, name, address: `${name}:1` })),
  removed: [],
}
const OWN = { supports: 2, agrees: 2 }
const DEAD_AFTER_MS = 2000

const raise = (level: number, own: typeof OWN, ...others: Partial<Readiness>[]): string => {
  const known = others.map((m, i) => ({ id: i + 1, supports: 2, agrees: 2, heardMsAgo: 100, ...m }))
  const { to, waits } = raiseOf(level, own, known, DIRECTORY, DEAD_AFTER_MS)
  return to > 0 ? `to ${to}` : waits
}

test('a level is raised only when every member was heard lately, supports it and agrees', () => {
  assert.equal(raise(1, OWN, {}, {}), 'to 2')
  assert.equal(raise(1, OWN), 'to 2', 'a replica alone')
  assert.equal(raise(1, OWN, { heardMsAgo: null }, {}), 'nothing is heard of r1')
  assert.equal(raise(1, OWN, { heardMsAgo: 2001 }, { heardMsAgo: null }), 'nothing is heard of r1, r2')
  assert.equal(raise(1, OWN, { supports: 1, agrees: 0 }, {}), 'r1 runs an older version')
  assert.equal(raise(1, OWN, { supports: 1 }, { supports: 0 }), 'r1, r2 run an older version')
  assert.match(raise(1, OWN, {}, { agrees: 0 }), /run for its --raise-level-after: r2$/)
  assert.match(raise(1, { supports: 2, agrees: 0 }, {}, {}), /run for its --raise-level-after$/)
})

test('a level is not raised twice, nor before the birth, nor above what the oldest supports', () => {
  assert.equal(raise(2, OWN, {}, {}), '')
  assert.equal(raise(0, OWN, {}, {}), '')
  assert.equal(
    raise(1, { supports: 4, agrees: 4 }, { supports: 3, agrees: 3 }, { supports: 9, agrees: 9 }),
    'to 3',
  )
})

test('an older version is turned away from a cluster that was raised, with a sentence', () => {
  const hello = { from: 5, name: 'r5', level: 1 }
  const peers = new Peers()
  assert.equal(admitLevel(peers, 1, hello), null)
  assert.match(
    admitLevel(peers, 2, hello)!.sentence,
    /works at level 2 and the version of "r5" knows levels up to 1/,
  )
  assert.deepEqual([peers.levelOf(5), peers.tooOld(5, 2)], [1, true])
})
