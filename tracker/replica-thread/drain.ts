// Draining: a member that is about to be stopped leads no more, so that its end is noticed by nobody. It goes
// on answering. Refuses: to leave a cluster without a leader. Where nobody else could take over, it goes on
// leading and says so.

import { nameOf } from '../replica/membership/directory.ts'
import { caughtUp, isVoter } from '../replica/membership/view.ts'
import { monotonicMs } from '../threads/state.ts'
import type { Parts } from './parts.ts'
import { viewOf } from './view.ts'

/** How long somebody is looked for who takes over, milliseconds; and between two looks. */
const HAND_OVER_MS = 10_000
const LOOK_MS = 100

/**
 * Begins it or ends it. Resolves with what came of it, for people, once leadership is elsewhere or nobody
 * takes it.
 */
export async function drain(parts: Parts, on: boolean): Promise<string> {
  const { bulletin, member, members } = parts
  bulletin.draining = on
  bulletin.tell(monotonicMs(), true)
  if (!on) return 'it takes part like the others again'
  if (member.others.length === 0) return 'this replica is alone: nobody can take over'
  const untilMs = monotonicMs() + HAND_OVER_MS
  let why = ''
  for (;;) {
    const { leads, status } = member.replica
    if (!leads && status.leader !== 0) return `${nameOf(members.directory, status.leader)} leads`
    if (!bulletin.draining) return 'it is not being drained any more'
    if (monotonicMs() >= untilMs)
      return leads
        ? `it still leads: ${why === '' ? 'nobody has taken over' : why}`
        : 'nobody leads at the moment'
    if (leads) why = await handOver(parts)
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}

/** One attempt, for whoever leads and is being drained. '' when leadership moved; else why not. */
export async function handOver(parts: Parts): Promise<string> {
  const { bulletin, member, loop } = parts
  const to = heir(parts)
  if (to === 0) return 'no other voter is alive, up to date and not being drained itself'
  bulletin.moves(member.term, to, monotonicMs())
  return await loop.wake(() => member.transfer(to, monotonicMs()))
}

/** Who leads best instead; 0: nobody could. */
function heir(parts: Parts): number {
  const { bulletin, roster } = parts
  const view = viewOf(parts)
  const { self, confState } = view
  return (
    confState.voters
      .filter((id) => id !== self && isVoter(view, id) && caughtUp(view, id))
      .filter((id) => bulletin.of(id)?.draining !== true)
      .sort((a, b) => roster.preference(b) - roster.preference(a))[0] ?? 0
  )
}
