// One announce by UDP (BEP 15) or HTTP (BEP 3), as a client sends it: asked again when nothing comes.
// Refuses: keeping anything but the connection ID of its socket.

import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import { announceQuery, decodeAnnounceReply, REPLY_LIMITS } from '@skep/wire/http-tracker.ts'
import {
  type Answer,
  decodeAnswer,
  EVENT_STARTED,
  EVENT_STOPPED,
  encodeRequest,
  type Request,
} from '@skep/wire/udp-tracker.ts'

export type Announce = {
  /** 20 bytes. */
  readonly infoHash: Uint8Array
  /** 20 bytes. */
  readonly peerId: Uint8Array
  readonly port: number
  readonly event: 'started' | 'stopped'
}
export type Answered =
  | {
      kind: 'told'
      intervalSeconds: number
      seeders: number
      leechers: number
      /** Ports of the peers in the answer. */
      ports: readonly number[]
    }
  | { kind: 'silent' | 'refused'; reason: string }

export type UdpAsker = {
  ask(announce: Announce, patienceMs: number): Promise<Answered>
  close(): void
}

/** BEP 15 waits 15 s before it asks again; who looks whether a tracker answers does not want to. */
const AGAIN_MS = 1000
/** Nothing waits there, now: whoever expects a tracker to come up asks again. */
const CLOSED = 'the port is closed: nothing listens there'
/** A connection ID is good for a minute (BEP 15). */
const ID_LIFE_MS = 45_000
const NUMWANT = 50

/** Opens a socket for one tracker. Throws if the name is not known. */
export async function openUdp(host: string, port: number): Promise<UdpAsker> {
  const { address, family } = await lookup(host)
  const socket = createSocket(family === 6 ? 'udp6' : 'udp4')
  let heard: (answer: Answer) => void = () => {}
  socket.on('message', (bytes) => {
    const answer = decodeAnswer(bytes, family === 6 ? 6 : 4)
    if (answer.kind !== 'refused') heard(answer)
  })
  // A socket that is bound to its tracker hears that nobody listens there.
  socket.connect(port, address)
  await once(socket, 'connect')
  let closed = ''
  let failed = (): void => {}
  socket.on('error', ({ code, message }: NodeJS.ErrnoException) => {
    closed = code === 'ECONNREFUSED' ? CLOSED : message
    failed()
  })
  let connection: { id: bigint; at: number } | undefined

  const exchange = (request: Request, end: number): Promise<Answer | undefined> =>
    new Promise((resolve) => {
      const send = (): void => socket.send(encodeRequest(request))
      const again = setInterval(send, AGAIN_MS)
      const finish = (answer?: Answer): void => {
        clearInterval(again)
        clearTimeout(late)
        resolve(answer)
      }
      const late = setTimeout(finish, Math.max(1, end - performance.now()))
      heard = (answer) => {
        if (answer.transactionId >>> 0 === request.transactionId) finish(answer)
      }
      failed = () => finish()
      send()
    })

  async function ask(announce: Announce, patienceMs: number): Promise<Answered> {
    const end = performance.now() + patienceMs
    const silent = (): Answered =>
      closed !== ''
        ? { kind: 'refused', reason: closed }
        : { kind: 'silent', reason: `no answer in ${Math.round(patienceMs / 100) / 10} s` }
    closed = ''
    if (connection === undefined || performance.now() - connection.at > ID_LIFE_MS) {
      const answer = await exchange({ kind: 'connect', transactionId: randomInt(2 ** 32) }, end)
      if (answer?.kind !== 'connect') return silent()
      connection = { id: answer.connectionId, at: performance.now() }
    }
    const answer = await exchange(request(announce, connection.id), end)
    if (answer === undefined) return silent()
    if (answer.kind === 'error') return { kind: 'refused', reason: `refused: ${answer.message}` }
    if (answer.kind !== 'announce')
      return { kind: 'refused', reason: `answers an announce with a ${answer.kind}` }
    const { intervalSeconds, seeders, leechers, peers } = answer
    return { kind: 'told', intervalSeconds, seeders, leechers, ports: peers.map((p) => p.port) }
  }
  return { ask, close: () => socket.close() }
}

function request({ infoHash, peerId, port, event }: Announce, connectionId: bigint): Request {
  return {
    kind: 'announce',
    connectionId,
    transactionId: randomInt(2 ** 32),
    infoHash,
    peerId,
    downloaded: 0n,
    left: 1n,
    uploaded: 0n,
    event: event === 'started' ? EVENT_STARTED : EVENT_STOPPED,
    ip: 0,
    key: 0,
    numWant: NUMWANT,
    port,
    urlData: new Uint8Array(0),
  }
}

/** One announce over HTTP; asked again on 5xx and lost connections until the patience is at its end. */
export async function askHttp(url: string, announce: Announce, patienceMs: number): Promise<Answered> {
  const { infoHash, peerId, port, event } = announce
  const query = announceQuery({
    infoHash,
    peerId,
    port,
    uploaded: 0,
    downloaded: 0,
    left: 1,
    event,
    numwant: NUMWANT,
  })
  const full = `${url}${url.includes('?') ? '&' : '?'}${query}`
  const end = performance.now() + patienceMs
  for (;;) {
    const reason = await askOnce(full, Math.max(1, end - performance.now()))
    if (typeof reason !== 'string') return reason
    if (performance.now() + AGAIN_MS >= end) return { kind: 'silent', reason }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS))
  }
}

/** An answer, or why there was none this time. */
async function askOnce(url: string, patienceMs: number): Promise<Answered | string> {
  try {
    const response = await fetch(url, {
      signal: AbortSignal.timeout(Math.ceil(patienceMs)),
      redirect: 'error',
    })
    const body = new Uint8Array(await response.arrayBuffer())
    if (response.status >= 500) return `HTTP status ${response.status}`
    if (body.length > REPLY_LIMITS.bytes) return { kind: 'refused', reason: 'the answer is too long' }
    const reply = decodeAnnounceReply(body)
    if (reply.kind === 'malformed')
      return {
        kind: 'refused',
        reason: `HTTP status ${response.status}, and no tracker's answer: ${reply.reason}`,
      }
    if (reply.kind === 'failure') return { kind: 'refused', reason: `refused: ${reply.reason}` }
    return {
      kind: 'told',
      intervalSeconds: reply.intervalSeconds,
      seeders: reply.complete ?? 0,
      leechers: reply.incomplete ?? 0,
      ports: reply.peers.map((p) => p.port),
    }
  } catch (error) {
    const cause = (error as Error).cause
    if ((cause as NodeJS.ErrnoException | undefined)?.code === 'ECONNREFUSED')
      return { kind: 'refused', reason: CLOSED }
    return cause instanceof Error ? cause.message : (error as Error).message
  }
}
