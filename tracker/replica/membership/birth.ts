// What a replica without a cluster may do, and who a replica with one is. Pure: asking others, chance and the
// disk are the shell's (birth-flow.ts). Refuses: guessing. A cluster is created once, by one member, and only
// when nobody can have another one.
//
// How a cluster of several comes to be, so that a crash at any step is harmless:
//   1. The lowest name finds all initial members there and empty. It writes the record of the cluster (IDs of all,
//      settings, keys) to its own disk first, as *forming*, then hands it to the others, who write it as *forming* too.
//   2. Only when all have it does it start: it drops the mark, begins its log and says so. The others hear that, start too.
// Nobody votes before it has started, and nobody starts before all have written their ID down. So whoever
// comes back empty before a start may be given its ID again; after it, it joins as a new member, under a new
// ID.

import type { Member } from './directory.ts'
import { MOST_VOTERS, oddUpTo } from './view.ts'

/** Kept in the log's identity record: never changes as long as the directory lives, but for its phase. */
export type Identity = {
  /**
   * The level of the cluster as far as this replica has seen it, so that a version that does not know its
   * rules refuses the folder.
   */
  readonly version: number
  /** 32 hexadecimal digits. */
  readonly clusterId: string
  /** Random, 52 bits, never used again. */
  readonly memberId: number
  readonly name: string
  /** The members at the birth; empty for whoever joined later and finds its group in the log. */
  readonly initialMembers: readonly Named[]
  /** The birth record of the machine: capacity, keys, settings. Opaque here. */
  readonly birth: unknown
  /**
   * forming: not every initial member has the record yet; joining: not added yet; restoring: a snapshot file
   * is being written in. Absent: a member, it may start.
   */
  readonly phase?: 'forming' | 'joining' | 'restoring'
  /** The members as a newcomer was told: whom it dials until it has their directory. */
  readonly known?: readonly Member[]
}
export type Named = {
  readonly name: string
  readonly id: number
  /** `host:port` of its replica port; none for a replica alone. */
  readonly address?: string
  /** Does not vote at first: an even number of members leaves one out. */
  readonly learner?: boolean
}

/** What a named member said of itself when asked. */
export type Answer =
  | { readonly kind: 'silent'; readonly reason?: string }
  | { readonly kind: 'wrong key' }
  /** `initialMembers`: as it was started with. */
  | {
      readonly kind: 'empty'
      readonly name?: string
      readonly initialMembers?: readonly string[]
      readonly level?: number
    }
  | {
      readonly kind: 'forming'
      readonly clusterId: string
      readonly name?: string
      readonly initialMembers?: readonly string[]
    }
  | { readonly kind: 'member'; readonly clusterId: string; readonly name?: string }

export type BirthFacts = {
  readonly identity: Identity | null
  readonly name: string
  /** Names of `--initial-members`, this replica's included; empty: alone. */
  readonly initialMembers: readonly string[]
  /** `--join`: only ever join, never create. */
  readonly joinOnly: boolean
  /** The highest level that this replica supports. */
  readonly level: number
  /** By name (or address, with `--join`), of every other member that was asked. */
  readonly answers: ReadonlyMap<string, Answer>
}

export type BirthStep =
  | { readonly kind: 'resume'; readonly identity: Identity }
  /** `level`: all initial members support it. */
  | { readonly kind: 'create'; readonly members: readonly string[]; readonly level: number }
  /** Hand the record to these; `reason`: what else is awaited. */
  | { readonly kind: 'pledge'; readonly to: readonly string[]; readonly reason: string }
  /** All have the record: the phase ends. */
  | { readonly kind: 'start'; readonly identity: Identity }
  | { readonly kind: 'join'; readonly clusterId: string; readonly through: string }
  /** Written down who it will be: asks to be added. */
  | { readonly kind: 'ask'; readonly identity: Identity }
  | { readonly kind: 'wait'; readonly reason: string }
  | { readonly kind: 'refuse'; readonly reason: string }

