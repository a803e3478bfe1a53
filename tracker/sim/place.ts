// What a simulated world gives to one life of a member, and what it wants of it: the seam behind which any
// shell around the replica can be put. Refuses: to know what the shell does.

import type { Core } from '@skep/raft'
import type { MemberClock } from '@skep/testing/clock.ts'
import type { Random } from '@skep/testing/random.ts'
import type { LogDisk } from '../replica/log/disk.ts'
import type { Request } from '../replica/membership/requests.ts'
import type { Birth } from '../swarm/entry.ts'
import type { Store } from '../swarm/store.ts'
import type { ProducerBuffers } from '../threads/producer.ts'
import type { Control } from '../threads/state.ts'
import type { EventKind } from './trace.ts'

export const KEEPALIVE_MS = 1000
/** Keepalives without which a leader is taken for dead. */
export const MISSED = 2

/** Known bugs that can be switched on: a simulator that does not find them is none. */
export const CANARIES = {
  'answers-before-commit': 'a change counts as applied once it is proposed',
  'lease-not-checked': 'a leader answers as long as it takes itself for one',
  'follower-needs-no-lease': 'a follower answers from its table, however old',
  'sends-old-changes': 'now and then a batch carries the changes of the one before it',
  'keeps-incarnation': 'a restarted process goes on under its old incarnation',
  'repeats-ids': 'every newcomer draws the same member ID',
  'skip-fsync': 'batches count as written before they are on disk',
  'apply-out-of-order': 'now and then two committed entries are applied in the wrong order',
  'snapshot-moves': 'a snapshot holds what was written while it was taken',
  'votes-after-restart': 'a restarted voter votes at once, whatever it promised before',
  'forgets-votes': 'a vote is not written down',
  'skips-entries': 'now and then a committed entry is not applied, by all members alike',
  'sends-no-snapshots': 'a member that lags is never sent a snapshot',
  'turns-members-away': 'now and then a member is told that it was removed',
  'believes-its-table': 'an event that changes nothing in the table here is answered at once',
  'follows-copies': 'where a start says that it is, its member is, whatever becomes of it',
  'welcomes-copies': 'a member that comes back with an older disk, or twice, is let in',
} as const
export type Canary = keyof typeof CANARIES

/** A message between members. All but the label is the shell's own affair. */
export interface Frame {
  /** Of the connection that carries it, in order and once; null: a datagram. */
  readonly channel: number | null
  /** It goes back over what the receiver has dialled, to whoever that was. */
  readonly reply?: boolean
  /** For the trace: type, term, index, entries. */
  readonly label: readonly [number, number, number, number]
}

/** What checkers want to hear of a member, as it happens. */
export interface Witness {
  /** The table is as of `index`: nothing (0), or a snapshot's. What follows is applied to it. */
  restored(index: number): void
  /** Batches of this life carry this incarnation from now on. */
  incarnation(incarnation: number): void
  applied(index: number, term: number, data: Uint8Array): void
  /** A member was removed by entry `index`: what the table knew of its batches is forgotten. */
  forgot(id: number, index: number): void
  role(role: string, term: number, leader: number): void
  /** Another member has told it that it was removed. */
  dismissed(): void
}

export type Place = {
  /** 1 to N: what people call it. */
  readonly number: number
  /** Which life of the member this is, from 1. */
  readonly life: number
  readonly name: string
  readonly address: string
  /** Who forms the cluster; none for a newcomer, who is told whom to ask. */
  readonly initialMembers: readonly { readonly name: string; readonly address: string }[]
  readonly join: readonly string[] | null
  readonly maxVoters: number
  /** The highest level that the version it runs supports. */
  readonly level: number
  readonly birth: (clusterId: string, level: number) => Birth
  readonly core: Core
  readonly clock: MemberClock
  readonly random: Random
  readonly disk: LogDisk
  readonly store: Store
  readonly control: Control
  readonly producer: ProducerBuffers
  readonly snapshotLogBytes: number
  /** The highest caught-up ID is to lead. */
  readonly preferHighest: boolean
  readonly witness: Witness
  readonly canary: Canary | null
  /** Its Raft ID is known. */
  identified(id: number): void
  note(kind: EventKind, ...numbers: number[]): void
  /** `to`: a member's number. */
  send(to: number, frame: Frame): void
  /** That connection to `to` does not stand, and whoever would send over it knows. */
  isDown(to: number, channel: number): boolean
  /** The connection that `from` has made to this member ends here. */
  breaks(from: number, channel: number): void
  wakeFrontEnd(): void
  /** Something asynchronous goes on now: it is let run before time passes. */
  stir(): void
  /**
   * The process has ended by itself; `bug` false: a disk that takes nothing, and whoever started it tries
   * again.
   */
  ended(error: unknown, bug: boolean): void
  /** The process was told to stop, and has. */
  stopped(): void
}

/** One life of a member. */
export interface Member {
  receive(from: number, frame: Frame): void
  /** What was sent to or by `member` over this connection may not have arrived. */
  broken(member: number, channel: number): void
  /** That connection stands again. */
  connected(member: number, channel: number): void
  /** The process at the other end is gone: its connections ended. */
  left(member: number): void
  /** A request to change who is a member, or who leads. */
  change(request: Request): void
  /** Changes or touches wait in the rings. */
  wake(): void
  /** It is to stop in good order; `stopped` follows. */
  finish(): void
  /** The process is gone: nothing of it may act any more. */
  stop(): void
  /** It takes connections. */
  readonly serving: boolean
  /** Numbers of members and of voters (both sets of a joint configuration), as this one has applied them. */
  readonly others: readonly number[]
  /** Numbers of the voters; both halves of a joint configuration. */
  readonly sets: readonly (readonly number[])[]
  /** A change of the configuration is half done. */
  readonly joint: boolean
  /** All that is in its log is applied: no change of members is under way. */
  readonly level: boolean
  /** Raft has made it the leader; it leads once an entry of its term is applied. */
  readonly elected: boolean
  /** As of the last turn. */
  readonly leads: boolean
  readonly term: number
  readonly applied: number
  /** Batches of its log that are on disk. */
  readonly synced: number
  /** So many batches of that member's log are known to have been synced; -1: another life of it counts. */
  remembered(of: Member): number
  /** What tells this life from all others. */
  readonly nonce: string
}
export type StartMember = (place: Place) => Member
