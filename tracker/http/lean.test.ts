// Calls that are read and written by hand are answered as ConnectRPC answers them, byte for byte: random
// requests, valid and not, to two front ends, of which one is made to take the general path.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { create, fromBinary, toBinary, toJsonString } from '@bufbuild/protobuf'
import {
  AnnounceRequestSchema,
  AnnounceResponseSchema,
  ScrapeRequestSchema,
} from '@skep/wire/proto/gen/skep/tracker/v1/tracker_pb.js'
import { DENY } from '../swarm/access.ts'
import { accessEntry } from '../swarm/entry.ts'
import { hash, type Setup, setUp, until } from './client.case.ts'
import { announceInJson, announceInProto, scrapeInJson, scrapeInProto } from './lean.ts'
import { PlainRequest } from './plain.ts'

/** A small seeded generator (mulberry32), so that every run asks the same. */
function randomOf(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below)
  }
}

async function twin(t: TestContext): Promise<Setup> {
  const setup = await setUp(t, { trustedProxies: ['127.0.0.0/8'] })
  setup.replica.propose(accessEntry(DENY, 'add', 0, hash(5)))
  // Nothing is jittered in an interval of a second.
  setup.replica.control.setIntervalSeconds(1)
  return setup
}

/** Which peers come first is chance. */
const inOrder = (text: string) =>
  text.replace(
    /"peers":\[(.*?)\]/,
    (_, peers: string) =>
      `"peers":[${peers
        .split(/,(?={)/)
        .sort()
        .join(',')}]`,
  )

/** One request after another over a kept connection; again over another where the answer ends it. */
function asker(port: number) {
  let socket: Socket | null = null
  return async (request: string): Promise<string> => {
    if (socket === null) {
      socket = connect(port, '127.0.0.1')
      await once(socket, 'connect')
    }
    const mine = socket
    let got = ''
    await new Promise<void>((done) => {
      const more = (chunk: Buffer) => {
        got += chunk.toString('latin1')
        const end = got.indexOf('\r\n\r\n')
        const length = Number(/content-length: *(\d+)/i.exec(got)?.[1])
        if (end >= 0 && got.length >= end + 4 + length) done()
      }
      mine.on('data', more).once('close', () => done())
      mine.write(request, 'latin1')
    })
    mine.removeAllListeners('data').removeAllListeners('close')
    if (/\r\nconnection: close/i.test(got)) {
      mine.destroy()
      socket = null
    }
    return inOrder(got)
  }
}

const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64')
type Pick = <T>(all: readonly T[]) => T
const HASHES = [1, 2, 3, 5].map((n) => hash(n))
const AMOUNTS = [
  '0',
  0,
  '7',
  7,
  '18446744073709551615',
  '9999999999999999999',
  2 ** 53,
  '07',
  '-1',
  '1.0',
  '',
]
const WORDS = [0, 1, 6881, 65_535, 65_536, 4294967295, 4294967296, -1, 1.5, '6881', null, true, [], '']
const EVENTS = [
  'none',
  'started',
  'stopped',
  'completed',
  'EVENT_STARTED',
  'EVENT_STOPPED',
  'paused',
  '',
  1,
  null,
]

function bytesIn(pick: Pick, bytes: Uint8Array): unknown {
  const hex = Buffer.from(bytes).toString('hex')
  const base64 = Buffer.from(bytes).toString('base64')
  const often = [hex, base64, hex.toUpperCase()]
  const rare = [
    hex.slice(1),
    `${hex}0`,
    base64.slice(0, -1),
    `${base64.slice(0, -2)}F=`,
    'g'.repeat(40),
    '',
    5,
  ]
  const url = [
    Buffer.from(hash(255)).toString('base64url'),
    ` ${base64}`,
    `${hex.slice(0, 39)} `,
    null,
    [hex],
  ]
  return pick([...often, ...often, ...often, ...often, pick([...rare, ...url])])
}

function announceText(random: (below: number) => number, pick: Pick): string {
  const fields: [string, unknown][] = [
    ['infoHash', bytesIn(pick, pick(HASHES))],
    ['peerId', bytesIn(pick, hash(64 + random(6)))],
    ['port', random(4) > 0 ? 7000 + random(6) : pick(WORDS)],
  ]
  const more: [string, unknown][] = [
    ['leftBytes', pick(AMOUNTS)],
    ['event', pick(EVENTS)],
    // One of several peers would be chance.
    ['numwant', random(2) === 0 ? 50 : pick(WORDS.filter((word) => word !== 1))],
    ['key', pick(WORDS)],
    ['downloadedBytes', pick(AMOUNTS)],
    ['uploadedBytes', pick(AMOUNTS)],
  ]
  for (const each of more) if (random(4) === 0) fields.push(each)
  if (random(30) === 0) fields.push([pick(['ip', 'info_hash', 'left', '__proto__', 'constructor']), 'x'])
  if (random(20) === 0) fields.splice(random(fields.length), 1)
  if (random(20) === 0) fields.push(pick(fields))
  if (random(3) === 0) fields.reverse()
  return `{${fields.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(',')}}`
}

