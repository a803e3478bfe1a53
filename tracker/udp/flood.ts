// Which networks most datagrams come from while the kernel drops some: a sample, one datagram a batch, taken
// only then, counted by space-saving (Metwally et al. 2005) in shared memory. For the status of an admin,
// never for labels. Refuses: to sample while all is well, to decide anything, and to grow with the networks.

/** Networks counted at once: what has a larger share than one in so many is among them. */
const ENTRIES = 64
/** Most that are named. */
export const NAMED_MOST = 20
/** Below this share of the sample nobody is named. */
const NAMED_SHARE = 0.02
/** Counts are halved when so many are sampled: what was long ago counts less. */
const HALVE_AT = 16_384
/** In a smaller batch nothing waits: whoever is heard then, as when a flood is just over, floods nobody. */
const WAITING_LEAST = 16
/** After the last drop: sampled on for so long, and shown for so long, milliseconds. */
const SAMPLE_MS = 10_000
const SHOWN_MS = 60_000

// Words: 0 sampled, 1 shown; then of each entry family (0: free), two words of the network, count, error.
const HEAD_WORDS = 2
const ENTRY_WORDS = 5

export const floodBuffer = (): SharedArrayBuffer =>
  new SharedArrayBuffer((HEAD_WORDS + ENTRIES * ENTRY_WORDS) * 4)

/** The worker's end. */
export class Flood {
  private readonly words: Int32Array
  private drops = 0
  private dropMs = Number.NEGATIVE_INFINITY
  private turn = 0
  /** Datagrams are to be noted. */
  sampling = false

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer)
  }

  /** At times: how many datagrams the kernel has dropped since start. */
  look(drops: number, nowMs: number): void {
    if (drops > this.drops) this.dropMs = nowMs
    this.drops = drops
    this.sampling = nowMs - this.dropMs < SAMPLE_MS
    this.words[1] = Number(nowMs - this.dropMs < SHOWN_MS)
    if (this.words[1] === 0 && this.words[0] !== 0) this.words.fill(0)
  }

  /** One of a batch of `n`: `from` are its address slots of `slotWords` words (slots.ts). */
  note(family: 4 | 6, from: Int32Array, slotWords: number, n: number): void {
    if (n < WAITING_LEAST) return
    const at = (this.turn++ % n) * slotWords
    // Bytes in network order on a little-endian machine: the first three are the low ones.
    if (family === 4) this.count(4, from[at + 1]! & 0xffffff, 0)
    else this.count(6, from[at + 2]!, from[at + 3]! & 0xffff)
  }

  private count(family: number, high: number, low: number): void {
    const { words } = this
    let least = HEAD_WORDS
    for (let e = HEAD_WORDS; e < words.length; e += ENTRY_WORDS) {
      if (words[e] === family && words[e + 1] === high && words[e + 2] === low) {
        words[e + 3]!++
        this.sampled()
        return
      }
      if (words[e + 3]! < words[least + 3]!) least = e
    }
    words[least] = family
    words[least + 1] = high
    words[least + 2] = low
    words[least + 4] = words[least + 3]!
    words[least + 3]!++
    this.sampled()
  }

  private sampled(): void {
    const { words } = this
    if (++words[0]! < HALVE_AT) return
    words[0]! >>= 1
    for (let e = HEAD_WORDS; e < words.length; e += ENTRY_WORDS) {
      words[e + 3]! >>= 1
      words[e + 4]! >>= 1
    }
  }
}

export type Flooding = { readonly network: string; readonly share: number }

/** Of all workers: the heaviest first, as CIDR. Empty while all is well. */
export function floodsOf(buffers: readonly SharedArrayBuffer[]): Flooding[] {
  const sums = new Map<string, number>()
  let sampled = 0
  for (const buffer of buffers) {
    const words = new Int32Array(buffer)
    if (words[1] === 0) continue
    sampled += words[0]!
    for (let e = HEAD_WORDS; e < words.length; e += ENTRY_WORDS) {
      if (words[e] === 0) continue
      const network = networkText(words[e]!, words[e + 1]!, words[e + 2]!)
      sums.set(network, (sums.get(network) ?? 0) + words[e + 3]! - words[e + 4]!)
    }
  }
  return [...sums]
    .map(([network, count]) => ({ network, share: count / sampled }))
    .filter(({ share }) => share >= NAMED_SHARE)
    .sort((a, b) => b.share - a.share)
    .slice(0, NAMED_MOST)
}

const networkText = (family: number, high: number, low: number): string => {
  const byte = (n: number, i: number): number => (n >>> (8 * i)) & 0xff
  if (family === 4) return `${byte(high, 0)}.${byte(high, 1)}.${byte(high, 2)}.0/24`
  const pair = (n: number, i: number): string => ((byte(n, i) << 8) | byte(n, i + 1)).toString(16)
  return `${pair(high, 0)}:${pair(high, 2)}:${pair(low, 0)}::/48`
}

/** For `skep ctl status`. */
export const floodWarnings = (floods: readonly Flooding[]): string[] =>
  floods.length === 0
    ? []
    : [
        'more datagrams come than are read, and some are lost; of a sample most came from ' +
          floods.map(({ network, share }) => `${network} (${Math.round(share * 100)} %)`).join(', '),
      ]
