// One set of rules, whatever a request is written in: the same cases by query (BEP 3), by JSON over HTTP/1.1,
// also in a spelling that only the general path reads, and by gRPC over HTTP/2. Each must come to one
// outcome.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Code, ConnectError, createClient } from '@connectrpc/connect'
import { createGrpcTransport } from '@connectrpc/connect-node'
import {
  decodeAnnounceReply,
  decodeScrapeReply,
  externalIpText,
  percentEncode,
  scrapeQuery,
} from '@skep/wire/http-tracker.ts'
import { Tracker } from '@skep/wire/proto/gen/skep/tracker/v1/tracker_pb.js'
import { DENY } from '../swarm/access.ts'
import { accessEntry } from '../swarm/entry.ts'
import { APPLIED, REFUSED, UNKNOWN } from '../threads/outcome.ts'
import { WAITING } from '../threads/state.ts'
import { get, hash, line, raw, type Setup, setUp, until } from './client.case.ts'

type Said = {
  readonly infoHash: Uint8Array<ArrayBuffer>
  readonly peerId: Uint8Array<ArrayBuffer>
  readonly port: number
  readonly left?: number | undefined
  readonly event?: string
  readonly numwant?: number
  readonly key?: number
}
type Told =
  | { counts: string; peers: string[]; own: string | null; interval: number; min: number }
  | { reason: string; code: string }
type From = Record<string, string>
type Way = {
  announce(port: number, said: Said, from: From): Promise<Told>
  /** Seeders, leechers and completed of each, or what is said instead. */
  scrape(port: number, hashes: Uint8Array<ArrayBuffer>[]): Promise<string[] | Told>
}

const sorted = (peers: readonly { address: string; port: number }[]) =>
  peers.map(({ address, port }) => `${address} ${port}`).sort()
/** Failures by query have no code: only whether to try again soon. */
const QUERY_CODES: { readonly [code: string]: string } = {
  unavailable: 'soon',
  deadline_exceeded: 'soon',
  permission_denied: 'lasting',
  failed_precondition: 'lasting',
}

const byQuery: Way = {
  async announce(port, said, headers) {
    const { infoHash, peerId, left, event, numwant, key } = said
    const query = [`info_hash=${percentEncode(infoHash)}`, `peer_id=${percentEncode(peerId)}`]
    query.push(`port=${said.port}`)
    if (left !== undefined) query.push(`left=${left}`)
    if (event !== undefined) query.push(`event=${event}`)
    if (numwant !== undefined) query.push(`numwant=${numwant}`)
    if (key !== undefined) query.push(`key=${key.toString(16)}`)
    const { status, body } = await get(port, `/announce?${query.join('&')}`, { headers })
    const reply = decodeAnnounceReply(body)
    if (reply.kind === 'failure') return { reason: reply.reason, code: status === 503 ? 'soon' : 'lasting' }
    assert(reply.kind === 'announce')
    const { complete, incomplete, downloaded, externalIp, intervalSeconds, minIntervalSeconds } = reply
    const counts = `${complete} ${incomplete} ${downloaded}`
    const intervals = { interval: intervalSeconds, min: minIntervalSeconds ?? 0 }
    return { counts, peers: sorted(reply.peers), own: externalIpText(externalIp!), ...intervals }
  },
  async scrape(port, hashes) {
    const { status, body } = await get(port, `/scrape?${scrapeQuery(hashes)}`)
    const reply = decodeScrapeReply(body)
    if (reply.kind === 'failure') return { reason: reply.reason, code: status === 503 ? 'soon' : 'lasting' }
    assert(reply.kind === 'scrape')
    return hashes.map((each) => {
      const { complete, incomplete, downloaded } = reply.files.get(Buffer.from(each).toString('hex'))!
      return `${complete} ${incomplete} ${downloaded}`
    })
  },
}

type Counts = { seeders: number; leechers: number; completed: number }
type Message = Counts & {
  peers: { address: string; port: number }[]
  externalAddress: string
  intervalSeconds: number
  minIntervalSeconds: number
}
const countsOf = ({ seeders, leechers, completed }: Counts) => `${seeders} ${leechers} ${completed}`
const toldOf = (message: Message): Told => ({
  ...{ counts: countsOf(message), peers: sorted(message.peers), own: message.externalAddress },
  ...{ interval: message.intervalSeconds, min: message.minIntervalSeconds },
})

