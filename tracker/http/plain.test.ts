// Which requests need no general parser, and which must never pass for such.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PlainRequest } from './plain.ts'
import { MAX_TARGET_BYTES } from './query.ts'
import { ANNOUNCE, SCRAPE } from './tracker.ts'

const plain = new PlainRequest()
const GET = 'GET /announce?a=b HTTP/1.1\r\nHost: t\r\n'

test('an announce and a scrape, sent together, are read one after the other', () => {
  const text = `${GET}User-Agent: Transmission/4.0\r\nAccept-Encoding: gzip\r\n\r\nGET /scrape?c HTTP/1.1\r\nhost: t\r\nConnection: Close\r\n\r\n`
  assert(plain.read(text, 0))
  assert.deepEqual(
    [plain.kind, text.slice(plain.queryFrom, plain.queryEnd), plain.close],
    [ANNOUNCE, 'a=b', false],
  )
  assert(plain.read(text, plain.next))
  assert.deepEqual(
    [plain.kind, text.slice(plain.queryFrom, plain.queryEnd), plain.close],
    [SCRAPE, 'c', true],
  )
  assert.equal(plain.next, text.length)
})

test('several X-Forwarded-For are one list, and the next request begins without it', () => {
  assert(plain.read(`${GET}X-Forwarded-For: 1.1.1.1\r\nx-forwarded-FOR:  2.2.2.2 \r\n\r\n`, 0))
  assert.equal(plain.forwardedFor, '1.1.1.1,2.2.2.2')
  assert(plain.read(`${GET}\r\n`, 0))
  assert.equal(plain.forwardedFor, '')
})

const CALL = '/skep.tracker.v1.Tracker/Announce HTTP/1.1\r\nHost: t\r\n'
const JSON_CALL = `POST ${CALL}Content-Type: application/json\r\n`
test('typed calls in JSON, sent together, are read one after the other', () => {
  const text = `${JSON_CALL}Content-Length: 2\r\n\r\n{}${JSON_CALL.replace('Announce', 'Scrape')}content-length: 0\r\n\r\n`
  assert(plain.readCall(text, 0))
  assert.deepEqual([plain.kind, text.slice(plain.queryFrom, plain.queryEnd)], [ANNOUNCE, '{}'])
  assert(plain.readCall(text, plain.next))
  assert.deepEqual([plain.kind, plain.queryFrom, plain.queryEnd], [SCRAPE, text.length, text.length])
})

const otherCalls: readonly (readonly [string, string])[] = [
  ['half a body', `${JSON_CALL}Content-Length: 2\r\n\r\n{`],
  ['no length', `${JSON_CALL}\r\n`],
  ['two lengths', `${JSON_CALL}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}`],
  ['a length that is none', `${JSON_CALL}Content-Length: 0x2\r\n\r\n{}`],
  ['a body that is too long', `${JSON_CALL}Content-Length: 16385\r\n\r\n${'{'.repeat(16_385)}`],
  ['a body in chunks', `${JSON_CALL}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}`],
  ['an expectation', `${JSON_CALL}Content-Length: 2\r\nExpect: 100-continue\r\n\r\n{}`],
  ['a deadline', `${JSON_CALL}Content-Length: 2\r\nConnect-Timeout-Ms: 50\r\n\r\n{}`],
  ['a compressed body', `${JSON_CALL}Content-Length: 2\r\nContent-Encoding: gzip\r\n\r\n{}`],
  ['another type', `POST ${CALL}Content-Type: application/proto\r\nContent-Length: 2\r\n\r\n{}`],
  ['no type', `POST ${CALL}Content-Length: 2\r\n\r\n{}`],
  ['two types', `${JSON_CALL}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`],
  ['a header with a zero byte', `${JSON_CALL}Content-Length: 2\r\nA: \0\r\n\r\n{}`],
  ['another method', `GET ${CALL}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`],
  ['a query', JSON_CALL.replace(' HTTP', '?a HTTP')],
]
for (const [name, text] of otherCalls)
  test(`a call that is left to the general parser: ${name}`, () => {
    assert.equal(plain.readCall(text, 0), false)
  })

test('an announce behind a call has no body', () => {
  assert(plain.readCall(`${JSON_CALL}Content-Length: 2\r\n\r\n{}`, 0))
  assert.equal(plain.read(`${GET}Content-Length: 2\r\n\r\n{}`, 0), false)
})

const others: readonly (readonly [string, string])[] = [
  ['half a request', GET],
  ['half a line end', `${GET}\r`],
  ['another path', 'GET /announcement?a HTTP/1.1\r\nHost: t\r\n\r\n'],
  ['no query', 'GET /announce HTTP/1.1\r\nHost: t\r\n\r\n'],
  ['another method', 'POST /announce?a HTTP/1.1\r\nHost: t\r\n\r\n'],
  ['HTTP/1.0', 'GET /announce?a HTTP/1.0\r\nHost: t\r\n\r\n'],
  ['no Host', 'GET /announce?a HTTP/1.1\r\n\r\n'],
  ['two Hosts', `${GET}Host: u\r\n\r\n`],
  ['a body by length', `${GET}Content-Length: 5\r\n\r\nhello`],
  ['a body in chunks', `${GET}transfer-encoding: chunked\r\n\r\n0\r\n\r\n`],
  ['an upgrade', `${GET}Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n`],
  ['an expectation', `${GET}Expect: 100-continue\r\n\r\n`],
  ['a folded header', `${GET}A: b\r\n c\r\n\r\n`],
  ['a space before the colon', `${GET}Content-Length : 5\r\n\r\n`],
  ['a line feed alone as line end', `${GET}A: b\nTransfer-Encoding: chunked\r\n\r\n`],
  ['a carriage return alone as line end', `${GET}A: b\rTransfer-Encoding: chunked\r\n\r\n`],
  ['a line feed in the target', 'GET /announce?a\nb HTTP/1.1\r\nHost: t\r\n\r\n'],
  ['a header without colon', `${GET}nonsense\r\n\r\n`],
  ['a header without name', `${GET}: b\r\n\r\n`],
  ['a target that is too long', `GET /announce?${'a'.repeat(MAX_TARGET_BYTES)} HTTP/1.1\r\nHost: t\r\n\r\n`],
  ['headers that are too long', `${GET}A: ${'a'.repeat(17_000)}\r\n\r\n`],
]
for (const [name, text] of others)
  test(`left to the general parser: ${name}`, () => {
    assert.equal(plain.read(text, 0), false)
  })
