// The small parts of a load: waiting requests, the histogram, targets, goals' arithmetic.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { median, quantile, short, table } from './bench/table.ts'
import { benchUdp } from './bench-udp.ts'
import { InFlight, REFRESHING } from './udp/in-flight.ts'
import { Latency } from './udp/latency.ts'
import { isLocal, readTarget } from './udp/target.ts'

test('a waiting request is found by its own transaction on its own socket, once', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 300 }), fc.nat(), (turns, seed) => {
      const flights = new InFlight(64, 2, seed)
      const waiting = new Map<number, number>()
      for (const take of turns)
        if (take && flights.room > 0) {
          const slot = flights.take(REFRESHING, waiting.size % 2, 1, 2, 0)
          assert.ok(!waiting.has(flights.transaction[slot]!), 'transaction IDs differ')
          waiting.set(flights.transaction[slot]!, slot)
        } else if (waiting.size > 0) {
          const [transaction, slot] = [...waiting][0]!
          const socket = flights.socket[slot]!
          assert.equal(flights.find(transaction, 1 - socket), -1)
          assert.equal(flights.find(transaction, socket), slot)
          flights.release(slot)
          assert.equal(flights.find(transaction, socket), -1)
          assert.ok(flights.wasOurs(transaction))
          waiting.delete(transaction)
        }
      assert.equal(flights.bySocket[0]! + flights.bySocket[1]!, waiting.size)
      assert.equal(
        flights.expire(1, () => {}),
        waiting.size,
      )
    }),
  )
})

test('quantiles of the histogram are within a step of the true ones', () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0.002, max: 5000, noNaN: true }), { minLength: 1 }), (values) => {
      const latency = new Latency()
      for (const value of values) latency.add(value)
      for (const q of [0.5, 0.99, 1]) {
        const sorted = [...values].sort((a, b) => a - b)
        const truth = sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)]!
        const got = latency.quantile(q)
        assert.ok(got >= truth * 0.999 && got <= truth * 1.07 + 0.001, `${got} for ${truth}`)
      }
    }),
  )
})

test('targets: what people type', async () => {
  assert.deepEqual(await readTarget('udp://127.0.0.1:80/announce'), {
    address: '127.0.0.1',
    port: 80,
    family: 4,
  })
  assert.deepEqual(await readTarget('[::1]:6969'), { address: '::1', port: 6969, family: 6 })
  assert.deepEqual(await readTarget('6969'), { address: '127.0.0.1', port: 6969, family: 4 })
  await assert.rejects(readTarget('127.0.0.1'), /names no port/)
  await assert.rejects(readTarget('::::'), /is no target|no port/)
  assert.ok(isLocal(await readTarget('127.9.9.9:1')))
  assert.ok(!isLocal(await readTarget('192.0.2.1:1')))
})

test('trackers of others are refused, and options are checked', async () => {
  assert.equal(await benchUdp(['192.0.2.1:6969']), 64)
  assert.equal(await benchUdp(['6969', '--mix', '0:0:0']), 64)
  assert.equal(await benchUdp(['6969', '--seconds', '999999']), 64)
  assert.equal(await benchUdp(['--help']), 0)
})

test('tables and medians', () => {
  assert.equal(
    table(
      ['a', 'b'],
      [
        ['x', '1'],
        ['long', '22'],
      ],
    ),
    'a      b\n----  --\nx      1\nlong  22',
  )
  assert.equal(median([3, 1, 2]), 2)
  assert.equal(median([4, 1, 2, 3]), 2.5)
  assert.equal(quantile([1, 2, 3, 4], 0.25), 2)
  assert.deepEqual([999, 1500, 253_000, 1_500_000].map(short), ['999', '1.5k', '253k', '1.5M'])
})
