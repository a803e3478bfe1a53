// State transfer over a way that does everything wrong: what arrives is the snapshot, whole, or nothing; and
// Raft hears of each offer once.

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { settle, startReplica } from '../counter.case.ts'
import { levelDisk } from '../log/level.ts'
import { OPTIONS } from '../log/log.case.ts'
import type { LogStore } from '../log/log.ts'
import { memoryDisk } from '../log/memory.ts'
import { openLog } from '../log/store.ts'
import type { Fate } from './transfer.case.ts'
import {
  headOf,
  msgSnap,
  newWorld,
  readAll,
  run,
  SMALL_PART_BYTES,
  startReceiver,
  type World,
  withSnapshot,
} from './transfer.case.ts'
import { decodeHead, openPart, PART_BYTES, pace, partsOf, Sendings } from './transfer.ts'

const memoryLog = (): Promise<LogStore> => openLog(memoryDisk(), OPTIONS)

/** Chunks that can be told apart. */
const chunksOf = (count: number, bytes: number): Uint8Array[] =>
  Array.from({ length: count }, (_, i) => new Uint8Array(bytes).fill(i + 1))

const offered = async (chunks: readonly Uint8Array[], term = 1): Promise<World> => {
  const w = newWorld(await memoryLog(), await memoryLog())
  const record = await withSnapshot(w.log, 9, chunks)
  w.sender.offer(2, msgSnap(record, term))
  return w
}

/** The last one installed is the sender's snapshot, byte for byte. */
const arrivedWhole = async (w: World): Promise<void> => {
  const record = w.installed.at(-1)?.record
  assert.ok(record)
  assert.deepEqual(record, w.log.snapshot)
  assert.ok((await readAll(w.to, record)).equals(await readAll(w.log, w.log.snapshot!)))
}

test('a snapshot arrives whole, is named by its message, and Raft hears of it', async () => {
  const w = await offered(chunksOf(20, 200))
  await run(w)
  await arrivedWhole(w)
  assert.deepEqual(w.reports, [true])
  assert.deepEqual(Buffer.from(w.installed[0]!.message), Buffer.from(msgSnap(w.log.snapshot!, 1)))
  // Four chunks of 200 bytes a part.
  assert.equal(w.parts, 5)
  // Not yet the log's own: that is for the Ready to say which carries it.
  assert.equal(w.to.snapshot, null)
  assert.equal(w.pins, 1)
  w.sender.turn(w.nowMs + 30_000)
  assert.equal(w.pins, 0)
})

test('a stream that broke goes on where it was', async () => {
  const w = await offered(chunksOf(20, 200))
  w.fates.push('ok', 'ok', 'ok', 'break')
  await run(w)
  await arrivedWhole(w)
  assert.equal(w.parts, 5)
  assert.deepEqual(w.reports, [true])
})

test('whatever the way does to it, all of it arrives or nothing does', async () => {
  const fate = fc.constantFrom<Fate>('ok', 'ok', 'ok', 'break', 'late', 'twice', 'alter', 'swap')
  const sizes = fc.array(fc.integer({ min: 1, max: 1500 }), { minLength: 1, maxLength: 12 })
  await fc.assert(
    fc.asyncProperty(sizes, fc.array(fate, { maxLength: 14 }), async (lengths, fates) => {
      const w = await offered(lengths.map((n, i) => new Uint8Array(n).fill(i + 1)))
      w.fates.push(...fates)
      for (let again = 0; again < 20 && !w.reports.includes(true); again++) {
        await run(w)
        // Raft offers again after a failure that was reported.
        if (w.reports.at(-1) === false) w.sender.offer(2, msgSnap(w.log.snapshot!, 1))
      }
      await arrivedWhole(w)
      assert.equal(w.reports.filter((ok) => ok).length, 1)
    }),
    { numRuns: 60 },
  )
})

