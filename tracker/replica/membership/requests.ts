// Requests to change who is a member: what the next configuration change is, or why there is none. Pure; the
// leader's shell (desk.ts) proposes what comes out, one change at a time. Refuses, each with a sentence that
// says what happened and what to do: whatever would rest on an even number of voters, leave no quorum of live
// ones, use an ID twice, or take a member out before its successor is in.
//
// What is allowed on the way. A newcomer is a learner first, whoever it is. Voters change by odd numbers
// only: two are promoted or demoted at once, or one for another, as one joint change in which both the old
// and the new majority must agree, so three become five through {3 and 5}, never through four.

import { addressOf, MAX_MEMBERS, type Member, nameOf } from './directory.ts'
import {
  alive,
  bestLeader,
  byName,
  caughtUp,
  changeTo,
  done,
  evenText,
  find,
  isLearner,
  isVoter,
  joint,
  lagText,
  MOST_VOTERS,
  memberOf,
  moves,
  names,
  promotable,
  quorumFault,
  refuse,
  refuseForGood,
  type Step,
  silenceText,
  type View,
  wait,
} from './view.ts'

export type Request =
  /** A replica wants to become a member. `learner`: for ever. */
  | {
      readonly kind: 'add'
      readonly id: number
      readonly name: string
      readonly address: string
      readonly learner?: boolean
    }
  | { readonly kind: 'promote'; readonly who: readonly string[] }
  | { readonly kind: 'demote'; readonly who: readonly string[] }
  | { readonly kind: 'remove'; readonly who: string }
  /** '' : whoever is best. */
  | { readonly kind: 'transfer'; readonly to: string }

/** What to do about a request, now. */
export const decide = (v: View, request: Request): Step => {
  if (!v.leads) return refuse(notLeading(v))
  if (joint(v.confState))
    return wait(
      'members are being changed already: a joint change is not through yet, so ask again in a moment',
    )
  const stuck = quorumFault(v, v.confState.voters)
  if (stuck !== null) return refuse(`no change of members can be agreed on: ${stuck}`)
  if (request.kind === 'add') return add(v, request)
  if (request.kind === 'transfer') return transfer(v, request.to)
  const ids: number[] = []
  for (const text of request.kind === 'remove' ? [request.who] : request.who) {
    const id = find(v, text)
    if (typeof id === 'string') {
      // Asked again, perhaps by somebody who did not hear the first answer.
      const gone = v.directory.removed.some((m) => m.name === text || String(m.id) === text)
      return request.kind === 'remove' && gone ? done(id) : refuse(id)
    }
    if (!ids.includes(id)) ids.push(id)
  }
  if (request.kind === 'promote') return promote(v, ids)
  if (request.kind === 'demote') return demote(v, ids)
  return remove(v, ids[0]!)
}

export const notLeading = (v: View): string =>
  askTheLeader(v.leader === 0 ? '' : nameOf(v.directory, v.leader), v.controlOf?.(v.leader) ?? '')

/**
 * What somebody is told who asks a replica that does not lead. `leader`: its name, '' while there is none.
 */
