// The replica as the main thread sees it: a real thread, a real disk, changes through real rings.

import assert from 'node:assert/strict'
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { settingsEntry } from '../swarm/entry.ts'
import { DEFAULT_SETTINGS, readSettings } from '../swarm/settings.ts'
import { Store } from '../swarm/store.ts'
import { APPLIED } from '../threads/outcome.ts'
import { controlBuffer, SERVING } from '../threads/state.ts'
import { FrontEnd, MEMORY, seeders, started, withDir } from './front-end.case.ts'
import { ReplicaFailed } from './handle.ts'
import type { ReplicaOptions } from './messages.ts'

for (const logStore of ['classic-level', 'lmdb'] as const)
  test(`${logStore}: what was answered is there after a stop, a restart and a snapshot`, () =>
    withDir(async (dir) => {
      let { handle, front, control } = await started(dir, { logStore })
      assert.equal(control.state, SERVING)
      assert.ok(control.mayAnswer(1e15))
      for (let i = 0; i < 10; i++)
        for (const [, , outcome] of await front.join(7, i * 20, 20)) assert.equal(outcome, APPLIED)
      assert.equal(seeders(handle, 7), 200)
      const status = await handle.status()
      assert.equal(status.role, 'leader')
      assert.equal(status.changes, 200)
      assert.equal(status.members.length, 1)
      await handle.stop({ purge: false })

      ;({ handle, front } = await started(dir, { logStore }))
      assert.equal(seeders(handle, 7), 200)
      const index = await handle.snapshot()
      assert.equal((await handle.status()).snapshotIndex, index)
      await front.join(8, 0, 5)
      const before = await handle.status()
      assert.equal(before.clusterId, status.clusterId)
      assert.equal(before.incarnation, status.incarnation + 1)
      await handle.stop({ purge: false })

      ;({ handle, front } = await started(dir, { logStore }))
      assert.deepEqual([seeders(handle, 7), seeders(handle, 8)], [200, 5])
      await handle.stop({ purge: true })
      assert.deepEqual(await readdir(join(dir, 'replica')), [])
    }))

test('outcomes come in order, once each, from several front ends', () =>
  withDir(async (dir) => {
    const buffer = controlBuffer()
    const fronts = [new FrontEnd(buffer), new FrontEnd(buffer), new FrontEnd(buffer)]
    const { handle } = await started(dir, { control: buffer, producers: fronts.map((f) => f.buffers) })
    await Promise.all(
      fronts.map(async (front, f) => {
        for (let round = 0; round < 20; round++) {
          let next = 0
          for (const [first, count] of await front.join(100 + f, round * 30, 30)) {
            assert.equal(first, next)
            next += count!
          }
          assert.equal(next, 30)
        }
      }),
    )
    for (let f = 0; f < 3; f++) assert.equal(seeders(handle, 100 + f), 600)
    await handle.stop({ purge: false })
  }))

test('the log is cut while changes go on, and an idle leader lets time pass', () =>
  withDir(async (dir) => {
    let { handle, front } = await started(dir, { snapshotLogBytes: 64 * 1024 })
    for (let i = 0; i < 60; i++) await front.join(i, 0, 100)
    let status = await handle.status()
    while (status.snapshotRunning) status = await handle.status()
    assert.ok(status.snapshotsTaken > 0)
    assert.ok(status.logBytes < 128 * 1024, `${status.logBytes}`)
    const { timeMs } = status
    while ((await handle.status()).timeMs === timeMs);
    await handle.stop({ purge: false })
    ;({ handle, front } = await started(dir))
    for (let i = 0; i < 60; i++) assert.equal(seeders(handle, i), 100)
    await handle.stop({ purge: false })
  }))

test('settings are proposed, and outlive a restart', () =>
  withDir(async (dir) => {
    let { handle } = await started(dir)
    assert.equal(await handle.propose(settingsEntry({ numwantDefault: 33 })), 'committed')
    assert.equal(readSettings(new Store(handle.store).control).numwantDefault, 33)
    await handle.stop({ purge: false })
    ;({ handle } = await started(dir, { birthSettings: { ...DEFAULT_SETTINGS, numwantDefault: 1 } }))
    assert.equal(readSettings(new Store(handle.store).control).numwantDefault, 33)
    await handle.stop({ purge: false })
  }))

const refusal = async (dir: string, change: Partial<ReplicaOptions>): Promise<ReplicaFailed> => {
  try {
    const { handle } = await started(dir, change)
    await handle.stop({ purge: false })
  } catch (error) {
    assert.ok(error instanceof ReplicaFailed, String(error))
    return error
  }
  return assert.fail('it started')
}

test('a directory in use, of another name or store, too little memory: refused with a reason', () =>
  withDir(async (dir) => {
    const { handle } = await started(dir)
    const locked = await refusal(dir, {})
    assert.deepEqual([locked.kind, locked.exitCode], ['locked', 74])
    assert.match(locked.message, /in use/)
    await handle.stop({ purge: false })
    assert.match((await refusal(dir, { name: 'r1' })).message, /belongs to "r0"/)
    assert.equal((await refusal(dir, { logStore: 'lmdb' })).kind, 'format')
    assert.match((await refusal(dir, { memoryBytes: MEMORY / 2 })).message, /--memory/)
    await (await started(dir)).handle.stop({ purge: false })
  }))

test('a damaged log is refused, and says what to do', () =>
  withDir(async (dir) => {
    const { handle, front } = await started(dir)
    for (let i = 0; i < 5; i++) await front.join(1, i * 50, 50)
    // As after a kill: the store as it lies there, with four bytes of the middle flipped.
    const copy = `${dir}-copy`
    await cp(dir, copy, { recursive: true })
    await handle.stop({ purge: false })
    const store = join(copy, 'replica', 'store')
    const wal = join(store, (await readdir(store)).find((f) => f.endsWith('.log'))!)
    const bytes = await readFile(wal)
    for (let i = 0; i < 4; i++) bytes[(bytes.length >> 1) + i]! ^= 0xff
    await writeFile(wal, bytes)
    const damaged = await refusal(copy, {})
    await rm(copy, { recursive: true })
    assert.deepEqual([damaged.kind, damaged.exitCode], ['damaged', 74])
    assert.match(damaged.message, /delete this data directory/)
  }))

test('a thread that ends by itself is heard of, with everything that was asked of it', () =>
  withDir(async (dir) => {
    const { handle } = await started(dir)
    // A settings entry whose text is no JSON: nobody proposes one, and applying it is a bug.
    const fate = handle.propose(new Uint8Array(new Int32Array([2 | (1 << 8), 0, 0, 4, 0x78787878]).buffer))
    const why = await handle.failed
    assert.deepEqual([why.kind, why.exitCode], ['bug', 70])
    await assert.rejects(fate, ReplicaFailed)
    await assert.rejects(handle.status(), ReplicaFailed)
    await handle.stop({ purge: false })
  }))
