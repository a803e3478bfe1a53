// The seeds behind those of sim.test.ts, and an operator that is gone at more of its writes.
// `npm run sim:operator` runs thousands of them.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DAY, DAY_SECONDS, live } from './schedule.ts'

const again = (seed: number): string => `npm run sim:operator -- --seeds 1 --from ${seed} --trace`

// What seeds have found, kept.
for (const [seed, what] of [
  [20220, 'a majority lost, and learners that answer'],
  [20070, 'a majority lost, and the pod with the data scaled away by hand'],
] as const)
  test(`seed ${seed}: ${what}`, async () => {
    assert.equal((await live({ seed })).violation, null, again(seed))
  })

test('more lives: no rule is broken, all becomes as wished, and then nothing is written', async () => {
  for (let seed = 3; seed <= 12; seed++) {
    const { violation } = await live({ seed })
    assert.equal(violation, null, `seed ${seed}: ${violation}\n${again(seed)}`)
  }
})

test('an operator that is gone at each forty-first write does no harm, and finishes the day', async () => {
  for (let at = 20; ; at += 41) {
    const o = await live({ seed: 1, calm: true, crashAt: at, wishes: DAY, troubleSeconds: DAY_SECONDS })
    assert.equal(o.violation, null, `crash at write ${at}: ${o.violation}\nnpm run sim:operator -- --crashes`)
    if (o.crashes === 0) break
  }
})
