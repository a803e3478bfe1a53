// Connections as clients treat them: requests together and in pieces, old HTTP, no HTTP, too many, too much.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import { scrapeQuery } from '@skep/wire/http-tracker.ts'
import { APPLIED } from '../threads/outcome.ts'
import { failure, get, hash, line, query, raw, setUp, statuses, until } from './client.case.ts'

const shared = await setUp(null)

test('requests sent together are answered in order, joins, scrapes and pages alike', async () => {
  const wish = { infoHash: hash(16) }
  const scraped = `/scrape?${scrapeQuery([hash(16)])}`
  const text = await raw(
    shared.port,
    line(`/announce?${query(1, wish)}`) +
      line(scraped) +
      line(`/announce?${query(2, wish)}`) +
      line(scraped) +
      line('/livez') +
      line(scraped) +
      line(`/announce?${query(3, wish)}`, 'Connection: close\r\n'),
  )
  assert.deepEqual(statuses(text), [200, 200, 200, 200, 200, 200, 200])
  assert.deepEqual(
    [...text.matchAll(/incompletei(\d)e/g)].map((match) => match[1]),
    ['1', '1', '2', '2', '2', '3'],
  )
})

test('a request in pieces is answered like a whole one', async () => {
  const whole = line(`/announce?${query(1, { infoHash: hash(17) })}`, 'Connection: close\r\n')
  const text = await raw(shared.port, [whole.slice(0, 9), whole.slice(9, 70), whole.slice(70)])
  assert.deepEqual(statuses(text), [200])
  assert.match(text, /incompletei1e/)
})

test('HTTP/1.0 and Connection: close end the connection after the answer', async () => {
  const path = `/scrape?${scrapeQuery([hash(1)])}`
  assert.match(await raw(shared.port, `GET ${path} HTTP/1.0\r\n\r\n`), /200 OK[\s\S]*files/)
  assert.match(
    await raw(shared.port, line(path, 'Connection: close\r\n')),
    /200 OK[\s\S]*Connection: close[\s\S]*files/,
  )
  assert.match(
    await raw(shared.port, line(`/announce?${query(1, { infoHash: hash(18) })}`, 'Connection: close\r\n')),
    /Connection: close[\s\S]*incompletei1e/,
  )
})

test('what is too long, no HTTP or not for this path is refused with the right status', async () => {
  const long = await raw(shared.port, line(`/announce?${'a'.repeat(9000)}`, 'Connection: close\r\n'))
  assert.deepEqual(statuses(long), [414])
  assert.deepEqual(statuses(await raw(shared.port, line('/', `A: ${'a'.repeat(20_000)}\r\n`))), [431])
  assert.deepEqual(statuses(await raw(shared.port, 'nonsense\r\n\r\n')), [400])
  assert.deepEqual(statuses(await raw(shared.port, `GET /announce?${query(1)} HTTP/1.1\r\n\r\n`)), [400])
  const post = await get(shared.port, `/announce?${query(1)}`, {
    method: 'POST',
    headers: { Connection: 'keep-alive' },
    body: 'x'.repeat(100_000),
  })
  assert.deepEqual([post.status, post.headers.allow, post.headers.connection], [405, 'GET', 'close'])
  const unknown = await get(shared.port, '/annouce')
  assert.equal(unknown.status, 404)
  assert.match(unknown.body.toString(), /\/announce/)
})

test('pages and probes', async (t) => {
  let ready = false
  const setup = await setUp(t, {
    ready: () => ({ ok: ready, reason: 'not caught up' }),
    metricsText: () => Promise.reject(new Error('broken')),
  })
  const page = await get(setup.port, '/', { headers: { Host: 'tracker.example:8168' } })
  assert.match(
    page.body.toString(),
    /udp:\/\/tracker\.example:6969\/announce[\s\S]*http:\/\/tracker\.example:8168\/announce/,
  )
  const hostile = await get(setup.port, '/', { headers: { Host: 'a"><script>' } })
  assert.doesNotMatch(hostile.body.toString(), /<script/)
  const head = await get(setup.port, '/', { method: 'HEAD' })
  assert.deepEqual([head.status, head.body.length], [200, 0])
  assert(Number(head.headers['content-length']) > 500)
  assert.deepEqual(JSON.parse((await get(setup.port, '/stats')).body.toString()), { role: 'leader' })
  const waiting = await get(setup.port, '/readyz')
  assert.deepEqual([waiting.status, waiting.body.toString()], [503, 'not caught up\n'])
  ready = true
  assert.equal((await get(setup.port, '/readyz')).status, 200)
  assert.equal((await get(setup.port, '/metrics')).status, 500)
})

test('while the most connections are open a connect is refused, never taken and then reset', async (t) => {
  const { port, front } = await setUp(t, { maxConnections: 2 })
  const open = [connect(port, '127.0.0.1'), connect(port, '127.0.0.1')]
  await until(() => front.counters().connectionsRefused === 1)
  await assert.rejects(get(port, '/livez'), { code: 'ECONNREFUSED' })
  for (const socket of open) socket.destroy()
  await until(() => front.counters().connectionsNow === 0)
  let status = 0
  while (status === 0)
    status = await get(port, '/livez').then(
      (answer) => answer.status,
      () => 0,
    )
  assert.equal(status, 200)
  assert.equal(front.port, port)
})

