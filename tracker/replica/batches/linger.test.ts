// How long changes wait for company, after cycles of any length.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Linger } from './linger.ts'

const after = (linger: Linger, cycles: number, ms: number): number => {
  for (let i = 0; i < cycles; i++) linger.took(ms)
  return linger.ms
}

test('short cycles change nothing; long ones make changes wait for three of them, up to four times the least', () => {
  const linger = new Linger(2)
  assert.equal(linger.ms, 2)
  assert.equal(after(linger, 100, 0.3), 2)
  assert.ok(Math.abs(after(linger, 100, 1.5) - 4.5) < 0.01)
  assert.equal(after(linger, 100, 300), 8)
  assert.equal(after(linger, 200, 0.3), 2)
})

test('one long cycle among short ones is no reason to wait', () => {
  const linger = new Linger(2)
  after(linger, 50, 0.2)
  assert.equal(after(linger, 1, 3), 2)
})

test('who wants no company gets none', () => {
  assert.equal(after(new Linger(0), 50, 10), 0)
})
