// Streams of the API server end, break off, or are given up: each has to be noticed, or a watch is stuck for
// ever.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { linesOf } from './kube.ts'

/** A response to a request on loopback, and what the server does with it. */
const stream = async (
  t: { after(end: () => void): void },
  signal?: AbortSignal,
): Promise<{ response: IncomingMessage; far: ServerResponse }> => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const asked = once(server, 'request')
  const request = get({
    port: (server.address() as AddressInfo).port,
    host: '127.0.0.1',
    ...(signal === undefined ? {} : { signal }),
  })
  request.on('error', () => {})
  const [, far] = (await asked) as [IncomingMessage, ServerResponse]
  far.writeHead(200)
  far.flushHeaders()
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  return { response, far }
}

test('lines come whole, however the bytes are cut; an end is an end', async (t) => {
  const { response, far } = await stream(t)
  const lines: string[] = []
  const done = linesOf(response, (line) => lines.push(line))
  const bytes = Buffer.from('{"a":1}\n{"name":"größe"}\n\n{"b":2}\n')
  for (const byte of bytes) far.write(Buffer.from([byte]))
  far.end()
  await done
  assert.deepEqual(lines, ['{"a":1}', '{"name":"größe"}', '{"b":2}'])
})

test('a connection that breaks off is an error, not silence', async (t) => {
  const { response, far } = await stream(t)
  const lines: string[] = []
  const done = linesOf(response, (line) => lines.push(line))
  far.write('{"a":1}\n{"half')
  await once(response, 'data')
  far.socket!.destroy()
  await assert.rejects(done, { name: 'ApiError', code: 0 })
  assert.deepEqual(lines, ['{"a":1}'])
})

test('a stream that is given up ends as well', async (t) => {
  const stop = new AbortController()
  const { response } = await stream(t, stop.signal)
  const done = linesOf(response, () => {})
  stop.abort()
  await assert.rejects(done, { name: 'ApiError', code: 0 })
})
