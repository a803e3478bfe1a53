// Pairs of real clients that find each other through one tracker only: a seeder, a downloader, a transport.
// Refuses: to find peers any other way; downloads are compared byte for byte.

import { existsSync, mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type Host, HUB_4, HUB_6, loopback } from '../network.ts'
import { logTail, type Program, startProgram, until } from '../processes.ts'
import { scrape } from '../scrape.ts'
import { type Content, makeContent, sha256Of, writeTorrent } from '../torrent.ts'
import type { Client, Transport } from './programs.ts'

export const UDP_PORT = 6969
export const HTTP_PORT = 8168
/** The tracker's name that has an IPv6 address only. */
export const NAME_6 = 'tracker6.test'
const LARGE_BYTES = 64 << 20
const SMALL_BYTES = 4 << 20
/** Waits: a seeder to be announced (clients check the file first), a download. */
const SEED_MS = 120_000
const DOWNLOAD_MS = 90_000
/** Pairs on loopback share its ports, so each has its own. */
const PORT_FIRST = 7001

export type Run = {
  readonly seeder: Client
  readonly leecher: Client
  readonly transport: Transport
  readonly bytes: number
  /** Both on the tracker's own machine, the tracker at 127.0.0.1 or ::1. */
  readonly local: boolean
}

export const pairName = (run: Run): string =>
  `${run.transport}${run.local ? ' loopback' : ''} ${run.seeder.name} -> ${run.leecher.name} ${run.bytes >> 20} MiB`

/**
 * Each client seeds and downloads the large file once; then every transport with every client that knows it.
 */
export function planPairs(clients: readonly Client[], hosts: boolean): Run[] {
  const runs: Run[] = []
  const ring = (transport: Transport, bytes: number, able: readonly Client[], local: boolean): void => {
    const hearing = able.filter((client) => client.deaf?.[transport] === undefined)
    for (const seeder of able) {
      const next = (hearing.indexOf(seeder) + 1) % hearing.length
      runs.push({ seeder, leecher: hearing[next]!, transport, bytes, local })
    }
  }
  const anywhere = clients.filter((client) => hosts || !client.needsHost)
  ring('udp4', LARGE_BYTES, anywhere, !hosts)
  for (const transport of ['http4', 'http6', 'udp6'] as const)
    ring(
      transport,
      SMALL_BYTES,
      anywhere.filter((client) => client.lacks[transport] === undefined),
      !hosts,
    )
  // With hosts, loopback is the exception that must work too: people try a tracker there first.
  const near = clients.filter((client) => !client.needsHost)
  if (hosts)
    for (const transport of ['udp4', 'http6', 'udp6'] as const) {
      const able = near.filter((client) => client.lacks[transport] === undefined)
      if (able.length > 0)
        runs.push({
          seeder: able[0]!,
          leecher: able[1] ?? able[0]!,
          transport,
          bytes: SMALL_BYTES,
          local: true,
        })
    }
  return runs
}

function announceUrl(run: Run): string {
  const six = run.transport.endsWith('6')
  // Who asks for the name of one with IPv6 only gets that; transmission takes IPv6 from nothing else.
  const far = run.transport === 'udp6' ? NAME_6 : six ? `[${HUB_6}]` : HUB_4
  const address = run.local ? (six ? '[::1]' : '127.0.0.1') : far
  return run.transport.startsWith('udp')
    ? `udp://${address}:${UDP_PORT}/announce`
    : `http://${address}:${HTTP_PORT}/announce`
}

/** Is the content there, whole? Sizes are cheap and come first. */
async function isThere(path: string, content: Content): Promise<true | undefined> {
  if (!existsSync(path) || statSync(path).size !== content.bytes) return undefined
  return (await sha256Of(path)) === content.sha256 ? true : undefined
}

/** Seconds that it took. `hosts` are the seeder's and the downloader's. */
export async function playPair(
  run: Run,
  number: number,
  folder: string,
  hosts: readonly Host[],
): Promise<number> {
  const here = join(folder, `run-${number}`)
  const [from, to] = [join(here, 'from'), join(here, 'to')]
  for (const path of [from, to]) mkdirSync(path, { recursive: true })
  const name = `content-${number}.bin`
  const content = await makeContent(join(from, name), name, run.bytes, 1000 + number)
  const torrent = join(here, 'content.torrent')
  writeTorrent(torrent, content, [announceUrl(run)])
  const programs: Program[] = []
  const start = (client: Client, side: 'seeder' | 'leecher'): Program => {
    const seeding = side === 'seeder'
    const host = run.local ? loopback : hosts[seeding ? 0 : 1]!
    const task = {
      host,
      torrent,
      content: seeding ? from : to,
      home: join(here, side),
      port: PORT_FIRST + 2 * number + (seeding ? 0 : 1),
      seeding,
    }
    const command = [...host.enter, ...client.command(task)]
    const environment = { ...process.env, HOME: join(here, side), TERM: 'xterm' }
    const program = startProgram(command, { log: join(here, `${side}.log`), env: environment })
    programs.push(program)
    return program
  }
  const begin = performance.now()
  try {
    const seeder = start(run.seeder, 'seeder')
    await until(`${run.seeder.name} announces itself as a seeder`, SEED_MS, async () => {
      if (seeder.ended() !== undefined) throw new Error(`${run.seeder.name} ended: ${seeder.ended()}`)
      const counts = await scrape('127.0.0.1', UDP_PORT, content.infoHash)
      return counts !== undefined && counts.seeders > 0 ? true : undefined
    })
    const leecher = start(run.leecher, 'leecher')
    await until(`${run.leecher.name} downloads`, DOWNLOAD_MS, async () => {
      const there = await isThere(join(to, name), content)
      if (there !== undefined || leecher.ended() === undefined) return there
      // Some end once they have all: then it may have come since we looked.
      if ((await isThere(join(to, name), content)) === true) return true
      throw new Error(`${run.leecher.name} ended: ${leecher.ended()}`)
    })
    return (performance.now() - begin) / 1000
  } catch (error) {
    const tails = programs.map(({ log }) => `--- ${log}\n${logTail(log)}`).join('\n')
    throw new Error(`${(error as Error).message}\n${tails}`)
  } finally {
    await Promise.all(programs.map((program) => program.stop()))
  }
}
