// What a simulated cluster is made from, and a place in it: disk, clock, and the process that lives there
// now.

import type { Core } from '@skep/raft'
import type { MemberClock } from '@skep/testing/clock.ts'
import type { DiskPace, VirtualDisk } from '@skep/testing/disk.ts'
import type { FrontEnd } from './front-end.ts'
import type { Canary, Member, StartMember } from './place.ts'

export type ClusterOptions = {
  readonly seed: number
  readonly members: number
  readonly clients: number
  readonly swarms: number
  readonly pauseMs: number
  /** Silent peers expire within the run. */
  readonly expires: boolean
  readonly snapshotLogBytes: number
  readonly preferHighest: boolean
  readonly maxVoters: number
  /** It is formed by an older version, and upgraded on the way. */
  readonly upgrades: boolean
  readonly pace: DiskPace
  /** Clocks run up to this much fast or slow, a share. */
  readonly drift: number
  readonly canary: Canary | null
  readonly start: StartMember
  readonly core: Core
  readonly print: ((line: string) => void) | null
}

export type Seat = {
  readonly number: number
  readonly name: string
  /** Asks to be let in; does not form the cluster. */
  readonly joins: boolean
  clock: MemberClock
  disk: VirtualDisk
  /** From then on it runs a version that supports the newest level. */
  readonly upgradedMs: number
  member: Member | null
  frontEnd: FrontEnd | null
  life: number
  /** Its disk is gone, so it never comes back under this ID. */
  lost: boolean
  /** It was told to stop, and has not yet. */
  ending: boolean
  /** Its disk is a copy: of an older self, or of another seat's. It must be turned away. */
  copied: boolean
  /** Whose copy was started here, beside the original; 0: nobody's. */
  copyOf: number
  /** Arrived while the process stood still. */
  waiting: (() => void)[]
}
