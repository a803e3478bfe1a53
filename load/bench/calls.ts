// `npm run bench:calls`: announces by JSON against node:http with a constant body of the same length, by gRPC
// against a constant unary answer of node:http2, and our own announces by query beside them, in one run: CPU
// of all threads of the server a request, medians of interleaved rounds. Refuses: numbers for wrong answers.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { announceQuery, decodeAnnounceReply } from '@skep/wire/http-tracker.ts'
import {
  CONNECTIONS,
  constantServer,
  drive,
  median,
  ours,
  randomOf,
  scattered,
  start,
  type Tally,
  type Target,
} from './http-servers.ts'
import { cpuMicroseconds } from './process-cost.ts'
import { has, type Server } from './servers.ts'
import { table } from './table.ts'

/** Shares of the constant server's speed that typed announces have to reach. */
const GOALS = { json: 0.6, grpc: 0.4 }
const NUMWANT = 30
const HELP = `npm run bench:calls -- [options]

  --seconds N    length of a round (2)
  --rounds N     rounds of each, interleaved (5)
  --torrents N   torrents in the table (2000)
  --peers N      peers in the table (20000)
  --json         print JSON instead of a table
  --help`

type Said = {
  readonly infoHash: Uint8Array
  readonly peerId: Uint8Array
  readonly port: number
  left: number
}

/** One announce a peer: skewed over the torrents, one in four leeching. */
function saidBy(torrents: number, peers: number): Said[] {
  const random = randomOf(42)
  const hashes = Array.from({ length: torrents }, () => Uint8Array.from({ length: 20 }, () => random() * 256))
  return Array.from({ length: peers }, (_, n) => ({
    infoHash: hashes[Math.floor(random() ** 3 * torrents)]!,
    peerId: new TextEncoder().encode(`-SK0100-${String(n).padStart(12, '0')}`),
    port: 1024 + (n % 60_000),
    left: n % 4 === 0 ? 50 : 0,
  }))
}

const PATH = '/skep.tracker.v1.Tracker/Announce'
const queryOf = (said: Said): string => {
  const query = announceQuery({ ...said, uploaded: 0, downloaded: 0, numwant: NUMWANT })
  return `GET /announce?${query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`
}

function jsonOf({ infoHash, peerId, port, left }: Said): string {
  const [hash, id] = [infoHash, peerId].map((bytes) => Buffer.from(bytes).toString('hex'))
  const body = JSON.stringify({ infoHash: hash, peerId: id, port, leftBytes: String(left), numwant: NUMWANT })
  const head = `POST ${PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n`
  return `${head}Content-Length: ${body.length}\r\n\r\n${body}`
}

/** Fields 1, 2, 3, 4 and 6 of AnnounceRequest, behind five bytes of gRPC. */
function messageOf({ infoHash, peerId, port, left }: Said): Buffer {
  const ids = [10, 20, ...infoHash, 18, 20, ...peerId]
  const numbers = [24, (port & 127) | 128, ((port >> 7) & 127) | 128, port >> 14, 32, left, 48, NUMWANT]
  return Buffer.from([0, 0, 0, 0, ids.length + numbers.length, ...ids, ...numbers])
}

const fewer = (peers: number, counted: number): boolean => peers !== Math.min(NUMWANT, counted - 1)

function checkQuery(_head: string, body: Uint8Array, tally: Tally): void {
  const reply = decodeAnnounceReply(body)
  if (reply.kind !== 'announce') tally.wrong.push(JSON.stringify(reply))
  else if (fewer(reply.peers.length, (reply.complete ?? 0) + (reply.incomplete ?? 0)))
    tally.wrong.push(`${reply.peers.length} peers by query`)
}

function checkJson(head: string, body: Uint8Array, tally: Tally): void {
  const text = Buffer.from(body).toString()
  const { peers, seeders, leechers } = JSON.parse(text)
  if (!head.startsWith('HTTP/1.1 200 ') || fewer(peers.length, seeders + leechers)) tally.wrong.push(text)
}

