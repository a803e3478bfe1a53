// The loop and a log that fails: a Ready is taken only when the log takes it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { drive, newDriven } from './drive.ts'
import { entries, OPTIONS } from './log/log.case.ts'
import { LogWriteFailed } from './log/log.ts'
import { memoryDisk } from './log/memory.ts'
import { openLog } from './log/store.ts'
import { DONE, IDLE, WRITING } from './replica.ts'

test('a write that failed beside the loop is mended before the next Ready is taken', async () => {
  const disk = memoryDisk()
  const log = await openLog(disk, OPTIONS)
  await log.append({ hardState: null, entries: entries(1, 3, 1), sync: true })
  disk.fault = 'fails'
  // Not the loop's own write: an incarnation stands for a snapshot or a compaction.
  await assert.rejects(log.nextIncarnation(), LogWriteFailed)
  const heard: string[] = []
  let writing = Promise.resolve()
  let turns = 0
  await drive(
    {
      log,
      member: {
        turn: () => {
          turns++
          heard.push(`turn with a log that ${log.failed === null ? 'works' : 'fails'}`)
          if (turns > 1) return turns === 2 ? DONE : IDLE
          writing = log.append({ hardState: null, entries: entries(4, 5, 1), sync: true })
          return WRITING
        },
        get writing() {
          return writing
        },
        finish: () => heard.push('written'),
        due: () => 0,
        stalled: () => heard.push('stalled'),
        mended: () => heard.push('mended'),
        replica: { resume: async () => {} },
      } as unknown as Parameters<typeof drive>[0]['member'],
      now: () => heard.length * 100,
      between: () => {},
      published: () => {},
      sleep: async () => {},
      pause: async () => {
        disk.fault = 'none'
      },
      failing: () => {},
      ended: () => turns >= 3,
    },
    newDriven(),
  )
  assert.deepEqual(heard.slice(0, 4), ['stalled', 'mended', 'turn with a log that works', 'written'])
  assert.equal(log.lastIndex, 5)
  assert.equal(log.readEntries(4, 6, 1e9)?.length, 2)
  await log.close()
})
