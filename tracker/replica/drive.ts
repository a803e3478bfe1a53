// Drives a member in production: turns, waits for writes, sleeps, and mends a log whose writes fail.
// Refuses: deciding anything about Raft; the simulator drives the same member with time of its own.

import { histogram, observe } from './histogram.ts'
import type { LogStore } from './log/log.ts'
import { LogWriteFailed } from './log/log.ts'
import type { Member } from './member.ts'
import { DONE, WRITING } from './replica.ts'

/** Between attempts to mend a log, milliseconds: doubled from the first to the second. */
const MEND_FIRST_MS = 100
const MEND_MOST_MS = 5000
/** While writes fail: between two words of the member to the others and to its own clients, milliseconds. */
const STALLED_MS = 50

export type Surroundings = {
  readonly member: Pick<
    Member<never>,
    'turn' | 'finish' | 'due' | 'writing' | 'stalled' | 'mended' | 'replica'
  >
  readonly log: LogStore
  now(): number
  /** Before each turn: what goes on beside Raft has its turn. */
  between(nowMs: number): void
  /** Something was done: what others see of the member is brought up to date. */
  published(): void
  /** Resolves when something came in, or at `untilMs`. */
  sleep(untilMs: number): Promise<void>
  pause(ms: number): Promise<void>
  /** Writes fail: called at once and before each attempt to mend. Null: they work again. */
  failing(error: LogWriteFailed | null): void
  /** True: leave the loop after this turn. */
  ended(): boolean
}

export type Driven = { readonly syncMs: ReturnType<typeof histogram>; failedWrites: number }

/** Runs until `ended`; `driven` is kept up to date meanwhile. Throws what is no full or failing disk. */
export const drive = async (s: Surroundings, driven: Driven): Promise<void> => {
  const { member } = s
  while (!s.ended()) {
    // Something beside the loop (a snapshot, a compaction) has failed to write: the log takes nothing until
    // it is mended, so no Ready may be taken from the core, whose entries would then be on no disk.
    if (s.log.failed !== null && !(await healed(s, driven))) return
    const now = s.now()
    s.between(now)
    const did = member.turn(now)
    s.published()
    if (did === DONE) continue
    if (did === WRITING) {
      if (!(await written(s, now, driven))) return
      member.finish(s.now())
      s.published()
      continue
    }
    const due = member.due(s.now())
    if (due > s.now()) await s.sleep(due)
  }
}

/** True: on disk, sooner or later. False: told to stop before it was. */
const written = async (s: Surroundings, began: number, driven: Driven): Promise<boolean> => {
  try {
    await s.member.writing
    observe(driven.syncMs, s.now() - began)
    return true
  } catch (error) {
    if (!(error instanceof LogWriteFailed)) throw error
  }
  return healed(s, driven)
}

/**
 * The loop stands still: nothing of a Ready may be sent or counted as stored before it is on disk. False:
 * told to stop.
 */
const healed = async (s: Surroundings, driven: Driven): Promise<boolean> => {
  for (let wait = MEND_FIRST_MS; s.log.failed !== null; wait = Math.min(2 * wait, MEND_MOST_MS)) {
    driven.failedWrites++
    s.failing(s.log.failed)
    for (const untilMs = s.now() + wait; s.now() < untilMs && !s.ended(); ) {
      s.member.stalled(s.now())
      s.published()
      await s.pause(STALLED_MS)
    }
    if (s.ended()) return false
    await s.log.heal().catch((error: unknown) => {
      if (!(error instanceof LogWriteFailed)) throw error
    })
  }
  await s.member.replica.resume()
  s.member.mended(s.now())
  s.failing(null)
  return true
}

export const newDriven = (): Driven => ({ syncMs: histogram(), failedWrites: 0 })
