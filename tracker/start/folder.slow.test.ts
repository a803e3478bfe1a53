// Real processes on data folders of all sorts: open to others, full, read-only, somebody else's.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  closeSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { guessBits } from '../keys/poor-keys.ts'
import { answering, folder, LOCAL, skep } from './process.case.ts'

const windows = process.platform === 'win32'
const root = process.getuid?.() === 0
const POSIX = windows ? { skip: 'Windows has no modes of files' } : {}
const MOUNTS =
  root && process.platform === 'linux' ? {} : { skip: 'file systems are mounted by root on Linux' }

const everything = (path: string): string[] =>
  lstatSync(path).isDirectory()
    ? [path, ...readdirSync(path).flatMap((n) => everything(join(path, n)))]
    : [path]

/** What others may do with anything below. */
const open = (path: string): string[] => everything(path).filter((p) => (lstatSync(p).mode & 0o077) !== 0)

test(
  'no other user reads the data folder: a new one is closed, an old one is closed at start with a line',
  POSIX,
  async (t) => {
    const path = join(folder(t), 'a', 'b')
    const first = await answering(t, path)
    assert.equal(
      (await first.get(`/announce?info_hash=${'%01'.repeat(20)}&peer_id=${'p'.repeat(20)}&port=7001&left=0`))
        .status,
      200,
    )
    assert.deepEqual(open(path), [])
    first.child.kill('SIGTERM')
    assert.equal((await first.ended).code, 0)
    for (const p of everything(path)) chmodSync(p, lstatSync(p).isDirectory() ? 0o755 : 0o644)

    const second = await answering(t, path)
    assert.deepEqual(open(path), [])
    const { files } = await second.line(/was open to other users: it is closed now/)
    assert.ok(Number(files) > 5, String(files))
  },
)

test(
  'a key that others can read, or that can be guessed, is used with a warning that says what to do',
  POSIX,
  async (t) => {
    const [path, other] = [join(folder(t), 'key'), folder(t)]
    chmodSync(other, 0o755)
    writeFileSync(join(other, 'letter.txt'), 'mine')
    chmodSync(join(other, 'letter.txt'), 0o644)
    writeFileSync(path, `${'swordfish'.repeat(4)}\n`)
    chmodSync(path, 0o644)
    const { line } = await answering(t, other, `--network-key-file=${path}`)
    await line(/other users may read it \(mode 644\).*chmod 600/)
    await line(/line 1: it can be guessed.*openssl rand -hex 32/)
    // And a folder that holds other things is left as it is, but for what is ours.
    assert.deepEqual(open(other), [other, join(other, 'letter.txt')])
  },
)

test('keys that a program makes are never called guessable, those that people make are', () => {
  for (let i = 0; i < 500; i++) {
    const bytes = crypto.getRandomValues(new Uint8Array(32))
    for (const encoding of ['hex', 'base64', 'base64url'] as const) {
      const key = Buffer.from(bytes).toString(encoding)
      assert.ok(guessBits(key) >= 90, key)
    }
    assert.ok(guessBits(Buffer.from(bytes).toString('hex').slice(0, 32)) >= 90)
  }
  for (const key of [
    'k'.repeat(64),
    'changeme'.repeat(5),
    'abcdefghijklmnopqrstuvwxyz0123456789',
    '0123456789abcdef0123456789abcdef',
    'this is the secret key of my cluster',
    'password1password1password1password1',
    '12345678901234567890123456789012',
  ])
    assert.ok(guessBits(key) < 90, `${key}: ${guessBits(key)}`)
})

/** A file system of its own, so large. */
function mounted(t: TestContext, options: string): string {
  const path = mkdtempSync(join(tmpdir(), 'skep-disk-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'skep-test', path])
  t.after(() => {
    execFileSync('umount', ['-l', path])
    rmdirSync(path)
  })
  return path
}

async function refused(t: TestContext, path: string, more: Parameters<typeof skep>[2] = {}) {
  const tracker = skep(t, ['tracker', ...LOCAL, `--data-dir=${path}`], more)
  const { code } = await tracker.ended
  const { msg } = await tracker.line(/data folder/)
  assert.doesNotMatch(tracker.text(), /report this/)
  return { code, msg }
}

/** Bytes until no more fit. */
function fill(path: string): void {
  const file = openSync(path, 'w')
  const bytes = Buffer.alloc(4096, 1)
  try {
    for (;;) writeSync(file, bytes)
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC')
  } finally {
    closeSync(file)
  }
}

test(
  'a full disk: folder, cause, what to do, and a code with which it comes back once there is room',
  MOUNTS,
  async (t) => {
    const disk = mounted(t, 'size=8m')
    fill(join(disk, 'filling'))
    const fresh = await refused(t, join(disk, 'data'))
    assert.equal(fresh.code, 75)
    assert.match(fresh.msg, /data folder .*data: the disk is full.* KiB are free.*make room/)
    rmSync(join(disk, 'filling'))
    const first = await answering(t, join(disk, 'data'))
    first.child.kill('SIGTERM')
    assert.equal((await first.ended).code, 0)
    fill(join(disk, 'filling'))
    assert.equal((await refused(t, join(disk, 'data'))).code, 75)
    rmSync(join(disk, 'filling'))
    await answering(t, join(disk, 'data'))
  },
)

test('a read-only file system, new or with data: not a code to start again on', MOUNTS, async (t) => {
  const disk = mounted(t, 'size=8m')
  const first = await answering(t, join(disk, 'data'))
  first.child.kill('SIGTERM')
  await first.ended
  execFileSync('mount', ['-o', 'remount,ro', disk])
  for (const name of ['data', 'other']) {
    const { code, msg } = await refused(t, join(disk, name))
    assert.equal(code, 77)
    assert.match(
      msg,
      new RegExp(`data folder .*${name} lies on a read-only file system: mount it for writing`),
    )
  }
})

test('a folder that is not this user’s: whose it is, and how to give it', POSIX, async (t) => {
  const path = folder(t)
  chmodSync(path, 0o755)
  const data = join(path, 'data')
  mkdirSync(join(data, 'replica'), { recursive: true })
  const file = join(data, 'replica', 'mark')
  writeFileSync(file, 'm')
  // As root made it once, and a user is to go on; without root the own folder is closed to oneself.
  const other = root ? { uid: 65_534, gid: 65_534 } : {}
  if (root) chownSync(data, 65_534, 65_534)
  chmodSync(file, root ? 0o644 : 0o400)
  const inside = await refused(t, data, other)
  assert.equal(inside.code, 77)
  assert.match(
    inside.msg,
    new RegExp(`user ${root ? 65_534 : process.getuid!()} may not use .*replica.*belongs to user`),
  )
  chmodSync(path, root ? 0o755 : 0o500)
  assert.equal((await refused(t, join(path, 'new'), other)).code, 77)
  chmodSync(path, 0o755)
})

test('a folder that is a file', async (t) => {
  const path = join(folder(t), 'file')
  writeFileSync(path, '')
  const { code, msg } = await refused(t, path)
  assert.equal(code, 74)
  assert.match(msg, /--data-dir names another one/)
  assert.equal(statSync(path).size, 0)
})
