// Style as a test: sizes, import walls, one door per dependency, banned words. What it finds names file and
// line. Refuses: taste. What cannot be checked is in docs/style.md.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { test } from 'node:test'

const ROOT = resolve(import.meta.dirname, '..')
const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: ROOT,
  encoding: 'utf8',
})
  .split('\n')
  .filter((f) => f !== '' && existsSync(join(ROOT, f)))
const code = files.filter((f) => /\.(ts|tsx|go|mjs|c|sh)$/.test(f) && !f.includes('/gen/'))
const typescript = code.filter((f) => f.endsWith('.ts'))
const read = (f: string): string => readFileSync(join(ROOT, f), 'utf8')
/** Tests, simulations and tools that only developers run: walls and purity are not theirs to keep. */
const isTest = (f: string): boolean =>
  /\.(test|case|kube)\.ts$/.test(f) ||
  f.includes('/sim/') ||
  f.startsWith('e2e/') ||
  f.startsWith('charts/') ||
  f === 'wire/proto/generate.ts'

/** Lines a file may have; the coordinating ones rot first, so they have less. */
const BUDGETS: Record<string, number> = {
  'skep.ts': 150,
  'tracker/main.ts': 150,
  'tracker/replica/replica.ts': 310,
  'tracker/udp/worker.ts': 250,
}
const MOST_LINES = 500

type Import = { file: string; line: number; spec: string; typeOnly: boolean }

function importsOf(file: string): Import[] {
  const found: Import[] = []
  const text = read(file)
  const pattern = /^\s*(?:import|export)\s+(type\s+)?(?:[\s\S]*?\sfrom\s+)?'([^']+)'|\bimport\('([^']+)'\)/gm
  for (const m of text.matchAll(pattern)) {
    const spec = m[2] ?? m[3]!
    const line = text.slice(0, m.index).split('\n').length
    found.push({ file, line, spec, typeOnly: m[1] !== undefined })
  }
  return found
}

/** Where an import leads: a path below the root, or the package's name. */
function target(i: Import): string {
  if (i.spec.startsWith('.')) return relative(ROOT, resolve(ROOT, dirname(i.file), i.spec))
  const own = /^@skep\/([a-z]+)(?:\/(.*))?$/.exec(i.spec)
  if (own !== null) return `${own[1]}/${own[2] ?? 'core.ts'}`
  return i.spec
}

/**
 * Who may import whom: the longest prefix that fits a file rules it. `may`: prefixes of our own files; `node:
 * false`: no module of Node's.
 */
type Wall = { in: string; may: readonly string[]; node?: boolean }
const MODEL = ['operator/plan/', 'operator/desired/', 'operator/model/', 'wire/']
const WALLS: readonly Wall[] = [
  { in: 'wire/', may: ['wire/'], node: false },
  { in: 'raft/', may: ['raft/'] },
  { in: 'testing/', may: ['testing/'] },
  { in: 'cli/', may: ['cli/'] },
  { in: 'tracker/swarm/', may: ['tracker/swarm/', 'wire/'], node: false },
  { in: 'tracker/threads/', may: ['tracker/threads/'] },
  { in: 'tracker/native/', may: ['tracker/native/'] },
  { in: 'tracker/replica/', may: ['tracker/replica/', 'raft/'] },
  {
    in: 'tracker/udp/',
    may: ['tracker/udp/', 'tracker/swarm/', 'tracker/threads/', 'tracker/native/', 'wire/'],
  },
  {
    in: 'tracker/http/',
    may: ['tracker/http/', 'tracker/swarm/', 'tracker/threads/', 'tracker/native/', 'wire/'],
  },
  { in: 'tracker/', may: ['tracker/', 'wire/', 'raft/', 'cli/'] },
  { in: 'load/', may: ['load/', 'wire/', 'cli/', 'tracker/'] },
  { in: 'operator/plan/', may: MODEL, node: false },
  { in: 'operator/desired/', may: MODEL, node: false },
  { in: 'operator/', may: ['operator/', 'wire/', 'cli/'] },
  { in: 'charts/', may: ['charts/', 'operator/model/', 'testing/tools/'] },
  {
    in: 'e2e/',
    may: ['e2e/', 'testing/', 'tracker/', 'operator/', 'load/', 'wire/', 'raft/', 'cli/', 'charts/'],
  },
]

