// A front end over a local replica, and clients for it, as the tests of this folder use them.
// Refuses: to wait by time.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { connect, type Socket } from 'node:net'
import { after, type TestContext } from 'node:test'
import {
  type AnnounceReply,
  announceQuery,
  decodeAnnounceReply,
  decodeScrapeReply,
  type FailureReply,
  type ScrapeReply,
  scrapeQuery,
} from '@skep/wire/http-tracker.ts'
import { APPLIED } from '../threads/outcome.ts'
import { LocalReplica, type LocalReplicaOptions } from './local.case.ts'
import { type HttpFrontEnd, type HttpOptions, startHttp } from './server.ts'

export type Setup = { readonly replica: LocalReplica; readonly front: HttpFrontEnd; readonly port: number }

export async function setUp(
  t: TestContext | null,
  http: Partial<HttpOptions> = {},
  local: LocalReplicaOptions = {},
): Promise<Setup> {
  const replica = new LocalReplica(local)
  const front = await startHttp({
    hosts: ['127.0.0.1'],
    port: 0,
    store: replica.buffers,
    control: replica.controlBuffer,
    producer: replica.producer,
    parkForMs: 30_000,
    maxWaiting: 100,
    maxConnections: 100,
    minIntervalSeconds: 60,
    fullScrape: false,
    trustedProxies: [],
    version: '9.9.9',
    udpPort: 6969,
    stats: () => ({ role: 'leader' }),
    metricsText: async () => 'skep_info 1\n',
    ready: () => ({ ok: true, reason: '' }),
    live: () => ({ ok: true, reason: '' }),
    ...http,
  })
  const end = async () => {
    replica.outcome = APPLIED
    replica.control.wakeReplica()
    await front.stop()
    await replica.stop()
  }
  if (t === null) after(end)
  else t.after(end)
  return { replica, front, port: front.port }
}

export type Answer = {
  readonly status: number
  readonly headers: NodeJS.Dict<string | string[]>
  readonly body: Buffer
}

export function get(
  port: number,
  path: string,
  options: { host?: string; method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { host = '127.0.0.1', method = 'GET', headers = {}, body } = options
    const request = httpRequest({ host, port, path, method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () =>
        resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(chunks) }),
      )
    })
    request.on('error', reject)
    request.end(body)
  })
}

export const hash = (n: number) => new Uint8Array(20).fill(n)
export type Wish = Partial<Parameters<typeof announceQuery>[0]>
export const query = (n: number, wish: Wish = {}) =>
  announceQuery({
    infoHash: hash(1),
    peerId: hash(64 + n),
    port: 7000 + n,
    uploaded: 0,
    downloaded: 0,
    left: 5,
    ...wish,
  })

export async function announce(
  { port }: { port: number },
  n: number,
  wish: Wish = {},
  options: Parameters<typeof get>[2] = {},
): Promise<AnnounceReply> {
  const { status, body } = await get(port, `/announce?${query(n, wish)}`, options)
  assert.equal(status, 200)
  const reply = decodeAnnounceReply(body)
  assert(reply.kind === 'announce', JSON.stringify(reply))
  return reply
}

export async function failure(
  port: number,
  path: string,
  options: Parameters<typeof get>[2] = {},
  status = 200,
): Promise<FailureReply> {
  const answer = await get(port, path, options)
  assert.equal(answer.status, status)
  const reply = decodeAnnounceReply(answer.body)
  assert(reply.kind === 'failure', JSON.stringify(reply))
  return reply
}

export async function scrape(port: number, ...hashes: Uint8Array[]): Promise<ScrapeReply> {
  const reply = decodeScrapeReply((await get(port, `/scrape?${scrapeQuery(hashes)}`)).body)
  assert(reply.kind === 'scrape', JSON.stringify(reply))
  return reply
}

/** Waits until `seen` is true, looking again at each turn of the event loop. */
export async function until(seen: () => boolean): Promise<void> {
  while (!seen()) await new Promise((resolve) => setImmediate(resolve))
}

export const ports = (reply: AnnounceReply) => reply.peers.map((peer) => peer.port).sort()

/** Sends `text` and collects what comes until the other side closes or `count` responses are there. */
export async function raw(
  port: number,
  text: string | readonly string[],
  count = Number.POSITIVE_INFINITY,
): Promise<string> {
  const socket: Socket = connect(port, '127.0.0.1')
  let got = ''
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    got += chunk.toString('latin1')
    if (got.split('HTTP/1.1 ').length > count) socket.end()
  })
  await once(socket, 'connect')
  const closed = new Promise((resolve) => socket.once('close', resolve))
  for (const piece of typeof text === 'string' ? [text] : text) {
    socket.write(piece)
    await new Promise((resolve) => setImmediate(resolve))
  }
  await closed
  return got
}

export const line = (path: string, rest = '') => `GET ${path} HTTP/1.1\r\nHost: t\r\n${rest}\r\n`
export const statuses = (text: string) =>
  [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => Number(match[1]))
