// Parked requests against a plain map: outcomes in any order, sequence numbers that wrap, slots used again.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Pending } from './pending.ts'
import { Inbox } from './slots.ts'
import { Waiting } from './waiting.ts'

const inbox = new Inbox(4, 1)

test('every parked request is found by its number until its outcome, and never again', () => {
  const steps = fc.array(fc.tuple(fc.boolean(), fc.nat(7)), { maxLength: 200 })
  fc.assert(
    fc.property(steps, fc.constantFrom(0, -3, 2 ** 31 - 5), (list, first) => {
      const pending = new Pending(8, first | 0)
      const model = new Map<number, number>()
      let next = first | 0
      for (const [park, pick] of list) {
        if (park && !pending.full) {
          pending.park(next, inbox, 0, 0, next ^ 0x55, 1, 1, 0)
          model.set(next, next ^ 0x55)
          next = (next + 1) | 0
        } else if (!park && model.size > 0) {
          const sequence = [...model.keys()][pick % model.size]!
          const slot = pending.slot(sequence)
          assert.equal(pending.transactions[slot], model.get(sequence))
          pending.free(slot)
          model.delete(sequence)
          assert.equal(pending.slot(sequence), -1, 'told twice')
        }
        for (const sequence of model.keys()) assert.ok(pending.slot(sequence) >= 0)
        assert.equal(pending.slot(next), -1, 'not asked for yet')
        assert.ok(pending.count >= model.size && pending.count <= 7)
        if (model.size === 0) assert.equal(pending.count, 0)
      }
    }),
  )
})

test('requests that wait keep their order and their bytes; only so many do', () => {
  const box = new Inbox(6, 2)
  const waiting = new Waiting(6, 3)
  const put = (n: number) => {
    box.words[box.strideWords] = n
    box.lengths[16 + 14] = 20 + n
    box.from[8 + 2] = n * 11
    box.control[10 + 4] = n * 13
    return waiting.push(box, 1, n)
  }
  assert.deepEqual([1, 2, 3, 4].map(put), [true, true, true, false])
  waiting.shift(2)
  assert.deepEqual([5, 6, 7].map(put), [true, true, false])
  assert.equal(waiting.oldestMs, 3)
  for (const [n, expected] of [3, 5, 6].entries()) {
    const slot = waiting.slot(n)
    assert.equal(waiting.inbox.words[slot * waiting.inbox.strideWords], expected)
    assert.equal(waiting.inbox.lengths[slot * 16 + 14], 20 + expected)
    assert.equal(waiting.inbox.from[slot * 8 + 2], expected * 11)
    assert.equal(waiting.inbox.control[slot * 10 + 4], expected * 13)
  }
  waiting.shift(3)
  assert.equal(waiting.oldestMs, Infinity)
})
