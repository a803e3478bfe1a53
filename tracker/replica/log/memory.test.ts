// The log over memory: the shared cases, and what only a disk that can forget on command shows.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CONF, describeLog, entries, logCases, OPTIONS } from './log.case.ts'
import { LogDamaged } from './log.ts'
import { memoryDisk } from './memory.ts'
import { openLog } from './store.ts'

logCases('memory', async () => {
  const disk = memoryDisk()
  return { disk: () => disk, remove: async () => {} }
})

const state = { term: 1, vote: 1, commit: 0 }

test('a crash before the sync returns loses the whole batch or nothing of it', async () => {
  for (const kept of [false, true]) {
    const disk = memoryDisk()
    const log = await openLog(disk, OPTIONS)
    await log.append({ hardState: state, entries: entries(1, 5, 1), sync: true })
    disk.delay = () => new Promise(() => {})
    void log.append({ hardState: null, entries: entries(6, 9, 1), sync: true })
    const again = await openLog(disk.crash({ kept: () => kept }), OPTIONS)
    assert.equal(again.lastIndex, kept ? 9 : 5)
  }
})

test('synced batches that vanish are noticed, be it entries or only a vote', async () => {
  for (const last of [entries(6, 9, 1), []]) {
    const disk = memoryDisk()
    const log = await openLog(disk, OPTIONS)
    await log.append({ hardState: state, entries: entries(1, 5, 1), sync: true })
    const earlier = new Map(disk.values)
    await log.append({ hardState: { ...state, vote: 2 }, entries: last, sync: true })
    const next = disk.crash()
    next.values.clear()
    for (const [k, v] of earlier) next.values.set(k, v)
    await assert.rejects(
      openLog(next, OPTIONS),
      (e: unknown) => e instanceof LogDamaged && /batch/.test(e.message),
    )
  }
})

test('an entry that a conflict had replaced and that came back is noticed', async () => {
  const disk = memoryDisk()
  const log = await openLog(disk, OPTIONS)
  await log.append({ hardState: state, entries: entries(1, 8, 1), sync: true })
  const earlier = new Map(disk.values)
  await log.append({ hardState: { ...state, term: 2 }, entries: entries(4, 8, 2), sync: true })
  await log.append({ hardState: null, entries: entries(9, 9, 2), sync: true })
  for (const [key, old] of earlier) {
    const stale = disk.crash()
    if (Buffer.compare(stale.values.get(key)!, old) === 0) continue
    stale.values.set(key, old)
    await assert.rejects(openLog(stale, OPTIONS), LogDamaged, key)
  }
})

test('an older mark is no damage', async () => {
  const disk = memoryDisk()
  const log = await openLog(disk, OPTIONS)
  await log.append({ hardState: state, entries: entries(1, 5, 1), sync: true })
  const again = await openLog(disk.crash({ newestMark: false }), OPTIONS)
  assert.equal(again.lastIndex, 5)
})

test('every stored value matters: without it, or with one byte of it altered, the log is refused', async () => {
  const disk = memoryDisk()
  const log = await openLog(disk, OPTIONS)
  await log.setIdentity(Buffer.from('member'))
  await log.append({ hardState: state, entries: entries(1, 5, 1), sync: true })
  const w = await log.createSnapshot({ index: 2, term: 1, confState: CONF }, true)
  await w.write(Buffer.from('state'))
  await w.commit()
  await log.append({ hardState: null, entries: entries(6, 7, 1), sync: true })
  for (const key of disk.values.keys()) {
    const lost = disk.crash()
    lost.values.delete(key)
    await assert.rejects(openLog(lost, OPTIONS), LogDamaged, `without ${key}`)
    for (let at = 0; at < disk.values.get(key)!.byteLength; at++) {
      const flipped = disk.crash()
      const bytes = Uint8Array.from(disk.values.get(key)!)
      bytes[at]! ^= 4
      flipped.values.set(key, bytes)
      await assert.rejects(openLog(flipped, OPTIONS), LogDamaged, `${key} byte ${at}`)
    }
  }
  const lost = disk.crash()
  lost.blobs.clear()
  await assert.rejects(openLog(lost, OPTIONS), LogDamaged)
})

test('a snapshot with a flipped byte is found out while it is read', async () => {
  const disk = memoryDisk()
  const log = await openLog(disk, OPTIONS)
  await log.append({ hardState: state, entries: entries(1, 5, 1), sync: true })
  const w = await log.createSnapshot({ index: 5, term: 1, confState: CONF }, true)
  for (let i = 0; i < 3; i++) await w.write(Buffer.alloc(50, i))
  await w.commit()
  const blob = disk.blobs.get('snapshot-5-1')!
  for (let at = 0; at < blob.byteLength; at += 3) {
    const bytes = Uint8Array.from(blob)
    bytes[at]! ^= 1
    disk.blobs.set('snapshot-5-1', bytes)
    await assert.rejects(async () => {
      for await (const _ of log.readSnapshot(log.snapshot!));
    }, LogDamaged)
  }
})

test('a crash at any moment of a snapshot leaves a log that opens with the old or the new one', async () => {
  const points: string[] = []
  for (let stop = 0; stop < 6; stop++) {
    const disk = memoryDisk()
    const log = await openLog(disk, OPTIONS)
    await log.append({ hardState: state, entries: entries(1, 9, 1), sync: true })
    const before = describeLog(log)
    const steps = async (): Promise<void> => {
      const w = await log.createSnapshot({ index: 7, term: 1, confState: CONF }, true)
      if (stop === 0) return
      await w.write(Buffer.from('x'))
      if (stop === 1) return
      if (stop === 2) disk.delay = () => new Promise(() => {})
      const done = w.commit()
      if (stop === 2) return
      await done
      if (stop === 3) return
      if (stop === 4) disk.delay = () => new Promise(() => {})
      const compacted = log.compactTo(7)
      if (stop === 5) await compacted
    }
    await steps()
    await new Promise((resolve) => setImmediate(resolve))
    for (const kept of [false, true]) {
      const again = await openLog(disk.crash({ kept: () => kept }), OPTIONS)
      points.push(`${stop}: snapshot ${again.snapshot?.index ?? 0}, first ${again.firstIndex}`)
      assert.equal(again.lastIndex, 9)
      if (again.firstIndex === 1) assert.deepEqual(describeLog(again), before)
      assert.ok(again.firstIndex - 1 <= (again.snapshot?.index ?? 0))
    }
  }
  assert.ok(points.some((p) => p.includes('snapshot 7, first 1')))
  assert.ok(points.some((p) => p.includes('snapshot 7, first 8')))
})

test('loose batches that reached the disk in another order are refused', async () => {
  const disk = memoryDisk()
  const log = await openLog(disk, { group: 0, loose: true })
  for (let i = 1; i < 5; i++) await log.append({ hardState: state, entries: entries(i, i, 1), sync: false })
  await assert.rejects(openLog(disk.crash({ kept: (i) => i !== 1 }), { group: 0, loose: true }), LogDamaged)
})

test('a loose log knows an unclean stop of the machine', async () => {
  const loose = { group: 0, loose: true }
  let disk = memoryDisk()
  let log = await openLog(disk, loose)
  await log.append({ hardState: state, entries: entries(1, 3, 1), sync: false })
  await log.close()
  log = await openLog(disk, loose)
  assert.equal(log.unclean, false)
  await log.append({ hardState: null, entries: entries(4, 5, 1), sync: false })
  disk = disk.crash()
  log = await openLog(disk, loose)
  assert.equal(log.unclean, true)
})
