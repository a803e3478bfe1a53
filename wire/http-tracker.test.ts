// HTTP tracker replies: what is written is read, what other trackers write is read, what is none is refused.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  type AnnounceReply,
  announceQuery,
  decodeAnnounceReply,
  decodeScrapeReply,
  encodeAnnounceReply,
  encodeFailureReply,
  encodeScrapeReply,
  externalIpText,
  percentEncode,
  scrapeQuery,
  scrapeUrl,
} from './http-tracker.ts'
import { formatIPv6, parseIPv6 } from './ip.ts'

const bytes = (text: string) => Uint8Array.from([...text], (c: string) => c.charCodeAt(0))
const ip = fc.oneof(
  fc.ipV4(),
  fc.ipV6().map((text) => formatIPv6(parseIPv6(text)!)),
)
const peers = fc.array(fc.record({ address: ip, port: fc.nat({ max: 65535 }) }, { noNullPrototype: true }), {
  maxLength: 10,
})

test('announce replies come back as they were written, both forms', () => {
  fc.assert(
    fc.property(peers, fc.nat(), fc.nat(), fc.boolean(), (list, complete, intervalSeconds, compact) => {
      const sorted = compact
        ? [...list].sort((a, b) => Number(a.address.includes(':')) - Number(b.address.includes(':')))
        : list
      const reply: AnnounceReply = {
        kind: 'announce',
        intervalSeconds,
        complete,
        incomplete: 0,
        trackerId: 'x',
        peers: sorted,
      }
      assert.deepEqual(decodeAnnounceReply(encodeAnnounceReply(reply, compact)), reply)
    }),
  )
})

test('failures say why and when to come back', () => {
  for (const retryIn of [5, 'never'] as const) {
    const failure = { kind: 'failure', reason: 'no', intervalSeconds: 60, retryIn } as const
    assert.deepEqual(decodeAnnounceReply(encodeFailureReply(failure)), failure)
    assert.deepEqual(decodeScrapeReply(encodeFailureReply(failure)), failure)
  }
})

test('scrape replies come back as they were written, whatever bytes the hashes have', () => {
  const hash = fc.uint8Array({ minLength: 20, maxLength: 20 }).map((b) => Buffer.from(b).toString('hex'))
  const counts = fc.record(
    { complete: fc.nat(), downloaded: fc.nat(), incomplete: fc.nat() },
    { noNullPrototype: true },
  )
  fc.assert(
    fc.property(fc.array(fc.tuple(hash, counts), { maxLength: 10 }), (files) => {
      const reply = { kind: 'scrape', files: new Map(files), minRequestIntervalSeconds: 900 } as const
      assert.deepEqual(decodeScrapeReply(encodeScrapeReply(reply)), reply)
    }),
  )
})

test('replies as other trackers write them are read', () => {
  const read = (text: string) => decodeAnnounceReply(bytes(text))
  assert.deepEqual(read('d8:intervali1800e5:peers0:e'), {
    kind: 'announce',
    intervalSeconds: 1800,
    peers: [],
  })
  assert.deepEqual(read('d8:intervali1800e6:peers60:e'), {
    kind: 'announce',
    intervalSeconds: 1800,
    peers: [],
  })
  assert.deepEqual(read('d5:peersld2:ip7:1.2.3.44:porti80eee8:intervali9ee'), {
    kind: 'announce',
    intervalSeconds: 9,
    peers: [{ address: '1.2.3.4', port: 80 }],
  })
  assert.deepEqual(read('d8:intervali9e5:peers0:15:warning message4:slowe'), {
    kind: 'announce',
    intervalSeconds: 9,
    warning: 'slow',
    peers: [],
  })
})

const malformed: readonly (readonly [string, string])[] = [
  ['a web page', '<!doctype html>'],
  ['a list', 'le'],
  ['no interval', 'd5:peers0:e'],
  ['half a peer', 'd8:intervali9e5:peers5:abcdee'],
  ['half an IPv6 peer', 'd8:intervali9e6:peers65:abcdee'],
  ['a peer without port', 'd8:intervali9e5:peersld2:ip7:1.2.3.4eee'],
  ['a port beyond 65535', 'd8:intervali9e5:peersld2:ip7:1.2.3.44:porti65536eeee'],
  ['peers that are a number', 'd8:intervali9e5:peersi1ee'],
]
for (const [name, text] of malformed)
  test(`no reply: ${name}`, () => {
    assert.equal(decodeAnnounceReply(bytes(text)).kind, 'malformed')
  })

test('a scrape with a hash of another length is none', () => {
  assert.equal(decodeScrapeReply(bytes('d5:filesd3:abcd8:completei1eeee')).kind, 'malformed')
  assert.equal(decodeScrapeReply(bytes('de')).kind, 'malformed')
})

test('queries are percent-encoded byte by byte', () => {
  assert.equal(percentEncode(bytes('aZ0-._~ +&%\x00\xff')), 'aZ0-._~%20%2B%26%25%00%FF')
  assert.equal(scrapeQuery([bytes('a'), bytes('\xff')]), 'info_hash=a&info_hash=%FF')
  const id = bytes('x'.repeat(20))
  const query = announceQuery({
    infoHash: id,
    peerId: id,
    port: 1,
    uploaded: 0,
    downloaded: 0,
    left: 2n ** 64n - 1n,
    key: 255,
    event: 'started',
    numwant: 0,
    noPeerId: true,
  })
  assert.match(
    query,
    /&left=18446744073709551615&compact=1&event=started&numwant=0&key=000000FF&no_peer_id=1$/,
  )
})

test('the scrape URL follows from the announce URL, or there is none', () => {
  assert.equal(scrapeUrl('http://t/announce'), 'http://t/scrape')
  assert.equal(scrapeUrl('http://t/x/announce.php?a=/announce'), 'http://t/x/scrape.php?a=/announce')
  assert.equal(scrapeUrl('http://t/a'), null)
  assert.equal(scrapeUrl('http://t/announce/x'), null)
})

test('the external ip is shown as text', () => {
  assert.equal(externalIpText(Uint8Array.of(10, 0, 0, 1)), '10.0.0.1')
  assert.equal(externalIpText(Uint8Array.of(1)), null)
})
