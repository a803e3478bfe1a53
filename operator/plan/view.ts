// What follows from what was observed, before anything is decided: who leads, who is alive and caught up, how
// many replicas and voters are aimed at, since when somebody is silent. Refuses: to decide. Raft is asked who
// is a member; pods and ordinals never are.

import type { ClaimSeen, MemberReport, Observed, PodSeen, RaftMember } from '../model/facts.ts'
import { claimName, ordinalOf, podName } from '../model/names.ts'
import { type Settled, settle } from '../model/settle.ts'
import type { Decided, Step } from '../model/steps.ts'
import type { Recovery, TrackerClusterStatus } from '../model/types.ts'
import { durationMs, epochMs, majority, oddUpTo } from '../model/units.ts'
import { decide, recordedId } from './decided.ts'
import { type Wish, wish } from './scaling.ts'

/** An answer older than this says nothing of now, milliseconds. */
const FRESH_MS = 10_000
/** A learner has caught up when it lacks at most this many entries; the tracker has the same number. */
export const CAUGHT_UP_ENTRIES = 256
/** The leader's word decides: it has to be newer, milliseconds. */
const LEADER_FRESH_MS = 3000
/** What a keepalive may be late on its way to our eyes, milliseconds. */
const LATE_MS = 2000

/** What a check says: a step, or (with the step `none`) what is waited for. */
export type Verdict = {
  readonly step: Step
  readonly reason: string
  readonly message: string
  /** When to look again; otherwise by the kind of step. */
  readonly requeueMs?: number
  /** Where a recovery stands after this pass. */
  readonly recovery?: Recovery
}

export type Member = RaftMember & {
  /** null: of no pod of this cluster. */
  readonly ordinal: number | null
  readonly alive: boolean
  readonly caughtUp: boolean
  readonly leads: boolean
}

export type Leader = {
  readonly pod: string
  readonly ordinal: number
  readonly id: string
  readonly term: number
  readonly report: MemberReport
}

export type View = {
  readonly seen: Observed
  readonly nowMs: number
  readonly name: string
  readonly namespace: string
  readonly spec: Settled
  readonly status: TrackerClusterStatus
  readonly decided: Decided
  readonly clusterID: string | null
  readonly wish: Wish
  /** Voters aimed at. */
  readonly wishedVoters: number
  /** Fresh answers, by ordinal, of the pods that are there now. */
  readonly reports: ReadonlyMap<number, MemberReport>
  readonly pods: ReadonlyMap<number, PodSeen>
  readonly claims: ReadonlyMap<number, ClaimSeen>
  /** null: nobody that can be believed to lead now. */
  readonly leader: Leader | null
  /** As the leader sees them; empty without one. */
  readonly members: readonly Member[]
  /**
   * By ordinal: since when neither the operator nor the leader has heard of it, milliseconds since the epoch.
   */
  readonly silentSince: ReadonlyMap<number, number>
}

export const viewOf = (seen: Observed, nowMs: number): View => {
  const { metadata, status = {} } = seen.resource
  const spec = settle(seen.resource.spec, seen.version)
  const pods = new Map(seen.pods.map((p) => [p.ordinal, p]))
  const reports = freshReports(seen, pods)
  const clusterID = recordedId(seen)
  const leader = leaderOf(seen, reports, clusterID)
  const members = leader === null ? [] : membersOf(metadata.name, spec, leader)
  const wished = wish(spec, status, [...reports.values()], seen.statefulSet?.size ?? null, nowMs)
  return {
    seen,
    nowMs,
    name: metadata.name,
    namespace: metadata.namespace,
    spec,
    status,
    decided: decide(seen),
    clusterID,
    wish: wished,
    wishedVoters: oddUpTo(Math.min(wished.replicas, spec.maxVoters)),
    reports,
    pods,
    claims: new Map(seen.claims.map((c) => [c.ordinal, c])),
    leader,
    members,
    silentSince: silences(seen, reports, members, nowMs),
  }
}

const freshReports = (seen: Observed, pods: ReadonlyMap<number, PodSeen>): Map<number, MemberReport> => {
  const reports = new Map<number, MemberReport>()
  for (const m of seen.members)
    if (m.report !== null && m.ageMs <= FRESH_MS && pods.get(m.ordinal)?.uid === m.podUid)
      reports.set(m.ordinal, m.report)
  return reports
}

/**
 * Whoever leads in the highest term that anybody has heard of. One that leads in an older term does so no
 * more.
 */
const leaderOf = (
  seen: Observed,
  reports: ReadonlyMap<number, MemberReport>,
  clusterID: string | null,
): Leader | null => {
  const ours = [...reports].filter(
    ([, r]) => r.clusterID !== '' && (clusterID ?? r.clusterID) === r.clusterID,
  )
  const term = Math.max(0, ...ours.filter(([, r]) => r.removed === '').map(([, r]) => r.term))
  const found = ours.find(([i, r]) => r.leads && r.term === term && ageOf(seen, i) <= LEADER_FRESH_MS)
  if (found === undefined) return null
  const [ordinal, report] = found
  return { pod: podName(seen.resource.metadata.name, ordinal), ordinal, id: report.memberID, term, report }
}

