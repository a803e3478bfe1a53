// Opens each log directory it is given and prints one line on it. May die of one: its parent goes on with the
// next.

import { writeSync } from 'node:fs'
import { lmdbDisk } from './lmdb.ts'
import { describeLog, OPTIONS } from './log.case.ts'
import { openLog } from './store.ts'

for (const dir of process.argv.slice(2)) {
  const line = await openLog(lmdbDisk(dir), OPTIONS).then(
    async (log) => {
      const text = JSON.stringify(describeLog(log))
      await log.close()
      return `same ${text}`
    },
    (error: Error) => `refused ${error.name}`,
  )
  writeSync(1, `${line}\n`)
}
