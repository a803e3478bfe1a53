// Who is a member: finish what is under way, replace in place, let vote, grow, shrink. The next single step,
// and none without a leader. Refuses: to count pods as members, to take a second step before the first is
// through, to reap anybody for a short silence, and to shrink by anything but the specification.

import type { MemberReport } from '../model/facts.ts'
import { majority, oddUpTo, rfc3339 } from '../model/units.ts'
import {
  aimedAt,
  claimOf,
  heir,
  type Leader,
  type Member,
  memberAt,
  names,
  plural,
  podOf,
  readyPods,
  resize,
  spare,
  surging,
  type Verdict,
  type View,
  voters,
  wait,
} from './view.ts'

/** New pods at once: voters change by twos, and each newcomer takes the whole state from the leader. */
const GROW_AT_ONCE = 2
/** Reasons for which a pod never ran: an empty volume would mend nothing. */
const NOT_THE_DISK = /Image|Config|CrashLoop|RunContainer|CreateContainer|Invalid/
/**
 * Exit codes of a replica whose disk or log is damaged, whose volume was set back to an older copy, or that
 * was removed: only then is a crash loop a reason for a new volume.
 */
const USELESS_VOLUME: readonly (number | null)[] = [65, 74, 78]

/** Nobody leads: nothing about members can be agreed on, and nothing is done that could make it worse. */
export const noLeader = (v: View): Verdict | null => {
  if (v.leader !== null) return null
  const reached = reachedVoters(v)
  const known = knownVoters(v)
  if (known === 0 || reached >= majority(known))
    return wait('NoLeader', 'no replica leads at the moment; nothing is touched until one does', 1000)
  if (readyPods(v) > v.reports.size)
    return wait(
      'CannotAsk',
      'replicas are ready, but their control API does not answer the operator: look at network policies and the network key. Nothing is touched',
    )
  const { recovery } = v.status
  const how =
    recovery?.phase === 'Refused'
      ? recovery.message
      : 'Start what is stopped and bring nodes back; if they are lost for good, see the annotation skep.dev/recover'
  return wait(
    'QuorumLost',
    `${reached} of ${plural(known, 'voter')} can be reached, ${majority(known)} are needed: nothing is touched. ${how}`,
    2000,
  )
}

const newest = (v: View): MemberReport | null =>
  [...v.reports.values()].sort((a, b) => b.commitIndex - a.commitIndex)[0] ?? null

/** Voters as the newest answer has them, or as status last had them. */
export const knownVoters = (v: View): number => {
  const told = newest(v)?.members.filter((m) => m.voter).length ?? 0
  return told > 0 ? told : (v.status.voters ?? 0)
}

/**
 * Of those, how many answer the operator: learners make no majority, and an empty replica is nobody's voter.
 */
export const reachedVoters = (v: View): number => {
  const told = newest(v)?.members.filter((m) => m.voter) ?? []
  const ours = [...v.reports.values()].filter((r) => r.clusterID === v.clusterID && r.removed === '')
  if (told.length === 0) return ours.length
  return ours.filter((r) => told.some((m) => m.id === r.memberID)).length
}

export const changeUnderWay = (v: View): Verdict | null =>
  v.leader?.report.changing === true
    ? wait('MembersChanging', 'a change of members is on its way through Raft', 500)
    : null

/**
 * Its member was removed, and it knows, or the leader knows nothing of it for long: with that volume it can
 * only be refused.
 */
export const expelled = (v: View): Verdict | null => {
  for (const [ordinal, r] of v.reports) {
    const pod = v.pods.get(ordinal)
    if (pod === undefined || pod.deleting || ordinal >= aimedAt(v)) continue
    if (memberAt(v, ordinal)?.alive === true) continue
    const unknown = r.birthAwaits === '' && !v.members.some((m) => m.id === r.memberID)
    const forLong = !pod.ready && v.nowMs - pod.createdMs >= v.spec.replaceAfterSeconds * 1000
    if (r.removed === '' && !(unknown && forLong)) continue
    const why = r.removed === '' ? `no member ${r.memberID} is known` : r.removed
    return replaced(
      v,
      ordinal,
      'RemovedMemberCameBack',
      `${podOf(v, ordinal)} was removed from the cluster (${why})`,
    )
  }
  return null
}

