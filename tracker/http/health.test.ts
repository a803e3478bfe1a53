// The probes' own port: it answers what the main thread says, while that is busy too, and to strangers'
// spite.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { get } from './client.case.ts'
import { type Probe, startHealth } from './health.ts'

const probes = {
  live: { ok: true, reason: 'alive' } as Probe,
  ready: { ok: true, reason: 'serving' } as Probe,
}

async function health(t: TestContext): Promise<number> {
  const started = await startHealth({ hosts: ['127.0.0.1'], port: 0 }, () => probes)
  t.after(() => started.close())
  return started.port
}

test('a probe hears what holds at its moment, with the reason', async (t) => {
  const port = await health(t)
  const text = async (path: string, method = 'GET') => {
    const { status, body } = await get(port, path, { method })
    return `${status} ${body}`
  }
  assert.equal(await text('/livez'), '200 ok\n')
  assert.equal(await text('/readyz?verbose'), '200 ok\n')
  t.after(() => {
    probes.ready = { ok: true, reason: 'serving' }
  })
  probes.ready = { ok: false, reason: 'no lease' }
  assert.equal(await text('/readyz'), '503 no lease\n')
  assert.equal(await text('/readyz', 'HEAD'), '503 ')
  assert.match(await text('/announce'), /^404 /)
})

test('a probe that closes its sending side gets its answer', async (t) => {
  const socket = connect({ port: await health(t), host: '127.0.0.1', allowHalfOpen: true })
  socket.end('GET /livez HTTP/1.0\r\n\r\n')
  const [answer] = (await once(socket, 'data')) as [Buffer]
  assert.match(answer.toString(), /^HTTP\/1\.1 200 [\s\S]*ok\n$/)
  socket.destroy()
})

test('a probe is answered while the main thread is busy with something else', async (t) => {
  const port = await health(t)
  assert.equal((await get(port, '/livez')).status, 200)
  const done = new Int32Array(new SharedArrayBuffer(4))
  const client = new Worker(
    `const { workerData: { port, done } } = require('node:worker_threads')
    require('node:http').get({ port, path: '/livez', agent: false }, (response) => {
      Atomics.store(done, 0, response.statusCode)
      Atomics.notify(done, 0)
    })`,
    { eval: true, workerData: { port, done } },
  )
  // This thread is the main thread: it does nothing at all until somebody else has had an answer.
  assert.notEqual(Atomics.wait(done, 0, 0, 20_000), 'timed-out')
  assert.equal(done[0], 200)
  await once(client, 'exit')
})

test('strangers that open connections and say nothing cannot keep a probe out', async (t) => {
  const port = await health(t)
  const idle: Socket[] = []
  for (let n = 0; n < 600; n++) {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    idle.push(socket)
    await once(socket, 'connect')
  }
  assert.equal((await get(port, '/livez')).status, 200)
  for (const socket of idle) socket.destroy()
})

test('a taken port is named, with the option that moves it', async (t) => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  t.after(() => other.close())
  const { port } = other.address() as { port: number }
  await assert.rejects(
    startHealth({ hosts: ['127.0.0.1'], port }, () => probes),
    { name: 'HttpOpenError', code: 'EADDRINUSE', message: new RegExp(`health port ${port}.*--health-port`) },
  )
})
