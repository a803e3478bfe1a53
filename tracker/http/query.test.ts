// Queries as clients send them, against a slow reading by other means, and queries that mean harm.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { announceQuery, percentEncode, scrapeQuery } from '@skep/wire/http-tracker.ts'
import fc from 'fast-check'
import { COMPLETED, LEAVE, PUT, SEEDER, STARTED } from '../swarm/change.ts'
import {
  AnnounceQuery,
  BAD_INFO_HASH,
  BAD_PEER_ID,
  BAD_PORT,
  MAX_SCRAPE_HASHES,
  MAX_TARGET_BYTES,
  NO_FULL_SCRAPE,
  NO_INFO_HASH,
  type Refusal,
  ScrapeQuery,
  swap32,
} from './query.ts'

const query = new AnnounceQuery()
const parse = (text: string): Refusal | null => query.parse(text, 0, text.length)
const hex = (words: Int32Array) =>
  Buffer.from(words.buffer, words.byteOffset, words.byteLength).toString('hex')
const id = fc.uint8Array({ minLength: 20, maxLength: 20 })
const HASH = 'info_hash=%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A'
const PEER = 'peer_id=-qB4650-abcdefghijkl'

test('what a client wrote is what is read', () => {
  fc.assert(
    fc.property(
      id,
      id,
      fc.integer({ min: 1, max: 65535 }),
      fc.tuple(...[1, 2, 3].map(() => fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }))) as fc.Arbitrary<
        [bigint, bigint, bigint]
      >,
      fc.constantFrom('started', 'completed', 'stopped', 'paused', '' as const),
      fc.nat({ max: 65535 }),
      fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      fc.boolean(),
      (infoHash, peerId, port, [downloaded, left, uploaded], event, numwant, key, compact) => {
        const request = { infoHash, peerId, port, downloaded, left, uploaded, event, numwant, key, compact }
        assert.equal(parse(announceQuery(request)), null)
        assert.equal(hex(query.hash), Buffer.from(infoHash).toString('hex'))
        assert.equal(hex(query.peerId), Buffer.from(peerId).toString('hex'))
        assert.equal(query.port, port)
        assert.equal(query.numwant, numwant)
        assert.equal(query.compact, compact)
        const kind =
          (event === 'stopped' ? LEAVE : PUT) |
          (left === 0n ? SEEDER : 0) |
          (event === 'completed' ? COMPLETED : 0) |
          (event === 'started' ? STARTED : 0)
        assert.equal(query.kind, kind)
        // The words of BEP 15: big-endian, downloaded, left, uploaded; the key as the same 32 bits.
        const wire = Buffer.alloc(28)
        ;[downloaded, left, uploaded].forEach((amount, i) => {
          wire.writeBigUInt64BE(amount, i * 8)
        })
        wire.writeUInt32BE(key, 24)
        assert.equal(hex(query.amounts), wire.subarray(0, 24).toString('hex'))
        assert.equal(query.key, wire.readInt32LE(24))
      },
    ),
  )
})

test('percent-encoding in lower case, upper case and not at all gives the same bytes', () => {
  fc.assert(
    fc.property(id, (infoHash) => {
      const all = [...infoHash].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')
      for (const text of [all, all.toUpperCase(), percentEncode(infoHash)]) {
        assert.equal(parse(`info_hash=${text}&${PEER}&port=1&left=0`), null)
        assert.equal(hex(query.hash), Buffer.from(infoHash).toString('hex'))
      }
    }),
  )
})

const accepted: readonly (readonly [string, string, Partial<AnnounceQuery>])[] = [
  ['only what is needed', `${HASH}&${PEER}&port=6881`, { kind: PUT, numwant: -1, compact: true, key: 0 }],
  ['left=-1 before the metainfo is there', `${HASH}&${PEER}&port=6881&left=-1`, { kind: PUT }],
  ['numwant=-1', `${HASH}&${PEER}&port=6881&numwant=-1`, { numwant: -1 }],
  ['a numwant beyond all sense', `${HASH}&${PEER}&port=6881&numwant=99999999999`, { numwant: 65536 }],
  ['an empty event', `${HASH}&${PEER}&port=6881&event=&left=0`, { kind: PUT | SEEDER }],
  ['an event that only begins like one', `${HASH}&${PEER}&port=6881&event=stoppedx`, { kind: PUT }],
  [
    'compact=0 and no_peer_id=1',
    `${HASH}&${PEER}&port=6881&compact=0&no_peer_id=1`,
    { compact: false, noPeerId: true },
  ],
  ['unknown and empty parameters', `&&a&=b&${HASH}&supportcrypto=1&${PEER}&port=6881&`, { port: 6881 }],
  ['left that is no number, as if it were missing', `${HASH}&${PEER}&port=6881&left=all`, { kind: PUT }],
  ['an empty left, as if it were missing', `${HASH}&${PEER}&port=6881&left=`, { kind: PUT }],
  ['port 0: somebody who only wants to know', `${HASH}&${PEER}&port=0`, { port: 0 }],
  [
    'values that are percent-encoded without need',
    `${HASH}&${PEER}&port=%36881&event=%73topped&left=%30&numwant=%37&no_peer_id=%31&key=%41`,
    { kind: LEAVE | SEEDER, port: 6881, numwant: 7, noPeerId: true, key: swap32(10) },
  ],
  [
    'names that are percent-encoded without need',
    `info%5Fhash=%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A&peer%5fid=%26%3dqB4650-abcdefghijk&%70ort=1`,
    { port: 1, kind: PUT },
  ],
]
for (const [name, text, wanted] of accepted)
  test(`understood: ${name}`, () => {
    assert.equal(parse(text), null)
    for (const [key, value] of Object.entries(wanted))
      assert.equal(query[key as keyof AnnounceQuery], value, key)
  })

