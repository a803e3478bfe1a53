// The HTTP front end over real sockets and a real swarm table: what clients get, and when.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import {
  type AnnounceReply,
  decodeAnnounceReply,
  externalIpText,
  type FailureReply,
  scrapeQuery,
} from '@skep/wire/http-tracker.ts'
import { DENY } from '../swarm/access.ts'
import { accessEntry } from '../swarm/entry.ts'
import { APPLIED, REFUSED, UNKNOWN } from '../threads/outcome.ts'
import { SERVING, WAITING } from '../threads/state.ts'
import { announce, failure, get, hash, ports, query, scrape, setUp, until } from './client.case.ts'

// The package has no types of its own.
const oracle: { decode(bytes: Uint8Array): Record<string, unknown> } = (await import('bencode' as string))
  .default

const shared = await setUp(null)

test('a join is answered with the swarm as it is with the joiner in it, and without the joiner', async () => {
  const wish = { infoHash: hash(11) }
  const first = await announce(shared, 1, wish)
  assert.deepEqual([first.complete, first.incomplete, first.peers.length], [0, 1, 0])
  const second = await announce(shared, 2, { ...wish, left: 0 })
  assert.deepEqual([second.complete, second.incomplete, second.downloaded], [1, 1, 0])
  assert.deepEqual(second.peers, [{ address: '127.0.0.1', port: 7001 }])
  assert.equal(externalIpText(second.externalIp!), '127.0.0.1')
  assert(second.intervalSeconds > 1600 && second.intervalSeconds <= 1800)
  assert.equal(second.minIntervalSeconds, 60)
  assert.deepEqual(ports(await announce(shared, 1, wish)), [7002])
})

test('completed and stopped change the counts; the one who stops gets no peers', async () => {
  const wish = { infoHash: hash(12) }
  await announce(shared, 1, wish)
  await announce(shared, 2, wish)
  const done = await announce(shared, 1, { ...wish, left: 0, event: 'completed' })
  assert.deepEqual([done.complete, done.incomplete, done.downloaded], [1, 1, 1])
  const gone = await announce(shared, 2, { ...wish, event: 'stopped' })
  assert.deepEqual([gone.complete, gone.incomplete, gone.peers.length], [1, 0, 0])
  const { files } = await scrape(shared.port, hash(12), hash(13))
  assert.deepEqual(files.get('0c'.repeat(20)), { complete: 1, downloaded: 1, incomplete: 0 })
  assert.deepEqual(files.get('0d'.repeat(20)), { complete: 0, downloaded: 0, incomplete: 0 })
})

test('another decoder reads every reply', async () => {
  const wish = { infoHash: hash(14) }
  await announce(shared, 1, wish)
  const compact = oracle.decode((await get(shared.port, `/announce?${query(2, wish)}`)).body)
  assert.deepEqual([...(compact.peers as Uint8Array)], [127, 0, 0, 1, 7001 >> 8, 7001 & 255])
  const list = oracle.decode(
    (await get(shared.port, `/announce?${query(2, { ...wish, compact: false })}`)).body,
  )
  const [peer] = list.peers as { ip: Uint8Array; port: number }[]
  assert.deepEqual([Buffer.from(peer!.ip).toString(), peer!.port], ['127.0.0.1', 7001])
  const counts = oracle.decode((await get(shared.port, `/scrape?${scrapeQuery([hash(14)])}`)).body)
  assert.deepEqual(Object.values(counts.files as object), [{ complete: 0, downloaded: 0, incomplete: 2 }])
})

test('numwant is kept to, up to the most the cluster gives', async (t) => {
  const setup = await setUp(t, {}, { settings: { numwantDefault: 3, numwantMax: 5 } })
  for (let n = 1; n <= 8; n++) await announce(setup, n, { infoHash: hash(2) })
  const count = async (numwant?: number) =>
    (await announce(setup, 1, { infoHash: hash(2), ...(numwant === undefined ? {} : { numwant }) })).peers
      .length
  assert.deepEqual([await count(0), await count(2), await count(), await count(100)], [0, 2, 3, 5])
})

