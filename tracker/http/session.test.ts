// HTTP/2 without TLS on the port of HTTP/1.1: the same pages and announces, its bounds, its end.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2'
import { connect } from 'node:net'
import { test } from 'node:test'
import { decodeAnnounceReply } from '@skep/wire/http-tracker.ts'
import { monotonicMs } from '../threads/state.ts'
import { get, hash, query, setUp, until } from './client.case.ts'
import type { Session } from './session.ts'

async function ask(session: ClientHttp2Session, path: string, method = 'GET') {
  const stream = session.request({ ':method': method, ':path': path })
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  const [headers] = await once(stream, 'response')
  if (!stream.closed) await once(stream, 'close')
  return { status: headers[':status'] as number, headers, body: Buffer.concat(chunks) }
}

test('announces and pages by HTTP/2, one after another and many at once', async (t) => {
  const { port } = await setUp(t)
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  const join = await ask(session, `/announce?${query(1)}`)
  assert.equal(join.status, 200)
  const all = await Promise.all(Array.from({ length: 90 }, () => ask(session, `/announce?${query(2)}`)))
  for (const { body } of all) {
    const reply = decodeAnnounceReply(body)
    assert(reply.kind === 'announce')
    assert.deepEqual(
      reply.peers.map((peer) => peer.port),
      [7001],
    )
  }
  for (const [path, status] of [
    ['/', 200],
    ['/livez', 200],
    ['/metrics', 200],
    ['/nothing', 404],
  ] as const)
    assert.equal((await ask(session, path)).status, status)
  assert.equal((await ask(session, '/stats')).headers['x-content-type-options'], 'nosniff')
  assert.equal((await ask(session, '/stats', 'DELETE')).status, 405)
  assert.equal((await ask(session, '/readyz', 'HEAD')).body.length, 0)
  assert.equal((await ask(session, `/announce?${'a'.repeat(9000)}`)).status, 414)
  session.close()
})

test('the first bytes may come one by one', async (t) => {
  const { port, front } = await setUp(t)
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.setNoDelay(true)
  for (const byte of 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n') {
    socket.write(byte)
    await new Promise((resolve) => setImmediate(resolve))
  }
  socket.write(Buffer.from('000000040000000000', 'hex'))
  const [first] = (await once(socket, 'data')) as [Buffer]
  // A SETTINGS frame.
  assert.equal(first[3], 4)
  assert.equal(front.counters().sessions, 1)
  socket.destroy()
})

test('HTTP/2 connections count among those of their address, and leave room when they end', async (t) => {
  const { port, front } = await setUp(t, { maxConnections: 16 })
  const sessions: ClientHttp2Session[] = []
  for (let n = 0; n < 15; n++) {
    const session = connectHttp2(`http://127.0.0.1:${port}`)
    session.on('error', () => {})
    sessions.push(session)
    await ask(session, '/livez')
  }
  assert.equal(front.counters().connectionsNow, 15)
  for (const session of sessions) session.destroy()
  await until(() => front.counters().connectionsNow === 0)
  assert.equal((await get(port, '/livez')).status, 200)
})

test('streams over the limit of a connection are refused, and those within it are served', async (t) => {
  const { port, replica, front } = await setUp(t)
  replica.outcome = null
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  const [settings] = await once(session, 'remoteSettings')
  assert.equal(settings.maxConcurrentStreams, 100)
  const waits = Array.from({ length: 100 }, (_, n) => ask(session, `/announce?${query(n)}`))
  await until(() => front.counters().parkedNow === 100)
  replica.outcome = 1
  replica.turn()
  for (const { status } of await Promise.all(waits)) assert.equal(status, 200)
  session.close()
})

test('a client that resets its requests leaves nothing behind', async (t) => {
  const { port, replica, front } = await setUp(t)
  replica.outcome = null
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  for (let n = 0; n < 20; n++) {
    const stream = session.request({ ':path': `/announce?${query(n)}` })
    stream.on('error', () => {})
    await until(() => front.counters().parkedNow === n + 1)
    stream.close(constants.NGHTTP2_CANCEL)
  }
  const last = ask(session, `/announce?${query(99, { infoHash: hash(9) })}`)
  await until(() => front.counters().parkedNow === 21)
  replica.outcome = 1
  replica.turn()
  assert.equal((await last).status, 200)
  assert.equal(front.counters().gone, 20)
  session.close()
})

