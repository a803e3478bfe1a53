// The packet code without a socket: what the field's odd clients send, limits, and random bytes.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '@skep/testing/random.ts'
import { parseIPv4, parseIPv6 } from '@skep/wire/ip.ts'
import { type AnnounceRequest, type Answer, decodeAnswer, encodeRequest } from '@skep/wire/udp-tracker.ts'
import { DENY } from '../swarm/access.ts'
import { accessEntry } from '../swarm/entry.ts'
import type { Settings } from '../swarm/settings.ts'
import { APPLIED, REFUSED, UNKNOWN } from '../threads/outcome.ts'
import { producerBuffers } from '../threads/producer.ts'
import { hash20 } from './client.case.ts'
import { UDP_COUNTERS, type UdpCounter } from './counters.ts'
import { fuzzBench, fuzzDatagram, type PacketBench, packetBench } from './fuzz.ts'
import { LocalReplica } from './local-replica.case.ts'

const raw = (text: string): Uint8Array => (text.includes(':') ? parseIPv6(text) : parseIPv4(text))!

/** Clients of a tracker whose changes are applied when `commit` is called. */
function tracker(
  settings: Partial<Settings> = {},
  options: { answerBytes?: number; parked?: number; details?: boolean } = {},
) {
  const replica = new LocalReplica(16 << 20, settings, options.details)
  const producer = producerBuffers(options.parked ?? 256, 256)
  replica.serve(producer)
  const bench = packetBench(replica.buffers, { producer, parkForMs: 3500, ...options })
  const connect = (from: string): Uint8Array => {
    const answer = bench.handle(encodeRequest({ kind: 'connect', transactionId: 1 }), raw(from), 1)
    return answer!.slice(8, 16)
  }
  const bytes = (from: string, fields: Partial<AnnounceRequest>): Uint8Array =>
    encodeRequest({
      kind: 'announce',
      connectionId: new DataView(connect(from).buffer).getBigUint64(0),
      transactionId: 7,
      infoHash: hash20(1),
      peerId: hash20(99),
      downloaded: 0n,
      left: 1n,
      uploaded: 0n,
      event: 2,
      ip: 0,
      key: 0,
      numWant: -1,
      port: 6881,
      urlData: new Uint8Array(0),
      ...fields,
    })
  const family = (from: string) => (from.includes(':') && !from.includes('.') ? 6 : 4)
  const decode = (from: string, answer: Uint8Array | null): Answer | null =>
    answer === null ? null : (decodeAnswer(answer, family(from)) as Answer)
  const commit = () => {
    bench.ring.publish()
    bench.touches.publish()
    replica.step()
  }
  const ask = (from: string, fields: Partial<AnnounceRequest> = {}): Answer | null => {
    const now = decode(from, bench.handle(bytes(from, fields), raw(from), 1))
    if (now !== null) return now
    commit()
    return decode(from, bench.resolve(APPLIED))
  }
  const peers = (from: string, fields: Partial<AnnounceRequest> = {}): string[] => {
    const answer = ask(from, fields)
    assert.equal(answer?.kind, 'announce')
    return answer!.kind === 'announce' ? answer!.peers.map((p) => `${p.address}:${p.port}`).sort() : []
  }
  return { replica, bench, bytes, ask, peers, decode, commit }
}

const count = (bench: PacketBench, name: UdpCounter): number => bench.counts[UDP_COUNTERS.indexOf(name)]!
const fault = (answer: Answer | null): string =>
  answer?.kind === 'error' ? answer.message : `no error: ${answer?.kind}`

test('an IPv4 client on an IPv6 socket is the same peer, and gets 6-byte peers', () => {
  const { peers } = tracker()
  peers('5.6.7.8', { port: 1 })
  assert.deepEqual(peers('::ffff:5.6.7.9', { port: 2 }), ['5.6.7.8:1'])
  assert.deepEqual(
    peers('::ffff:5.6.7.8', { port: 1 }),
    ['5.6.7.9:2'],
    'known, and left out of its own answer',
  )
  assert.deepEqual(peers('5.6.7.9', { port: 2 }), ['5.6.7.8:1'])
})

test('the `ip` field is not believed', () => {
  const { peers } = tracker()
  peers('5.6.7.8', { ip: 0x01010101, port: 1 })
  assert.deepEqual(peers('5.6.7.9', { port: 2 }), ['5.6.7.8:1'])
})

test('who announces port 0 hears of the others, and none of them hears of it', () => {
  const { peers, ask, bench } = tracker()
  peers('5.6.7.8', { port: 1 })
  assert.deepEqual(peers('5.6.7.9', { port: 0 }), ['5.6.7.8:1'])
  assert.deepEqual(peers('5.6.7.9', { port: 0, infoHash: hash20(2) }), [])
  assert.equal(ask('5.6.7.9', { port: 0, event: 3 })?.kind, 'announce')
  assert.deepEqual(peers('5.6.7.8', { port: 1, event: 0 }), [])
  assert.equal(count(bench, 'parked'), 1)
})

