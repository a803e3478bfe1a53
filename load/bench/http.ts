// `npm run bench:http`: announces over HTTP against ours and against node:http with a constant body, in one
// run: server CPU a request (all threads), requests a second, the ratio of the two. Every answer of the
// warm-up is checked. Refuses: numbers for a server whose answers are wrong; targets that are not local.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { announceQuery, decodeAnnounceReply } from '@skep/wire/http-tracker.ts'
import { cpuMicroseconds } from './process-cost.ts'
import { freePort, has, type Server, startServer } from './servers.ts'
import { table } from './table.ts'

/**
 * CPU a request that ours may cost, microseconds (1.5 times faster than a Go tracker's 31 on the machine of
 * the goal).
 */
const GOAL_MICROSECONDS = 20
const CONNECTIONS = 32
const NUMWANT = 30

const HELP = `npm run bench:http -- [options]

  --seconds N    length of a round (3)
  --rounds N     rounds of each server, interleaved (5)
  --torrents N   torrents in the table (10000)
  --peers N      peers in the table (100000)
  --url URL      measure this local tracker instead of starting ours; with --pid for its CPU time
  --pid N
  --json         print JSON instead of a table
  --help

wrk generates the load where it is installed (Debian: apt-get install wrk), else this program does.`

type Target = {
  readonly name: string
  readonly port: number
  readonly pid: number
  readonly server: Server | null
}
type Round = { readonly perSecond: number; readonly microseconds: number }

/** A small seeded generator (mulberry32), so that every run asks the same. */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/**
 * One request a peer: skewed over the torrents, one in four leeching, all from this host by different ports.
 */
function requestsOf(torrents: number, peers: number): string[] {
  const random = randomOf(42)
  const hashes = Array.from({ length: torrents }, () => Uint8Array.from({ length: 20 }, () => random() * 256))
  return Array.from({ length: peers }, (_, n) => {
    const query = announceQuery({
      infoHash: hashes[Math.floor(random() ** 3 * torrents)]!,
      peerId: new TextEncoder().encode(`-SK0100-${String(n).padStart(12, '0')}`),
      port: 1024 + (n % 60_000),
      uploaded: 0,
      downloaded: 0,
      left: n % 4 === 0 ? 50 : 0,
      numwant: NUMWANT,
    })
    return `GET /announce?${query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`
  })
}

type Tally = { requests: number; peers: number; wrong: string[] }

/**
 * Sends `requests` from `next()` on over kept connections, one at a time each; checks every answer when
 * asked.
 */
function drive(port: number, next: () => string | null, check: boolean): Promise<Tally> {
  const tally: Tally = { requests: 0, peers: 0, wrong: [] }
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
        if (check) checkAnswer(head, got.subarray(end + 4, end + 4 + length), tally)
        got = got.subarray(end + 4 + length)
        send()
      })
    })
  return Promise.all(Array.from({ length: CONNECTIONS }, client)).then(() => tally)
}

function checkAnswer(head: string, body: Uint8Array, tally: Tally): void {
  const reply = decodeAnnounceReply(body)
  if (!head.startsWith('HTTP/1.1 200 ') || reply.kind !== 'announce') {
    tally.wrong.push(`${head.split('\r\n', 1)[0]}: ${JSON.stringify(reply)}`)
    return
  }
  tally.peers += reply.peers.length
  const total = (reply.complete ?? 0) + (reply.incomplete ?? 0)
  if (reply.peers.length > NUMWANT || reply.peers.length !== Math.min(NUMWANT, total - 1))
    tally.wrong.push(`${reply.peers.length} peers of ${total}`)
}

/** Walks through all requests in a scattered order, for `seconds`. */
function scattered(requests: readonly string[], seconds: number): () => string | null {
  const until = performance.now() + seconds * 1000
  let n = 0
  return () => (performance.now() > until ? null : requests[(n++ * 7919) % requests.length]!)
}

const wrkScript = (file: string): string => `local lines = {}
for line in io.lines('${file}') do lines[#lines + 1] = 'GET ' .. line .. ' HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n\\r\\n' end
local n = 0
function request() n = n + 1; return lines[1 + (n * 7919) % #lines] end
function done(s) io.write(string.format('RESULT %d %d %d\\n', s.requests, s.duration,
  s.errors.status + s.errors.read + s.errors.connect + s.errors.timeout)) end
`

