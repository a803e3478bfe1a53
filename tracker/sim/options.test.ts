// What the simulator's command takes, and what it says to type.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readOptions, replay, runOf, Sums } from './options.ts'

test('without options: two hundred seeds from the first, both sizes; a seed alone is one run in one process', () => {
  const plain = readOptions([], 0)!
  assert.deepEqual([plain.from, plain.seeds, plain.members, plain.hours], [1, 200, 'mixed', 0])
  const sizes = [1, 2, 3, 4, 5, 6].map((seed) => runOf(plain, seed).members)
  assert.deepEqual(sizes, [3, 3, 5, 3, 3, 5])
  const one = readOptions(['--seed', '9', '--jobs', '4'], 0)!
  assert.deepEqual([one.from, one.seeds, one.jobs], [9, 1, 1])
})

test('a soak begins where nobody has been', () => {
  const at = (seconds: number): number => readOptions(['--hours', '1'], seconds)!.from
  assert.ok(at(1_700_000_001) > at(1_700_000_000))
})

for (const wrong of [
  '--members 4',
  '--seeds x',
  '--seeds 0',
  '--jobs 1.5',
  '--canary none',
  '--faults kill,none',
])
  test(`${wrong} is refused with its name`, () => {
    const [option, value] = wrong.split(' ')
    assert.throws(() => readOptions([option!, value!], 0), {
      name: 'RangeError',
      message: new RegExp(`${option}|none`),
    })
  })

test('what is said to be typed again means the same run', () => {
  const args = [
    '--seed',
    '7',
    '--members',
    '5',
    '--ticks',
    '30',
    '--canary',
    'skip-fsync',
    '--faults',
    'kill,jump',
  ]
  const run = runOf(readOptions(args, 0)!, 7)
  const typed = replay(run).split(' ').slice(4)
  assert.deepEqual(runOf(readOptions(typed, 0)!, 7), run)
})

test('the last line is plain, and failures are listed by seed with what to type', () => {
  const sums = new Sums()
  const o = readOptions(['--members', '3', '--jobs', '1'], 0)!
  const outcome = {
    violation: null,
    answers: 0,
    changes: 0,
    faults: 0,
    ms: 0,
    healedMs: 0,
    counts: new Map(),
  }
  const end = { plan: '', trace: [], hash: 0, events: 0 }
  sums.add(runOf(o, 5), { ...outcome, ...end, violation: 'm1 forgot\nall of it' })
  sums.add(runOf(o, 4), { ...outcome, ...end, violation: 'm2 lied' })
  sums.add(runOf(o, 6), { ...outcome, ...end })
  const lines = sums.lines(o, 2)
  assert.equal(lines.at(-1), 'sim: 1 passed, 2 failed')
  const failed = lines
    .slice(
      0,
      lines.findIndex((l) => l.includes('schedules of')),
    )
    .join('\n')
  assert.ok(failed.indexOf('m2 lied') < failed.indexOf('m1 forgot') && !failed.includes('all of it'))
  assert.match(failed, /--seed 4 --members 3 --ticks 100 --trace/)
})
