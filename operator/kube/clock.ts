// Time and chance, for whatever waits and backs off: the real ones, and the shape that tests give virtual
// ones. Refuses: timers that outlive their signal.

import { setTimeout as sleep } from 'node:timers/promises'

export type Clock = {
  /** Monotonic, milliseconds. */
  nowMs(): number
  /** 0 to 1. */
  chance(): number
  /** Resolves after that time, or when the signal is raised. */
  wait(ms: number, signal: AbortSignal): Promise<void>
}

export const REAL_CLOCK: Clock = {
  nowMs: () => performance.now(),
  chance: () => Math.random(),
  wait: (ms, signal) =>
    ms === Number.POSITIVE_INFINITY
      ? new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
      : sleep(ms, undefined, { signal }).catch(() => {}),
}
