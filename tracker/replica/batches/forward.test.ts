// Which batches of its own member a start knows for its own; the rest of it is told in member.test.ts.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Clients, Ledger } from '../ledger.case.ts'
import { Forward } from './forward.ts'

test('a start that sees a batch under its own number that it never made is a copy, and says so', () => {
  const seen: string[] = []
  const forward = new Forward({
    ...{ id: 1, incarnation: 5, feed: new Clients(1, 5, new Ledger()), linger: { ms: 2 } },
    ...{ send: () => true, againMs: 1000 },
    strange: (incarnation, number) => void seen.push(`${incarnation}.${number}`),
  })
  forward.applied(1, 4, 7) // of the start before
  forward.applied(2, 9, 1) // another member's
  assert.deepEqual(seen, [])
  forward.applied(1, 5, 1)
  assert.deepEqual(seen, ['5.1'])
  forward.applied(1, 6, 1)
  assert.deepEqual(seen, ['5.1', '6.1'])
  assert.equal(forward.batches.next, 1)
  forward.batches.add({ section: new Uint8Array(0), content: [] as never }, 0)
  forward.applied(1, 5, 1)
  assert.deepEqual(seen, ['5.1', '6.1'], 'this one it has made')
})
