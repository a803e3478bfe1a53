// `npm run e2e:clients`: real clients seed and download real files through the tracker, by UDP and HTTP, over
// IPv4 and IPv6, and the files are compared. Refuses: to find peers any other way than through the tracker.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type Client, clientsHere, type Transport } from './bittorrent-clients.ts'
import { clusterRounds, hostsNeeded, playCluster } from './clients-cluster.ts'
import { installClients } from './clients-install.ts'
import { buildNetwork, canNamespace, enterWorld, type Host, HUB_4, HUB_6, loopback } from './network.ts'
import { logTail, type Program, startProgram, until } from './processes.ts'
import { scrape } from './scrape.ts'
import { type Content, makeContent, sha256Of, writeTorrent } from './torrent.ts'
import { startTracker, trackerReady } from './tracker-process.ts'

const LARGE_BYTES = 64 << 20
const SMALL_BYTES = 4 << 20
const UDP_PORT = 6969
const HTTP_PORT = 8168
/** Waits: a seeder to be announced (clients check the file first), a download. */
const SEED_MS = 120_000
const DOWNLOAD_MS = 90_000
/** The tracker's name that has an IPv6 address only. */
const NAME_6 = 'tracker6.test'
const HELP = `npm run e2e:clients -- [--only TEXT] [--keep] [--no-install] [--tracker COMMAND]

Real clients (aria2, transmission, qBittorrent, rtorrent, libtorrent's binding) seed and download through the tracker;
files are compared. As root each client has a host of its own (network namespaces), missing Debian packages are
installed, and then all are at a cluster whose leader is killed, which loses a replica, whose disks are full. Otherwise
all run on loopback, without transmission, which ignores trackers there. libtorrent comes from PyPI.

  --only TEXT    only the runs whose name contains it
  --keep         keep the folder with logs and files
  --no-install   leave missing clients out
  --tracker CMD  another tracker on UDP port 6969, to tell a client's fault from ours (UDP over IPv4 runs only)

Exit codes: 0 all passed, 1 some failed, 64 usage.`

type Run = {
  readonly seeder: Client
  readonly leecher: Client
  readonly transport: Transport
  readonly bytes: number
  /** Both on the tracker's own machine, the tracker at 127.0.0.1 or ::1. */
  readonly local: boolean
}

const nameOf = (run: Run): string =>
  `${run.transport}${run.local ? ' loopback' : ''} ${run.seeder.name} -> ${run.leecher.name} ${run.bytes >> 20} MiB`

/**
 * Each client seeds and downloads the large file once; then every transport with every client that knows it.
 */
function plan(clients: readonly Client[], hosts: boolean): Run[] {
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

async function play(run: Run, number: number, folder: string, hosts: readonly Host[]): Promise<number> {
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
      port: seeding ? 7001 : 7002,
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
      if (there === undefined && leecher.ended() !== undefined)
        throw new Error(`${run.leecher.name} ended: ${leecher.ended()}`)
      return there
    })
    return (performance.now() - begin) / 1000
  } catch (error) {
    const tails = programs.map(({ log }) => `--- ${log}\n${logTail(log)}`).join('\n')
    throw new Error(`${(error as Error).message}\n${tails}`)
  } finally {
    await Promise.all(programs.map((program) => program.stop()))
  }
}

/** Ours, or the one a person named to compare with. */
async function openTracker(other: string | undefined, folder: string): Promise<Program> {
  const log = join(folder, 'tracker.log')
  if (other !== undefined) {
    const program = startProgram(other.split(' '), { log })
    await until('the tracker answers', SEED_MS, () => scrape('127.0.0.1', UDP_PORT, new Uint8Array(20)))
    return program
  }
  const tracker = startTracker({
    dataDir: join(folder, 'data'),
    log,
    udpPort: UDP_PORT,
    httpPort: HTTP_PORT,
    hosts: ['0.0.0.0', '::'],
    more: ['--allow-private', 'on', '--interval', '30s', '--interval-max', '60s', '--interval-min', '5s'],
  })
  await trackerReady(tracker)
  return tracker.program
}

/** What the tracker says of itself, for a run that failed. */
async function describeTracker(tracker: Program, log: string): Promise<string> {
  const end = tracker.ended()
  if (end !== undefined) return `the tracker ended: ${end}\n${logTail(log)}`
  const answer = await fetch(`http://127.0.0.1:${HTTP_PORT}/stats`).catch(() => undefined)
  if (answer?.ok !== true) return `the tracker's /stats does not answer\n${logTail(log)}`
  const { peers, udp } = (await answer.json()) as { peers: number; udp: Record<string, number> }
  const moved = Object.entries(udp).filter(([, count]) => count > 0)
  return `the tracker has ${peers} peers; ${moved.map(([name, count]) => `${name} ${count}`).join(', ')}`
}

