// The parts of a member, made and connected. What they ask of each other goes straight; what only the member
// knows (its time, its status, the joint configuration) they ask through its hooks. Refuses: to run anything;
// member.ts does.

import type { ConfState, Entry, Status } from '@skep/raft'
import { Forward } from './batches/forward.ts'
import { Leading } from './batches/leader.ts'
import { Linger } from './batches/linger.ts'
import type { Timeline } from './events.ts'
import { Candidacy } from './leadership/candidacy.ts'
import type { JointEnd } from './leadership/joint-end.ts'
import { leaseMs } from './leadership/lease.ts'
import { Leases } from './leadership/leases.ts'
import { ReadyVotes } from './leadership/ready-votes.ts'
import type { MemberOptions } from './member-options.ts'
import { unmade } from './membership/lives.ts'
import { Moves } from './moves.ts'
import { Outgoing } from './outgoing.ts'
import type { Peers } from './peers.ts'
import { Replica } from './replica.ts'
import { Stall } from './stall.ts'
import { NOTICE_REFUSED } from './transport/frame-body.ts'

/** Ticks of a keepalive; an election takes `missed` times as many. */
export const KEEPALIVE_TICKS = 10
/**
 * Ticks between heartbeats. A follower's lease is counted from a time that went to the leader and back, less
 * the age of the leader's own: three heartbeats in all, which must fit into a lease with room for lost ones.
 */
const HEARTBEAT_TICKS = 2

/** What the parts ask of the member, never before all of them stand. */
export type Hooks = {
  readonly events: Timeline
  readonly peers: Peers
  /** The time that everybody is told now. */
  readonly now: () => number
  /** Of the core, as the member has looked at it last. */
  readonly status: () => Status
  /** Does this member's version know too little for the cluster? */
  readonly tooOld: (id: number) => boolean
  readonly joint: () => JointEnd
  readonly others: () => readonly number[]
  readonly yields: () => void
  /** This life is not to go on. */
  readonly refuse: (sentence: string) => void
  readonly leads: (leads: boolean, nowMs: number) => void
  readonly configured: (confState: ConfState, entry: Entry | null) => void
}

export type Wired<T> = {
  readonly linger: Linger
  readonly leases: Leases
  readonly votes: ReadyVotes
  readonly outgoing: Outgoing
  readonly forward: Forward<T>
  readonly leading: Leading<T>
  readonly replica: Replica
  readonly candidacy: Candidacy
  readonly moves: Moves
  readonly stall: Stall<T>
}

/** Everybody who votes, of both configurations while one is left for the other. */
export const votersOf = ({ voters, votersOutgoing }: ConfState): number[] => [
  ...new Set([...voters, ...votersOutgoing]),
]

export function wire<T>(options: MemberOptions<T>, nowMs: number, hooks: Hooks): Wired<T> {
  const { id, incarnation, feed, transport, group, keepaliveMs } = options
  const { events, tooOld } = hooks
  const preference = options.preference ?? ((member: number) => member)
  const linger = new Linger(options.lingerMs)
  const tickMs = keepaliveMs / KEEPALIVE_TICKS
  const electionTicks = KEEPALIVE_TICKS * options.missed
  const leases = new Leases(id, leaseMs(electionTicks, tickMs), (to) => transport.keepalive(group, to))
  const votes = new ReadyVotes(electionTicks * tickMs)
  const outgoing: Outgoing = new Outgoing({
    send: (to, message) => (tooOld(to) ? undefined : transport.send(group, to, message)),
    linger,
    admits: (to) => hooks.joint().admits(to, hooks.status().commit),
    snapshot: (to, message) => {
      if (tooOld(to)) return hooks.peers.withhold(to)
      events.add(hooks.now(), 'snapshot sent', hooks.status().term, to)
      options.snapshots?.offer(to, message)
    },
    voted: () => candidacy.election.rival(hooks.now(), votersOf(replica.confState).length),
    yields: hooks.yields,
  })
  const sendBatch = (to: number, number: number, section: Uint8Array): boolean =>
    transport.sendBatch(group, to, incarnation, number, section)
  const forward = new Forward({
    ...{ id, incarnation, feed, linger, send: sendBatch, againMs: keepaliveMs },
    strange: (its, number) => hooks.refuse(unmade(its, number)),
  })
  const leading: Leading<T> = new Leading({
    ...{ id, incarnation, feed, linger, forward },
    held: () => hooks.joint().underWay !== null,
    notice: (to, its, number) => transport.sendNotice(group, to, its, number, NOTICE_REFUSED),
    onLeading: hooks.leads,
    term: () => replica.status.term,
  })
  const replica: Replica = new Replica(
    {
      ...{ core: options.core, group, id, log: options.log, machine: options.machine },
      ...{ loose: options.loose, snapshotLogBytes: options.snapshotLogBytes },
      ...{ tickMs, electionTicks, heartbeatTicks: HEARTBEAT_TICKS },
      source: sourceOf(leading, hooks),
      transport: { send: (_: number, to: number, m: Uint8Array) => outgoing.post(to, m, hooks.now()) },
    },
    nowMs,
  )
  const quiet = options.fresh || replica.alone
  const candidacy = new Candidacy({ id, tickMs, electionTicks, preference, quiet }, nowMs)
  const moves = new Moves({
    ...{ id, keepaliveMs, timeoutMs: candidacy.election.timeoutMs, preference },
    preferHighest: options.preferHighest ?? false,
    staysPut: options.staysPut ?? (() => false),
    ...{ replica, votes, events, outgoing },
    hold: (holding) => {
      leading.holding = holding
    },
  })
  const stall = new Stall({
    ...{ id, group, transport, feed, events, forward, leading, votes, everyMs: HEARTBEAT_TICKS * tickMs },
    others: hooks.others,
    heir: () => moves.successor(hooks.now()),
    yields: hooks.yields,
  })
  return { linger, leases, votes, outgoing, forward, leading, replica, candidacy, moves, stall }
}

const sourceOf = <T>(
  leading: Leading<T>,
  hooks: Hooks,
): ConstructorParameters<typeof Replica>[0]['source'] => ({
  due: (nowMs) => leading.due(nowMs),
  next: (nowMs) => leading.next(nowMs),
  proposed: (appended) => leading.proposed(appended),
  leading: (nowMs) => leading.leading(nowMs),
  lost: () => leading.lost(),
  configured: hooks.configured,
})
