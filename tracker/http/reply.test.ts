// Replies built without objects against the codec in wire/, byte for byte.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { latin1 } from '@skep/wire/bencode.ts'
import { encodePeers } from '@skep/wire/compact.ts'
import {
  type AnnounceReply,
  encodeAnnounceReply,
  encodeFailureReply,
  encodeScrapeReply,
  type HttpPeer,
  type ScrapeCounts,
} from '@skep/wire/http-tracker.ts'
import { formatIPv6, parseIPv6 } from '@skep/wire/ip.ts'
import fc from 'fast-check'
import { compactReply, dictionaryReply, failureReply, httpResponse, scrapeReply } from './reply.ts'

const port = fc.integer({ min: 1, max: 65535 })
const peer4 = fc.record({ address: fc.ipV4(), port })
const peer6 = fc.record({ address: fc.ipV6().map((text) => formatIPv6(parseIPv6(text)!)), port })
const counts = fc.record({ seeders: fc.nat(), leechers: fc.nat(), completed: fc.nat() })
const peerId = fc.option(fc.uint8Array({ minLength: 20, maxLength: 20 }))

test('announce replies, compact and not, equal those of the codec', () => {
  fc.assert(
    fc.property(
      counts,
      fc.array(fc.tuple(peer4, peerId), { maxLength: 8 }),
      fc.array(fc.tuple(peer6, peerId), { maxLength: 8 }),
      fc.nat({ max: 100_000 }),
      (c, four, six, interval) => {
        const intervals = { interval, min: 60 }
        const reply = (peers: readonly HttpPeer[]): AnnounceReply => ({
          kind: 'announce',
          intervalSeconds: interval,
          minIntervalSeconds: 60,
          complete: c.seeders,
          incomplete: c.leechers,
          downloaded: c.completed,
          externalIp: Uint8Array.of(1, 2, 3, 4),
          peers,
        })
        const bytes4 = encodePeers(
          four.map(([peer]) => peer),
          4,
        )
        const bytes6 = encodePeers(
          six.map(([peer]) => peer),
          6,
        )
        const compact = compactReply(c, '4:\x01\x02\x03\x04', intervals, latin1(bytes4), latin1(bytes6))
        const plainPeers = [...four, ...six].map(([peer]) => peer)
        assert.equal(compact, latin1(encodeAnnounceReply(reply(plainPeers))))
        const all = Buffer.concat([bytes4, bytes6])
        const ids = [...four, ...six].map(([, bytes]) => (bytes === null ? null : latin1(bytes)))
        const dictionary = dictionaryReply(
          c,
          '4:\x01\x02\x03\x04',
          intervals,
          all,
          0,
          four.length,
          six.length,
          ids,
        )
        const peers = [...four, ...six].map(([peer, bytes]) =>
          bytes === null ? peer : { ...peer, peerId: bytes },
        )
        assert.equal(dictionary, latin1(encodeAnnounceReply(reply(peers), false)))
      },
    ),
  )
})

test('failures equal those of the codec', () => {
  assert.equal(
    failureReply('info_hash not allowed', 1800, 60),
    latin1(
      encodeFailureReply({
        kind: 'failure',
        reason: 'info_hash not allowed',
        intervalSeconds: 1800,
        retryIn: 60,
      }),
    ),
  )
  assert.equal(
    failureReply('no', 60, 0),
    latin1(encodeFailureReply({ kind: 'failure', reason: 'no', intervalSeconds: 60 })),
  )
})

test('scrape replies are sorted by hash and equal those of the codec', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.uint8Array({ minLength: 20, maxLength: 20 }), counts), { maxLength: 20 }),
      (torrents) => {
        const entries = new Map(torrents.map(([hash, c]) => [latin1(hash), c]))
        const files = new Map<string, ScrapeCounts>(
          torrents.map(([hash, c]) => [
            Buffer.from(hash).toString('hex'),
            { complete: c.seeders, downloaded: c.completed, incomplete: c.leechers },
          ]),
        )
        const wanted = encodeScrapeReply({ kind: 'scrape', files, minRequestIntervalSeconds: 60 })
        assert.equal(scrapeReply(entries, 60), latin1(wanted))
      },
    ),
  )
})

test('a response says how long it is, when to come back, and whether the connection stays', () => {
  assert.match(
    httpResponse(200, 'd1:xi1ee', false),
    /^HTTP\/1\.1 200 OK\r\n(.*\r\n)*Content-Length: 8\r\n\r\nd1:xi1ee$/,
  )
  assert.match(
    httpResponse(503, 'de', true),
    /^HTTP\/1\.1 503 .*\r\n(.*\r\n)*Retry-After: 5\r\nConnection: close\r\n\r\nde$/,
  )
})
