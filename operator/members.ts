// Client of the replicas' control API (Connect, HTTP/1.1, by the pod's IP): each call with a time-out, and
// with the token of whichever network key the replica takes. Refuses: retries. What may have been done is
// said to be unknown; the next pass looks.

import { hkdfSync } from 'node:crypto'
import { Agent } from 'node:http'
import { isIPv6 } from 'node:net'
import { type Client, Code, ConnectError, createClient, type Interceptor } from '@connectrpc/connect'
import { createConnectTransport } from '@connectrpc/connect-node'
import { controlToken } from '@skep/wire/network-key.ts'
import { Cluster, Role, type StatusResponse } from '@skep/wire/proto/gen/skep/cluster/v1/cluster_pb.js'
import type { MemberReport, RaftMember } from './model/facts.ts'
import { CONTROL_PORT } from './model/names.ts'
import type { MemberAddress, MemberAnswer, Members } from './model/ports.ts'

/** A question about a replica's state, milliseconds: a pass waits for the slowest. */
const STATUS_MS = 1500
/** A change of members is answered when it is committed and applied. */
const CHANGE_MS = 10_000
/** Clients kept, by pod; the oldest goes. */
const MOST_CLIENTS = 1000

export type ControlClient = Client<typeof Cluster>

/** `keysOf`: network keys of a cluster, the one in use first. */
export type ControlClients = (at: MemberAddress) => ControlClient

export const controlClients = (keysOf: (at: MemberAddress) => readonly string[]): ControlClients => {
  const clients = new Map<string, ControlClient>()
  const agent = new Agent({ keepAlive: true, maxSockets: 8, timeout: 60_000 })
  return (at) => {
    const id = `${at.podUid}@${at.ip}`
    const there = clients.get(id)
    if (there !== undefined) return there
    const host = isIPv6(at.ip) ? `[${at.ip}]` : at.ip
    const transport = createConnectTransport({
      baseUrl: `http://${host}:${CONTROL_PORT}`,
      httpVersion: '1.1',
      nodeOptions: { agent },
      interceptors: [withToken(() => keysOf(at).map((key) => controlToken(key, hkdfSync)))],
    })
    const client = createClient(Cluster, transport)
    clients.set(id, client)
    if (clients.size > MOST_CLIENTS) clients.delete(clients.keys().next().value!)
    return client
  }
}

/** While keys are being replaced, a replica may not know the new one yet, or not the old one any more. */
const withToken = (tokens: () => readonly string[]): Interceptor => {
  let inUse = 0
  return (next) => async (request) => {
    const all = tokens()
    if (all.length === 0) throw new ConnectError('the network key is not there', Code.Unauthenticated)
    for (let tried = 1; ; tried++) {
      request.header.set('authorization', `Bearer ${all[inUse % all.length]}`)
      try {
        return await next(request)
      } catch (error) {
        const wrong = error instanceof ConnectError && error.code === Code.Unauthenticated
        if (!wrong || request.stream || tried >= all.length) throw error
        inUse++
      }
    }
  }
}

export const liveMembers = (clients: ControlClients): Members => {
  const change = async (
    at: MemberAddress,
    call: (client: ControlClient) => Promise<{ readonly message: string }>,
  ): Promise<MemberAnswer> => {
    try {
      const { message } = await call(clients(at))
      return { kind: 'done', sentence: message }
    } catch (error) {
      return answerOf(error)
    }
  }
  const timeoutMs = CHANGE_MS
  const rates = new Map<string, Rate>()
  return {
    async status(at) {
      const report = reportOf(await clients(at).status({}, { timeoutMs: STATUS_MS }))
      const rate = rateOf(rates.get(at.podUid), report.announces, performance.now())
      rates.delete(at.podUid)
      rates.set(at.podUid, rate)
      if (rates.size > MOST_CLIENTS) rates.delete(rates.keys().next().value!)
      return { ...report, announcesPerSecond: rate.perSecond }
    },
    promote: (at, members) => change(at, (c) => c.promoteMembers({ members: [...members] }, { timeoutMs })),
    demote: (at, members) => change(at, (c) => c.demoteMembers({ members: [...members] }, { timeoutMs })),
    remove: (at, member) => change(at, (c) => c.removeMember({ member }, { timeoutMs })),
    transfer: (at, member) => change(at, (c) => c.transferLeadership({ member }, { timeoutMs })),
    drain: (at, undo) => change(at, (c) => c.drain({ forMs: 0, undo }, { timeoutMs })),
  }
}

