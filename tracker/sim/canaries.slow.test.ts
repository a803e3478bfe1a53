// A simulator that cannot fail shows nothing: each known bug must be found within a bounded number of seeds,
// by the check that is there for it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Fault } from './faults.ts'
import { CANARIES, type Canary } from './place.ts'
import { runSeed } from './run.ts'

const SEEDS_MOST = 100

/**
 * What a check says, and, where chance alone would take long, what has to go wrong, how long and among how
 * many.
 */
const FOUND: Record<
  Canary,
  readonly [check: RegExp, faults?: readonly Fault[], run?: { ticks?: number; members?: number }]
> = {
  'answers-before-commit': [/its change is not in the history/],
  'lease-not-checked': [/in term \d+, after an answer in term \d+|stale/, ['isolateLeader'], { ticks: 300 }],
  'follower-needs-no-lease': [/as follower: stale/],
  'sends-old-changes': [/a stale proposal undoes a later one/],
  'keeps-incarnation': [/share incarnation/],
  'repeats-ids': [/are both member|member \d+ .*(is called|was removed)/, ['members']],
  'skip-fsync': [/LogDamaged/],
  'apply-out-of-order': [
    /applied entry \d+ where entry .+ comes next|stale, entry \d+ was answered before/,
    ['kill', 'isolate'],
  ],
  'snapshot-moves': [/tables differ|should not be|is missing|counted/],
  'votes-after-restart': [/after an answer in term|stale|two leaders/, ['ambush']],
  'forgets-votes': [/has two leaders/, ['twice']],
  'skips-entries': [/counted, there are|is missing|should not be/],
  'sends-no-snapshots': [/no progress/, ['isolate', 'members']],
  'welcomes-copies': [/older copy of its disk|copy of m\d|runs from a copy/, ['rollBack']],
  'follows-copies': [/at the address of a copy/, ['double'], { members: 5 }],
  'turns-members-away': [/is told that it was removed, and it was not/],
  'believes-its-table': [/this one is lost/],
}

for (const canary of Object.keys(CANARIES) as Canary[])
  test(`found: ${CANARIES[canary]}`, async () => {
    const [check, faults = null, run = {}] = FOUND[canary]
    for (let seed = 1; seed <= SEEDS_MOST; seed++) {
      const { violation } = await runSeed({
        seed,
        members: 3,
        ticks: 80,
        ...run,
        canary,
        faults,
        print: null,
      })
      if (violation === null) continue
      assert.match(violation, check)
      return
    }
    assert.fail(`${canary} was not found in ${SEEDS_MOST} seeds`)
  })
