// Programs an end-to-end run starts: in a process group of their own, logged, ended whatever happens.
// Refuses: to leave one behind, to wait without bound.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** Grace between SIGTERM and SIGKILL. */
const GRACE_MS = 3000
const POLL_MS = 100

export type Program = {
  readonly pid: number
  readonly log: string
  /** Exit code or signal once it ended. */
  ended(): string | undefined
  kill(signal: NodeJS.Signals): void
  /** Ends it and all it started. */
  stop(): Promise<void>
}

const running = new Set<ChildProcess>()
const killGroup = (child: ChildProcess, signal: NodeJS.Signals): void => {
  try {
    process.kill(-child.pid!, signal)
  } catch {}
}
process.on('exit', () => {
  for (const child of running) killGroup(child, 'SIGKILL')
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(130))

export const has = (program: string): boolean =>
  spawnSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' }).status === 0

export function startProgram(
  command: readonly string[],
  options: { log: string; env?: NodeJS.ProcessEnv; cwd?: string },
): Program {
  const log = openSync(options.log, 'a')
  const child = spawn(command[0]!, command.slice(1), {
    detached: true,
    cwd: options.cwd,
    env: options.env ?? process.env,
    stdio: ['ignore', log, log],
  })
  closeSync(log)
  running.add(child)
  let end: string | undefined
  const exit = new Promise<void>((done) => {
    child.once('error', (error) => {
      end = error.message
      running.delete(child)
      done()
    })
    child.once('exit', (code, signal) => {
      end = signal ?? `exit code ${code}`
      running.delete(child)
      done()
    })
  })
  return {
    pid: child.pid ?? 0,
    log: options.log,
    ended: () => end,
    kill: (signal) => killGroup(child, signal),
    async stop() {
      if (end !== undefined) return
      killGroup(child, 'SIGTERM')
      const force = setTimeout(() => killGroup(child, 'SIGKILL'), GRACE_MS)
      await exit
      clearTimeout(force)
    },
  }
}

/** Asks until the answer is not undefined, at most `milliseconds`. */
export async function until<T>(
  what: string,
  milliseconds: number,
  ask: () => Promise<T | undefined> | T | undefined,
): Promise<T> {
  const end = performance.now() + milliseconds
  for (;;) {
    const answer = await ask()
    if (answer !== undefined) return answer
    if (performance.now() > end) throw new Error(`${what}: not within ${milliseconds / 1000} s`)
    await sleep(POLL_MS)
  }
}

export const logTail = (path: string, lines = 6): string =>
  existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n').slice(-lines).join('\n') : ''

/** Ports that are free for TCP now; UDP ones of the same number nearly always are too. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer()
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      return server
    }),
  )
  const ports = servers.map((server) => (server.address() as { port: number }).port)
  for (const server of servers) server.close()
  return ports
}
