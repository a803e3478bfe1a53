// The cases every log passes, whatever disk it stands on: classic-level, lmdb, memory. Refuses: what only one
// of them can show (flipped bytes in real files, a real full disk); see their own tests.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Entry } from '@skep/raft'
import fc from 'fast-check'
import type { KeyValue, LogDisk } from './disk.ts'
import type { LogStore } from './log.ts'
import { LogDamaged, LogLocked, LogWriteFailed } from './log.ts'
import { openLog } from './store.ts'

export type LogPlace = {
  /** The same place each time it is called: what the last log left there. */
  disk(): LogDisk
  remove(): Promise<void>
}

export const OPTIONS = { group: 0, loose: false }
export const CONF = { voters: [1], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false }

export const entry = (index: number, term: number, size = 10): Entry => ({
  index,
  term,
  type: 0,
  data: Uint8Array.from({ length: size }, (_, i) => (index * 31 + term * 7 + i) & 255),
})
export const entries = (from: number, to: number, term: number, size?: number): Entry[] =>
  Array.from({ length: to - from + 1 }, (_, i) => entry(from + i, term, size))

/** Everything a reader can see, to compare logs with. */
export const describeLog = (log: LogStore): unknown => ({
  hardState: log.hardState,
  first: log.firstIndex,
  last: log.lastIndex,
  bytes: log.bytes,
  entries: (log.readEntries(log.firstIndex, log.lastIndex + 1, 1e9) ?? []).map((e) => [
    e.index,
    e.term,
    e.type,
    Buffer.from(e.data).toString('hex'),
  ]),
})

/** Puts a fault between the log and its store. */
export const faulty = (disk: LogDisk, fault: { now: 'none' | 'before' | 'after' | 'open' }): LogDisk => {
  const openStore = async (): Promise<KeyValue> => {
    if (fault.now === 'open') throw new Error('ENOSPC: no space left on device')
    const kv = await disk.openStore()
    return {
      get: (k) => kv.get(k),
      range: (a, b) => kv.range(a, b),
      reclaim: (a, b) => kv.reclaim(a, b),
      close: () => kv.close(),
      write: async (puts, deletes, sync) => {
        if (fault.now === 'before') throw new Error('ENOSPC: no space left on device')
        await kv.write(puts, deletes, sync)
        if (fault.now === 'after') throw new Error('EIO: i/o error')
      },
    }
  }
  return replaced(disk, { openStore })
}

/** The same disk with some calls replaced. */
export const replaced = (disk: LogDisk, calls: Partial<LogDisk>): LogDisk =>
  new Proxy(disk, {
    get: (target, name) => {
      const own = calls[name as keyof LogDisk] ?? target[name as keyof LogDisk]
      return typeof own === 'function' ? own.bind(target) : own
    },
  })

