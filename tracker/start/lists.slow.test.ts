// Allow and deny lists of real processes: in force before the first answer, refused when they cannot be read,
// and kept when their file goes bad.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { freePorts } from '@skep/e2e/processes.ts'
import { ctlCommand } from '../ctl.ts'
import { announce, answering, folder, get, HASH, LOCAL, skep } from './process.case.ts'

const POSIX = process.platform === 'win32' ? { skip: 'Windows has no named pipes' } : {}
const HANGS =
  process.getuid?.() === 0 && existsSync('/dev/fuse') && existsSync('/bin/mount')
    ? {}
    : { skip: 'a file system that never answers is mounted by root, with FUSE' }

test('a first start with a list: what it forbids is never answered with peers, from the first moment on', async (t) => {
  const path = join(folder(t), 'deny.txt')
  writeFileSync(path, `${HASH}\n`)
  const [port] = (await freePorts(1)) as [number]
  const args = ['tracker', ...LOCAL, `--data-dir=${folder(t)}`, `--http-port=${port}`, `--deny-list=${path}`]
  const { line, text } = skep(t, args)
  const answers = line(/^answering$/).then(() => true)
  for (let done = false; !done; ) {
    done = await Promise.race([answers, new Promise<false>((resolve) => setImmediate(() => resolve(false)))])
    const { text: answer } = await get(port, announce(7001)).catch(() => ({ text: '' }))
    assert.doesNotMatch(answer, /8:complete/, text())
    if (done) assert.match(answer, /failure reason/)
  }
  assert.match(text(), /--deny-list: list in force.*\n(.*\n)*.*"answering"/)
})

test('a list that cannot be read is a refusal to start, by file and line', POSIX, async (t) => {
  const dir = folder(t)
  const [missing, bad, pipe] = [join(dir, 'none'), join(dir, 'bad'), join(dir, 'pipe')]
  writeFileSync(bad, `# mine\n${HASH}\n${HASH.slice(1)}\n`)
  execFileSync('mkfifo', [pipe])
  const start = (...more: string[]) => skep(t, ['tracker', ...LOCAL, `--data-dir=${dir}/data`, ...more])
  for (const [tracker, sentence] of [
    [start(`--deny-list=${missing}`), /--deny-list .*none: the file is not there/],
    [start(`--allow-list=${bad}`), /--allow-list .*bad, line 3: .*1234.* is not an info_hash/],
    [start(`--deny-list=${pipe}`), /--deny-list .*pipe: it is a named pipe/],
    [start('--deny-list=/dev/zero'), /--deny-list \/dev\/zero: it is a device/],
  ] as const) {
    assert.equal((await tracker.ended).code, 64, tracker.text())
    assert.match(tracker.text(), sentence)
  }
})

test(
  'a file that goes bad leaves the list in force, and it is said everywhere; a stop does not wait for it',
  POSIX,
  async (t) => {
    const dataDir = folder(t)
    const path = join(dataDir, 'deny.txt')
    writeFileSync(path, `${HASH}\n`)
    const tracker = await answering(t, dataDir, `--deny-list=${path}`)
    rmSync(path)
    execFileSync('mkfifo', [path])
    await tracker.line(/deny.txt: it is a named pipe.*the list stays as it is/)
    assert.match((await tracker.get(announce(7001))).text, /failure reason/)
    const ready = await tracker.get('/readyz')
    assert.deepEqual([ready.status, /deny.txt: it is a named pipe/.test(ready.text)], [200, true], ready.text)
    assert.match((await tracker.get('/metrics')).text, /^skep_access_list_fault\{list="deny"\} 1$/m)
    let status = ''
    const out = (text: string): void => {
      status += text
    }
    const asked = ['status', `--control-port=${tracker.control}`, `--data-dir=${dataDir}`]
    await ctlCommand(asked, { environment: {}, out, err: out })
    assert.match(status, /deny.txt: it is a named pipe/)
    tracker.child.kill('SIGTERM')
    assert.equal((await tracker.ended).code, 0)
  },
)

test(
  'a list on a file system that stops answering: the tracker serves on, and ends when it is told to',
  HANGS,
  async (t) => {
    const dataDir = folder(t)
    const [link, good] = [join(dataDir, 'link'), join(dataDir, 'good')]
    writeFileSync(good, `${HASH}\n`)
    symlinkSync(good, link)
    const tracker = await answering(t, dataDir, `--deny-list=${link}`)
    const mount = hanging(t)
    rmSync(link)
    symlinkSync(join(mount, 'list'), link)
    await tracker.line(/link: its file system has not answered for 10 s; the list stays/)
    assert.match((await tracker.get(announce(7001))).text, /failure reason/)
    tracker.child.kill('SIGTERM')
    assert.equal((await tracker.ended).code, 0)
    assert.match(tracker.text(), /"msg":"stopped"\}\n$/)
  },
)

test(
  "a network key's file that is a pipe, or stops answering: what it opened stays open, and a stop does not wait",
  HANGS,
  async (t) => {
    const dir = folder(t)
    const [link, pipe] = [join(dir, 'link'), join(dir, 'pipe')]
    writeFileSync(join(dir, 'good'), `${'0123456789abcdef'.repeat(4)}\n`)
    execFileSync('mkfifo', [pipe])
    symlinkSync(join(dir, 'good'), link)
    const tracker = await answering(t, join(dir, 'data'), `--network-key-file=${link}`)
    const status = async (): Promise<string> => {
      let told = ''
      const out = (text: string): void => {
        told += text
      }
      const asked = ['status', `--control-port=${tracker.control}`, `--network-key-file=${join(dir, 'good')}`]
      await ctlCommand(asked, { environment: {}, out, err: out })
      return told
    }
    for (const [target, fault] of [
      [pipe, /link: it is a named pipe.*The keys read before stay in force/],
      [join(hanging(t), 'key'), /link: its file system has not answered for 10 s.*The keys read before stay/],
    ] as const) {
      rmSync(link)
      symlinkSync(target, link)
      while (!fault.test(await status())) assert.equal((await tracker.get('/livez')).status, 200)
    }
    tracker.child.kill('SIGTERM')
    assert.equal((await tracker.ended).code, 0)
    assert.match(tracker.text(), /"msg":"stopped"\}\n$/)
  },
)

test(
  'a key that never answers at the start is a refusal that may pass, and nothing hangs',
  HANGS,
  async (t) => {
    const [dir, mount] = [folder(t), hanging(t)]
    const key = `--network-key-file=${mount}/key`
    const tracker = skep(t, ['tracker', ...LOCAL, `--data-dir=${dir}/data`, key])
    const asking = skep(t, ['ctl', 'status', key])
    assert.equal((await tracker.ended).code, 75, tracker.text())
    assert.match(tracker.text(), /network key .*key: its file system has not answered for 10 s/)
    assert.equal((await asking.ended).code, 1)
    assert.match(asking.text(), /network key .*key: its file system has not answered for 10 s/)
  },
)

/** A folder on a file system that answers nobody, ever. */
function hanging(t: TestContext): string {
  const mount = mkdtempSync(join(tmpdir(), 'skep-hangs-'))
  const fuse = openSync('/dev/fuse', 'r+')
  const options = 'fd=3,rootmode=40000,user_id=0,group_id=0'
  execFileSync('mount', ['-i', '-t', 'fuse', '-o', options, 'skep-test', mount], {
    stdio: ['ignore', 'ignore', 'inherit', fuse],
  })
  t.after(() => {
    closeSync(fuse)
    execFileSync('umount', ['-l', mount])
    rmdirSync(mount)
  })
  return mount
}
