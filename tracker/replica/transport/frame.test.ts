// Frames survive any cutting of the stream they travel in, and whatever else arrives is refused without harm.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  BATCH,
  checkHeader,
  clusterDigest,
  type Frame,
  HEADER_BYTES,
  type Head,
  MAX_FRAME_BYTES,
  RAFT,
  type Stamp,
  writeHeader,
} from './frame.ts'
import {
  decodeBatch,
  decodeHello,
  decodeNotice,
  decodeRefusal,
  decodeStreamAck,
  decodeStreamBegin,
  decodeStreamPart,
  encodeBatchHead,
  encodeHello,
  encodeRefusal,
  encodeStreamAck,
  encodeStreamBegin,
  encodeStreamPart,
  type Hello,
  NOTICE_REFUSED,
} from './frame-body.ts'
import { FrameDecoder } from './frame-decoder.ts'

const RUNS = Number(process.env.FUZZ_RUNS ?? 300)

const id = fc.integer({ min: 0, max: 2 ** 52 - 1 })
const word = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const number48 = fc.integer({ min: 0, max: 2 ** 48 - 1 })
const head: fc.Arbitrary<Head> = fc.record({
  kind: fc.integer({ min: 1, max: 15 }),
  level: fc.integer({ min: 0, max: 255 }),
  clusterHigh: word,
  clusterLow: word,
  from: id,
  to: id,
  group: word,
  sentUs: number48,
})
const stamp: fc.Arbitrary<Stamp> = fc.record({
  term: number48,
  leads: fc.boolean(),
  notReady: fc.boolean(),
  leaseAgeMs: fc.oneof(
    fc.constant(Number.POSITIVE_INFINITY),
    // Eighths of a millisecond: whole microseconds and exact in binary.
    fc.integer({ min: 0, max: 2 ** 25 }).map((n) => n / 8),
  ),
  commit: number48,
  echoUs: fc.oneof(fc.constant(-1), number48),
})
type Sample = { head: Head; stamp: Stamp; body: Uint8Array }
const sample: fc.Arbitrary<Sample> = fc.record({ head, stamp, body: fc.uint8Array({ maxLength: 5000 }) })

const encode = (s: Sample): Buffer => {
  const bytes = Buffer.alloc(HEADER_BYTES + s.body.length)
  writeHeader(new DataView(bytes.buffer, bytes.byteOffset), 0, s.head, s.stamp, s.body.length)
  bytes.set(s.body, HEADER_BYTES)
  return bytes
}

const copy = (f: Frame): Frame => ({ ...f, body: Uint8Array.from(f.body) })

const decodeAll = (decoder: FrameDecoder, pieces: Iterable<Uint8Array>): Frame[] => {
  const out: Frame[] = []
  for (const piece of pieces) {
    decoder.push(piece)
    for (let f = decoder.next(); f !== null; f = decoder.next()) out.push(copy(f))
  }
  return out
}

/** Cuts where `cuts` say, each a share of what is left. */
const cut = (bytes: Buffer, cuts: readonly number[]): Buffer[] => {
  const out: Buffer[] = []
  let at = 0
  for (const c of cuts) {
    const n = Math.floor(c * (bytes.length - at))
    out.push(bytes.subarray(at, at + n))
    at += n
  }
  out.push(bytes.subarray(at))
  return out
}

const share = fc.double({ min: 0, max: 1, noNaN: true })

test('frames come out as they went in, however the stream is cut', () => {
  fc.assert(
    fc.property(
      fc.array(sample, { maxLength: 8 }),
      fc.array(share, { maxLength: 20 }),
      fc.boolean(),
      (samples, cuts, byByte) => {
        const bytes = Buffer.concat(samples.map(encode))
        const pieces =
          byByte && bytes.length < 3000 ? [...bytes].map((b) => Buffer.from([b])) : cut(bytes, cuts)
        const got = decodeAll(new FrameDecoder(MAX_FRAME_BYTES), pieces)
        assert.equal(got.length, samples.length)
        for (const [i, s] of samples.entries()) {
          const { echoMs, body, ...rest } = got[i]!
          assert.deepEqual(rest, { ...s.head, ...s.stamp })
          assert.deepEqual(Buffer.from(body), Buffer.from(s.body))
          assert.equal(echoMs, Number.NEGATIVE_INFINITY)
        }
      },
    ),
    { numRuns: RUNS },
  )
})

test('the layout of a header is the documented one', () => {
  const bytes = encode({
    head: {
      kind: BATCH,
      level: 3,
      clusterHigh: 0x01020304,
      clusterLow: 0x05060708,
      from: 0x8090a0b0c0d0e,
      to: 2,
      group: 0x11121314,
      sentUs: 0x212223242526,
    },
    stamp: { term: 0x313233343536, leads: true, notReady: true, leaseAgeMs: 1.0001, commit: 7, echoUs: 9 },
    body: Buffer.from('body'),
  })
  assert.equal(
    bytes.toString('hex').replace(/(.{16})/g, '$1 '),
    '0400000002030701 0102030405060708 0e0d0c0b0a090800 0200000000000000 ' +
      '14131211e9030000 3635343332310700 0000000026252423 2221090000000000 626f6479',
  )
})