export const logCases = (name: string, place: () => Promise<LogPlace>): void => {
  const withPlace = (title: string, body: (at: LogPlace) => Promise<void>): void => {
    test(`${name}: ${title}`, async () => {
      const at = await place()
      try {
        await body(at)
      } finally {
        await at.remove()
      }
    })
  }
  const put = (log: LogStore, list: readonly Entry[], hardState: LogStore['hardState'] = null) =>
    log.append({ hardState, entries: list, sync: true })

  withPlace('an empty log says so', async (at) => {
    const log = await openLog(at.disk(), OPTIONS)
    assert.deepEqual([log.hardState, log.firstIndex, log.lastIndex, log.identity], [null, 1, 0, null])
    assert.equal(log.readEntries(1, 2, 100), null)
    await log.close()
  })

  withPlace('what was appended is there after a reopen', async (at) => {
    const log = await openLog(at.disk(), OPTIONS)
    await put(log, entries(1, 5, 1), { term: 1, vote: 7, commit: 0 })
    await put(log, entries(6, 6, 2, 0), { term: 2, vote: 2 ** 52 + 1, commit: 4 })
    const before = describeLog(log)
    assert.equal(log.term(5), 1)
    await log.close()
    const again = await openLog(at.disk(), OPTIONS)
    assert.deepEqual(describeLog(again), before)
    assert.deepEqual(again.hardState, { term: 2, vote: 2 ** 52 + 1, commit: 4 })
    await again.close()
  })

  withPlace('reading keeps to the bytes asked for, but gives at least one', async (at) => {
    const log = await openLog(at.disk(), OPTIONS)
    await put(log, entries(1, 10, 1, 100))
    assert.deepEqual(
      log.readEntries(3, 9, 250)?.map((e) => e.index),
      [3, 4],
    )
    assert.equal(log.readEntries(3, 9, 1)?.length, 1)
    assert.equal(log.readEntries(11, 12, 1000), null)
    await log.close()
  })

  withPlace('a conflict replaces the suffix, also after a reopen', async (at) => {
    const log = await openLog(at.disk(), OPTIONS)
    await put(log, entries(1, 8, 1))
    await put(log, entries(4, 5, 2))
    assert.equal(log.lastIndex, 5)
    assert.equal(log.readEntries(6, 7, 100), null)
    await put(log, entries(6, 6, 3))
    const before = describeLog(log)
    await log.close()
    const again = await openLog(at.disk(), OPTIONS)
    assert.deepEqual(describeLog(again), before)
    await again.close()
  })

  withPlace('a huge entry and many small ones', async (at) => {
    const log = await openLog(at.disk(), OPTIONS)
    await put(log, [entry(1, 1, 5_000_000)])
    await put(log, entries(2, 3000, 1, 20))
    const before = describeLog(log)
    await log.close()
    const again = await openLog(at.disk(), OPTIONS)
    assert.deepEqual(describeLog(again), before)
    await again.close()
  })

  withPlace('hard state alone, incarnation and identity', async (at) => {
    const log = await openLog(at.disk(), OPTIONS)
    await put(log, [], { term: 9, vote: 3, commit: 0 })
    await log.setIdentity(Buffer.from('who'))
    assert.equal(await log.nextIncarnation(), 1)
    await log.close()
    const again = await openLog(at.disk(), OPTIONS)
    assert.deepEqual(again.hardState, { term: 9, vote: 3, commit: 0 })
    assert.equal(Buffer.from(again.identity!).toString(), 'who')
    assert.equal(await again.nextIncarnation(), 2)
    await again.close()
  })

  withPlace('a second open is refused while the first has it', async (at) => {
    const log = await openLog(at.disk(), OPTIONS)
    await assert.rejects(openLog(at.disk(), OPTIONS), LogLocked)
    await put(log, entries(1, 1, 1))
    await log.close()
    await (await openLog(at.disk(), OPTIONS)).close()
  })

  withPlace('groups do not see each other', async (at) => {
    const log = await openLog(at.disk(), OPTIONS)
    await put(log, entries(1, 3, 1))
    const first = describeLog(log)
    await log.close()
    const again = await openLog(at.disk(), OPTIONS)
    assert.deepEqual(describeLog(again), first)
    await again.close()
  })

  snapshotCases(withPlace, put)
  failureCases(withPlace, put)

  withPlace(
    'any sequence of appends, conflicts, compactions and reopens equals a plain array',
    async (at) => {
      const step = fc.oneof(
        fc.record({
          kind: fc.constant('append' as const),
          back: fc.nat(6),
          count: fc.nat(7),
          size: fc.nat(60),
        }),
        fc.record({ kind: fc.constant('compact' as const), keep: fc.nat(4) }),
        fc.record({ kind: fc.constant('reopen' as const) }),
      )
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
          let log = await openLog(at.disk(), OPTIONS)
          let model: Entry[] = []
          let first = 1
          let term = 1
          for (const s of steps) {
            if (s.kind === 'append') {
              const from = Math.max(first, first + model.length - s.back)
              const list = entries(from, from + s.count - 1, ++term, s.size)
              await put(log, list, { term, vote: 1, commit: from - 1 })
              if (list.length > 0) model = [...model.slice(0, from - first), ...list]
            } else if (s.kind === 'compact') {
              const index = Math.max(first - 1, first + model.length - 1 - s.keep)
              if (index <= (log.snapshot?.index ?? 0)) continue
              const w = await log.createSnapshot({ index, term: log.term(index)!, confState: CONF }, true)
              await w.write(Buffer.from(`at ${index}`))
              await w.commit()
              await log.compactTo(index)
              model = model.slice(index - first + 1)
              first = index + 1
            } else {
              await log.close()
              log = await openLog(at.disk(), OPTIONS)
            }
            assert.deepEqual([log.firstIndex, log.lastIndex], [first, first + model.length - 1])
            assert.deepEqual(
              (log.readEntries(first, first + model.length, 1e9) ?? []).map((e) => [e.index, e.term]),
              model.map((e) => [e.index, e.term]),
            )
          }
          await log.purge()
        }),
        { numRuns: 25 },
      )
    },
  )
}

