// What a replica without a cluster may do, and who a replica with one is. Pure: asking others, chance and the disk are
// the shell's.
// Refuses: guessing. A cluster is created once, by one member, and only when nobody can have another one.

/** Kept in the log's identity record: never changes as long as the directory lives. */
export type Identity = {
  readonly version: 1
  /** 32 hexadecimal digits. */
  readonly clusterId: string
  /** Random, 52 bits, never used again. */
  readonly memberId: number
  readonly name: string
  /** The members at the birth; whoever joined later finds its group in the log. */
  readonly initialMembers: readonly Named[]
  /** The birth record of the machine: capacity, keys, settings. Opaque here. */
  readonly birth: unknown
}
export type Named = { readonly name: string; readonly id: number }

/** What a named member said of itself when asked. */
export type Answer =
  | { readonly kind: 'silent' }
  | { readonly kind: 'empty' }
  | { readonly kind: 'member'; readonly clusterId: string }

export type BirthFacts = {
  readonly identity: Identity | null
  readonly name: string
  /** Names of `--initial-members`, this replica's included; empty: alone. */
  readonly initialMembers: readonly string[]
  /** `--join`: only ever join, never create. */
  readonly joinOnly: boolean
  /** By name, of every other member that was asked. */
  readonly answers: ReadonlyMap<string, Answer>
}

export type BirthStep =
  | { readonly kind: 'resume'; readonly identity: Identity }
  | { readonly kind: 'create'; readonly members: readonly string[] }
  | { readonly kind: 'join'; readonly clusterId: string; readonly through: string }
  | { readonly kind: 'wait'; readonly reason: string }
  | { readonly kind: 'refuse'; readonly reason: string }

/** The next step of a start. `wait`: ask again soon. */
export const birthStep = (facts: BirthFacts): BirthStep => {
  const { identity, name, initialMembers, answers } = facts
  if (identity !== null) {
    if (identity.name !== name)
      return refuse(
        `this data directory belongs to "${identity.name}", not to "${name}": start with --name ${identity.name}, ` +
          'or with an empty directory',
      )
    return { kind: 'resume', identity }
  }
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
  if (facts.joinOnly) return wait('no member of a cluster answers yet')
  const others = initialMembers.filter((n) => n !== name)
  const silent = others.filter((n) => (answers.get(n)?.kind ?? 'silent') === 'silent')
  if (silent.length > 0)
    return wait(`a new cluster needs every initial member; no answer from ${silent.join(', ')}`)
  const lowest = [...initialMembers, name].sort()[0]!
  if (lowest !== name) return wait(`"${lowest}" will create the cluster`)
  return { kind: 'create', members: initialMembers.length === 0 ? [name] : [...initialMembers].sort() }
}

/** Two words of randomness -> a member ID: 1 to 2^52 - 1. */
export const memberIdOf = (high: number, low: number): number => {
  const id = ((high >>> 0) % 2 ** 20) * 2 ** 32 + (low >>> 0)
  return id === 0 ? 1 : id
}

export const encodeIdentity = (identity: Identity): Uint8Array => Buffer.from(JSON.stringify(identity))

export const decodeIdentity = (bytes: Uint8Array): Identity => {
  const identity = JSON.parse(Buffer.from(bytes).toString()) as Identity
  if (identity.version !== 1)
    throw new Error(`this data directory was written by a newer version (identity ${identity.version})`)
  return identity
}

const refuse = (reason: string): BirthStep => ({ kind: 'refuse', reason })
const wait = (reason: string): BirthStep => ({ kind: 'wait', reason })
