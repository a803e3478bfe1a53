// What a replica says of itself and of the other members, as plain data.
// Refuses: sentences for people; whoever shows it makes those.

import { monotonicMs, SERVING } from '../threads/state.ts'
import type { MemberStatus, ReplicaStatus } from './handle.ts'
import type { Running } from './running.ts'

export const statusOf = (r: Running): ReplicaStatus => {
  const { options, log, identity, core } = r.p
  const { member, feed, control } = r
  const { replica, leading, forward } = member
  const nowMs = monotonicMs()
  return {
    id: identity.memberId,
    name: identity.name,
    clusterId: identity.clusterId,
    role: replica.status.role,
    term: replica.status.term,
    leader: replica.status.leader,
    members: membersOf(r, nowMs),
    joint: replica.confState.votersOutgoing.length > 0,
    changing: replica.confState.votersOutgoing.length > 0 || r.desk.changing,
    draining: r.bulletin.draining,
    removed: r.removedBecause,
    transfers: r.transfers?.status(nowMs) ?? [],
    refusedDials: r.p.network?.transport.refusedDials ?? [],
    awaits: r.desk.waits,
    commit: replica.status.commit,
    applied: replica.applied,
    firstIndex: log.firstIndex,
    lastIndex: log.lastIndex,
    logBytes: log.bytes,
    snapshotIndex: log.snapshot?.index ?? 0,
    snapshotRunning: replica.snapshots.running !== null,
    snapshotsTaken: replica.snapshots.taken,
    diskFull: control.diskFull,
    diskError: r.diskError || (replica.snapshots.lastError?.message ?? ''),
    failedWrites: r.driven.failedWrites,
    serving: control.state === SERVING && member.mayAnswer(nowMs),
    leaseMs: Math.max(0, member.leaseUntilMs - nowMs),
    refusing: member.refusing,
    unclean: log.unclean,
    cycles: replica.cycles,
    syncs: replica.writes,
    syncMs: r.driven.syncMs,
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
    incarnation: r.incarnation,
    timeMs: r.swarm.timeMs,
    coreBytes: core.size(),
    logStore: options.logStore,
    fsync: options.fsync,
    consistency: options.consistency ?? 'committed',
  }
}

const membersOf = (r: Running, nowMs: number): MemberStatus[] => {
  const { replica, peers } = r.member
  const { voters, votersOutgoing, learners, learnersNext } = replica.confState
  const { status } = replica
  const progress = new Map(replica.progress().map((p) => [p.id, p]))
  const ways = new Map(r.p.network?.transport.status().map((w) => [w.id, w]) ?? [])
  return [...new Set([...voters, ...votersOutgoing, ...learners, ...learnersNext])].map((id) => {
    const self = id === r.p.identity.memberId
    const news = peers.of(id)
    const word = r.bulletin.of(id)
    const way = ways.get(id)
    const known = progress.get(id)
    const match = self ? status.lastIndex : (known?.match ?? null)
    return {
      id,
      name: r.nameOf(id),
      address: r.members.directory.members.find((m) => m.id === id)?.address ?? '',
      voter: voters.includes(id) || votersOutgoing.includes(id),
      self,
      match,
      lag: match === null ? null : Math.max(0, status.lastIndex - match),
      progress: self ? '' : (known?.state ?? ''),
      heardMsAgo: self ? 0 : news === null ? null : nowMs - news.heardMs,
      diskFails: self ? r.diskError !== '' : (news?.notReady ?? false),
      level: self ? 1 : (way?.level ?? 0),
      applied: word?.applied ?? null,
      version: word?.version ?? '',
      diskBytes: word?.diskBytes ?? null,
      controlAddress: word?.control ?? '',
      draining: word?.draining ?? false,
      replaces: replacedBy(r, id),
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
const replacedBy = (r: Running, id: number): number => {
  const { confState } = r.member.replica
  const { members } = r.members.directory
  if (confState.voters.includes(id)) return 0
  const name = members.find((m) => m.id === id)?.name ?? ''
  return (
    members.find((m) => m.id !== id && m.name === name && name !== '' && confState.voters.includes(m.id))
      ?.id ?? 0
  )
}