/** `write`: an object as JSON text. */
const byJson = (write: (value: object) => string): Way => {
  const call = async (port: number, method: string, value: object, from: From = {}) => {
    const headers = { 'Content-Type': 'application/json', ...from }
    const path = `/skep.tracker.v1.Tracker/${method}`
    const { status, body } = await get(port, path, { method: 'POST', headers, body: write(value) })
    const answer = JSON.parse(body.toString())
    assert.equal(status === 200, answer.code === undefined, body.toString())
    return answer
  }
  const failed = ({ message, code }: { message: string; code: string }): Told => ({ reason: message, code })
  return {
    async announce(port, { infoHash, peerId, left, ...rest }, from) {
      const ids = { infoHash: Buffer.from(infoHash).toString('hex'), peerId: base64(peerId) }
      const answer = await call(port, 'Announce', { ...ids, ...rest, leftBytes: left?.toString() }, from)
      return answer.code === undefined ? toldOf(answer) : failed(answer)
    },
    async scrape(port, hashes) {
      const answer = await call(port, 'Scrape', { infoHashes: hashes.map(base64) }, FORWARDED)
      return answer.code === undefined ? answer.swarms.map(countsOf) : failed(answer)
    },
  }
}
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64')

const EVENTS: { readonly [event: string]: number } = { started: 1, stopped: 2, completed: 3 }
const clientOf = (port: number) =>
  createClient(Tracker, createGrpcTransport({ baseUrl: `http://127.0.0.1:${port}` }))
const failedCall = (error: unknown): Told => {
  const { rawMessage, code } = ConnectError.from(error)
  return { reason: rawMessage, code: Code[code].replace(/(?<=[a-z])[A-Z]/g, (c) => `_${c}`).toLowerCase() }
}
const byGrpc: Way = {
  async announce(port, { left, event = '', numwant, key = 0, ...rest }, headers) {
    const leftBytes = left === undefined ? {} : { leftBytes: BigInt(left) }
    const wanted = numwant === undefined ? {} : { numwant }
    const said = { ...rest, ...leftBytes, ...wanted, key, event: EVENTS[event] ?? 0 }
    return clientOf(port).announce(said, { headers }).then(toldOf, failedCall)
  },
  async scrape(port, infoHashes) {
    const { swarms } = await clientOf(port).scrape({ infoHashes })
    return swarms.map(countsOf)
  },
}

const WAYS: { readonly [name: string]: Way } = {
  'by query': byQuery,
  'by JSON': byJson((value) => JSON.stringify(value)),
  'by JSON with escapes': byJson((value) => JSON.stringify(value).replace('"peerId"', '"peer\\u0049d"')),
  'by gRPC': byGrpc,
}

const FORWARDED: From = { 'x-forwarded-for': '8.8.8.8' }
type Case = {
  readonly name: string
  readonly with?: Parameters<typeof setUp>[1]
  readonly local?: Parameters<typeof setUp>[2]
  readonly run: (ask: Ask, setup: Setup) => Promise<unknown>
  readonly gives: unknown
}
type Ask = {
  /** The n-th client announces; 'counts | ports of peers', or the reason and the code. */
  announce(n: number, more?: Partial<Said>, from?: From): Promise<string>
  scrape(...hashes: Uint8Array<ArrayBuffer>[]): Promise<string[] | Told>
}

const refused = (reason: string, code: string) => `${reason}: ${code}`
const NO_LEADER = refused('tracker has no leader now', 'unavailable')
const NO_STORE = refused('tracker cannot store this now, try again', 'unavailable')
const BUSY = refused('tracker is busy', 'unavailable')
const FORBIDDEN = refused('info_hash not allowed', 'permission_denied')
const many = async (ask: Ask, setup: Setup, count: number) => {
  for (let n = 1; n <= count; n++) await ask.announce(n)
  return setup
}