test('a frame that is too long, of an unknown kind or no frame at all ends the decoding', () => {
  const good = encode({ head: sampleHead(RAFT), stamp: noStamp(), body: new Uint8Array(10) })
  const faults: [string, (b: Buffer) => void][] = [
    ['too long', (b) => b.writeUInt32LE(11, 0)],
    ['unknown kind', (b) => b.writeUInt8(16, 4)],
    ['unknown kind', (b) => b.writeUInt8(0, 4)],
    ['unknown flags', (b) => b.writeUInt8(8, 6)],
    ['not a frame', (b) => b.write('GET / HTTP/1.1')],
    ['bad member', (b) => b.writeUInt32LE(2 ** 20, 20)],
  ]
  for (const [fault, spoil] of faults)
    for (const torn of [false, true]) {
      const bad = Buffer.from(good)
      spoil(bad)
      const decoder = new FrameDecoder(10)
      const pieces = torn ? [good, bad.subarray(0, 30), bad.subarray(30)] : [Buffer.concat([good, bad, good])]
      assert.equal(decodeAll(decoder, pieces).length, 1)
      assert.equal(decoder.fault, fault)
      assert.equal(decodeAll(decoder, [good]).length, 0)
    }
})

test('whatever arrives, decoding neither throws nor reads past the end', () => {
  fc.assert(
    fc.property(
      fc.array(sample, { maxLength: 3 }),
      fc.uint8Array({ maxLength: 300 }),
      share,
      (s, noise, where) => {
        const bytes = Buffer.concat(s.map(encode))
        const at = Math.floor(where * bytes.length)
        const mixed = Buffer.concat([bytes.subarray(0, at), noise, bytes.subarray(at)])
        const decoder = new FrameDecoder(8000)
        for (const f of decodeAll(decoder, cut(mixed, [0.3, 0.5]))) {
          assert.ok(f.body.length <= 8000)
          for (const decode of [
            decodeBatch,
            decodeNotice,
            decodeStreamBegin,
            decodeStreamPart,
            decodeStreamAck,
          ])
            decode(f.body)
          decodeHello(f.body)
          decodeRefusal(f.body)
        }
      },
    ),
    { numRuns: RUNS },
  )
})

test('what has no place in a header is a bug of the caller', () => {
  const view = new DataView(new ArrayBuffer(HEADER_BYTES))
  const write = (head: Partial<Head>, stamp: Partial<Stamp>, body = 0): void =>
    writeHeader(view, 0, { ...sampleHead(RAFT), ...head }, { ...noStamp(), ...stamp }, body)
  for (const wrong of [
    () => write({ from: 2 ** 52 }, {}),
    () => write({ to: -1 }, {}),
    () => write({ sentUs: 2 ** 48 }, {}),
    () => write({}, { term: Number.NaN }),
    () => write({}, {}, MAX_FRAME_BYTES - HEADER_BYTES + 1),
  ])
    assert.throws(wrong, RangeError)
  write({}, {}, MAX_FRAME_BYTES - HEADER_BYTES)
  assert.equal(checkHeader(view, 0, MAX_FRAME_BYTES), MAX_FRAME_BYTES - HEADER_BYTES)
})

test('bodies come out as they went in', () => {
  fc.assert(
    fc.property(word, number48, fc.uint8Array(), fc.string(), (a, n, bytes, text) => {
      const batch = decodeBatch(Buffer.concat([encodeBatchHead(a, n), bytes]))!
      assert.deepEqual([batch.incarnation, batch.number], [a, n])
      assert.deepEqual(Buffer.from(batch.section), Buffer.from(bytes))
      const notice = decodeNotice(encodeBatchHead(a, n, NOTICE_REFUSED))
      assert.deepEqual(notice, { incarnation: a, number: n, verdict: NOTICE_REFUSED })
      const begin = decodeStreamBegin(Buffer.concat([encodeStreamBegin(a, n), bytes]))!
      assert.deepEqual([begin.stream, begin.totalBytes], [a, n])
      assert.deepEqual(Buffer.from(begin.head), Buffer.from(bytes))
      const part = decodeStreamPart(Buffer.concat([encodeStreamPart(a, 5), bytes]))!
      assert.deepEqual([part.stream, part.number, part.bytes.length], [a, 5, bytes.length])
      const sentence = text.toWellFormed()
      const ack = { stream: a, what: 2, chunk: 7, sentence }
      assert.deepEqual(decodeStreamAck(encodeStreamAck(ack)), ack)
      const refusal = { code: 'wrong cluster', sentence } as const
      assert.deepEqual(decodeRefusal(encodeRefusal(refusal)), refusal)
    }),
    { numRuns: RUNS },
  )
})

test('a hello with a field missing or out of range is none', () => {
  const hello: Hello = {
    clusterId: 'a'.repeat(32),
    from: 1,
    to: 2,
    name: 'r0',
    channel: 1,
    level: 1,
    incarnation: 3,
    dial: 4,
  }
  assert.deepEqual(decodeHello(encodeHello(hello)), hello)
  for (const key of Object.keys(hello)) {
    assert.equal(decodeHello(encodeHello({ ...hello, [key]: undefined })), null, key)
    assert.equal(decodeHello(encodeHello({ ...hello, [key]: -1 })), null, key)
  }
  for (const text of ['', '[]', '1', 'null', '{', '{}']) assert.equal(decodeHello(Buffer.from(text)), null)
})

test('the digest of a cluster ID is its first 64 bits', () => {
  const { high, low } = clusterDigest('0123456789abcdef0123456789abcdef')
  assert.deepEqual([high, low], [0x01234567, 0x89abcdef])
  assert.deepEqual(clusterDigest(''), { high: 0, low: 0 })
  assert.throws(() => clusterDigest('0123'), RangeError)
})

const sampleHead = (kind: number): Head => ({
  kind,
  level: 1,
  clusterHigh: 1,
  clusterLow: 2,
  from: 3,
  to: 4,
  group: 0,
  sentUs: 5,
})

const noStamp = (): Stamp => ({
  term: 1,
  leads: false,
  notReady: false,
  leaseAgeMs: Number.POSITIVE_INFINITY,
  commit: 0,
  echoUs: -1,
})
