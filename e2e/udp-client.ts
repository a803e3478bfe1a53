// A BEP 15 client for tests over node:dgram: many requests at once, each answered or given up after a while.
// Refuses: speed (load/ has that) and retransmission; a request that gets nothing is undefined.

import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { type Answer, decodeAnswer, encodeRequest, type Request } from '@skep/wire/udp-tracker.ts'

/** Connection IDs are good for a minute (BEP 15); ours are renewed well before. */
const ID_LIFE_MS = 45_000
/** Requests that wait for an answer. */
const WAITING_MOST = 4096
const BUFFER_BYTES = 4 << 20

type Waiting = { done: (answer: Answer | undefined) => void; timer: NodeJS.Timeout }

export type UdpClient = {
  /** Answer, or undefined after `timeoutMs` (also while there is no connection ID to be had). */
  ask(
    make: (connectionId: bigint, transactionId: number) => Request,
    timeoutMs: number,
  ): Promise<Answer | undefined>
  waiting(): number
  /** All answers that had come by now have been looked at. */
  drained(): Promise<void>
  /** The tracker was restarted, or should be asked for a new ID. */
  forgetId(): void
  close(): void
}

export async function openUdpClient(source: string, address: string, port: number): Promise<UdpClient> {
  const family = address.includes(':') ? 6 : 4
  const socket: Socket = createSocket(family === 6 ? 'udp6' : 'udp4')
  socket.bind(0, source)
  await once(socket, 'listening')
  socket.setRecvBufferSize(BUFFER_BYTES)
  // Not connected: a connected socket reports a tracker that is down as an error of ours.
  socket.on('error', () => {})
  const waiting = new Map<number, Waiting>()
  let transaction = Math.floor(Math.random() * 2 ** 31)
  let id: { value: bigint; at: number } | undefined
  let renewing: Promise<void> | undefined
  const own = socket.address().port
  let marks: (() => void)[] = []
  socket.on('message', (message, from) => {
    if (from.port === own && from.address === source) {
      for (const passed of marks) passed()
      marks = []
      return
    }
    const answer = decodeAnswer(message, family)
    if (answer.kind === 'refused') return
    const entry = waiting.get(answer.transactionId >>> 0)
    if (entry === undefined) return
    waiting.delete(answer.transactionId >>> 0)
    clearTimeout(entry.timer)
    entry.done(answer)
  })
  const send = (request: Request, timeoutMs: number): Promise<Answer | undefined> =>
    new Promise((done) => {
      const key = request.transactionId >>> 0
      const timer = setTimeout(() => {
        waiting.delete(key)
        done(undefined)
      }, timeoutMs)
      waiting.set(key, { done, timer })
      socket.send(encodeRequest(request), port, address)
    })
  const next = (): number => (transaction = (transaction + 1) & 0x7fffffff)
  const renew = async (timeoutMs: number): Promise<void> => {
    const answer = await send({ kind: 'connect', transactionId: next() }, timeoutMs)
    if (answer?.kind === 'connect') id = { value: answer.connectionId, at: performance.now() }
  }
  return {
    async ask(make, timeoutMs) {
      if (waiting.size >= WAITING_MOST) return undefined
      if (id === undefined || performance.now() - id.at > ID_LIFE_MS) {
        renewing ??= renew(timeoutMs).finally(() => {
          renewing = undefined
        })
        await renewing
      }
      return id === undefined ? undefined : send(make(id.value, next()), timeoutMs)
    },
    waiting: () => waiting.size,
    // A datagram of ours comes out of the socket behind all that lay in it.
    drained: () =>
      new Promise((done) => {
        marks.push(done)
        socket.send(new Uint8Array(0), own, source)
      }),
    forgetId: () => {
      id = undefined
    },
    close: () => socket.close(),
  }
}
