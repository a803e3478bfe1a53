// The networks that flood are named while datagrams are lost, and nobody else is.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Flood, floodBuffer, floodsOf, floodWarnings, NAMED_MOST } from './flood.ts'
import { ADDRESS_WORDS } from './slots.ts'

const address4 = (a: number, b: number, c: number, d: number): Int32Array => {
  const slot = new Int32Array(ADDRESS_WORDS)
  new Uint8Array(slot.buffer).set([a, b, c, d], 4)
  return slot
}

const address6 = (...bytes: number[]): Int32Array => {
  const slot = new Int32Array(ADDRESS_WORDS)
  new Uint8Array(slot.buffer).set(bytes, 8)
  return slot
}

function world() {
  const buffer = floodBuffer()
  const flood = new Flood(buffer)
  const from = (family: 4 | 6, slot: Int32Array, n = 16): void => {
    const batch = new Int32Array(ADDRESS_WORDS * n)
    for (let i = 0; i < n; i++) batch.set(slot, i * ADDRESS_WORDS)
    flood.note(family, batch, ADDRESS_WORDS, n)
  }
  return { buffer, flood, from }
}

test('heavy networks stand out among thousands of honest addresses, on both families and all workers', () => {
  const { buffer, flood, from } = world()
  assert.equal(flood.sampling, false)
  flood.look(5, 1000)
  assert.equal(flood.sampling, true)
  for (let i = 0; i < 40_000; i++)
    if (i % 10 < 4) from(4, address4(198, 51, 100, i & 255))
    else if (i % 10 < 6) from(6, address6(0x20, 1, 0xd, 0xb8, 0, 7, i & 255))
    else from(4, address4(10, i & 255, (i >> 8) & 255, 1))
  const floods = floodsOf([buffer, floodBuffer()])
  assert.deepEqual(
    floods.map(({ network, share }) => [network, Math.round(share * 10)]),
    [
      ['198.51.100.0/24', 4],
      ['2001:db8:7::/48', 2],
    ],
  )
  assert.match(floodWarnings(floods).join(), /most came from 198\.51\.100\.0\/24 \(4\d %\)|\(3\d %\)/)
})

test('no more than twenty are named', () => {
  const { buffer, flood, from } = world()
  flood.look(1, 0)
  for (let i = 0; i < 3000; i++) from(4, address4(203, 0, i % 30, 1))
  assert.equal(floodsOf([buffer]).length, NAMED_MOST)
})

test('when nothing was lost for a minute, nobody is named any more', () => {
  const { buffer, flood, from } = world()
  flood.look(1, 0)
  from(4, address4(203, 0, 113, 1))
  flood.look(1, 30_000)
  assert.equal(flood.sampling, false)
  assert.equal(floodsOf([buffer]).length, 1)
  flood.look(1, 61_000)
  assert.deepEqual(floodsOf([buffer]), [])
  assert.deepEqual(floodWarnings([]), [])
})

test('honest clients that are heard when the flood is over are not named for it', () => {
  const { buffer, flood, from } = world()
  flood.look(1, 0)
  for (let i = 0; i < 1000; i++) from(4, address4(203, 0, 113, i & 255))
  for (let i = 0; i < 10_000; i++) from(4, address4(198, 51, 100, i & 255), 1 + (i % 15))
  assert.deepEqual(
    floodsOf([buffer]).map(({ network }) => network),
    ['203.0.113.0/24'],
  )
})
