// The data folder of a replica that starts, and the cluster's secret in it: closed to others, tried, and with
// a word on what could be better. Refuses: nothing that keys/folder.ts and keys/network-key.ts do not.

import type { TrackerConfig } from '../config/options.ts'
import { prepareFolder } from '../keys/folder.ts'
import { type NetworkKey, openNetworkKey, WatchedKeys } from '../keys/network-key.ts'
import { keyWarnings } from '../keys/poor-keys.ts'
import type { Logger } from '../log.ts'
import { ReplicaFailed } from '../replica-thread/handle.ts'

type Opened = NetworkKey & {
  /** The keys in force, whatever becomes of their file. */
  readonly watched: WatchedKeys
  readonly warnings: readonly string[]
  stop(): void
}

/** Rejects: FolderError, NetworkKeyError; ReplicaFailed where it was told to stop meanwhile. */
export async function openFolder(
  { dataDir, networkKeyFile }: TrackerConfig,
  log: Logger,
  signal: AbortSignal,
): Promise<Opened> {
  const mended = prepareFolder(dataDir)
  if (mended > 0) log.info({ files: mended }, `${dataDir} was open to other users: it is closed now`)
  const key = await openNetworkKey(dataDir, networkKeyFile, signal)
  if (key.keys.length === 0) throw new ReplicaFailed('stopped', 'stopped before it answered')
  const watched = new WatchedKeys(key)
  return { ...key, watched, warnings: keyWarnings(key), stop: () => watched.stop() }
}
