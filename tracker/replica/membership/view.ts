// What a decision about members sees, and the arithmetic of it: who is alive, who has caught up, what a
// configuration would bear. Pure. Refuses: to decide; requests.ts (on request) and plan.ts (by itself) do.

import type { ConfChange, ConfChangeStep, ConfState, Progress } from '@skep/raft'
import type { Member as Served } from '../member.ts'
import { type Directory, encodeContext, type Member, nameOf } from './directory.ts'

/** Everything the leader knows when it is asked. On others only `self`, `leader` and `directory` count. */
export type View = {
  readonly self: number
  readonly leads: boolean
  /** 0: none known. */
  readonly leader: number
  readonly confState: ConfState
  readonly directory: Directory
  readonly lastIndex: number
  /** `Replica.progress()`: the members as Raft's leader sees them. */
  readonly progress: readonly Progress[]
  /** Since anything of a member was heard, milliseconds; absent: nothing yet. */
  readonly heardMsAgo: ReadonlyMap<number, number>
  /** Keepalive x missed: silent for longer is dead. */
  readonly deadAfterMs: number
  /**
   * Most voters that learners are promoted to by themselves; more is refused in any case above MOST_VOTERS.
   */
  readonly maxVoters: number
  /** False: only on request (say, an operator decides). */
  readonly promotes: boolean
  /** Members that say they are elsewhere than the directory has them. */
  readonly moved?: readonly { readonly id: number; readonly address: string }[]
  /** host:port of a member's control API; '': not known. */
  readonly controlOf?: (id: number) => string
}

/** The part of it that comes from the member itself. */
export const seenBy = (
  { replica, peers }: Pick<Served<unknown>, 'replica' | 'peers'>,
  directory: Directory,
  nowMs: number,
): Pick<View, 'leads' | 'leader' | 'confState' | 'directory' | 'lastIndex' | 'progress' | 'heardMsAgo'> => {
  const heardMsAgo = new Map<number, number>()
  for (const { id } of directory.members) {
    const news = peers.of(id)
    if (news !== null) heardMsAgo.set(id, nowMs - news.heardMs)
  }
  return {
    ...{ directory, heardMsAgo, leads: replica.leads, confState: replica.confState },
    ...{ leader: replica.status.leader, lastIndex: replica.status.lastIndex, progress: replica.progress() },
  }
}

/** Votes only cost latency: seven voters bear the loss of three. */
export const MOST_VOTERS = 7
/** A learner has caught up when it lacks at most this many entries: it has them within an instant. */
export const CAUGHT_UP_ENTRIES = 256

/** What comes of a request, or of a look at how things stand. */
export type Step =
  | {
      readonly kind: 'change'
      readonly change: ConfChange
      /** Told when it is committed. */
      readonly sentence: string
    }
  /** Leadership has to move first; then ask again, there. */
  | { readonly kind: 'transfer'; readonly to: number; readonly sentence: string }
  /** It is so already. */
  | { readonly kind: 'done'; readonly sentence: string }
  /** Not now; the same request may be fine soon. */
  | { readonly kind: 'wait'; readonly sentence: string }
  /** `final`: asking again changes nothing. */
  | { readonly kind: 'refused'; readonly sentence: string; readonly final?: boolean }

export const refuse = (sentence: string): Step => ({ kind: 'refused', sentence })
export const refuseForGood = (sentence: string): Step => ({ kind: 'refused', sentence, final: true })
export const wait = (sentence: string): Step => ({ kind: 'wait', sentence })
export const done = (sentence: string): Step => ({ kind: 'done', sentence })

/** A step that changes nobody's vote: the entry is for its context, which has the directory follow. */
export const moves = (v: View, known: Member, address: string): Step => {
  const type = isVoter(v, known.id) ? 'add-voter' : 'add-learner'
  const context = encodeContext([{ ...known, address }])
  return {
    kind: 'change',
    change: { steps: [{ type, id: known.id }], transition: 'auto', context },
    sentence: `${known.name} is at ${address} now (was ${known.address || 'nowhere'})`,
  }
}

export const joint = (c: ConfState): boolean => c.votersOutgoing.length > 0

export const isVoter = (v: View, id: number): boolean => v.confState.voters.includes(id)
export const isLearner = (v: View, id: number): boolean => v.confState.learners.includes(id)

/** Answers keepalives: this one does, as long as it leads. */
export const alive = (v: View, id: number): boolean =>
  id === v.self || (v.heardMsAgo.get(id) ?? Number.POSITIVE_INFINITY) <= v.deadAfterMs

/** Entries it lacks; null: nobody knows yet. */
const lagOf = (v: View, id: number): number | null => {
  if (id === v.self) return 0
  const p = v.progress.find((x) => x.id === id)
  return p === undefined || p.match === 0 ? null : Math.max(0, v.lastIndex - p.match)
}