/** Field 1 of each peer, fields 2 and 3 the counts, all below 128 or two bytes long; the rest is skipped. */
function checkMessage(body: Uint8Array, tally: Tally): void {
  const counts = [0, 0, 0, 0]
  const number = (at: number): [number, number] =>
    body[at]! < 128 ? [body[at]!, at + 1] : [(body[at]! & 127) | (body[at + 1]! << 7), at + 2]
  for (let at = 5; at < body.length; ) {
    const field = body[at]! >> 3
    if (field === 1 || field === 7) {
      counts[1]! += field === 1 ? 1 : 0
      at += 2 + body[at + 1]!
    } else {
      const [value, next] = number(at + 1)
      if (field < 4) counts[field] = value
      at = next
    }
  }
  if (fewer(counts[1]!, counts[2]! + counts[3]!)) tally.wrong.push(`${counts} by gRPC`)
}

/** `CONNECTIONS` streams of one connection at once, each with one call after another. */
async function driveGrpc(
  port: number,
  next: () => Buffer | null,
  check: ((body: Uint8Array, tally: Tally) => void) | null,
): Promise<Tally> {
  const tally: Tally = { requests: 0, peers: 0, bytes: 0, wrong: [] }
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  session.on('error', (error) => tally.wrong.push(error.message))
  const lane = async (): Promise<void> => {
    for (let body = next(); body !== null; body = next()) await oneCall(session, body, tally, check)
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, lane))
  session.close()
  return tally
}

function oneCall(
  session: ClientHttp2Session,
  body: Buffer,
  tally: Tally,
  check: ((body: Uint8Array, tally: Tally) => void) | null,
): Promise<void> {
  return new Promise((done) => {
    const type = { 'content-type': 'application/grpc', te: 'trailers' }
    const stream = session.request({ ':method': 'POST', ':path': PATH, ...type })
    const chunks: Buffer[] = []
    let status: unknown = 'none'
    stream.on('trailers', (trailers) => {
      status = trailers['grpc-status']
    })
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('error', (error) => tally.wrong.push(error.message))
    stream.on('close', () => {
      tally.requests++
      for (const { length } of chunks) tally.bytes += length
      if (status !== '0') tally.wrong.push(`grpc-status ${status}`)
      else check?.(Buffer.concat(chunks), tally)
      done()
    })
    stream.end(body)
  })
}

/** The floor for gRPC on node:http2: one fixed message, and a status in the trailers. */
const constantGrpc = (bytes: number): string => `
const body = Buffer.alloc(${bytes}, 97)
require('node:http2').createServer().on('stream', (stream) => {
  stream.resume()
  stream.on('end', () => {
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
    stream.respond({ ':status': 200, 'content-type': 'application/grpc+proto' }, { waitForTrailers: true })
    stream.end(body)
  })
}).listen(Number(process.argv[1]), '127.0.0.1')`

/** A server that speaks HTTP/2 alone is there when it takes a connection. */
async function listening(port: number, server: Server): Promise<void> {
  for (let tries = 0; server.alive() && tries < 300; tries++) {
    const taken = await new Promise<boolean>((done) => {
      const socket = connect(port, '127.0.0.1', () => done(true)).on('error', () => done(false))
      socket.unref()
    })
    if (taken) return
    await new Promise((done) => setTimeout(done, 100))
  }
  throw new Error(`port ${port} is not listened on`)
}

type Row = {
  readonly name: string
  readonly target: Target
  readonly bytes: number
  readonly drive: (seconds: number) => Promise<Tally>
  readonly costs: number[]
}

function walk<T>(all: readonly T[]): () => T | null {
  let n = 0
  return () => all[n++] ?? null
}

const right = ({ requests, bytes, wrong }: Tally, name: string): number => {
  if (wrong.length > 0) throw new Error(`${name}: ${wrong.length} wrong answers, the first: ${wrong[0]}`)
  return Math.round(bytes / requests)
}

