// The installed command and its unit: linked from anywhere, for anybody, on the Node.js that was installed
// with it; and a unit that systemd has nothing to say against.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'

const ROOT = join(import.meta.dirname, '..')
const skip = process.platform === 'win32' && 'a shell script'

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'skep launcher '))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

test('linked and linked again, it finds its folder and its own Node.js, whatever node is in the PATH', {
  skip,
}, (t) => {
  const at = folder(t)
  for (const name of ['bin', 'elsewhere']) mkdirSync(join(at, name))
  symlinkSync(join(ROOT, 'bin/skep'), join(at, 'elsewhere/skep'))
  symlinkSync('../elsewhere/skep', join(at, 'bin/skep'))
  const other = join(at, 'bin/node')
  writeFileSync(other, '#!/bin/sh\necho "the wrong Node.js"\nexit 99\n')
  chmodSync(other, 0o755)
  const env = { PATH: `${join(at, 'bin')}:/usr/bin:/bin` }
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
  const done = spawnSync('skep', ['--version'], { cwd: at, env, encoding: 'utf8' })
  assert.deepEqual([done.status, done.stdout, done.stderr], [0, `${version}\n`, ''])
})

test('an installation without its packages says what to run', { skip }, (t) => {
  const at = folder(t)
  mkdirSync(join(at, 'bin'))
  cpSync(join(ROOT, 'bin/skep'), join(at, 'bin/skep'))
  const done = spawnSync(join(at, 'bin/skep'), ['--version'], { encoding: 'utf8' })
  assert.equal(done.status, 70)
  assert.match(done.stderr, /^skep: there is no .*\/node_modules\/\.bin\/node: run npm ci --omit=dev in /)
})

const systemd = spawnSync('systemd-analyze', ['--version']).status === 0

test('systemd takes the unit without a word', { skip: !systemd && 'there is no systemd-analyze' }, (t) => {
  const at = folder(t)
  const unit = readFileSync(join(ROOT, 'packaging/skep.service'), 'utf8')
  const path = join(at, 'skep.service')
  // Where it is installed is this checkout here; systemd looks whether the program is there.
  writeFileSync(path, unit.replaceAll('/opt/skep', ROOT))
  const done = spawnSync('systemd-analyze', ['verify', path], { encoding: 'utf8' })
  assert.deepEqual([done.status, done.stderr], [0, ''])
  assert.match(unit, /^LoadCredential=network\.key:/m)
})
