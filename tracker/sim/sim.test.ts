// Two hundred seeds of the simulator, and that a seed says everything.
// `npm run sim -- --seeds 2000` runs more of them; what fails here prints the command that shows it again.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeFailure } from './options.ts'
import { runSeed } from './run.ts'

const runs = async (first: number, count: number, members: number, ticks: number): Promise<void> => {
  for (let seed = first; seed < first + count; seed++) {
    const options = { seed, members, ticks, canary: null, faults: null }
    const outcome = await runSeed({ ...options, print: null })
    assert.equal(outcome.violation, null, describeFailure(options, outcome))
  }
}

test('three members keep their word whatever goes wrong, and serve again when it is over', () =>
  runs(1, 160, 3, 40))

test('five members do so, too', () => runs(1, 40, 5, 30))

test('a seed is a run: the same trace each time, whatever ran before, and another one for another seed', async () => {
  const hash = async (seed: number): Promise<number> =>
    (await runSeed({ seed, members: 3, ticks: 40, canary: null, faults: null, print: null })).hash
  const [first, other, again] = [await hash(7), await hash(8), await hash(7)]
  assert.equal(first, again)
  assert.notEqual(first, other)
})
