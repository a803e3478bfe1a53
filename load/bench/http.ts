// `npm run bench:http`: announces over HTTP against ours and against node:http with a constant body, in one
// run: server CPU a request (all threads), requests a second, the ratio of the two. Every answer of the
// warm-up is checked. Refuses: numbers for a server whose answers are wrong; targets that are not local.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
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
import { has } from './servers.ts'
import { table } from './table.ts'

/**
 * CPU a request that ours may cost, microseconds (1.5 times faster than a Go tracker's 31 on the machine of
 * the goal).
 */
const GOAL_MICROSECONDS = 20
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

type Round = { readonly perSecond: number; readonly microseconds: number }

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
    const tally = await drive(target.port, scattered(requests, seconds), null)
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
  const joins = await drive(tracker.port, () => requests[n++] ?? null, null)
  n = 0
  const checked = await drive(tracker.port, () => requests[n++] ?? null, checkAnswer)
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
