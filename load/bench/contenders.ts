// Who stands beside us in a benchmark, and how each is run so that it shows its best: the echo (the physical
// limit), ours, opentracker as Debian packages it, aquatic_udp as crates.io has it. Refuses: to take part
// without a program; says what is missing instead.

import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Model } from '../udp/model.ts'
import { freePort, has, type Server, startServer } from './servers.ts'

export const ECHO = 'echo'
export const OURS = 'skep'

const AQUATIC_VERSION = '0.9.0'
/** A cargo build may take so long. */
const BUILD_MS = 15 * 60_000

export type Running = {
  readonly name: string
  readonly port: number
  readonly httpPort: number
  readonly server: Server
  readonly dataDir: string
}

export type StartOptions = {
  readonly model: Model
  /** Peers in the echo's answers: the average of what trackers would send. */
  readonly echoPeers: number
  readonly cores: string | undefined
  readonly workers: number
  readonly peerDetails: boolean
  readonly memory: string
}

export type Contender = {
  readonly name: string
  start(folder: string, options: StartOptions): Promise<Running>
}

/** Built programs are kept here, outside the clone. */
const cacheFolder = (): string => join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'skep-bench')

const begin = async (
  name: string,
  folder: string,
  options: StartOptions,
  command: (port: number, httpPort: number, dataDir: string) => readonly string[],
): Promise<Running> => {
  const [port, httpPort] = [await freePort(), await freePort()]
  const dataDir = mkdtempSync(join(folder, `${name}-`))
  chmodSync(dataDir, 0o755)
  const server = startServer(command(port, httpPort, dataDir), {
    cores: options.cores,
    log: join(folder, `${name}-${port}.log`),
    cwd: dataDir,
    env: cleanEnvironment(),
  })
  return { name, port, httpPort, server, dataDir }
}

/** Ours refuses SKEP_* variables it does not know, and none may change what is measured. */
const cleanEnvironment = (): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SKEP_')))

/** A tree of this project with its packages installed: it runs on the Node that its own lockfile brings. */
const skepOf = (name: string, root: string, node: string): Contender => ({
  name,
  start: (folder, options) =>
    begin(name, folder, options, (port, httpPort, dataDir) => [
      node,
      ...[join(root, 'skep.ts'), 'tracker', '--host', '127.0.0.1', '--udp-port', String(port)],
      ...['--http-port', String(httpPort), '--control-port', '0', '--replica-port', '0'],
      ...['--data-dir', join(dataDir, 'data'), '--udp-workers', String(options.workers)],
      ...['--peer-details', options.peerDetails ? 'on' : 'off', '--memory', options.memory],
      ...['--log-level', 'warn', '--allow-private', 'auto'],
    ]),
})

const ours = skepOf(OURS, fileURLToPath(new URL('../..', import.meta.url)), process.execPath)

/** Another version of ours, named after it. */
function findBeside(root: string): Contender | string {
  const node = join(root, 'node_modules/.bin/node')
  if (!existsSync(node)) return `${root} is no tree of ours with its packages (npm ci there)`
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  return skepOf(`${OURS}-${version}`, root, node)
}

function findEcho(): Contender | string {
  if (!has('cc')) return 'no C compiler (cc): without the echo there are no ratios to the physical limit'
  const source = fileURLToPath(new URL('./echo.c', import.meta.url))
  const program = join(cacheFolder(), 'echo')
  mkdirSync(cacheFolder(), { recursive: true })
  if (!existsSync(program) || statSync(program).mtimeMs < statSync(source).mtimeMs) {
    const built = spawnSync('cc', ['-O3', '-march=native', '-o', program, source], { encoding: 'utf8' })
    if (built.status !== 0) return `the echo does not compile: ${built.stderr.split('\n')[0]}`
  }
  return {
    name: ECHO,
    start: (folder, options) =>
      begin(ECHO, folder, options, (port) => [program, String(port), String(options.echoPeers)]),
  }
}

function findOpentracker(): Contender | string {
  if (!has('opentracker')) return 'opentracker is not installed (Debian: apt-get install opentracker)'
  return {
    name: 'opentracker',
    start: (folder, options) =>
      begin('opentracker', folder, options, (port, _http, dataDir) => {
        const hashes: string[] = []
        for (let at = 0; at < options.model.hashes.length; at += 20)
          hashes.push(Buffer.from(options.model.hashes.subarray(at, at + 20)).toString('hex'))
        // Debian's build answers announces without peers unless the torrent is on its white list.
        writeFileSync(join(dataDir, 'white.txt'), `${hashes.join('\n')}\n`)
        const lines = [
          `listen.udp 127.0.0.1:${port}`,
          `listen.tcp 127.0.0.1:${port}`,
          'access.whitelist white.txt',
          ...(process.getuid?.() === 0 ? [`tracker.rootdir ${dataDir}`, 'tracker.user nobody'] : []),
        ]
        writeFileSync(join(dataDir, 'opentracker.conf'), `${lines.join('\n')}\n`)
        return ['opentracker', '-f', join(dataDir, 'opentracker.conf')]
      }),
  }
}

function findAquatic(mayBuild: boolean): Contender | string {
  const root = join(cacheFolder(), 'aquatic')
  const program = join(root, 'bin', 'aquatic_udp')
  if (!existsSync(program)) {
    if (!has('cargo')) return 'aquatic_udp is not built and there is no cargo'
    if (!mayBuild) return 'aquatic_udp is not built yet (a run without --quick builds it, about two minutes)'
    process.stderr.write(`building aquatic_udp ${AQUATIC_VERSION} with cargo, once, into ${root}\n`)
    const args = ['install', 'aquatic_udp', '--version', AQUATIC_VERSION, '--locked', '--root', root]
    const built = spawnSync('cargo', [...args, '--no-default-features', '--features', 'mimalloc'], {
      encoding: 'utf8',
      timeout: BUILD_MS,
    })
    if (built.status !== 0)
      return `aquatic_udp does not build: ${built.stderr?.trim().split('\n').at(-1) ?? 'time ran out'}`
  }
  return {
    name: 'aquatic',
    start: (folder, options) =>
      begin('aquatic', folder, options, (port, _http, dataDir) => {
        const lines = [
          `socket_workers = ${options.workers}`,
          '[network]',
          `address = "127.0.0.1:${port}"`,
          'only_ipv6 = false',
          '[protocol]',
          'max_response_peers = 74',
          '[statistics]',
          'interval = 0',
        ]
        writeFileSync(join(dataDir, 'aquatic.toml'), `${lines.join('\n')}\n`)
        return [program, '-c', join(dataDir, 'aquatic.toml')]
      }),
  }
}

/** Who can take part here, and why the others cannot. `beside`: another tree of ours. */
export function findContenders(options: { build: boolean; only?: readonly string[]; beside?: string }): {
  contenders: Contender[]
  missing: string[]
} {
  const contenders: Contender[] = []
  const missing: string[] = []
  const finders: [string, () => Contender | string][] = [
    [ECHO, findEcho],
    [OURS, () => ours],
    ['opentracker', findOpentracker],
    ['aquatic', () => findAquatic(options.build)],
  ]
  const asked = finders.filter(([name]) => options.only?.includes(name) ?? true).map(([, find]) => find)
  const { beside } = options
  if (beside !== undefined) asked.push(() => findBeside(beside))
  for (const find of asked) {
    const found = find()
    if (typeof found === 'string') missing.push(found)
    else contenders.push(found)
  }
  return { contenders, missing }
}
