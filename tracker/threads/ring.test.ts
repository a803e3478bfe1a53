// The rings between two real threads: nothing lost, nothing twice, order kept, nobody sleeps through a
// wake-up, positions wrap at 2^32.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { APPLIED, OutcomeRing, REFUSED } from './outcome.ts'
import { producerBuffers } from './producer.ts'
import { ChangeRing, changeRingBuffer, RECORD_WORDS, ringBuffer, WordRing } from './ring.ts'
import type { ThreadOrders } from './ring-thread.case.ts'
import { Control, controlBuffer, SERVING, STOPPING, WAITING } from './state.ts'

const CHANGES = 60_000
const WORDS = 60_000

test('changes, words and outcomes cross to a second thread and back', async () => {
  const producer = producerBuffers(64, 128)
  const control = controlBuffer()
  const shared = new Control(control)
  const sums = new SharedArrayBuffer(8)
  const orders: ThreadOrders = { producer, control, changes: CHANGES, words: WORDS, sums }
  const thread = new Worker(new URL('./ring-thread.case.ts', import.meta.url), { workerData: orders })
  let over = false
  const ended = new Promise<number>((resolve) => {
    thread.once('exit', (code) => {
      over = true
      resolve(code)
    })
  })
  const changes = new ChangeRing(producer.changes)
  const touches = new WordRing(producer.touches)
  const outcomes = new OutcomeRing(producer.outcomes)
  let freed = 0
  let pushed = 0
  let changeSum = 0
  let wordSum = 0
  const expectOutcomes = () => {
    while (outcomes.next()) {
      assert.equal(outcomes.first, freed, 'outcomes come in order, each once')
      assert.equal(outcomes.outcome, (outcomes.first & 1) === 0 ? APPLIED : REFUSED)
      freed += outcomes.count
    }
  }
  while (!over && (freed < CHANGES || pushed < WORDS)) {
    let busy = false
    while (changes.tail < CHANGES && changes.tail - freed < changes.slots) {
      const at = changes.at(changes.tail)
      changes.words[at] = Math.imul(changes.tail, 0x9e3779b1)
      changes.words[at + 23] = changes.tail
      changeSum = (changeSum + changes.words[at]! + changes.words[at + 23]!) | 0
      changes.tail++
      busy = true
    }
    while (pushed < WORDS && touches.room(1) > 0) {
      touches.push(pushed)
      wordSum = (Math.imul(wordSum, 31) + pushed) | 0
      pushed++
      busy = true
    }
    changes.publish()
    touches.publish()
    shared.wakeReplica()
    const before = freed
    expectOutcomes()
    if (busy || freed > before) continue
    outcomes.sleeping(true)
    if (!outcomes.available()) {
      const sleep = Atomics.waitAsync(outcomes.control, 32, 1, 5)
      if (sleep.async) await sleep.value
    }
    outcomes.sleeping(false)
  }
  assert.equal(await ended, 0)
  assert.deepEqual([...new Int32Array(sums)], [changeSum, wordSum])
})

test('positions wrap at 2^32 without a gap', () => {
  const buffer = ringBuffer(8)
  new Int32Array(buffer)[0] = new Int32Array(buffer)[16] = 2 ** 31 - 3
  const producer = new WordRing(buffer)
  const consumer = new WordRing(buffer)
  const out = new Int32Array(8)
  for (let round = 0; round < 20; round++) {
    assert.equal(producer.room(8), 8)
    for (let i = 0; i < 5; i++) producer.push(round * 5 + i)
    assert.equal(consumer.available(), 0, 'nothing is seen before it is published')
    producer.publish()
    assert.equal(consumer.available(), 5)
    assert.equal(consumer.drain(out, 0, 3) + consumer.drain(out, 3, 8), 5)
    assert.deepEqual(
      [...out.subarray(0, 5)],
      [0, 1, 2, 3, 4].map((i) => round * 5 + i),
    )
  }
  const changes = changeRingBuffer(4)
  new Int32Array(changes)[0] = new Int32Array(changes)[16] = 2 ** 31 - 2
  const ring = new ChangeRing(changes)
  for (let i = 0; i < 4; i++) {
    assert.equal(ring.at(ring.tail), (ring.tail & 3) * RECORD_WORDS)
    ring.tail = (ring.tail + 1) | 0
  }
  ring.publish()
  assert.equal(ring.available(), 4)
})

test('a full ring says so, and sizes that are no power of two are refused', () => {
  const ring = new WordRing(ringBuffer(4))
  for (let i = 0; i < 4; i++) ring.push(i)
  assert.equal(ring.room(1), 0)
  const outcomes = new OutcomeRing(ringBuffer(8))
  assert.deepEqual(
    [0, 1, 2].map((n) => outcomes.push(n, 1, APPLIED)),
    [true, true, false],
  )
  assert.throws(() => ringBuffer(6), RangeError)
  assert.throws(() => new ChangeRing(changeRingBuffer(6)), RangeError)
})

test('reads need a lease and a serving state; answers of changes may leave while draining too', () => {
  const control = new Control(controlBuffer())
  control.setLeaseUntil(1000)
  const may = (now: number) => [control.mayAnswer(now), control.mayRelease(now)]
  assert.deepEqual(may(1), [false, false], 'starting')
  control.setState(SERVING)
  assert.deepEqual(may(999), [true, true])
  assert.deepEqual(may(1000), [false, false])
  control.setState(STOPPING)
  assert.deepEqual(may(999), [false, true])
  control.setState(WAITING)
  assert.deepEqual(may(999), [false, false])
})