/** The next step of a start. `wait`: ask again soon. */
export const birthStep = (facts: BirthFacts): BirthStep => {
  const { identity, name, initialMembers, answers } = facts
  if (identity !== null) return known(facts, identity)
  if (initialMembers.length > 0 && !initialMembers.includes(name))
    return refuse(`--initial-members does not name this replica ("${name}")`)
  const clusters = [...answers].flatMap(([who, a]) => (a.kind === 'member' ? [{ who, id: a.clusterId }] : []))
  const first = clusters[0]
  if (first !== undefined) {
    const other = clusters.find((c) => c.id !== first.id)
    if (other !== undefined)
      return refuse(
        `"${first.who}" belongs to cluster ${first.id}, "${other.who}" to ${other.id}: name members of one cluster`,
      )
    return { kind: 'join', clusterId: first.id, through: first.who }
  }
  const wrongKey = [...answers].filter(([, a]) => a.kind === 'wrong key').map(([who]) => `"${who}"`)
  if (wrongKey.length > 0)
    return wait(
      `${wrongKey.join(', ')}: another network key. The same --network-key-file is needed everywhere`,
    )
  if (facts.joinOnly) return wait('no member of a cluster answers yet')
  return create(facts)
}

const create = ({ name, initialMembers, level: own, answers }: BirthFacts): BirthStep => {
  const others = initialMembers.filter((n) => n !== name)
  const silent = others.filter((n) => (answers.get(n)?.kind ?? 'silent') === 'silent')
  if (silent.length > 0)
    return wait(`a new cluster needs every initial member; no answer from ${silent.join(', ')}`)
  const fault = others.map((n) => disagreement(n, initialMembers, answers.get(n))).find((f) => f !== null)
  if (fault !== undefined) return wait(fault)
  const lowest = [...initialMembers, name].sort()[0]!
  // Also when others have a record already that this replica wrote and lost: nobody has started with that
  // one.
  if (lowest !== name) return wait(`"${lowest}" will create the cluster`)
  const members = initialMembers.length === 0 ? [name] : [...initialMembers].sort()
  const level = Math.min(own, ...others.map((n) => levelOf(answers.get(n))))
  return { kind: 'create', members, level }
}

/** The first version did not say. */
const levelOf = (a: Answer | undefined): number => (a?.kind === 'empty' ? (a.level ?? 1) : 1)

/** Two lists could make two clusters. */
const disagreement = (who: string, mine: readonly string[], a: Answer | undefined): string | null => {
  if (a === undefined || (a.kind !== 'empty' && a.kind !== 'forming')) return null
  if (a.name !== undefined && a.name !== who)
    return `at the address of "${who}" answers "${a.name}": correct --initial-members or --name`
  if (a.initialMembers === undefined) return null
  const theirs = [...a.initialMembers].sort().join(', ')
  if (theirs === [...mine].sort().join(', ')) return null
  return (
    `"${who}" was started with other --initial-members (${theirs || 'none'}) than this replica ` +
    `(${[...mine].sort().join(', ')}): all of them have to name the same`
  )
}

const known = (facts: BirthFacts, identity: Identity): BirthStep => {
  const { name, answers } = facts
  if (identity.name !== name)
    return refuse(
      `this data directory belongs to "${identity.name}", not to "${name}": start with --name ${identity.name}, ` +
        'or with an empty directory',
    )
  if (identity.phase === undefined) return { kind: 'resume', identity }
  if (identity.phase === 'joining') return { kind: 'ask', identity }
  if (identity.phase === 'restoring')
    return refuse(
      'a snapshot was being restored here and was not done: run skep ctl snapshot restore again, or delete this data directory',
    )
  const others = identity.initialMembers.map((m) => m.name).filter((n) => n !== name)
  const started = others.flatMap((n) => {
    const a = answers.get(n)
    return a?.kind === 'member' ? [{ n, clusterId: a.clusterId }] : []
  })
  const foreign = started.find((s) => s.clusterId !== identity.clusterId)
  if (foreign !== undefined)
    return refuse(
      `"${foreign.n}" belongs to cluster ${foreign.clusterId}, this replica was to form ${identity.clusterId} with it and ` +
        'never did: delete this data directory and start again, then it joins the other',
    )
  if (started.length > 0) return start(identity)
  const creator = creatorOf(identity)
  if (creator !== name)
    return wait(`"${creator}" starts the cluster once every initial member has its record`)
  const lacking = others.filter((n) => {
    const a = answers.get(n)
    return !(a?.kind === 'forming' && a.clusterId === identity.clusterId)
  })
  if (lacking.length === 0) return start(identity)
  const to = lacking.filter((n) => ['empty', 'forming'].includes(answers.get(n)?.kind ?? ''))
  const away = lacking.filter((n) => !to.includes(n))
  const reason = `every initial member needs the record of the new cluster; no answer from ${away.join(', ')}`
  return { kind: 'pledge', to, reason: away.length === 0 ? '' : reason }
}

