// HTTP/2 without TLS on the port of HTTP/1.1: the same pages and announces, its bounds, its end.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2'
import { connect } from 'node:net'
import { test } from 'node:test'
import { decodeAnnounceReply } from '@skep/wire/http-tracker.ts'
import { get, hash, query, setUp, until } from './client.case.ts'

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
