// A process with a replica that takes joins until it is killed; prints how many were answered, one line a
// round. node kill.case.ts DIR

import { writeSync } from 'node:fs'
import { APPLIED } from '../threads/outcome.ts'
import { seeders, started } from './front-end.case.ts'

const HASH = 77
const { handle, front } = await started(process.argv[2]!, { snapshotLogBytes: 32 * 1024 })
let next = seeders(handle, HASH)
writeSync(1, `found ${next}\n`)
for (;;) {
  for (const [, count, outcome] of await front.join(HASH, next, 40)) {
    if (outcome !== APPLIED) throw new Error(`outcome ${outcome}`)
    next += count!
  }
  writeSync(1, `answered ${next}\n`)
}
