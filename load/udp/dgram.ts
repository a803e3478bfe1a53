// The load's sockets over node:dgram, where mmsg.ts is not to be had. Slower: the generator may then be the
// limit, and says so in its report. Refuses: to wait; answers arrive only when the event loop turns.

import { createSocket, type Socket } from 'node:dgram'
import type { LoadSockets, SocketOptions } from './sockets.ts'
import { RECEIVE_MOST, SEGMENT_BYTES, SEGMENTS_MOST, SLOT_BYTES, SLOTS_MOST } from './sockets.ts'

/** Answers that wait to be read, a socket; more are dropped, as a kernel would. */
const WAITING_MOST = 8192

const BUFFER_BYTES = 4 << 20

async function openOne(options: SocketOptions, source: string, waiting: Buffer[]): Promise<Socket> {
  const { target } = options
  const socket = createSocket({ type: target.family === 4 ? 'udp4' : 'udp6' })
  await new Promise<void>((done, fail) => {
    socket.once('error', fail)
    socket.bind({ port: 0, address: source }, () => socket.connect(target.port, target.address, () => done()))
  })
  socket.removeAllListeners('error')
  socket.on('error', () => {})
  socket.on('message', (message) => {
    if (waiting.length < WAITING_MOST) waiting.push(message)
  })
  try {
    socket.setRecvBufferSize(BUFFER_BYTES)
  } catch {}
  return socket
}

export async function openDgram(options: SocketOptions): Promise<LoadSockets> {
  const waiting: Buffer[][] = options.sources.map(() => [])
  const sockets = await Promise.all(options.sources.map((source, k) => openOne(options, source, waiting[k]!)))
  const segments = new Uint8Array(SEGMENTS_MOST * SEGMENT_BYTES)
  const slots = new Uint8Array(SLOTS_MOST * SLOT_BYTES)
  const inBytes = new Uint8Array(RECEIVE_MOST * options.answerBytes)
  const inLengths = new Int32Array(RECEIVE_MOST)
  let refused = 0
  const send = (k: number, bytes: Uint8Array): void =>
    sockets[k]!.send(bytes, (error) => {
      if (error !== null) refused++
    })
  return {
    engine: 'dgram',
    count: sockets.length,
    segments,
    segmentsMost: SEGMENTS_MOST,
    sendSegments(k, count, size) {
      for (let i = 0; i < count; i++) send(k, segments.slice(i * size, (i + 1) * size))
      return count
    },
    slots,
    slotBytes: SLOT_BYTES,
    slotsMost: SLOTS_MOST,
    sendSlots(k, count, lengths) {
      for (let i = 0; i < count; i++) send(k, slots.slice(i * SLOT_BYTES, i * SLOT_BYTES + lengths[i]!))
      return count
    },
    receive(k) {
      const taken = waiting[k]!.splice(0, RECEIVE_MOST)
      for (const [i, message] of taken.entries()) {
        inBytes.set(message.subarray(0, options.answerBytes), i * options.answerBytes)
        inLengths[i] = message.length
      }
      return taken.length
    },
    inBytes,
    inStride: options.answerBytes,
    inLengths,
    refused: () => refused,
    wait: () => {},
    close: () => {
      for (const socket of sockets) socket.close()
    },
  }
}
