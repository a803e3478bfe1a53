// The time from the first line of a start to the moment that there is a member: probes and the control API
// are answered by those who can only say what is awaited. Refuses: to hurry, and to go on when it is told to
// stop.

import type { AccessFiles } from '../access/lists.ts'
import type { TrackerConfig } from '../config/options.ts'
import type { Logger } from '../log.ts'
import { openReplica, ReplicaFailed, type ReplicaHandle } from '../replica-thread/handle.ts'
import type { ProducerBuffers } from '../threads/producer.ts'
import type { OpenDoor } from './door.ts'
import { birthSettingsOf, clusterOptionsOf, controlAddressOf, whileOpening } from './parts.ts'
import { waitingRoom } from './waiting-room.ts'

export type OpeningOptions = {
  readonly config: TrackerConfig
  readonly hosts: readonly string[]
  readonly version: string
  readonly log: Logger
  readonly signal: AbortSignal
  readonly door: OpenDoor
  readonly control: SharedArrayBuffer
  readonly producers: readonly ProducerBuffers[]
  /** They are in force before anybody is answered. */
  readonly lists: AccessFiles
}

/**
 * `httpPort`: the one to take; another than the configured one if any free one was asked for. Rejects:
 * ReplicaFailed, HttpOpenError.
 */
export async function openMember(
  options: OpeningOptions,
): Promise<{ readonly replica: ReplicaHandle; readonly httpPort: number }> {
  const { config, hosts, version, log, door, control, producers } = options
  const { keys } = door
  const room = waitingRoom({
    ...{ hosts, port: config.httpPort, awaits: () => door.awaits() },
    opened: (http) => log.info({ http, control: door.port }, `waiting: ${door.awaits()}`),
  })
  const onNote = (sentence: string): void => {
    door.note(sentence)
    if (sentence !== '') log.info(sentence)
  }
  const own = { version, controlAddress: controlAddressOf(config, door.port), onNote, keys }
  const cluster = clusterOptionsOf(config, keys.keys)
  const birth = { birthSettings: birthSettingsOf(config), control, producers, cluster }
  const until = AbortSignal.any([options.signal, door.stopped])
  const opening = whileOpening(until, (signal) => openReplica({ ...config, ...birth, ...own, signal })).then(
    (opened) => settled(opened, options.lists, until),
  )
  let left = 0
  const replica = await Promise.race([opening, room.failed]).finally(async () => {
    left = await room.close()
  })
  return { replica, httpPort: left === 0 ? config.httpPort : left }
}

/** The replica once lists are in force; it is stopped where that fails, or when it is told to stop. */
async function settled(
  replica: ReplicaHandle,
  lists: AccessFiles,
  signal: AbortSignal,
): Promise<ReplicaHandle> {
  const failed = replica.failed.then((error) => {
    throw error
  })
  try {
    await Promise.race([lists.settle(replica, signal), failed])
    if (signal.aborted) throw new ReplicaFailed('stopped', 'stopped before it answered')
    return replica
  } catch (error) {
    await replica.stop({ purge: false })
    throw error
  }
}
