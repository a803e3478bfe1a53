// The seeds behind those of sim.test.ts.
// `npm run sim -- --seeds 2000` runs more of them; what fails here prints the command that shows it again.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeFailure } from './options.ts'
import { runSeed } from './run.ts'

const runs = async (first: number, last: number, members: number, ticks: number): Promise<void> => {
  for (let seed = first; seed <= last; seed++) {
    const options = { seed, members, ticks, canary: null, faults: null }
    const outcome = await runSeed({ ...options, print: null })
    assert.equal(outcome.violation, null, describeFailure(options, outcome))
  }
}

test('three members keep their word whatever goes wrong, and serve again when it is over', () =>
  runs(25, 160, 3, 30))

test('five members do so, too', () => runs(7, 40, 5, 25))
