// The interval against simulated peers in virtual time.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type IntervalState, nextInterval, startInterval } from './interval.ts'

const limits = { intervalSeconds: 1800, intervalMaxSeconds: 3600, targetAnswers: 100 }

/**
 * `peers` announce again after the interval they were given; returns the state and the rate of the last ten
 * hours.
 */
function simulate(peers: number, hours: number): { state: IntervalState; rate: number } {
  let state = startInterval(limits)
  const due = new Map<number, number>()
  for (let i = 0; i < 1800; i++) due.set(i, peers / 1800)
  const rates: number[] = []
  for (let t = 0; t < hours * 3600; t++) {
    const asking = due.get(t) ?? 0
    due.delete(t)
    // The jitter that front ends put on it: 0.9 to 1.
    for (let part = 0; part < 10; part++) {
      const back = t + Math.round(state.seconds * (0.905 + part / 100))
      due.set(back, (due.get(back) ?? 0) + asking / 10)
    }
    state = nextInterval(state, asking, 1, limits)
    rates.push(asking)
  }
  const last = rates.slice(-36_000)
  return { state, rate: last.reduce((sum, n) => sum + n, 0) / last.length }
}

test('below the target the interval stays', () => {
  assert.equal(simulate(150_000, 10).state.seconds, 1800)
})

test('above it the interval grows until the target is met', () => {
  const { state, rate } = simulate(270_000, 40)
  assert.ok(Math.abs(state.seconds - 2700) < 200, `interval ${state.seconds}`)
  assert.ok(Math.abs(rate - 100) < 10, `rate ${rate}`)
})

test('never beyond the largest, however many ask', () => {
  assert.equal(simulate(100_000_000, 10).state.seconds, 3600)
})

test('always within the limits, and never far from the step before', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(1_000_000), fc.nat(20)), { maxLength: 200 }), (steps) => {
      let state = startInterval(limits)
      for (const [answers, elapsed] of steps) {
        const before = state
        state = nextInterval(state, answers, elapsed, limits)
        assert.ok(state.seconds >= 1800 && state.seconds <= 3600 && Number.isFinite(state.rate))
        assert.ok(Math.abs(state.seconds - before.seconds) <= before.seconds * 0.002 * elapsed + 1e-6)
      }
    }),
  )
})

test('changed settings take effect at once', () => {
  const state = nextInterval(startInterval(limits), 0, 1, { ...limits, intervalSeconds: 2400 })
  assert.equal(state.seconds, 2400)
})
