// The beginning and the end of a cluster, and its sleep: deletion, owned objects, birth, hibernation.
// Refuses: to touch anything of a cluster whose ID is not the recorded one, and to create one where there may
// be one.

import { ordinalOf } from '../model/names.ts'
import { FINALIZER } from '../model/types.ts'
import { bytesOf } from '../model/units.ts'
import { faultText, validate } from '../model/validate.ts'
import { clusterIdOf } from './decided.ts'
import { plural, podOf, resize, type Verdict, type View, wait } from './view.ts'

/** Volumes are emptied or deleted only when that was asked for; otherwise there is nothing to wait for. */
const needsFinalizer = (v: View): boolean => v.spec.purgeOnDelete || v.spec.storage.retention === 'Delete'

export const beingDeleted = (v: View): Verdict | null => {
  const { metadata } = v.seen.resource
  if (metadata.deletionTimestamp === undefined) return null
  if (!(metadata.finalizers ?? []).includes(FINALIZER))
    return wait('Deleting', 'the cluster is deleted; Kubernetes removes what belongs to it, volumes stay')
  const { statefulSet } = v.seen
  if (statefulSet !== null && statefulSet.replicas > 0)
    return {
      step: resize(v, 0, 'delete'),
      reason: 'Deleting',
      message: 'all replicas are stopped before their volumes are emptied or deleted',
    }
  if (v.pods.size > 0)
    return wait(
      'Deleting',
      `${plural(v.pods.size, 'replica')} still to stop before their volumes can be touched`,
    )
  return emptied(v) ?? claimsDeleted(v) ?? finished()
}

/** A Job for each volume that empties it. */
const emptied = (v: View): Verdict | null => {
  if (!v.spec.purgeOnDelete) return null
  // A claim on its way out was emptied before, and its Job went with it.
  const left = [...v.claims.values()].filter((c) => !c.deleting).map((c) => c.ordinal)
  for (const ordinal of left.sort((a, b) => a - b)) {
    const job = v.seen.jobs.find((j) => j.purpose === 'purge' && j.ordinal === ordinal)
    if (job === undefined)
      return {
        step: { kind: 'run-job', purpose: 'purge', ordinal },
        reason: 'Purging',
        message: `the volume of ${podOf(v, ordinal)} is emptied`,
      }
    if (job.state === 'failed')
      return wait(
        'PurgeFailed',
        `the volume of ${podOf(v, ordinal)} could not be emptied (${job.message}): delete Job ${job.name} to try again, or set spec.purgeOnDelete to false`,
      )
    if (job.state === 'running') return wait('Purging', `the volume of ${podOf(v, ordinal)} is being emptied`)
  }
  return null
}

const claimsDeleted = (v: View): Verdict | null => {
  if (v.spec.storage.retention !== 'Delete') return null
  const claim = [...v.claims.values()].find((c) => !c.deleting)
  if (claim !== undefined)
    return {
      step: { kind: 'delete-claim', claim: claim.name, uid: claim.uid },
      reason: 'Deleting',
      message: `the volume of ${podOf(v, claim.ordinal)} is deleted, as spec.storage.retention asks`,
    }
  return v.claims.size > 0 ? wait('Deleting', 'volumes are being deleted') : null
}

const finished = (): Verdict => ({
  step: { kind: 'remove-finalizer' },
  reason: 'Deleted',
  message: 'all that was to be deleted is gone',
})

export const atFault = (v: View): Verdict | null => {
  const faults = validate(v.seen.resource)
  if (faults.length === 0) return null
  return wait('InvalidSpec', `nothing is changed until the specification is mended: ${faultText(faults)}`)
}

export const paused = (v: View): Verdict | null =>
  v.spec.paused ? wait('Paused', 'spec.paused is set: the operator looks, and changes nothing') : null

export const staleCache = (v: View): Verdict | null =>
  v.seen.stale === null
    ? null
    : wait('CacheBehind', `what is known of ${v.seen.stale} is older than the last change made there`, 200)

export const finalizer = (v: View): Verdict | null => {
  const has = (v.seen.resource.metadata.finalizers ?? []).includes(FINALIZER)
  if (needsFinalizer(v) === has) return null
  return has
    ? {
        step: { kind: 'remove-finalizer' },
        reason: 'KeepVolumes',
        message: 'volumes are kept when the resource is deleted, so nothing has to be waited for then',
      }
    : {
        step: { kind: 'add-finalizer' },
        reason: 'CareForVolumes',
        message: 'volumes are emptied or deleted when the resource is, so that waits for the operator',
      }
}

export const objectsDiffer = (v: View): Verdict | null => {
  const { decided, seen } = v
  const objects = seen.drift.filter((d) => d.kind !== 'StatefulSet' || decided.startPods)
  if (objects.length === 0) return null
  const absent = objects.every((o) => o.absent)
  return {
    step: { kind: 'apply', objects: objects.map(({ kind, name }) => ({ kind, name })), decided },
    reason: absent ? 'Creating' : 'Applying',
    message: `${objects.map((o) => `${o.kind} ${o.name}`).join(', ')} ${absent ? 'made' : 'brought up to date'}`,
  }
}