test('the list form carries peer ids where the tracker keeps them and the client wants them', async (t) => {
  const setup = await setUp(t, { hosts: ['127.0.0.1', '::1'] }, { details: true })
  await announce(setup, 1)
  await announce(setup, 2, {}, { host: '::1' })
  const list = await announce(setup, 3, { compact: false })
  const ids = list.peers.map(({ address, port, peerId }) => `${address} ${port} ${peerId?.[0]}`)
  assert.deepEqual(ids.sort(), ['127.0.0.1 7001 65', '::1 7002 66'])
  const without = await announce(setup, 3, { compact: false, noPeerId: true })
  assert.deepEqual(
    without.peers.map((peer) => peer.peerId),
    [undefined, undefined],
  )
})

test('IPv6 askers are IPv6 peers, IPv4-mapped ones IPv4 peers', async (t) => {
  const setup = await setUp(t, { hosts: ['::'] })
  await announce(setup, 1, {}, { host: '::1' })
  const mapped = await announce(setup, 2, {}, { host: '127.0.0.1' })
  assert.equal(externalIpText(mapped.externalIp!), '127.0.0.1')
  const third = await announce(setup, 3, {}, { host: '::1' })
  assert.equal(externalIpText(third.externalIp!), '::1')
  assert.deepEqual(third.peers, [
    { address: '127.0.0.1', port: 7002 },
    { address: '::1', port: 7001 },
  ])
})

test('both wildcards may be listened on, with one port', async (t) => {
  const setup = await setUp(t, { hosts: ['0.0.0.0', '::'] })
  assert.deepEqual(setup.front.hosts, ['0.0.0.0', '::'])
  await announce(setup, 1, {}, { host: '127.0.0.1' })
  assert.equal((await announce(setup, 2, {}, { host: '::1' })).peers.length, 1)
})

test('requests that are not understood get a sentence as failure reason', async () => {
  assert.match((await failure(shared.port, '/announce')).reason, /info_hash is missing/)
  assert.match((await failure(shared.port, `/announce?${query(1, { port: 65536 })}`)).reason, /port/)
  assert.match((await failure(shared.port, '/scrape')).reason, /full scrape is not offered/)
  const reply = await failure(shared.port, '/announce?info_hash=abc')
  assert.match(reply.reason, /20 bytes/)
  assert.equal(reply.intervalSeconds, 1800)
})

test('torrents that the access lists forbid are refused, to come back later', async (t) => {
  const setup = await setUp(t)
  setup.replica.propose(accessEntry(DENY, 'add', 0, hash(5)))
  const reply = await failure(setup.port, `/announce?${query(1, { infoHash: hash(5) })}`)
  assert.equal(reply.reason, 'info_hash not allowed')
  assert.equal(reply.retryIn, 60)
  await announce(setup, 1, { infoHash: hash(6) })
})

test('a torrent that is forbidden while its join waits is refused; who leaves one is let go', async (t) => {
  const setup = await setUp(t)
  const { replica, front, port } = setup
  const wish = { infoHash: hash(5) }
  await announce(setup, 1, wish)
  replica.outcome = null
  const waits = failure(port, `/announce?${query(2, wish)}`)
  await until(() => front.counters().parkedNow === 1)
  replica.propose(accessEntry(DENY, 'add', 0, hash(5)))
  replica.outcome = APPLIED
  replica.turn()
  assert.equal((await waits).reason, 'info_hash not allowed')
  const left = await failure(port, `/announce?${query(1, { ...wish, event: 'stopped' })}`)
  assert.equal(left.reason, 'info_hash not allowed')
  assert.equal(replica.store.counter('leaves'), 1)
})

test('an event is answered from the log, whatever the table here says: the client may come from elsewhere', async (t) => {
  const setup = await setUp(t)
  for (const event of ['stopped', 'started', 'started', 'completed', 'completed'] as const)
    await announce(setup, 1, { event, left: event === 'completed' ? 0 : 1 })
  await announce(setup, 1, { event: '', left: 0 })
  assert.equal(setup.front.counters().parked, 5)
  assert.deepEqual([setup.replica.store.counter('joins'), setup.replica.store.counter('completions')], [1, 1])
})

