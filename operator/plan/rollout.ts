// Which pod is replaced next when the template or the version differs: what does not run first, learners,
// followers, the leader last and after a transfer. Refuses: to take a pod down while any voter lacks entries,
// is silent or is new, and versions that are too far apart.

import type { PodSeen } from '../model/facts.ts'
import { ANNOTATIONS } from '../model/types.ts'
import { aimedAt, heir, memberAt, podOf, spare, type Verdict, type View, voters, wait } from './view.ts'

/** Reasons for which the container has no process: nothing is lost when such a pod goes. */
const NO_PROCESS = /Image|Config|CrashLoop|RunContainer|CreateContainer|Invalid/

/**
 * A pod of an older template that has been silent for so long is replaced before those that serve,
 * milliseconds.
 */
const STUCK_AFTER_MS = 60_000

const outdated = (v: View): PodSeen[] => {
  const revision = v.seen.statefulSet?.revision ?? ''
  return revision === '' ? [] : [...v.pods.values()].filter((p) => p.revision !== revision)
}

/**
 * A pod of an older template that cannot even start would block the template that mends it; leader or not,
 * its volume stays.
 */
export const cannotStart = (v: View): Verdict | null => {
  const pod = outdated(v).find(
    (p) => !p.deleting && !p.ready && NO_PROCESS.test(p.waiting) && !v.reports.has(p.ordinal),
  )
  if (pod === undefined) return null
  return {
    step: { kind: 'delete-pod', pod: pod.name, uid: pod.uid, force: false, why: 'cannot start' },
    reason: 'RollingOut',
    message: `${pod.name} does not run (${pod.waiting}) and is of an older template: it is made anew, its volume stays`,
  }
}

export const rollout = (v: View): Verdict | null => {
  const old = outdated(v).filter((p) => p.ordinal < aimedAt(v))
  if (old.length === 0) return null
  const stuck = old.find(
    (p) => !p.ready && !p.deleting && memberAt(v, p.ordinal)?.alive !== true && aged(v, p),
  )
  if (stuck !== undefined) return replace(stuck, old.length, 'silent')
  const blocked = unsettled(v)
  if (blocked !== null) return wait('RollingOut', `${blocked}; ${old.length} still to be replaced`, 500)
  const leader = v.leader!
  const next = old
    .filter((p) => p.ordinal !== leader.ordinal)
    .sort((a, b) => votes(v, a) - votes(v, b) || b.ordinal - a.ordinal)[0]
  if (next !== undefined) return replace(next, old.length, votes(v, next) === 0 ? 'learner' : 'follower')
  const to = heir(v, () => true)
  if (to !== null)
    return {
      step: { kind: 'transfer', at: leader.pod, to: to.id, name: to.name },
      reason: 'RollingOut',
      message: `${leader.pod} is the last of the older template and leads: leadership moves to ${to.name}`,
    }
  if (voters(v).length > 1)
    return wait('RollingOut', `${leader.pod} is the last to be replaced, but no other voter can lead`)
  return replace(old[0]!, 1, 'only voter: clients wait until it is back')
}

/** Old enough that it would have spoken if it could. */
const aged = (v: View, pod: PodSeen): boolean =>
  v.nowMs - pod.createdMs >= STUCK_AFTER_MS && !v.reports.has(pod.ordinal)

const votes = (v: View, pod: PodSeen): number => (memberAt(v, pod.ordinal)?.voter === true ? 1 : 0)

const replace = (pod: PodSeen, left: number, what: string): Verdict => ({
  step: { kind: 'delete-pod', pod: pod.name, uid: pod.uid, force: false, why: 'rollout' },
  reason: 'RollingOut',
  message: `${pod.name} (${what}) is replaced by one of the new template, ${left - 1} to go`,
})

/** Why no pod may be taken down now; null: one may. */
const unsettled = (v: View): string | null => {
  const { statefulSet } = v.seen
  for (let i = 0; i < (statefulSet?.replicas ?? 0); i++) {
    const pod = v.pods.get(i)
    if (pod === undefined || pod.deleting) return `${podOf(v, i)} is on its way`
    if (!pod.ready) return `${pod.name} is not ready`
    const settledMs = v.nowMs - (pod.readySinceMs ?? v.nowMs)
    if (pod.revision === statefulSet!.revision && settledMs < v.spec.rollout.settleSeconds * 1000)
      return `${pod.name} has been ready for less than ${v.spec.rollout.settleSeconds} seconds`
    const member = memberAt(v, i)
    if (member === null) return `${pod.name} is no member yet`
    if (!member.alive) return `${member.name} is silent`
    if (!member.caughtUp) return `${member.name} has not caught up`
  }
  const all = voters(v)
  const silent = all.find((m) => !m.alive)
  if (silent !== undefined) return `voter ${silent.name} is silent`
  // Three voters bear one pod less; one voter alone has nobody to wait for.
  return all.length > 1 && spare(all) < 1 ? 'too few voters to take one down' : null
}

type Semver = readonly [major: number, minor: number]
const semver = (text: string): Semver | null => {
  const m = /^v?(\d+)\.(\d+)\.\d+/.exec(text)
  return m === null ? null : [Number(m[1]), Number(m[2])]
}

/**
 * One minor version at a time, forwards or back; tags that are no versions are not compared. Before the
 * template changes: any pod that is made anew gets it.
 */
export const skew = (v: View): Verdict | null => {
  const to = semver(v.spec.image.tag)
  const passed = v.seen.resource.metadata.annotations?.[ANNOTATIONS.allowSkew] === v.spec.image.tag
  if (to === null || passed) return null
  for (const [ordinal, r] of v.reports) {
    const from = semver(r.version)
    if (from === null || (from[0] === to[0] && Math.abs(from[1] - to[1]) <= 1)) continue
    return wait(
      'VersionSkew',
      `${podOf(v, ordinal)} runs ${r.version}, and ${v.spec.image.tag} is more than one minor version away: go by way of the ` +
        `versions between, or set the annotation ${ANNOTATIONS.allowSkew} to ${v.spec.image.tag}`,
    )
  }
  return null
}
