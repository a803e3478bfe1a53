// The two readers of a request agree wherever both read it, and neither ever throws.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { endOfHead, readHead } from './head.ts'
import { PlainRequest } from './plain.ts'
import { ANNOUNCE } from './tracker.ts'

const pieces = [
  ...[
    'GET ',
    'HEAD ',
    'get ',
    '/announce?a=b',
    '/scrape?',
    '/announce',
    '/',
    'http://h/announce?c',
    '%61',
    'x',
  ],
  ...[' HTTP/1.1\r\n', ' HTTP/1.0\r\n', '\r\n', '\r\n\r\n', '\n', '\r', ' ', ':', '\t', '\0', '\xff'],
  ...[
    'Host: t\r\n',
    'host:u\r\n',
    'Connection: close\r\n',
    'Connection: keep-alive\r\n',
    'Connection: a, Close\r\n',
  ],
  ...[
    'X-Forwarded-For: 1.2.3.4\r\n',
    'x-forwarded-for:5.6.7.8 \r\n',
    'Content-Length: 0\r\n',
    'Content-Length: 4\r\n',
  ],
  ...[
    'Transfer-Encoding: chunked\r\n',
    'Expect: 100-continue\r\n',
    'Upgrade: h2c\r\n',
    'A.b!: c\r\n',
    'A: b\r\n',
  ],
]
const GOOD = ['GET /announce?a=b HTTP/1.1\r\nHost: t\r\n', 'GET /scrape?c=%61 HTTP/1.1\r\nHost: t\r\n']

test('what the plain reader takes, the general one reads alike', () => {
  const plain = new PlainRequest()
  let both = 0
  fc.assert(
    fc.property(
      fc.constantFrom('', ...GOOD),
      fc.array(fc.constantFrom(...pieces), { maxLength: 8 }),
      (begin, rest) => {
        const text = `${begin}${rest.join('')}\r\n`
        const taken = plain.read(text, 0)
        const end = endOfHead(text, 0)
        const head = end > 0 ? readHead(text, 0, end) : null
        if (!taken) return
        both++
        assert(head !== null && head.fault === 0, JSON.stringify([text, head]))
        assert.deepEqual(
          [head.method, head.path, head.query, head.close, head.forwardedFor, end, head.keepAlive],
          [
            ...['GET', plain.kind === ANNOUNCE ? '/announce' : '/scrape'],
            ...[
              text.slice(plain.queryFrom, plain.queryEnd),
              plain.close,
              plain.forwardedFor,
              plain.next,
              false,
            ],
          ],
        )
      },
    ),
    { numRuns: 5000 },
  )
  assert(both > 500, `${both} were read by both`)
})

test('random bytes are no request, and no accident', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const text = `${Buffer.from(bytes).toString('latin1')}\r\n\r\n`
      const end = endOfHead(text, 0)
      if (end > 0) readHead(text, 0, end)
    }),
    { numRuns: 2000 },
  )
})
