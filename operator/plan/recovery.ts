// A cluster that lost its majority for good goes on from one survivor, when a person has written out what may
// be lost by it. All stop, the survivor's log is rewritten to a cluster of one, the other volumes go, all
// start and join. Refuses: to begin by itself, with other words than those, for another cluster, or while
// there is a majority.

import { ANNOTATIONS, RECOVER_WORDS, type Recovery } from '../model/types.ts'
import { majority } from '../model/units.ts'
import { knownVoters, reachedVoters } from './membership.ts'
import { cannotStart } from './rollout.ts'
import { plural, podOf, readyPods, resize, type Verdict, type View, wait } from './view.ts'

/** How long the lost ones must have been silent, milliseconds. */
const SILENT_MS = 30_000

const recovering = (r: Recovery | undefined): r is Recovery =>
  r !== undefined && r.phase !== 'Done' && r.phase !== 'Refused'

export const recoveryGoesOn = (v: View): Verdict | null => {
  const r = v.status.recovery
  return recovering(r) ? goOn(v, r) : null
}

/** Asked only when all pods are there that can be: one of them may be the one with the data. */
export const recoveryBegins = (v: View): Verdict | null => {
  const said = v.seen.resource.metadata.annotations?.[ANNOTATIONS.recover]
  if (said === undefined || v.clusterID === null) return null
  return begin(v, said)
}

const begin = (v: View, said: string): Verdict | null => {
  if (v.leader !== null)
    return {
      step: { kind: 'clear-recover', value: said },
      reason: 'RecoverNotNeeded',
      message: `${v.leader.pod} leads: nothing has to be recovered, and the annotation ${ANNOTATIONS.recover} is taken away`,
    }
  const known = knownVoters(v)
  if (known > 0 && reachedVoters(v) >= majority(known)) return null
  if (said !== `${v.clusterID} ${RECOVER_WORDS}`)
    return refused(
      v,
      said,
      `the annotation ${ANNOTATIONS.recover} must be exactly "${v.clusterID} ${RECOVER_WORDS}"`,
    )
  // Ready means that it has been able to answer within seconds: somebody leads, though not in our sight.
  if (readyPods(v) > 0)
    return wait('CannotAsk', 'a replica is ready, so there is a majority: nothing is recovered')
  const hasty = [...v.silentSince.values()].some((since) => v.nowMs - since < SILENT_MS)
  if (hasty)
    return wait(
      'Recovering',
      `replicas are taken for lost after ${SILENT_MS / 1000} seconds of silence`,
      2000,
    )
  const survivor = survivorOf(v)
  if (survivor === null)
    return refused(
      v,
      said,
      'no replica that can be asked has any data: start one that does, or delete this resource and its claims and create it again',
    )
  const stale = v.seen.jobs.find((j) => j.purpose === 'recover')
  if (stale !== undefined)
    return {
      step: { kind: 'delete-job', job: stale.name },
      reason: 'Recovering',
      message: 'a Job of an earlier recovery goes',
    }
  return record(
    {
      phase: 'Stopping',
      accepted: said,
      survivor,
      size: v.seen.statefulSet?.size ?? survivor + 1,
      message: '',
    },
    `the cluster goes on from ${podOf(v, survivor)}, whose log reaches furthest; all replicas stop first`,
  )
}

/** Whose log is known to be committed furthest; then of the newest term; then the longest. */
const survivorOf = (v: View): number | null => {
  const able = [...v.reports].filter(
    ([, r]) => r.clusterID === v.clusterID && r.removed === '' && r.birthAwaits === '',
  )
  able.sort(
    ([i, a], [j, b]) =>
      b.commitIndex - a.commitIndex || b.term - a.term || b.lastIndex - a.lastIndex || i - j,
  )
  return able[0]?.[0] ?? null
}

const refused = (v: View, accepted: string, message: string): Verdict => {
  const size = v.seen.statefulSet?.size ?? 0
  return { ...wait('RecoverRefused', message), recovery: { phase: 'Refused', accepted, size, message } }
}

const record = (r: Recovery, message: string): Verdict => ({
  step: { kind: 'record-recovery', phase: r.phase },
  reason: 'Recovering',
  message,
  recovery: { ...r, message },
})

