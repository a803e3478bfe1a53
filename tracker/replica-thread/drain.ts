// Draining: a member that is about to be stopped leads no more, so that its end is noticed by nobody. It goes
// on answering. Refuses: to leave a cluster without a leader. Where nobody else could take over, it goes on
// leading and says so.

import { nameOf } from '../replica/membership/directory.ts'
import { caughtUp, isVoter } from '../replica/membership/view.ts'
import { monotonicMs } from '../threads/state.ts'
import type { Running } from './running.ts'

/** How long somebody is looked for who takes over, milliseconds; and between two looks. */
const HAND_OVER_MS = 10_000
const LOOK_MS = 100

/**
 * Begins it or ends it. Resolves with what came of it, for people, once leadership is elsewhere or nobody
 * takes it.
 */
export async function drain(r: Running, on: boolean): Promise<string> {
  r.bulletin.draining = on
  r.bulletin.tell(monotonicMs(), true)
  if (!on) return 'it takes part like the others again'
  if (r.member.others.length === 0) return 'this replica is alone: nobody can take over'
  const untilMs = monotonicMs() + HAND_OVER_MS
  let why = ''
  for (;;) {
    const { leads, status } = r.member.replica
    if (!leads && status.leader !== 0) return `${nameOf(r.members.directory, status.leader)} leads`
    if (!r.bulletin.draining) return 'it is not being drained any more'
    if (monotonicMs() >= untilMs)
      return leads
        ? `it still leads: ${why === '' ? 'nobody has taken over' : why}`
        : 'nobody leads at the moment'
    if (leads) why = await handOver(r)
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}

/** One attempt, for whoever leads and is being drained. '' when leadership moved; else why not. */
export async function handOver(r: Running): Promise<string> {
  const to = heir(r)
  if (to === 0) return 'no other voter is alive, up to date and not being drained itself'
  r.bulletin.moves(r.member.term, to, monotonicMs())
  return await r.wake(() => r.member.transfer(to, monotonicMs()))
}

/** Who leads best instead; 0: nobody could. */
function heir(r: Running): number {
  const view = r.view()
  const { self, confState } = view
  return (
    confState.voters
      .filter((id) => id !== self && isVoter(view, id) && caughtUp(view, id))
      .filter((id) => r.bulletin.of(id)?.draining !== true)
      .sort((a, b) => r.preference(b) - r.preference(a))[0] ?? 0
  )
}
