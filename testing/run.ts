// `npm test` and `npm run test:all`: finds the test files and runs them. Those whose code never leaves its
// thread share one process, since starting it and loading the same modules costs more than their tests; each
// of the others has its own. Refuses: to end with 0 when a process ended in any other way than with all its
// tests passed.
//
// What a file is, its name says: `x.test.ts` always runs; `x.slow.test.ts` (real processes, further seeds)
// runs by `npm run test:all`, which runs nothing else.

import { spawn } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { parseArgs } from 'node:util'

const ROOT = join(import.meta.dirname, '..')
const FOLDERS = '{cli,wire,raft,tracker,operator,charts,testing,load,e2e}'
/** Who loads one of these has sockets, threads, processes or native code, which neighbours would feel. */
const OUTSIDE =
  /^(node:(net|tls|http|http2|dgram|dns|child_process|worker_threads|cluster)|koffi|lmdb|classic-level|pino)$/
/** A file that takes longer waits for what does not come, milliseconds. */
const FILE_MS = 600_000
/** Files of `npm test` at once: most of their time they wait for timers, sockets and disks. */
const AT_ONCE = availableParallelism() + 1
/** The last lines of node:test's report. */
const COUNT = /^ℹ (tests|pass|fail|cancelled|skipped|todo) (\d+)$/gm
const REST = /^ℹ (suites|duration_ms) .*\n/gm
const WHAT = ['tests', 'pass', 'fail', 'cancelled', 'skipped', 'todo'] as const

type Counts = Record<string, number>

function testFiles(slow: boolean): string[] {
  const found = globSync(`${FOLDERS}/**/*.test.ts`, {
    cwd: ROOT,
    exclude: (path) => path.includes('node_modules'),
  })
  return found.filter((path) => path.endsWith('.slow.test.ts') === slow).sort()
}

/** What each file of ours loads: paths from here, and names of packages. */
const loaded = new Map<string, readonly string[]>()

function importsOf(path: string): readonly string[] {
  const known = loaded.get(path)
  if (known !== undefined) return known
  const text = readFileSync(join(ROOT, path), 'utf8')
  const found: string[] = []
  const pattern = /^\s*(?:import|export)\s+(type\s)?(?:[^'"]*?\sfrom\s+)?'([^']+)'|\bimport\('([^']+)'\)/gm
  for (const [, typeOnly, named, dynamic] of text.matchAll(pattern)) {
    const name = named ?? dynamic!
    if (typeOnly !== undefined) continue
    if (name.startsWith('.')) found.push(relative(ROOT, resolve(ROOT, dirname(path), name)))
    else found.push(name.replace(/^@skep\/([a-z]+)$/, '$1/core.ts').replace(/^@skep\//, ''))
  }
  loaded.set(path, found)
  return found
}

/** Whether nothing that a file loads reaches out of its thread. */
function staysInside(path: string, seen = new Set<string>()): boolean {
  if (seen.has(path)) return true
  seen.add(path)
  return importsOf(path).every((one) => (one.endsWith('.ts') ? staysInside(one, seen) : !OUTSIDE.test(one)))
}

/** Runs node:test; prints what it says but for its counts. */
function run(paths: readonly string[], flags: readonly string[]): Promise<{ ok: boolean; counts: Counts }> {
  const args = ['--test', '--test-reporter=spec', `--test-timeout=${FILE_MS}`, ...flags, ...paths]
  // Each process loads much of the same: what it became is kept.
  const env = { NODE_COMPILE_CACHE: join(ROOT, 'node_modules/.cache/compiled'), ...process.env }
  const child = spawn(process.execPath, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'inherit'] })
  const counts: Counts = {}
  let rest = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const end = (rest + text).lastIndexOf('\n') + 1
    const lines = (rest + text).slice(0, end)
    rest = (rest + text).slice(end)
    for (const [, what, count] of lines.matchAll(COUNT)) counts[what!] = Number(count)
    process.stdout.write(lines.replace(COUNT, '').replace(REST, ''))
  })
  return new Promise((done) =>
    child.once('close', (code, signal) => {
      process.stdout.write(rest)
      const ok = code === 0 && (counts.tests ?? 0) > 0
      if (!ok) process.stdout.write(`node --test ${flags.join(' ')}: ended with ${signal ?? code}\n`)
      done({ ok, counts })
    }),
  )
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: { slow: { type: 'boolean', default: false } },
    allowPositionals: true,
  })
  const begun = performance.now()
  const files = positionals.length > 0 ? positionals : testFiles(values.slow)
  const inside = positionals.length > 0 ? [] : files.filter((path) => staysInside(path))
  const others = files.filter((path) => !inside.includes(path))
  const runs = [
    ...(inside.length > 0 ? [run(inside, ['--test-isolation=none'])] : []),
    ...(others.length > 0 ? [run(others, values.slow ? [] : [`--test-concurrency=${AT_ONCE}`])] : []),
  ]
  const ends = await Promise.all(runs)
  for (const what of WHAT)
    process.stdout.write(`ℹ ${what} ${ends.reduce((sum, { counts }) => sum + (counts[what] ?? 0), 0)}\n`)
  process.stdout.write(`ℹ duration_ms ${(performance.now() - begun).toFixed(0)}\n`)
  return ends.every(({ ok }) => ok) ? 0 : 1
}

if (import.meta.main) process.exit(await main())
