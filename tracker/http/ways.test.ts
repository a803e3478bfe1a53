// One behaviour whichever way a request comes: plain, through the general parser, in pieces, as HTTP/1.0,
// with its sending side closed. Each case by all of them.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import { scrapeQuery } from '@skep/wire/http-tracker.ts'
import { hash, query, setUp } from './client.case.ts'

const { port, front, replica } = await setUp(null, { trustedProxies: ['127.0.0.2'] })

type Way = {
  readonly request: (method: string, target: string) => string
  /** The client has nothing more to say, and says so at once. */
  readonly halfClosed?: boolean
  readonly pieces?: number
}
const close = 'Host: t\r\nConnection: close\r\n\r\n'
const WAYS: { readonly [name: string]: Way } = {
  plain: { request: (method, target) => `${method} ${target} HTTP/1.1\r\n${close}` },
  'in pieces': { request: (method, target) => `${method} ${target} HTTP/1.1\r\n${close}`, pieces: 7 },
  'half-closed': {
    request: (method, target) => `${method} ${target} HTTP/1.1\r\n${close}`,
    halfClosed: true,
  },
  'half-closed and kept': {
    request: (method, target) => `${method} ${target} HTTP/1.1\r\nHost: t\r\n\r\n`,
    halfClosed: true,
  },
  'with a rare header': {
    request: (method, target) => `${method} ${target} HTTP/1.1\r\nX.Y!: z\r\nUpgrade: h2c\r\n${close}`,
  },
  'HTTP/1.0': { request: (method, target) => `${method} ${target} HTTP/1.0\r\n\r\n` },
  'HTTP/1.0, half-closed': {
    request: (method, target) => `${method} ${target} HTTP/1.0\r\n\r\n`,
    halfClosed: true,
  },
  'absolute form': { request: (method, target) => `${method} http://t:1${target} HTTP/1.1\r\n${close}` },
  'absolute form in capitals, HTTP/1.0': {
    request: (method, target) => `${method} HTTPS://t${target} HTTP/1.0\r\nHost: other\r\n\r\n`,
  },
  'after an empty line': { request: (method, target) => `\r\n${method} ${target} HTTP/1.1\r\n${close}` },
  'a path encoded without need': {
    request: (method, target) =>
      `${method} ${target.replace(/^\/([a-z])/, (_, c: string) => `/%${c.charCodeAt(0).toString(16)}`)} HTTP/1.1\r\n${close}`,
  },
  'behind another request': {
    request: (method, target) =>
      `GET /livez HTTP/1.1\r\nHost: t\r\n\r\n${method} ${target} HTTP/1.1\r\n${close}`,
  },
}

/** The last response to what is sent, once the server has closed the connection. */
async function answer({ request, halfClosed, pieces = 1 }: Way, method: string, target: string) {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  let got = ''
  socket.on('data', (chunk) => {
    got += chunk.toString('latin1')
  })
  await once(socket, 'connect')
  socket.setNoDelay(true)
  const text = request(method, target)
  const size = Math.ceil(text.length / pieces)
  for (let at = 0; at < text.length; at += size) {
    socket.write(text.slice(at, at + size), 'latin1')
    await new Promise((resolve) => setImmediate(resolve))
  }
  if (halfClosed) socket.end()
  await once(socket, 'end')
  socket.destroy()
  const last = got.slice(got.lastIndexOf('HTTP/1.1 '))
  const [head, ...rest] = last.split('\r\n\r\n')
  return { status: Number(last.slice(9, 12)), head: head!, body: rest.join('\r\n\r\n') }
}

const announce = (n: number, more = '') => `/announce?${query(n, { infoHash: hash(50) })}${more}`
const bare = `/announce?info_hash=${'%33'.repeat(20)}&peer_id=${'a'.repeat(20)}&port=7001`
const scrape = (count: number) => `/scrape?${scrapeQuery(Array.from({ length: count }, (_, i) => hash(i)))}`
const last = announce(9, '&event=%73topped')

