// Numbered batches in the log: only the next one of a member counts, also where the number goes round.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Apply } from './apply.ts'
import { BatchWriter, batchEntry, birthEntry } from './entry.ts'
import { allocate, C_BATCHES, limitsFor } from './layout.ts'
import { DEFAULT_SETTINGS } from './settings.ts'
import { Store } from './store.ts'

const MEMBER = 2 ** 40 + 5

test('the next batch is taken and its repetition is not, through the whole circle of numbers', () => {
  const limits = limitsFor(16 * 1024 * 1024, false)
  const store = new Store(allocate(limits, true))
  const taken: number[] = []
  const log = new Apply(store, {
    part() {},
    batch: (_member, _incarnation, number, yes) => yes && taken.push(number),
  })
  const clusterId = 'c'.repeat(32)
  log.apply(
    birthEntry({ clusterId, hashSeed: 5, idKey: [1, 2], limits, settings: DEFAULT_SETTINGS, level: 1 }),
  )
  const writer = new BatchWriter(1024)
  const apply = (number: number): void => {
    writer.begin(MEMBER, 1, number)
    log.apply(batchEntry(0, [writer.bytes()]))
  }
  apply(1)
  for (const last of [2 ** 31 - 2, -2]) {
    store.control[C_BATCHES + 3] = last
    for (const step of [1, 1, 0, 2, 3, 2]) apply((last + step) | 0)
  }
  const round = [2 ** 31 - 1, -(2 ** 31), -(2 ** 31) + 1, -1, 0, 1]
  assert.deepEqual(taken, [1, ...round])
  assert.deepEqual(log.lastBatch(MEMBER), { incarnation: 1, number: 1 })
})
