// The cluster as this member sees it now, for whoever decides about members.
// Refuses: to decide.

import { seenBy, type View } from '../replica/membership/view.ts'
import { monotonicMs } from '../threads/state.ts'
import type { Parts } from './parts.ts'

export function viewOf(parts: Parts): View {
  const { identity, options, bulletin, keepaliveMs, missed } = parts
  const nowMs = monotonicMs()
  return {
    self: identity.memberId,
    ...seenBy(parts.member, parts.members.directory, nowMs),
    deadAfterMs: keepaliveMs * missed,
    maxVoters: options.cluster?.maxVoters ?? 1,
    promotes: options.cluster?.promotes ?? false,
    // Before the lease the log may have it already.
    moved: parts.member.mayAnswer(nowMs) ? (parts.network?.moved() ?? []) : [],
    controlOf: (id) => bulletin.of(id)?.control ?? '',
  }
}