/** Two clusters under one name: whatever is done could destroy one of them. */
export const foreignCluster = (v: View): Verdict | null => {
  if (v.clusterID === null) return null
  for (const [ordinal, r] of v.reports)
    if (r.clusterID !== '' && r.clusterID !== v.clusterID)
      return wait(
        'ForeignCluster',
        `${podOf(v, ordinal)} belongs to cluster ${r.clusterID}, this is ${v.clusterID}: nothing is touched. If its volume is of no ` +
          'use, delete its claim and the pod; it joins with an empty one',
      )
  return null
}

export const birth = (v: View): Verdict | null => {
  if (v.clusterID !== null) return null
  const id = clusterIdOf(v.seen)
  if (id !== null)
    return {
      step: { kind: 'record-birth', clusterID: id },
      reason: 'Born',
      message: `cluster ${id} is there; from now on no replica can create another one`,
    }
  const restoring = restore(v)
  if (restoring !== null) return restoring
  const awaits = [...v.reports.values()].find((r) => r.birthAwaits !== '')?.birthAwaits
  if (v.decided.birth === 'join' && v.spec.restoreFrom === undefined)
    return wait(
      'BirthAwaited',
      `volumes of this name were there before (${[...v.claims.values()].map((c) => c.name).join(', ')}), so no new cluster is created: ` +
        `the one on them has to come up${awaits === undefined ? '' : ` (${awaits})`}. If they hold none, delete them and this resource`,
    )
  return wait('Starting', startText(v, 0) ?? 'the first replica is starting', 500)
}

/** Why a pod does not run; null: it does, or is about to. */
export const startText = (v: View, ordinal: number): string | null => {
  const pod = v.pods.get(ordinal)
  if (pod === undefined || pod.waiting === '') return null
  const message = pod.waitingMessage === undefined ? '' : `: ${pod.waitingMessage}`
  const code = pod.exitCode === null ? '' : ` (it ended with exit code ${pod.exitCode})`
  return `${pod.name} does not run: ${pod.waiting}${code}${message}`
}

const restore = (v: View): Verdict | null => {
  if (v.spec.restoreFrom === undefined || v.decided.startPods) return null
  const job = v.seen.jobs.find((j) => j.purpose === 'restore')
  if (job === undefined)
    return {
      step: { kind: 'run-job', purpose: 'restore', ordinal: 0 },
      reason: 'Restoring',
      message: 'the volume of the first replica is filled from the backup',
    }
  if (job.state === 'failed')
    return wait(
      'RestoreFailed',
      `the backup could not be restored (${job.message}): mend spec.restoreFrom or what it names, then delete Job ${job.name}`,
    )
  return wait('Restoring', 'the volume of the first replica is being filled from the backup')
}

export const sleepAndWake = (v: View): Verdict | null => {
  const { statefulSet } = v.seen
  if (statefulSet === null) return null
  if (!v.spec.hibernated) return wake(v, statefulSet.replicas, statefulSet.size)
  if (statefulSet.replicas > 0)
    return {
      step: resize(v, 0, 'hibernate'),
      reason: 'Hibernating',
      message: `all ${plural(statefulSet.replicas, 'replica')} stop, their volumes stay`,
    }
  if (v.pods.size > 0) return wait('Hibernating', `${plural(v.pods.size, 'replica')} still to stop`)
  return wait('Hibernated', `asleep: spec.hibernated is set, ${plural(v.claims.size, 'volume')} kept`, 60_000)
}

/** Also where somebody else has made the StatefulSet smaller: members were not asked, so they come back. */
const wake = (v: View, replicas: number, size: number): Verdict | null => {
  if (replicas >= size) return null
  const before = replicas === 0 ? 'wakes up' : `was scaled down to ${replicas} by somebody else`
  return {
    step: resize(v, size, 'wake'),
    reason: 'Waking',
    message: `the cluster ${before}: ${plural(size, 'replica')} as before, all at once, for they need each other`,
  }
}

/** Volumes of ordinals that are no more, where they are not to be kept. */
export const leftoverClaims = (v: View): Verdict | null => {
  const { statefulSet } = v.seen
  if (statefulSet === null || v.leader === null || v.spec.storage.retention !== 'Delete') return null
  const claim = [...v.claims.values()].find(
    (c) =>
      c.ordinal >= Math.max(statefulSet.replicas, statefulSet.size) && !c.deleting && !v.pods.has(c.ordinal),
  )
  if (claim === undefined || v.members.some((m) => ordinalOf(v.name, m.name) === claim.ordinal)) return null
  return {
    step: { kind: 'delete-claim', claim: claim.name, uid: claim.uid },
    reason: 'Shrinking',
    message: `${podOf(v, claim.ordinal)} left the cluster, and its volume is deleted, as spec.storage.retention asks`,
  }
}

/**
 * Volumes grow where they are; a smaller wish is refused by model/validate.ts and the schema. Those of no
 * replica stay as they are.
 */
export const smallClaims = (v: View): Verdict | null => {
  const { statefulSet } = v.seen
  const { size } = v.spec.storage
  const bytes = bytesOf(size) ?? 0
  if (statefulSet === null || v.leader === null) return null
  const claim = [...v.claims.values()].find(
    (c) =>
      c.ordinal < statefulSet.size && c.phase === 'Bound' && !c.deleting && c.bytes > 0 && c.bytes < bytes,
  )
  if (claim === undefined) return null
  return {
    step: { kind: 'grow-claim', claim: claim.name, uid: claim.uid, size },
    reason: 'GrowingVolumes',
    message: `${claim.name} asks for ${size}, as spec.storage.size says`,
  }
}
