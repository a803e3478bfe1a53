// Real processes of skep for tests: their lines as they come, their end, and what one can ask them.
// Refuses: waiting for time; everything here waits for a line, an answer or an end.

import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { bareEnvironment } from '@skep/testing/environment.ts'

export const SKEP = fileURLToPath(new URL('../../skep.ts', import.meta.url))
export const LOCAL = [
  ...['--host=127.0.0.1', '--udp-port=0', '--http-port=0', '--control-port=0', '--memory=16MiB'],
  ...['--health-port=0', '--udp-workers=1', '--log-format=json'],
]
export const HASH = '0123456789abcdef0123456789abcdef01234567'

export function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'skep-process-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

export const announce = (port: number, more = '', hash = HASH): string =>
  `/announce?info_hash=${hash.replace(/../g, '%$&')}&peer_id=-TS0000-${String(port).padStart(12, '0')}` +
  `&port=${port}&left=0&event=started&compact=1${more}`

export type Line = Readonly<Record<string, unknown>> & { readonly msg: string }

export type Skep = {
  readonly child: ChildProcess
  readonly ended: Promise<{ readonly code: number | null; readonly signal: string | null }>
  /** All that came on standard output and error. */
  text(): string
  /** The first line of the log that says so, now or later; rejects when the process ends without it. */
  line(pattern: RegExp): Promise<Line>
  /** The first text on either output that says so. */
  said(pattern: RegExp): Promise<string>
}

/** Starts skep with these words; it is killed when the test ends. */
export function skep(t: TestContext, args: readonly string[], options: SpawnOptions = {}): Skep {
  const child = spawn(process.execPath, [SKEP, ...args], {
    env: bareEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options,
  })
  t.after(() => child.kill('SIGKILL'))
  let text = ''
  const looks = new Set<() => void>()
  const lines: Line[] = []
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue
    createInterface({ input: stream }).on('line', (line) => {
      text += `${line}\n`
      if (line.startsWith('{')) lines.push(JSON.parse(line) as Line)
      for (const look of looks) look()
    })
  }
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) =>
    child.once('close', (code, signal) => resolve({ code, signal })),
  )
  const until = <T>(what: string, find: () => T | undefined): Promise<T> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const found = find()
        if (found === undefined) return
        looks.delete(look)
        resolve(found)
      }
      looks.add(look)
      look()
      void ended.then(() => reject(new Error(`ended without ${what}: ${text}`)))
    })
  return {
    child,
    ended,
    text: () => text,
    line: (pattern) => until(String(pattern), () => lines.find(({ msg }) => pattern.test(msg))),
    said: (pattern) => until(String(pattern), () => pattern.exec(text)?.[0]),
  }
}

export type Answer = { readonly status: number; readonly text: string }

export async function get(port: unknown, path: string): Promise<Answer> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`)
  return { status: response.status, text: await response.text() }
}

/** A tracker on free ports that answers. */
export async function answering(t: TestContext, dataDir: string, ...more: string[]) {
  const tracker = skep(t, ['tracker', ...LOCAL, `--data-dir=${dataDir}`, ...more])
  const { http, udp, control } = await tracker.line(/^answering$/)
  return { ...tracker, udp, control, get: (path: string) => get(http, path) }
}

/** A port after which those of two more replicas, 10 apart, are free as well. */
export async function freeStep(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000)
    const servers = [port, port + 10, port + 20].map((p) => createServer().listen(p, '127.0.0.1'))
    const opened = await Promise.allSettled(servers.map((server) => once(server, 'listening')))
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
    if (opened.every(({ status }) => status === 'fulfilled')) return port
  }
}
