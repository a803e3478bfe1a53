// What a replica says of itself, from its thread's status, its table and its counters: /stats, the control
// API, /metrics. Refuses: naming clients or torrents, but for networks that flood, to the admin.

import { statfs } from 'node:fs/promises'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { STANDARD_OUTPUT } from '@skep/cli/output.ts'
import {
  type MemberSchema,
  Role,
  State,
  type TransferSchema,
} from '@skep/wire/proto/gen/skep/cluster/v1/cluster_pb.js'
import type { StatusMessage } from '../control/cluster.ts'
import type { TransferStatus } from '../replica/transfer/transfer.ts'
import type { MemberStatus, ReplicaStatus } from '../replica-thread/messages.ts'
import { PAGE } from '../swarm/layout.ts'
import { BUFFER_NAMES, type Store } from '../swarm/store.ts'
import { type Control, monotonicMs, SERVING, STARTING, STOPPING } from '../threads/state.ts'
import type { Census } from './census.ts'
import type { MetricSources, ReplicaFigures, TableFigures } from './metrics.ts'

export type StatsSources = {
  readonly name: string
  readonly version: string
  readonly dataDir: string
  readonly store: Store
  readonly control: Control
  readonly census: Census
  readonly status: () => Promise<ReplicaStatus>
  readonly udp: () => Readonly<Record<string, number>>
  readonly http: () => Readonly<Record<string, number>>
  readonly controlApi: () => Readonly<Record<string, number>>
  /** As GET /readyz says. */
  readonly ready: () => { readonly ok: boolean; readonly reason: string }
  /** Answers a second, smoothed. */
  readonly rate: () => number
  readonly warnings: readonly string[]
  /** Why a list's file is not in force, by list; '' where it is. */
  readonly listFaults: () => Readonly<Record<string, string>>
  /** Networks that flood, in a sentence: in status, which needs the token, and nowhere else. */
  readonly floods: () => string[]
}

/** Answers given since start, over all front ends. */
export const answersOf = (sources: Pick<StatsSources, 'udp' | 'http'>): number =>
  (sources.udp().answered ?? 0) + (sources.http().answered ?? 0)

type Counted = Pick<StatsSources, 'udp' | 'http'>

const announcesOf = (sources: Counted): number =>
  (sources.udp().announces ?? 0) + (sources.http().announces ?? 0)

/**
 * Announces from addresses that no peer on the Internet has: private, loopback, link-local, not to be routed.
 */
const privateOf = (sources: Counted): number =>
  (sources.udp().privateAnnounces ?? 0) + (sources.http().privateAnnounces ?? 0)

/** Announces that were refused for the address they came from. */
export const refusalsOf = (sources: Counted): number =>
  (sources.udp().refusedAddress ?? 0) + (sources.http().refusedAddress ?? 0)

/** The JSON of /stats. */
export async function statsOf(sources: StatsSources): Promise<object> {
  const { store, control, census } = sources
  const status = await sources.status()
  const table = tableOf(store)
  return {
    name: sources.name,
    version: sources.version,
    uptimeSeconds: Math.round(process.uptime()),
    clusterId: status.clusterId,
    role: status.role,
    term: status.term,
    members: status.members.length,
    serving: status.serving,
    torrents: table.torrents,
    peers: table.peers4 + table.peers6,
    seeders: census.seeders,
    leechers: census.leechers,
    answers: answersOf(sources),
    answersPerSecond: Math.round(sources.rate() * 10) / 10,
    intervalSeconds: control.intervalSeconds,
    capacity: {
      torrents: table.torrentsCapacity,
      peers4: table.peers4Capacity,
      peers6: table.peers6Capacity,
    },
    bytesInUse: table.bytes,
    log: {
      bytes: status.logBytes,
      applied: status.applied,
      commit: status.commit,
      snapshot: status.snapshotIndex,
    },
    diskFull: status.diskFull,
    warnings: warningsOf(sources, status),
    events: store.counters(),
    udp: sources.udp(),
    http: sources.http(),
  }
}

