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
/** Slow files at once, beside those that share a process: more, and leaders are missed that are there. */
const SLOW_AT_ONCE = availableParallelism()
/** What takes longest begins first, so that the others fill the time beside it; then the rest. */
const FIRST = [
  'tracker/replica-thread/moved.slow.test.ts',
  'tracker/replica-thread/copies.slow.test.ts',
  'tracker/start.slow.test.ts',
  'tracker/start/outlives.slow.test.ts',
  'tracker/start/folder.slow.test.ts',
  'tracker/start/early-stop.slow.test.ts',
  'tracker/replica-thread/handle.slow.test.ts',
]
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

type End = { ok: boolean; counts: Counts }

/** Runs node:test; prints what it says but for its counts: as it comes, or `whole`, once it has ended. */
function run(paths: readonly string[], flags: readonly string[], whole = false): Promise<End> {
  const args = ['--test', '--test-reporter=spec', `--test-timeout=${FILE_MS}`, ...flags, ...paths]
  // Each process loads much of the same: what it became is kept.
  const env = { NODE_COMPILE_CACHE: join(ROOT, 'node_modules/.cache/compiled'), ...process.env }
  const child = spawn(process.execPath, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'inherit'] })
  const counts: Counts = {}
  let rest = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    rest += text
    if (!whole) flush()
  })
  const flush = (): void => {
    const end = rest.lastIndexOf('\n') + 1
    const lines = rest.slice(0, end)
    rest = rest.slice(end)
    for (const [, what, count] of lines.matchAll(COUNT)) counts[what!] = Number(count)
    process.stdout.write(lines.replace(COUNT, '').replace(REST, ''))
  }
  return new Promise((done) =>
    child.once('close', (code, signal) => {
      flush()
      process.stdout.write(rest)
      const ok = code === 0 && (counts.tests ?? 0) > 0
      if (!ok) process.stdout.write(`node --test ${flags.join(' ')}: ended with ${signal ?? code}\n`)
      done({ ok, counts })
    }),
  )
}

/**
 * Each in a process of its own, the longest first: node:test itself begins with the first of the alphabet.
 */
async function runSlow(paths: readonly string[]): Promise<End[]> {
  const waiting = [
    ...FIRST.filter((path) => paths.includes(path)),
    ...paths.filter((p) => !FIRST.includes(p)),
  ]
  const ends: End[] = []
  const lane = async (): Promise<void> => {
    for (let path = waiting.shift(); path !== undefined; path = waiting.shift())
      ends.push(await run([path], [], true))
  }
  await Promise.all(Array.from({ length: SLOW_AT_ONCE }, lane))
  return ends
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
    ...(inside.length > 0 ? [run(inside, ['--test-isolation=none']).then((end) => [end])] : []),
    ...(others.length === 0
      ? []
      : [
          values.slow ? runSlow(others) : run(others, [`--test-concurrency=${AT_ONCE}`]).then((end) => [end]),
        ]),
  ]
  const ends = (await Promise.all(runs)).flat()
  for (const what of WHAT)
    process.stdout.write(`ℹ ${what} ${ends.reduce((sum, { counts }) => sum + (counts[what] ?? 0), 0)}\n`)
  process.stdout.write(`ℹ duration_ms ${(performance.now() - begun).toFixed(0)}\n`)
  return ends.every(({ ok }) => ok) ? 0 : 1
}

if (import.meta.main) process.exit(await main())