test('a stop answers what waits, and then ends the connection', async (t) => {
  const { port, replica, front } = await setUp(t)
  replica.outcome = null
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  const waits = ask(session, `/announce?${query(1)}`)
  await until(() => front.counters().parkedNow === 1)
  const closed = once(session, 'close')
  const stopped = front.stop()
  replica.outcome = 1
  replica.turn()
  assert.equal((await waits).status, 200)
  await stopped
  await closed
})

test('what is no HTTP/2 after its first bytes ends the connection, and only that', async (t) => {
  const { port, front } = await setUp(t)
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.end(`PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${'rubbish '.repeat(100)}`)
  socket.resume()
  await once(socket, 'close')
  await until(() => front.counters().connectionsNow === 0)
  assert.equal((await get(port, '/livez')).status, 200)
})

/** As the sweep of each second does, `ms` from now. */
function sweepAfter(front: object, ms: number, scarce = false): void {
  const { connections } = front as { connections: Set<Session> }
  for (const each of connections) each.sweep(monotonicMs() + ms, scarce)
}

for (const [name, requests, scarce, stays, ends] of [
  ['after a request: in a minute', 1, false, 59_000, 61_000],
  ['before its first request: sooner', 0, false, 9000, 11_000],
  ['while connections are scarce: much sooner', 1, true, 4500, 5500],
] as const)
  test(`an HTTP/2 connection without a request is told to come again, ${name}`, async (t) => {
    const { port, front } = await setUp(t)
    const session = connectHttp2(`http://127.0.0.1:${port}`)
    await once(session, 'remoteSettings')
    for (let n = 0; n < requests; n++) assert.equal((await ask(session, '/livez')).status, 200)
    await until(() => front.counters().sessions === 1)
    sweepAfter(front, stays, scarce)
    assert.equal(front.counters().sessionsTimedOut, 0)
    const away = once(session, 'goaway')
    const closed = once(session, 'close')
    sweepAfter(front, ends, scarce)
    assert.equal((await away)[0], constants.NGHTTP2_NO_ERROR)
    await closed
    assert.equal(front.counters().sessionsTimedOut, 1)
    await until(() => front.counters().connectionsNow === 0)
  })

test('a connection that was told to come again and does not go is cut off', async (t) => {
  const { port, front } = await setUp(t)
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  socket.write(Buffer.from('505249202a20485454502f322e300d0a0d0a534d0d0a0d0a000000040000000000', 'hex'))
  await once(socket, 'data')
  socket.on('error', () => {})
  sweepAfter(front, 11_000)
  assert.equal(front.counters().sessionsTimedOut, 1)
  sweepAfter(front, 14_000)
  await until(() => front.counters().connectionsNow === 0)
  socket.destroy()
})

test('a request that does not arrive whole is reset, and the others of its connection go on', async (t) => {
  const { port, replica, front } = await setUp(t)
  replica.outcome = null
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  const late = session.request({ ':method': 'POST', ':path': '/skep.tracker.v1.Tracker/Announce' })
  late.on('error', () => {})
  late.write('{')
  const parked = ask(session, `/announce?${query(1)}`)
  await until(() => front.counters().parkedNow === 1)
  sweepAfter(front, 9000)
  assert.equal(front.counters().streamsTimedOut, 0)
  const closed = once(late, 'close')
  sweepAfter(front, 11_000)
  await closed
  assert.equal(late.rstCode, constants.NGHTTP2_CANCEL)
  assert.deepEqual([front.counters().streamsTimedOut, front.counters().sessionsTimedOut], [1, 0])
  replica.outcome = 1
  replica.turn()
  assert.equal((await parked).status, 200)
  session.close()
})

test('a client that does not take its answer is cut off, and holds nothing after it', async (t) => {
  const { port, front } = await setUp(t)
  // No byte of any answer may be sent until the client says so, and it never does.
  const session = connectHttp2(`http://127.0.0.1:${port}`, { settings: { initialWindowSize: 0 } })
  session.on('error', () => {})
  const stream = session.request({ ':path': '/metrics' })
  stream.on('error', () => {})
  await once(stream, 'response')
  const { heldBytes } = front as unknown as { heldBytes: number }
  assert.ok(heldBytes > 0)
  sweepAfter(front, 29_000)
  assert.equal(front.counters().sessionsTimedOut, 0)
  const closed = once(session, 'close')
  sweepAfter(front, 31_000)
  await closed
  await until(() => front.counters().connectionsNow === 0)
  assert.equal(front.counters().sessionsTimedOut, 1)
  assert.equal((front as unknown as { heldBytes: number }).heldBytes, 0)
})