test('private addresses are refused where they are switched off', async (t) => {
  const setup = await setUp(t, {}, { settings: { allowPrivate: 'off' } })
  const { reason } = await failure(setup.port, `/announce?${query(1)}`)
  assert.equal(reason, '127.0.0.1 is private, and private peers are not taken here')
  assert.equal(setup.front.counters().refusedAddress, 1)
})

test('the address behind a trusted proxy is the peer; others are not believed', async (t) => {
  const setup = await setUp(t, { trustedProxies: ['127.0.0.0/8'] })
  const via = (address: string) => ({ headers: { 'X-Forwarded-For': address } })
  const direct = await announce(shared, 1, { infoHash: hash(15) }, via('198.18.0.1'))
  assert.equal(externalIpText(direct.externalIp!), '127.0.0.1')
  const claimed = await get(shared.port, `/announce?${query(2)}&ip=8.8.8.8`)
  assert.equal(externalIpText((decodeAnnounceReply(claimed.body) as AnnounceReply).externalIp!), '127.0.0.1')
  const client = await announce(setup, 1, {}, via('1.1.1.1, 8.8.4.4, 127.0.0.9'))
  assert.equal(externalIpText(client.externalIp!), '8.8.4.4')
  assert.deepEqual((await announce(setup, 2, {}, via('8.8.4.5'))).peers, [{ address: '8.8.4.4', port: 7001 }])
  const bogon = await failure(setup.port, `/announce?${query(4)}`, via('0.1.2.3'))
  assert.equal(bogon.reason, '0.1.2.3 cannot be the address of a peer')
})

test('a full scrape gives every torrent, where it is offered', async (t) => {
  const setup = await setUp(t, { fullScrape: true })
  await announce(setup, 1, { infoHash: hash(2) })
  await announce(setup, 1, { infoHash: hash(3), left: 0 })
  const { files } = await scrape(setup.port)
  assert.deepEqual(
    [...files].map(([name, { complete, incomplete }]) => [name.slice(0, 2), complete, incomplete]),
    [
      ['02', 0, 1],
      ['03', 1, 0],
    ],
  )
})

test('what may be over soon is a 503 that says when to come back, a full disk too', async (t) => {
  const { replica, port } = await setUp(t)
  replica.outcome = REFUSED
  assert.match((await failure(port, `/announce?${query(1)}`, {}, 503)).reason, /cannot store this now/)
  replica.outcome = UNKNOWN
  const unknown = await get(port, `/announce?${query(1)}`)
  assert.deepEqual([unknown.status, unknown.headers['retry-after']], [503, '5'])
  const { retryIn, intervalSeconds } = decodeAnnounceReply(unknown.body) as FailureReply
  assert.deepEqual([retryIn, intervalSeconds], [1, 60])
  replica.outcome = APPLIED
  replica.control.setDiskFull(true)
  assert.match((await failure(port, `/announce?${query(2)}`, {}, 503)).reason, /cannot store this now/)
})

test('what another try will not mend keeps clients away for long, however short the interval is', async (t) => {
  const { replica, port } = await setUp(t, {}, { settings: { allowPrivate: 'off' } })
  replica.control.setIntervalSeconds(60)
  replica.propose(accessEntry(DENY, 'add', 0, hash(5)))
  for (const path of ['/announce', `/announce?${query(1)}`, '/scrape'])
    assert.equal((await failure(port, path)).intervalSeconds, 1800)
  const open = await setUp(t)
  open.replica.control.setIntervalSeconds(7200)
  open.replica.propose(accessEntry(DENY, 'add', 0, hash(5)))
  const denied = await failure(open.port, `/announce?${query(1, { infoHash: hash(5) })}`)
  assert.equal(denied.intervalSeconds, 7200)
})

test('nobody is told a shorter interval than the interval, unless it is asked for', async (t) => {
  const setup = await setUp(t, { minIntervalSeconds: 0 })
  const reply = await announce(setup, 1)
  assert.equal(reply.minIntervalSeconds, undefined)
  assert.equal((await scrape(setup.port, hash(1))).minRequestIntervalSeconds, undefined)
})

