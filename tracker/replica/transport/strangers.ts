// Connections before they have shown what opens a door: few, few of one address, and for a short time. A
// newcomer is always let in; where there is no room for it, the oldest of whoever holds most places goes: an
// honest one needs milliseconds, so that crowds push out themselves. Addresses that have been proved have
// places of their own, which no other address can take. Refuses: to know what is shown, and to whom.

export type StrangerLimits = {
  /** At once, of all addresses that nothing is known of; and as many again of those that are known. */
  readonly most: number
  /** At once, of one IPv4 address or IPv6 network (/64). */
  readonly mostOfNetwork: number
  /** From the connection to its proof, milliseconds. */
  readonly forMs: number
}

/** What is done with a stranger that has to go. */
export type TurnAway<T> = (stranger: T, why: 'crowded' | 'late') => void

type Kept = { readonly network: string; readonly known: boolean; readonly timer: NodeJS.Timeout }

export class Strangers<T> {
  private readonly limits: StrangerLimits
  private readonly turnAway: TurnAway<T>
  private readonly isKnown: (network: string) => boolean
  /** Oldest first. */
  private readonly kept = new Map<T, Kept>()

  /** `isKnown`: of a network as `networkOf` writes it. */
  constructor(limits: StrangerLimits, turnAway: TurnAway<T>, isKnown: (network: string) => boolean) {
    this.limits = limits
    this.turnAway = turnAway
    this.isKnown = isKnown
  }

  get count(): number {
    return this.kept.size
  }

  came(stranger: T, address: string): void {
    const network = networkOf(address)
    const known = this.isKnown(network)
    const timer = setTimeout(() => this.away(stranger, 'late'), this.limits.forMs)
    timer.unref()
    this.kept.set(stranger, { network, known, timer })
    const { held, inKind } = this.held(known)
    const heaviest = inKind > this.limits.most ? mostOf(held) : network
    if (inKind <= this.limits.most && held.get(network)! <= this.limits.mostOfNetwork) return
    for (const [oldest, k] of this.kept)
      if (k.known === known && k.network === heaviest) {
        this.away(oldest, 'crowded')
        return
      }
  }

  /** It has proved what it had to, or is gone. */
  left(stranger: T): void {
    clearTimeout(this.kept.get(stranger)?.timer)
    this.kept.delete(stranger)
  }

  private held(known: boolean): { held: Map<string, number>; inKind: number } {
    const held = new Map<string, number>()
    let inKind = 0
    for (const k of this.kept.values())
      if (k.known === known) {
        held.set(k.network, (held.get(k.network) ?? 0) + 1)
        inKind++
      }
    return { held, inKind }
  }

  private away(stranger: T, why: 'crowded' | 'late'): void {
    this.left(stranger)
    this.turnAway(stranger, why)
  }
}

const mostOf = (held: ReadonlyMap<string, number>): string =>
  [...held].reduce((most, each) => (each[1] > most[1] ? each : most), ['', 0] as [string, number])[0]

/** What one person can have many addresses of: an IPv6 network of 64 bits. An IPv4 address is itself. */
export const networkOf = (address: string): string => {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mapped !== undefined) return mapped
  if (!address.includes(':')) return address
  const [left = '', right] = address.replace(/%.*$/, '').toLowerCase().split('::')
  const head = left === '' ? [] : left.split(':')
  const tail = right === undefined || right === '' ? [] : right.split(':')
  const words =
    right === undefined
      ? head
      : [...head, ...Array(Math.max(0, 8 - head.length - tail.length)).fill('0'), ...tail]
  return `${words
    .slice(0, 4)
    .map((w) => w.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`
}

/** Networks from which somebody has proved something lately; the one that has not for longest goes first. */
export class KnownNetworks {
  private readonly most: number
  private readonly seen = new Set<string>()

  constructor(most: number) {
    this.most = most
  }

  proved(address: string): void {
    const network = networkOf(address)
    this.seen.delete(network)
    this.seen.add(network)
    for (const first of this.seen) if (this.seen.size > this.most) this.seen.delete(first)
  }

  has(network: string): boolean {
    return this.seen.has(network)
  }
}