/** Silent for longer than the grace period, to the operator and to the leader alike. */
export const lost = (v: View): Verdict | null => {
  const graceMs = v.spec.replaceAfterSeconds * 1000
  for (const [ordinal, since] of [...v.silentSince].sort(([a], [b]) => a - b)) {
    if (ordinal >= aimedAt(v)) continue
    const pod = v.pods.get(ordinal)
    const claim = v.claims.get(ordinal)
    // A new pod gets the whole period again; one that is not there yet, or whose claim is new, has nothing to
    // be replaced.
    if (pod === undefined || (claim?.deleting === true && pod.deleting)) continue
    if (v.nowMs - Math.max(since, pod.createdMs) < graceMs) continue
    // Never bound, so there is nothing on it: the pod waits for room, not for a volume.
    if (claim?.phase === 'Pending') continue
    if (NOT_THE_DISK.test(pod.waiting) && !USELESS_VOLUME.includes(pod.exitCode)) continue
    const others = voters(v).filter((m) => m.ordinal !== ordinal)
    if (others.filter((m) => m.alive).length < majority(voters(v).length)) continue
    return replaced(
      v,
      ordinal,
      'MemberLost',
      `${podOf(v, ordinal)} has not been heard of since ${rfc3339(since)}`,
    )
  }
  return null
}

const replaced = (v: View, ordinal: number, reason: string, why: string): Verdict => ({
  step: {
    kind: 'replace-member',
    ordinal,
    pod: podOf(v, ordinal),
    podUid: v.pods.get(ordinal)?.uid ?? null,
    claim: claimOf(v, ordinal),
    claimUid: v.claims.get(ordinal)?.uid ?? null,
    memberID: memberAt(v, ordinal)?.id ?? null,
  },
  reason,
  message: `${why}: it is replaced in place, with an empty volume and as a new member`,
})

/** A newcomer takes a lost voter's place by itself; only what it waits for is told. */
export const takingOver = (v: View): Verdict | null => {
  const newcomer = v.members.find((m) => m.replaces !== '0' && m.alive)
  return newcomer === undefined
    ? null
    : wait(
        'Replacing',
        `${newcomer.name} catches up, then takes the place of the lost member of its name`,
        1000,
      )
}

/** Members of no pod that is aimed at, silent: left behind by hand or by a recovery. */
export const ghosts = (v: View): Verdict | null => {
  const leader = v.leader!
  const most = Math.max(aimedAt(v), v.seen.statefulSet?.replicas ?? 0)
  const ghost = v.members.find((m) => !m.alive && (m.ordinal === null || m.ordinal >= most))
  if (ghost === undefined || !bearable(v, ghost)) return null
  return removed(
    leader,
    ghost,
    'GhostMember',
    `${ghost.name} is a member, but no pod of it is wished for and it is silent`,
  )
}

/** Taking this one out leaves a majority alive. */
const bearable = (v: View, m: Member): boolean =>
  !m.voter || spare(voters(v).filter((o) => o.id !== m.id)) >= 0

/**
 * Soon looked at again: until its pod is out of the Services, clients ask a replica that may not answer any
 * more.
 */
const LEAVING_MS = 100
const DRAIN_MS = 250

const removed = (leader: Leader, m: Member, reason: string, why: string): Verdict => ({
  step: { kind: 'remove-member', at: leader.pod, member: m.id, name: m.name },
  requeueMs: LEAVING_MS,
  reason,
  message: `${why}: it leaves the cluster`,
})

/** Odd, and as many as are aimed at: learners that have caught up vote, by twos; what is too many learns. */
export const ballot = (v: View): Verdict | null => {
  const leader = v.leader!
  const now = voters(v)
  if (leavesFirst(v) !== null) return null
  const ready = candidates(v)
  const target = Math.min(v.wishedVoters, oddUpTo(now.length + ready.length))
  if (target > now.length) {
    const chosen = ready.slice(0, target - now.length)
    return {
      step: { kind: 'promote', at: leader.pod, members: chosen.map((m) => m.id) },
      reason: 'LettingVote',
      message: `${names(chosen)} caught up and ${chosen.length === 1 ? 'votes' : 'vote'} from now on: ${plural(target, 'voter')}`,
    }
  }
  const most = Math.min(now.length, Math.max(v.wishedVoters, oddUpTo(target)))
  if (most >= now.length) return null
  const back = now
    .filter((m) => !m.leads)
    .sort((a, b) => Number(a.alive) - Number(b.alive) || rank(b) - rank(a))
    .slice(0, now.length - most)
  if (spare(now.filter((m) => !back.includes(m))) < 0)
    return wait('QuorumAtRisk', `${names(back)} would learn only, but too few of the others are alive`)
  return {
    step: { kind: 'demote', at: leader.pod, members: back.map((m) => m.id) },
    reason: 'LettingLearn',
    message: `${names(back)} ${back.length === 1 ? 'learns' : 'learn'} only from now on: ${plural(most, 'voter')}`,
  }
}

const rank = (m: Member): number => m.ordinal ?? Number.MAX_SAFE_INTEGER

const candidates = (v: View): Member[] =>
  v.members
    .filter((m) => !m.voter && m.caughtUp && m.replaces === '0' && !m.diskFails && !m.draining)
    .filter((m) => m.ordinal !== null && m.ordinal < v.wish.replicas)
    .sort((a, b) => rank(a) - rank(b))

