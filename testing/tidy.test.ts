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
  'tracker/replica/member.ts': 400,
  'tracker/replica-thread/running.ts': 250,
  'tracker/ctl.ts': 120,
  'operator/main.ts': 280,
  'load/bench/rounds.ts': 300,
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
 * Who may import whom: the longest prefix that fits a file rules it, and a room's own files may always import
 * one another. `may`: prefixes of our own files. `types`: prefixes of which only types may be imported.
 * `node: false`: no module of Node's. Tests and cases (`*.test.ts`, `*.case.ts`, `sim/`) keep to the walls of
 * their workspace.
 */
type Wall = { in: string; may: readonly string[]; types?: readonly string[]; node?: boolean }
const RAFT = ['raft/']
const FRONT_END = ['tracker/swarm/', 'tracker/threads/', 'tracker/native/', 'wire/']
const MEMBER = ['batches', 'leadership', 'log', 'transport'].map((room) => `tracker/replica/${room}/`)
const WALLS: readonly Wall[] = [
  { in: 'wire/', may: [], node: false },
  { in: 'raft/', may: [] },
  { in: 'testing/', may: [] },
  { in: 'cli/', may: [] },
  { in: 'tracker/swarm/', may: ['wire/'], node: false },
  { in: 'tracker/threads/', may: [] },
  { in: 'tracker/native/', may: [] },
  { in: 'tracker/keys/', may: ['wire/', 'cli/', 'tracker/replica/transport/psk.ts'] },
  {
    in: 'tracker/access/',
    may: ['wire/', 'cli/', 'tracker/swarm/', 'tracker/config/', 'tracker/control/', 'tracker/log.ts'],
  },
  { in: 'tracker/replica/log/', may: RAFT },
  { in: 'tracker/replica/transport/', may: RAFT },
  { in: 'tracker/replica/batches/', may: RAFT },
  { in: 'tracker/replica/leadership/', may: [...RAFT, 'tracker/replica/transport/'] },
  { in: 'tracker/replica/', may: [...RAFT, ...MEMBER] },
  { in: 'tracker/replica/membership/', may: ['tracker/replica/', ...RAFT] },
  { in: 'tracker/replica/transfer/', may: ['tracker/replica/', ...RAFT] },
  { in: 'tracker/udp/', may: FRONT_END },
  { in: 'tracker/http/', may: FRONT_END },
  {
    in: 'tracker/replica-thread/',
    may: ['replica', 'swarm', 'threads', 'native', 'keys']
      .map((r) => `tracker/${r}/`)
      .concat('raft/', 'cli/', 'wire/'),
  },
  {
    in: 'tracker/ctl/',
    may: ['config', 'control', 'keys', 'access', 'replica', 'swarm']
      .map((r) => `tracker/${r}/`)
      .concat('cli/', 'wire/', 'raft/'),
  },
  { in: 'tracker/config/', may: ['cli/'] },
  { in: 'tracker/', may: ['tracker/', 'wire/', 'raft/', 'cli/'] },
  { in: 'load/', may: ['wire/', 'cli/'] },
  { in: 'operator/plan/', may: ['operator/desired/', 'operator/model/', 'wire/'], node: false },
  { in: 'operator/desired/', may: ['operator/plan/', 'operator/model/', 'wire/'], node: false },
  { in: 'operator/model/', may: ['wire/'], node: false },
  { in: 'operator/kube/', may: ['operator/model/', 'cli/'] },
  { in: 'operator/', may: ['operator/', 'wire/', 'cli/'] },
  { in: 'charts/', may: ['operator/model/', 'testing/tools/'] },
  { in: 'e2e/', may: ['testing/', 'tracker/', 'operator/', 'load/', 'wire/', 'raft/', 'cli/', 'charts/'] },
]

/** The one file (or folder) that may import a package; replacing the package is a change there. */
const DOORS: Record<string, readonly string[]> = {
  koffi: ['tracker/native/libc.ts', 'load/udp/mmsg.ts'],
  'classic-level': ['tracker/replica/log/level.ts'],
  lmdb: ['tracker/replica/log/lmdb.ts'],
  pino: ['tracker/log.ts'],
  'prom-client': ['tracker/stats/metrics.ts', 'operator/metrics.ts'],
  '@kubernetes/client-node': ['operator/kube/kube.ts'],
  yaml: ['cli/', 'charts/'],
  valibot: ['cli/'],
  commander: ['cli/command.ts'],
  '@bufbuild/protovalidate': ['tracker/http/calls.ts'],
  '@connectrpc/connect-node': ['tracker/control/server.ts', 'tracker/ctl/client.ts', 'operator/members.ts'],
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
  for (const file of typescript) {
    const wall = WALLS.filter((w) => file.startsWith(w.in)).sort((x, y) => y.in.length - x.in.length)[0]
    if (wall === undefined) continue
    const workspace = `${file.split('/')[0]}/`
    const may = [wall.in, ...wall.may, ...(isTest(file) ? [workspace, 'testing/'] : [])]
    for (const i of importsOf(file)) {
      const to = target(i)
      const ours = /^(cli|wire|raft|tracker|load|operator|testing|charts|e2e)\//.test(to)
      if (ours && !may.some((p) => to.startsWith(p))) faults.push(`${file}:${i.line} imports ${to}`)
      if (i.spec.startsWith('node:') && wall.node === false && !isTest(file))
        faults.push(`${file}:${i.line} imports ${i.spec}`)
    }
  }
  assert.deepEqual(faults, [])
})