const ROLES = {
  follower: Role.FOLLOWER,
  'pre-candidate': Role.PRE_CANDIDATE,
  candidate: Role.CANDIDATE,
  leader: Role.LEADER,
}

/** The control API's Status. */
export async function statusMessageOf(sources: StatsSources): Promise<StatusMessage> {
  const { store, control } = sources
  const status = await sources.status()
  const table = tableOf(store)
  const disk = await statfs(sources.dataDir).catch(() => null)
  const ready = sources.ready()
  const leader = status.members.find((m) => m.id === status.leader)
  return {
    name: sources.name,
    version: sources.version,
    uptimeSeconds: process.uptime(),
    state: stateOf(control.state),
    raft: {
      clusterId: status.clusterId,
      memberId: BigInt(status.id),
      role: ROLES[status.role],
      term: BigInt(status.term),
      leaderId: BigInt(status.leader),
      commitIndex: BigInt(status.commit),
      appliedIndex: BigInt(status.applied),
      lastIndex: BigInt(status.lastIndex),
      members: status.members.map(memberMessageOf),
      joint: status.joint,
      awaits: status.awaits,
      removed: status.removed,
      transfers: status.transfers.map(transferMessageOf),
      refusedDials: status.refusedDials.map(({ from, sentence, count }) => ({
        from,
        reason: sentence,
        count: BigInt(count),
      })),
      relaxed: status.consistency === 'relaxed',
      changing: status.changing,
      leaderName: leader?.name ?? '',
      level: status.level,
      levelAwaits: status.role === 'leader' ? status.raise.waits : '',
      leaderControlAddress: leader?.controlAddress ?? '',
    },
    table: {
      torrents: BigInt(table.torrents),
      torrentsCapacity: BigInt(table.torrentsCapacity),
      peers: BigInt(table.peers4 + table.peers6),
      peersIpv4Capacity: BigInt(table.peers4Capacity),
      peersIpv6Capacity: BigInt(table.peers6Capacity),
      bytesInUse: BigInt(table.bytes),
      peerDetails: store.buffers.limits.details,
      capacityBytes: BigInt(BUFFER_NAMES.reduce((sum, name) => sum + store.buffers[name].byteLength, 0)),
    },
    disk: {
      logBytes: BigInt(status.logBytes),
      snapshotIndex: BigInt(status.snapshotIndex),
      full: status.diskFull,
      freeBytes: disk === null ? 0n : BigInt(disk.bavail) * BigInt(disk.bsize),
    },
    load: {
      answers: BigInt(answersOf(sources)),
      answersPerSecond: sources.rate(),
      intervalSeconds: control.intervalSeconds,
      announces: BigInt(announcesOf(sources)),
      announcesPrivate: BigInt(privateOf(sources)),
    },
    ready: ready.ok,
    notReady: ready.ok ? '' : ready.reason,
    warnings: [...warningsOf(sources, status), ...sources.floods()],
  }
}

const memberMessageOf = (member: MemberStatus): MessageInitShape<typeof MemberSchema> => ({
  id: BigInt(member.id),
  name: member.name,
  voter: member.voter,
  address: member.address,
  self: member.self,
  connection: member.way,
  connectionDetail: member.wayDetail,
  diskFails: member.diskFails,
  version: member.version,
  controlAddress: member.controlAddress,
  replaces: BigInt(member.replaces),
  draining: member.draining,
  ...(member.applied !== null && { appliedIndex: BigInt(member.applied) }),
  ...(member.diskBytes !== null && { diskBytes: BigInt(member.diskBytes) }),
  ...(member.match !== null && { matchIndex: BigInt(member.match) }),
  ...(member.lag !== null && { lag: BigInt(member.lag) }),
  ...(member.heardMsAgo !== null && { heardMsAgo: member.heardMsAgo }),
  ...(member.rttMs !== null && { roundTripMs: member.rttMs }),
})

