// Numbered batches against lost, repeated and refused deliveries: each is applied once, in order, or given back.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Batches, Expected } from './batches.ts'

test('batches are numbered, resolved in order, and bounded', () => {
  const b = new Batches<string>(3, 2)
  assert.equal(b.add('a', 0), 1)
  assert.equal(b.add('b', 5), 2)
  assert.equal(b.mayAdd(), false)
  assert.deepEqual(b.applied(2, 2), [])
  assert.deepEqual(
    b.applied(3, 1).map((x) => x.content),
    ['a'],
  )
  assert.equal(b.oldest?.content, 'b')
  assert.equal(b.next, 3)
})

test('a refused batch gives its number to the next, and takes those after it along', () => {
  const b = new Batches<string>(1, 9)
  for (const c of 'abcd') b.add(c, 0)
  assert.deepEqual(
    b.refused(3).map((x) => x.content),
    ['c', 'd'],
  )
  assert.equal(b.add('e', 1), 3)
  assert.deepEqual(b.refused(9), [])
})

test('a new leader gets everything from the last applied one on', () => {
  const b = new Batches<string>(2, 9)
  for (const c of 'abc') b.add(c, 0)
  const contents = (last: { incarnation: number; number: number }) => b.unresolved(last).map((x) => x.content)
  assert.deepEqual(contents({ incarnation: 2, number: 1 }), ['b', 'c'])
  assert.deepEqual(contents({ incarnation: 1, number: 77 }), ['a', 'b', 'c'])
})

test('late batches are abandoned once, and still resolved', () => {
  const b = new Batches<string>(1, 9)
  b.add('a', 0)
  b.add('b', 10)
  assert.deepEqual(
    b.abandon(5).map((x) => x.content),
    ['a'],
  )
  assert.deepEqual(b.abandon(5), [])
  assert.equal(b.oldest?.abandoned, true)
  assert.equal(b.applied(1, 1).length, 1)
})

/** A member and leaders that lose, repeat and reorder, with apply's own rule; leaders change and lose their tails. */
test('whatever the network and the leaders do, batches are applied once and in order, and refused ones never', () => {
  const step = fc.oneof(
    fc.constant('add' as const),
    fc.record({ deliver: fc.nat(20) }),
    fc.record({ commit: fc.nat(3) }),
    fc.constant('new leader' as const),
    fc.constant('resend' as const),
    fc.constant('not ready' as const),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (steps) => {
      const member = new Batches<number>(1, 4)
      const applied: number[] = []
      const refused = new Set<number>()
      let last = { incarnation: 0, number: 0 }
      // What the network may still deliver: to which leader, which batch.
      let sent: { leader: number; number: number; content: number }[] = []
      let leader = 1
      let expected = new Expected(leader, () => last)
      let appended: { number: number; content: number }[] = []
      let content = 0
      const send = (number: number, c: number) => sent.push({ leader, number, content: c })
      const commit = (n: number): void => {
        for (const e of appended.splice(0, n)) {
          const next = last.incarnation === 0 ? e.number === 1 : e.number === last.number + 1
          if (!next) continue
          last = { incarnation: 1, number: e.number }
          applied.push(e.content)
          member.applied(1, e.number)
        }
      }
      for (const s of steps) {
        if (s === 'add') {
          if (member.mayAdd()) send(member.add(++content, 0), content)
        } else if (s === 'new leader') {
          // The tail that nobody else had is lost; the new leader has applied what is committed.
          appended = []
          leader++
          expected = new Expected(leader, () => last)
          for (const b of member.unresolved(last)) send(b.number, b.content)
        } else if (s === 'resend') {
          for (const b of member.unresolved(last)) send(b.number, b.content)
        } else if (s === 'not ready') {
          // Refuses the first that it has not proposed yet, as a leader does whose majority cannot store.
          const from = Math.max(last.number, appended.at(-1)?.number ?? 0) + 1
          for (const b of member.refused(from)) refused.add(b.content)
          // Order holds on the way to one leader: what is refused was the last to arrive.
          sent = sent.filter((x) => x.leader !== leader || x.number < from)
        } else if ('deliver' in s) {
          const x = sent[s.deliver % Math.max(1, sent.length)]
          if (x === undefined || expected.judge(x.leader, 1, 1, x.number) !== 'take') continue
          expected.took(1, 1, x.number)
          appended.push(x)
        } else commit(s.commit)
      }
      assert.deepEqual(
        applied,
        [...new Set(applied)].sort((a, b) => a - b),
      )
      for (const c of applied) assert.ok(!refused.has(c), `${c} was refused and applied`)
      // Nothing is stuck: a healed network resolves all that is under way.
      appended = []
      expected = new Expected(99, () => last)
      for (const b of member.unresolved(last)) {
        assert.equal(expected.judge(99, 1, 1, b.number), 'take')
        expected.took(1, 1, b.number)
        appended.push(b)
      }
      commit(99)
      assert.equal(member.underWay, 0)
    }),
    { numRuns: 300 },
  )
})