const refused: readonly (readonly [string, string, Refusal])[] = [
  ['nothing', '', NO_INFO_HASH],
  ['no info_hash', `${PEER}&port=6881`, NO_INFO_HASH],
  ['19 bytes', `info_hash=${'%00'.repeat(19)}&${PEER}&port=6881`, BAD_INFO_HASH],
  ['21 bytes', `info_hash=${'%00'.repeat(21)}&${PEER}&port=6881`, BAD_INFO_HASH],
  ['40 hex digits', `info_hash=${'ab'.repeat(20)}&${PEER}&port=6881`, BAD_INFO_HASH],
  ['a percent sign without digits', `info_hash=${'%00'.repeat(19)}%0&${PEER}&port=6881`, BAD_INFO_HASH],
  ['a percent sign with other letters', `info_hash=${'%00'.repeat(19)}%0g&${PEER}&port=6881`, BAD_INFO_HASH],
  ['no peer_id', `${HASH}&port=6881`, BAD_PEER_ID],
  ['a short peer_id', `${HASH}&peer_id=short&port=6881`, BAD_PEER_ID],
  ['no port', `${HASH}&${PEER}`, BAD_PORT],
  ['an empty port', `${HASH}&${PEER}&port=`, BAD_PORT],
  ['port 65536', `${HASH}&${PEER}&port=65536`, BAD_PORT],
  ['a port with letters', `${HASH}&${PEER}&port=68x`, BAD_PORT],
]
for (const [name, text, refusal] of refused)
  test(`refused: ${name}`, () => {
    assert.equal(parse(text), refusal)
  })

test('nothing of one announce is left in the next', () => {
  parse(`${HASH}&${PEER}&port=6881&key=ffffffff&numwant=7&compact=0&no_peer_id=1&uploaded=9&event=stopped`)
  assert.equal(parse(`${HASH}&${PEER}&port=6881`), null)
  const { kind, key, numwant, compact, noPeerId, amounts } = query
  assert.deepEqual(
    [kind, key, numwant, compact, noPeerId, ...amounts],
    [PUT, 0, -1, true, false, 0, 0, 0, 0, 0, 0],
  )
})

test('a plus in a hash or an ID is the space that query encoders of many languages mean by it', () => {
  const spaces = Buffer.from('a b c d e f g h i j ', 'latin1').toString('hex')
  assert.equal(parse('info_hash=a+b+c+d+e+f+g+h+i+j+&peer_id=a%20b+c+d+e+f+g+h+i+j+&port=1'), null)
  assert.deepEqual([hex(query.hash), hex(query.peerId)], [spaces, spaces])
  assert.equal(parse(`info_hash=${'%2B'.repeat(20)}&${PEER}&port=1`), null)
  assert.equal(hex(query.hash), '2b'.repeat(20))
})

test('keys that are no hex number still tell clients apart', () => {
  const keyOf = (text: string) => {
    parse(`${HASH}&${PEER}&port=1&key=${text}`)
    return query.key
  }
  assert.notEqual(keyOf('zebra'), keyOf('zebrb'))
  assert.notEqual(keyOf('0123456789'), keyOf('1234567890'))
  assert.equal(keyOf('00000001'), keyOf('1'))
})

test('only the named stretch of the text is read', () => {
  const text = `GET /announce?${HASH}&${PEER}&port=68 HTTP/1.1 &port=99`
  assert.equal(query.parse(text, 14, text.indexOf(' HTTP')), null)
  assert.equal(query.port, 68)
})

test('a scrape names as many torrents as fit into a request, in order', () => {
  const scrape = new ScrapeQuery()
  fc.assert(
    fc.property(fc.array(id, { minLength: 1, maxLength: MAX_SCRAPE_HASHES }), (hashes) => {
      const text = scrapeQuery(hashes)
      assert.equal(scrape.parse(text, 0, text.length), null)
      assert.equal(scrape.count, hashes.length)
      assert.deepEqual(scrape.bytes.subarray(0, hashes.length * 20), new Uint8Array(Buffer.concat(hashes)))
    }),
    { numRuns: 30 },
  )
  const all = Array.from({ length: MAX_SCRAPE_HASHES }, () => `info_hash=${'x'.repeat(20)}`).join('&')
  assert(all.length <= MAX_TARGET_BYTES && all.length + 31 > MAX_TARGET_BYTES)
  assert.equal(scrape.parse(all, 0, all.length), null)
  const encoded = `info%5Fhash=${'%41'.repeat(20)}`
  assert.equal(scrape.parse(encoded, 0, encoded.length), null)
  assert.deepEqual([scrape.count, scrape.bytes[19]], [1, 0x41])
  assert.equal(scrape.parse('', 0, 0), NO_FULL_SCRAPE)
  assert.equal(scrape.parse('info_hash=abc', 0, 13), BAD_INFO_HASH)
})

test('random and mutated queries never throw and never give a port or hash that is none', () => {
  const scrape = new ScrapeQuery()
  const piece = fc.oneof(
    fc.constantFrom(
      'info_hash=',
      'peer_id=',
      'port=',
      'left=',
      'key=',
      'numwant=',
      'event=',
      '&',
      '=',
      '%',
      '-',
      '+',
      HASH,
      PEER,
    ),
    fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
    fc.uint8Array({ maxLength: 30 }).map(percentEncode),
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => {
      const text = pieces.join('')
      if (parse(text) === null) assert(query.port >= 0 && query.port <= 65535 && query.numwant <= 65536)
      scrape.parse(text, 0, text.length)
      assert(scrape.count <= MAX_SCRAPE_HASHES)
    }),
    { numRuns: 5000 },
  )
})
