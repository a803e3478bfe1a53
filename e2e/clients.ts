// `npm run e2e:clients`: real clients seed and download real files through the tracker, by UDP and HTTP, over
// IPv4 and IPv6, and the files are compared. Refuses: to find peers any other way than through the tracker.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { clusterRounds, hostsNeeded, playCluster } from './clients/cluster.ts'
import { installClients } from './clients/install.ts'
import { matrixHosts, playMatrix } from './clients/matrix.ts'
import { HTTP_PORT, NAME_6, pairName, planPairs, playPair, type Run, UDP_PORT } from './clients/pairs.ts'
import { type Client, clientsHere } from './clients/programs.ts'
import { buildNetwork, canNamespace, enterWorld, type Host, HUB_6, loopback } from './network.ts'
import { logTail, type Program, startProgram, until } from './processes.ts'
import { scrape } from './scrape.ts'
import { startTracker, trackerReady } from './tracker-process.ts'

const OTHER_MS = 120_000
/** Pairs at once; clients wait more than they work. */
const LANES = 4
const HELP = `npm run e2e:clients -- [--only TEXT] [--keep] [--no-install] [--tracker COMMAND]

Real clients (aria2, transmission, qBittorrent, rtorrent, libtorrent's binding) seed and download through the tracker;
files are compared. As root each client has a host of its own (network namespaces), missing Debian packages are
installed; all are at a cluster whose leader is killed, which loses a replica, whose disks are full; and each meets each
failure that a tracker can have, and must come back as docs/http.md says. Otherwise all run on loopback, without transmission, which ignores trackers there. libtorrent comes from PyPI.

  --only TEXT    only the runs whose name contains it
  --keep         keep the folder with logs and files
  --no-install   leave missing clients out
  --tracker CMD  another tracker on UDP port 6969, to tell a client's fault from ours (UDP over IPv4 runs only)

Exit codes: 0 all passed, 1 some failed, 64 usage.`

/** Ours, or the one a person named to compare with. */
async function openTracker(other: string | undefined, folder: string): Promise<Program> {
  const log = join(folder, 'tracker.log')
  if (other !== undefined) {
    const program = startProgram(other.split(' '), { log })
    await until('the tracker answers', OTHER_MS, () => scrape('127.0.0.1', UDP_PORT, new Uint8Array(20)))
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

type Options = {
  readonly only: string | undefined
  readonly tracker: string | undefined
  readonly keep: boolean
  readonly hosts: boolean
}
type Outcome = { readonly name: string; readonly failure: string | undefined }

const say = (line: string): void => void process.stdout.write(`${line}\n`)

/** Everything at once, each part on hosts of its own. */
async function all(options: Options): Promise<number> {
  const begun = performance.now()
  const { here: clients, missing } = clientsHere()
  for (const { client, why } of missing) say(`left out: ${client.name} (${why})`)
  const { only } = options
  const runs = planPairs(clients, options.hosts).filter((run) => pairName(run).includes(only ?? ''))
  const ours = options.hosts && options.tracker === undefined
  const cluster = ours && clusterRounds(only).length > 0 ? hostsNeeded(clients.length) : 0
  const matrix = ours ? matrixHosts(only) : 0
  const folder = mkdtempSync(join(tmpdir(), 'skep-clients-'))
  const names = Array.from({ length: 2 * LANES + cluster + matrix }, (_, i) => `host ${i}`)
  const hosts = options.hosts ? await buildNetwork(names) : names.map(() => loopback)
  if (options.hosts) nameTracker(join(folder, 'hosts'))
  const parts: Promise<Outcome[]>[] = []
  if (matrix > 0) {
    const given = { only, say, hosts: hosts.slice(2 * LANES + cluster), folder: join(folder, 'failures') }
    parts.push(playMatrix({ ...given, clients: clients.map(({ name }) => name) }))
  }
  if (cluster > 0) {
    const given = { clients, only, say, folder: join(folder, 'cluster') }
    parts.push(playCluster({ ...given, hosts: hosts.slice(2 * LANES, 2 * LANES + cluster) }))
  }
  if (runs.length > 0) parts.push(playPairs(runs, options, folder, hosts))
  const outcomes = (await Promise.all(parts)).flat()
  const failed = outcomes.filter(({ failure }) => failure !== undefined)
  for (const { name, failure } of failed)
    say(`FAILED  ${name}\n${failure}\nagain:  npm run e2e:clients -- --only '${name}'`)
  if (!options.keep) rmSync(folder, { recursive: true, force: true })
  else say(`kept: ${folder}`)
  sayNotRun(clients, options.hosts)
  const minutes = ((performance.now() - begun) / 60_000).toFixed(1)
  say(`e2e: ${outcomes.length - failed.length} passed, ${failed.length} failed, ${minutes} min`)
  return failed.length === 0 && outcomes.length > 0 ? 0 : 1
}

/** Pairs at one tracker, each lane with a seeder's and a downloader's host. */
async function playPairs(
  runs: readonly Run[],
  options: Options,
  folder: string,
  hosts: readonly Host[],
): Promise<Outcome[]> {
  const log = join(folder, 'tracker.log')
  const outcomes: Outcome[] = []
  let tracker: Program | undefined
  let next = 0
  const lane = async (number: number): Promise<void> => {
    for (let i = next++; i < runs.length; i = next++) {
      const run = runs[i]!
      const name = pairName(run)
      try {
        const seconds = await playPair(run, i, folder, hosts.slice(2 * number, 2 * number + 2))
        say(`ok      ${name} (${seconds.toFixed(1)} s)`)
        outcomes.push({ name, failure: undefined })
      } catch (error) {
        const told = await describeTracker(tracker!, log)
        outcomes.push({ name, failure: `${(error as Error).message}\n${told}` })
      }
      if (!options.keep) rmSync(join(folder, `run-${i}`), { recursive: true, force: true })
    }
  }
  try {
    tracker = await openTracker(options.tracker, folder)
    await Promise.all(Array.from({ length: LANES }, (_, number) => lane(number)))
  } catch (error) {
    outcomes.push({ name: 'the tracker', failure: `${(error as Error).message}\n${logTail(log, 10)}` })
  } finally {
    await tracker?.stop()
  }
  return outcomes
}

function sayNotRun(clients: readonly Client[], hosts: boolean): void {
  for (const { name, lacks, deaf } of clients)
    for (const [transport, why] of [...Object.entries(lacks), ...Object.entries(deaf ?? {})])
      say(`not run: ${name} ${transport}: ${why}`)
  if (!hosts)
    say('not run: hosts of their own, a cluster, failures (need root), transmission (ignores loopback)')
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
