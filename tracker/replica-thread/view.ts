// The cluster as this member sees it now, for whoever decides about members.
// Refuses: to decide.

import type { View } from '../replica/membership/view.ts'
import { monotonicMs } from '../threads/state.ts'
import type { Parts } from './parts.ts'

export function viewOf(parts: Parts): View {
  const { identity, options, bulletin, keepaliveMs, missed } = parts
  const { directory } = parts.members
  const { replica, peers } = parts.member
  const nowMs = monotonicMs()
  const heardMsAgo = new Map<number, number>()
  for (const { id } of directory.members) {
    const news = peers.of(id)
    if (news !== null) heardMsAgo.set(id, nowMs - news.heardMs)
  }
  return {
    self: identity.memberId,
    leads: replica.leads,
    leader: replica.status.leader,
    confState: replica.confState,
    directory,
    lastIndex: replica.status.lastIndex,
    progress: replica.progress(),
    heardMsAgo,
    deadAfterMs: keepaliveMs * missed,
    maxVoters: options.cluster?.maxVoters ?? 1,
    promotes: options.cluster?.promotes ?? false,
    // Before the lease the log may have it already.
    moved: parts.member.mayAnswer(nowMs) ? (parts.network?.moved() ?? []) : [],
    controlOf: (id) => bulletin.of(id)?.control ?? '',
  }
}
