// The simulated disk: what was synced is always there, what was not may be there whole, torn, or not at all.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VirtualClock } from './clock.ts'
import { type Crash, SECTOR_BYTES, VirtualDisk } from './disk.ts'
import { Random } from './random.ts'

const PACE = { syncMs: 5, syncJitterMs: 0 }
const timeless = (seed: number): VirtualDisk => new VirtualDisk(null, new Random(seed), PACE)
const block = (value: number, sectors = 1): Uint8Array => new Uint8Array(sectors * SECTOR_BYTES).fill(value)
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString()

test('a sync takes its time, and covers what was written before it only', async () => {
  const clock = new VirtualClock()
  const disk = new VirtualDisk(clock, new Random(1), PACE)
  disk.append('a', Buffer.from('before '))
  let done = false
  const synced = disk.sync('a').then(() => (done = true))
  disk.append('a', Buffer.from('after'))
  clock.advance(4)
  await null
  assert.equal(done, false)
  clock.advance(2)
  await synced
  assert.equal(text(disk.read('a')), 'before after')
  const lefts = new Set<string>()
  for (let seed = 0; seed < 20; seed++) {
    const time = new VirtualClock()
    const other = new VirtualDisk(time, new Random(seed), PACE)
    other.append('a', Buffer.from('before '))
    const covered = other.sync('a')
    other.append('a', Buffer.from('after'))
    time.advance(10)
    await covered
    lefts.add(text(other.crash('power').read('a')))
  }
  assert.deepEqual([...lefts].sort(), ['before ', 'before after'])
})

test('a killed process loses nothing that the system had taken', () => {
  const disk = timeless(1)
  disk.append('a', Buffer.from('x'))
  const next = disk.crash('process')
  assert.equal(text(next.read('a')), 'x')
  // But still nothing of it was synced: a power cut after that may take it.
  const left = new Set(
    Array.from({ length: 20 }, (_, seed) => {
      const d = timeless(seed)
      d.append('a', Buffer.from('x'))
      return text(d.crash('process').crash('power').read('a'))
    }),
  )
  assert.deepEqual([...left].sort(), ['', 'x'])
})

test('a power cut loses, tears and reorders what was not synced, sector by sector', async () => {
  const seen = { whole: 0, lost: 0, torn: 0, reordered: 0 }
  for (let seed = 1; seed <= 200; seed++) {
    const disk = timeless(seed)
    disk.append('a', block(9))
    await disk.sync('a')
    disk.append('a', block(1, 4))
    disk.append('a', block(2))
    const left = disk.crash('power').read('a')
    assert.equal(left.length % SECTOR_BYTES, 0)
    const sectors = Array.from({ length: left.length / SECTOR_BYTES }, (_, i) => {
      const sector = left.subarray(i * SECTOR_BYTES, (i + 1) * SECTOR_BYTES)
      assert.ok(sector.every((b) => b === sector[0]))
      return sector[0]!
    })
    assert.equal(sectors[0], 9, 'what was synced')
    const first = sectors.slice(1, 5).filter((s) => s === 1).length
    if (first === 4) seen.whole++
    else if (first === 0) seen.lost++
    else seen.torn++
    if (first < 4 && sectors[5] === 2) seen.reordered++
  }
  for (const [what, times] of Object.entries(seen)) assert.ok(times > 20, `${what} ${times}`)
})

test('a disk that is full or fails takes nothing; one may land and say that it failed', async () => {
  const disk = timeless(1)
  disk.append('a', Buffer.from('1'))
  disk.fault = 'full'
  assert.throws(() => disk.append('a', Buffer.from('2')), /ENOSPC/)
  disk.fault = 'fails'
  assert.throws(() => disk.append('a', Buffer.from('3')), /EIO/)
  await assert.rejects(disk.sync('a'), /EIO/)
  disk.fault = 'fails-but-lands'
  disk.append('a', Buffer.from('4'))
  await assert.rejects(disk.sync('a'), /EIO/)
  disk.fault = 'none'
  assert.equal(text(disk.read('a')), '14')
  assert.equal(text(disk.crash('power').read('a')), '14')
})

test('a dead disk neither takes nor answers, its names are still there for the next process', async () => {
  for (const how of ['process', 'power'] as Crash[]) {
    const clock = new VirtualClock()
    const disk = new VirtualDisk(clock, new Random(1), PACE)
    disk.append('a.part', Buffer.from('x'))
    disk.append('b', Buffer.from('y'))
    const before = disk.sync('a.part')
    clock.advance(10)
    await before
    disk.rename('a.part', 'a')
    disk.remove('b')
    const hanging = disk.sync('a').then(() => 'answered')
    const next = disk.crash(how)
    disk.append('a', Buffer.from('late'))
    disk.remove('a')
    clock.advance(100)
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(await Promise.race([hanging, Promise.resolve('silent')]), 'silent')
    assert.deepEqual(next.names(), ['a'])
    assert.equal(text(next.read('a')), 'x')
    next.truncate('a', 0)
    assert.equal(next.size('a'), 0)
  }
})
