// The log over the simulated disk: the cases that every log passes, and power cuts at any moment.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VirtualClock } from '@skep/testing/clock.ts'
import { type Crash, VirtualDisk } from '@skep/testing/disk.ts'
import { Random } from '@skep/testing/random.ts'
import { CONF, entries, logCases, OPTIONS } from '../replica/log/log.case.ts'
import type { LogStore } from '../replica/log/log.ts'
import { openLog } from '../replica/log/store.ts'
import { simulatedLogDisk } from './disk.ts'

const PACE = { syncMs: 5, syncJitterMs: 5 }

logCases('simulated', async () => {
  const disk = simulatedLogDisk(new VirtualDisk(null, new Random(1), PACE), 'simulated')
  return { disk: () => disk, remove: async () => {} }
})

/** Lets everything happen that needs no time. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Appends and snapshots for a random while: promised is what was synced, written what was begun. */
const live = async (log: LogStore, clock: VirtualClock, random: Random) => {
  let promised = log.lastIndex
  let written = promised
  const work = async (): Promise<void> => {
    for (let term = 1; ; term++) {
      const from = written + 1
      written += random.below(4)
      const hardState = { term: Math.max(term, log.hardState?.term ?? 0), vote: 1, commit: promised }
      await log.append({ hardState, entries: entries(from, written, 1, random.below(2000)), sync: true })
      promised = written
      if (!random.chance(0.2) || promised <= (log.snapshot?.index ?? 0)) continue
      const writer = await log.createSnapshot({ index: promised, term: 1, confState: CONF }, true)
      for (let n = random.below(5); n > 0; n--) await writer.write(random.bytes(1000))
      await writer.commit()
      await log.compactTo(promised - random.below(3))
    }
  }
  void work()
  for (let steps = random.below(40); steps > 0; steps--) {
    clock.step()
    await settled()
  }
  return { promised, written }
}

test('after a crash at any moment the log opens, with all that was promised', async () => {
  const lost = { process: 0, power: 0 }
  for (let seed = 1; seed <= 100; seed++) {
    const random = new Random(seed)
    const clock = new VirtualClock()
    let disk = new VirtualDisk(clock, random, PACE)
    let promised = 0
    let written = 0
    let how: Crash = 'process'
    for (let life = 1; life <= 4; life++) {
      const opening = openLog(simulatedLogDisk(disk, 'm1'), OPTIONS)
      let log: LogStore | null = null
      opening.then((l) => (log = l)).catch(() => {})
      while (clock.step()) await settled()
      log = await Promise.race([opening, settled().then(() => null)])
      assert.ok(log !== null, `seed ${seed} life ${life}: the log does not open`)
      assert.ok(log.lastIndex >= promised && log.lastIndex <= written, `seed ${seed} life ${life}`)
      if (log.lastIndex < written) lost[how]++
      const all = log.readEntries(log.firstIndex, log.lastIndex + 1, 1e9) ?? []
      assert.equal(all.length, log.lastIndex - log.firstIndex + 1)
      if (log.snapshot !== null) for await (const chunk of log.readSnapshot(log.snapshot)) void chunk
      ;({ promised, written } = await live(log, clock, random))
      how = random.pick(['process', 'power'])
      disk = disk.crash(how)
    }
  }
  assert.equal(lost.process, 0)
  assert.ok(lost.power > 10, `${lost.power}`)
})

test('a format file that a dead process wrote is on disk before anything relies on it', async () => {
  const random = new Random(3)
  const clock = new VirtualClock()
  const first = new VirtualDisk(clock, random, PACE)
  void openLog(simulatedLogDisk(first, 'm1'), OPTIONS).catch(() => {})
  await settled()
  // Killed while the format file is on its way to the disk; the next process sees it, as the system has it in
  // memory.
  const second = first.crash('process')
  const opening = openLog(simulatedLogDisk(second, 'm1'), OPTIONS)
  while (clock.step()) await settled()
  const log = await opening
  const appending = log.append({
    hardState: { term: 1, vote: 1, commit: 0 },
    entries: entries(1, 2, 1, 10),
    sync: true,
  })
  while (clock.step()) await settled()
  await appending
  let why: unknown = null
  const opened = openLog(simulatedLogDisk(second.crash('power'), 'm1'), OPTIONS).catch((error: unknown) => {
    why = error
    return null
  })
  while (clock.step()) await settled()
  assert.equal((await opened)?.lastIndex, 2, String(why))
})
