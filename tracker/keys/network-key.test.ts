// The network key with a real file system: made once, read whole or not at all, followed while it changes;
// its tokens and names.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { hkdfSync } from 'node:crypto'
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import * as wire from '@skep/wire/network-key.ts'
import {
  controlToken,
  NetworkKeyError,
  networkKeyName,
  openNetworkKey,
  readNetworkKeys,
  WatchedKeys,
} from './network-key.ts'

const POSIX = process.platform === 'win32' ? { skip: 'Windows has no named pipes' } : {}

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'skep-keys-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return folder
}

async function watched(t: TestContext, path: string): Promise<WatchedKeys> {
  const keys = new WatchedKeys(await readNetworkKeys(path))
  t.after(() => keys.stop())
  return keys
}

test('tokens and names of keys are those that the operator makes', () => {
  for (const key of ['o'.repeat(40), 'n'.repeat(40), '0123456789abcdef0123456789abcdef']) {
    assert.equal(controlToken(key), wire.controlToken(key, hkdfSync))
    assert.equal(networkKeyName(key), wire.networkKeyName(key, hkdfSync))
  }
})

test('a key file with several keys: the first is in use, and a change of the file counts without a start', async (t) => {
  const folder = folderOf(t)
  const [old, fresh] = ['o'.repeat(32), 'f'.repeat(40)]
  // As a mounted secret lies there: a link to a folder that is exchanged.
  const write = (version: string, text: string): void => {
    mkdirSync(join(folder, version))
    writeFileSync(join(folder, version, 'key'), text)
    symlinkSync(version, join(folder, 'next'))
    renameSync(join(folder, 'next'), join(folder, 'data'))
  }
  write('1', `${old}\n`)
  symlinkSync('data/key', join(folder, 'key'))
  const path = join(folder, 'key')
  assert.deepEqual((await readNetworkKeys(path)).keys, [old])
  const keys = await watched(t, path)
  const told: string[][] = []
  keys.follow((now) => told.push([...now]))
  write('2', ` ${old}\r\n\n${fresh}\n${old}\n`)
  await keys.look()
  write('3', `${fresh}\nhunter2\n`)
  await keys.look()
  assert.match(keys.fault, /7 characters in line 2/)
  assert.deepEqual(keys.keys, [old, fresh])
  write('4', `${fresh}\n`)
  await keys.look()
  assert.deepEqual([keys.keys, keys.fault], [[fresh], ''])
  await keys.look()
  assert.deepEqual(told, [[old, fresh], [fresh]])
  assert.match(networkKeyName(old), /^[0-9a-f]{24}$/)
  writeFileSync(path, Array.from({ length: 9 }, (_, i) => `${i}`.repeat(32)).join('\n'))
  await assert.rejects(readNetworkKeys(path), /9 lines; 8 keys are the most/)
})

test('a key file that is still being written takes no key away', async (t) => {
  const path = join(folderOf(t), 'key')
  const [first, second] = ['a'.repeat(40), 'b'.repeat(40)]
  writeFileSync(path, `${first}\n${second}\n`)
  const keys = await watched(t, path)
  // Written anew in place, piece by piece: each piece alone would be a good file.
  const turned = ['c'.repeat(40), second, first]
  for (let lines = 1; lines <= turned.length; lines++) {
    const until = performance.now() + 300
    writeFileSync(path, `${turned.slice(0, lines).join('\n')}\n`)
    while (performance.now() < until) {
      utimesSync(path, new Date(), new Date()) // As whoever still writes does.
      assert.deepEqual(keys.keys, [first, second])
      await new Promise(setImmediate)
    }
  }
  await keys.look()
  assert.deepEqual(keys.keys, turned)
})

test(
  'what takes the place of the key file and is no file takes no key away, and nobody waits for it',
  POSIX,
  async (t) => {
    const folder = folderOf(t)
    const path = join(folder, 'key')
    writeFileSync(path, `${'a'.repeat(40)}\n`)
    const keys = await watched(t, path)
    for (const [make, fault] of [
      [() => execFileSync('mkfifo', [path]), /key: it is a named pipe, and only files are read/],
      [() => symlinkSync('/dev/zero', path), /key: it is a device/],
      [() => mkdirSync(path), /key: it is a folder/],
      [() => truncateSync(openedAt(path), 2 ** 40), /has 1099511627776 bytes, at most 65536 are read/],
      [() => undefined, /key: the file is not there/],
    ] as const) {
      rmSync(path, { recursive: true })
      make()
      await keys.look()
      assert.match(keys.fault, fault)
      assert.deepEqual(keys.keys, ['a'.repeat(40)])
      await assert.rejects(openNetworkKey(folder, path), fault)
      if (String(fault).includes('not there')) writeFileSync(path, '')
    }
    rmSync(path)
    writeFileSync(path, `${'a'.repeat(40)}\n`)
    await keys.look()
    assert.equal(keys.fault, '')
  },
)

/** Makes it, for one that is to be longer than anything that is written. */
const openedAt = (path: string): string => {
  writeFileSync(path, '')
  return path
}

test('a network key is made once, private, and read back; poor ones are refused', async (t) => {
  const folder = folderOf(t)
  const first = await openNetworkKey(folder, null)
  assert.ok(first.made)
  assert.equal(statSync(first.path).mode & 0o777, 0o600)
  const second = await openNetworkKey(folder, null)
  assert.deepEqual([second.made, second.keys], [false, first.keys])
  const key = first.keys[0]!
  assert.ok(!readFileSync(first.path, 'utf8').includes(controlToken(key)))
  assert.notEqual(controlToken(key), controlToken(`${key}x`))
  const short = join(folder, 'short')
  writeFileSync(short, 'hunter2\n', { mode: 0o644 })
  await assert.rejects(openNetworkKey(folder, short), NetworkKeyError)
  await assert.rejects(openNetworkKey(folder, join(folder, 'none')), /the file is not there/)
})