export const askTheLeader = (leader: string, control: string): string => {
  if (leader === '') return 'nobody leads the cluster at the moment: ask again once a leader is elected'
  const where = control === '' ? 'through its own control API' : `through its control API at ${control}`
  return `this replica does not lead: ask ${leader} ${where}`
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/

const add = (v: View, r: Extract<Request, { kind: 'add' }>): Step => {
  if (!NAME.test(r.name))
    return refuseForGood(`"${r.name}" is no name: letters, digits, dots, dashes and underscores, at most 63`)
  if (addressOf(r.address) === null)
    return refuseForGood(
      `"${r.address}" is no address: host:port of the replica port is needed, which the others can reach`,
    )
  const gone = v.directory.removed.find((m) => m.id === r.id)
  if (gone !== undefined)
    return refuseForGood(
      `member ${r.id} ("${gone.name}") was removed by entry ${gone.index}, and an ID is never used again: delete the data ` +
        'directory of that replica and start it with --join, then it comes back as a new member',
    )
  const member: Member = {
    id: r.id,
    name: r.name,
    address: r.address,
    ...(r.learner === true ? { learner: true } : {}),
  }
  const known = v.directory.members.find((m) => m.id === r.id)
  if (known !== undefined) return again(v, known, member)
  const other = v.directory.members.find(
    (m) => m.name !== r.name && m.address === r.address && alive(v, m.id),
  )
  if (other !== undefined)
    return refuse(
      `${r.address} is the address of ${other.name}, which is alive: give ${r.name} one of its own`,
    )
  return newcomer(v, member)
}

/** Asked twice, or a member that has moved. */
const again = (v: View, known: Member, said: Member): Step => {
  if (known.name !== said.name)
    return refuseForGood(
      `member ${said.id} is called "${known.name}", not "${said.name}": start it with --name ${known.name}`,
    )
  if (known.address === said.address) return done(`${known.name} is a member already`)
  return moves(v, known, said.address)
}

const newcomer = (v: View, member: Member): Step => {
  const { voters, learners } = v.confState
  const same = v.directory.members.filter((m) => m.name === member.name)
  const living = same.find((m) => alive(v, m.id))
  if (living !== undefined)
    return refuse(
      `a member called ${member.name} is alive at ${living.address || 'an unknown address'} (member ${living.id}): choose ` +
        `another --name, or, if this replica is to replace it, stop that one first`,
    )
  // Learners of that name hold no vote: they make room at once. A voter keeps its place until the newcomer
  // can take it.
  const stale = same.filter((m) => isLearner(v, m.id)).map((m) => m.id)
  const lost = same.find((m) => isVoter(v, m.id))
  if (v.directory.members.length - stale.length >= MAX_MEMBERS)
    return refuse(
      `the cluster has ${MAX_MEMBERS} members, which is the most: remove one first (skep ctl remove)`,
    )
  const kept = learners.filter((id) => !stale.includes(id))
  const sentence =
    lost === undefined
      ? `${member.name} joins as a learner`
      : `${member.name} joins as a learner in the place of the lost voter of that name (member ${lost.id}, ` +
        `${silenceText(v, lost.id)}); once it has caught up, one joint change swaps the two`
  return { kind: 'change', change: changeTo(v, voters, [...kept, member.id], [member]), sentence }
}

const promote = (v: View, ids: readonly number[]): Step => {
  const wanted = ids.filter((id) => !isVoter(v, id))
  if (wanted.length === 0) return done(`${names(v, ids)}: voting already`)
  for (const id of wanted)
    if (!caughtUp(v, id))
      return refuse(
        `${lagText(v, id)}: a voter that has not caught up would hold the others up. Promote it later`,
      )
  // The newcomer under a lost voter's name takes that one's place.
  const replaced = wanted.flatMap((id) => lostTwins(v, id))
  const voters = [...v.confState.voters.filter((id) => !replaced.includes(id)), ...wanted]
  if (voters.length > MOST_VOTERS)
    return refuse(`${voters.length} voters: ${MOST_VOTERS} are the most, more only make every change slower`)
  if (voters.length % 2 === 0) return refuse(evenPromotion(v, voters, wanted))
  return change(
    v,
    voters,
    unflagged(v, wanted),
    replaced,
    `${names(v, wanted)} ${verb(wanted, 'votes', 'vote')} now`,
  )
}

const lostTwins = (v: View, id: number): number[] =>
  v.confState.voters.filter((o) => memberOf(v, o).name === memberOf(v, id).name && !alive(v, o))

const evenPromotion = (v: View, voters: readonly number[], wanted: readonly number[]): string => {
  const others = promotable(v).filter((id) => !wanted.includes(id))
  const first = others[0]
  const way =
    first === undefined
      ? 'start another replica with --join and promote both at once'
      : `promote a second one with it: skep ctl promote ${names(v, [...wanted, first]).replaceAll(',', '')}`
  return `${evenText(voters.length)}: ${way}`
}

const demote = (v: View, ids: readonly number[]): Step => {
  const wanted = ids.filter((id) => isVoter(v, id))
  if (wanted.length === 0) return done(`${names(v, ids)}: ${verb(ids, 'a learner', 'learners')} already`)
  const voters = v.confState.voters.filter((id) => !wanted.includes(id))
  if (voters.length === 0) return refuse('nobody would vote any more: one voter has to stay')
  if (voters.length % 2 === 0)
    return refuse(
      `${evenText(voters.length)}: ` + `demote another one with it (of ${names(v, byName(v, voters))})`,
    )
  if (wanted.includes(v.self)) return handOver(v, voters, 'demoted')
  const told = wanted.map((id) => ({ ...memberOf(v, id), learner: true }))
  return change(v, voters, told, [], `${names(v, wanted)} ${verb(wanted, 'learns', 'learn')} only`)
}

const remove = (v: View, id: number): Step => {
  const name = nameOf(v.directory, id)
  const { voters } = v.confState
  if (v.directory.members.length === 1)
    return refuse(
      `${name} is the only member: to end the cluster, stop it with --purge-on-stop (or skep ctl stop --purge)`,
    )
  if (isLearner(v, id)) return change(v, voters, [], [id], `${name} is removed`)
  const left = voters.filter((o) => o !== id)
  if (left.length === 0) return succeedLast(v, id)
  if (id === v.self) return handOver(v, left, 'removed')
  if (left.length % 2 === 1) return change(v, left, [], [id], `${name} is removed`)
  const heir = promotable(v)[0]
  if (heir !== undefined)
    return change(
      v,
      [...left, heir],
      unflagged(v, [heir]),
      [id],
      `${name} is removed, and ${nameOf(v.directory, heir)} votes in its place`,
    )
  // Nobody takes its place: another voter steps back, a dead one first.
  const back = byName(
    v,
    left.filter((o) => o !== v.self),
  ).sort((a, b) => Number(alive(v, a)) - Number(alive(v, b)))
  const spare = back.filter((o) => alive(v, o) === alive(v, back[0]!)).at(-1)!
  const rest = left.filter((o) => o !== spare)
  return change(
    v,
    rest,
    [],
    [id],
    `${name} is removed, and ${nameOf(v.directory, spare)} learns only: ${evenText(left.length)}. ` +
      'It votes again as soon as another member can vote with it',
  )
}

/** The only voter goes: a learner takes its place in the same change, for nobody could lead meanwhile. */
const succeedLast = (v: View, id: number): Step => {
  const heir = promotable(v)[0]
  const name = nameOf(v.directory, id)
  if (heir === undefined)
    return refuse(
      `${name} is the only voter and no learner has caught up: without it the cluster would be lost. ` +
        'Wait until one has (skep ctl members), or promote one first',
    )
  return change(
    v,
    [heir],
    unflagged(v, [heir]),
    [id],
    `${name} is removed, and ${nameOf(v.directory, heir)} votes in its place`,
  )
}

const transfer = (v: View, to: string): Step => {
  if (to === '') return handOver(v, v.confState.voters, '')
  const id = find(v, to)
  if (typeof id === 'string') return refuse(id)
  if (id === v.self) return done(`${nameOf(v.directory, id)} leads already`)
  if (!isVoter(v, id))
    return refuse(
      `${nameOf(v.directory, id)} is a learner and cannot lead: promote it first (skep ctl promote)`,
    )
  if (!caughtUp(v, id)) return refuse(`${lagText(v, id)}: it cannot take over now`)
  return { kind: 'transfer', to: id, sentence: `leadership moves to ${nameOf(v.directory, id)}` }
}

/**
 * This replica leads and is to do so no more: first of all somebody else has to. `fate`: what comes after.
 */
const handOver = (v: View, among: readonly number[], fate: string): Step => {
  const to = bestLeader(v, among)
  if (v.confState.voters.length === 1)
    return refuse(`${nameOf(v.directory, v.self)} is the only voter: nobody else can lead`)
  if (to === null)
    return refuse(
      `${nameOf(v.directory, v.self)} leads, and no other voter is alive and up to date to take over: ` +
        byName(
          v,
          among.filter((id) => id !== v.self),
        )
          .map((id) => lagText(v, id))
          .join(', '),
    )
  const then = fate === '' ? '' : ` before ${nameOf(v.directory, v.self)} is ${fate}`
  return { kind: 'transfer', to, sentence: `leadership moves to ${nameOf(v.directory, to)}${then}` }
}

/** To these voters; whoever else is left over learns, but for `gone`. Refused without a quorum. */
const change = (
  v: View,
  voters: readonly number[],
  told: readonly Member[],
  gone: readonly number[],
  sentence: string,
): Step => {
  const fault = quorumFault(v, voters)
  if (fault !== null) return refuse(fault)
  const { confState } = v
  const learners = [...confState.voters, ...confState.learners].filter(
    (id) => !voters.includes(id) && !gone.includes(id),
  )
  return { kind: 'change', change: changeTo(v, voters, learners, told), sentence }
}

/** Records of members that are to vote: nobody wants them as learners any more. */
const unflagged = (v: View, ids: readonly number[]): Member[] =>
  ids
    .map((id) => memberOf(v, id))
    .filter((m) => m.learner === true)
    .map(({ id, name, address }) => ({ id, name, address }))

const verb = (ids: readonly number[], one: string, several: string): string =>
  ids.length === 1 ? one : several
