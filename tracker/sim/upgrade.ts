// Upgrades of a simulated cluster: an older version has formed it, its replicas are replaced one by one, and
// the leader raises the level once all support the next (replica-thread/ and stats/pulse.ts do it in a
// process). Refuses: to go back; real processes of two versions do that in `npm run e2e:upgrade`.

import type { Random } from '@skep/testing/random.ts'
import type { Member } from '../replica/member.ts'
import type { Directory } from '../replica/membership/directory.ts'
import { raiseOf } from '../replica/membership/level.ts'
import { levelEntry } from '../swarm/entry.ts'
import { LEVEL } from '../swarm/level.ts'
import type { Place } from './place.ts'

/** All are upgraded by then, milliseconds. */
const UPGRADED_BY_MS = 7000

/** When a replica is upgraded; newcomers run the newest version, as all do unless `upgrades`. */
export const drawUpgrade = (random: Random, upgrades: boolean, joins: boolean): number =>
  upgrades && !joins ? random.between(0, UPGRADED_BY_MS) : 0

/** The highest level that the version of a replica supports at a moment. */
export const levelAt = (upgradedMs: number, nowMs: number): number => (nowMs >= upgradedMs ? LEVEL : 1)

/** What a member that leads does now and then. */
export const raiseLevel = (
  place: Place,
  member: Pick<Member<unknown>, 'peers' | 'others' | 'propose'>,
  directory: Directory,
  deadAfterMs: number,
): void => {
  const { peers, others } = member
  const { random, store, level } = place
  const known = others.map((id) => {
    const supports = peers.levelOf(id)
    const news = peers.of(id)
    const heardMsAgo = news === null ? null : place.clock.now() - news.heardMs
    return { id, supports, agrees: supports, heardMsAgo }
  })
  const { to } = raiseOf(store.level, { supports: level, agrees: level }, known, directory, deadAfterMs)
  if (to === 0) return
  const key = [random.word() | 0, random.word() | 0, random.word() | 0, random.word() | 0] as const
  place.note('raise', to)
  void member.propose(levelEntry(to, key))
}
