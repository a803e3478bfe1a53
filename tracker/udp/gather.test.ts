// When a worker waits a little for more requests, and when it must not.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Gather } from './gather.ts'

const REST = 200

/**
 * One millisecond at a time: datagrams that arrive, and the share of time asleep. Returns milliseconds with
 * rest.
 */
function play(
  gather: Gather,
  from: number,
  ms: number,
  perMs: (resting: boolean) => number,
  idle = 0.7,
): number {
  let rested = 0
  for (let now = from; now < from + ms; now++) {
    const resting = gather.rest(now) > 0
    if (resting) rested++
    gather.note(perMs(resting))
    gather.slept(idle)
  }
  return rested
}

test('a steady stream of requests is gathered, a lone one is answered at once', () => {
  assert.ok(play(new Gather(REST), 0, 2000, () => 20) > 1800)
  assert.equal(
    play(new Gather(REST), 0, 2000, () => 1),
    0,
  )
  assert.equal(new Gather(REST).rest(0), 0)
})

test('a worker without time to spare does not rest', () => {
  assert.equal(
    play(new Gather(REST), 0, 2000, () => 200, 0.1),
    0,
  )
})

test('clients that wait for each answer are slowed down for hundredths of the time only', () => {
  const rested = play(new Gather(REST), 0, 10_000, (resting) => (resting ? 5 : 30))
  assert.ok(rested > 0 && rested < 150, `${rested} ms of 10,000`)
})

test('after a burst the next lone request is answered at once again', () => {
  const gather = new Gather(REST)
  play(gather, 0, 500, () => 20)
  play(gather, 500, 300, () => 0, 1)
  assert.equal(
    play(gather, 800, 1000, () => 1),
    0,
  )
})

test('it can be switched off', () => {
  assert.equal(
    play(new Gather(0), 0, 1000, () => 20),
    0,
  )
})
