// What a leader lets into the log of other members' bytes: exactly what a BatchWriter writes.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DETAILS, IPV6, LEAVE, PUT } from '../swarm/change.ts'
import { BatchWriter } from '../swarm/entry.ts'
import { sectionFault } from './section.ts'

const MEMBER = 2 ** 45 + 77
const section = (changes: number, touches: number): Uint8Array => {
  const writer = new BatchWriter(1 << 16)
  const words = new Int32Array(24 * 64)
  for (let i = 0; i < 64; i++) words[i * 24] = [PUT, LEAVE, PUT | IPV6, PUT | DETAILS][i % 4]!
  writer.begin(MEMBER, 3, 9)
  writer.addTouches(1, new Int32Array(100), touches)
  writer.addChanges(0, { words, at: (s) => s * 24 }, 0, changes)
  return Uint8Array.from(writer.bytes())
}

test('what a member writes fits under its own name only', () => {
  for (const [changes, touches] of [
    [1, 0],
    [0, 5],
    [33, 100],
  ] as const) {
    const s = section(changes, touches)
    assert.equal(sectionFault(s, MEMBER, 3, 9), null)
    assert.equal(sectionFault(s, MEMBER + 1, 3, 9), 'of another member')
    assert.equal(sectionFault(s, MEMBER, 4, 9), 'another batch')
    assert.equal(sectionFault(s, MEMBER, 3, 8), 'another batch')
    assert.equal(sectionFault(s.subarray(0, s.length - 4), MEMBER, 3, 9), 'another length')
  }
})

test('lengths that do not add up are found, whatever they are', () => {
  const whole = section(20, 30)
  // Thirty touches of the same peer: a byte each.
  const changes = 6 + 4 + 8
  const lengths = [4, 5, 6 + 3, 6 + 2, changes + 3, changes + 2]
  fc.assert(
    fc.property(fc.constantFrom(...lengths), fc.integer(), (word, value) => {
      const s = Uint8Array.from(whole)
      const view = new DataView(s.buffer)
      fc.pre(view.getInt32(word * 4, true) !== value)
      view.setInt32(word * 4, value, true)
      assert.notEqual(sectionFault(s, MEMBER, 3, 9), null)
    }),
    { numRuns: 500 },
  )
})

test('any bytes are judged without harm', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      assert.notEqual(sectionFault(bytes, MEMBER, 3, 9), null)
    }),
  )
})
