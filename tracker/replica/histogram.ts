// How long something took, counted in buckets of fixed bounds, so that counts of several members add up.
// Refuses: percentiles; whoever reads the counts makes them.

/** Upper bounds in milliseconds; one more bucket takes the rest. */
const BOUNDS_MS = [
  0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 50, 100, 250, 500, 1000, 5000,
] as const

export type Histogram = {
  /** One more than `BOUNDS_MS`. */
  readonly counts: number[]
  sumMs: number
  count: number
  maxMs: number
}

export const histogram = (): Histogram => ({
  counts: new Array<number>(BOUNDS_MS.length + 1).fill(0),
  sumMs: 0,
  count: 0,
  maxMs: 0,
})

export const observe = (h: Histogram, ms: number): void => {
  let i = 0
  while (i < BOUNDS_MS.length && ms > BOUNDS_MS[i]!) i++
  h.counts[i]!++
  h.count++
  h.sumMs += ms
  if (ms > h.maxMs) h.maxMs = ms
}
