// Seeded chance for the generators: the same seed asks the same things in the same order.
// Refuses: secrets; nothing here is hard to guess.

/** xorshift32; `next` is a 32-bit integer, `below(n)` uniform enough for n far under 2^32. */
export type Random = { next(): number; below(n: number): number; unit(): number }

export function seeded(seed: number): Random {
  let state = mix(seed | 0, 0x9e3779b9) || 1
  const next = (): number => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state
  }
  return {
    next,
    below: (n) => Math.floor(((next() >>> 0) / 4294967296) * n),
    unit: () => (next() >>> 0) / 4294967296,
  }
}

/** One 32-bit word out of two, well stirred (the finaliser of MurmurHash3, a public algorithm). */
export function mix(a: number, b: number): number {
  let h = Math.imul(a, 0x9e3779b1) ^ Math.imul(b ^ 0x7f4a7c15, 0x85ebca6b)
  h ^= h >>> 16
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  return h ^ (h >>> 16)
}
