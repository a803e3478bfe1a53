// The seeds behind those of sim.test.ts, and those that have found something.
// `npm run sim -- --seeds 2000` runs more of them; what fails here prints the command that shows it again.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import type { Fault } from './faults.ts'
import { describeFailure, faultsOf } from './options.ts'
import { runSeed } from './run.ts'

const run = async (seed: number, members: number, ticks: number, faults: readonly Fault[] | null) => {
  const options = { seed, members, ticks, canary: null, faults }
  const outcome = await runSeed({ ...options, print: null })
  assert.equal(outcome.violation, null, describeFailure(options, outcome))
}

const runs = async (first: number, last: number, members: number, ticks: number): Promise<void> => {
  for (let seed = first; seed <= last; seed++) await run(seed, members, ticks, null)
}

test('three members keep their word whatever goes wrong, and serve again when it is over', () =>
  runs(25, 60, 3, 30))

test('five members do so, too', () => runs(7, 16, 5, 25))

test('what was found once is not found again', async () => {
  const lines = readFileSync(new URL('testdata/seeds.txt', import.meta.url), 'utf8').split('\n')
  for (const line of lines.map((l) => l.trim()).filter((l) => l !== '' && !l.startsWith('#'))) {
    const [seed, members, ticks, faults] = line.split(/\s+/)
    await run(Number(seed), Number(members), Number(ticks), faultsOf(faults))
  }
})
