// The package as an npm user meets it: packed, installed elsewhere, the README's example run, its types
// checked.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
let folder: string
let user: string

/** Runs a command; its output is in the error if it fails. */
const run = (command: string, args: string[], cwd: string): string =>
  execFileSync(command, args, { cwd, encoding: 'utf8', stdio: 'pipe' })

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'package-'))
  user = join(folder, 'user')
  const dist = join(folder, 'dist')
  run(process.execPath, [join(here, 'pack.ts'), dist], here)
  const [packed] = JSON.parse(run('npm', ['pack', '--json', dist], folder)) as [{ filename: string }]
  mkdirSync(user)
  writeFileSync(join(user, 'package.json'), '{ "type": "module", "private": true }')
  const offline = ['install', '--offline', '--no-audit', '--no-fund', join(folder, packed.filename)]
  run('npm', offline, user)
})

after(() => rmSync(folder, { recursive: true }))

test('the example of the README prints what the README says', () => {
  const readme = readFileSync(join(user, 'node_modules/@skep/raft/README.md'), 'utf8')
  const block = (language: string): string =>
    new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``).exec(readme)![1]!
  writeFileSync(join(user, 'example.js'), block('js'))
  assert.equal(run(process.execPath, ['example.js'], user), block('text'))
})

test('its types are found and hold', () => {
  const compiler = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')
  const source = `
    import { type Core, loadCore, RaftPanic, type Ready } from '@skep/raft'
    import { messageInfo } from '@skep/raft/message'
    const core: Core = await loadCore({ random: () => 0.5 })
    const ready: Ready | null = core.ready(1)
    export const index: number | undefined = messageInfo(new Uint8Array())?.snapshot?.index
    export const trace = (e: RaftPanic): string => e.trace
    // @ts-expect-error: a handle is a number
    core.tick('1')
    export default ready
  `
  writeFileSync(join(user, 'use.ts'), source)
  const flags = [
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2022',
    '--lib',
    'es2022',
    '--types',
    '',
  ]
  run(process.execPath, [compiler, ...flags, 'use.ts'], user)
})

test('it carries the notices of what it contains', () => {
  const installed = (file: string): string =>
    readFileSync(join(user, 'node_modules/@skep/raft', file), 'utf8')
  assert.match(installed('NOTICE'), /go\.etcd\.io\/raft\/v3[\s\S]*Apache License 2\.0/)
  assert.match(installed('licenses/etcd-raft.txt'), /Apache License\s+Version 2\.0/)
  const names = [...installed('NOTICE').matchAll(/licenses\/\S+\.txt/g)].map(([name]) => name)
  for (const name of names) assert.ok(installed(name).length > 500, name)
  assert.equal(names.length, 3)
})