type Cases = (title: string, body: (at: LogPlace) => Promise<void>) => void
type Put = (log: LogStore, list: readonly Entry[], hardState?: LogStore['hardState']) => Promise<void>

const chunksOf = async (log: LogStore): Promise<string[]> => {
  const out: string[] = []
  for await (const c of log.readSnapshot(log.snapshot!)) out.push(Buffer.from(c).toString())
  return out
}

const snapshotCases = (withPlace: Cases, put: Put): void => {
  withPlace('a snapshot replaces the entries it covers', async (at) => {
    const log = await openLog(at.disk(), OPTIONS)
    await put(log, entries(1, 20, 1), { term: 1, vote: 1, commit: 20 })
    const w = await log.createSnapshot({ index: 15, term: 1, confState: CONF }, true)
    await w.write(Buffer.from('one'))
    await w.write(Buffer.from('two'))
    const bytes = log.bytes
    await w.commit()
    await log.compactTo(99)
    assert.deepEqual([log.firstIndex, log.lastIndex], [16, 20])
    assert.equal(log.bytes, bytes / 4)
    assert.equal(log.term(15), 1)
    await put(log, entries(21, 22, 1))
    const before = describeLog(log)
    await log.close()
    const again = await openLog(at.disk(), OPTIONS)
    assert.deepEqual(describeLog(again), before)
    assert.deepEqual(again.snapshot?.confState, CONF)
    assert.deepEqual(await chunksOf(again), ['one', 'two'])
    await again.close()
  })

  withPlace('without a snapshot nothing is compacted', async (at) => {
    const log = await openLog(at.disk(), OPTIONS)
    await put(log, entries(1, 20, 1))
    await log.compactTo(10)
    assert.equal(log.firstIndex, 1)
    await log.close()
  })

  withPlace('a snapshot that was not finished leaves the one before', async (at) => {
    const log = await openLog(at.disk(), OPTIONS)
    await put(log, entries(1, 9, 1))
    const first = await log.createSnapshot({ index: 3, term: 1, confState: CONF }, true)
    await first.write(Buffer.from('old'))
    await first.commit()
    const second = await log.createSnapshot({ index: 8, term: 1, confState: CONF }, true)
    await second.write(Buffer.from('new, unfinished'))
    await log.close()
    const again = await openLog(at.disk(), OPTIONS)
    assert.equal(again.snapshot?.index, 3)
    assert.deepEqual(await chunksOf(again), ['old'])
    const third = await again.createSnapshot({ index: 8, term: 1, confState: CONF }, true)
    await third.write(Buffer.from('gone'))
    await third.abort()
    assert.deepEqual(await chunksOf(again), ['old'])
    await again.close()
    assert.deepEqual(await at.disk().listBlobs(), ['snapshot-3-1'])
    await second.abort()
  })

  withPlace('an own snapshot that is finished after a newer one was received is forgotten', async (at) => {
    const log = await openLog(at.disk(), OPTIONS)
    await put(log, entries(1, 5, 1), { term: 1, vote: 1, commit: 5 })
    const own = await log.createSnapshot({ index: 5, term: 1, confState: CONF }, true)
    await own.write(Buffer.from('old'))
    const received = await log.createSnapshot({ index: 100, term: 3, confState: CONF }, false)
    await received.write(Buffer.from('state'))
    const record = await received.commit()
    const hardState = { term: 4, vote: 0, commit: 100 }
    const appended = log.append({ hardState, entries: entries(101, 102, 4), snapshot: record, sync: true })
    await own.commit()
    await appended
    assert.equal(log.snapshot?.index, 100)
    await log.close()
    const again = await openLog(at.disk(), OPTIONS)
    assert.deepEqual([again.snapshot?.index, again.firstIndex, again.lastIndex], [100, 101, 102])
    assert.deepEqual(await at.disk().listBlobs(), ['snapshot-100-3'])
    await again.close()
  })

  withPlace('a received snapshot restarts the log behind it', async (at) => {
    const log = await openLog(at.disk(), OPTIONS)
    await put(log, entries(1, 9, 1), { term: 1, vote: 1, commit: 5 })
    const w = await log.createSnapshot({ index: 100, term: 4, confState: CONF }, false)
    await w.write(Buffer.from('from the leader'))
    const record = await w.commit()
    assert.equal(log.snapshot, null)
    const hardState = { term: 4, vote: 0, commit: 100 }
    await log.append({ hardState, entries: entries(101, 102, 4), snapshot: record, sync: true })
    const before = describeLog(log)
    assert.deepEqual([log.firstIndex, log.lastIndex, log.term(100)], [101, 102, 4])
    await log.close()
    const again = await openLog(at.disk(), OPTIONS)
    assert.deepEqual(describeLog(again), before)
    assert.deepEqual(await chunksOf(again), ['from the leader'])
    await again.close()
  })
}

