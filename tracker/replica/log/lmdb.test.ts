// The log over lmdb on real files: the shared cases, and flipped bytes. lmdb maps its file and trusts it, so
// a flipped byte may end the process instead of an error: other processes open them.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { lmdbDisk } from './lmdb.ts'
import { describeLog, entries, logCases, OPTIONS } from './log.case.ts'
import { openLog } from './store.ts'

/** Crashes and damage are made by hand here: files in memory do, and are quick. */
const PLACE = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

logCases('lmdb', async () => {
  const dir = await mkdtemp(join(PLACE, 'skep-log-'))
  return { disk: () => lmdbDisk(join(dir, 'log')), remove: () => rm(dir, { recursive: true, force: true }) }
})

const DATA = join('store', 'lmdb', 'data.mdb')

test('lmdb: a flipped byte either changes nothing, is refused, or ends the process', async () => {
  const dir = await mkdtemp(join(PLACE, 'skep-log-'))
  try {
    const live = join(dir, 'live')
    const log = await openLog(lmdbDisk(live), OPTIONS)
    for (let i = 0; i < 10; i++)
      await log.append({
        hardState: { term: 1, vote: 1, commit: i * 3 },
        entries: entries(i * 3 + 1, i * 3 + 3, 1, 800),
        sync: true,
      })
    const good = JSON.stringify(describeLog(log))
    await cp(live, join(dir, 'killed'), { recursive: true })
    await log.close()
    const bytes = await readFile(join(dir, 'killed', DATA))
    const tries = Array.from({ length: 40 }, (_, i) => Math.floor(((i + 0.37) * bytes.length) / 40))
    for (const [i, offset] of tries.entries()) {
      await mkdir(join(dir, `${i}`))
      await cp(join(dir, 'killed'), join(dir, `${i}`, 'log'), { recursive: true })
      const flipped = Buffer.from(bytes)
      flipped[offset]! ^= 0x10
      await writeFile(join(dir, `${i}`, 'log', DATA), flipped)
    }
    let left = tries.map((_, i) => join(dir, `${i}`, 'log'))
    let refused = 0
    let died = 0
    while (left.length > 0) {
      const args = [join(import.meta.dirname, 'lmdb.case.ts'), ...left]
      // It prints a megabyte or two: with the usual room it is ended by us, in the middle of a line.
      const child = spawnSync(process.execPath, args, { maxBuffer: 1 << 26 })
      assert.equal(child.error, undefined)
      const lines = child.stdout
        .toString()
        .split('\n')
        .filter((l) => l !== '')
      for (const line of lines)
        if (line.startsWith('refused')) refused++
        else assert.equal(line, `same ${good}`)
      // It died at the one it said nothing of.
      if (lines.length < left.length) died++
      left = left.slice(lines.length + 1)
    }
    assert.ok(refused + died > 3, `${refused} refused, ${died} processes died`)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
})
