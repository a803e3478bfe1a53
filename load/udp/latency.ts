// A histogram of waiting times: sixteen steps an octave (6 % wide), constant memory, constant time.
// Refuses: to keep single values.

const STEPS = 16
/** Octaves from 1 us up: the last ends above an hour. */
const OCTAVES = 32

export class Latency {
  private readonly counts = new Float64Array(STEPS * OCTAVES)
  total = 0
  /** Longest, milliseconds. */
  longest = 0

  add(milliseconds: number): void {
    const us = milliseconds * 1000
    let index = 0
    if (us >= 1) {
      const octave = 31 - Math.clz32(Math.min(us, 4294967295))
      index = octave * STEPS + Math.floor((us / 2 ** octave - 1) * STEPS)
    }
    this.counts[Math.min(index, STEPS * OCTAVES - 1)]!++
    this.total++
    if (milliseconds > this.longest) this.longest = milliseconds
  }

  /** Milliseconds under which the share `q` of all values lies (upper edge of its step); 0 without values. */
  quantile(q: number): number {
    const wanted = q * this.total
    let seen = 0
    for (let i = 0; i < this.counts.length; i++) {
      seen += this.counts[i]!
      if (this.total > 0 && seen >= wanted) {
        const octave = Math.floor(i / STEPS)
        return Math.min((2 ** octave * (1 + ((i % STEPS) + 1) / STEPS)) / 1000, this.longest)
      }
    }
    return 0
  }

  /** Adds what another one has seen. */
  merge(other: Latency): void {
    for (let i = 0; i < this.counts.length; i++) this.counts[i]! += other.counts[i]!
    this.total += other.total
    this.longest = Math.max(this.longest, other.longest)
  }

  clear(): void {
    this.counts.fill(0)
    this.total = 0
    this.longest = 0
  }
}