const failureCases = (withPlace: Cases, put: Put): void => {
  for (const now of ['before', 'after', 'open'] as const)
    withPlace(`a write that fails (${now}) is pending until healed`, async (at) => {
      const fault: Parameters<typeof faulty>[1] = { now: 'none' }
      const log = await openLog(faulty(at.disk(), fault), OPTIONS)
      await put(log, entries(1, 5, 1), { term: 1, vote: 1, commit: 3 })
      fault.now = now === 'open' ? 'before' : now
      const failed = put(log, entries(4, 9, 2), { term: 2, vote: 1, commit: 4 })
      await assert.rejects(
        failed,
        (e: unknown) => e instanceof LogWriteFailed && e.full === (now !== 'after'),
      )
      await assert.rejects(put(log, entries(10, 10, 2)), LogWriteFailed)
      fault.now = now
      await assert.rejects(log.heal(), LogWriteFailed)
      assert.ok(log.failed)
      fault.now = 'none'
      await log.heal()
      assert.equal(log.failed, null)
      await put(log, entries(10, 11, 2))
      const before = describeLog(log)
      assert.equal(log.lastIndex, 11)
      await log.close()
      const again = await openLog(at.disk(), OPTIONS)
      assert.deepEqual(describeLog(again), before)
      assert.deepEqual(again.hardState, { term: 2, vote: 1, commit: 4 })
      await again.close()
    })

  withPlace('a log closed while a write is pending keeps what was promised', async (at) => {
    const fault: Parameters<typeof faulty>[1] = { now: 'none' }
    const log = await openLog(faulty(at.disk(), fault), OPTIONS)
    await put(log, entries(1, 5, 1), { term: 1, vote: 1, commit: 3 })
    const before = describeLog(log)
    fault.now = 'before'
    await assert.rejects(put(log, entries(6, 9, 1)), LogWriteFailed)
    await log.close()
    const again = await openLog(at.disk(), OPTIONS)
    assert.deepEqual(describeLog(again), before)
    await again.close()
  })

  withPlace('entries that do not follow are a bug, not a write', async (at) => {
    const log = await openLog(at.disk(), OPTIONS)
    await put(log, entries(1, 2, 1))
    assert.throws(() => put(log, entries(4, 5, 1)), RangeError)
    await log.close()
  })

  withPlace('purge leaves nothing', async (at) => {
    const log = await openLog(at.disk(), OPTIONS)
    await put(log, entries(1, 2, 1))
    await log.purge()
    const again = await openLog(at.disk(), OPTIONS)
    assert.equal(again.lastIndex, 0)
    await again.close()
  })

  withPlace('what is remembered of others is there again, and batches are counted on', async (at) => {
    const log = await openLog(at.disk(), OPTIONS)
    assert.deepEqual([log.began, log.lives], [0, null])
    await put(log, entries(1, 3, 1))
    const { synced } = log
    await log.setLives(Uint8Array.of(1, 2), true)
    assert.ok(log.synced > synced)
    await log.setLives(Uint8Array.of(3), false)
    assert.equal(log.synced, synced + 1)
    await put(log, entries(4, 4, 1))
    assert.equal(log.synced, synced + 3)
    const before = log.synced
    await log.close()
    const again = await openLog(at.disk(), OPTIONS)
    assert.deepEqual([...again.lives!], [3])
    assert.ok(again.began >= before)
    assert.equal(again.lastIndex, 4)
    await again.close()
  })

  withPlace('a lost mark is damage', async (at) => {
    const log = await openLog(at.disk(), OPTIONS)
    await put(log, entries(1, 2, 1))
    await log.close()
    await assert.rejects(openLog(replaced(at.disk(), { readMark: () => null }), OPTIONS), LogDamaged)
  })
}
