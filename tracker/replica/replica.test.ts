// The loop with a machine that counts, over logs that forget: what was applied stays applied.

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Core, RaftPanic } from '@skep/raft'
import { settle, startReplica, testCore } from './counter.case.ts'
import { levelDisk } from './log/level.ts'
import { OPTIONS } from './log/log.case.ts'
import { LogWriteFailed } from './log/log.ts'
import { memoryDisk } from './log/memory.ts'
import { openLog } from './log/store.ts'
import { WRITING } from './replica.ts'

test('a replica alone leads, commits and applies in order', async () => {
  const w = await startReplica(await openLog(memoryDisk(), OPTIONS))
  await settle(w)
  assert.ok(w.replica.leads)
  assert.deepEqual(w.numbers.events, ['leading'])
  w.numbers.queue = [3, 4, 5]
  await settle(w)
  assert.equal(w.counter.sum, 12)
  const numbers = w.counter.seen.filter((s) => s.includes(':')).map((s) => Number(s.split(':')[0]))
  assert.deepEqual(numbers, [3, 4, 5])
})

test('nothing is applied before its write is on disk', async () => {
  const disk = memoryDisk()
  const w = await startReplica(await openLog(disk, OPTIONS))
  await settle(w)
  let release = (): void => {}
  disk.delay = () => new Promise((resolve) => (release = resolve))
  w.numbers.queue = [7]
  assert.equal(w.replica.turn(0), WRITING)
  assert.equal(w.counter.sum, 0)
  assert.throws(() => w.replica.turn(0), /finish/)
  disk.delay = null
  release()
  await w.replica.writing
  assert.equal(w.counter.sum, 0)
  w.replica.finish(0)
  await settle(w)
  assert.equal(w.counter.sum, 7)
})

test('committed entries are applied while the next write is under way', async () => {
  const disk = memoryDisk()
  const w = await startReplica(await openLog(disk, OPTIONS))
  await settle(w)
  w.numbers.queue = [1, 2]
  assert.equal(w.replica.turn(0), WRITING)
  await w.replica.writing
  w.replica.finish(0)
  disk.delay = () => new Promise(() => {})
  assert.equal(w.replica.turn(0), WRITING)
  assert.equal(w.counter.sum, 1)
})

test('a commit alone writes nothing', async () => {
  const disk = memoryDisk()
  const w = await startReplica(await openLog(disk, OPTIONS))
  await settle(w)
  const before = disk.writes
  w.numbers.queue = [1]
  await settle(w)
  assert.equal(disk.writes, before + 1)
})

test('a crash at every step: what was applied comes back, what was not may', async () => {
  for (let stop = 0; stop < 12; stop++)
    for (const kept of [false, true]) {
      const disk = memoryDisk()
      const w = await startReplica(await openLog(disk, OPTIONS), { snapshotLogBytes: 200 })
      w.numbers.queue = [1, 10, 100, 1000, 10_000]
      for (let step = 0; step < stop; step++) {
        const what = w.replica.turn(0)
        if (what !== WRITING) continue
        if (++step === stop) break
        await w.replica.writing
        if (++step === stop) break
        w.replica.finish(0)
      }
      const applied = w.counter.sum
      const again = await startReplica(await openLog(disk.crash({ kept: () => kept }), OPTIONS))
      await settle(again)
      // Only whole prefixes: 0, 1, 11, 111, ...
      assert.match(String(again.counter.sum), /^(0|1+)$/)
      assert.ok(again.counter.sum >= applied, `step ${stop}: ${again.counter.sum} after ${applied}`)
      again.numbers.queue = [100_000]
      await settle(again)
      assert.ok(again.counter.sum >= 100_000)
    }
})