const goOn = (v: View, r: Recovery): Verdict => {
  const survivor = r.survivor ?? 0
  switch (r.phase) {
    case 'Stopping':
      return stopping(v, r, survivor)
    case 'Rewriting':
      return rewriting(v, r, survivor)
    case 'Wiping':
      return wiping(v, r, survivor)
    case 'Starting':
      return starting(v, r)
    default:
      throw new Error(`a recovery in phase ${r.phase} does not go on`)
  }
}

const stopping = (v: View, r: Recovery, survivor: number): Verdict => {
  if ((v.seen.statefulSet?.replicas ?? 0) > 0)
    return { step: resize(v, 0, 'recover'), reason: 'Recovering', message: 'all replicas stop' }
  // The survivor's own pod is never forced: its process would go on writing. The others are given up by the
  // words accepted.
  const stuck = [...v.pods.values()].find(
    (p) => p.deleting && p.ordinal !== survivor && !v.reports.has(p.ordinal),
  )
  if (stuck !== undefined)
    return {
      step: { kind: 'delete-pod', pod: stuck.name, uid: stuck.uid, force: true, why: 'recover' },
      reason: 'Recovering',
      message: `${stuck.name} cannot be reached, and its pod is taken away by force`,
    }
  if (v.pods.size > 0) return wait('Recovering', `${plural(v.pods.size, 'replica')} still to stop`, 1000)
  return record(
    { ...r, phase: 'Rewriting' },
    `all replicas stopped; ${podOf(v, survivor)} becomes a cluster of one`,
  )
}

const rewriting = (v: View, r: Recovery, survivor: number): Verdict => {
  const job = v.seen.jobs.find((j) => j.purpose === 'recover')
  if (job === undefined)
    return {
      step: { kind: 'run-job', purpose: 'recover', ordinal: survivor },
      reason: 'Recovering',
      message: `skep ctl recover --force runs on the volume of ${podOf(v, survivor)}`,
    }
  if (job.state === 'failed')
    return wait(
      'RecoverFailed',
      `${job.message}; delete Job ${job.name} to try again. No volume has been deleted`,
    )
  if (job.state === 'running') return wait('Recovering', `Job ${job.name} is running`, 1000)
  return record({ ...r, phase: 'Wiping' }, 'the survivor is a cluster of one; the other volumes are deleted')
}

const wiping = (v: View, r: Recovery, survivor: number): Verdict => {
  const job = v.seen.jobs.find((j) => j.purpose === 'recover')
  if (job !== undefined)
    return {
      step: { kind: 'delete-job', job: job.name },
      reason: 'Recovering',
      message: 'the Job has done its work',
    }
  const others = [...v.claims.values()].filter((c) => c.ordinal !== survivor)
  const claim = others.find((c) => !c.deleting)
  if (claim !== undefined)
    return {
      step: { kind: 'delete-claim', claim: claim.name, uid: claim.uid },
      reason: 'Recovering',
      message: `${claim.name} belongs to a member that was given up`,
    }
  if (others.length > 0)
    return wait('Recovering', 'volumes of members that were given up are being deleted', 1000)
  return record({ ...r, phase: 'Starting' }, 'all start again; those with empty volumes join')
}

const starting = (v: View, r: Recovery): Verdict => {
  if ((v.seen.statefulSet?.replicas ?? 0) === 0)
    return {
      step: resize(v, r.size, 'recover'),
      reason: 'Recovering',
      message: `${plural(r.size, 'replica')} start again`,
    }
  // A template that cannot start may have been mended meanwhile.
  if (v.leader === null) return cannotStart(v) ?? wait('Recovering', 'the survivor is to lead', 1000)
  const said = v.seen.resource.metadata.annotations?.[ANNOTATIONS.recover]
  if (said !== undefined)
    return {
      step: { kind: 'clear-recover', value: said },
      reason: 'Recovering',
      message: `${v.leader.pod} leads; the annotation ${ANNOTATIONS.recover} has been carried out`,
    }
  return record({ ...r, phase: 'Done' }, `went on from ${podOf(v, r.survivor ?? 0)}`)
}