export const grow = (v: View): Verdict | null => {
  const { statefulSet } = v.seen
  const aimed = aimedAt(v)
  if (statefulSet === null || statefulSet.replicas >= aimed) return null
  const n = statefulSet.replicas
  const behind = Array.from({ length: n }, (_, i) => i).filter((i) => memberAt(v, i)?.caughtUp !== true)
  if (behind.length > 0)
    return wait(
      'Growing',
      `${behind.map((i) => podOf(v, i)).join(', ')} to catch up before more replicas come`,
      500,
    )
  // A member that joined while its pod was already on its way out comes back with what it has.
  const used = v.claims.has(n) && memberAt(v, n) === null
  if (used) return emptied(v, n)
  const to = Math.min(aimed, n + GROW_AT_ONCE)
  // A used volume further up waits for its own turn.
  const until = v.claims.has(n + 1) ? n + 1 : to
  return {
    step: resize(v, until, surging(v) && n >= v.wish.replicas ? 'surge' : 'grow'),
    reason: 'Growing',
    message: `${plural(until - n, 'replica')} more, ${until} of ${aimed}: learners first`,
  }
}

/** A volume with the data of a removed member would be refused for ever. */
const emptied = (v: View, ordinal: number): Verdict => {
  const claim = v.claims.get(ordinal)!
  if (claim.deleting) return wait('Growing', `the used volume of ${podOf(v, ordinal)} is being deleted`, 500)
  // Until it has stopped it may still join.
  if (v.pods.has(ordinal))
    return wait('Growing', `${podOf(v, ordinal)} still to stop before its used volume is deleted`, 500)
  return {
    step: { kind: 'delete-claim', claim: claim.name, uid: claim.uid },
    reason: 'Growing',
    message: `${claim.name} holds the data of a member that left: a new one needs an empty volume`,
  }
}

/**
 * Before a replica is removed, while it still answers: a removed one is asked in vain until balancers notice.
 */
const outOfServices = (v: View, m: Member, ordinal: number): Verdict | null => {
  const [report, pod] = [v.reports.get(ordinal), v.pods.get(ordinal)]
  if (m.leads || report === undefined || pod === undefined || pod.deleting || !pod.ready) return null
  if (report.draining) return wait('Shrinking', `${pod.name} is to go, and is leaving its Services`, DRAIN_MS)
  return {
    step: { kind: 'drain', at: pod.name, undo: false },
    requeueMs: DRAIN_MS,
    reason: 'Shrinking',
    message: `${pod.name} is to go: it leaves its Services first, and answers until it is removed`,
  }
}

/** Drained for a shrinking that is not wished any more: it serves again. */
export const backInServices = (v: View): Verdict | null => {
  for (const [ordinal, report] of v.reports) {
    const pod = v.pods.get(ordinal)
    if (!report.draining || ordinal >= aimedAt(v) || pod === undefined || pod.deleting) continue
    return {
      step: { kind: 'drain', at: pod.name, undo: true },
      reason: 'Serving',
      message: `${pod.name} stays: it serves again`,
    }
  }
  return null
}

/** The leader, where its pod is to go: leadership moves first. null: it may stay. */
const leavesFirst = (v: View): Leader | null =>
  v.leader !== null && v.leader.ordinal >= aimedAt(v) && voters(v).length > 1 ? v.leader : null

/**
 * Leadership off the highest ordinal, its Raft ID removed, that verified, then one pod less; the volume comes
 * last.
 */
export const shrink = (v: View): Verdict | null => {
  const { statefulSet } = v.seen
  const aimed = aimedAt(v)
  if (statefulSet === null || statefulSet.replicas <= aimed) return null
  const leader = v.leader!
  const top = statefulSet.replicas - 1
  if (leavesFirst(v) !== null) {
    const to = heir(v, (_, ordinal) => ordinal < aimed)
    if (to === null)
      return wait('Shrinking', `${leader.pod} leads and is to go, but no other voter can lead yet`)
    return {
      step: { kind: 'transfer', at: leader.pod, to: to.id, name: to.name },
      reason: 'Shrinking',
      message: `${leader.pod} is to go: leadership moves to ${to.name}`,
    }
  }
  const member = v.members.find((m) => m.ordinal === top)
  if (member === undefined)
    return {
      step: resize(v, top, 'shrink'),
      reason: 'Shrinking',
      message: `${podOf(v, top)} is no member any more, and its pod goes: ${plural(top, 'replica')}`,
    }
  if (member.leads && !v.members.some((m) => !m.leads && m.caughtUp && (m.ordinal ?? top) < top))
    return wait(
      'Shrinking',
      `${leader.pod} is the only voter and is to go, but no other replica has caught up`,
    )
  if (!member.leads && !bearable(v, member))
    return wait('QuorumAtRisk', `${member.name} is to go, but too few of the other voters are alive`)
  const drain = outOfServices(v, member, top)
  if (drain !== null) return drain
  return removed(
    leader,
    member,
    'Shrinking',
    `${plural(aimed, 'replica')} wished for, and ${member.name} is the highest`,
  )
}