/** All join, then each way of asking is checked; the constant servers answer as long as ours did. */
async function rowsOf(
  tracker: Target,
  all: readonly Said[],
  begin: (name: string, code: string, http2: boolean) => Promise<Target>,
): Promise<Row[]> {
  const [queries, json, messages] = [all.map(queryOf), all.map(jsonOf), all.map(messageOf)]
  const { port } = tracker
  right(await drive(port, walk(queries), null), 'joins')
  const queryBytes = right(await drive(port, walk(queries), checkQuery), 'query')
  const jsonBytes = right(await drive(port, walk(json), checkJson), 'JSON')
  const grpcBytes = right(await driveGrpc(port, walk(messages), checkMessage), 'gRPC')
  const http = await begin('node-http', constantServer(jsonBytes), false)
  const http2 = await begin('node-http2', constantGrpc(grpcBytes), true)
  const by = (at: Target, requests: readonly string[]) => (seconds: number) =>
    drive(at.port, scattered(requests, seconds), null)
  const byGrpc = (at: Target) => (seconds: number) => driveGrpc(at.port, scattered(messages, seconds), null)
  return [
    { name: 'node:http, constant', target: http, bytes: jsonBytes, drive: by(http, json), costs: [] },
    { name: 'JSON announce', target: tracker, bytes: jsonBytes, drive: by(tracker, json), costs: [] },
    { name: 'query announce', target: tracker, bytes: queryBytes, drive: by(tracker, queries), costs: [] },
    { name: 'node:http2, constant', target: http2, bytes: grpcBytes, drive: byGrpc(http2), costs: [] },
    { name: 'gRPC announce', target: tracker, bytes: grpcBytes, drive: byGrpc(tracker), costs: [] },
  ]
}

function report(rows: readonly Row[], asJson: boolean): void {
  const us = rows.map(({ costs }) => median(costs))
  const ratios = [1, us[0]! / us[1]!, us[0]! / us[2]!, 1, us[3]! / us[4]!]
  const goals = [null, GOALS.json, null, null, GOALS.grpc]
  if (asJson) {
    const found = rows.map(({ name, bytes }, i) => ({
      name,
      bytes,
      us: us[i],
      ratio: ratios[i],
      goal: goals[i],
    }))
    process.stdout.write(`${JSON.stringify(found)}\n`)
    return
  }
  const cells = rows.map(({ name, bytes }, i) => {
    const goal = goals[i] == null ? '' : `${goals[i]} ${ratios[i]! >= goals[i]! ? 'met' : 'missed'}`
    return [name, String(bytes), us[i]!.toFixed(1), ratios[i]!.toFixed(2), goal]
  })
  process.stdout.write(
    `${table(['kept connections', 'bytes', 'CPU us', 'speed / constant', 'goal'], cells)}\n`,
  )
}

async function main(args: string[]): Promise<number> {
  const options = {
    seconds: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '5' },
    torrents: { type: 'string', default: '2000' },
    peers: { type: 'string', default: '20000' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  } as const
  const { values } = parseArgs({ args, options })
  if (values.help) {
    process.stdout.write(`${HELP}\n`)
    return 0
  }
  const pinned = process.platform === 'linux' && cpus().length > 1 && has('taskset')
  if (pinned) spawnSync('taskset', ['-a', '-c', '-p', '1', String(process.pid)], { stdio: 'ignore' })
  const core = pinned ? '0' : undefined
  const folder = mkdtempSync(join(tmpdir(), 'skep-bench-calls-'))
  const targets: Target[] = []
  const begin = async (name: string, code: string, http2: boolean): Promise<Target> => {
    const command = (port: number) => [process.execPath, '-e', code, String(port)]
    const target = await start(name, folder, core, command, http2 ? listening : undefined)
    targets.push(target)
    return target
  }
  try {
    const tracker = await ours(folder, core, undefined, undefined)
    targets.push(tracker)
    const rows = await rowsOf(tracker, saidBy(Number(values.torrents), Number(values.peers)), begin)
    // The first round warms.
    for (let n = 0; n <= Number(values.rounds); n++)
      for (const { name, target, drive: load, costs } of rows) {
        const before = cpuMicroseconds([target.pid])
        const tally = await load(Number(values.seconds))
        right(tally, name)
        if (n > 0) costs.push((cpuMicroseconds([target.pid]) - before) / tally.requests)
      }
    report(rows, values.json)
    return 0
  } catch (error) {
    process.stderr.write(`bench:calls: ${(error as Error).message}\n`)
    return 1
  } finally {
    for (const { server } of targets) await server?.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

process.exit(await main(process.argv.slice(2)))
