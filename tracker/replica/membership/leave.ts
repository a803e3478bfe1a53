// How a member leaves its group before it deletes its data (`--purge-on-stop` with several members):
// leadership moves away, then the leader removes it, and only then does it go. Refuses: to leave where the
// others could not go on without it. The data stays then, and the sentence says why.

import type { Identity } from './birth.ts'
import { decodeSaid, encodeQuestion } from './birth-words.ts'
import type { MembershipDesk } from './desk.ts'
import type { View } from './view.ts'

const ROUND_MS = 200

export type LeaveOptions = {
  readonly identity: Identity
  readonly view: () => View
  readonly desk: Pick<MembershipDesk, 'request'>
  /** As in BirthOptions. */
  readonly ask: (address: string, question: Uint8Array) => Promise<Uint8Array>
  readonly now: () => number
  readonly pause: (ms: number) => Promise<void>
  readonly untilMs: number
}

/** '' when this replica is no member any more (or is the last one): its data may be deleted. Else why not. */
export const leaveGroup = async (o: LeaveOptions): Promise<string> => {
  const { clusterId, memberId: id } = o.identity
  const question = encodeQuestion({ ask: 'leave', clusterId, id })
  let sentence = 'no leader answers'
  for (;;) {
    const view = o.view()
    const { members } = view.directory
    if (!members.some((m) => m.id === id) || members.length === 1) return ''
    if (view.leads) {
      const reply = await o.desk.request({ kind: 'remove', who: String(id) })
      // Asked for is not gone: the loop ends when a joint change is over as well.
      if (!reply.ok && !reply.again) return reply.sentence
      sentence = reply.sentence
    } else {
      const address = members.find((m) => m.id === view.leader)?.address ?? ''
      const said = address === '' ? null : await o.ask(address, question).then(decodeSaid, () => null)
      if (said?.is === 'done') return ''
      if (said?.is === 'refused') return said.sentence
      if (said !== null && 'sentence' in said) sentence = said.sentence
    }
    if (o.now() >= o.untilMs) return `it did not come to leave the cluster in time: ${sentence}`
    await o.pause(ROUND_MS)
  }
}