const CASES: readonly Case[] = [
  {
    name: 'a seeder, a leecher, one that says nothing of what is left, a completion, a leave',
    run: async (ask) => [
      await ask.announce(1, { left: 0, event: 'started' }),
      await ask.announce(2, { left: 7, event: 'started' }),
      await ask.announce(3, { left: undefined }),
      await ask.announce(2, { left: 0, event: 'completed' }),
      await ask.announce(2, { left: 0, event: 'completed' }),
      await ask.announce(1, { event: 'stopped' }),
      await ask.scrape(hash(1), hash(2), hash(1)),
    ],
    gives: [
      '1 0 0 | ',
      '1 1 0 | 7001',
      '1 2 0 | 7001 7002',
      '2 1 1 | 7001 7003',
      '2 1 1 | 7001 7003',
      '1 1 1 | ',
      ['1 1 1', '0 0 0', '1 1 1'],
    ],
  },
  {
    name: 'port 0 hears of the others and is not stored',
    run: async (ask) => [
      await ask.announce(1),
      await ask.announce(2, { port: 0, left: 0 }),
      await ask.announce(3),
    ],
    gives: ['0 1 0 | ', '0 1 0 | 7001', '0 2 0 | 7001'],
  },
  {
    name: 'stopped for a swarm and for a peer that nobody knows',
    run: async (ask, { replica }) => [
      await ask.announce(1, { event: 'stopped' }),
      await ask.announce(2),
      await ask.announce(3, { event: 'stopped' }),
      replica.store.torrentCount,
    ],
    gives: ['0 0 0 | ', '0 1 0 | ', '0 1 0 | ', 1],
  },
  {
    name: 'numwant: none, fewer, the default, at most the most',
    local: { settings: { numwantDefault: 2, numwantMax: 3 } },
    run: async (ask, setup) => {
      await many(ask, setup, 6)
      const lengths: number[] = []
      for (const numwant of [0, 1, undefined, 3, 1000]) {
        const told = await ask.announce(7, numwant === undefined ? {} : { numwant })
        lengths.push(told.split('| ')[1]!.split(' ').filter(Boolean).length)
      }
      return lengths
    },
    gives: [0, 1, 2, 3, 3],
  },
  {
    name: 'a client that moved is known by its key, and another key is another client',
    run: async (ask) => [
      await ask.announce(1, { key: 0xfedc_ba98 }),
      await ask.announce(1, { key: 0xfedc_ba98 }, { 'x-forwarded-for': '2001:db9::1' }),
      await ask.announce(1, { key: 5, port: 7009 }, { 'x-forwarded-for': '2001:db9::2' }),
    ],
    gives: ['0 1 0 | ', '0 1 0 | ', '0 2 0 | 7001 7001'],
  },
  {
    name: 'a torrent that is denied',
    run: async (ask, { replica, front }) => {
      replica.propose(accessEntry(DENY, 'add', 0, hash(1)))
      const told = [await ask.announce(1), await ask.announce(1, { event: 'stopped' })]
      return [...told, await ask.announce(1, { infoHash: hash(2) }), front.counters().refusedAccess]
    },
    gives: [FORBIDDEN, FORBIDDEN, '0 1 0 | ', 2],
  },
  {
    name: 'a torrent that is denied while its join waits',
    run: async (ask, { replica, front }) => {
      await ask.announce(1)
      replica.outcome = null
      const waits = ask.announce(2)
      await until(() => front.counters().parkedNow === 1)
      replica.propose(accessEntry(DENY, 'add', 0, hash(1)))
      replica.outcome = APPLIED
      replica.turn()
      return waits
    },
    gives: FORBIDDEN,
  },
  {
    name: 'addresses that may be no peer, and a proxy that names nobody',
    run: async (ask, { front }) => [
      await ask.announce(1, {}, { 'x-forwarded-for': '0.1.2.3' }),
      await ask.announce(1, {}, {}),
      front.counters().refusedAddress,
      front.counters().refusedForwarded,
    ],
    gives: [
      refused('0.1.2.3 cannot be the address of a peer', 'permission_denied'),
      refused(
        'the proxy in front of this tracker does not say who you are (X-Forwarded-For)',
        'failed_precondition',
      ),
      1,
      1,
    ],
  },
  {
    name: 'private addresses where they are switched off',
    local: { settings: { allowPrivate: 'off' } },
    run: (ask) => ask.announce(1, {}, { 'x-forwarded-for': '10.1.2.3' }),
    gives: refused('10.1.2.3 is private, and private peers are not taken here', 'permission_denied'),
  },
  {
    name: 'a full disk, before and behind the log; what is answered without a change is still answered',
    run: async (ask, { replica }) => {
      await ask.announce(1)
      replica.outcome = REFUSED
      const behind = await ask.announce(2)
      replica.outcome = APPLIED
      replica.control.setDiskFull(true)
      return [behind, await ask.announce(2), await ask.announce(1)]
    },
    gives: [NO_STORE, NO_STORE, '0 1 0 | '],
  },
  {
    name: 'an outcome that nobody knows',
    run: async (ask, { replica }) => {
      replica.outcome = UNKNOWN
      return ask.announce(1)
    },
    gives: refused('tracker could not store this in time', 'deadline_exceeded'),
  },
  {
    name: 'no outcome in time, and as many wait as may',
    with: { parkForMs: 100 },
    local: { slots: 1 },
    run: async (ask, { replica }) => {
      replica.outcome = null
      return [await ask.announce(1), await ask.announce(2)]
    },
    gives: [refused('tracker could not store this in time', 'deadline_exceeded'), BUSY],
  },
  {
    name: 'no leader in time',
    with: { parkForMs: 100 },
    run: async (ask, { replica }) => {
      replica.control.setState(WAITING)
      return ask.announce(1)
    },
    gives: NO_LEADER,
  },
  {
    name: 'no leader, and as many wait for one as may',
    with: { maxWaiting: 0 },
    run: async (ask, { replica }) => {
      replica.control.setState(WAITING)
      return ask.announce(1)
    },
    gives: NO_LEADER,
  },
  {
    name: 'a request waits for a leader and is answered by the one that comes',
    run: async (ask, { replica, front }) => {
      await ask.announce(1)
      replica.control.setLeaseUntil(0)
      const waits = [ask.announce(2), ask.scrape(hash(1))]
      await until(() => front.counters().waitingNow === 2)
      replica.control.setLeaseUntil(Number.POSITIVE_INFINITY)
      return Promise.all(waits)
    },
    gives: ['0 2 0 | 7001', ['0 1 0']],
  },
  {
    name: 'a table that is full: answered, and not stored',
    local: { memoryBytes: 1 },
    run: async (ask, { port, replica }) => {
      const one = (n: number) => {
        const infoHash = new Uint8Array(20).fill(9)
        new DataView(infoHash.buffer).setUint32(0, n)
        const query = `info_hash=${percentEncode(infoHash)}&peer_id=${'a'.repeat(20)}&port=9&left=1`
        return line(`/announce?${query}`, 'X-Forwarded-For: 8.8.8.9\r\n')
      }
      await raw(port, Array.from({ length: 1100 }, (_, n) => one(n)).join(''), 1100)
      const full = replica.store.counter('torrents_refused_full')
      const told = await ask.announce(1)
      return [told, await ask.scrape(hash(1)), replica.store.counter('torrents_refused_full') - full]
    },
    gives: ['0 0 0 | ', ['0 0 0'], 1],
  },
]

