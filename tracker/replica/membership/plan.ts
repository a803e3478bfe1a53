// What the leader does about members without being asked: finish a replacement, let learners vote, leave an
// even number. Pure, and asked again and again: one step at a time, an ordered list of checks, the first that
// has a step wins. Refuses: to remove anybody for being silent. Dead starts an election; lost is what a
// person says, by starting a new replica under the same name or by removing the old one.

import { nameOf } from './directory.ts'
import {
  alive,
  bestLeader,
  byName,
  caughtUp,
  changeTo,
  evenText,
  isLearner,
  isVoter,
  joint,
  lagText,
  memberOf,
  moves,
  names,
  oddUpTo,
  promotable,
  quorumFault,
  type Step,
  type View,
  wait,
} from './view.ts'

/** Null: nothing to do. `wait` says what is awaited, for status. */
export const tend = (v: View): Step | null => {
  if (!v.leads) return null
  if (joint(v.confState)) return leaveJoint(v)
  // A change that nobody can agree on would only be in the way of the next.
  if (quorumFault(v, v.confState.voters) !== null) return null
  return follow(v) ?? replace(v) ?? (v.promotes ? (grow(v) ?? evenOut(v)) : null)
}

/**
 * A joint change ends by itself, but for one that is ended by hand: by a leader that stays, so one that goes
 * hands over first.
 */
const leaveJoint = (v: View): Step | null => {
  if (v.confState.autoLeave) return null
  if (!isVoter(v, v.self)) {
    const to = bestLeader(v, v.confState.voters)
    const name = nameOf(v.directory, v.self)
    if (to === null) return wait(`${name} is on its way out, and nobody who stays can lead yet`)
    return { kind: 'transfer', to, sentence: `leadership moves to ${nameOf(v.directory, to)}: ${name} goes` }
  }
  const change = { steps: [], transition: 'auto', context: new Uint8Array() } as const
  return { kind: 'change', change, sentence: 'the joint change of members is through' }
}

/** A member that was started with another address, and has said so to whoever could hear it. */
const follow = (v: View): Step | null => {
  for (const { id, address } of v.moved ?? []) {
    const known = v.directory.members.find((m) => m.id === id)
    if (known !== undefined && known.address !== address) return moves(v, known, address)
  }
  return null
}

/** Newcomers under a lost member's name: swapped in by one joint change, once caught up. */
const replace = (v: View): Step | null => {
  let waiting: Step | null = null
  for (const id of byName(v, v.confState.learners)) {
    const { name } = memberOf(v, id)
    const old = v.directory.members.find((m) => m.id !== id && m.name === name && name !== '')
    if (old === undefined || !alive(v, id) || (alive(v, old.id) && isLearner(v, old.id))) continue
    if (alive(v, old.id)) {
      waiting ??= wait(
        `${nameOf(v.directory, old.id)} answers again, so ${nameOf(v.directory, id)} does not take its place: ` +
          `stop the one that is to go, or remove it (skep ctl remove ${id})`,
      )
      continue
    }
    const { voters, learners } = v.confState
    if (isLearner(v, old.id))
      return {
        kind: 'change',
        change: changeTo(
          v,
          voters,
          learners.filter((o) => o !== old.id),
        ),
        sentence: `the lost learner ${name} (member ${old.id}) is replaced by member ${id}`,
      }
    if (!isVoter(v, old.id)) continue
    if (!caughtUp(v, id)) {
      waiting ??= wait(
        `${lagText(v, id)}: it replaces the lost voter (member ${old.id}) once it has caught up`,
      )
      continue
    }
    const next = [...voters.filter((o) => o !== old.id), id]
    const fault = quorumFault(v, next)
    if (fault !== null) {
      waiting ??= wait(fault)
      continue
    }
    const { learner, ...record } = memberOf(v, id)
    return {
      kind: 'change',
      change: changeTo(
        v,
        next,
        learners.filter((o) => o !== id),
        learner === true ? [record] : [],
      ),
      sentence: `${name} (member ${id}) votes in the place of the lost voter (member ${old.id})`,
    }
  }
  return waiting
}

/** Learners vote, as many as keep the number odd, up to the wished size. */
const grow = (v: View): Step | null => {
  const { voters, learners } = v.confState
  const ready = promotable(v)
  const target = oddUpTo(Math.min(voters.length + ready.length, v.maxVoters))
  if (target <= voters.length) return null
  const chosen = ready.slice(0, target - voters.length)
  const next = [...voters, ...chosen]
  if (quorumFault(v, next) !== null) return null
  return {
    kind: 'change',
    change: changeTo(
      v,
      next,
      learners.filter((id) => !chosen.includes(id)),
    ),
    sentence: `${names(v, chosen)} ${chosen.length === 1 ? 'votes' : 'vote'} now: ${next.length} voters`,
  }
}

/**
 * An even number of voters bears no more than one less: one steps back, a dead one first, never the leader.
 */
const evenOut = (v: View): Step | null => {
  const { voters, learners } = v.confState
  if (voters.length % 2 === 1) return null
  const others = byName(
    v,
    voters.filter((id) => id !== v.self),
  )
  const back = others.filter((id) => !alive(v, id)).at(-1) ?? others.at(-1)
  if (back === undefined) return null
  const next = voters.filter((id) => id !== back)
  if (quorumFault(v, next) !== null) return null
  return {
    kind: 'change',
    change: changeTo(v, next, [...learners, back]),
    sentence: `${nameOf(v.directory, back)} learns only: ${evenText(voters.length)}`,
  }
}
