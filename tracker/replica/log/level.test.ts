// The log over classic-level on real files: the shared cases, torn ends, and flipped bytes everywhere.

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { cp, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { levelDisk } from './level.ts'
import { CONF, describeLog, entries, logCases, OPTIONS } from './log.case.ts'
import type { LogStore } from './log.ts'
import { LogDamaged, LogFormat } from './log.ts'
import { openLog } from './store.ts'

/** Crashes and damage are made by hand here: files in memory do, and are quick. */
const PLACE = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

logCases('classic-level', async () => {
  const dir = await mkdtemp(join(PLACE, 'skep-log-'))
  return { disk: () => levelDisk(join(dir, 'log')), remove: () => rm(dir, { recursive: true, force: true }) }
})

const withDir = async (body: (dir: string) => Promise<void>): Promise<void> => {
  const dir = await mkdtemp(join(PLACE, 'skep-log-'))
  try {
    await body(dir)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

/** A log with everything in it, in files as `kill -9` leaves them: `before` the last batch and `after` it. */
const killed = async (
  dir: string,
): Promise<{ before: unknown; after: unknown; wal: string; walBytes: number }> => {
  const log = await openLog(levelDisk(join(dir, 'live')), OPTIONS)
  await log.setIdentity(Buffer.from('member'))
  await log.append({
    hardState: { term: 1, vote: 1, commit: 0 },
    entries: entries(1, 40, 1, 500),
    sync: true,
  })
  const w = await log.createSnapshot({ index: 10, term: 1, confState: CONF }, true)
  await w.write(Buffer.alloc(3000, 7))
  await w.commit()
  for (let i = 41; i < 60; i++)
    await log.append({
      hardState: { term: 1, vote: 1, commit: i - 1 },
      entries: entries(i, i, 1, 900),
      sync: true,
    })
  await cp(join(dir, 'live'), join(dir, 'before'), { recursive: true })
  const before = describeLog(log)
  const files = (await readdir(join(dir, 'live', 'store'))).filter((f) => f.endsWith('.log')).sort()
  const wal = join('store', files.at(-1)!)
  const walBytes = (await stat(join(dir, 'before', wal))).size
  await log.append({
    hardState: { term: 1, vote: 1, commit: 59 },
    entries: entries(60, 64, 1, 700),
    sync: true,
  })
  await cp(join(dir, 'live'), join(dir, 'after'), { recursive: true })
  const after = describeLog(log)
  await log.close()
  return { before, after, wal, walBytes }
}

test('a torn end that was not synced is cut; one that was synced is damage', () =>
  withDir(async (dir) => {
    const { before, after, wal, walBytes } = await killed(dir)
    const whole = (await stat(join(dir, 'after', wal))).size
    const at = join(dir, 'try')
    let cut = 0
    for (let size = walBytes; size <= whole; size += Math.max(1, Math.floor((whole - walBytes) / 12))) {
      // The mark of before: the last batch's sync had not returned.
      await cp(join(dir, 'after'), at, { recursive: true })
      await cp(join(dir, 'before', 'mark'), join(at, 'mark'))
      await truncate(join(at, wal), size)
      const log = await openLog(levelDisk(at), OPTIONS)
      assert.deepEqual(describeLog(log), log.lastIndex === 64 ? after : before)
      if (log.lastIndex === 59) cut++
      await log.close()
      await rm(at, { recursive: true })
      if (size === whole) continue
      await cp(join(dir, 'after'), at, { recursive: true })
      await truncate(join(at, wal), size)
      await assert.rejects(openLog(levelDisk(at), OPTIONS), LogDamaged)
      await rm(at, { recursive: true })
    }
    assert.ok(cut >= 10)
  }))

test('a flipped byte anywhere either changes nothing or is refused', () =>
  withDir(async (dir) => {
    const { after } = await killed(dir)
    const at = join(dir, 'try')
    let refused = 0
    let same = 0
    for (const name of await readdir(join(dir, 'after'), { recursive: true })) {
      const path = join(dir, 'after', name)
      // LOG and LOCK say nothing, owner is for people.
      if (!(await stat(path)).isFile() || /LOG(\.old)?$|LOCK$|owner$/.test(name)) continue
      const bytes = await readFile(path)
      const step = Math.max(1, Math.floor(bytes.length / 25))
      for (let offset = 0; offset < bytes.length; offset += step) {
        await cp(join(dir, 'after'), at, { recursive: true })
        const flipped = Buffer.from(bytes)
        flipped[offset]! ^= 1 << (offset % 8)
        await writeFile(join(at, name), flipped)
        let log: LogStore | undefined
        try {
          log = await openLog(levelDisk(at), OPTIONS)
          assert.deepEqual(describeLog(log), after, `${name} byte ${offset}`)
          assert.equal(Buffer.from(log.identity!).toString(), 'member')
          for await (const _ of log.readSnapshot(log.snapshot!));
          same++
        } catch (error) {
          assert.ok(error instanceof LogDamaged || error instanceof LogFormat, `${name} ${offset}: ${error}`)
          refused++
        } finally {
          await log?.close()
        }
        await rm(at, { recursive: true })
      }
    }
    assert.ok(refused > 40, `${refused} refused, ${same} without consequence`)
  }))

test('a missing file either changes nothing or is refused', () =>
  withDir(async (dir) => {
    const { after } = await killed(dir)
    const at = join(dir, 'try')
    for (const name of await readdir(join(dir, 'after'), { recursive: true })) {
      if (!(await stat(join(dir, 'after', name))).isFile() || /LOG(\.old)?$|LOCK$|owner$/.test(name)) continue
      await cp(join(dir, 'after'), at, { recursive: true })
      await rm(join(at, name))
      // LevelDB makes a new CURRENT and still finds its write-ahead log.
      if (name === 'store/CURRENT') {
        const log = await openLog(levelDisk(at), OPTIONS)
        assert.deepEqual(describeLog(log), after)
        await log.close()
      } else await assert.rejects(openLog(levelDisk(at), OPTIONS), LogDamaged, name)
      await rm(at, { recursive: true })
    }
  }))

test('a directory of another store or format is refused', () =>
  withDir(async (dir) => {
    const log = await openLog(levelDisk(dir), OPTIONS)
    await log.close()
    await writeFile(join(dir, 'FORMAT'), 'skep log 9 classic-level\n')
    await assert.rejects(openLog(levelDisk(dir), OPTIONS), LogFormat)
  }))
