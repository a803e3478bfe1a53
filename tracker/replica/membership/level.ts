// When a cluster may raise its behaviour level, and who is too old for the level that it has. Pure.
// Refuses: to know what a level means; that is the machine's.

import type { Hello, Refusal } from '../transport/frame-body.ts'
import type { Directory } from './directory.ts'
import { nameOf } from './directory.ts'

/** What the leader knows of another member. */
export type Readiness = {
  readonly id: number
  /** The highest level that it supports, as its frames say; 0: nothing heard yet. */
  readonly supports: number
  /** The level that it agrees to have raised now; at most what it supports. */
  readonly agrees: number
  /** Since anything of it was heard, milliseconds; null: never. */
  readonly heardMsAgo: number | null
}

/** The level to raise to now; 0: none, and `waits` says for whom ('': the level is as high as it goes). */
export type Raise = { readonly to: number; readonly waits: string }

/**
 * `own`: what the leader itself supports and agrees to. One step at a time is not needed: levels only add.
 */
export const raiseOf = (
  level: number,
  own: Pick<Readiness, 'supports' | 'agrees'>,
  others: readonly Readiness[],
  directory: Directory,
  deadAfterMs: number,
): Raise => {
  if (level === 0 || own.supports <= level) return { to: 0, waits: '' }
  const names = (ids: readonly Readiness[]): string =>
    ids
      .map(({ id }) => nameOf(directory, id))
      .sort()
      .join(', ')
  const silent = others.filter((m) => m.heardMsAgo === null || m.heardMsAgo > deadAfterMs)
  if (silent.length > 0) return { to: 0, waits: `nothing is heard of ${names(silent)}` }
  const old = others.filter((m) => m.supports <= level)
  if (old.length > 0)
    return { to: 0, waits: `${names(old)} ${old.length === 1 ? 'runs' : 'run'} an older version` }
  const to = Math.min(own.supports, ...others.map((m) => m.supports))
  const not = others.filter((m) => m.agrees < to)
  if (own.agrees < to || not.length > 0)
    return {
      to: 0,
      waits: `every replica has to have run for its --raise-level-after${not.length > 0 ? `: ${names(not)}` : ''}`,
    }
  return { to, waits: '' }
}

/**
 * Who dials says which level it supports, and is let in if it knows the rules by which this cluster works.
 * Asked last: what a copy of a member says, which is not let in, says nothing of the member.
 */
export const admitLevel = (
  peers: { speaks(id: number, level: number): void },
  level: number,
  hello: Pick<Hello, 'from' | 'name' | 'level'>,
): Refusal | null => {
  peers.speaks(hello.from, hello.level)
  return levelRefusal(level, hello)
}

const levelRefusal = (level: number, hello: Pick<Hello, 'from' | 'name' | 'level'>): Refusal | null =>
  hello.level >= level ? null : { code: 'too old', sentence: tooOld(level, hello.name, hello.level) }

export const tooOld = (level: number, name: string, its: number): string =>
  `this cluster works at level ${level} and the version of "${name}" knows levels up to ${its}: ` +
  'install a version at least as new as that of the other replicas'
