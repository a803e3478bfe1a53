// HalfSipHash is written out where it must be fast: one plain twin says what all of these give, and fixed
// figures say that it is what clusters have in their data.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '@skep/testing/random.ts'
import { ConnectionIds, WINDOW_MS } from './connection-id.ts'
import { Hashing } from './hashing.ts'
import { allocate, C_HASH_KEY, C_ID_KEYS, C_LEVEL, C_TIME, limitsFor } from './layout.ts'
import { Store } from './store.ts'

const rotate = (x: number, by: number): number => (x << by) | (x >>> (32 - by))

/** HalfSipHash-1-3 without the length word: its state after the last round. */
function plain(key: readonly number[], words: readonly number[]): readonly [number, number, number, number] {
  const [k0, k1, k2, k3] = key as [number, number, number, number]
  let [v0, v1, v2, v3] = [k0, k1, k2 ^ 0x6c796765, k3 ^ 0x74656462]
  const round = (): void => {
    v0 = (v0 + v1) | 0
    v1 = rotate(v1, 5) ^ v0
    v0 = rotate(v0, 16)
    v2 = (v2 + v3) | 0
    v3 = rotate(v3, 8) ^ v2
    v0 = (v0 + v3) | 0
    v3 = rotate(v3, 7) ^ v0
    v2 = (v2 + v1) | 0
    v1 = rotate(v1, 13) ^ v2
    v2 = rotate(v2, 16)
  }
  for (const word of words) {
    v3 ^= word
    round()
    v0 ^= word
  }
  v2 ^= 0xff
  for (let i = 0; i < 3; i++) round()
  return [v0, v1, v2, v3]
}

function hashOf(key: readonly number[], words: readonly number[]): number {
  const [, v1, , v3] = plain(key, words)
  return v1 ^ v3
}

test('whatever the fast hashes write out, they find what the plain one has stored', () => {
  const rng = new Random(23)
  const store = new Store(allocate(limitsFor(64 << 20, false), true))
  const { control } = store
  control[C_LEVEL] = 2
  for (let round = 0; round < 2000; round++) {
    const words = Int32Array.from({ length: 9 }, () => (rng.chance(0.1) ? 0 : rng.word() | 0))
    const key = Array.from({ length: 4 }, () => rng.word() | 0)
    control.set(key, C_HASH_KEY)
    const hashing = new Hashing(control)
    const at = rng.below(5)
    assert.equal(hashing.infoHash(words, at), hashOf(key, [...words.subarray(at, at + 5)]))
    const port = rng.below(65536)
    assert.equal(hashing.peer4(words[0]!, port), hashOf(key, [words[0]!, port]) >>> 0)
    const units = new Uint16Array(words.buffer)
    assert.equal(hashing.halves(units, 2, 4), hashOf(key, [words[1]!, words[2]!]) >>> 0)
    assert.equal(hashing.halves(units, 0, 3), hashOf(key, [words[0]!, units[2]!]) >>> 0)

    control.set(key, C_ID_KEYS)
    const window = rng.below(1 << 20)
    control[C_ID_KEYS + 4] = window + (rng.chance(0.5) ? 0 : 1)
    store.times[C_TIME / 2] = window * WINDOW_MS
    const ids = new ConnectionIds(store)
    const [a0, a1, a2, a3] = [...words] as [number, number, number, number]
    for (const rest of [[], [a1, a2, a3 === 0 ? 1 : a3]]) {
      const [b1 = 0, b2 = 0, b3 = 0] = rest
      const pair = control[C_ID_KEYS + 4]! <= window ? key.slice(0, 2) : key.slice(2)
      const [v0, v1, v2, v3] = plain([...pair, ...pair], [a0, ...rest, window])
      ids.make(a0, b1, b2, b3)
      assert.deepEqual([ids.lo, ids.hi], [v1 ^ v3, ((v0 ^ v2) & 0xffffff) | ((window & 0xff) << 24)])
      assert.ok(ids.check(ids.lo, ids.hi, a0, b1, b2, b3))
      assert.ok(!ids.check(ids.lo ^ 1, ids.hi, a0, b1, b2, b3))
    }
  }
})

test('hashes are those that data folders and snapshots of level 2 are laid by', () => {
  const store = new Store(allocate(limitsFor(64 << 20, false), true))
  const { control } = store
  control[C_LEVEL] = 2
  for (const at of [C_HASH_KEY, C_ID_KEYS]) control.set([0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c], at)
  const hashing = new Hashing(control)
  assert.equal(hashing.infoHash(Int32Array.of(1, 2, 3, 4, 5), 0), 525641609)
  assert.equal(hashing.peer4(0x04030201, 6881), 1476173605)
  assert.equal(hashing.halves(Uint16Array.of(1, 2, 3, 4), 0, 4), 1348020484)
  const ids = new ConnectionIds(store)
  ids.make(0x04030201, 0, 0, 0)
  assert.deepEqual([ids.lo, ids.hi], [-917647320, 6155650])
  ids.make(1, 2, 3, 4)
  assert.deepEqual([ids.lo, ids.hi], [-903734542, 1593328])
})
