// Access files with a real file system: slips, renames, swapped links, restarts.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { openLogger } from '../log.ts'
import { watchAccessFile } from './file.ts'
import { readInfoHash, readInfoHashes } from './info-hash-list.ts'

const A = 'aa'.repeat(20)
const B = 'bb'.repeat(20)

/** A folder, what was committed, what was logged, and a promise of the next commit. */
async function world(t: TestContext, path: (folder: string) => string, before?: (folder: string) => void) {
  const folder = mkdtempSync(join(tmpdir(), 'skep-access-'))
  before?.(folder)
  const commits: string[] = []
  const lines: string[] = []
  let next = Promise.withResolvers<string>()
  let refuse = 0
  const options = {
    path: path(folder),
    option: '--deny-list',
    memory: join(folder, 'memory'),
    scope: 'cluster-1',
    entries: () => (commits.at(-1) ?? '').length / 40,
    log: openLogger(
      { level: 'info', format: 'json', name: 'r0' },
      { write: (line) => lines.push(JSON.parse(line).msg) },
    ),
    commit: async (hashes: { bytes: Uint8Array }) => {
      if (refuse-- > 0) throw new Error('no leader')
      commits.push(Buffer.from(hashes.bytes).toString('hex'))
      next.resolve(commits.at(-1)!)
      next = Promise.withResolvers()
    },
  }
  const open: { stop(): void }[] = []
  t.after(() => {
    for (const file of open) file.stop()
    rmSync(folder, { recursive: true })
  })
  return {
    folder,
    commits,
    lines,
    next: () => next.promise,
    refuseOnce: () => {
      refuse = 1
    },
    async start(scope = options.scope) {
      const file = await watchAccessFile({ ...options, scope })
      open.push(file)
      await file.look()
      return file
    },
  }
}

const POSIX = process.platform === 'win32' ? { skip: 'Windows has no named pipes' } : {}

/** Makes it, for one that is to be longer than anything that is written. */
const openedAt = (path: string): string => {
  writeFileSync(path, '')
  return path
}

const plain = (folder: string): string => join(folder, 'deny.txt')

test('a list is committed at start and when it changes, but not for comments and order', async (t) => {
  const w = await world(t, plain, (folder) => writeFileSync(plain(folder), `# mine\n${A}\n`))
  const file = await w.start()
  assert.deepEqual(w.commits, [A])
  writeFileSync(plain(w.folder), `${B}\n${A} # the second\n`)
  await w.next()
  assert.equal(w.commits.at(-1), A + B)
  writeFileSync(plain(w.folder), `# nothing new\n${A.toUpperCase()}\n\n${B}\n`)
  await file.look()
  assert.equal(w.commits.length, 2)
})

test('a faulty file is refused whole, with line numbers, once', async (t) => {
  const w = await world(t, plain, (folder) => writeFileSync(plain(folder), `${A}\n`))
  const file = await w.start()
  writeFileSync(plain(w.folder), `${A}\nnot a hash\n${B}x\n`)
  await file.look()
  await file.look()
  assert.deepEqual(w.commits, [A])
  const faults = w.lines.filter((line) => line.includes('not an info_hash'))
  assert.equal(faults.length, 1)
  assert.match(faults[0]!, /line 2: "not a hash".*line 3/)
})

test('a file that vanishes leaves the list as it is', async (t) => {
  const w = await world(t, plain, (folder) => writeFileSync(plain(folder), A))
  const file = await w.start()
  rmSync(plain(w.folder))
  await file.look()
  assert.deepEqual(w.commits, [A])
  assert.ok(w.lines.some((line) => line.includes('not there')))
  writeFileSync(plain(w.folder), B)
  assert.equal(await w.next(), B)
})

test('a file that is cut to nothing before it is written anew empties no list; a comment does', async (t) => {
  const w = await world(t, plain, (folder) => writeFileSync(plain(folder), A))
  const file = await w.start()
  writeFileSync(plain(w.folder), '')
  await file.look()
  assert.deepEqual(w.commits, [A])
  assert.match(file.fault(), /--deny-list .*deny.txt: the file is empty, the list in force has 1 entry;/)
  writeFileSync(plain(w.folder), '# nobody\n')
  await file.look()
  assert.deepEqual([w.commits, file.fault()], [[A, ''], ''])
})

