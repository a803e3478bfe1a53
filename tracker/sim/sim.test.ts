// A few dozen seeds of the simulator, and that a seed says everything; sim.slow.test.ts has more.
// `npm run sim -- --seeds 2000` runs more of them; what fails here prints the command that shows it again.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeFailure } from './options.ts'
import { runSeed } from './run.ts'

const run = async (seed: number, members: number, ticks: number) => {
  const options = { seed, members, ticks, canary: null, faults: null }
  const outcome = await runSeed({ ...options, print: null })
  assert.equal(outcome.violation, null, describeFailure(options, outcome))
}

const runs = async (first: number, count: number, members: number, ticks: number): Promise<void> => {
  for (let seed = first; seed < first + count; seed++) await run(seed, members, ticks)
}

test('three members keep their word whatever goes wrong, and serve again when it is over', () =>
  runs(1, 24, 3, 30))

test('five members do so, too', () => runs(1, 6, 5, 25))

test('a seed is a run: the same trace each time, whatever ran before, and another one for another seed', async () => {
  const hash = async (seed: number): Promise<number> =>
    (await runSeed({ seed, members: 3, ticks: 40, canary: null, faults: null, print: null })).hash
  const [first, other, again] = [await hash(7), await hash(8), await hash(7)]
  assert.equal(first, again)
  assert.notEqual(first, other)
})
