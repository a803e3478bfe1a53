// The access lists and settings of a cluster over a replica's control API.
// Refuses: decisions; and half a list: it is replaced whole, if it is still the one that was seen.

import { AccessList, AccessOperation, AllowPrivate } from '@skep/wire/proto/gen/skep/cluster/v1/cluster_pb.js'
import type { ControlClients } from './members.ts'
import type { MemberAddress } from './model/ports.ts'
import type { TorrentPolicy, TrackerClusterSpec } from './model/types.ts'

type List = TorrentPolicy['spec']['list']
export type AccessSeen = {
  readonly active: boolean
  readonly revision: number
  /** 40 hexadecimal digits each, sorted. */
  readonly hashes: readonly string[]
}

export type Lists = {
  read(at: MemberAddress, list: List): Promise<AccessSeen>
  /** Returns the new revision. Rejects when the list has another revision by now. */
  replace(at: MemberAddress, list: List, hashes: readonly string[], revision: number): Promise<number>
  off(at: MemberAddress, list: List): Promise<void>
  allowPrivate(at: MemberAddress): Promise<TrackerClusterSpec['allowPrivate']>
  setAllowPrivate(at: MemberAddress, wanted: NonNullable<TrackerClusterSpec['allowPrivate']>): Promise<void>
}

const LISTS = { Allow: AccessList.ALLOW, Deny: AccessList.DENY } as const
const PRIVATE = { auto: AllowPrivate.AUTO, on: AllowPrivate.ON, off: AllowPrivate.OFF } as const
const TIMEOUT_MS = 10_000

export const liveLists = (clients: ControlClients): Lists => {
  const timeoutMs = TIMEOUT_MS
  return {
    async read(at, list) {
      const { active, revision, infoHashes } = await clients(at).getAccess(
        { list: LISTS[list] },
        { timeoutMs },
      )
      return { active, revision, hashes: infoHashes.map((h) => Buffer.from(h).toString('hex')).sort() }
    },
    async replace(at, list, hashes, expectedRevision) {
      const done = await clients(at).changeAccess(
        {
          list: LISTS[list],
          operation: AccessOperation.REPLACE,
          infoHashes: hashes.map((h) => new Uint8Array(Buffer.from(h, 'hex'))),
          expectedRevision,
        },
        { timeoutMs },
      )
      return done.revision
    },
    async off(at, list) {
      await clients(at).changeAccess({ list: LISTS[list], operation: AccessOperation.OFF }, { timeoutMs })
    },
    async allowPrivate(at) {
      const { settings } = await clients(at).getSettings({}, { timeoutMs })
      const found = Object.entries(PRIVATE).find(([, value]) => value === settings?.allowPrivate)
      return found?.[0] as TrackerClusterSpec['allowPrivate']
    },
    async setAllowPrivate(at, wanted) {
      await clients(at).changeSettings({ allowPrivate: PRIVATE[wanted] }, { timeoutMs })
    },
  }
}
