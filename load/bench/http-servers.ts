// The servers that HTTP is measured at, and who asks them: ours, node:http with a constant body, kept
// connections with one request each at a time. Refuses: targets that are not local; to judge answers.

import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort, type Server, startServer } from './servers.ts'

export const CONNECTIONS = 32

export type Target = {
  readonly name: string
  readonly port: number
  readonly pid: number
  readonly server: Server | null
}
/** A small seeded generator (mulberry32), so that every run asks the same. */
export function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

export type Tally = { requests: number; peers: number; bytes: number; wrong: string[] }
export type Check = (head: string, body: Uint8Array, tally: Tally) => void

/**
 * Sends `requests` from `next()` on over kept connections, one at a time each; checks every answer when
 * asked.
 */
export function drive(port: number, next: () => string | null, check: Check | null): Promise<Tally> {
  const tally: Tally = { requests: 0, peers: 0, bytes: 0, wrong: [] }
  const client = () =>
    new Promise<void>((done) => {
      const socket: Socket = connect(port, '127.0.0.1')
      let got = Buffer.alloc(0)
      const send = () => {
        const request = next()
        if (request === null) socket.end()
        else socket.write(request, 'latin1')
      }
      socket.setNoDelay(true)
      socket.on('connect', send)
      socket.on('error', (error) => tally.wrong.push(error.message))
      socket.on('close', () => done())
      socket.on('data', (chunk: Buffer<ArrayBuffer>) => {
        got = got.length === 0 ? chunk : Buffer.concat([got, chunk])
        const end = got.indexOf('\r\n\r\n')
        if (end < 0) return
        const head = got.toString('latin1', 0, end)
        const length = Number(/content-length: *(\d+)/i.exec(head)?.[1])
        if (got.length < end + 4 + length) return
        tally.requests++
        tally.bytes += length
        if (check !== null) check(head, got.subarray(end + 4, end + 4 + length), tally)
        got = got.subarray(end + 4 + length)
        send()
      })
    })
  return Promise.all(Array.from({ length: CONNECTIONS }, client)).then(() => tally)
}

/** Walks through all requests in a scattered order, for `seconds`. */
export function scattered<T>(requests: readonly T[], seconds: number): () => T | null {
  const until = performance.now() + seconds * 1000
  let n = 0
  return () => (performance.now() > until ? null : requests[(n++ * 7919) % requests.length]!)
}

export const median = (numbers: readonly number[]): number =>
  [...numbers].sort((a, b) => a - b)[numbers.length >> 1]!

/** The floor for anything on node:http: one fixed body, as long as an average answer. */
export const constantServer = (bytes: number): string => `
const body = Buffer.alloc(${bytes}, 97)
require('node:http').createServer((request, response) => {
  response.writeHead(200, { 'Content-Length': ${bytes} })
  response.end(body)
}).listen(Number(process.argv[1]), '127.0.0.1')`

async function reachable(port: number, server: Server): Promise<void> {
  const answers = () =>
    new Promise<boolean>((done) => {
      const socket = connect(port, '127.0.0.1')
      let got = ''
      socket.on('connect', () => socket.write('GET /readyz HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n'))
      socket.on('data', (chunk: Buffer<ArrayBuffer>) => {
        got += chunk.toString('latin1')
      })
      socket.on('error', () => {})
      socket.on('close', () => done(got.startsWith('HTTP/1.1 200 ')))
    })
  let ended = ''
  server.ended.then((reason) => {
    ended = reason
  })
  for (let tries = 0; tries < 300; tries++) {
    if (ended !== '') throw new Error(ended)
    if (await answers()) return
    await new Promise((done) => setTimeout(done, 100))
  }
  throw new Error('not ready after 30 s')
}

export async function start(
  name: string,
  folder: string,
  core: string | undefined,
  command: (port: number) => string[],
  ready: (port: number, server: Server) => Promise<void> = reachable,
): Promise<Target> {
  const port = await freePort()
  const environment = Object.fromEntries(
    Object.entries(process.env).filter(([key]) => !key.startsWith('SKEP_')),
  )
  const server = startServer(command(port), {
    cores: core,
    log: join(folder, `${name}.log`),
    cwd: folder,
    env: environment,
  })
  await ready(port, server)
  return { name, port, pid: server.pid, server }
}

const skep = fileURLToPath(new URL('../../skep.ts', import.meta.url))

export async function ours(
  folder: string,
  core: string | undefined,
  url: string | undefined,
  pid: string | undefined,
): Promise<Target> {
  if (url !== undefined) {
    const { hostname, port } = new URL(url)
    if (hostname !== '127.0.0.1' && hostname !== 'localhost')
      throw new Error('only local trackers are measured')
    return { name: 'tracker', port: Number(port || 80), pid: Number(pid ?? 0), server: null }
  }
  const udpPort = await freePort()
  return start('skep', folder, core, (port) => [
    process.execPath,
    ...[skep, 'tracker', '--host', '127.0.0.1', '--http-port', String(port), '--udp-port', String(udpPort)],
    ...[
      '--control-port',
      '0',
      '--replica-port',
      '0',
      '--data-dir',
      join(folder, 'data'),
      '--log-level',
      'warn',
    ],
  ])
}