const ageOf = (seen: Observed, ordinal: number): number =>
  seen.members.find((m) => m.ordinal === ordinal)?.ageMs ?? Number.POSITIVE_INFINITY

const membersOf = (cluster: string, spec: Settled, { id, report }: Leader): Member[] => {
  const deadAfterMs = (durationMs(spec.keepalive) ?? 1000) * spec.missed + LATE_MS
  return report.members.map((m) => {
    const leads = m.id === id
    const alive = leads || (m.heardMsAgo !== null && m.heardMsAgo <= deadAfterMs)
    const caughtUp = leads || (alive && m.lag !== null && m.lag <= CAUGHT_UP_ENTRIES)
    return { ...m, ordinal: ordinalOf(cluster, m.name), alive, caughtUp, leads }
  })
}

const silences = (
  seen: Observed,
  reports: ReadonlyMap<number, MemberReport>,
  members: readonly Member[],
  nowMs: number,
): Map<number, number> => {
  const silent = new Map<number, number>()
  const cluster = seen.resource.metadata.name
  const size = seen.statefulSet?.replicas ?? 0
  for (let i = 0; i < size; i++) {
    if (reports.has(i) || members.some((m) => m.ordinal === i && m.alive)) continue
    const before = seen.resource.status?.members?.find((m) => m.name === podName(cluster, i))?.silentSince
    const since = epochMs(before)
    // Whole seconds, as status keeps it: otherwise each pass would find another time.
    silent.set(i, Number.isNaN(since) ? Math.floor(nowMs / 1000) * 1000 : since)
  }
  return silent
}

export const voters = (v: View): Member[] => v.members.filter((m) => m.voter)

/** The member that a pod of this ordinal is, or was; the one that is alive if there are two of the name. */
export const memberAt = (v: View, ordinal: number): Member | null => {
  const named = v.members.filter((m) => m.ordinal === ordinal)
  return named.find((m) => m.alive) ?? named[0] ?? null
}

export const readyPods = (v: View): number => v.seen.pods.filter((p) => p.ready && !p.deleting).length

/** How many of these voters may still be lost; negative: there is no majority. */
export const spare = (vs: readonly Member[]): number => vs.filter((m) => m.alive).length - majority(vs.length)

/** Pods aimed at now, the one that serves during a rollout included. */
export const aimedAt = (v: View): number => v.wish.replicas + (surging(v) ? 1 : 0)

/** One more replica serves as long as pods are of an older template. */
export const surging = (v: View): boolean => {
  if (!v.spec.rollout.surge) return false
  const { statefulSet } = v.seen
  if (statefulSet === null) return false
  if (statefulSet.revision === '') return v.status.surge === true
  return [...v.pods.values()].some((p) => p.ordinal < v.wish.replicas && p.revision !== statefulSet.revision)
}

/**
 * A voter that could lead: alive, caught up, with a disk, not on its way out; of lowest ordinal, which stays
 * longest.
 */
export const heir = (v: View, fits: (m: Member, ordinal: number) => boolean): Member | null => {
  const able = voters(v).filter(
    (m) => !m.leads && m.caughtUp && !m.diskFails && !m.draining && m.ordinal !== null && fits(m, m.ordinal),
  )
  return able.sort((a, b) => a.ordinal! - b.ordinal!)[0] ?? null
}

export const podOf = (v: View, ordinal: number): string => podName(v.name, ordinal)
export const claimOf = (v: View, ordinal: number): string => claimName(v.name, ordinal)

export const wait = (reason: string, message: string, requeueMs?: number): Verdict => ({
  step: { kind: 'none' },
  reason,
  message,
  ...(requeueMs === undefined ? {} : { requeueMs }),
})

/** The StatefulSet's size changes; all that is decided goes along. */
export const resize = (
  v: View,
  to: number,
  why: Extract<Step, { kind: 'set-size' }>['why'],
): Extract<Step, { kind: 'set-size' }> => ({
  kind: 'set-size',
  from: v.seen.statefulSet?.replicas ?? 0,
  to,
  why,
  // A cluster that sleeps or is stopped keeps its size in mind.
  decided: {
    ...v.decided,
    replicas: to,
    size: ['grow', 'shrink', 'surge'].includes(why) ? to : v.decided.size,
  },
})

export const names = (ms: readonly { readonly name: string }[]): string => ms.map((m) => m.name).join(', ')
export const plural = (n: number, one: string, several = `${one}s`): string =>
  `${n} ${n === 1 ? one : several}`