test('events nobody knows, and `paused`, are plain announces', () => {
  const { peers, bench } = tracker()
  peers('5.6.7.8', { event: 4, port: 1 })
  peers('5.6.7.9', { event: 0xdeadbeef, port: 2 })
  assert.deepEqual(peers('5.6.7.10', { port: 3 }), ['5.6.7.8:1', '5.6.7.9:2'])
  assert.equal(count(bench, 'errors'), 0)
})

test('a refresh is answered at once, without a change and with one touch a time bucket', () => {
  const { peers, bench, replica, commit } = tracker()
  peers('5.6.7.8')
  replica.advance(1000)
  assert.equal(count(bench, 'parked'), 1)
  for (let bucket = 0; bucket < 3; bucket++) {
    for (let step = 0; step < 16; step++) replica.advance(1000)
    peers('5.6.7.8', { event: 0 })
    commit()
    peers('5.6.7.8', { event: 0 })
    commit()
  }
  assert.equal(count(bench, 'parked'), 1)
  assert.equal(count(bench, 'touches'), 3)
})

test('an event is answered from the log, whatever the table here says: the client may come from elsewhere', () => {
  const { ask, bench, replica } = tracker()
  const stopped = ask('5.6.7.8', { event: 3 })
  assert.ok(stopped?.kind === 'announce' && stopped.leechers === 0)
  assert.equal(count(bench, 'parked'), 1)
  ask('5.6.7.8', { event: 2 })
  ask('5.6.7.8', { event: 2 })
  ask('5.6.7.8', { event: 1, left: 0n })
  const again = ask('5.6.7.8', { event: 1, left: 0n })
  assert.ok(again?.kind === 'announce' && again.seeders === 1)
  assert.equal(count(bench, 'parked'), 5)
  assert.equal(replica.store.counter('joins'), 1)
  assert.equal(replica.store.counter('completions'), 1)
})

test('a client that draws a key for each announce, as aria2 does, refreshes without a change', () => {
  const { ask, peers, bench, replica, commit } = tracker()
  for (let key = 1; key <= 50; key++) {
    const answer = ask('5.6.7.8', { key, event: key === 1 ? 2 : 0 })
    assert.ok(answer?.kind === 'announce' && answer.leechers === 1, 'counted once')
    commit()
    for (let step = 0; step < 16; step++) replica.advance(1000)
  }
  assert.equal(count(bench, 'parked'), 1)
  assert.equal(count(bench, 'touches'), 49)
  assert.deepEqual(peers('5.6.7.9', { port: 2 }), ['5.6.7.8:6881'])
})

test('a torrent that was forbidden while its announce waited is refused; who leaves one is let go', () => {
  const { ask, bench, bytes, replica, decode, commit } = tracker()
  ask('5.6.7.8')
  assert.equal(bench.handle(bytes('5.6.7.9', { port: 2 }), raw('5.6.7.9'), 1), null)
  replica.propose(accessEntry(DENY, 'add', 0, hash20(1)))
  commit()
  assert.match(fault(decode('5.6.7.9', bench.resolve(APPLIED))), /not allowed/)
  assert.match(fault(ask('5.6.7.9', { port: 2 })), /not allowed/)
  assert.equal(count(bench, 'parked'), 2)
  assert.match(fault(ask('5.6.7.8', { event: 3 })), /not allowed/)
  assert.equal(count(bench, 'parked'), 3)
  assert.equal(replica.store.counter('leaves'), 1)
})

test('numwant: -1 means the default, 0 none, more than fit as many as fit, of either family', () => {
  const { peers } = tracker({ numwantMax: 1000, numwantDefault: 7 }, { answerBytes: 576 })
  for (let i = 0; i < 120; i++) {
    peers(`5.6.8.${i}`, { port: 1 })
    peers(`2a00::${(i + 1).toString(16)}`, { port: 1 })
  }
  assert.equal(peers('5.6.8.0', { port: 1 }).length, 7)
  assert.equal(peers('5.6.8.0', { port: 1, numWant: 0 }).length, 0)
  assert.equal(peers('5.6.8.0', { port: 1, numWant: 3 }).length, 3)
  assert.equal(peers('5.6.8.0', { port: 1, numWant: 2 ** 31 - 1 }).length, 92)
  assert.equal(peers('2a00::1', { port: 1, numWant: 1000 }).length, 30)
  assert.equal(peers('5.6.8.0', { port: 1, numWant: -(2 ** 31) }).length, 7)
})