/** Announces a second, from a counter that is looked at now and then. */
export type Rate = { readonly count: number; readonly atMs: number; readonly perSecond: number }

/** The shortest time that a rate is taken over, milliseconds. */
const RATE_MS = 5000

/** A counter that went back belongs to a replica that was started again. */
export const rateOf = (before: Rate | undefined, count: number, nowMs: number): Rate => {
  if (before === undefined || count < before.count) return { count, atMs: nowMs, perSecond: 0 }
  const ms = nowMs - before.atMs
  if (ms < RATE_MS) return before
  return { count, atMs: nowMs, perSecond: ((count - before.count) * 1000) / ms }
}

const answerOf = (error: unknown): MemberAnswer => {
  const { code, rawMessage: sentence } = ConnectError.from(error)
  switch (code) {
    case Code.FailedPrecondition:
    case Code.InvalidArgument:
    case Code.Unauthenticated:
    case Code.PermissionDenied:
    case Code.Unimplemented:
      return { kind: 'refused', sentence }
    case Code.Unavailable:
    case Code.Aborted:
    case Code.ResourceExhausted:
      // Of a replica it means that nothing has happened; without a connection nothing was sent.
      return { kind: 'later', sentence }
    default:
      return { kind: 'unknown', sentence }
  }
}

/** Counters that fit a float for longer than any cluster lives. */
const number = (n: bigint | undefined): number => Number(n ?? 0n)

export const reportOf = (s: StatusResponse): MemberReport => {
  const { raft, table, load, disk } = s
  const underWay = new Set((raft?.transfers ?? []).filter((t) => t.outgoing).map((t) => t.memberId))
  return {
    name: s.name,
    version: s.version,
    ready: s.ready,
    notReady: s.notReady,
    birthAwaits: s.birthAwaits,
    draining: s.draining,
    networkKeys: s.networkKeys,
    clusterID: raft?.clusterId ?? '',
    memberID: String(raft?.memberId ?? 0n),
    leads: raft?.role === Role.LEADER,
    leaderID: String(raft?.leaderId ?? 0n),
    term: number(raft?.term),
    commitIndex: number(raft?.commitIndex),
    lastIndex: number(raft?.lastIndex),
    changing: (raft?.changing ?? false) || (raft?.joint ?? false),
    awaits: raft?.awaits ?? '',
    removed: raft?.removed ?? '',
    members: (raft?.members ?? []).map(
      (m): RaftMember => ({
        id: String(m.id),
        name: m.name,
        voter: m.voter,
        // Whoever is still being sent the whole state lacks more than its lag says, and may not vote yet.
        lag: m.lag === undefined || underWay.has(m.id) ? null : Number(m.lag),
        heardMsAgo: m.self ? 0 : (m.heardMsAgo ?? null),
        replaces: String(m.replaces),
        diskFails: m.diskFails,
        draining: m.draining,
      }),
    ),
    // Of two reports; liveMembers says it.
    announcesPerSecond: 0,
    announces: number(load?.announces),
    announcesPrivate: number(load?.announcesPrivate),
    torrents: number(table?.torrents),
    peers: number(table?.peers),
    tableShare: shareOf(table),
    diskFull: disk?.full ?? false,
  }
}

/** Whichever room is fullest. */
const shareOf = (table: StatusResponse['table']): number => {
  if (table === undefined) return 0
  const share = (used: bigint, room: bigint): number => (room === 0n ? 0 : Number(used) / Number(room))
  return Math.max(
    share(table.torrents, table.torrentsCapacity),
    share(table.peers, table.peersIpv4Capacity + table.peersIpv6Capacity),
  )
}
