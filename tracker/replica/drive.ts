// Drives a replica in production: turns, waits for writes, sleeps, and mends a log whose writes fail.
// Refuses: deciding anything about Raft; the simulator drives the same replica with time of its own.

import { histogram, observe } from './histogram.ts'
import type { LogStore } from './log.ts'
import { LogWriteFailed } from './log.ts'
import { DONE, type Replica, WRITING } from './replica.ts'

/** Between attempts to mend a log, milliseconds: doubled from the first to the second. */
const MEND_FIRST_MS = 100
const MEND_MOST_MS = 5000
/** After a proposal that Raft dropped, milliseconds. */
const DROPPED_MS = 2

export type Surroundings = {
  readonly replica: Replica
  readonly log: LogStore
  now(): number
  /** Resolves when something came in, or at `untilMs`. */
  sleep(untilMs: number): Promise<void>
  /** Waits `ms`; changes that come in meanwhile are refused. */
  pause(ms: number): Promise<void>
  /** Writes fail: called at once and before each attempt to mend. */
  failing(error: LogWriteFailed): void
  mended(): void
  /** True: leave the loop after this turn. */
  ended(): boolean
}

export type Driven = { readonly syncMs: ReturnType<typeof histogram>; failedWrites: number }

/** Runs until `ended`; `driven` is kept up to date meanwhile. Throws what is no full or failing disk. */
export const drive = async (s: Surroundings, driven: Driven): Promise<void> => {
  const { replica } = s
  while (!s.ended()) {
    const now = s.now()
    const dropped = replica.dropped
    const did = replica.turn(now)
    if (did === DONE) continue
    if (did === WRITING) {
      if (!(await written(s, now, driven))) return
      replica.finish(s.now())
      continue
    }
    const due = replica.due(s.now())
    // Raft takes no proposal now (too much is uncommitted, or leadership moves): it will be asked again, not at once.
    if (replica.dropped > dropped) await s.sleep(s.now() + DROPPED_MS)
    else if (due > s.now()) await s.sleep(due)
  }
}

/** True: on disk, sooner or later. False: told to stop before it was. */
const written = async (s: Surroundings, began: number, driven: Driven): Promise<boolean> => {
  try {
    await s.replica.writing
    observe(driven.syncMs, s.now() - began)
    return true
  } catch (error) {
    if (!(error instanceof LogWriteFailed)) throw error
  }
  // The loop stands still at this Ready: nothing of it may be sent or counted as stored before it is on disk.
  for (let wait = MEND_FIRST_MS; s.log.failed !== null; wait = Math.min(2 * wait, MEND_MOST_MS)) {
    driven.failedWrites++
    s.failing(s.log.failed)
    await s.pause(wait)
    if (s.ended()) return false
    await s.log.heal().catch((error: unknown) => {
      if (!(error instanceof LogWriteFailed)) throw error
    })
  }
  await s.replica.resume()
  s.mended()
  return true
}

export const newDriven = (): Driven => ({ syncMs: histogram(), failedWrites: 0 })