const start = ({ phase, ...identity }: Identity): BirthStep => ({ kind: 'start', identity })

/** Who hands out the record: the lowest name. */
const creatorOf = (identity: Pick<Identity, 'initialMembers'>): string =>
  identity.initialMembers.map((m) => m.name).sort()[0] ?? ''

/** The record of a cluster that is being formed, on its way to an initial member. */
export type Pledge = Pick<Identity, 'clusterId' | 'initialMembers' | 'birth'> & {
  /** Of the new cluster; the first version did not say. */
  readonly level?: number
}

/** What an initial member does with a record it is handed: its identity from now on, or why not. */
export const takePledge = (facts: Omit<BirthFacts, 'answers' | 'level'>, p: Pledge): Identity | string => {
  const { identity, name, initialMembers, joinOnly } = facts
  const me = p.initialMembers.find((m) => m.name === name)
  if (me === undefined)
    return `"${name}" is not among the members of the cluster that "${creatorOf(p)}" forms`
  if (identity !== null && identity.clusterId === p.clusterId) return identity
  if (identity !== null && identity.phase !== 'forming')
    return `"${name}" belongs to cluster ${identity.clusterId} already`
  // Its creator may have lost its disk before anybody started, and begun again. Nobody else may.
  if (identity !== null && creatorOf(identity) !== creatorOf(p))
    return `"${name}" has the record of another new cluster, made by "${creatorOf(identity)}": all replicas have to name the same --initial-members`
  if (joinOnly) return `"${name}" was started with --join: it forms no new cluster`
  const theirs = p.initialMembers.map((m) => m.name).sort()
  if (theirs.join() !== [...initialMembers].sort().join())
    return `"${name}" was started with other --initial-members (${initialMembers.join(', ')}) than "${creatorOf(p)}" (${theirs.join(', ')})`
  const { clusterId, birth } = p
  return {
    version: p.level ?? 1,
    clusterId,
    memberId: me.id,
    name,
    initialMembers: p.initialMembers,
    birth,
    phase: 'forming',
  }
}

/** The members of a new cluster: the first names vote, as many as are odd; the others learn. */
export const namedMembers = (
  names: readonly string[],
  addressOf: (name: string) => string | undefined,
  idOf: () => number,
): Named[] => {
  const voters = oddUpTo(Math.min(names.length, MOST_VOTERS))
  return [...names].sort().map((name, i) => {
    const address = addressOf(name)
    return {
      name,
      id: idOf(),
      ...(address === undefined ? {} : { address }),
      ...(i < voters ? {} : { learner: true }),
    }
  })
}

/** Two words of randomness -> a member ID: 1 to 2^52 - 1. */
export const memberIdOf = (high: number, low: number): number => {
  const id = ((high >>> 0) % 2 ** 20) * 2 ** 32 + (low >>> 0)
  return id === 0 ? 1 : id
}

/** The folder belongs to a cluster whose rules this program does not know. */
export class IdentityTooNew extends Error {
  override readonly name = 'IdentityTooNew'
}

export const encodeIdentity = (identity: Identity): Uint8Array => Buffer.from(JSON.stringify(identity))

/** `level`: the highest that this program supports. */
export const decodeIdentity = (bytes: Uint8Array, level: number): Identity => {
  const identity = JSON.parse(Buffer.from(bytes).toString()) as Identity
  if (!(identity.version >= 1 && identity.version <= level))
    throw new IdentityTooNew(
      `the cluster of this data directory works at level ${identity.version}, and this version knows levels up to ` +
        `${level}: install a version at least as new as that of the other replicas`,
    )
  return identity
}

const refuse = (reason: string): BirthStep => ({ kind: 'refuse', reason })
const wait = (reason: string): BirthStep => ({ kind: 'wait', reason })
