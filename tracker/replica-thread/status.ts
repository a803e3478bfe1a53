// What a replica says of itself and of the other members, as plain data.
// Refuses: sentences for people; whoever shows it makes those.

import type { Driven } from '../replica/drive.ts'
import { type Raise, raiseOf } from '../replica/membership/level.ts'
import { LEVEL } from '../swarm/level.ts'
import { monotonicMs, SERVING } from '../threads/state.ts'
import type { MemberStatus, ReplicaStatus } from './messages.ts'
import type { Parts } from './parts.ts'

/** What the loop knows of itself. */
export type Standing = {
  readonly diskError: string
  /** Why this replica is not wanted any more; '' while it is. */
  readonly removedBecause: string
  readonly driven: Driven
}

export const statusOf = (parts: Parts, standing: Standing): ReplicaStatus => {
  const { options, log, identity, core, member, feed, control, desk, bulletin } = parts
  const { diskError, removedBecause, driven } = standing
  const { replica, leading, forward } = member
  const nowMs = monotonicMs()
  return {
    id: identity.memberId,
    name: identity.name,
    clusterId: identity.clusterId,
    role: replica.status.role,
    term: replica.status.term,
    leader: replica.status.leader,
    members: membersOf(parts, diskError, nowMs),
    level: parts.store.level,
    raise: raiseNow(parts, nowMs),
    joint: replica.confState.votersOutgoing.length > 0,
    changing: replica.confState.votersOutgoing.length > 0 || desk.changing,
    draining: bulletin.draining,
    removed: removedBecause,
    transfers: parts.transfers?.status(nowMs) ?? [],
    moved: (parts.network?.moved() ?? []).map(({ id, address }) => ({
      name: parts.roster.nameOf(id),
      address,
    })),
    refusedDials: parts.network?.transport.refusedDials ?? [],
    ...{ refusedLives: parts.lives.refused, refusedLife: parts.lives.refusedBecause },
    awaits: desk.waits,
    commit: replica.status.commit,
    applied: replica.applied,
    firstIndex: log.firstIndex,
    lastIndex: log.lastIndex,
    logBytes: log.bytes,
    snapshotIndex: log.snapshot?.index ?? 0,
    snapshotRunning: replica.snapshots.running !== null,
    snapshotsTaken: replica.snapshots.taken,
    diskFull: control.diskFull,
    diskError: diskError || (replica.snapshots.lastError?.message ?? ''),
    failedWrites: driven.failedWrites,
    serving: control.state === SERVING && member.mayAnswer(nowMs),
    leaseMs: Math.max(0, member.leaseUntilMs - nowMs),
    refusing: member.refusing,
    unclean: log.unclean,
    cycles: replica.cycles,
    syncs: replica.writes,
    syncMs: driven.syncMs,
    changes: feed.changes,
    touches: feed.touches,
    refused: feed.refused,
    unknown: feed.unknown,
    appliedEntries: replica.appliedEntries,
    droppedProposals: replica.dropped,
    forwardedBatches: forward.forwarded,
    resentBatches: forward.resent,
    refusedBatches: forward.refused,
    joinedSections: leading.joined,
    refusedSections: leading.refused,
    earlySections: leading.early,
    malformedSections: leading.malformed,
    campaigns: member.campaigns,
    unheardVotes: member.unheard,
    badMessages: member.badMessages,
    joinedNotices: member.commitNotices,
    incarnation: parts.incarnation,
    timeMs: parts.swarm.timeMs,
    coreBytes: core.size(),
    logStore: options.logStore,
    fsync: options.fsync,
    consistency: options.consistency ?? 'committed',
  }
}

const raiseNow = (
  { store, member, members, bulletin, identity, keepaliveMs, missed }: Parts,
  nowMs: number,
): Raise => {
  const { peers } = member
  const others = member.others.map((id) => {
    const news = peers.of(id)
    const heardMsAgo = news === null ? null : nowMs - news.heardMs
    return { id, supports: peers.levelOf(id), agrees: bulletin.of(id)?.agrees ?? 0, heardMsAgo }
  })
  const own = { supports: LEVEL, agrees: bulletin.of(identity.memberId)?.agrees ?? 0 }
  return raiseOf(store.level, own, others, members.directory, keepaliveMs * missed)
}

const membersOf = (parts: Parts, diskError: string, nowMs: number): MemberStatus[] => {
  const { identity, network, bulletin, roster, members } = parts
  const { replica, peers } = parts.member
  const { voters, votersOutgoing, learners, learnersNext } = replica.confState
  const { status } = replica
  const progress = new Map(replica.progress().map((p) => [p.id, p]))
  const ways = new Map(network?.transport.status().map((w) => [w.id, w]) ?? [])
  return [...new Set([...voters, ...votersOutgoing, ...learners, ...learnersNext])].map((id) => {
    const self = id === identity.memberId
    const news = peers.of(id)
    const word = bulletin.of(id)
    const way = ways.get(id)
    const known = progress.get(id)
    const match = self ? status.lastIndex : (known?.match ?? null)
    return {
      id,
      name: roster.nameOf(id),
      address: members.directory.members.find((m) => m.id === id)?.address ?? '',
      voter: voters.includes(id) || votersOutgoing.includes(id),
      self,
      match,
      lag: match === null ? null : Math.max(0, status.lastIndex - match),
      progress: self ? '' : (known?.state ?? ''),
      heardMsAgo: self ? 0 : news === null ? null : nowMs - news.heardMs,
      diskFails: self ? diskError !== '' : (news?.notReady ?? false),
      level: self ? LEVEL : (way?.level ?? 0),
      start: self ? parts.incarnation : (parts.lives.of(id)?.incarnation ?? 0),
      applied: word?.applied ?? null,
      version: word?.version ?? '',
      diskBytes: word?.diskBytes ?? null,
      controlAddress: word?.control ?? '',
      draining: word?.draining ?? false,
      replaces: replacedBy(parts, id),
      queuedBytes: way?.queuedBytes ?? 0,
      way: self ? '' : (way?.state ?? ''),
      wayDetail: way?.detail ?? '',
      rttMs: way?.rttMs ?? null,
      sentBytes: way?.sentBytes ?? 0,
      receivedBytes: way?.receivedBytes ?? 0,
      writes: way?.writes ?? 0,
    }
  })
}

/** The voter whose name a newcomer has: one joint change swaps the two once it has caught up. 0: nobody. */
const replacedBy = ({ member, members: { directory } }: Parts, id: number): number => {
  const { confState } = member.replica
  const { members } = directory
  if (confState.voters.includes(id)) return 0
  const name = members.find((m) => m.id === id)?.name ?? ''
  return (
    members.find((m) => m.id !== id && m.name === name && name !== '' && confState.voters.includes(m.id))
      ?.id ?? 0
  )
}
