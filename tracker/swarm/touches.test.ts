// Touches come out of a log entry as they went in, in the order of their units, and fewer bytes than they
// were.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { areTouches, packTouches, TOUCH_BYTES, unpackTouches } from './touches.ts'

const pack = (words: readonly number[]): Uint8Array => {
  const bytes = new Uint8Array(words.length * TOUCH_BYTES)
  return bytes.subarray(
    0,
    packTouches(Int32Array.from(words), words.length, new Uint32Array(words.length), bytes, 0),
  )
}
const unpack = (bytes: Uint8Array, count: number): number[] => {
  const words: number[] = []
  unpackTouches(bytes, 0, bytes.length, count, { touch: (word) => void words.push(word) })
  return words
}
const ordered = (words: readonly number[]): number[] => [...words].sort((a, b) => a - b)

test('what goes in comes out, whatever it is', () => {
  fc.assert(
    fc.property(fc.array(fc.integer()), (words) => {
      const bytes = pack(words)
      assert.deepEqual(ordered(unpack(bytes, words.length)), ordered(words))
      assert.ok(areTouches(bytes, words.length))
      assert.ok(!areTouches(bytes, words.length + 1))
      assert.ok(words.length === 0 || !areTouches(bytes.subarray(0, bytes.length - 1), words.length))
    }),
  )
})

test('units come in their order, IPv4 first', () => {
  const touch = (unit: number, v6: boolean, check: number): number =>
    unit | (v6 ? 1 << 25 : 0) | (check << 26)
  const words = [touch(7, true, 1), touch(900, false, 63), touch(3, false, 40), touch(2 ** 25 - 1, false, 5)]
  assert.deepEqual(unpack(pack(words), 4), [words[2], words[1], words[3], words[0]])
})

test('a thousand of a million peers take three bytes each, twenty thousand of sixty thousand two', () => {
  const spread = (count: number, of: number): number =>
    pack(Array.from({ length: count }, (_, i) => Math.floor((i * of) / count) | ((i % 64) << 26))).length /
    count
  assert.ok(spread(1000, 1_000_000) <= 3)
  assert.ok(spread(20_000, 60_000) <= 2)
})

test('any bytes are judged, and what is no touch is refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.integer({ min: -5, max: 60 }), (bytes, count) => {
      if (areTouches(bytes, count)) assert.equal(unpack(bytes, count).length, count)
    }),
  )
  assert.ok(!areTouches(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0), 1))
  assert.ok(!areTouches(new Uint8Array(8), 1))
})