const transferMessageOf = (t: TransferStatus): MessageInitShape<typeof TransferSchema> => ({
  memberId: BigInt(t.member),
  outgoing: t.direction === 'to',
  snapshotIndex: BigInt(t.index),
  state: t.state,
  bytes: BigInt(t.bytes),
  totalBytes: BigInt(t.totalBytes),
  bytesPerSecond: t.bytesPerSecond,
  ...(t.secondsLeft !== null && { secondsLeft: t.secondsLeft }),
})

function tableOf(store: Store): TableFigures {
  const { limits } = store.buffers
  return {
    torrents: store.torrentCount,
    torrentsCapacity: limits.torrents,
    peers4: store.peers4.inUse,
    peers4Capacity: limits.pages4 * PAGE,
    peers6: store.peers6.inUse,
    peers6Capacity: limits.pages6 * PAGE,
    bytes: store.bytesInUse,
    events: store.counters(),
  }
}

export const metricSourcesOf = (sources: StatsSources): MetricSources => ({
  version: sources.version,
  intervalSeconds: () => sources.control.intervalSeconds,
  table: () => tableOf(sources.store),
  udp: sources.udp,
  http: sources.http,
  controlApi: sources.controlApi,
  lostLines: () => STANDARD_OUTPUT.lost,
  listFaults: sources.listFaults,
  replica: async () => replicaFiguresOf(await sources.status()),
})

const replicaFiguresOf = (status: ReplicaStatus): ReplicaFigures => ({
  ...status,
  members: status.members.length,
  linkBytes: {
    sent: status.members.reduce((sum, { sentBytes }) => sum + sentBytes, 0),
    received: status.members.reduce((sum, { receivedBytes }) => sum + receivedBytes, 0),
  },
  syncSeconds: status.syncMs.sumMs / 1000,
})

/** A connection that was turned away is worth a warning for so long, milliseconds. */
const TURNED_AWAY_MS = 60_000

function warningsOf(sources: StatsSources, status: ReplicaStatus): string[] {
  const warnings = [
    ...sources.warnings,
    ...Object.values(sources.listFaults()).filter((fault) => fault !== ''),
  ]
  const table = tableOf(sources.store)
  if (status.diskFull) warnings.push('the disk is full: changes are refused until there is room')
  if (status.diskError !== '') warnings.push(`the disk does not take writes: ${status.diskError}`)
  if (status.removed !== '') warnings.push(status.removed)
  for (const { from, sentence, atMs } of status.refusedDials)
    if (monotonicMs() - atMs < TURNED_AWAY_MS) warnings.push(`turned away ${from}: ${sentence}`)
  for (const { name, address } of status.moved)
    warnings.push(
      `${name} is at ${address} now, and the cluster has it elsewhere: the leader has that agreed on by itself`,
    )
  for (const member of status.members) {
    const { name, way, wayDetail } = member
    if (way === 'refused') warnings.push(`${name} does not let this replica in: ${wayDetail}`)
    if (member.diskFails && !member.self) warnings.push(`the disk of ${name} takes no writes`)
  }
  if (status.refusing) warnings.push('a majority of the disks takes no writes: changes are refused')
  if (status.consistency === 'relaxed')
    warnings.push('--consistency relaxed: what was answered may be lost with a replica')
  if (status.unclean)
    warnings.push('the machine went down with --fsync interval: the last changes may be missing')
  for (const [what, used, room] of [
    ['torrents', table.torrents, table.torrentsCapacity],
    ['IPv4 peers', table.peers4, table.peers4Capacity],
    ['IPv6 peers', table.peers6, table.peers6Capacity],
  ] as const)
    if (used > room * 0.95)
      warnings.push(
        `the table is nearly full of ${what}: ${used} of ${room}; a cluster with more --memory is needed`,
      )
  return warnings
}

function stateOf(state: number): State {
  if (state === SERVING) return State.SERVING
  if (state === STARTING) return State.STARTING
  return state === STOPPING ? State.STOPPING : State.WAITING
}