test('what is no file is refused at once, and a stop waits for nothing', POSIX, async (t) => {
  const w = await world(t, plain, (folder) => writeFileSync(plain(folder), A))
  const file = await w.start()
  for (const [make, fault] of [
    [() => execFileSync('mkfifo', [plain(w.folder)]), /it is a named pipe, and only files are read/],
    [() => symlinkSync('/dev/zero', plain(w.folder)), /it is a device/],
    [() => mkdirSync(plain(w.folder)), /it is a folder/],
    [() => truncateSync(openedAt(plain(w.folder)), 2 ** 40), /has 1099511627776 bytes, at most/],
  ] as const) {
    rmSync(plain(w.folder), { recursive: true })
    make()
    await file.look()
    assert.match(file.fault(), fault)
  }
  assert.deepEqual(w.commits, [A])
})

test('a rename over the file is seen without being asked', async (t) => {
  const w = await world(t, plain, (folder) => writeFileSync(plain(folder), A))
  await w.start()
  writeFileSync(join(w.folder, 'new'), B)
  const next = w.next()
  renameSync(join(w.folder, 'new'), plain(w.folder))
  assert.equal(await next, B)
})

test("swapped links, as Kubernetes updates a ConfigMap's volume", async (t) => {
  const linked = (folder: string): string => join(folder, 'volume', 'deny.txt')
  const version = (folder: string, name: string, text: string): void => {
    mkdirSync(join(folder, 'volume', name), { recursive: true })
    writeFileSync(join(folder, 'volume', name, 'deny.txt'), text)
    symlinkSync(name, join(folder, 'volume', '..data_tmp'))
    renameSync(join(folder, 'volume', '..data_tmp'), join(folder, 'volume', '..data'))
  }
  const w = await world(t, linked, (folder) => {
    version(folder, '..1', A)
    symlinkSync('..data/deny.txt', linked(folder))
  })
  await w.start()
  for (const [name, hash] of [
    ['..2', B],
    ['..3', A],
  ] as const) {
    const next = w.next()
    version(w.folder, name, hash)
    rmSync(join(w.folder, 'volume', `..${Number(name.slice(2)) - 1}`), { recursive: true })
    assert.equal(await next, hash)
  }
})

test('after a restart the same file is not committed again, another one is', async (t) => {
  const w = await world(t, plain, (folder) => writeFileSync(plain(folder), A))
  await (await w.start()).stop()
  await (await w.start()).stop()
  assert.deepEqual(w.commits, [A])
  writeFileSync(plain(w.folder), B)
  await (await w.start()).stop()
  assert.deepEqual(w.commits, [A, B])
  await w.start('cluster-2')
  assert.deepEqual(w.commits, [A, B, B])
})

test('a commit that failed is made up for at the next look', async (t) => {
  const w = await world(t, plain, (folder) => writeFileSync(plain(folder), A))
  w.refuseOnce()
  const file = await w.start()
  await file.look()
  assert.deepEqual(w.commits, [A])
  assert.ok(w.lines.some((line) => line.includes('no leader; tried again')))
})

test('spellings of an info_hash', () => {
  const hex = '0123456789abcdef0123456789abcdef01234567'
  const base32 = 'AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH'
  const v2 = `${hex}${'f'.repeat(24)}`
  for (const spelling of [
    hex,
    hex.toUpperCase(),
    base32,
    base32.toLowerCase(),
    v2,
    `magnet:?xt=urn:btih:${hex}&dn=a%20name`,
    `magnet:?dn=x&xt=urn:btih:${base32}`,
    `magnet:?xt.1=urn:ed2k:354b15e68fb8f36d7cd88ff94116cdc1&xt.2=urn:btih:${hex}`,
    `magnet:?xt=urn:btmh:1220${v2}`,
  ])
    assert.equal(readInfoHash(spelling), hex, spelling)
  for (const wrong of [
    '',
    'abc',
    `${hex}0`,
    `${base32}a`,
    'magnet:?dn=x',
    'magnet:?xt=urn:btih:zz',
    `${hex.slice(1)}g`,
  ])
    assert.equal(readInfoHash(wrong), null, wrong)
})

test('many faults are counted, not listed', () => {
  const read = readInfoHashes('x\n'.repeat(1000))
  assert.ok(!read.ok && read.faults.length === 11 && read.faults[10] === 'and 990 more')
})

test('windows line ends and an empty file', () => {
  const read = readInfoHashes(`${A}\r\n${B}\r\n`)
  assert.ok(read.ok && read.hashes.count === 2)
  const empty = readInfoHashes('# nothing\n')
  assert.ok(empty.ok && empty.hashes.count === 0)
})