test('a long log is replaced by a snapshot while work goes on, and a restart begins there', async () => {
  const disk = memoryDisk()
  const log = await openLog(disk, OPTIONS)
  const w = await startReplica(log, { snapshotLogBytes: 4000 })
  await settle(w)
  for (let i = 0; i < 40; i++) {
    w.numbers.queue = [1, 1, 1, 1, 1]
    await settle(w)
    await w.replica.snapshots.running
  }
  assert.ok(w.replica.snapshots.taken > 1)
  assert.ok(log.bytes < 4500, `${log.bytes} bytes of log`)
  assert.ok(log.firstIndex > 100)
  const again = await startReplica(await openLog(disk.crash(), OPTIONS))
  await settle(again)
  assert.equal(again.counter.sum, 200)
  again.numbers.queue = [5]
  await settle(again)
  assert.equal(again.counter.sum, 205)
})

test('a restart with more log than the core keeps in memory replays all of it', async () => {
  const disk = memoryDisk()
  const w = await startReplica(await openLog(disk, OPTIONS))
  await settle(w)
  w.numbers.size = 400_000
  w.numbers.queue = Array.from({ length: 30 }, () => 1)
  await settle(w)
  const again = await startReplica(await openLog(disk.crash(), OPTIONS))
  await settle(again)
  assert.equal(again.counter.sum, 30)
})

test('a failed write stops the loop at that Ready and goes on once healed', async () => {
  const disk = memoryDisk()
  const log = await openLog(disk, OPTIONS)
  const w = await startReplica(log)
  await settle(w)
  w.numbers.queue = [1, 2]
  disk.fault = 'full'
  assert.equal(w.replica.turn(0), WRITING)
  await assert.rejects(w.replica.writing, LogWriteFailed)
  await assert.rejects(log.heal(), LogWriteFailed)
  assert.equal(w.counter.sum, 0)
  disk.fault = 'none'
  await log.heal()
  w.replica.finish(0)
  await settle(w)
  assert.equal(w.counter.sum, 3)
})

test('a panic of the core leaves before anything of that Ready is written or sent', async () => {
  const disk = memoryDisk()
  const core = await testCore()
  let panics = false
  const breaking: Core = new Proxy(core, {
    get: (target, name) => {
      if (name === 'ready' && panics)
        return () => {
          throw new RaftPanic('index out of range', '')
        }
      return target[name as keyof Core]
    },
  })
  const sent: number[] = []
  const transport = { send: (_group: number, to: number) => void sent.push(to) }
  const w = await startReplica(await openLog(disk, OPTIONS), { core: breaking, transport })
  await settle(w)
  const before = disk.writes
  w.numbers.queue = [1]
  panics = true
  assert.throws(() => w.replica.turn(0), RaftPanic)
  assert.deepEqual([disk.writes, w.counter.sum, sent.length], [before, 0, 0])
})

test('single proposals hear what became of them', async () => {
  const w = await startReplica(await openLog(memoryDisk(), OPTIONS))
  assert.equal(await w.replica.propose(new Uint8Array(8)), 'refused')
  await settle(w)
  const fate = w.replica.propose(Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0))
  await settle(w)
  assert.equal(await fate, 'committed')
  assert.equal(w.counter.sum, 9)
  const lost = w.replica.propose(new Uint8Array(8))
  w.replica.proposals.abandon()
  assert.equal(await lost, 'unknown')
})

test('ticks follow the clock but are not owed after a stall', async () => {
  const w = await startReplica(await openLog(memoryDisk(), OPTIONS))
  await settle(w)
  w.now = 250
  await settle(w)
  assert.equal(w.replica.due(w.now), 300)
  w.now = 100_000
  await settle(w)
  assert.ok(w.replica.leads)
})

test('on a real disk: kill after any number of entries, the sum is there again', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'skep-replica-'))
  try {
    let expected = 0
    for (let life = 1; life <= 4; life++) {
      const log = await openLog(levelDisk(dir), OPTIONS)
      const w = await startReplica(log, { snapshotLogBytes: 2000 })
      await settle(w)
      assert.equal(w.counter.sum, expected)
      w.numbers.queue = Array.from({ length: 30 }, (_, i) => i)
      await settle(w)
      await w.replica.snapshots.running
      expected += 435
      await log.close()
    }
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
})
