// BEP 15 and BEP 41 survive the way through bytes, and nothing that arrives makes the decoders throw.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodePeers, encodePeers } from './compact.ts'
import { formatIPv6, parseIPv4, parseIPv6 } from './ip.ts'
import {
  type Answer,
  decodeAnswer,
  decodeOptions,
  decodeRequest,
  encodeAnswer,
  encodeRequest,
  encodeUrlData,
  type Request,
} from './udp-tracker.ts'

const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>
const u32 = fc.integer({ min: 0, max: 0xffffffff })
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
const bytes20 = fc.uint8Array({ minLength: 20, maxLength: 20 })
const request: fc.Arbitrary<Request> = fc.oneof(
  record({ kind: fc.constant('connect' as const), transactionId: u32 }),
  record({
    kind: fc.constant('announce' as const),
    connectionId: u64,
    transactionId: u32,
    infoHash: bytes20,
    peerId: bytes20,
    downloaded: u64,
    left: u64,
    uploaded: u64,
    event: u32,
    ip: u32,
    key: u32,
    numWant: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    port: fc.integer({ min: 0, max: 65535 }),
    urlData: fc.uint8Array({ maxLength: 700 }),
  }),
  record({
    kind: fc.constant('scrape' as const),
    connectionId: u64,
    transactionId: u32,
    infoHashes: fc.array(bytes20, { minLength: 1, maxLength: 74 }),
  }),
)
const peers4 = fc.array(record({ address: fc.ipV4(), port: fc.integer({ min: 0, max: 65535 }) }))
const answer: fc.Arbitrary<Answer> = fc.oneof(
  record({ kind: fc.constant('connect' as const), transactionId: u32, connectionId: u64 }),
  record({
    kind: fc.constant('announce' as const),
    transactionId: u32,
    intervalSeconds: u32,
    leechers: u32,
    seeders: u32,
    peers: peers4,
  }),
  record({
    kind: fc.constant('scrape' as const),
    transactionId: u32,
    counts: fc.array(record({ seeders: u32, completed: u32, leechers: u32 })),
  }),
  record({ kind: fc.constant('error' as const), transactionId: u32, message: fc.string() }),
)

test('requests round-trip', () => {
  fc.assert(fc.property(request, (r) => assert.deepEqual(decodeRequest(encodeRequest(r)), r)))
})

test('answers round-trip', () => {
  fc.assert(fc.property(answer, (a) => assert.deepEqual(decodeAnswer(encodeAnswer(a, 4), 4), a)))
})

test('compact peers of both families round-trip, in network order', () => {
  assert.deepEqual([...encodePeers([{ address: '1.2.3.4', port: 0x1ae1 }], 4)], [1, 2, 3, 4, 0x1a, 0xe1])
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.ipV6(), fc.integer({ min: 0, max: 65535 }))), (list) => {
      const peers = list.map(([text, port]) => ({ address: formatIPv6(parseIPv6(text)!), port }))
      assert.deepEqual(decodePeers(encodePeers(peers, 6), 6), peers)
    }),
  )
  assert.equal(decodePeers(new Uint8Array(7), 4), null)
  assert.throws(() => encodePeers([{ address: '::1', port: 1 }], 4), RangeError)
})

test('addresses as text: every notation in, the canonical one out', () => {
  for (const [text, canonical] of [
    ['::', '::'],
    ['::1', '::1'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['1:0:2:0:3:0:4:0', '1:0:2:0:3:0:4:0'],
    ['::ffff:1.2.3.4', '::ffff:102:304'],
    ['fe80::', 'fe80::'],
  ] as const)
    assert.equal(formatIPv6(parseIPv6(text)!), canonical)
  for (const bad of [
    '',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '::1%lo',
    '1.2.3.4',
    'g::',
    '::1.2.3',
  ])
    assert.equal(parseIPv6(bad), null, bad)
  for (const bad of ['', '1.2.3', '1.2.3.256', '01.2.3.4', '1.2.3.4.5', '1.2.3.x', ' 1.2.3.4'])
    assert.equal(parseIPv4(bad), null, bad)
})

test('the bytes of a real connect and announce lie where BEP 15 puts them', () => {
  const connect = encodeRequest({ kind: 'connect', transactionId: 0x01020304 })
  assert.equal(Buffer.from(connect).toString('hex'), '00000417271019800000000001020304')
  const announce = encodeRequest({
    kind: 'announce',
    connectionId: 1n,
    transactionId: 2,
    infoHash: new Uint8Array(20).fill(3),
    peerId: new Uint8Array(20).fill(4),
    downloaded: 5n,
    left: 6n,
    uploaded: 7n,
    event: 2,
    ip: 0,
    key: 8,
    numWant: -1,
    port: 6881,
    urlData: new Uint8Array(0),
  })
  assert.equal(
    Buffer.from(announce).toString('hex'),
    `00000000000000010000000100000002${'03'.repeat(20)}${'04'.repeat(20)}` +
      '000000000000000500000000000000060000000000000007' +
      '000000020000000000000008ffffffff1ae1',
  )
})

test('options: URL data over several, padding and unknown ones between, an end; a cut one is refused', () => {
  const text = (s: string) => [...new TextEncoder().encode(s)]
  const bytes = Uint8Array.from([2, 3, ...text('/an'), 1, 1, 77, 2, 9, 9, 2, 2, ...text('?a'), 0, 2, 200])
  const options = decodeOptions(bytes)
  assert.equal(options.kind === 'options' && new TextDecoder().decode(options.urlData), '/an?a')
  assert.deepEqual(decodeOptions(Uint8Array.from([2, 3, 65])), {
    kind: 'refused',
    reason: 'truncated option',
  })
  assert.deepEqual(decodeOptions(Uint8Array.from([2])), { kind: 'refused', reason: 'truncated option' })
  const long = new Uint8Array(600).map((_, i) => i)
  assert.deepEqual(decodeOptions(encodeUrlData(long)), { kind: 'options', urlData: long })
})

test('short, foreign and cut datagrams are refused with the reason', () => {
  const connect = encodeRequest({ kind: 'connect', transactionId: 1 })
  assert.deepEqual(decodeRequest(connect.subarray(0, 15)), { kind: 'refused', reason: 'too short' })
  assert.deepEqual(decodeRequest(new Uint8Array(16)), { kind: 'refused', reason: 'bad magic' })
  const odd = connect.slice()
  odd[11] = 9
  assert.deepEqual(decodeRequest(odd), { kind: 'refused', reason: 'bad action' })
  odd[11] = 2
  assert.deepEqual(decodeRequest(odd), { kind: 'refused', reason: 'too short' })
})

test('random bytes never make a decoder throw', () => {
  const bytes = fc.uint8Array({ maxLength: 1600 })
  const action = fc.integer({ min: 0, max: 4 })
  fc.assert(
    fc.property(bytes, action, (datagram, a) => {
      decodeRequest(datagram)
      decodeAnswer(datagram, 4)
      decodeAnswer(datagram, 6)
      if (datagram.length > 11) {
        datagram.fill(0, 8, 11)
        datagram[11] = a
        decodeRequest(datagram)
        datagram.fill(0, 0, 3)
        datagram[3] = a
        decodeAnswer(datagram, 6)
      }
    }),
    { numRuns: 2000 },
  )
})
