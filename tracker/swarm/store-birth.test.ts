// Views of the table that are older than the cluster: front ends open theirs before their replica is a
// member.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Apply } from './apply.ts'
import { birthEntry } from './entry.ts'
import { allocate, limitsFor } from './layout.ts'
import { DEFAULT_SETTINGS } from './settings.ts'
import { Store } from './store.ts'

test('a view that was there before the birth looks where one opened later does', () => {
  const limits = limitsFor(16 * 1024 * 1024, false)
  const buffers = allocate(limits, true)
  const early = new Store(buffers)
  const log = new Apply(new Store(buffers), { part() {}, batch() {} })
  const clusterId = 'c'.repeat(32)
  log.apply(
    birthEntry({ clusterId, hashSeed: 77, idKey: [1, 2], limits, settings: DEFAULT_SETTINGS, level: 1 }),
  )
  const late = new Store(buffers)
  const infoHash = Int32Array.of(1, 2, 3, 4, 5)
  assert.equal(early.hashOf(infoHash, 0), late.hashOf(infoHash, 0))
  assert.equal(early.peers4.hashKey(), late.peers4.hashKey())
})