for (const stop of [0, 1, 2, 3, 4, 5, 6])
  test(`a receiver that goes down after ${stop} parts has its old log, and gets all of it afterwards`, async () => {
    const dir = await mkdtemp(join(tmpdir(), 'skep-transfer-'))
    try {
      const w = newWorld(await memoryLog(), await openLog(levelDisk(dir), OPTIONS))
      await w.to.append({ hardState: { term: 1, vote: 1, commit: 0 }, entries: [], sync: true })
      const record = await withSnapshot(w.log, 9, chunksOf(20, 200))
      w.sender.offer(2, msgSnap(record, 1))
      w.fates.push(...Array.from({ length: 1 + stop }, (): Fate => 'ok'), 'break')
      w.sender.turn(0)
      while (w.sender.status(0)[0]?.state !== 'waiting' && w.reports.length === 0)
        await new Promise((resolve) => setImmediate(resolve))
      await w.to.close()
      w.to = await openLog(levelDisk(dir), OPTIONS)
      await w.receiver.stop()
      assert.deepEqual(w.to.hardState, { term: 1, vote: 1, commit: 0 })
      assert.equal(w.to.snapshot, null)
      startReceiver(w)
      if (w.reports.length > 0) w.sender.offer(2, msgSnap(record, 1))
      await run(w)
      await arrivedWhole(w)
      // As the Ready does that carries it: from here on the log begins with it.
      const snapshot = w.installed.at(-1)!.record!
      await w.to.append({ hardState: { term: 1, vote: 1, commit: 9 }, entries: [], snapshot, sync: true })
      await w.to.close()
      const again = await openLog(levelDisk(dir), OPTIONS)
      assert.equal(again.firstIndex, 10)
      assert.ok((await readAll(again, again.snapshot!)).equals(await readAll(w.log, record)))
      await again.close()
    } finally {
      await rm(dir, { recursive: true, force: true })
    }
  })

test('six broken attempts without progress are told to Raft as a failure, with growing pauses', async () => {
  const w = await offered(chunksOf(3, 400))
  w.fates.push(...Array.from({ length: 6 }, (): Fate => 'break'))
  const began: number[] = []
  for (let i = 0; i < 6; i++) {
    began.push(w.nowMs)
    await run(w, 1)
    w.nowMs = Math.max(w.nowMs, w.sender.due())
  }
  assert.deepEqual(w.reports, [false])
  for (let i = 2; i < 6; i++) assert.ok(began[i]! - began[i - 1]! > began[i - 1]! - began[i - 2]!)
  // Raft offers again at once; the pause is kept all the same.
  w.sender.offer(2, msgSnap(w.log.snapshot!, 1))
  assert.ok(w.sender.due() > began[5]!)
  await run(w)
  await arrivedWhole(w)
})

test('a replaced snapshot is not sent, a damaged one is taken anew', async () => {
  const w = await offered(chunksOf(3, 400))
  await withSnapshot(w.log, 12, chunksOf(4, 400))
  await run(w)
  assert.deepEqual(w.reports, [false])
  // Nobody's fault: the newer one need not wait.
  w.sender.offer(2, msgSnap(w.log.snapshot!, 1))
  assert.ok(w.sender.due() <= w.nowMs)
  const disk = memoryDisk()
  const damaged = newWorld(await openLog(disk, OPTIONS), await memoryLog())
  const record = await withSnapshot(damaged.log, 9, chunksOf(3, 400))
  for (const blob of disk.blobs.values()) blob[300]! ^= 1
  damaged.sender.offer(2, msgSnap(record, 1))
  await run(damaged)
  assert.deepEqual([damaged.reports, damaged.retakes, damaged.installed.length], [[false], 1, 0])
})

test('a full disk at the receiver is said, and nothing is half there', async () => {
  const disk = memoryDisk()
  const w = newWorld(await memoryLog(), await openLog(disk, OPTIONS))
  const record = await withSnapshot(w.log, 9, chunksOf(20, 200))
  w.sender.offer(2, msgSnap(record, 1))
  w.gate = async () => void (disk.fault = w.parts === 2 ? 'full' : 'none')
  await run(w)
  assert.deepEqual(w.reports, [false])
  assert.match(w.receiver.lastError, /ENOSPC/)
  disk.fault = 'none'
  w.gate = null
  assert.deepEqual([...disk.blobs.keys()], [])
  w.sender.offer(2, msgSnap(record, 1))
  assert.match(w.sender.status(w.nowMs)[0]!.lastError, /ENOSPC/)
  await run(w)
  await arrivedWhole(w)
})

test('who has it already moves no bytes and still lets the leader know', async () => {
  const w = await offered(chunksOf(3, 400))
  w.commit = 9
  await run(w)
  assert.deepEqual([w.reports, w.parts], [[true], 0])
  assert.equal(w.installed[0]!.record, null)
})

test('an older leader is refused; a newer one takes over where the other was', async () => {
  const w = await offered(chunksOf(20, 200), 3)
  w.term = 4
  await run(w)
  assert.deepEqual([w.reports, w.parts], [[false], 0])
  w.term = 3
  const record = w.log.snapshot!
  const begin = { group: 0, from: 1, totalBytes: 0 }
  const old = w.receiver.stream({ ...begin, head: headOf(record, 3) })
  assert.ok(!('sentence' in old))
  const parts: Uint8Array[] = []
  for await (const part of partsOf(w.log.readSnapshot(record), SMALL_PART_BYTES))
    parts.push(Uint8Array.from(part))
  await old.write(parts[0]!)
  const late = w.receiver.stream({ ...begin, head: headOf({ ...record, index: 10 }, 2) })
  assert.ok('sentence' in late)
  const taken = w.receiver.stream({ ...begin, from: 3, head: headOf(record, 4) })
  assert.ok(!('sentence' in taken))
  assert.equal(taken.first, 1)
  await assert.rejects(old.write(parts[1]!), /newer stream/)
  for (const part of parts) await taken.write(part)
  await taken.end()
  await arrivedWhole(w)
})

