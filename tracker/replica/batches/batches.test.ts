// Numbered batches against lost, repeated and refused deliveries: each is applied once, in order, or given
// back.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Batches, Expected, flowOf, numberOf, wireNumber } from './batches.ts'

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
    b.refused(0, 3).map((x) => x.content),
    ['c', 'd'],
  )
  assert.equal(b.add('e', 1), 3)
  assert.deepEqual(b.refused(0, 3), [], 'a repeated refusal is of a flow that has ended')
  assert.deepEqual(b.refused(1, 9), [])
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

test('flow and number travel as one integer', () => {
  for (const [flow, number] of [
    [0, 1],
    [65535, -1],
    [7, -(2 ** 31)],
    [0, 2 ** 31 - 1],
  ] as const)
    assert.deepEqual([flowOf(wireNumber(flow, number)), numberOf(wireNumber(flow, number))], [flow, number])
})

test('a refusal is repeated to whoever has not heard it, in whichever flow of the circle', () => {
  const expected = new Expected(1, () => ({ incarnation: 1, number: 4 }))
  for (let flow = 65530; flow < 65560; flow++) {
    assert.equal(expected.judge(1, 9, 1, 5, flow % 65536), 'take')
    expected.refuse(9, 1, 5, flow % 65536)
    assert.equal(expected.judge(1, 9, 1, 5, flow % 65536), 'refused')
    assert.equal(expected.next(9), 5)
  }
})

/**
 * What is on its way: a batch for the leader of a term, or a leader's refusal. Delivered any number of times,
 * in any order.
 */
type Sent =
  | { kind: 'batch'; term: number; number: number; flow: number; content: number }
  | { kind: 'refusal'; term: number; number: number; flow: number }

/** A member, its leaders and a network that loses, repeats and reorders, with apply's own rule. */
class Way {
  member: Batches<number>
  applied: number[] = []
  refused = new Set<number>()
  last: { incarnation: number; number: number }
  sent: Sent[] = []
  term = 1
  expected = new Expected(1, () => this.last)
  appended: { number: number; content: number }[] = []
  ready = true
  private content = 0

  constructor(first: number) {
    this.member = new Batches(1, 4, first)
    this.last = first === 1 ? { incarnation: 0, number: 0 } : { incarnation: 1, number: (first - 1) | 0 }
  }

  add(): void {
    if (this.member.mayAdd()) this.send(this.member.add(++this.content, 0), this.content)
  }
  resend(): void {
    for (const b of this.member.unresolved(this.last)) this.send(b.number, b.content)
  }
  private send(number: number, content: number): void {
    this.sent.push({ kind: 'batch', term: this.term, number, flow: this.member.flow, content })
  }
  /** The tail that nobody else had is lost; the new leader has applied what is committed. */
  elect(): void {
    this.appended = []
    this.term++
    this.expected = new Expected(this.term, () => this.last)
    this.resend()
  }
  deliver(nth: number): void {
    const x = this.sent[nth % Math.max(1, this.sent.length)]
    if (x === undefined || x.term !== this.term) return
    if (x.kind === 'refusal') {
      for (const b of this.member.refused(x.flow, x.number)) this.refused.add(b.content)
      return
    }
    const verdict = this.expected.judge(x.term, 1, 1, x.number, x.flow)
    if (verdict === 'take' && this.ready) {
      this.expected.took(1, 1, x.number, x.flow)
      this.appended.push(x)
    } else if (verdict === 'take' || verdict === 'refused') {
      if (verdict === 'take') this.expected.refuse(1, 1, x.number, x.flow)
      this.sent.push({ kind: 'refusal', term: this.term, number: this.expected.next(1), flow: x.flow })
    }
  }
  commit(n: number): void {
    for (const e of this.appended.splice(0, n)) {
      const next = this.last.incarnation === 0 ? e.number === 1 : e.number === ((this.last.number + 1) | 0)
      if (!next) continue
      this.last = { incarnation: 1, number: e.number }
      this.applied.push(e.content)
      this.member.applied(1, e.number)
    }
  }
}

test('whatever the network and the leaders do, batches are applied once and in order, and refused ones never', () => {
  const step = fc.oneof(
    fc.constant('add' as const),
    fc.record({ deliver: fc.nat(30) }),
    fc.record({ deliver: fc.nat(30) }),
    fc.record({ commit: fc.nat(3) }),
    fc.constant('elect' as const),
    fc.constant('resend' as const),
    fc.constant('ready or not' as const),
  )
  // Near the places where a 32-bit number changes its sign, and where it goes round.
  const first = fc.constantFrom(1, 2 ** 31 - 3, -3)
  fc.assert(
    fc.property(first, fc.array(step, { maxLength: 100, size: 'max' }), (number, steps) => {
      const way = new Way(number)
      for (const s of steps) {
        if (s === 'add') way.add()
        else if (s === 'elect') way.elect()
        else if (s === 'resend') way.resend()
        else if (s === 'ready or not') way.ready = !way.ready
        else if ('deliver' in s) way.deliver(s.deliver)
        else way.commit(s.commit)
      }
      const { applied, refused } = way
      assert.deepEqual(
        applied,
        [...new Set(applied)].sort((a, b) => a - b),
      )
      for (const c of applied) assert.ok(!refused.has(c), `${c} was refused and applied`)
      // Nothing is stuck: a healed network resolves all that is under way.
      way.ready = true
      way.sent = []
      way.elect()
      for (let i = 0; i < way.sent.length; i++) way.deliver(i)
      way.commit(99)
      assert.equal(way.member.underWay, 0)
    }),
    { numRuns: 400 },
  )
})
