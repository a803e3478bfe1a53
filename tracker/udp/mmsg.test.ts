// The cases of every UDP socket over batched system calls, and what only those have.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { socketCases } from './socket.case.ts'
import { nativeUdp } from './start.ts'

const skip = (await nativeUdp()) ? false : 'batched system calls are not to be had here'

if (skip === false) socketCases('mmsg', { useDgram: false, answersFromAsked: true })

test('an address of another machine is refused by name', { skip }, async () => {
  const { openUdp } = await import('./mmsg.ts')
  const options = {
    port: 0,
    reusePort: false,
    receiveBufferBytes: 65536,
    sendBufferBytes: 65536,
    batch: 4,
    answerBytes: 1200,
  }
  assert.throws(() => openUdp({ ...options, host: '192.0.2.1' }), {
    code: 'EADDRNOTAVAIL',
    message: /192\.0\.2\.1/,
  })
  assert.throws(() => openUdp({ ...options, host: 'localhost' }), { code: 'EINVAL' })
})

test('a full receive buffer is counted, and an answer that cannot leave does not stop those behind it', {
  skip,
}, async () => {
  const { openUdp } = await import('./mmsg.ts')
  const { AF_INET } = await import('./slots.ts')
  const options = {
    host: '127.0.0.1',
    port: 0,
    reusePort: false,
    receiveBufferBytes: 4096,
    sendBufferBytes: 65536,
    batch: 16,
    answerBytes: 1200,
  }
  const server = openUdp(options)
  const sender = openUdp({ ...options, receiveBufferBytes: 65536 })
  assert.ok(server.receiveBufferBytes >= 1024)
  const fill = (o: number, address: number, port: number) => {
    const { outbox } = sender
    outbox.to[o * 8] = AF_INET | (((port >>> 8) | ((port & 0xff) << 8)) << 16)
    outbox.to[o * 8 + 1] = address
    outbox.words[o * outbox.strideWords] = o
    outbox.lengths[o * 4 + 2] = 1000
  }
  const loopback = 0x0100007f
  fill(0, loopback, server.port)
  fill(1, 0, 0) // port 0: the kernel refuses this one
  fill(2, loopback, server.port)
  sender.outbox.count = 3
  assert.equal(sender.send(), 2)
  assert.equal(sender.sendErrors, 1)
  assert.equal(server.receive(), 2)
  assert.equal(server.inbox.words[server.inbox.strideWords], 2)
  assert.equal(server.inbox.lengths[14], 1000)
  assert.equal(server.receive(), 0)
  for (let o = 0; o < 16; o++) fill(o, loopback, server.port)
  sender.outbox.count = 16
  assert.equal(sender.send(), 16)
  const got = server.receive()
  assert.ok(got < 16 && server.drops() === 16 - got, `${got} came, ${server.drops()} dropped`)
  server.close()
  sender.close()
})
