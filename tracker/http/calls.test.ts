// The typed Tracker service on the port of the HTTP front end, over a real table: JSON, gRPC and gRPC-Web by
// the clients that people use; each outcome's code; and what is refused, with the field that is at fault.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'
import { test } from 'node:test'
import { ViolationsSchema } from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js'
import { Code, ConnectError, createClient, type Transport } from '@connectrpc/connect'
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node'
import { AnnounceRequest_Event as Event, Tracker } from '@skep/wire/proto/gen/skep/tracker/v1/tracker_pb.js'
import { REFUSED, UNKNOWN } from '../threads/outcome.ts'
import { announce as byQuery, scrape as byScrape, hash, raw, setUp, statuses, until } from './client.case.ts'

const { port, front, replica } = await setUp(null, { trustedProxies: ['127.0.0.2'], maxWaiting: 4 })
const baseUrl = `http://127.0.0.1:${port}`

/** Of an announce, a scrape or an error. */
type Told = {
  peers: { address: string; port: number }[]
  swarms: { infoHash: string; seeders: number; leechers: number; completed: number }[]
  seeders: number
  leechers: number
  completed: number
  intervalSeconds: number
  externalAddress: string
  code: string
  message: string
}

async function json(method: string, body: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(`${baseUrl}/skep.tracker.v1.Tracker/${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  return { status: response.status, answer: (await response.json()) as Told }
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64')
const asked = (n: number, more: object = {}) => ({
  infoHash: hex(hash(1)),
  peerId: base64(hash(64 + n)),
  port: 7000 + n,
  leftBytes: '5',
  event: 'started',
  ...more,
})

const TRANSPORTS: { readonly [name: string]: Transport } = {
  'gRPC over HTTP/2': createGrpcTransport({ baseUrl }),
  'gRPC-Web over HTTP/1.1': createGrpcWebTransport({ baseUrl, httpVersion: '1.1' }),
  'gRPC-Web over HTTP/2': createGrpcWebTransport({ baseUrl, httpVersion: '2' }),
  'Connect over HTTP/1.1, binary': createConnectTransport({ baseUrl, httpVersion: '1.1' }),
  'Connect over HTTP/1.1, JSON': createConnectTransport({
    baseUrl,
    httpVersion: '1.1',
    useBinaryFormat: false,
  }),
  'Connect over HTTP/2': createConnectTransport({ baseUrl, httpVersion: '2' }),
}

test('JSON: two peers are told of each other, in hex digits or base64, and a leave ends it', async () => {
  assert.equal((await json('Announce', asked(1))).status, 200)
  const { answer } = await json(
    'Announce',
    asked(2, { infoHash: base64(hash(1)), peerId: hex(hash(66)), leftBytes: 0 }),
  )
  assert.deepEqual(answer.peers, [{ address: '127.0.0.1', port: 7001 }])
  assert.equal(answer.seeders, 1)
  assert.equal(answer.leechers, 1)
  assert.equal(answer.externalAddress, '127.0.0.1')
  assert.ok(answer.intervalSeconds > 0)
  const done = await json('Announce', asked(1, { event: 'EVENT_COMPLETED', leftBytes: '0' }))
  assert.deepEqual([done.answer.seeders, done.answer.leechers, done.answer.completed], [2, 0, 1])
  const left = await json('Announce', asked(2, { peerId: hex(hash(66)), event: 'stopped' }))
  assert.equal(left.status, 200)
  const counts = await json('Scrape', { infoHashes: [hex(hash(1)), base64(hash(99))] })
  assert.deepEqual(counts.answer.swarms, [
    { infoHash: base64(hash(1)), seeders: 1, leechers: 0, completed: 1 },
    { infoHash: base64(hash(99)), seeders: 0, leechers: 0, completed: 0 },
  ])
})

test('who announces by query and who announces by call meet in one swarm', async () => {
  await byQuery({ port }, 1, { infoHash: hash(2) })
  const { answer } = await json('Announce', asked(2, { infoHash: hex(hash(2)) }))
  assert.deepEqual(answer.peers, [{ address: '127.0.0.1', port: 7001 }])
  const reply = await byQuery({ port }, 1, { infoHash: hash(2) })
  assert.deepEqual(
    reply.peers.map((peer) => peer.port),
    [7002],
  )
  const counted = await byScrape(port, hash(2))
  assert.equal([...counted.files.values()][0]!.incomplete, 2)
})

for (const [name, transport] of Object.entries(TRANSPORTS))
  test(`${name}: a join, a completion, a scrape, a fault with its field`, async () => {
    const client = createClient(Tracker, transport)
    const infoHash = hash(100 + Object.keys(TRANSPORTS).indexOf(name))
    const said = { infoHash, peerId: hash(7), port: 7007 }
    await client.announce({ ...said, leftBytes: 3n, event: Event.EVENT_STARTED })
    const done = await client.announce({ ...said, leftBytes: 0n, event: Event.EVENT_COMPLETED })
    assert.deepEqual([done.seeders, done.leechers, done.completed], [1, 0, 1])
    const { peers } = await client.announce({ ...said, peerId: hash(8), port: 7008 })
    assert.deepEqual(
      peers.map(({ address, port }) => `${address}:${port}`),
      ['127.0.0.1:7007'],
    )
    const { swarms } = await client.scrape({ infoHashes: [infoHash] })
    assert.deepEqual(
      swarms.map(({ seeders, leechers }) => [seeders, leechers]),
      [[1, 1]],
    )
    const error = await client
      .announce({ ...said, peerId: hash(8).subarray(1), port: 70_000 })
      .then(() => assert.fail(), ConnectError.from)
    assert.equal(error.code, Code.InvalidArgument)
    const fields = error
      .findDetails(ViolationsSchema)[0]!
      .violations.map(({ field }) => field!.elements[0]!.fieldName)
    assert.deepEqual(fields, ['peer_id', 'port'])
  })

const WRONG: readonly (readonly [string, string, unknown, RegExp])[] = [
  ['a hash of 19 bytes', 'Announce', asked(1, { infoHash: base64(hash(1).subarray(1)) }), /info_hash/],
  ['39 hex digits', 'Announce', asked(1, { infoHash: hex(hash(1)).slice(1) }), /info_?hash|infoHash/i],
  ['40 characters that are no hex digits', 'Announce', asked(1, { infoHash: 'g'.repeat(40) }), /info_hash/],
  ['no peer_id', 'Announce', asked(1, { peerId: undefined }), /peer_id/],
  ['a port over 65535', 'Announce', asked(1, { port: 65_536 }), /port/],
  ['a negative port', 'Announce', asked(1, { port: -1 }), /port/],
  ['an event nobody knows', 'Announce', asked(1, { event: 'paused' }), /event/i],
  ['a field nobody knows', 'Announce', asked(1, { ip: '192.0.2.1' }), /ip/],
  ['no hash', 'Scrape', {}, /info_hashes/],
  ['257 hashes', 'Scrape', { infoHashes: Array(257).fill(base64(hash(1))) }, /info_hashes/],
  ['one broken hash of two', 'Scrape', { infoHashes: [base64(hash(1)), 'AAAA'] }, /info_hashes\[1\]/],
  ['no JSON', 'Announce', '{"infoHash":', /JSON|decode|parse/i],
  ['a list', 'Announce', '[]', /./],
]
for (const [name, method, body, shows] of WRONG)
  test(`refused, and nothing is stored: ${name}`, async () => {
    const before = front.counters().answered
    const { status, answer } = await json(method, body)
    assert.equal(status, 400)
    assert.equal(answer.code, 'invalid_argument')
    assert.match(answer.message, shows)
    assert.equal(front.counters().answered, before)
  })

test('256 hashes in one scrape', async () => {
  const { answer } = await json('Scrape', { infoHashes: Array(256).fill(hex(hash(1))) })
  assert.equal(answer.swarms.length, 256)
})

test('a request over the size is refused with its limit, by both versions of HTTP', async () => {
  const { status, answer } = await json('Announce', asked(1, { peerId: 'A'.repeat(20_000) }))
  assert.deepEqual([status, answer.code], [429, 'resource_exhausted'])
  const client = createClient(Tracker, TRANSPORTS['gRPC over HTTP/2']!)
  const infoHashes = Array(2000).fill(hash(1)) as Uint8Array<ArrayBuffer>[]
  await assert.rejects(client.scrape({ infoHashes }), { code: Code.ResourceExhausted })
})

test('refused and unknown outcomes are told apart', async () => {
  replica.outcome = REFUSED
  const refused = await json('Announce', asked(3))
  assert.deepEqual([refused.status, refused.answer.code], [503, 'unavailable'])
  replica.outcome = UNKNOWN
  const unknown = await json('Announce', asked(3))
  assert.deepEqual([unknown.status, unknown.answer.code], [504, 'deadline_exceeded'])
  replica.outcome = 1
})

test('a deadline of the client ends its call, and the change may still take effect', async () => {
  replica.outcome = null
  const client = createClient(Tracker, TRANSPORTS['gRPC over HTTP/2']!)
  const said = { infoHash: hash(5), peerId: hash(7), port: 7007 }
  await assert.rejects(client.announce(said, { timeoutMs: 50 }), { code: Code.DeadlineExceeded })
  replica.outcome = 1
  replica.turn()
  await until(() => front.counters().parkedNow === 0)
  const { swarms } = await client.scrape({ infoHashes: [hash(5)] })
  assert.equal(swarms[0]!.leechers, 1)
})

test('without a leader calls wait for one', async () => {
  replica.control.setLeaseUntil(0)
  const answer = json('Scrape', { infoHashes: [hex(hash(1))] })
  await until(() => front.counters().waitingNow === 1)
  replica.control.setLeaseUntil(Number.POSITIVE_INFINITY)
  assert.equal((await answer).status, 200)
})

test('X-Forwarded-For names the caller only behind a trusted proxy', async () => {
  const body = JSON.stringify(asked(4, { infoHash: hex(hash(6)) }))
  const ask = (localAddress: string, headers: Record<string, string>) =>
    new Promise<Told>((resolve, reject) => {
      const options = { port, host: '127.0.0.1', localAddress, method: 'POST', agent: false as const }
      const path = '/skep.tracker.v1.Tracker/Announce'
      const type = { 'content-type': 'application/json' }
      const request = httpRequest({ ...options, path, headers: { ...type, ...headers } }, (response) => {
        let got = ''
        response.on('data', (chunk) => (got += chunk)).on('end', () => resolve(JSON.parse(got)))
      })
      request.on('error', reject)
      // Written in two pieces, so that it goes out in chunks.
      request.write(body.slice(0, 10))
      request.end(body.slice(10))
    })
  const header = { 'x-forwarded-for': '8.8.8.8' }
  assert.equal((await ask('127.0.0.2', header)).externalAddress, '8.8.8.8')
  assert.equal((await ask('127.0.0.3', header)).externalAddress, '127.0.0.3')
  assert.equal((await ask('127.0.0.2', {})).code, 'failed_precondition')
})

test('an address that may be no peer is forbidden, by HTTP/2 behind a proxy', async () => {
  const body = JSON.stringify(asked(4))
  const createConnection = () => connect({ port, host: '127.0.0.1', localAddress: '127.0.0.2' })
  const session = connectHttp2(baseUrl, { createConnection })
  const path = '/skep.tracker.v1.Tracker/Announce'
  const type = { 'content-type': 'application/json', 'x-forwarded-for': '224.0.0.1' }
  const stream = session.request({ ':method': 'POST', ':path': path, ...type })
  stream.end(body)
  const [headers] = await once(stream, 'response')
  assert.equal(headers[':status'], 403)
  stream.resume()
  await once(stream, 'close')
  session.close()
})

test('calls and queries share a connection, and requests behind a call are answered after it', async () => {
  const body = JSON.stringify(asked(5))
  const head = 'Host: t\r\nContent-Type: application/json\r\n'
  const call = `POST /skep.tracker.v1.Tracker/Announce HTTP/1.1\r\n${head}Content-Length: ${body.length}\r\n\r\n${body}`
  const page = 'GET /livez HTTP/1.1\r\nHost: t\r\n\r\n'
  const got = await raw(port, page + call + call + page, 4)
  assert.deepEqual(statuses(got), [200, 200, 200, 200])
})

const BROKEN: readonly (readonly [string, string, number])[] = [
  ['a length and chunks', 'Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}', 400],
  ['two lengths', 'Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}', 400],
  ['a chunk without a length', 'Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n', 400],
  ['a chunk that is longer than it says', 'Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n', 400],
  ['another transfer coding', 'Transfer-Encoding: gzip\r\n\r\n{}', 400],
  ['a body that is too long', 'Content-Length: 99999\r\n\r\n', 429],
  [
    'gRPC without HTTP/2',
    'Connection: close\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n',
    505,
  ],
  ['another type', 'Connection: close\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}', 415],
]
for (const [name, rest, status] of BROKEN)
  test(`a call over HTTP/1.1 is refused, and the connection ends: ${name}`, async () => {
    const got = await raw(port, `POST /skep.tracker.v1.Tracker/Announce HTTP/1.1\r\nHost: t\r\n${rest}`)
    assert.deepEqual(statuses(got), [status])
  })

test('a method that is not there, and GET', async () => {
  assert.equal((await json('Nothing', {})).answer.code, 'unimplemented')
  const { status } = await fetch(`${baseUrl}/skep.tracker.v1.Tracker/Announce`)
  assert.equal(status, 405)
})
