// The plan, case by case: testdata/plan/*.txt. `plan` begins anew; `again after=5s` goes on with the status
// that came out of the pass before, and with only those lines changed that it names.

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { runCases } from '@skep/testing/datadriven.ts'
import type { TrackerClusterStatus } from '../model/types.ts'
import { durationMs } from '../model/units.ts'
import { plan } from './plan.ts'
import { BEGIN_MS, linesOf, observedOf, planText } from './world.case.ts'

const FOLDER = join(import.meta.dirname, '../testdata/plan')

for (const file of readdirSync(FOLDER).filter((f) => f.endsWith('.txt')))
  test(file, async () => {
    let lines = new Map<string, string>()
    let nowMs = BEGIN_MS
    let status: TrackerClusterStatus | null = null
    await runCases(join(FOLDER, file), (c) => {
      const said = c.input === '' ? new Map<string, string>() : linesOf(c.input)
      if (c.command === 'plan') {
        lines = said
        nowMs = BEGIN_MS
        status = null
      } else if (c.command === 'again') {
        lines = new Map([...lines, ...said])
        nowMs += durationMs(c.options.get('after') ?? '1s') ?? 0
      } else throw new Error(`${c.place}: no command ${c.command}`)
      const out = plan(observedOf(lines, nowMs, status), nowMs)
      status = out.status
      return planText(out, c.words.includes('events'))
    })
  })