/** In our own world the name is known to all programs. */
function nameTracker(path: string): void {
  writeFileSync(path, `127.0.0.1 localhost\n::1 localhost\n${HUB_6} ${NAME_6}\n`)
  const done = spawnSync('mount', ['--bind', path, '/etc/hosts'], { encoding: 'utf8' })
  if (done.status !== 0) throw new Error(`mount: ${done.stderr.trim()}`)
}

async function all(options: {
  only: string | undefined
  tracker: string | undefined
  keep: boolean
  hosts: boolean
}): Promise<number> {
  const { here: clients, missing } = clientsHere()
  for (const { client, why } of missing) process.stdout.write(`left out: ${client.name} (${why})\n`)
  const more = Array.from({ length: hostsNeeded(clients.length) }, (_, i) => `host ${i}`)
  const hosts = options.hosts ? await buildNetwork(['seeder', 'leecher', ...more]) : []
  const folder = mkdtempSync(join(tmpdir(), 'skep-clients-'))
  if (options.hosts) nameTracker(join(folder, 'hosts'))
  const runs = plan(clients, options.hosts).filter((run) => nameOf(run).includes(options.only ?? ''))
  let tracker: Program | undefined
  let failed = 0
  let passed = 0
  try {
    tracker = await openTracker(options.tracker, folder)
    for (const [i, run] of runs.entries()) {
      try {
        const seconds = await play(run, i, folder, hosts)
        passed++
        process.stdout.write(`ok      ${nameOf(run)} (${seconds.toFixed(1)} s)\n`)
      } catch (error) {
        failed++
        process.stdout.write(`FAILED  ${nameOf(run)}\n${(error as Error).message}\n`)
        process.stdout.write(`${await describeTracker(tracker, join(folder, 'tracker.log'))}\n`)
        process.stdout.write(`again:  npm run e2e:clients -- --only '${nameOf(run)}'\n`)
      }
      if (!options.keep) rmSync(join(folder, `run-${i}`), { recursive: true, force: true })
    }
  } catch (error) {
    failed++
    process.stdout.write(`FAILED  ${(error as Error).message}\n${logTail(join(folder, 'tracker.log'), 10)}\n`)
  } finally {
    await tracker?.stop()
    if (options.hosts && options.tracker === undefined && clusterRounds(options.only).length > 0) {
      const { only } = options
      const say = (line: string): void => void process.stdout.write(`${line}\n`)
      const where = { hosts: hosts.slice(2), folder: join(folder, 'cluster') }
      for (const { name, failure } of await playCluster({ clients, only, say, ...where })) {
        if (failure === undefined) passed++
        else {
          failed++
          say(`FAILED  ${name}\n${failure}\nagain:  npm run e2e:clients -- --only '${name}'`)
        }
      }
    }
    if (!options.keep) rmSync(folder, { recursive: true, force: true })
    else process.stdout.write(`kept: ${folder}\n`)
  }
  for (const { name, lacks, deaf } of clients)
    for (const [transport, why] of [...Object.entries(lacks), ...Object.entries(deaf ?? {})])
      process.stdout.write(`not run: ${name} ${transport}: ${why}\n`)
  if (!options.hosts)
    process.stdout.write(
      'not run: hosts of their own, a cluster (need root), transmission (ignores loopback)\n',
    )
  process.stdout.write(`e2e: ${passed} passed, ${failed} failed\n`)
  return failed === 0 && passed > 0 ? 0 : 1
}

async function main(): Promise<number> {
  const inside = process.argv.includes('--inside')
  let values: Record<string, string | boolean | undefined>
  try {
    ;({ values } = parseArgs({
      options: {
        only: { type: 'string' },
        keep: { type: 'boolean' },
        'no-install': { type: 'boolean' },
        tracker: { type: 'string' },
        inside: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    }))
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${HELP}\n`)
    return 64
  }
  if (values.help === true) {
    process.stdout.write(`${HELP}\n`)
    return 0
  }
  const say = (line: string): void => void process.stdout.write(`${line}\n`)
  if (!inside && values['no-install'] !== true) await installClients(say)
  if (!inside && canNamespace())
    return enterWorld(fileURLToPath(import.meta.url), [...process.argv.slice(2), '--inside'])
  return all({
    only: values.only as string | undefined,
    tracker: values.tracker as string | undefined,
    keep: values.keep === true,
    hosts: inside,
  })
}

process.exit(await main())
