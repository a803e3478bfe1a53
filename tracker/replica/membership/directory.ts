// Who is who: name and address of every member and the names of those that were removed, replicated with the
// log. Each configuration change carries in its context what the directory needs; a snapshot carries the
// whole (members-machine.ts). Refuses: to say who votes; that is Raft's own record, and the directory follows
// it.

import type { ConfState, Entry } from '@skep/raft'
import { confChangeOf } from '@skep/raft/message.ts'
import type { Refusal } from '../transport/frame-body.ts'
import type { Address, Peer } from '../transport/transport.ts'

export type Member = {
  readonly id: number
  readonly name: string
  /** `host:port` of its replica port; '' when it has none (a replica that has always been alone). */
  readonly address: string
  /** Wanted as a learner: never promoted by itself. */
  readonly learner?: boolean
}

/** A member that was removed. Its ID is never used again. */
export type Removed = {
  readonly id: number
  readonly name: string
  /** Index of the entry that removed it; 0: not known. */
  readonly index: number
}

export type Directory = {
  /** By ID. */
  readonly members: readonly Member[]
  /** Oldest first. */
  readonly removed: readonly Removed[]
}

/** Removed members remembered: they are told so when they come back. Older ones are just unknown. */
const MAX_REMOVED = 256
/** Members at once, learners included. */
export const MAX_MEMBERS = 32

export const NOBODY: Directory = { members: [], removed: [] }

export const directoryOf = (members: readonly Member[]): Directory => ({
  members: byId(members),
  removed: [],
})

/** Voters, learners, and who is on the way out of a joint configuration. */
export const idsOf = (c: ConfState): number[] => [
  ...new Set([...c.voters, ...c.learners, ...c.votersOutgoing, ...c.learnersNext]),
]

/**
 * The context of a configuration change: what is to be known of members that come or whose record changes.
 */
export const encodeContext = (members: readonly Member[]): Uint8Array =>
  new TextEncoder().encode(JSON.stringify({ version: 1, members }))

/** Members named by a context; none when it has none (say, the entry that leaves a joint configuration). */
const decodeContext = (context: Uint8Array): readonly Member[] => {
  if (context.length === 0) return []
  try {
    const value = JSON.parse(new TextDecoder().decode(context)) as { members?: unknown }
    return Array.isArray(value.members) ? value.members.flatMap(memberOf) : []
  } catch {
    // Committed is committed: every member must come to the same end, so none may stop here.
    return []
  }
}

const memberOf = (value: unknown): Member[] => {
  const { id, name, address, learner } = (value ?? {}) as Record<string, unknown>
  if (!Number.isSafeInteger(id) || typeof name !== 'string' || typeof address !== 'string') return []
  return [{ id: id as number, name, address, ...(learner === true ? { learner } : {}) }]
}

/**
 * The directory after a configuration took effect: of an applied entry, or of a restored snapshot (null). Who
 * is no member any more is among the removed. Deterministic: every member computes the same from the same
 * log.
 */
export const configured = (before: Directory, confState: ConfState, entry: Entry | null): Directory => {
  const change = entry === null ? null : confChangeOf(entry)
  const said = new Map(decodeContext(change?.context ?? new Uint8Array()).map((m) => [m.id, m]))
  const known = new Map(before.members.map((m) => [m.id, m]))
  const ids = new Set(idsOf(confState))
  const members = [...ids].map((id) => said.get(id) ?? known.get(id) ?? { id, name: '', address: '' })
  const gone = before.members.filter((m) => !ids.has(m.id))
  const removed = [...before.removed, ...gone.map(({ id, name }) => ({ id, name, index: entry?.index ?? 0 }))]
  return { members: byId(members), removed: removed.slice(-MAX_REMOVED) }
}

const byId = (members: readonly Member[]): Member[] => [...members].sort((a, b) => a.id - b.id)

/** `r1`; `r1 (member 17)` where two have the name; `member 17` for one without. */
export const nameOf = (directory: Directory, id: number): string => {
  const name = [...directory.members, ...directory.removed].find((m) => m.id === id)?.name ?? ''
  if (name === '') return `member ${id}`
  const same = directory.members.filter((m) => m.name === name).length
  return same > 1 ? `${name} (member ${id})` : name
}

/** `host:port`, `[v6]:port`; null when it is neither. */
export const addressOf = (text: string): Address | null => {
  const found = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(text)
  const port = Number(found?.[3])
  if (found === null || port < 1 || port > 65535) return null
  return { host: (found[1] ?? found[2])!, port }
}

/** Whom a replica dials: every other member with an address. For `ClusterTransport.setPeers`. */
export const peersOf = (directory: Directory, self: number): Peer[] =>
  directory.members.flatMap(({ id, name, address }) => {
    const at = addressOf(address)
    return id === self || at === null ? [] : [{ id, name, address: at }]
  })

export type Standing = 'voter' | 'learner' | 'removed' | 'unknown'

/** What a member is now. A voter of either half of a joint configuration counts as one. */
export const standingOf = (directory: Directory, confState: ConfState, id: number): Standing => {
  if (confState.voters.includes(id) || confState.votersOutgoing.includes(id)) return 'voter'
  if (confState.learners.includes(id) || confState.learnersNext.includes(id)) return 'learner'
  return directory.removed.some((m) => m.id === id) ? 'removed' : 'unknown'
}

/** What a removed member tells its admin. */
export const REMOVED_SENTENCE =
  'this replica was removed from its cluster, so it neither votes nor serves. To let it in again, stop it, delete its ' +
  'data directory and start it with --join: it comes back as a new member.'

/**
 * Whether a member that dials may come in; for `Receiver.admit`. `applied` 0: a newcomer knows nobody yet and
 * takes whoever has the network key and the cluster's ID; so does a member that lags, of those who say where
 * to answer them (visitors.ts).
 */
export const admission = (
  directory: Directory,
  confState: ConfState,
  applied: number,
  hello: { readonly from: number; readonly name: string; readonly address?: string },
): Refusal | null => {
  if (applied === 0) return null
  const standing = standingOf(directory, confState, hello.from)
  if (standing === 'voter' || standing === 'learner') return null
  const who = `"${hello.name}" (member ${hello.from})`
  const removed = directory.removed.find((m) => m.id === hello.from)
  if (removed !== undefined)
    return {
      code: 'removed member',
      sentence:
        `${who} was removed from this cluster by entry ${removed.index}, and an ID is never used again. To let it in as ` +
        'a new member, stop it, delete its data directory and start it with --join.',
    }
  // It came while this member was away, and may lead now: who refused it would never hear what it has missed.
  if (addressOf(hello.address ?? '') !== null) return null
  return {
    code: 'unknown member',
    sentence: `${who} is not in the configuration as of entry ${applied}: it has not been added yet, or this member lags`,
  }
}
