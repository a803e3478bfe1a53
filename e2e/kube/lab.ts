// Drives the test cluster of lab.sh: brings it up within a bound, runs programs in it, breaks its nodes,
// takes it away. `node e2e/kube/lab.ts up` leaves one running for work by hand. Refuses: to wait without
// bound, or to leave one behind.

import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { buildServers } from './build.ts'
import { buildImage } from './image.ts'

const SCRIPT = join(import.meta.dirname, 'lab.sh')
const UP_MS = 240_000
const DOWN_MS = 60_000
const LOAD_MS = 180_000
const COMMAND_MS = 60_000

/** Folders of clusters begin so; the name is also their cgroup's. */
const PREFIX = 'skep-kube-'

export type Done = { readonly code: number; readonly out: string; readonly err: string }

/** Runs a program to its end, within a bound; never throws for what the program does. */
export function runProgram(
  command: readonly string[],
  options: {
    env?: NodeJS.ProcessEnv
    input?: string
    /** Its standard input is open until then. */
    inputUntil?: Promise<void>
    timeoutMs?: number
  } = {},
): Promise<Done> {
  return new Promise((done) => {
    const child = spawn(command[0]!, command.slice(1), {
      env: options.env ?? process.env,
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    let out = ''
    let err = ''
    let late = false
    const bound = options.timeoutMs ?? COMMAND_MS
    const timer = setTimeout(() => {
      late = true
      child.kill('SIGKILL')
    }, bound)
    child.stdout.on('data', (bytes) => {
      out += bytes
    })
    child.stderr.on('data', (bytes) => {
      err += bytes
    })
    child.stdin.on('error', () => {})
    void (options.inputUntil ?? Promise.resolve()).then(() => child.stdin.end(options.input ?? ''))
    const end = (code: number): void => {
      clearTimeout(timer)
      done({ code, out, err: late ? `${err}not done within ${bound / 1000} s` : err })
    }
    child.once('error', (error) => {
      err += error.message
      end(127)
    })
    child.once('close', (code) => end(code ?? 137))
  })
}

export type Lab = {
  readonly state: string
  readonly nodes: readonly string[]
  readonly env: NodeJS.ProcessEnv
  /** Put before a command: it runs beside the API server, on outside host 1, or in a node's network. */
  readonly inside: readonly string[]
  readonly outside: readonly string[]
  on(node: string): readonly string[]
  /** Addresses of outside host 1. */
  readonly outsideAddresses: readonly string[]
  nodeAddress(node: string): string
  /** Cuts a node's power or turns it on, unplugs its network or plugs it in, imports images. */
  act(verb: 'kill' | 'start' | 'cut' | 'heal' | 'load', what: string): Promise<void>
  /** Kills the first process of a container. */
  crash(node: string, container: string): Promise<void>
  down(): Promise<void>
}

/** The cluster of this folder, which is up or about to be. */
export function labAt(state: string, bin: string, count: number): Lab {
  const env = {
    ...process.env,
    BIN: bin,
    STATE: state,
    NODES: String(count),
    KUBECONFIG: join(state, 'admin.conf'),
    PATH: `${bin}:${process.env.PATH ?? ''}`,
  }
  return {
    state,
    env,
    nodes: Array.from({ length: count }, (_, i) => `node${i + 1}`),
    inside: [SCRIPT, 'exec'],
    outside: [SCRIPT, 'client', '1'],
    on: (node) => [SCRIPT, 'on', node],
    outsideAddresses: Array.from({ length: 8 }, (_, i) => `10.200.0.${211 + i}`),
    nodeAddress: (node) => `10.200.0.1${node.slice('node'.length)}`,
    async act(verb, what) {
      const done = await runProgram([SCRIPT, verb, what], { env, timeoutMs: LOAD_MS })
      if (done.code !== 0) throw new Error(`${verb} ${what}: ${done.err.trim()}`)
    },
    async crash(node, container) {
      const done = await runProgram([SCRIPT, 'crash', node, container], { env })
      if (done.code !== 0) throw new Error(`crash ${container}: ${done.err.trim()}`)
    },
    async down() {
      await runProgram([SCRIPT, 'down'], { env, timeoutMs: DOWN_MS })
    },
  }
}

/** Brings a cluster up; it is taken away again when this process ends, unless `keep`. */
export async function startLab(
  bin: string,
  options: { nodes: number; keep: boolean; state?: string; say: (line: string) => void },
): Promise<Lab> {
  const state = options.state ?? mkdtempSync(join(tmpdir(), PREFIX))
  const lab = labAt(state, bin, options.nodes)
  if (!options.keep)
    process.on('exit', () => {
      if (existsSync(join(state, 'nodes')))
        spawnSync(SCRIPT, ['down'], { env: lab.env, timeout: DOWN_MS, stdio: 'ignore' })
    })
  const up = await runProgram([SCRIPT, 'up'], { env: lab.env, timeoutMs: UP_MS })
  if (up.code !== 0) {
    const log = spawnSync('sh', ['-c', `tail -n 3 ${state}/log/*.log ${state}/node*/log/*.log 2>/dev/null`], {
      encoding: 'utf8',
    })
    throw new Error(`the test cluster did not come up: ${up.err.trim()}\n${up.out}${log.stdout.slice(-4000)}`)
  }
  options.say(up.out.trim().split('\n').at(-1) ?? '')
  return lab
}

const HELP = `node e2e/kube/lab.ts up [--nodes 3] [--state FOLDER] | down [--state FOLDER] | image [--state FOLDER]

  up     a cluster for work by hand, with the image of this checkout as localhost/skep:dev
  image  the image once more, after a change
  down   everything away`

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      nodes: { type: 'string', default: '3' },
      state: { type: 'string', default: join(tmpdir(), `${PREFIX}hand`) },
    },
  })
  const [verb] = positionals
  if (verb === undefined || !['up', 'down', 'image'].includes(verb)) {
    process.stderr.write(`${HELP}\n`)
    return 64
  }
  const say = (line: string): void => void process.stdout.write(`${line}\n`)
  const built = await buildServers(say)
  if (built.kind === 'missing') {
    say(`not here: ${built.reason}`)
    return 1
  }
  const lab =
    verb === 'up'
      ? await startLab(built.folder, { nodes: Number(values.nodes), keep: true, state: values.state, say })
      : labAt(values.state, built.folder, Number(values.nodes))
  if (verb === 'down') {
    await lab.down()
    return 0
  }
  const image = join(lab.state, 'skep.tar')
  buildImage({ output: image, name: 'localhost/skep:dev' })
  await lab.act('load', image)
  rmSync(image)
  say(`export BIN=${built.folder} STATE=${lab.state}`)
  say(`${SCRIPT} exec kubectl get nodes`)
  return 0
}

if (import.meta.main) process.exit(await main())
