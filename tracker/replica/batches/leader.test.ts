// What a leader does with the batches of members that come and go; the rest of it is told in member.test.ts.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Clients, Ledger } from '../ledger.case.ts'
import { wireNumber } from './batches.ts'
import { Forward } from './forward.ts'
import { Leading } from './leader.ts'

test('what a member sent before it was removed is not appended after that', () => {
  const ledger = new Ledger()
  const feed = new Clients(1, 1, ledger)
  const linger = { ms: 2 }
  const strange = (): void => assert.fail('it makes no batch here')
  const forward = new Forward({
    ...{ id: 1, incarnation: 1, feed, linger, send: () => true, againMs: 1000, strange },
  })
  const leading = new Leading({
    ...{ id: 1, incarnation: 1, feed, forward, linger },
    held: () => false,
    notice: () => {},
    onLeading: () => {},
    term: () => 4,
  })
  const section = (member: number): Uint8Array =>
    Buffer.from(JSON.stringify({ member, incarnation: 1, number: 1, values: [member] }))
  const appended = (): string => {
    const entry = Buffer.from(leading.next(10)).toString()
    leading.proposed(true)
    return entry
  }
  // One comes before this leader has applied what was before it.
  for (const member of [2, 3]) leading.take(4, member, 1, wireNumber(0, 1), section(member))
  leading.leading(0)
  leading.take(4, 5, 1, wireNumber(0, 1), section(5))
  leading.only(new Set([1, 3]))
  const entry = appended()
  assert.ok(entry.includes('"member":3') && !/"member":[25]/.test(entry), entry)
  assert.equal(leading.joined, 1)
})
