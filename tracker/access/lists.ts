// The two watched lists of a replica: from `--allow-list` and `--deny-list` to changes in the log.
// Refuses: to touch a list whose option is not given; `skep ctl access` may hold it.

import { join } from 'node:path'
import type { TrackerConfig } from '../config/options.ts'
import type { Changes } from '../control/changes.ts'
import type { Logger } from '../log.ts'
import { ALLOW, DENY } from '../swarm/access.ts'
import { clusterIdOf } from '../swarm/apply.ts'
import type { Store } from '../swarm/store.ts'
import { type AccessFile, watchAccessFile } from './file.ts'

export type AccessFilesOptions = {
  readonly config: Pick<TrackerConfig, 'allowList' | 'denyList' | 'dataDir'>
  readonly changes: Changes
  readonly store: Store
  readonly log: Logger
  /** Changes can be committed from then on. */
  readonly serving: Promise<void>
}

export function accessFiles(options: AccessFilesOptions): { stop(): Promise<void> } {
  const { config, changes, store, log } = options
  const watched = [
    { path: config.allowList, option: '--allow-list', list: ALLOW },
    { path: config.denyList, option: '--deny-list', list: DENY },
  ] as const
  let stopped = false
  const open: AccessFile[] = []
  const started = options.serving.then(async () => {
    for (const { path, option, list } of watched) {
      if (path === null || stopped) continue
      const commit = async ({ bytes }: { bytes: Uint8Array }): Promise<void> => {
        // The leader reads the same file and was quicker; only a leader can change lists.
        if (changes.access(list).active && Buffer.concat(changes.infoHashes(list)).equals(bytes)) return
        const changed = await changes.changeAccess(list, 'replace', null, bytes)
        if (changed.kind !== 'done') throw new Error(changed.why)
      }
      // A cluster that was born anew has empty lists, whatever an earlier one had taken from this file.
      const scope = clusterIdOf(store)
      open.push(
        await watchAccessFile({
          path,
          option,
          scope,
          memory: join(config.dataDir, `${option.slice(2)}.seen`),
          commit,
          log,
        }),
      )
    }
  })
  return {
    async stop() {
      stopped = true
      await Promise.race([started, Promise.resolve()])
      for (const file of open) await file.stop()
    },
  }
}