export const caughtUp = (v: View, id: number): boolean =>
  alive(v, id) && (lagOf(v, id) ?? Number.POSITIVE_INFINITY) <= CAUGHT_UP_ENTRIES

/** How far it is, for people. */
export const lagText = (v: View, id: number): string => {
  if (!alive(v, id)) return `${nameOf(v.directory, id)} does not answer (${silenceText(v, id)})`
  const lag = lagOf(v, id)
  return `${nameOf(v.directory, id)} ${lag === null ? 'is still being sent the state' : `lacks ${lag} ${lag === 1 ? 'entry' : 'entries'}`}`
}

export const silenceText = (v: View, id: number): string => {
  const ms = v.heardMsAgo.get(id)
  return ms === undefined ? 'never heard of since this leader took over' : `silent for ${seconds(ms)}`
}

export const seconds = (ms: number): string =>
  ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 1000)} s`

export const names = (v: View, ids: readonly number[]): string =>
  ids.map((id) => nameOf(v.directory, id)).join(', ')

export const byName = (v: View, ids: readonly number[]): number[] =>
  [...ids].sort((a, b) => {
    const [x, y] = [nameOf(v.directory, a), nameOf(v.directory, b)]
    return x < y ? -1 : x > y ? 1 : a - b
  })

export const memberOf = (v: View, id: number): Member =>
  v.directory.members.find((m) => m.id === id) ?? { id, name: '', address: '' }

/** The member that a name or a number means; a sentence when it means none or several. */
export const find = (v: View, text: string): number | string => {
  const named = v.directory.members.filter((m) => m.name === text)
  if (named.length === 1) return named[0]!.id
  if (named.length > 1)
    return `${named.length} members are called ${text} (${named.map((m) => m.id).join(', ')}): name one by its number`
  const numbered = v.directory.members.find((m) => String(m.id) === text)
  if (numbered !== undefined) return numbered.id
  const gone = v.directory.removed.find((m) => m.name === text || String(m.id) === text)
  if (gone !== undefined) return `${text} was removed already`
  return `there is no member ${text}; members are ${names(
    v,
    byName(
      v,
      v.directory.members.map((m) => m.id),
    ),
  )}`
}

export const majority = (voters: number): number => Math.floor(voters / 2) + 1

/** Why no configuration is to rest on an even number. */
export const evenText = (voters: number): string =>
  `${voters} voters bear no more losses than ${voters - 1}, and a tie among them decides nothing`

/** Null, or why a configuration of these voters would have no quorum. */
export const quorumFault = (v: View, voters: readonly number[]): string | null => {
  const dead = voters.filter((id) => !alive(v, id))
  const live = voters.length - dead.length
  const need = majority(voters.length)
  if (live >= need) return null
  return (
    `${live} of ${voters.length} voters would be alive, and it takes ${need} to go on: ` +
    `start ${names(v, byName(v, dead))} again first, or start a new replica under the same name`
  )
}

/**
 * The change that leads to these voters and learners, in one step or a joint one. A joint configuration is
 * left by a leader that stays (plan.ts): one that goes could die as the only one who knows that it was left,
 * with entries that keep those who stay from being elected.
 */
export const changeTo = (
  v: View,
  voters: readonly number[],
  learners: readonly number[],
  told: readonly Member[] = [],
): ConfChange => {
  const steps: ConfChangeStep[] = []
  for (const id of voters) if (!isVoter(v, id)) steps.push({ type: 'add-voter', id })
  for (const id of learners) if (!isLearner(v, id)) steps.push({ type: 'add-learner', id })
  for (const id of [...v.confState.voters, ...v.confState.learners])
    if (!voters.includes(id) && !learners.includes(id)) steps.push({ type: 'remove', id })
  const context = told.length === 0 ? new Uint8Array() : encodeContext(told)
  return { steps, transition: steps.length > 1 ? 'joint-explicit' : 'auto', context }
}

/** Who could lead: a voter (of `among`) that is alive and has caught up; the highest ID of them. */
export const bestLeader = (v: View, among: readonly number[]): number | null =>
  among.filter((id) => id !== v.self && isVoter(v, id) && caughtUp(v, id)).sort((a, b) => b - a)[0] ?? null

/** Learners that may be promoted without being asked for, by name. */
export const promotable = (v: View): number[] =>
  byName(
    v,
    v.confState.learners.filter((id) => {
      const m = memberOf(v, id)
      const twin = v.directory.members.some((o) => o.id !== id && o.name === m.name && m.name !== '')
      return m.learner !== true && !twin && caughtUp(v, id)
    }),
  )

/** The largest odd number up to `n`, at least 1. */
export const oddUpTo = (n: number): number => Math.max(1, n % 2 === 1 ? n : n - 1)
