// A simulator that cannot fail shows nothing: each known bug must be found within a bounded number of seeds.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CANARIES, type Canary } from './place.ts'
import { runSeed } from './run.ts'

const SEEDS_MOST = 150

for (const canary of Object.keys(CANARIES) as Canary[])
  test(`found: ${CANARIES[canary]}`, async () => {
    for (let seed = 1; seed <= SEEDS_MOST; seed++) {
      const { violation } = await runSeed({ seed, members: 3, ticks: 80, canary, print: null })
      if (violation !== null) return
    }
    assert.fail(`${canary} was not found in ${SEEDS_MOST} seeds`)
  })