for (const [way, how] of Object.entries(WAYS))
  for (const { name, with: options, local, run, gives } of CASES)
    test(`${way}: ${name}`, async (t) => {
      const setup = await setUp(t, { trustedProxies: ['127.0.0.0/8'], ...options }, local)
      const ask: Ask = {
        async announce(n, more = {}, from = FORWARDED) {
          const said = { infoHash: hash(1), peerId: hash(64 + n), port: 7000 + n, left: 5, ...more }
          const told = await how.announce(setup.port, said, from)
          if ('reason' in told) return refused(told.reason, told.code)
          assert.equal(told.own, from['x-forwarded-for'])
          assert(told.interval > 1600 && told.interval <= 1800 && told.min === 60)
          return `${told.counts} | ${told.peers.map((peer) => peer.split(' ')[1]).join(' ')}`
        },
        scrape: (...hashes) => how.scrape(setup.port, hashes),
      }
      const expected = JSON.stringify(gives)
      const byCode = (all: string, code: string) => all.replaceAll(`: ${code}"`, `: ${QUERY_CODES[code]}"`)
      const wanted = how === byQuery ? Object.keys(QUERY_CODES).reduce(byCode, expected) : expected
      assert.deepEqual(JSON.parse(JSON.stringify(await run(ask, setup))), JSON.parse(wanted))
    })