test('no circles: what is imported imports nobody who imports it', () => {
  const imports = new Map<string, string[]>()
  for (const file of typescript)
    imports.set(
      file,
      importsOf(file)
        .filter((i) => !i.typeOnly)
        .map(target)
        .filter((to) => to.endsWith('.ts')),
    )
  const done = new Set<string>()
  const circles: string[] = []
  const visit = (file: string, path: readonly string[]): void => {
    const at = path.indexOf(file)
    if (at >= 0) circles.push([...path.slice(at), file].join(' -> '))
    if (at >= 0 || done.has(file)) return
    for (const to of imports.get(file) ?? []) visit(to, [...path, file])
    done.add(file)
  }
  for (const file of typescript) visit(file, [])
  assert.deepEqual(circles, [])
})

/** Functions longer than this are listed below with the lines they have, and may only shrink. */
const MOST_FUNCTION_LINES = 70
const LONG_FUNCTIONS: Record<string, number> = {
  'e2e/fuzz-parsers.ts parserTargets': 73,
  'e2e/kube/api-server.ts startApiServer': 74,
  'load/cluster/report.ts printCluster': 111,
  'load/udp/mmsg.ts sockets': 73,
  'operator/kube/api.ts liveApi': 93,
  'operator/kube/events.ts newEvents': 75,
  'operator/kube/watch.ts newCache': 133,
  'raft/sim/cluster.ts nodeCommands': 88,
  'tracker/bench/transfer.ts sending': 83,
  'tracker/main.ts run': 87,
  'tracker/replica-thread/handle.ts openReplica': 73,
  'tracker/udp/packet.ts announce': 74,
}

/** Name and lines of every function that stands at the left margin, or is a method of a class that does. */
function functionsOf(file: string): { name: string; lines: number }[] {
  const lines = read(file).split('\n')
  const found: { name: string; lines: number }[] = []
  const head =
    /^(?: {2})?(?:export )?(?:(?:private|static|override|readonly) )*(?:async )?(?:function\*? |const |get |set )?(\w+)\b.*[({]$/
  for (let i = 0; i < lines.length; i++) {
    const match = head.exec(lines[i]!)
    if (
      match === null ||
      !/\(|=>/.test(lines[i]!) ||
      /^\s*(?:if|for|while|switch|return|test|describe)\b/.test(lines[i]!)
    )
      continue
    const indent = /^ */.exec(lines[i]!)![0]
    let end = i + 1
    // The parameters may have lines of their own: then the body begins at the line that closes them.
    while (end < lines.length && !new RegExp(`^${indent}[})]`).test(lines[end]!)) end++
    if (/^\s*\).*[{(]$/.test(lines[end] ?? ''))
      for (end++; end < lines.length && !lines[end]!.startsWith(`${indent}}`); ) end++
    found.push({ name: match[1]!, lines: end - i + 1 })
  }
  return found
}

test('functions have at most 70 lines; the few that are longer only shrink', () => {
  const faults: string[] = []
  const seen = new Set<string>()
  for (const file of typescript.filter((f) => !/\.(case|kube|test)\.ts$/.test(f)))
    for (const { name, lines } of functionsOf(file)) {
      if (lines <= MOST_FUNCTION_LINES) continue
      const key = `${file} ${name}`
      seen.add(key)
      if (lines > (LONG_FUNCTIONS[key] ?? 0)) faults.push(`${key}: ${lines} lines`)
    }
  for (const key of Object.keys(LONG_FUNCTIONS))
    if (!seen.has(key)) faults.push(`${key} is short now: unlist it`)
  assert.deepEqual(faults, [])
})

test('comments fit into 110 columns; tables in them may be wider', () => {
  const faults: string[] = []
  for (const file of typescript)
    read(file)
      .split('\n')
      .forEach((text, i) => {
        if (text.length > 110 && /^\s*(\/\/|\/\*\*|\*) ?\S/.test(text)) faults.push(`${file}:${i + 1}`)
      })
  assert.deepEqual(faults, [])
})

test('what is exported is used elsewhere', () => {
  const texts = new Map(typescript.map((f) => [f, read(f)]))
  const words = new Map<string, Set<string>>()
  for (const [file, text] of texts)
    for (const word of new Set(text.match(/\w+/g))) {
      if (!words.has(word)) words.set(word, new Set())
      words.get(word)!.add(file)
    }
  const faults: string[] = []
  for (const [file, text] of texts)
    for (const m of text.matchAll(/^export (?:async )?(?:const|let|function\*?|class) (\w+)/gm))
      if (words.get(m[1]!)!.size === 1 && m[1] !== 'levelEntry') faults.push(`${file} exports ${m[1]}`)
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
