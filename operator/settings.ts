// Settings that the log keeps: options only seed them at birth, so a wish that changes later is told to the
// leader. Refuses: restarts for them, and to ask again for what was asked of the same leader.

import type { Lists } from './lists.ts'
import { settle } from './model/settle.ts'
import type { TrackerCluster } from './model/types.ts'
import { addressOf } from './observe.ts'
import { memoryOf, replicasOf, type World } from './world.ts'

/** Somebody may change them by `skep ctl settings`: they are put right so often, milliseconds. */
const LOOK_MS = 60_000

export const keepSettings = async (
  world: World,
  lists: Pick<Lists, 'allowPrivate' | 'setAllowPrivate'>,
  namespace: string,
  name: string,
): Promise<void> => {
  const found = world.api.cached('TrackerCluster', namespace, name)
  if (found === null || found.metadata.deletionTimestamp !== undefined) return
  const resource = found as unknown as TrackerCluster
  const { spec, status, metadata } = resource
  if (status?.leader === undefined || spec.paused === true || spec.hibernated === true) return
  const memory = memoryOf(world, resource)
  const of = `${metadata.generation} ${status.leader} ${status.term}`
  const { settingsKept: before } = memory
  if (before.of === of && world.nowMs() - before.atMs < LOOK_MS) return
  const pod = replicasOf(world.api, resource).find((p) => p.metadata.name === status.leader)
  const at = pod === undefined ? null : addressOf(resource, pod)
  if (at === null) return
  const wanted = settle(spec, world.version).allowPrivate
  if ((await lists.allowPrivate(at)) !== wanted) {
    await lists.setAllowPrivate(at, wanted)
    await world.api.event({
      about: found,
      type: 'Normal',
      reason: 'SettingChanged',
      message: `allowPrivate is ${wanted} from now on`,
    })
  }
  memory.settingsKept = { of, atMs: world.nowMs() }
}
