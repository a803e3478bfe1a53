// The cluster's clock as its leader counts it: a number in the log, moved by the leader's monotonic clock.
// Refuses: wall time, going back, and catching up: while nobody led, or the disk stood still, no time passed.

/** Most milliseconds that one entry moves the clock. */
export const MAX_STEP_MS = 2000

export class ClusterClock {
  private time: number
  private seen: number

  /** `timeMs`: cluster time as applied when this leader began; `nowMs`: its own clock then. */
  constructor(timeMs: number, nowMs: number) {
    this.time = timeMs
    this.seen = nowMs
  }

  /** Cluster time of an entry proposed now, whole milliseconds. */
  next(nowMs: number): number {
    const passed = Math.floor(nowMs - this.seen)
    if (passed <= 0) return this.time
    // What lies beyond the step is dropped, not owed.
    this.seen = passed > MAX_STEP_MS ? nowMs : this.seen + passed
    this.time += Math.min(passed, MAX_STEP_MS)
    return this.time
  }
}