/** Method, target, status, what the answer must show; for all ways alike. */
const CASES: readonly (readonly [string, string, string, number, RegExp])[] = [
  ['a join', 'GET', announce(1), 200, /10:incompletei[1-9]\d*e/],
  ['a leave, percent-encoded', 'GET', last, 200, /5:peers0:/],
  ['an empty left', 'GET', `${bare}&left=`, 200, /8:completei0e.*10:incompletei1e/],
  ['a left that is a word', 'GET', `${bare}&left=all`, 200, /8:completei0e.*10:incompletei1e/],
  ['no left', 'GET', bare, 200, /8:completei0e.*10:incompletei1e/],
  ['port 0', 'GET', announce(0, '&port=0'), 200, /8:intervali/],
  ['a broken port', 'GET', announce(1, '&port=x'), 200, /failure reason.*port must be/],
  ['no query', 'GET', '/announce', 200, /failure reason.*info_hash is missing/],
  ['an empty query', 'GET', '/announce?', 200, /failure reason.*info_hash is missing/],
  ['a short hash', 'GET', '/announce?info_hash=abc', 200, /failure reason.*20 bytes/],
  ['a plus in a hash', 'GET', `/scrape?info_hash=${'+'.repeat(20)}`, 200, /20: {20}d8:complete/],
  ['a scrape', 'GET', scrape(1), 200, /^d5:filesd20:\0{20}d8:complete/],
  ['a scrape of 100 torrents', 'GET', scrape(100), 200, /20:c{20}d8:complete/],
  ['a full scrape that is not offered', 'GET', '/scrape', 200, /failure reason.*full scrape/],
  ['HEAD of an announce', 'HEAD', announce(1), 405, /^$/],
  ['POST of an announce', 'POST', announce(1), 405, /not for this path/],
  ['DELETE of a page', 'DELETE', '/stats', 405, /not for this path/],
  [
    'a tracker request at /',
    'GET',
    `/?info_hash=${'a'.repeat(20)}`,
    200,
    /failure reason.*ends in \/announce/,
  ],
  ['a tracker request beside', 'GET', `/x/announce?${query(1)}`, 200, /failure reason.*ends in \/announce/],
  ['the start page', 'GET', '/', 200, /<h1>Skep/],
  ['the start page with a query', 'GET', '/?utm=1', 200, /<h1>Skep/],
  ['HEAD of the start page', 'HEAD', '/', 200, /^$/],
  ['statistics', 'GET', '/stats', 200, /"role": "leader"/],
  ['metrics', 'GET', '/metrics', 200, /skep_info/],
  ['liveness', 'GET', '/livez', 200, /^ok\n$/],
  ['readiness', 'HEAD', '/readyz', 200, /^$/],
  ['an unknown page', 'GET', '/annouce', 404, /\/announce/],
  ['a target that is too long', 'GET', `/announce?${'a'.repeat(9000)}`, 414, /longer than/],
]
for (const [way, how] of Object.entries(WAYS))
  for (const [name, method, target, status, shows] of CASES)
    test(`${way}: ${name}`, async () => {
      const { status: got, head, body } = await answer(how, method, target)
      assert.equal(got, status, head + body)
      if (got === 414) return
      assert.match(body, shows)
      const length = Number(/Content-Length: (\d+)/.exec(head)![1])
      if (method !== 'HEAD') assert.equal(length, body.length)
      if (got === 405) assert.match(head, /Allow: GET/)
    })

test('a half-closed client gets the answer that its change was waited for', async () => {
  replica.outcome = null
  const waits = answer(WAYS['half-closed']!, 'GET', announce(8))
  while (front.counters().parkedNow === 0) await new Promise((resolve) => setImmediate(resolve))
  replica.outcome = 1
  replica.turn()
  assert.equal((await waits).status, 200)
})

const BROKEN: readonly (readonly [string, string, number])[] = [
  ['text', 'nonsense\r\n\r\n', 400],
  ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01', 400],
  ['a bare line feed', 'GET /livez HTTP/1.1\nHost: t\n\n', 400],
  ['a bare line feed among headers', 'GET /livez HTTP/1.1\r\nHost: t\nA: b\r\n\r\n', 400],
  ['a folded header', 'GET /livez HTTP/1.1\r\nHost: t\r\nA: b\r\n c\r\n\r\n', 400],
  ['a space before a colon', 'GET /livez HTTP/1.1\r\nHost: t\r\nContent-Length : 5\r\n\r\n', 400],
  ['two lengths', 'GET /livez HTTP/1.1\r\nHost: t\r\nContent-Length: 0, 5\r\n\r\n', 400],
  ['no Host', 'GET /livez HTTP/1.1\r\n\r\n', 400],
  ['two Hosts', 'GET /livez HTTP/1.1\r\nHost: t\r\nHost: u\r\n\r\n', 400],
  ['a target that is no path', 'GET livez HTTP/1.1\r\nHost: t\r\n\r\n', 400],
  ['what begins like HTTP/2 and is none', 'PRI * HTTP/2.0\r\nHost: t\r\n\r\nSM\r\n\r\n', 505],
  ['headers that are too long', `GET /livez HTTP/1.1\r\nHost: t\r\nA: ${'a'.repeat(17_000)}\r\n\r\n`, 431],
  ['a head without end', `GET /livez HTTP/1.1\r\nHost: t\r\nA: ${'a'.repeat(17_000)}`, 431],
  ['half a request', 'GET /livez HTTP/1.1\r\nHos', 400],
]
for (const [name, text, status] of BROKEN)
  test(`refused, and the connection ends: ${name}`, async () => {
    const way: Way = { request: () => text, halfClosed: name === 'half a request' }
    const { status: got, head } = await answer(way, '', '')
    assert.equal(got, status)
    assert.match(head, /Connection: close/)
  })

test('a body is not read as the next request', async () => {
  const inner = `GET ${announce(1)} HTTP/1.1\r\nHost: t\r\n\r\n`
  const before = front.counters().announces
  for (const length of [`Content-Length: ${inner.length}`, 'Transfer-Encoding: chunked']) {
    const way: Way = { request: () => `GET /livez HTTP/1.1\r\nHost: t\r\n${length}\r\n\r\n${inner}` }
    const { status, head } = await answer(way, '', '')
    assert.equal(status, 200)
    assert.match(head, /Connection: close/)
  }
  assert.equal(front.counters().announces, before)
})
