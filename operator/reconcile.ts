// One pass over one cluster: observe, plan one step, act, say so in status. The whole way, and nothing else.
// Refuses: to decide (plan/), to wait (queue.ts), and to lose what was planned because acting failed: status
// is written anyway.

import { act, StepFailed } from './act.ts'
import { ApiError, CONFLICT, type KubeObject } from './model/ports.ts'
import type { Plan } from './model/steps.ts'
import type { TrackerCluster, TrackerClusterStatus } from './model/types.ts'
import { observe } from './observe.ts'
import { plan } from './plan/plan.ts'
import { writeIfNew } from './status.ts'
import { clusterKey, memoryOf, type World } from './world.ts'

/** null: the resource is gone. */
export type Pass = { readonly plan: Plan; readonly wroteStatus: boolean } | null

/** Rejects when the step or the status could not be written; the queue backs off then. */
export const reconcile = async (world: World, namespace: string, name: string): Promise<Pass> => {
  const found = world.api.cached('TrackerCluster', namespace, name)
  if (found === null) {
    world.memories.delete(clusterKey(namespace, name))
    return null
  }
  const seen = await observe(world, found as unknown as TrackerCluster)
  const planned = plan(seen, world.nowMs())
  let resource = seen.resource
  let failure: unknown = null
  try {
    resource = await act(world, seen, planned.step)
    if (planned.step.kind !== 'none') memoryOf(world, resource).failure = ''
    for (const event of planned.events) await world.api.event({ about: found, ...event })
  } catch (error) {
    failure = error
    const message = reasonOf(error)
    // Somebody was quicker: no news to anybody.
    if (!(error instanceof ApiError && error.code === CONFLICT)) {
      memoryOf(world, resource).failure = message
      await world.api.event({ about: found, type: 'Warning', reason: 'StepFailed', message })
    }
  }
  // An old view is only fit to wait; what it says of the cluster may be wrong by now.
  const wroteStatus = seen.stale === null && (await writeStatus(world, resource, planned.status))
  if (failure !== null) throw failure
  return { plan: planned, wroteStatus }
}

export const reasonOf = (error: unknown): string =>
  error instanceof StepFailed || error instanceof ApiError || error instanceof Error
    ? error.message
    : String(error)

/** Only if it says something else than what is there. */
const writeStatus = async (
  world: World,
  resource: TrackerCluster,
  status: TrackerClusterStatus,
): Promise<boolean> => {
  // The last finalizer was taken away: nobody is left to be told.
  const { deletionTimestamp, finalizers = [] } = resource.metadata
  if (deletionTimestamp !== undefined && finalizers.length === 0) return false
  const done = await writeIfNew(world, resource as unknown as KubeObject, status)
  if (done === null) return false
  memoryOf(world, resource).written.wrote({ ...done, kind: 'TrackerCluster' }, world.nowMs())
  return true
}
