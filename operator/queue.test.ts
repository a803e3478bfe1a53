// The queue of passes: one pass a cluster at a time, nothing forgotten, failures slowed down.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { newQueue } from './queue.ts'

test('a key is handed out once, however often it was added', () => {
  const queue = newQueue()
  queue.add('a', 0)
  queue.add('a', 1)
  queue.addAt('a', 50)
  assert.equal(queue.take(100), 'a')
  assert.equal(queue.take(100), null)
})

test('what happens during a pass leads to another one after it, not beside it', () => {
  const queue = newQueue()
  queue.add('a', 0)
  assert.equal(queue.take(0), 'a')
  queue.add('a', 1)
  assert.equal(queue.take(10), null)
  queue.done('a', 5000)
  assert.equal(queue.take(10), 'a')
})

test('the sooner of two plans counts, and the longest due goes first', () => {
  const queue = newQueue()
  queue.addAt('late', 100)
  queue.addAt('late', 30)
  queue.addAt('early', 20)
  assert.equal(queue.nextMs(), 20)
  assert.equal(queue.take(10), null)
  assert.equal(queue.take(200), 'early')
  assert.equal(queue.take(200), 'late')
  assert.equal(queue.nextMs(), null)
})

test('failures wait longer and longer, up to a limit; one success forgives them all', () => {
  const queue = newQueue({ firstMs: 100, mostMs: 1000 })
  const waits = []
  let now = 0
  queue.add('a', now)
  for (let i = 0; i < 6; i++) {
    now = queue.nextMs()!
    assert.equal(queue.take(now), 'a')
    // Something happens meanwhile: it must not make the wait shorter.
    queue.add('a', now)
    waits.push(queue.failed('a', now, 0.5))
    assert.equal(queue.nextMs(), now + waits.at(-1)!)
  }
  assert.deepEqual(waits, [100, 200, 400, 800, 1000, 1000])
  assert.equal(queue.take(1e9), 'a')
  queue.done('a', null)
  queue.add('a', 0)
  queue.take(0)
  assert.equal(queue.failed('a', 0, 0.5), 100)
})

test('no key is lost and none is out twice, whatever is done in whatever order', () => {
  const step = fc.tuple(
    fc.constantFrom('add', 'later', 'take', 'done', 'failed'),
    fc.constantFrom('a', 'b', 'c'),
    fc.nat(1000),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const queue = newQueue()
      const out = new Set<string>()
      const owed = new Set<string>()
      let now = 0
      for (const [what, key, ms] of steps) {
        now += ms
        if (what === 'add') queue.add(key, now)
        if (what === 'later') queue.addAt(key, now + ms)
        if (what === 'add' || what === 'later') owed.add(key)
        if (what === 'take') {
          const taken = queue.take(now)
          if (taken === null) continue
          assert.ok(!out.has(taken) && owed.has(taken))
          out.add(taken)
          owed.delete(taken)
        }
        if ((what === 'done' || what === 'failed') && out.delete(key)) {
          if (what === 'done') queue.done(key, null)
          else {
            queue.failed(key, now, 0.5)
            owed.add(key)
          }
        }
      }
      for (const key of out) queue.done(key, null)
      const rest = new Set<string>()
      for (let key = queue.take(1e12); key !== null; key = queue.take(1e12)) rest.add(key)
      assert.deepEqual(rest, owed)
    }),
  )
})
