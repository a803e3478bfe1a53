// The time from the first line of a start to the moment that there is a member: probes and the control API
// are answered by those who can only say what is awaited. Refuses: to hurry, and to go on when it is told to
// stop.

import type { TrackerConfig } from '../config/options.ts'
import type { Logger } from '../log.ts'
import { openReplica, type ReplicaHandle } from '../replica-thread/handle.ts'
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
}

/**
 * `httpPort`: the one to take; another than the configured one if any free one was asked for. Rejects:
 * ReplicaFailed, HttpOpenError.
 */
export async function openMember(
  options: OpeningOptions,
): Promise<{ readonly replica: ReplicaHandle; readonly httpPort: number }> {
  const { config, hosts, version, log, door, control, producers } = options
  const room = waitingRoom({
    ...{ hosts, port: config.httpPort, awaits: () => door.awaits() },
    opened: (http) => log.info({ http, control: door.port }, `waiting: ${door.awaits()}`),
  })
  const onNote = (sentence: string): void => {
    door.note(sentence)
    if (sentence !== '') log.info(sentence)
  }
  const own = { version, controlAddress: controlAddressOf(config, door.port), onNote }
  const cluster = clusterOptionsOf(config)
  const birth = { birthSettings: birthSettingsOf(config), control, producers, cluster }
  const opening = whileOpening(AbortSignal.any([options.signal, door.stopped]), (signal) =>
    openReplica({ ...config, ...birth, ...own, signal }),
  )
  let left = 0
  const replica = await Promise.race([opening, room.failed]).finally(async () => {
    left = await room.close()
  })
  return { replica, httpPort: left === 0 ? config.httpPort : left }
}