test('who announces port 0 hears of the others, and none of them hears of it', async (t) => {
  const setup = await setUp(t)
  await announce(setup, 1)
  for (const headers of [{}, { 'Content-Length': '0' }]) {
    const asker = await announce(setup, 2, { port: 0 }, { headers: headers as Record<string, string> })
    assert.deepEqual([asker.incomplete, ports(asker)], [1, [7001]])
    assert.deepEqual(ports(await announce(setup, 2, { port: 0, event: 'stopped' })), [])
    assert.equal((await announce(setup, 3, { port: 0, infoHash: hash(9) })).incomplete, 0)
  }
  assert.deepEqual(ports(await announce(setup, 1)), [])
  assert.equal(setup.replica.store.torrentCount, 1)
})

test('a change without outcome is given up in time, and its slot is free when the outcome comes', async (t) => {
  const { replica, port, front } = await setUp(t, { parkForMs: 100 }, { slots: 1 })
  replica.outcome = null
  assert.equal((await get(port, `/announce?${query(1)}`)).status, 503)
  assert.match((await failure(port, `/announce?${query(2)}`, {}, 503)).reason, /busy/)
  assert.deepEqual([front.counters().parkedLate, front.counters().parkedFull], [1, 1])
  replica.outcome = APPLIED
  replica.turn()
  await until(() => front.counters().parkedNow === 0)
  assert.deepEqual(ports(await announce({ port }, 2)), [7001])
})

test('without a leader requests wait, bounded, and are answered when there is one', async (t) => {
  const { replica, port, front } = await setUp(t, { maxWaiting: 2 })
  replica.control.setState(WAITING)
  const first = announce({ port }, 1)
  const second = scrape(port, hash(1))
  await until(() => front.counters().waitingNow === 2)
  assert.match((await failure(port, `/announce?${query(3)}`, {}, 503)).reason, /no leader/)
  assert.equal((await get(port, '/livez')).status, 200)
  replica.control.setState(SERVING)
  assert.equal((await first).incomplete, 1)
  assert.equal((await second).files.size, 1)
  assert.equal(front.counters().announces, 2)
})

test('without a leader for too long requests get a 503', async (t) => {
  const { replica, port } = await setUp(t, { parkForMs: 100 })
  replica.control.setState(WAITING)
  assert.match((await failure(port, `/announce?${query(1)}`, {}, 503)).reason, /no leader/)
})

test('a lease that has run out is no lease', async (t) => {
  const { replica, port, front } = await setUp(t)
  replica.control.setLeaseUntil(1)
  const waits = announce({ port }, 1)
  await until(() => front.counters().waitingNow === 1)
  replica.control.setLeaseUntil(Number.POSITIVE_INFINITY)
  await waits
})

test('a client that leaves while its change waits is no trouble, and the change takes effect', async (t) => {
  const { replica, port, front } = await setUp(t)
  replica.outcome = null
  const socket = connect(port, '127.0.0.1')
  socket.write(`GET /announce?${query(1)} HTTP/1.1\r\nHost: t\r\n\r\n`)
  await until(() => front.counters().parkedNow === 1)
  socket.resetAndDestroy()
  await until(() => front.counters().connectionsNow === 0)
  replica.outcome = APPLIED
  replica.turn()
  await until(() => front.counters().gone === 1)
  assert.deepEqual(ports(await announce({ port }, 2)), [7001])
})

test('stopping answers what waits and takes nothing new', async (t) => {
  const { replica, port, front } = await setUp(t)
  replica.outcome = null
  const parked = announce({ port }, 1)
  await until(() => front.counters().parkedNow === 1)
  const kept = connect(port, '127.0.0.1')
  await until(() => front.counters().connectionsNow === 2)
  const stopped = front.stop()
  kept.write(`GET /announce?${query(2)} HTTP/1.1\r\nHost: t\r\n\r\n`)
  const [refusal] = (await once(kept, 'data')) as [Buffer]
  assert.match(refusal.toString('latin1'), /503 [\s\S]*tracker is stopping/)
  replica.outcome = APPLIED
  replica.turn()
  assert.equal((await parked).incomplete, 1)
  await stopped
  await assert.rejects(get(port, '/livez'), { code: 'ECONNREFUSED' })
})

test('a taken port is named, with the option that moves it', async () => {
  await assert.rejects(setUp(null, { port: shared.port }), {
    name: 'HttpOpenError',
    code: 'EADDRINUSE',
    message: new RegExp(`${shared.port}.*--http-port`),
  })
})
