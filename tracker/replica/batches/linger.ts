// How long changes gather before they leave together. A cycle (propose, write, tell) has a fixed price, so
// where cycles take long, because the cores are busy or the disk is slow, more company is waited for: it
// costs nobody much, and frees the cores. Refuses: clocks; it is told how long a cycle took.

/** So many cycles as of late are waited for. */
const CYCLES = 3
/** Share of the newest cycle in what is known of them. */
const NEWEST = 1 / 8
/** At most, in units of the least. */
const MOST = 4

export class Linger {
  private readonly leastMs: number
  private cycleMs = 0
  ms: number

  /** `leastMs`: `--linger`. */
  constructor(leastMs: number) {
    this.leastMs = leastMs
    this.ms = leastMs
  }

  /** From the beginning of a cycle to the end of its write. */
  took(ms: number): void {
    this.cycleMs += (ms - this.cycleMs) * NEWEST
    this.ms = Math.min(Math.max(CYCLES * this.cycleMs, this.leastMs), MOST * this.leastMs)
  }
}
