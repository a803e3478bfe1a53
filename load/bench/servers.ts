// Processes a benchmark starts: pinned to a core, logged to a file, ended whatever happens.
// Refuses: to leave one behind.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'

/** Grace between SIGTERM and SIGKILL. */
const GRACE_MS = 5000

export type Server = {
  readonly pid: number
  /** Resolves to a sentence if the process ends by itself. */
  readonly ended: Promise<string>
  readonly alive: () => boolean
  stop(): Promise<void>
}

const running = new Set<ChildProcess>()

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(130))

export const has = (program: string): boolean =>
  spawnSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' }).status === 0

/** `cores`: a list as taskset takes it; undefined leaves the process free. */
export function startServer(
  command: readonly string[],
  options: { cores?: string | undefined; log: string; cwd?: string; env?: NodeJS.ProcessEnv },
): Server {
  const log = openSync(options.log, 'w')
  const [program, ...args] =
    options.cores === undefined ? command : ['taskset', '-c', options.cores, ...command]
  const child = spawn(program!, args, {
    cwd: options.cwd,
    env: options.env ?? process.env,
    stdio: ['ignore', log, log],
  })
  closeSync(log)
  running.add(child)
  const ended = new Promise<string>((done) => {
    child.once('error', (error) => done(error.message))
    child.once('exit', (code, signal) => {
      running.delete(child)
      const tail = readFileSync(options.log, 'utf8').trim().split('\n').slice(-3).join(' | ')
      done(`ended with ${signal ?? `exit code ${code}`}: ${tail}`)
    })
  })
  return {
    pid: child.pid ?? 0,
    ended,
    alive: () => running.has(child),
    async stop() {
      if (!running.has(child)) return
      child.kill('SIGTERM')
      const force = setTimeout(() => child.kill('SIGKILL'), GRACE_MS)
      await ended
      clearTimeout(force)
    },
  }
}

/** A port that is free for UDP and TCP now. */
export async function freePort(): Promise<number> {
  for (;;) {
    const tcp = createServer()
    await new Promise<void>((done) => tcp.listen(0, '127.0.0.1', done))
    const { port } = tcp.address() as { port: number }
    await new Promise((done) => tcp.close(done))
    const udp = createSocket('udp4')
    const free = await new Promise<boolean>((done) => {
      udp.once('error', () => done(false))
      udp.bind(port, '127.0.0.1', () => done(true))
    })
    await new Promise<void>((done) => (free ? udp.close(() => done()) : done()))
    if (free) return port
  }
}