async function round(
  target: Target,
  requests: readonly string[],
  seconds: number,
  script: string | null,
): Promise<Round> {
  const before = cpuMicroseconds([target.pid])
  let count: number
  let elapsed: number
  if (script === null) {
    const start = performance.now()
    const tally = await drive(target.port, scattered(requests, seconds), false)
    if (tally.wrong.length > 0) throw new Error(`${target.name}: ${tally.wrong[0]}`)
    count = tally.requests
    elapsed = (performance.now() - start) / 1000
  } else {
    const args = ['-t1', `-c${CONNECTIONS}`, `-d${seconds}`, '-s', script, `http://127.0.0.1:${target.port}`]
    const ran = spawnSync('wrk', args, { encoding: 'utf8', timeout: (seconds + 30) * 1000 })
    const result = /RESULT (\d+) (\d+) (\d+)/.exec(ran.stdout)
    if (result === null || Number(result[3]) > 0)
      throw new Error(`${target.name}: ${ran.stdout}${ran.stderr}`)
    count = Number(result[1])
    elapsed = Number(result[2]) / 1e6
  }
  return { perSecond: count / elapsed, microseconds: (cpuMicroseconds([target.pid]) - before) / count }
}

const median = (numbers: readonly number[]): number =>
  [...numbers].sort((a, b) => a - b)[numbers.length >> 1]!

/** The floor for anything on node:http: one fixed body, as long as an average answer. */
const constantServer = (bytes: number): string => `
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

async function start(
  name: string,
  folder: string,
  core: string | undefined,
  command: (port: number) => string[],
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
  await reachable(port, server)
  return { name, port, pid: server.pid, server }
}

const skep = fileURLToPath(new URL('../../skep.ts', import.meta.url))

async function ours(
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

async function main(args: string[]): Promise<number> {
  const options = {
    seconds: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '5' },
    torrents: { type: 'string', default: '10000' },
    peers: { type: 'string', default: '100000' },
    url: { type: 'string' },
    pid: { type: 'string' },
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
  const folder = mkdtempSync(join(tmpdir(), 'skep-bench-http-'))
  const targets: Target[] = []
  try {
    const core = pinned ? '0' : undefined
    const tracker = await ours(folder, core, values.url, values.pid)
    targets.push(tracker)
    const requests = requestsOf(Number(values.torrents), Number(values.peers))
    const bytes = await preload(tracker, requests)
    const constant = (port: number) => [process.execPath, '-e', constantServer(bytes), String(port)]
    targets.push(await start('node:http, constant body', folder, core, constant))
    const script = has('wrk') ? join(folder, 'announce.lua') : null
    if (script !== null) {
      writeFileSync(join(folder, 'paths'), requests.map((request) => `${request.split(' ')[1]}\n`).join(''))
      writeFileSync(script, wrkScript(join(folder, 'paths')))
    }
    const seconds = Number(values.seconds)
    for (const target of targets) await round(target, requests, 1, script)
    const rounds = new Map<Target, Round[]>(targets.map((target) => [target, []]))
    for (let n = 0; n < Number(values.rounds); n++)
      for (const target of n % 2 === 0 ? targets : targets.toReversed())
        rounds.get(target)!.push(await round(target, requests, seconds, script))
    report(rounds, script === null ? 'the built-in generator' : 'wrk', values.json)
    return 0
  } catch (error) {
    process.stderr.write(`bench:http: ${(error as Error).message}\n`)
    return 1
  } finally {
    for (const { server } of targets) await server?.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * Every peer joins, then every answer of a second walk is checked. Returns the bytes of an average answer.
 */
async function preload(tracker: Target, requests: readonly string[]): Promise<number> {
  let n = 0
  const joins = await drive(tracker.port, () => requests[n++] ?? null, false)
  n = 0
  const checked = await drive(tracker.port, () => requests[n++] ?? null, true)
  const wrong = [...joins.wrong, ...checked.wrong]
  if (wrong.length > 0) throw new Error(`${wrong.length} wrong answers, the first: ${wrong[0]}`)
  const peers = checked.peers / checked.requests
  process.stderr.write(`${checked.requests} answers checked, ${peers.toFixed(1)} peers each\n`)
  return Math.round(110 + 6 * peers)
}

function report(rounds: ReadonlyMap<Target, readonly Round[]>, generator: string, json: boolean): void {
  const rows = [...rounds].map(([{ name }, all]) => ({
    name,
    perSecond: Math.round(median(all.map((r) => r.perSecond))),
    microseconds: median(all.map((r) => r.microseconds)),
  }))
  const [tracker, constant] = rows as [(typeof rows)[0], (typeof rows)[0]]
  const met = tracker.microseconds <= GOAL_MICROSECONDS
  if (json) {
    process.stdout.write(`${JSON.stringify({ generator, rows, goalMicroseconds: GOAL_MICROSECONDS, met })}\n`)
    return
  }
  const cells = rows.map((row) => [
    row.name,
    String(row.perSecond),
    row.microseconds.toFixed(2),
    (constant.microseconds / row.microseconds).toFixed(2),
  ])
  process.stdout.write(
    `${table(['announce by HTTP, keep-alive', 'answers/s', 'CPU us', 'speed / constant'], cells)}\n`,
  )
  process.stdout.write(
    `goal: at most ${GOAL_MICROSECONDS} us CPU an announce: ${met ? 'met' : 'missed'} (medians; load by ${generator})\n`,
  )
}

process.exit(await main(process.argv.slice(2)))
