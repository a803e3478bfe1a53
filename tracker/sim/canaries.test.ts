// Three known bugs that are found at once, so that the simulator is never blind; all of them are looked for
// by canaries.slow.test.ts.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CANARIES, type Canary } from './place.ts'
import { runSeed } from './run.ts'

const SEEDS_MOST = 100
const FOUND: Partial<Record<Canary, RegExp>> = {
  'answers-before-commit': /its change is not in the history/,
  'keeps-incarnation': /share incarnation/,
  'sends-old-changes': /a stale proposal undoes a later one/,
}

for (const [canary, check] of Object.entries(FOUND) as [Canary, RegExp][])
  test(`found: ${CANARIES[canary]}`, async () => {
    for (let seed = 1; seed <= SEEDS_MOST; seed++) {
      const { violation } = await runSeed({ seed, members: 3, ticks: 80, canary, faults: null, print: null })
      if (violation === null) continue
      assert.match(violation, check)
      return
    }
    assert.fail(`${canary} was not found in ${SEEDS_MOST} seeds`)
  })
