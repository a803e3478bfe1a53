// What a simulated cluster is born with: a table small enough to compare often, and settings from the seed.
// Refuses: to get full; capacity has tests of its own.

import type { Random } from '@skep/testing/random.ts'
import type { LogStore } from '../replica/log/log.ts'
import { Birth as Newborn } from '../replica/membership/birth-flow.ts'
import type { Birth } from '../swarm/entry.ts'
import type { Limits } from '../swarm/layout.ts'
import { DEFAULT_SETTINGS } from '../swarm/settings.ts'
import type { Place } from './place.ts'

/** Small, so that a digest is quick. */
export const LIMITS: Limits = {
  torrents: 1024,
  extensions: 64,
  pages4: 64,
  pages6: 64,
  pagesTags: 64,
  directoryWords: 4096,
  access: 16,
  details: false,
}

/** The shortest interval there is, for runs in which silent peers expire, seconds. */
const SHORT_INTERVAL_SECONDS = 10

export const drawBirth = (random: Random, expires: boolean): Birth => {
  const short = { intervalSeconds: SHORT_INTERVAL_SECONDS, intervalMaxSeconds: SHORT_INTERVAL_SECONDS }
  return {
    clusterId: Buffer.from(random.bytes(16)).toString('hex'),
    hashSeed: random.word() | 0,
    idKey: [random.word() | 0, random.word() | 0],
    limits: LIMITS,
    settings: { ...DEFAULT_SETTINGS, allowPrivate: 'on', ...(expires ? short : {}) },
    hashKey: [random.word() | 0, random.word() | 0, random.word() | 0, random.word() | 0],
    level: 1,
  }
}

/** What a cluster of this level is born with. */
export const bornAt = ({ hashKey, ...birth }: Birth, clusterId: string, level: number): Birth => ({
  ...birth,
  clusterId,
  level,
  ...(level < 2 ? {} : { hashKey: hashKey! }),
})

/** The production's way from an empty disk to a member, in a simulated place. */
export const birthOf = (
  place: Place,
  log: LogStore,
  ask: (address: string, question: Uint8Array) => Promise<Uint8Array>,
  pause: (ms: number) => Promise<void>,
): Newborn =>
  new Newborn({
    log,
    name: place.name,
    address: place.address,
    initialMembers: place.initialMembers,
    join: place.join,
    learner: false,
    ask,
    randomWord: () => (place.canary === 'repeats-ids' && place.join !== null ? 7 : place.random.word() | 0),
    level: place.level,
    birth: (clusterId, level) => place.birth(clusterId, level),
    refuses: () => null,
    pause,
    say: () => {},
  })