function spelled(random: (below: number) => number, text: string): string {
  const at = random(text.length)
  switch (random(24)) {
    case 0:
      return text.slice(0, at)
    case 1:
      return `${text.slice(0, at)}${String.fromCharCode(random(256))}${text.slice(at + 1)}`
    case 2:
      return ` ${text.replaceAll(':', ' : ').replaceAll(',', ',\n')}\n`
    case 3:
      return text.replace('"port"', '"p\\u006frt"')
    case 4:
      return `[${text}]`
    case 5:
      return text.replace(/"port":(\d+)/, '"port":$1.0')
    case 6:
      return text.replace(/"port":(\d+)/, '"port":$1e0')
    default:
      return text
  }
}

test('JSON by HTTP/1.1: the same answers, byte for byte, as on the general path', async (t) => {
  const [lean, general] = [await twin(t), await twin(t)]
  const [askLean, askGeneral] = [asker(lean.port), asker(general.port)]
  const random = randomOf(7)
  const pick: Pick = (all) => all[random(all.length)]!
  const plain = new PlainRequest()
  let byHand = 0
  for (let n = 0; n < 4000; n++) {
    const scrape = random(5) === 0
    const hashes = Array.from({ length: random(4) }, () => bytesIn(pick, pick(HASHES)))
    const body = spelled(random, scrape ? JSON.stringify({ infoHashes: hashes }) : announceText(random, pick))
    const from = random(20) === 0 ? pick(['0.1.2.3', '', 'nonsense']) : pick(['8.8.8.8', '2001:db9::1'])
    const close = random(40) === 0 ? 'Connection: close\r\n' : ''
    const type =
      random(40) === 0 ? pick(['text/plain', 'application/json; charset=utf-8']) : 'application/json'
    const head =
      `POST /skep.tracker.v1.Tracker/${scrape ? 'Scrape' : 'Announce'} HTTP/1.1\r\nHost: t\r\n${close}` +
      `Content-Type: ${type}\r\nX-Forwarded-For: ${from}\r\nContent-Length: ${body.length}\r\n`
    const request = `${head}\r\n${body}`
    if (plain.readCall(request, 0) && (scrape ? scrapeInJson(body) : announceInJson(body)) !== null) byHand++
    const answers = await Promise.all([
      askLean(request),
      askGeneral(`${head}Connect-Timeout-Ms: 60000\r\n\r\n${body}`),
    ])
    assert.equal(answers[0], answers[1], request)
  }
  // Both sorts were there.
  assert.ok(byHand > 1000 && byHand < 3500, String(byHand))
  assert.equal(lean.front.counters().announces, general.front.counters().announces)
  assert.equal(lean.front.counters().calls, general.front.counters().calls)
  assert.equal(lean.front.counters().callsNow, 0)
})

async function byGrpc(
  session: ClientHttp2Session,
  method: string,
  body: Buffer,
  more: Record<string, string>,
) {
  const stream = session.request({
    ...{ ':method': 'POST', ':path': `/skep.tracker.v1.Tracker/${method}` },
    ...{ 'content-type': 'application/grpc', te: 'trailers', ...more },
  })
  const got: { headers?: object; trailers?: object } = {}
  const chunks: Buffer[] = []
  stream.on('response', (headers) => (got.headers = { ...headers, date: '' }))
  stream.on('trailers', (trailers) => (got.trailers = { ...trailers }))
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  stream.end(body)
  await once(stream, 'close')
  const bytes = Buffer.concat(chunks)
  if (method !== 'Announce' || bytes.length === 0) return { ...got, body: bytes.toString('hex') }
  const text = toJsonString(AnnounceResponseSchema, fromBinary(AnnounceResponseSchema, bytes.subarray(5)))
  return { ...got, length: bytes.length, flags: bytes[0], body: inOrder(text) }
}

function announceMessage(random: (below: number) => number, pick: Pick): Uint8Array {
  const amounts = [0n, 1n, 300n, 2n ** 48n, 2n ** 49n, 2n ** 64n - 1n]
  const words = [0, 1, 127, 128, 65_535, 65_536, 4294967295]
  const short = random(12) === 0 ? 1 : 0
  const maybe = <T extends object>(value: T): Partial<T> => (random(3) === 0 ? value : {})
  return toBinary(
    AnnounceRequestSchema,
    create(AnnounceRequestSchema, {
      ...{ infoHash: pick(HASHES).subarray(short), peerId: hash(64 + random(6)) },
      ...{ port: random(4) > 0 ? 7000 + random(6) : pick(words) },
      ...maybe({ leftBytes: pick(amounts) }),
      ...maybe({ event: random(5) }),
      // One of several peers would be chance.
      ...maybe({ numwant: pick(words.slice(2)) }),
      ...maybe({ key: pick(words) }),
      ...maybe({ downloadedBytes: pick(amounts), uploadedBytes: pick(amounts) }),
    }),
  )
}

