// What is said about a cluster: conditions, each with a word for programs and a sentence for people, and the
// rest of status. Refuses: numbers that change with every pass. Status is written only when something
// happened; times stand for durations.

import type { MemberReport } from '../model/facts.ts'
import { replicaSelector } from '../model/labels.ts'
import type { Condition, ConditionType, MemberState, TrackerClusterStatus } from '../model/types.ts'
import { epochMs, majority, rfc3339 } from '../model/units.ts'
import { startText } from './life.ts'
import { knownVoters, reachedVoters } from './membership.ts'
import {
  memberAt,
  names,
  plural,
  podOf,
  readyPods,
  spare,
  surging,
  type Verdict,
  type View,
  voters,
} from './view.ts'

/** The same wait, or the same step so often, is Stalled. */
const STALLED_AFTER_MS = 600_000
const STALLED_AFTER_STEPS = 5
/** The same step failed so often. */
const STALLED_AFTER_FAILURES = 3
/** Fewer announces say nothing about where clients come from. */
const ANNOUNCES_FOR_A_WORD = 200
/** Reasons of Ready that say that the cluster was whole once. */
const FORMED = /^(Serving|Electing|NoLeader|NoEndpoint|QuorumLost|CannotAsk|Hibernated)$/
/** Checks whose word is that something is wrong, not only on its way. */
const WRONG =
  /^(InvalidSpec|ForeignCluster|NoLeader|QuorumLost|CannotAsk|Recovering|RecoverRefused|RecoverFailed|RestoreFailed|PurgeFailed|NetworkKeyMissing|VersionSkew|BirthAwaited)$/

type Said = Pick<Condition, 'status' | 'reason' | 'message'>
const said = (status: Said['status'], reason: string, message: string): Said => ({ status, reason, message })

export const conditionsOf = (v: View, verdict: Verdict, settled: boolean, repeated: number): Condition[] => {
  const all: Record<ConditionType, Said> = {
    Ready: ready(v),
    Progressing: settled
      ? said('False', 'Settled', 'all is as the specification asks')
      : said(
          WRONG.test(verdict.reason) && verdict.reason !== 'Recovering' ? 'False' : 'True',
          verdict.reason,
          verdict.message,
        ),
    Degraded: degraded(v, verdict),
    QuorumAtRisk: quorumAtRisk(v),
    Stalled: stalled(v, verdict, settled, repeated),
    ClientIPPreserved: clientIPPreserved(v),
  }
  return Object.entries(all).map(([type, s]) => merged(v, type, s))
}

const merged = (v: View, type: string, s: Said): Condition => {
  const before = v.status.conditions?.find((c) => c.type === type)
  const kept = before !== undefined && before.status === s.status
  return {
    type,
    ...s,
    lastTransitionTime: kept ? before.lastTransitionTime : rfc3339(v.nowMs),
    observedGeneration: v.seen.resource.metadata.generation,
  }
}

/**
 * Clients are answered. A new cluster is ready once it is whole; later, one replica less does not make it
 * unready.
 */
const ready = (v: View): Said => {
  const before = v.status.conditions?.find((c) => c.type === 'Ready')
  const formed = before !== undefined && FORMED.test(before.reason)
  const able = readyPods(v)
  if (v.clusterID === null) return said('False', 'Birth', 'there is no cluster yet')
  if (v.spec.hibernated && v.pods.size === 0)
    return said('False', 'Hibernated', 'asleep: spec.hibernated is set')
  if (v.leader === null && able > 0 && v.reports.size < v.pods.size)
    return said('Unknown', 'CannotAsk', 'replicas are ready, but do not answer the operator')
  // A replica stays ready for ten seconds without a leader: an election makes nobody unready.
  if (v.leader === null && able > 0 && formed)
    return said('True', 'Electing', 'no replica leads at the moment; replicas are still ready')
  if (v.leader === null)
    return said(
      'False',
      quorumLost(v) ? 'QuorumLost' : formed ? 'NoLeader' : 'Forming',
      'no replica leads, so joins wait',
    )
  if (!formed && (able < v.wish.replicas || voters(v).length < v.wishedVoters))
    return said(
      'False',
      'Forming',
      `${able} of ${plural(v.wish.replicas, 'replica')} ready, ${voters(v).length} of ${plural(v.wishedVoters, 'voter')}`,
    )
  if (able === 0)
    return said('False', 'NoEndpoint', `${v.leader.pod} leads, but no replica is ready to answer clients`)
  return said('True', 'Serving', `${v.leader.pod} leads, ${plural(able, 'replica')} ready to answer clients`)
}