test('private addresses: refused where the cluster says so; nobody hears of addresses that cannot exist; both are counted as that', () => {
  const off = tracker({ allowPrivate: 'off' })
  assert.equal(fault(off.ask('192.168.1.2')), '192.168.1.2 is private, and private peers are not taken here')
  assert.equal(
    fault(off.ask('fd00::1')),
    'fd00:0:0:0:0:0:0:1 is private, and private peers are not taken here',
  )
  assert.equal(off.ask('5.6.7.8')?.kind, 'announce')
  const auto = tracker({ allowPrivate: 'auto' })
  auto.peers('192.168.1.2')
  assert.deepEqual(auto.peers('5.6.7.8'), [], 'a public asker learns nothing of private peers')
  assert.deepEqual(auto.peers('192.168.1.3'), ['192.168.1.2:6881', '5.6.7.8:6881'])
  for (const from of ['0.1.2.3', '224.0.0.1', '255.255.255.255', 'ff02::1'])
    assert.match(fault(auto.ask(from)), /cannot be the address of a peer/)
  for (const [bench, refused] of [
    [off.bench, 2],
    [auto.bench, 4],
  ] as const)
    assert.deepEqual([count(bench, 'refusedAddress'), count(bench, 'malformed')], [refused, 0])
})

test('intervals are spread over the last tenth', () => {
  const { bench, ask } = tracker()
  bench.begin(0, 1000)
  const seen = new Set<number>()
  for (let i = 0; i < 500; i++) {
    const answer = ask('5.6.7.8', { event: 0 })
    assert.ok(answer?.kind === 'announce' && answer.intervalSeconds > 900 && answer.intervalSeconds <= 1000)
    seen.add(answer.intervalSeconds)
  }
  assert.ok(seen.size > 80, `${seen.size} different ones`)
})

test('outcomes: an error for refused, nothing for unknown and late, each frees its place', () => {
  const { bench, bytes, decode } = tracker({}, { parked: 4 })
  const from = '5.6.7.8'
  const park = (port: number) => bench.handle(bytes(from, { port }), raw(from), 1)
  for (let port = 1; port <= 5; port++) assert.equal(park(port), null)
  assert.equal(count(bench, 'parkedFull'), 2)
  assert.match(fault(decode(from, bench.resolve(REFUSED))), /try again/)
  assert.equal(bench.resolve(UNKNOWN), null)
  bench.begin(3501, 1800)
  assert.equal(bench.resolve(APPLIED), null)
  assert.equal(count(bench, 'late'), 1)
  assert.equal(bench.parked, 0)
  for (let port = 1; port <= 3; port++) park(port)
  assert.equal(bench.parked, 3)
  bench.begin(3501, 1800, true)
  assert.match(fault(decode(from, bench.handle(bytes(from, { port: 9 }), raw(from), 1))), /try again/)
})

test('a scrape is answered in order, as many as 1,200 bytes and BEP 15 allow', () => {
  const { bench, ask, decode, bytes } = tracker()
  ask('5.6.7.8', { infoHash: hash20(40), left: 0n })
  const id = new DataView(bytes('5.6.7.8', {}).buffer).getBigUint64(0)
  const infoHashes = Array.from({ length: 74 }, (_, i) => hash20(i))
  const request = encodeRequest({ kind: 'scrape', connectionId: id, transactionId: 3, infoHashes })
  const answer = decode('5.6.7.8', bench.handle(request, raw('5.6.7.8'), 1))
  assert.ok(answer?.kind === 'scrape' && answer.counts.length === 74)
  for (const [i, counts] of answer.counts.entries()) assert.equal(counts.seeders, i === 40 ? 1 : 0)
  const ragged = decode('5.6.7.8', bench.handle(request.subarray(0, 16 + 20 + 19), raw('5.6.7.8'), 1))
  assert.ok(ragged?.kind === 'scrape' && ragged.counts.length === 1)
  const small = tracker({}, { answerBytes: 576 })
  const cut = small.decode('5.6.7.8', small.bench.handle(request, raw('5.6.7.8'), 1))
  assert.ok(cut?.kind === 'scrape' && cut.counts.length === 47, 'as many as fit')
})

test('peer details reach the record where they are kept', () => {
  const { ask, replica, bench } = tracker({}, { details: true })
  ask('5.6.7.8', { peerId: hash20(5), key: 1, port: 77 })
  const words = new Uint8Array(bench.ring.words.buffer, bench.ring.words.byteOffset)
  assert.deepEqual([...words.subarray(44, 64)], [...hash20(5)])
  assert.equal(replica.store.peerCount, 1)
})

test('random datagrams: no throw, no answer too large, no parked place lost', () => {
  const bench = fuzzBench()
  const random = new Random(20260101)
  const bytes = new Uint8Array(1600)
  for (let n = 0; n < 60_000; n++) {
    const lengths = [0, 1, 16, 17, 37, 99, 99, 99, 120, 1500]
    const length = lengths[random.between(0, lengths.length - 1)]!
    for (let i = 0; i < length && i < 130; i++) bytes[i] = random.between(0, 255)
    // Few info_hashes, or nothing would ever meet.
    if (length === 99) bytes.fill(bytes[17]! & 3, 17, 37)
    fuzzDatagram(bench, bytes.subarray(0, length))
  }
  while (bench.bench.parked > 0) {
    bench.replica.step()
    bench.bench.resolve(APPLIED)
  }
  assert.ok(count(bench.bench, 'committed') > 1000)
  assert.ok(count(bench.bench, 'connects') + count(bench.bench, 'badMagic') > 1000)
  assert.ok(count(bench.bench, 'scrapes') > 1000)
})
