// The command `npm run sim:operator -- --seeds N`: lives of clusters by seed, and of the first that fails
// what to type to see it. Refuses: to stop at the first failure; all seeds are run, and counted.

import { parseArgs } from 'node:util'
import { DAY, DAY_SECONDS, live, type Outcome } from './schedule.ts'

const USAGE = `npm run sim:operator -- [--seeds 1000] [--from 1] [--trouble 180] [--trace]

--seeds N     lives to simulate
--from N      the first seed
--trouble S   simulated seconds of trouble in each
--trace       print what happens (with --seeds 1)
--crashes     one day without other faults, with the operator gone at each of its writes in turn
`

const main = async (): Promise<number> => {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '1000' },
      from: { type: 'string', default: '1' },
      trouble: { type: 'string', default: '180' },
      trace: { type: 'boolean', default: false },
      crashes: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(USAGE)
    return 0
  }
  const [seeds, from, trouble] = [values.seeds, values.from, values.trouble].map(Number) as [
    number,
    number,
    number,
  ]
  const say = (text: string): void => void process.stdout.write(`${text}\n`)
  const began = performance.now()
  if (values.crashes) return crashes(say)
  const all: Outcome[] = []
  for (let seed = from; seed < from + seeds; seed++) {
    const outcome = await live({ seed, troubleSeconds: trouble, ...(values.trace ? { trace: say } : {}) })
    all.push(outcome)
    if (outcome.violation !== null)
      say(
        `FAILED  seed ${seed}: ${outcome.violation}\n        npm run sim:operator -- --seeds 1 --from ${seed} --trouble ${trouble} --trace`,
      )
  }
  for (const line of sums(all)) say(line)
  const failed = all.filter((o) => o.violation !== null).length
  say(
    `operator sim: ${all.length - failed} passed, ${failed} failed (${((performance.now() - began) / 1000).toFixed(1)} s)`,
  )
  return failed === 0 ? 0 : 1
}

/** Until a day has fewer writes than that. */
const crashes = async (say: (text: string) => void): Promise<number> => {
  let failed = 0
  for (let at = 1; ; at++) {
    const o = await live({ seed: 1, calm: true, crashAt: at, wishes: DAY, troubleSeconds: DAY_SECONDS })
    if (o.violation !== null) {
      failed++
      say(`FAILED  crash at write ${at}: ${o.violation}`)
    }
    if (o.crashes > 0) continue
    say(`operator sim: crashed at each of ${at - 1} writes, ${failed} failed`)
    return failed === 0 ? 0 : 1
  }
}

const sums = (all: readonly Outcome[]): string[] => {
  const total = (of: (o: Outcome) => number): number => all.reduce((n, o) => n + of(o), 0)
  const merged = (of: (o: Outcome) => ReadonlyMap<string, number>): string => {
    const counts = new Map<string, number>()
    for (const o of all) for (const [what, n] of of(o)) counts.set(what, (counts.get(what) ?? 0) + n)
    return [...counts]
      .sort()
      .map(([what, n]) => `${what} ${n}`)
      .join(', ')
  }
  const settled = all.map((o) => o.settledSeconds ?? Number.POSITIVE_INFINITY).sort((a, b) => a - b)
  return [
    `faults    ${merged((o) => o.faults)}, crashes of the operator ${total((o) => o.crashes)}`,
    `did       ${merged((o) => o.counts)}`,
    `passes ${total((o) => o.passes)}, writes ${total((o) => o.writes)}; as wished after ${settled[Math.floor(settled.length / 2)]} s (median), ${settled.at(-1)} s (longest)`,
  ]
}

if (import.meta.main) process.exitCode = await main()