const quorumLost = (v: View): boolean => {
  const known = knownVoters(v)
  const asleep = (v.seen.statefulSet?.replicas ?? 0) === 0
  return !asleep && v.leader === null && known > 0 && reachedVoters(v) < majority(known) && readyPods(v) === 0
}

const degraded = (v: View, verdict: Verdict): Said => {
  if (WRONG.test(verdict.reason)) return said('True', verdict.reason, verdict.message)
  const silent = [...v.silentSince].filter(([i]) => v.pods.has(i) || memberAt(v, i) !== null)
  // Who was never a member may still be getting its image.
  const away = silent.filter(([i, since]) => v.nowMs - since >= (memberAt(v, i) === null ? 120_000 : 15_000))
  for (const [ordinal, since] of away) {
    const why = startText(v, ordinal)
    return said(
      'True',
      why === null ? 'MemberLost' : 'PodCannotStart',
      `${podOf(v, ordinal)} has not been heard of since ${rfc3339(since)}${why === null ? '' : `; ${why}`}`,
    )
  }
  const cut = v.members.find((m) => !m.alive && m.ordinal !== null && v.reports.has(m.ordinal))
  if (
    cut !== undefined &&
    memberAt(v, cut.ordinal!)?.alive !== true &&
    v.reports.get(cut.ordinal!)!.birthAwaits === ''
  )
    return said(
      'True',
      'MemberCutOff',
      `${cut.name} answers the operator, but not the leader (${v.leader!.pod})`,
    )
  for (const ordinal of v.pods.keys()) {
    const why = startText(v, ordinal)
    if (
      why !== null &&
      v.pods.get(ordinal)?.ready === false &&
      !/^(ContainerCreating|PodInitializing)$/.test(v.pods.get(ordinal)!.waiting)
    )
      return said('True', 'PodCannotStart', why)
  }
  const disk = v.members.find((m) => m.diskFails)?.name ?? nameWith(v, (r) => r.diskFull)
  if (disk !== undefined)
    return said('True', 'DiskFails', `the disk of ${disk} takes no writes: joins are refused where it leads`)
  if (v.wish.memory !== '') return said('True', 'TableNearlyFull', v.wish.memory)
  const full = nameWith(v, (r) => r.tableShare > 0.95)
  if (full !== undefined)
    return said(
      'True',
      'TableNearlyFull',
      `the swarm table of ${full} is more than 95 % full: new peers may not be stored`,
    )
  return said('False', 'AsWished', 'nothing is missing')
}

const nameWith = (v: View, fits: (r: MemberReport) => boolean): string | undefined =>
  [...v.reports.values()].find(fits)?.name

const quorumAtRisk = (v: View): Said => {
  if (v.pods.size === 0) return said('Unknown', 'Stopped', 'no replica runs')
  if (v.leader === null)
    return quorumLost(v)
      ? said('True', 'QuorumLost', 'fewer than a majority of the voters can be reached')
      : said('Unknown', 'NoLeader', 'nobody leads who could tell')
  const all = voters(v)
  const silent = all.filter((m) => !m.alive)
  const more = spare(all)
  if (all.length === 1)
    return v.wishedVoters === 1
      ? said('False', 'OneVoter', 'one voter, as asked for: while it is away, joins wait')
      : said(
          'True',
          'OneVoter',
          `one voter until ${plural(v.wishedVoters, 'replica')} can vote: it must not be lost`,
        )
  if (more <= 0)
    return said(
      'True',
      'NoSpareVoter',
      `${silent.length === 0 ? plural(all.length, 'voter') : `${names(silent)} silent`}: one more lost and nothing can be changed any more`,
    )
  return said('False', 'Spare', `${plural(more, 'voter')} more may be lost`)
}

