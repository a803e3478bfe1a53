// Parts of a simulated member that are put together as production does: feed, bulletin, and what decisions
// about members see. Refuses: to keep anything.

import type { LogStore } from '../replica/log/log.ts'
import type { Member } from '../replica/member.ts'
import type { Identity } from '../replica/membership/birth.ts'
import type { Lives } from '../replica/membership/lives.ts'
import type { MembersMachine } from '../replica/membership/members-machine.ts'
import { seenBy, type View } from '../replica/membership/view.ts'
import { Bulletin, MOST_MET } from '../replica-thread/bulletin.ts'
import { type Parked, RingFeed } from '../replica-thread/feed.ts'
import { type Birth, birthEntry } from '../swarm/entry.ts'
import type { SwarmMachine } from '../swarm/machine.ts'
import type { Air } from './air.ts'
import { KEEPALIVE_MS, MISSED, type Place } from './place.ts'

export const feedOf = (
  place: Place,
  swarm: SwarmMachine,
  identity: Identity,
  incarnation: number,
  born: () => boolean,
): RingFeed =>
  new RingFeed({
    member: identity.memberId,
    incarnation,
    producers: [place.producer],
    relaxed: place.canary === 'answers-before-commit',
    timeMs: () => swarm.timeMs,
    lastBatch: (member) => swarm.lastBatch(member),
    birth: () => (born() ? null : birthEntry(identity.birth as Birth)),
  })

export const bulletinOf = (
  identity: Identity,
  log: LogStore,
  member: Member<Parked>,
  lives: Lives,
  air: Air,
): Bulletin =>
  new Bulletin({
    self: identity.memberId,
    others: () => member.others,
    tell: (to, body) => air.keepalive(0, to, body),
    told: (met) => air.hear(met),
    own: () => ({
      ...{ version: '', applied: member.replica.applied, diskBytes: 0, control: '', agrees: 0 },
      met: air.moved().slice(0, MOST_MET),
      lives: lives.tell(log.synced),
    }),
  })

export const viewOf = (
  place: Place,
  identity: Identity,
  member: Member<Parked>,
  { directory }: MembersMachine,
  air: Air,
): View => {
  const nowMs = place.clock.now()
  return {
    self: identity.memberId,
    ...seenBy(member, directory, nowMs),
    deadAfterMs: KEEPALIVE_MS * MISSED,
    maxVoters: place.maxVoters,
    promotes: true,
    moved: member.mayAnswer(nowMs) ? air.moved() : [],
  }
}
