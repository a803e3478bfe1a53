// The control port among strangers: whoever has the token gets in, whatever others do there.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request as http1Request } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { State } from '@skep/wire/proto/gen/skep/cluster/v1/cluster_pb.js'
import { clusterClient } from '../ctl/client.ts'
import { clusterRoutes } from './cluster.ts'
import { startControlServer } from './server.ts'
import { WRONG_AT_ONCE } from './wrong-tokens.ts'

const TOKEN = 'a-token-of-the-owner'

async function world(t: TestContext) {
  const tokens = [TOKEN]
  const server = await startControlServer({
    controlHost: '127.0.0.1',
    controlPort: 0,
    tokens: () => tokens,
    routes: clusterRoutes({
      status: async () => ({ name: 'r0', state: State.SERVING }),
      born: () => null,
      awaits: () => '',
      drain: async () => '',
      stop: () => {},
    }),
    live: () => ({ ok: true, reason: '' }),
  })
  t.after(() => server.stop())
  const { port } = server
  const owner = clusterClient(`http://127.0.0.1:${port}`, [TOKEN])
  return { server, port, tokens, owner }
}

/** Connections that stay open, each with these bytes written and no more. */
async function crowd(t: TestContext, port: number, most: number, bytes: string): Promise<Socket[]> {
  const sockets: Socket[] = []
  t.after(() => {
    for (const socket of sockets) socket.destroy()
  })
  for (let i = 0; i < most; i++) {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    sockets.push(socket)
    await once(socket, 'connect')
    socket.write(bytes)
  }
  return sockets
}

const asks = 'POST /skep.cluster.v1.Cluster/Status HTTP/1.1\r\nhost: 127.0.0.1\r\n'

for (const [what, bytes] of [
  ['unfinished headers', asks],
  ['unfinished bodies without the token', `${asks}content-length: 100\r\n\r\n{`],
  ['nothing at all', ''],
  ['the beginning of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
] as const)
  test(`200 connections with ${what} do not keep the owner of the token out`, async (t) => {
    const { port, owner, server } = await world(t)
    await crowd(t, port, 200, bytes)
    assert.equal((await owner.status({}, { timeoutMs: 5000 })).name, 'r0')
    if (!bytes.endsWith('{')) assert.ok(server.counts.strangersCrowded >= 200 - 64)
  })

test('requests that their owner left unfinished do not keep the next one out', async (t) => {
  const { port, owner } = await world(t)
  const unfinished = `${asks}authorization: Bearer ${TOKEN}\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{`
  const held = await crowd(t, port, 64, unfinished)
  // All places of those who have the token are taken: that is said at once, not left to a time-out.
  await assert.rejects(owner.status({}, { timeoutMs: 5000 }), /64 connections with the token are open/)
  held[0]!.destroy()
  for (;;)
    try {
      assert.equal((await owner.status({})).name, 'r0')
      break
    } catch (error) {
      assert.match(String(error), /64 connections/)
    }
})

function ask(port: number, token: string, body = '{}') {
  return new Promise<{ status: number; text: string; again: string | undefined }>((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    const path = '/skep.cluster.v1.Cluster/Status'
    const request = http1Request({ port, host: '127.0.0.1', path, method: 'POST', headers }, (response) => {
      let text = ''
      response.on('data', (part) => {
        text += part
      })
      response.on('end', () =>
        resolve({ status: response.statusCode!, text, again: response.headers['retry-after'] }),
      )
    })
    request.on('error', reject)
    request.end(body)
  })
}

test('wrong tokens are counted and soon refused as such; the right one from the same address is not', async (t) => {
  const { port, owner, server } = await world(t)
  for (let i = 0; i < WRONG_AT_ONCE; i++) assert.equal((await ask(port, `wrong-${i}`)).status, 401)
  const { status, text, again } = await ask(port, 'wrong-again')
  assert.equal(status, 429)
  assert.match(text, /too many wrong tokens from 127\.0\.0\.1/)
  assert.ok(Number(again) >= 1)
  assert.equal((await owner.status({})).name, 'r0')
  assert.equal((await ask(port, TOKEN)).status, 200)
  assert.equal(server.counts.wrongTokens, WRONG_AT_ONCE + 1)
  assert.equal(server.counts.wrongTokensLimited, 1)
  assert.match(server.warnings().join(), /^127\.0\.0\.1 asked the control API with wrong tokens 21 times/)
})

test('who sends a long request with a wrong token reads the answer, and not a reset', async (t) => {
  const { port } = await world(t)
  const { status, text } = await ask(port, 'wrong', `{"x":"${'y'.repeat(4 * 1024 * 1024)}"}`)
  assert.equal(status, 401)
  assert.match(text, /wrong token/)
})

test('HTTP/2 without the token is answered and closed', async (t) => {
  const { port } = await world(t)
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  const stream = session.request({ ':method': 'POST', ':path': '/x', authorization: 'Bearer wrong' })
  stream.end('{}')
  const [headers] = await once(stream, 'response')
  assert.equal(headers[':status'], 401)
  stream.resume()
  await once(session, 'close')
})

test('what a token has opened ends when its key is taken away', async (t) => {
  const { owner, tokens } = await world(t)
  const watched = (async () => {
    for await (const { status } of owner.watch({ periodMs: 100 }))
      if (status?.name === 'r0') tokens.splice(0, 1, 'the-next-token-of-the-owner')
  })()
  await assert.rejects(watched)
})