test('leadership lost or the member removed: the stream ends, and nothing is reported or pinned', async () => {
  const w = await offered(chunksOf(20, 200))
  w.gate = async () => {
    if (w.parts === 2) w.sender.only(new Set([3]))
  }
  await run(w)
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual([w.reports, w.installed.length, w.pins], [[], 0, 0])
  assert.ok(w.parts < 5)
})

test('an unfinished snapshot that nobody goes on with is deleted', async () => {
  const disk = memoryDisk()
  const w = newWorld(await memoryLog(), await openLog(disk, OPTIONS))
  w.sender.offer(2, msgSnap(await withSnapshot(w.log, 9, chunksOf(20, 200)), 1))
  w.fates.push('ok', 'ok', 'ok', 'break')
  await run(w, 1)
  assert.equal(disk.blobs.size, 1)
  assert.equal(w.receiver.status(w.nowMs)[0]!.state, 'waiting')
  w.nowMs = w.receiver.due()
  w.receiver.turn(w.nowMs)
  await w.receiver.stop()
  assert.equal(disk.blobs.size, 0)
})

test('an altered part is refused by itself, and an early end keeps what is there', async () => {
  const w = await offered(chunksOf(20, 200))
  const record = w.log.snapshot!
  const parts: Uint8Array[] = []
  for await (const part of partsOf(w.log.readSnapshot(record), SMALL_PART_BYTES))
    parts.push(Uint8Array.from(part))
  const begin = { group: 0, from: 1, totalBytes: 0, head: headOf(record, 1) }
  const one = w.receiver.stream(begin)
  assert.ok(!('sentence' in one))
  await one.write(parts[0]!)
  const bad = Uint8Array.from(parts[1]!)
  bad[40]! ^= 8
  await assert.rejects(one.write(bad), /part 1 was altered on the way/)
  const two = w.receiver.stream(begin)
  assert.ok(!('sentence' in two))
  assert.equal(two.first, 1)
  await two.write(parts[1]!)
  await assert.rejects(two.end(), /ends after \d+ of 20 chunks/)
  const three = w.receiver.stream(begin)
  assert.ok(!('sentence' in three))
  assert.equal(three.first, 2)
})

test('two are sent to at once, the others wait for their turn', async () => {
  const { log } = await offered(chunksOf(1, 10))
  const sendings = new Sendings()
  for (const to of [2, 3, 4, 5]) sendings.offered(to, log.snapshot!, new Uint8Array())
  const first = sendings.starting(0)
  assert.deepEqual(
    first.map((s) => s.to),
    [2, 3],
  )
  assert.deepEqual([sendings.starting(0), sendings.due()], [[], Number.POSITIVE_INFINITY])
  sendings.done(first[0]!)
  assert.ok(sendings.due() <= 0)
  assert.deepEqual(
    sendings.starting(0).map((s) => s.to),
    [4],
  )
})

test('while somebody is sent a snapshot the log keeps what follows it, within a limit', async () => {
  const log = await memoryLog()
  const w = await startReplica(log, { snapshotLogBytes: 4000 })
  const write = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      w.numbers.queue = [1]
      await settle(w)
      await w.replica.snapshots.running
    }
  }
  await write(200)
  const { index } = log.snapshot!
  const release = w.replica.snapshots.pin(index)
  await write(150)
  assert.equal(log.snapshot!.index, index)
  assert.ok(log.firstIndex <= index + 1)
  await write(400)
  assert.ok(log.snapshot!.index > index, 'the limit is kept')
  const before = w.replica.snapshots.taken
  release()
  await write(200)
  assert.ok(w.replica.snapshots.taken > before)
})

test('progress says percent, speed and time left', () => {
  assert.deepEqual(pace(50, 200, 50, 1000, 2000), { percent: 25, bytesPerSecond: 50, secondsLeft: 3 })
  assert.deepEqual(pace(50, 200, 0, 1000, 1000), { percent: 25, bytesPerSecond: 0, secondsLeft: null })
  assert.equal(pace(0, 0, 0, 0, 0).percent, 100)
})

test('what is no head and no part is refused with a sentence, never thrown', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      assert.equal(typeof decodeHead(bytes), 'string')
      const part = openPart(bytes, 0)
      assert.ok(part === 'again' || 'fault' in part || bytes.length >= 8)
    }),
  )
  assert.ok(PART_BYTES > 0)
})