test('one address cannot hold all connections: it hears so, others are served', async (t) => {
  const { port, front } = await setUp(t, { hosts: ['127.0.0.1', '::1'], maxConnections: 40 })
  const open = Array.from({ length: 16 }, () => connect(port, '127.0.0.1'))
  await until(() => front.counters().connectionsNow === 16)
  const crowded = await failure(port, `/announce?${query(1)}`, {}, 503)
  assert.match(crowded.reason, /too many connections from your address/)
  assert.equal(front.counters().connectionsCrowded, 1)
  assert.equal((await get(port, '/livez', { host: '::1' })).status, 200)
  for (const socket of open) socket.destroy()
})

test('a proxy that is trusted may hold as many as it needs', async (t) => {
  const { port, front } = await setUp(t, { maxConnections: 40, trustedProxies: ['127.0.0.1'] })
  const open = Array.from({ length: 30 }, () => connect(port, '127.0.0.1'))
  await until(() => front.counters().connectionsNow === 30)
  assert.equal((await get(port, '/livez')).status, 200)
  for (const socket of open) socket.destroy()
})

test('a client that sends a flood ahead of its parked answer is not read meanwhile, and then answered', async (t) => {
  const { replica, port, front } = await setUp(t)
  replica.outcome = null
  const flood = line(`/scrape?${scrapeQuery([hash(1)])}`).repeat(3000)
  const last = line('/livez', 'Connection: close\r\n')
  const answers = raw(port, [line(`/announce?${query(1)}`), flood + last])
  await until(() => front.counters().parkedNow === 1)
  assert.equal(front.counters().answered, 0)
  replica.outcome = APPLIED
  replica.turn()
  assert.equal(statuses(await answers).length, 3002)
})

test('however many ask at once, a page is made once', async (t) => {
  const gate = Promise.withResolvers<void>()
  let made = 0
  const stats = async () => {
    made++
    await gate.promise
    return { role: 'leader' }
  }
  const { port, front } = await setUp(t, { stats })
  const pages = Array.from({ length: 5 }, () => get(port, '/stats'))
  await until(() => front.counters().pages === 5)
  gate.resolve()
  for (const page of pages) assert.equal((await page).status, 200)
  assert.equal(made, 1)
})

/** Connections that send `request` without end, and read nothing. */
function deaf(port: number, count: number, request: string): { close(): void } {
  const burst = Buffer.from(request.repeat(Math.ceil(400_000 / request.length)))
  const sockets = Array.from({ length: count }, () => {
    const socket = connect(port, '127.0.0.1')
    const pump = (): void => {
      while (!socket.destroyed && socket.write(burst));
    }
    socket.on('error', () => {})
    socket.on('connect', pump)
    socket.on('drain', pump)
    return socket.pause()
  })
  return {
    close() {
      for (const socket of sockets) socket.destroy()
    },
  }
}

const many = `/scrape?${scrapeQuery(Array.from({ length: 74 }, (_, i) => hash(i)))}`
for (const path of ['/', '/stats', '/metrics', '/announce', `/announce?${query(1)}`, many])
  test(`clients that ask for ${path.slice(0, 20)} without end and read nothing hold little, and keep nobody out`, async (t) => {
    // Large, so that the kernel's own buffers are full soon.
    const filler = 'x'.repeat(100_000)
    const { port, front } = await setUp(t, {
      stats: () => ({ filler }),
      metricsText: async () => filler,
    })
    const { close } = deaf(port, 4, line(path))
    t.after(close)
    // Each has an answer that it does not take; from then on it is not read.
    await until(() => (front.counters().clogged ?? 0) >= 4)
    const before = front.counters()
    for (let n = 0; n < 20; n++) assert.equal((await get(port, '/livez')).status, 200)
    const after = front.counters()
    assert.deepEqual([after.announces, after.scrapes], [before.announces, before.scrapes])
    assert.equal(after.overheld, 0)
    assert((after.pages ?? 0) - (before.pages ?? 0) <= 20 + 4, 'pages only for the one that reads')
  })

test('a client that does not read is made to wait, and gets every answer when it does', async (t) => {
  const { port, front } = await setUp(t)
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.pause()
  const path = many
  const burst = 8
  let sent = 0
  while (front.counters().clogged === 0) {
    socket.write(line(path).repeat(burst))
    sent += burst
    await until(() => front.counters().answered === sent || front.counters().clogged! > 0)
  }
  socket.write(line(path, 'Connection: close\r\n'))
  assert.equal(front.counters().general, 0)
  let got = 0
  socket.on('data', (chunk) => {
    got += chunk.length
  })
  socket.resume()
  await once(socket, 'close')
  const one = await raw(port, line(path, 'Connection: close\r\n'))
  assert.equal(got, one.length * (sent + 1) - 'Connection: close\r\n'.length * sent)
})
