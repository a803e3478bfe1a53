// What people read: one of a thing is one, and no number has more digits than it means.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { counted, rounded } from './words.ts'

test('numbers with their nouns', () => {
  const said = [0, 1, 2, 1234n, 1n].map((n) => counted(n, 'entry', 'entries'))
  assert.deepEqual(said, ['0 entries', '1 entry', '2 entries', '1,234 entries', '1 entry'])
  assert.equal(counted(1, 'peer'), '1 peer')
  assert.equal(counted(21, 'peer'), '21 peers')
})

test('about how much', () => {
  const said = [0, 0.26, 1, 9.96, 10.04, 99.94, 123.4, 12_345.6].map(rounded)
  assert.deepEqual(said, ['0', '0.3', '1', '10', '10', '99.9', '123', '12,346'])
})