const stalled = (v: View, verdict: Verdict, settled: boolean, repeated: number): Said => {
  const { failure } = v.seen
  if (repeated >= STALLED_AFTER_FAILURES && failure !== '')
    return said('True', 'StepFails', `${verdict.message}: that does not succeed: ${failure}`)
  if (repeated >= STALLED_AFTER_STEPS)
    return said('True', 'SameStepAgain', `taken again and again without effect: ${verdict.message}`)
  const since = waitingSince(v, verdict, settled)
  if (since !== null && v.nowMs - since >= STALLED_AFTER_MS)
    return said('True', 'NothingHappens', `waiting since ${rfc3339(since)}: ${verdict.message}`)
  return said('False', 'Moving', 'nothing is waited for in vain')
}

const waitingSince = (v: View, verdict: Verdict, settled: boolean): number | null => {
  if (settled || verdict.step.kind !== 'none') return null
  const { waiting } = v.status
  return waiting?.reason === verdict.reason ? epochMs(waiting.since) : v.nowMs
}

/**
 * A tracker hands out the addresses it sees: if something on the way replaces them, it hands out that thing's
 * address.
 */
const clientIPPreserved = (v: View): Said => {
  const hidden = v.seen.services.find(
    (s) => s.externalTrafficPolicy === 'Cluster' && (s.type === 'NodePort' || s.type === 'LoadBalancer'),
  )
  const field = hidden === undefined ? '' : `spec.services.${hidden.protocol}.externalTrafficPolicy`
  if (hidden !== undefined)
    return said(
      'False',
      'TrafficPolicyCluster',
      `${field} is Cluster: nodes put their own address in place of the client's. Set it to Local`,
    )
  const reports = [...v.reports.values()]
  const announces = reports.reduce((sum, r) => sum + r.announces, 0)
  const hiddenOnes = reports.reduce((sum, r) => sum + r.announcesPrivate, 0)
  if (announces < ANNOUNCES_FOR_A_WORD)
    return said('Unknown', 'NoTraffic', 'too few announces so far to tell')
  if (hiddenOnes * 2 < announces) return said('True', 'PublicClients', 'announces come from public addresses')
  if (v.spec.allowPrivate === 'on')
    return said(
      'Unknown',
      'PrivateNetwork',
      'most announces come from private addresses, which spec.allowPrivate allows',
    )
  return said(
    'False',
    'ClientsHidden',
    'most announces come from private addresses, as of nodes or a gateway: something in front of the tracker hides its clients',
  )
}

/** The whole status but for lastStep. */
export const statusOf = (
  v: View,
  verdict: Verdict,
  settled: boolean,
  conditions: readonly Condition[],
): TrackerClusterStatus => {
  const before = v.status
  const { leader, seen } = v
  const reports = [...v.reports.values()]
  const recovery = verdict.recovery ?? before.recovery
  const born = verdict.step.kind === 'record-birth' ? verdict.step.clusterID : v.clusterID
  const sum = (of: (r: MemberReport) => number): number => reports.reduce((n, r) => n + of(r), 0)
  const version = reports.map((r) => r.version).sort(byVersion)[0] ?? before.version
  const voting = leader === null ? before.voters : voters(v).length
  const term = leader?.term ?? before.term
  const rotating = seen.key?.made === true && seen.key.rotation !== ''
  return {
    observedGeneration: seen.resource.metadata.generation,
    conditions,
    ...(born === null ? {} : { clusterID: born }),
    ...(leader === null ? {} : { leader: leader.pod }),
    ...(term === undefined ? {} : { term }),
    replicas: seen.pods.length,
    readyReplicas: readyPods(v),
    ...(voting === undefined ? {} : { voters: voting }),
    wishedReplicas: v.wish.replicas,
    selector: replicaSelector(v.name),
    announcesPerSecond: steady(
      before.announcesPerSecond,
      sum((r) => r.announcesPerSecond),
    ),
    torrents: steady(before.torrents, leader?.report.torrents ?? before.torrents ?? 0),
    peers: steady(before.peers, leader?.report.peers ?? before.peers ?? 0),
    ...(version === undefined ? {} : { version }),
    members: membersOf(v),
    ...(v.wish.window === null ? {} : { autoscaling: v.wish.window }),
    ...(rotating ? { networkKey: { rotation: seen.key!.rotation, phase: seen.key!.phase } } : {}),
    ...(recovery === undefined ? {} : { recovery }),
    ...(surging(v) ? { surge: true } : {}),
    ...waitingOf(v, verdict, settled),
  }
}

