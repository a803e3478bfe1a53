// What the tests of the chart and of the cluster rest on: archives are read whole or refused, cache entries are whole.
// Refuses: the network; which programs the packages hold is seen where they are used.

import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { deflateRawSync } from 'node:zlib'
import { unzip } from './unzip.ts'

const home = mkdtempSync(join(tmpdir(), 'skep-cache-test-'))
process.env.XDG_CACHE_HOME = home
const { cached, keyOf } = await import('./cache.ts')
after(() => rmSync(home, { recursive: true }))

/** A zip archive by hand: stored or deflated entries. */
function zip(entries: readonly { name: string; bytes: Buffer; deflate: boolean }[]): Buffer {
  const files: Buffer[] = []
  const index: Buffer[] = []
  let at = 0
  for (const { name, bytes, deflate } of entries) {
    const packed = deflate ? deflateRawSync(bytes) : bytes
    const local = Buffer.alloc(30)
    local.writeUInt32LE(0x04034b50, 0)
    local.writeUInt16LE(deflate ? 8 : 0, 8)
    local.writeUInt16LE(name.length, 26)
    const entry = Buffer.alloc(46)
    entry.writeUInt32LE(0x02014b50, 0)
    entry.writeUInt16LE(deflate ? 8 : 0, 10)
    entry.writeUInt32LE(packed.length, 20)
    entry.writeUInt32LE(bytes.length, 24)
    entry.writeUInt16LE(name.length, 28)
    entry.writeUInt32LE(at, 42)
    files.push(local, Buffer.from(name), packed)
    index.push(entry, Buffer.from(name))
    at += 30 + name.length + packed.length
  }
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(entries.length, 10)
  end.writeUInt32LE(at, 16)
  return Buffer.concat([...files, ...index, end])
}

test('a file comes out of an archive as it went in, and one that is cut short is refused', () => {
  const bytes = Buffer.from('skep '.repeat(1000))
  const archive = zip([
    { name: 'helm/helm', bytes, deflate: true },
    { name: 'kubectl/kubectl', bytes: Buffer.from('plain'), deflate: false },
  ])
  assert.deepEqual(unzip(archive, 'helm/helm'), bytes)
  assert.equal(unzip(archive, 'kubectl/kubectl')?.toString(), 'plain')
  assert.equal(unzip(archive, 'helm'), undefined)
  assert.throws(() => unzip(archive.subarray(0, archive.length - 30), 'helm/helm'), /not a zip archive/)
})

test('a cache entry appears whole or not at all, and is made once', async () => {
  await assert.rejects(
    cached('broken', async (folder) => {
      writeFileSync(join(folder, 'half'), '')
      throw new Error('no network')
    }),
    /no network/,
  )
  assert.ok(!existsSync(join(home, 'skep-kube/broken')))
  let made = 0
  const make = async (folder: string): Promise<void> => {
    made++
    writeFileSync(join(folder, 'whole'), '')
  }
  const [first, second] = await Promise.all([cached('entry', make), cached('entry', make)])
  assert.equal(first, second)
  await cached('entry', make)
  assert.ok(made <= 2)
  assert.ok(existsSync(join(first, 'whole')))
})

test('keys tell apart what was divided otherwise', () => {
  assert.notEqual(keyOf(['ab', 'c']), keyOf(['a', 'bc']))
  assert.equal(keyOf(['ab', 'c']), keyOf(['ab', 'c']))
})
