// skep ctl recover: a cluster that lost its majority for good goes on from the data folder of one survivor.
// Refuses: running beside the replica itself (the log has one owner), and changing anything without --force.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { FAILURE, IO, OK } from '@skep/cli/exit-codes.ts'
import { loadCore } from '@skep/raft'
import type { TrackerConfig } from '../config/options.ts'
import type { LogDisk } from '../replica/log/disk.ts'
import { openLog } from '../replica/log/store.ts'
import { recover } from '../replica/membership/recover.ts'
import { LEVEL } from '../swarm/level.ts'
import type { Asked, Call } from './asked.ts'

export const RECOVER_CALLS: readonly Call[] = [
  {
    name: 'recover',
    summary: 'Go on from one survivor when the majority is lost for good; the replica must be stopped.',
    options: [['--force', 'Do it; without this it only says what would be lost.']],
    keys: ['dataDir', 'logStore'],
    offline: () => true,
    run: (asked) => recoverHere(asked),
  },
]

/** Memory of the Raft core while the log is replayed, bytes. */
const CORE_BYTES = 64 * 1024 * 1024

/** Prints what is lost by it, and with `force` does it. */
async function recoverHere({ configured, options, json, print, note }: Asked): Promise<number> {
  const { dataDir, logStore } = configured.config
  const force = options.force === true
  const folder = join(dataDir, 'replica')
  if (!existsSync(folder)) {
    note(`there is no data of a replica in ${dataDir}; --data-dir names it, such as skep-data/r0`)
    return FAILURE
  }
  try {
    const log = await openLog(await diskOf(folder, logStore), { group: 0, loose: false })
    try {
      const report = await recover(log, await loadCore({ memoryLimitBytes: CORE_BYTES }), force, LEVEL)
      if (json) print(JSON.stringify(report, null, 2))
      else for (const sentence of report.sentences) print(sentence)
      if (report.refused !== null) return FAILURE
      if (!json && report.done) print('Done. Start it as before.')
      else if (!json && report.removed.length > 0)
        print('Nothing was changed: skep ctl recover --force does it.')
      return OK
    } finally {
      await log.close()
    }
  } catch (error) {
    note(`${dataDir}: ${error instanceof Error ? error.message : String(error)}`)
    return IO
  }
}

export const diskOf = async (folder: string, store: TrackerConfig['logStore']): Promise<LogDisk> =>
  store === 'lmdb'
    ? (await import('../replica/log/lmdb.ts')).lmdbDisk(folder)
    : (await import('../replica/log/level.ts')).levelDisk(folder)
