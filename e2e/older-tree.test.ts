// An older version is found in a clone with its tag, with its history only, and in a shallow one; where it
// cannot be had, what to type is said.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { commitOf } from './older-tree.ts'

const AUTHOR = ['-c', 'user.name=test', '-c', 'user.email=test@example.invalid']

test('a shallow clone fetches the version that an upgrade begins with, or says what to type', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'skep-older-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const git = (where: string, ...args: string[]): string =>
    execFileSync('git', [...AUTHOR, '-C', where, ...args], { encoding: 'utf8', stdio: 'pipe' }).trim()
  const origin = join(folder, 'origin')
  execFileSync('git', ['init', '--quiet', origin])
  const commit = (text: string): string => {
    writeFileSync(join(origin, 'file'), text)
    git(origin, 'add', 'file')
    git(origin, 'commit', '--quiet', '-m', text)
    return git(origin, 'rev-parse', 'HEAD')
  }
  const first = commit('first')
  git(origin, 'tag', 'v9.0.0')
  commit('second')
  assert.equal(commitOf('v9.0.0', origin), first)

  const shallow = join(folder, 'shallow')
  git(folder, 'clone', '--quiet', '--depth', '1', `file://${origin}`, shallow)
  assert.throws(() => git(shallow, 'rev-parse', '--verify', 'v9.0.0^{commit}'))
  assert.equal(commitOf('v9.0.0', shallow), first)

  const missing = /v9\.9\.9 is not in this clone.*\n.*git fetch --depth 1 origin tag v9\.9\.9/
  assert.throws(() => commitOf('v9.9.9', shallow), missing)
})