const waitingOf = (v: View, verdict: Verdict, settled: boolean): Pick<TrackerClusterStatus, 'waiting'> => {
  const since = waitingSince(v, verdict, settled)
  return since === null ? {} : { waiting: { reason: verdict.reason, since: rfc3339(since) } }
}

/** Two digits, and the number before as long as it is about right: status is no metric. */
const steady = (before: number | undefined, now: number): number => {
  if (before !== undefined && Math.abs(now - before) <= Math.max(before, now) * 0.1) return before
  return now === 0 ? 0 : Number(now.toPrecision(2))
}

const ORDER = new Intl.Collator('en', { numeric: true })
const byVersion = (a: string, b: string): number => ORDER.compare(a, b)

const membersOf = (v: View): MemberState[] => {
  const n = Math.max(v.seen.statefulSet?.replicas ?? 0, ...[...v.pods.keys()].map((i) => i + 1))
  return Array.from({ length: n }, (_, i) => memberState(v, i))
}

const memberState = (v: View, ordinal: number): MemberState => {
  const pod = v.pods.get(ordinal)
  const report = v.reports.get(ordinal)
  const member = memberAt(v, ordinal)
  const silent = v.silentSince.get(ordinal)
  const id = member?.id ?? (report?.memberID || undefined)
  const version = report?.version
  const detail = startText(v, ordinal) ?? (report?.birthAwaits || report?.removed || report?.notReady || '')
  const lag =
    member === null || !member.alive || member.lag === null ? undefined : coarse(member.lag, member.caughtUp)
  return {
    name: podOf(v, ordinal),
    ...(id === undefined ? {} : { id }),
    role: roleOf(v, ordinal),
    ready: pod?.ready === true && !pod.deleting,
    ...(lag === undefined ? {} : { lag }),
    ...(version === undefined ? {} : { version }),
    ...(pod === undefined || pod.node === '' ? {} : { node: pod.node }),
    ...(silent === undefined ? {} : { silentSince: rfc3339(silent) }),
    ...(detail === '' ? {} : { detail }),
  }
}

/** Powers of two: how far it is, not each entry. */
const coarse = (lag: number, caughtUp: boolean): number =>
  caughtUp ? 0 : 2 ** Math.ceil(Math.log2(Math.max(1, lag)))

const roleOf = (v: View, ordinal: number): MemberState['role'] => {
  const report = v.reports.get(ordinal)
  const member = memberAt(v, ordinal)
  if (report !== undefined && report.removed !== '') return 'Removed'
  if (v.silentSince.has(ordinal)) return v.pods.has(ordinal) ? 'Silent' : 'Stopped'
  if (member === null) {
    // Without a leader, what the replica itself says.
    const own = report?.members.find((m) => m.id === report.memberID)
    return own === undefined ? 'Joining' : own.voter ? 'Voter' : 'Learner'
  }
  if (member.leads) return 'Leader'
  return member.voter ? 'Voter' : 'Learner'
}
