// The control API's calls about members: who votes, who leads, what happened, and faults on request. Refuses:
// deciding; the leader does (membership/requests.ts), and says why not in a sentence that goes on unchanged.

import { setTimeout as wait } from 'node:timers/promises'
import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect'
import { type Cluster, Cut } from '@skep/wire/proto/gen/skep/cluster/v1/cluster_pb.js'
import { askTheLeader } from '../replica/membership/requests.ts'
import type { ReplicaHandle } from '../replica-thread/handle.ts'
import { monotonicMs } from '../threads/state.ts'

export type MemberCalls = Pick<ReplicaHandle, 'members' | 'events' | 'fault' | 'status'>

type Calls = Pick<
  ServiceImpl<typeof Cluster>,
  'promoteMembers' | 'demoteMembers' | 'removeMember' | 'transferLeadership' | 'events' | 'injectFault'
>

/** Between two looks for new events, milliseconds. */
const EVENTS_MS = 200
/** Longest fault, milliseconds: whoever injected it may be gone. */
const FAULT_MOST_MS = 600_000
const DELAY_MOST_MS = 60_000

const CUTS = { [Cut.OUT]: 'out', [Cut.IN]: 'in', [Cut.BOTH]: 'both' } as const

/** `replica`: throws what a client is told while there are no members to speak of. */
export function memberCalls(replica: () => MemberCalls): Calls {
  const asked = async (request: Parameters<MemberCalls['members']>[0]): Promise<{ message: string }> => {
    const { ok, sentence, again } = await replica().members(request)
    if (ok) return { message: sentence }
    throw new ConnectError(sentence, again ? Code.Unavailable : Code.FailedPrecondition)
  }
  return {
    promoteMembers: ({ members }) => asked({ kind: 'promote', who: some(members) }),
    demoteMembers: ({ members }) => asked({ kind: 'demote', who: some(members) }),
    removeMember: ({ member }) => asked({ kind: 'remove', who: some([member])[0]! }),
    transferLeadership: ({ member }) => asked({ kind: 'transfer', to: member }),
    async *events({ since, follow }, { signal }) {
      let seen = Number(since)
      do {
        for (const { number, at, kind, term, member, name, detail } of await replica().events(seen)) {
          seen = number
          const ids = { number: BigInt(number), term: BigInt(term), memberId: BigInt(member) }
          yield { ...ids, at, kind, memberName: name, detail }
        }
        if (follow) await wait(EVENTS_MS, undefined, { signal, ref: false }).catch(() => {})
      } while (follow && !signal.aborted)
    },
    async injectFault({ member, cut, delayMs, loss, durationMs }) {
      const fault = {
        ...(cut !== Cut.UNSPECIFIED && { cut: CUTS[cut] }),
        ...(delayMs > 0 && { delayMs }),
        ...(loss > 0 && { loss }),
        untilMs: monotonicMs() + durationMs,
      }
      if (durationMs > FAULT_MOST_MS || delayMs > DELAY_MOST_MS || !(loss >= 0 && loss <= 1))
        throw new ConnectError(
          `a fault has duration_ms up to ${FAULT_MOST_MS}, delay_ms up to ${DELAY_MOST_MS}, and loss from 0 to 1`,
          Code.InvalidArgument,
        )
      if (durationMs > 0 && Object.keys(fault).length === 1)
        throw new ConnectError('a fault needs cut, delay_ms or loss', Code.InvalidArgument)
      const { members } = await replica().status()
      const other = members.find((m) => !m.self && (m.name === member || String(m.id) === member))
      if (other === undefined)
        throw new ConnectError(`there is no other member called ${member}`, Code.InvalidArgument)
      if (!(await replica().fault(other.id, durationMs === 0 ? null : fault)))
        throw new ConnectError(
          'faults are not allowed here: start this replica with --allow-faults',
          Code.FailedPrecondition,
        )
      return {}
    },
  }
}

function some(members: readonly string[]): readonly string[] {
  if (members.length > 0 && members.every((member) => member !== '')) return members
  throw new ConnectError('a member must be named', Code.InvalidArgument)
}

/** Whom to ask for a change instead of this replica, as a sentence; '': it leads. */
export async function elsewhere(replica: Pick<ReplicaHandle, 'status'>): Promise<string> {
  const { role, leader, members } = await replica.status()
  if (role === 'leader') return ''
  const led = members.find((member) => member.id === leader)
  return askTheLeader(led?.name ?? '', led?.controlAddress ?? '')
}
