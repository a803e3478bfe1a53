// Every parser of the project against seeded rubbish, in this process. Each target takes one case; throwing
// is a find. Refuses: to know what a right answer is; it only demands an answer.

import { layer } from '@skep/cli/layers.ts'
import type { Random } from '@skep/testing/random.ts'
import { decode, encode } from '@skep/wire/bencode.ts'
import { decodePeers } from '@skep/wire/compact.ts'
import {
  announceQuery,
  decodeAnnounceReply,
  decodeScrapeReply,
  encodeAnnounceReply,
  encodeScrapeReply,
} from '@skep/wire/http-tracker.ts'
import { type Answer, decodeAnswer, decodeRequest, encodeAnswer } from '@skep/wire/udp-tracker.ts'
import { readInfoHashes } from '../tracker/access/info-hash-list.ts'
import { TABLE } from '../tracker/config/table.ts'
import { AnnounceQuery, ScrapeQuery } from '../tracker/http/query.ts'
import { fuzzBench, fuzzDatagram } from '../tracker/udp/fuzz.ts'
import { goodRequests, mutateBytes, mutateText, randomBytes } from './mutate.ts'

/** Longest datagram and text made here. */
const DATAGRAM_MOST = 1600
const TEXT_MOST = 9000

export type FuzzTarget = {
  readonly name: string
  /** Makes a case and runs it; on a throw `last` is what did it. */
  run(random: Random): void
  last: Uint8Array | string
}

export const target = (
  name: string,
  run: (random: Random, keep: (made: Uint8Array | string) => void) => void,
): FuzzTarget => {
  const made: FuzzTarget = {
    name,
    last: '',
    run: (random) =>
      run(random, (bytes) => {
        made.last = bytes
      }),
  }
  return made
}

/** Datagrams through the packet code the tracker runs, with a table behind it. */
export function packetTarget(): FuzzTarget {
  const fuzz = fuzzBench()
  let pool: Uint8Array[] = []
  let uses = 0
  return target('BEP 15 packets', (random, keep) => {
    if (uses++ % 1024 === 0) pool = goodRequests(random, 0n)
    const base = pool[random.below(pool.length)]!
    const body =
      random.below(8) === 0
        ? randomBytes(random, random.below(200))
        : mutateBytes(random, base, DATAGRAM_MOST)
    const bytes = new Uint8Array(body.length + 1)
    bytes[0] = random.below(256)
    bytes.set(body, 1)
    keep(bytes)
    fuzzDatagram(fuzz, bytes)
  })
}

const good = {
  announce: (random: Random): string =>
    announceQuery({
      infoHash: randomBytes(random, 20),
      peerId: randomBytes(random, 20),
      port: 1 + random.below(65535),
      uploaded: 0,
      downloaded: random.below(1000),
      left: random.below(1000),
      event: 'started',
      numwant: random.below(100),
    } as Parameters<typeof announceQuery>[0]),
  config: (random: Random): string =>
    [
      'udp-port: 6969',
      'host: [127.0.0.1, "::1"]',
      'memory: 64MiB',
      'interval: 30m',
      'allow-private: auto',
      `name: r${random.below(9)}`,
    ]
      .filter(() => random.below(3) > 0)
      .join('\n'),
  list: (random: Random): string =>
    Array.from({ length: random.below(5) }, () => Buffer.from(randomBytes(random, 20)).toString('hex')).join(
      '\n# c\n',
    ),
}

export function parserTargets(): FuzzTarget[] {
  const query = new AnnounceQuery()
  const scrape = new ScrapeQuery()
  const bencoded = (random: Random): Uint8Array => {
    const peers = [{ address: '10.0.0.1', port: 6881 }]
    const answers = [
      () => encode({ a: [1, 'x', { b: new Uint8Array(3) }], c: -5 }),
      () =>
        encodeScrapeReply({ kind: 'scrape', files: [] } as unknown as Parameters<
          typeof encodeScrapeReply
        >[0]),
      () =>
        encodeAnnounceReply({
          kind: 'announce',
          interval: 1800,
          complete: 1,
          incomplete: 1,
          peers,
        } as unknown as Parameters<typeof encodeAnnounceReply>[0]),
    ]
    return mutateBytes(random, tryAll(answers, random), TEXT_MOST)
  }
  const answers: Answer[] = [
    { kind: 'connect', transactionId: 1, connectionId: 5n },
    {
      kind: 'announce',
      transactionId: 1,
      intervalSeconds: 1,
      leechers: 1,
      seeders: 1,
      peers: [{ address: '10.0.0.1', port: 5 }],
    },
    { kind: 'scrape', transactionId: 1, counts: [{ seeders: 1, completed: 2, leechers: 3 }] },
    { kind: 'error', transactionId: 1, message: 'no' },
  ]
  return [
    target('BEP 15 requests, BEP 41 options', (random, keep) => {
      const pool = goodRequests(random, BigInt(random.word()))
      const bytes = mutateBytes(random, pool[random.below(pool.length)]!, DATAGRAM_MOST)
      keep(bytes)
      decodeRequest(bytes)
    }),
    target('BEP 15 answers', (random, keep) => {
      const bytes = mutateBytes(random, encodeAnswer(answers[random.below(4)]!, 4), DATAGRAM_MOST)
      keep(bytes)
      decodeAnswer(bytes, random.below(2) === 0 ? 4 : 6)
      decodePeers(bytes, random.below(2) === 0 ? 4 : 6)
    }),
    target('query strings', (random, keep) => {
      const text = mutateText(random, good.announce(random), TEXT_MOST)
      keep(text)
      query.parse(text, 0, text.length)
      scrape.parse(text, 0, text.length)
    }),
    target('bencode', (random, keep) => {
      const bytes = random.below(4) === 0 ? randomBytes(random, random.below(200)) : bencoded(random)
      keep(bytes)
      decode(bytes)
      decodeAnnounceReply(bytes)
      decodeScrapeReply(bytes)
    }),
    target('configuration files', (random, keep) => {
      const text = mutateText(random, good.config(random), TEXT_MOST)
      keep(text)
      layer(TABLE, { flags: new Map(), environment: {}, file: { path: 'fuzz.yaml', text } })
    }),
    target('access lists', (random, keep) => {
      const text = mutateText(random, good.list(random), TEXT_MOST)
      keep(text)
      readInfoHashes(text)
    }),
  ]
}

/** One of several makers; those that do not fit this build are passed over. */
function tryAll(makers: readonly (() => Uint8Array)[], random: Random): Uint8Array {
  try {
    return makers[random.below(makers.length)]!()
  } catch {
    return makers[0]!()
  }
}
