// Who is let in and answered by a member that has not heard of it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { admission, type Directory } from './directory.ts'
import { MOST_VISITORS, Visitors } from './visitors.ts'

const directory: Directory = {
  members: [
    { id: 1, name: 'r0', address: 'h0:5560' },
    { id: 2, name: 'r1', address: 'h1:5560' },
  ],
  removed: [{ id: 9, name: 'r9', index: 5 }],
} as unknown as Directory
const conf = { voters: [1, 2], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false }

test('a member that lags lets in whoever came later, and knows where to answer', () => {
  const visitors = new Visitors()
  const hello = { from: 3, name: 'r2', address: 'h2:5560' }
  assert.equal(admission(directory, conf, 7, hello), null)
  assert.equal(visitors.came(directory, hello), true)
  assert.deepEqual(
    visitors.peers(directory, 1).map((p) => [p.id, p.address.host]),
    [
      [2, 'h1'],
      [3, 'h2'],
    ],
  )
  assert.equal(visitors.came(directory, hello), false)
  // It has moved: where it says it is now counts.
  assert.equal(visitors.came(directory, { ...hello, address: 'h4:5560' }), true)
  assert.equal(visitors.peers(directory, 1)[1]!.address.host, 'h4')
})

test('who was removed, or does not say where it is, stays outside', () => {
  assert.equal(
    admission(directory, conf, 7, { from: 9, name: 'r9', address: 'h9:1' })?.code,
    'removed member',
  )
  assert.equal(admission(directory, conf, 7, { from: 3, name: 'r2' })?.code, 'unknown member')
  assert.equal(new Visitors().came(directory, { from: 3, name: 'r2', address: '' }), false)
})

test('what the log says replaces what a visitor said, and only a few are remembered', () => {
  const visitors = new Visitors()
  visitors.came(directory, { from: 3, name: 'r2', address: 'h2:5560' })
  const later = {
    ...directory,
    members: [...directory.members, { id: 3, name: 'r2', address: 'elsewhere:1' }],
  }
  assert.deepEqual(
    visitors.peers(later as unknown as Directory, 1).map((p) => p.address.host),
    ['h1', 'elsewhere'],
  )
  for (let id = 10; id < 10 + 2 * MOST_VISITORS; id++)
    visitors.came(directory, { from: id, name: `x${id}`, address: `h${id}:1` })
  assert.equal(visitors.peers(directory, 1).length, 1 + MOST_VISITORS)
})