/** The one file (or folder) that may import a package; replacing the package is a change there. */
const DOORS: Record<string, readonly string[]> = {
  koffi: ['tracker/udp/mmsg.ts', 'load/udp/mmsg.ts'],
  'classic-level': ['tracker/replica/log/level.ts'],
  lmdb: ['tracker/replica/log/lmdb.ts'],
  pino: ['tracker/log.ts'],
  'prom-client': ['tracker/stats/metrics.ts', 'operator/metrics.ts'],
  '@kubernetes/client-node': ['operator/kube/kube.ts'],
  yaml: ['cli/', 'charts/'],
  valibot: ['cli/'],
  commander: ['cli/command.ts'],
}

test('files stay readable: at most 500 lines, less for those that coordinate', () => {
  const over = code
    .map((f) => ({ f, lines: read(f).split('\n').length - 1, most: BUDGETS[f] ?? MOST_LINES }))
    .filter((x) => x.lines > x.most)
  assert.deepEqual(over, [])
})

test('every source file opens with what it is for', () => {
  const silent = typescript.filter((f) => !/^(#!.*\n)?(\/\/|\/\*)/.test(read(f)))
  assert.deepEqual(silent, [])
})

test('imports point to the purer part', () => {
  const faults: string[] = []
  for (const file of typescript.filter((f) => !isTest(f))) {
    const wall = WALLS.filter((w) => file.startsWith(w.in)).sort((a, b) => b.in.length - a.in.length)[0]
    if (wall === undefined) continue
    for (const i of importsOf(file)) {
      const to = target(i)
      const ours = /^(cli|wire|raft|tracker|load|operator|testing|charts|e2e)\//.test(to)
      if (ours && !wall.may.some((p) => to.startsWith(p))) faults.push(`${file}:${i.line} imports ${to}`)
      if (i.spec.startsWith('node:') && wall.node === false)
        faults.push(`${file}:${i.line} imports ${i.spec}`)
    }
  }
  assert.deepEqual(faults, [])
})

test('one door per dependency', () => {
  const faults: string[] = []
  for (const file of typescript)
    for (const i of importsOf(file)) {
      const doors = DOORS[i.spec]
      if (doors !== undefined && !isTest(file) && !doors.some((d) => file.startsWith(d)))
        faults.push(`${file}:${i.line} imports ${i.spec}; its door is ${doors.join(', ')}`)
    }
  assert.deepEqual(faults, [])
})

test('the swarm table and the operator’s plan know no clock, no chance and no process', () => {
  const faults: string[] = []
  for (const file of typescript.filter(
    (f) => /^(tracker\/swarm|operator\/(plan|desired)|wire)\//.test(f) && !isTest(f),
  ))
    read(file)
      .split('\n')
      .forEach((text, i) => {
        if (/\b(Date\.now|Math\.random|performance\.|process\.)/.test(text))
          faults.push(`${file}:${i + 1} ${text.trim()}`)
      })
  assert.deepEqual(faults, [])
})

test('no marks left, no default exports', () => {
  const faults: string[] = []
  // Put together, so that this file does not find itself.
  const marks = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', 'HA' + 'CK'].join('|')})\\b`)
  for (const file of code)
    read(file)
      .split('\n')
      .forEach((text, i) => {
        if (marks.test(text)) faults.push(`${file}:${i + 1} ${text.trim()}`)
        if (/^export default /.test(text)) faults.push(`${file}:${i + 1} ${text.trim()}`)
      })
  assert.deepEqual(faults, [])
})

test('documents link to files that exist', () => {
  const faults: string[] = []
  for (const file of files.filter((f) => f.endsWith('.md')))
    for (const m of read(file).matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)]*)?\)/g))
      if (!existsSync(join(ROOT, dirname(file), m[1]!))) faults.push(`${file} links to ${m[1]}`)
  assert.deepEqual(faults, [])
})