test('gRPC: the same answers and trailers as on the general path', async (t) => {
  const [lean, general] = [await twin(t), await twin(t)]
  const sessions = [lean, general].map(({ port }) => connectHttp2(`http://127.0.0.1:${port}`))
  const random = randomOf(8)
  const pick: Pick = (all) => all[random(all.length)]!
  let byHand = 0
  for (let n = 0; n < 1500; n++) {
    const scrape = random(5) === 0
    const infoHashes = Array.from({ length: random(4) }, () =>
      pick(HASHES).subarray(random(12) === 0 ? 1 : 0),
    )
    const message = scrape
      ? toBinary(ScrapeRequestSchema, create(ScrapeRequestSchema, { infoHashes }))
      : announceMessage(random, pick)
    const body = Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message])
    if (random(12) === 0) body[random(body.length)] = random(256)
    const sent = random(20) === 0 ? Buffer.concat([body, pick([body, body.subarray(5)])]) : body
    if ((scrape ? scrapeInProto(sent) : announceInProto(sent)) !== null) byHand++
    const from = pick(['8.8.8.8', '2001:db9::1', '8.8.8.8', '0.1.2.3'])
    const method = scrape ? 'Scrape' : 'Announce'
    const answers = await Promise.all([
      byGrpc(sessions[0]!, method, sent, { 'x-forwarded-for': from }),
      byGrpc(sessions[1]!, method, sent, { 'x-forwarded-for': from, 'grpc-timeout': '60S' }),
    ])
    assert.deepEqual(answers[0], answers[1], sent.toString('hex'))
  }
  assert.ok(byHand > 500 && byHand < 1400, String(byHand))
  assert.equal(lean.front.counters().announces, general.front.counters().announces)
  assert.equal(lean.front.counters().callsNow, 0)
  for (const session of sessions) session.close()
})

test('clients that leave while their calls wait are let go, and nothing is left of them', async (t) => {
  const { port, front, replica } = await twin(t)
  replica.outcome = null
  const ids = { infoHash: base64(hash(1)), peerId: base64(hash(2)) }
  const body = JSON.stringify({ ...ids, port: 9 })
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  const head = 'Host: t\r\nX-Forwarded-For: 8.8.8.8\r\nContent-Type: application/json\r\n'
  const length = `Content-Length: ${body.length}\r\n\r\n`
  socket.write(`POST /skep.tracker.v1.Tracker/Announce HTTP/1.1\r\n${head}${length}${body}`)
  await until(() => front.counters().callsNow === 1)
  socket.resetAndDestroy()
  await until(() => front.counters().connectionsNow === 0)
  assert.equal(front.counters().callsNow, 0)
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  const [path, type] = ['/skep.tracker.v1.Tracker/Announce', 'application/grpc']
  const fields = { ':method': 'POST', ':path': path, 'content-type': type, 'x-forwarded-for': '8.8.8.8' }
  const stream = session.request(fields)
  stream.on('error', () => {})
  const message = Buffer.concat([
    Buffer.from([10, 20]),
    hash(1),
    Buffer.from([18, 20]),
    hash(3),
    Buffer.from([24, 10]),
  ])
  stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]))
  await until(() => front.counters().callsNow === 1)
  stream.close(8)
  await until(() => front.counters().callsNow === 0)
  session.close()
  replica.outcome = 1
  replica.turn()
  await until(() => front.counters().parkedNow === 0)
  assert.deepEqual([front.counters().gone, front.counters().callsNow, replica.store.peerCount], [2, 0, 2])
})

const SAID = [10, 20, ...hash(1), 18, 20, ...hash(2)]
const OTHERS: readonly (readonly [string, readonly number[]])[] = [
  ['a key of 33 bits, of which Protocol Buffers drop one', [...SAID, 56, 0x81, 0x80, 0x80, 0x80, 0x10]],
  ['a field twice', [...SAID, 24, 1, 24, 2]],
  ['a hash twice', [...SAID, 10, 20, ...hash(3)]],
  ['a field that nobody knows', [...SAID, 80, 1]],
  ['a number in four fixed bytes', [...SAID, 29, 1, 0, 0, 0]],
  ['a number that does not end', [...SAID, 24, 0x80]],
  ['an amount of 2^49', [...SAID, 32, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1]],
  ['no hash', SAID.slice(22)],
  ['half a hash', SAID.slice(0, -1)],
]
for (const [name, message] of OTHERS)
  test(`a message that is left to the general path: ${name}`, () => {
    const framed = (bytes: readonly number[]) => Buffer.from([0, 0, 0, 0, bytes.length, ...bytes])
    assert.notEqual(announceInProto(framed([...SAID, 24, 1])), null)
    assert.equal(announceInProto(framed(message)), null)
  })
