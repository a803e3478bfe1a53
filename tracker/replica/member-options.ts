// What a member is given: the core, the log, the machine, the feed, the network, and the times it keeps.
// Refuses: defaults that hide a choice.

import type { ConfState, Core, Entry } from '@skep/raft'
import type { Feed } from './batches/feed.ts'
import type { LogStore } from './log/log.ts'
import type { Machine } from './machine.ts'
import type { ClusterTransport } from './transport/transport.ts'

/** What a member uses of the network. */
export type MemberTransport = Pick<
  ClusterTransport,
  'send' | 'sendBatch' | 'sendNotice' | 'keepalive' | 'flush'
>

/**
 * Snapshots travel beside Raft's messages (transfer/transfer.ts). All bytes are views: copied before the call
 * returns.
 */
export interface SnapshotWays {
  /** Raft wants `to` to have the snapshot that this MsgSnap names. `Member.reportSnapshot` must follow. */
  offer(to: number, message: Uint8Array): void
  /** A MsgSnap came: `Member.stepSnapshot` once its snapshot is here, complete and synced. */
  arrived(from: number, message: Uint8Array): void
}

export type MemberOptions<T> = {
  readonly core: Core
  readonly group: number
  readonly id: number
  readonly incarnation: number
  readonly log: LogStore
  readonly machine: Machine
  readonly feed: Feed<T>
  readonly transport: MemberTransport
  readonly snapshots: SnapshotWays | null
  readonly keepaliveMs: number
  /** Keepalives without which a leader is taken for dead. */
  readonly missed: number
  /** A batch or a section waits this long for company, milliseconds. */
  readonly lingerMs: number
  /** A change waits at most this long for its outcome, milliseconds. */
  readonly parkForMs: number
  readonly loose: boolean
  readonly snapshotLogBytes: number
  /** Has never run before: it cannot have promised anything to anybody. */
  readonly fresh: boolean
  /** Who should rather lead: the higher. Default: the member ID. */
  readonly preference?: (id: number) => number
  /** Makes way for a caught-up member that is preferred. */
  readonly preferHighest?: boolean
  /**
   * Somebody asked for this member to lead: it makes way for nobody before the next election or change of
   * members.
   */
  readonly staysPut?: () => boolean
  /**
   * The cluster's behaviour level, as applied: members that do not support it are strangers. Default: none.
   */
  readonly level?: () => number
  readonly onLeading?: (leads: boolean) => void
  /** After each applied change of the configuration (`entry`), or a snapshot (null). */
  readonly onConfState?: (confState: ConfState, entry: Entry | null) => void
}
