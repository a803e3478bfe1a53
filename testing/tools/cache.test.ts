// What every run of the test cluster rests on: an entry of the cache is whole, and belongs to the sources it
// names. Refuses: the network; what is fetched is seen where it is used.

import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'

const home = mkdtempSync(join(tmpdir(), 'skep-cache-test-'))
process.env.XDG_CACHE_HOME = home
const { cached, keyOf } = await import('./cache.ts')
after(() => rmSync(home, { recursive: true }))

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
