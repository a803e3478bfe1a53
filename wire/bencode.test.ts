// Bencode against an independent decoder, its own round trip, and bytes that mean harm.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Bencode, decode, type Encodable, encode, latin1 } from './bencode.ts'

// The package has no types of its own.
const oracle: { decode(bytes: Uint8Array): unknown; encode(value: unknown): Uint8Array } = (
  await import('bencode' as string)
).default

const bytes = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0))

const value = fc.letrec<{ any: Encodable }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 5 },
    fc.maxSafeInteger(),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
    fc.uint8Array({ maxLength: 40 }),
    fc.array(tie('any'), { maxLength: 5 }),
    fc
      .array(fc.tuple(fc.uint8Array({ maxLength: 20 }).map(latin1), tie('any')), { maxLength: 5 })
      .map((members) => new Map(members)),
  ),
})).any

const plain = (v: Bencode | Encodable): unknown => {
  if (v instanceof Uint8Array) return `bytes ${Buffer.from(v).toString('hex')}`
  if (Array.isArray(v)) return v.map(plain)
  if (v instanceof Map) return [...v].sort(([a], [b]) => (a < b ? -1 : 1)).map(([k, m]) => [k, plain(m)])
  return typeof v === 'bigint' ? Number(v) : v
}

test('what is encoded is decoded to the same value', () => {
  fc.assert(
    fc.property(value, (v) => {
      const decoded = decode(encode(v))
      assert(decoded.ok)
      assert.deepEqual(plain(decoded.value), plain(v))
    }),
  )
})

test('an independent decoder reads what we write, and we read what it writes', () => {
  const sent = { interval: 1800, peers: bytes('\x7f\x00\x00\x01\x1a\xe1'), files: { a: [1, 2, 'three'] } }
  const theirs = oracle.decode(encode(sent)) as { interval: number; peers: Uint8Array }
  assert.equal(theirs.interval, 1800)
  assert.deepEqual([...theirs.peers], [127, 0, 0, 1, 26, 225])
  const decoded = decode(Uint8Array.from(oracle.encode(sent)))
  assert(decoded.ok)
  assert.deepEqual(encode(decoded.value as Encodable), encode(sent))
})

test('keys are written in the order of their bytes, and undefined members not at all', () => {
  assert.equal(
    latin1(encode({ peers: 'x', 'min interval': 1, interval: undefined, é: 2 })),
    'd12:min intervali1e5:peers1:x1:\xe9i2ee',
  )
})

test('random bytes never throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (b) => {
      decode(b)
    }),
    { numRuns: 2000 },
  )
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...'ilde-0123456789:a'), { maxLength: 40 }), (text) => {
      decode(bytes(text.join('')))
    }),
    { numRuns: 2000 },
  )
})

const refusals: readonly (readonly [string, string, RegExp])[] = [
  ['nothing', '', /no value/],
  ['a string cut short', '5:abcd', /longer than the input/],
  ['a negative length', 'l-3:e', /no value/],
  ['a huge length', '99999999999999999999:a', /longer than the input/],
  ['an unclosed list', 'li1e', /no value/],
  ['an unclosed dictionary', 'd1:a', /no value/],
  ['a dictionary key that is no string', 'di1ei2ee', /no string/],
  ['a key twice', 'd1:ai1e1:ai2ee', /twice/],
  ['an empty integer', 'ie', /no integer/],
  ['minus zero', 'i-0e', /leading zero/],
  ['a leading zero', 'i01e', /leading zero/],
  ['a leading zero in a length', '01:a', /leading zero/],
  ['a fraction', 'i1.5e', /no integer/],
  ['an integer beyond 64 bits by far', `i${'9'.repeat(21)}e`, /too long/],
  ['trailing bytes', 'i1ei2e', /after the value/],
  ['a nest of lists', 'l'.repeat(50_000), /deeper than 32/],
  ['a nest of dictionaries', 'd1:a'.repeat(50_000), /deeper than 32/],
]
for (const [name, text, reason] of refusals)
  test(`refused: ${name}`, () => {
    const decoded = decode(bytes(text))
    assert(!decoded.ok)
    assert.match(decoded.reason, reason)
  })

test('limits of size and number hold', () => {
  assert(!decode(bytes('i1e'), { depth: 1, bytes: 2, values: 9 }).ok)
  assert(!decode(bytes('li1ei1ee'), { depth: 1, bytes: 99, values: 2 }).ok)
  assert(decode(bytes('li1ei1ee'), { depth: 1, bytes: 99, values: 3 }).ok)
})

test('what bencode cannot say is refused before it is written', () => {
  assert.throws(() => encode(1.5), RangeError)
  assert.throws(() => encode({ 'key \u2028': 1 }), RangeError)
})

test('a dictionary member called __proto__ is data', () => {
  const decoded = decode(bytes('d9:__proto__i1ee'))
  assert(decoded.ok)
  assert.equal((decoded.value as Map<string, Bencode>).get('__proto__'), 1)
  assert.equal(({} as { a?: unknown }).a, undefined)
})
