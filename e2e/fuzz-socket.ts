// Rubbish over a real socket to a real process: random, mutated, truncated, oversized, replayed, with the
// connection ID of another address. It must live, keep its memory, keep its log quiet, count each kind, and
// still serve a proper client. Refuses: to measure speed.

import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { Random } from '@skep/testing/random.ts'
import { decodeAnswer } from '@skep/wire/udp-tracker.ts'
import { goodRequests, mutateBytes, randomBytes } from './mutate.ts'
import { logTail } from './processes.ts'
import { startTracker, trackerReady } from './tracker-process.ts'
import { openUdpClient } from './udp-client.ts'
import { Witness } from './witness.ts'

const HOST = '127.0.0.1'
const SOURCES = 8
/** Sent between turns of the event loop. */
const BURST = 64
const DATAGRAM_MOST = 4000
/** Growth that counts as none: allocators breathe. */
const GROWTH_MOST_BYTES = 64 << 20
/** Bytes the log may grow by, whatever is sent. */
const LOG_MOST_BYTES = 64 << 10
const WARM_SHARE = 0.2
/** Counters of /stats that this load must move: each kind of rubbish has a name. */
const MUST_GROW = ['tooShort', 'badMagic', 'badConnectionId', 'malformed', 'badAction', 'errors'] as const

export type SocketResult = { sent: number; seen: string[]; faults: string[] }

type Stats = { udp: Record<string, number> }

export async function fuzzSocket(
  folder: string,
  ports: { udp: number; http: number },
  random: Random,
  milliseconds: number,
): Promise<SocketResult> {
  const log = join(folder, 'fuzz-tracker.log')
  const tracker = startTracker({
    dataDir: join(folder, 'fuzz-data'),
    log,
    udpPort: ports.udp,
    httpPort: ports.http,
    hosts: [HOST],
    more: ['--allow-private', 'on', '--memory', '64MiB', '--udp-workers', '1'],
  })
  const result: SocketResult = { sent: 0, seen: [], faults: [] }
  const sources: Source[] = []
  try {
    await trackerReady(tracker)
    for (let i = 0; i < SOURCES; i++) sources.push(await openSource(`127.0.0.${20 + i}`, ports.udp))
    const before = await stats(ports.http)
    const quiet = statSync(log).size
    const end = performance.now() + milliseconds
    let warm = 0
    while (performance.now() < end && tracker.program.ended() === undefined) {
      for (let i = 0; i < BURST; i++) sendOne(sources, random, ports.udp)
      result.sent += BURST
      if (warm === 0 && performance.now() > end - milliseconds * (1 - WARM_SHARE))
        warm = resident(tracker.program.pid)
      await turn()
    }
    if (tracker.program.ended() !== undefined) {
      result.faults.push(`the tracker ended: ${tracker.program.ended()}\n${logTail(log)}`)
      return result
    }
    const grown = resident(tracker.program.pid) - warm
    result.seen.push(
      `memory ${grown < 0 ? 'shrank' : 'grew'} by ${(Math.abs(grown) / 2 ** 20).toFixed(1)} MiB after warming up`,
    )
    if (grown > GROWTH_MOST_BYTES) result.faults.push(`resident memory grew by ${grown} bytes`)
    const logged = statSync(log).size - quiet
    result.seen.push(`${logged} bytes logged`)
    if (logged > LOG_MOST_BYTES) result.faults.push(`${logged} bytes logged: ${logTail(log, 2)}`)
    const after = await stats(ports.http)
    const grew = (name: string): number => (after.udp[name] ?? 0) - (before.udp[name] ?? 0)
    result.seen.push(`received ${grew('received')}, answered ${grew('answered')}`)
    result.seen.push(MUST_GROW.map((name) => `${name} ${grew(name)}`).join(', '))
    for (const name of MUST_GROW) if (!(grew(name) > 0)) result.faults.push(`nothing was counted as ${name}`)
    await properClient(ports.udp, result)
  } finally {
    for (const { socket } of sources) socket.close()
    tracker.program.kill('SIGTERM')
    await tracker.program.stop()
  }
  return result
}

type Source = { socket: Socket; id: bigint; kept: Uint8Array }

/** A source that learns its own connection ID from the answers to the connects among the rubbish. */
async function openSource(address: string, port: number): Promise<Source> {
  const socket = createSocket('udp4')
  socket.bind(0, address)
  await once(socket, 'listening')
  socket.on('error', () => {})
  const source: Source = { socket, id: 0n, kept: new Uint8Array(16) }
  socket.on('message', (message) => {
    const answer = decodeAnswer(message, 4)
    if (answer.kind === 'connect') source.id = answer.connectionId
  })
  socket.send(goodRequests(new Random(1), 0n)[0]!, port, HOST)
  return source
}

function sendOne(sources: Source[], random: Random, port: number): void {
  const source = sources[random.below(sources.length)]!
  // One in eight uses the ID of another address, as a spoofer or a replay would.
  const id = random.below(8) === 0 ? sources[random.below(sources.length)]!.id : source.id
  const pool = goodRequests(random, id)
  const base = pool[random.below(pool.length)]!
  let bytes: Uint8Array
  switch (random.below(10)) {
    case 0:
      bytes = randomBytes(random, random.below(64))
      break
    case 1:
      bytes = source.kept
      break
    case 2:
      bytes = randomBytes(random, 1500 + random.below(2500))
      break
    case 3:
      bytes = base
      source.kept = base
      break
    default:
      bytes = mutateBytes(random, base, DATAGRAM_MOST)
  }
  source.socket.send(bytes, port, HOST)
}

async function properClient(port: number, result: SocketResult): Promise<void> {
  const client = await openUdpClient('127.0.0.3', HOST, port)
  const witness = new Witness(4, 4242, '127.0.0.3')
  // What still lies in the receive buffer may cost a datagram; a client would ask again.
  for (let i = 0; i < 24 && witness.answeredJoins < 8; i++) await witness.join(client, i % 4, 1000)
  const faults = await witness.check(client)
  client.close()
  if (witness.answeredJoins < 8)
    result.faults.push(`a proper client got ${witness.answeredJoins} of 8 answers afterwards`)
  for (const fault of faults) result.faults.push(`afterwards, a proper client: ${fault.what}`)
  result.seen.push('a proper client is served afterwards')
}

const stats = async (port: number): Promise<Stats> =>
  (await (await fetch(`http://${HOST}:${port}/stats`)).json()) as Stats

const resident = (pid: number): number => {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024
  } catch {
    return 0
  }
}
