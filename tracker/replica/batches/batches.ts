// The numbered batches of one member on their way to the log. Batch n of an incarnation counts only after n -
// 1, so a batch may be sent again to every new leader and is still applied once. Refuses: to send, and to
// know what a batch holds.
//
// The rule of the other side: a leader proposes of a member only the batch that follows the last one it
// proposed or saw applied; earlier ones it has, later ones must come again. When it cannot store, it refuses.
// A refusal of n says that neither n nor anything after it was appended by that leader, or ever will be; so n
// is used again for the next batch. A late copy of the refused one must not pass for the new one, however the
// network repeats and reorders: each batch is for the leader of one term, and names a flow; what follows a
// refusal goes in the next flow, and the leader takes nothing of an older one.

/**
 * Batch numbers are 32-bit words that go round (after some hundred days of a busy member): what is half a
 * circle ahead of a number or less comes after it.
 */
export const isAfter = (a: number, b: number): boolean => ((a - b) | 0) > 0
export const numberAfter = (number: number): number => (number + 1) | 0

export type Batch<T> = {
  readonly number: number
  readonly content: T
  /** Milliseconds of this member's clock. */
  readonly sentMs: number
  /** Its changes were reported as unknown: nobody waits for it any more, but it must still be resolved. */
  abandoned: boolean
}

/** Flows are counted modulo this. */
const FLOWS = 0x10000

/** Is flow `a` older than `b`? Half of the circle is the past. */
const older = (a: number, b: number): boolean => a !== b && ((b - a) & (FLOWS - 1)) < FLOWS / 2

/** Flow and number as one integer of 48 bits, as they travel. */
export const wireNumber = (flow: number, number: number): number => flow * 2 ** 32 + (number >>> 0)
export const flowOf = (wire: number): number => Math.floor(wire / 2 ** 32)
export const numberOf = (wire: number): number => (wire % 2 ** 32) | 0

export class Batches<T> {
  readonly incarnation: number
  /** Raised by each refusal. */
  flow = 0
  /** Most batches under way at once. */
  readonly limit: number
  private waiting: Batch<T>[] = []
  private following: number

  /** An incarnation's first batch is number 1; another `first` is for tests only. */
  constructor(incarnation: number, limit: number, first = 1) {
    this.incarnation = incarnation
    this.limit = limit
    this.following = first
  }

  /** The number that the next batch will carry. */
  get next(): number {
    return this.following
  }

  get underWay(): number {
    return this.waiting.length
  }

  /** The batch that will be applied next. */
  get oldest(): Batch<T> | undefined {
    return this.waiting[0]
  }

  mayAdd(): boolean {
    return this.waiting.length < this.limit
  }

  /** A batch is on its way under number `next`. */
  add(content: T, nowMs: number): number {
    const number = this.following
    this.following = numberAfter(number)
    this.waiting.push({ number, content, sentMs: nowMs, abandoned: false })
    return number
  }

  /** Applied up to `number` (of this incarnation; another one's is nobody's any more): these are resolved. */
  applied(incarnation: number, number: number): Batch<T>[] {
    if (incarnation !== this.incarnation) return []
    let n = 0
    while (n < this.waiting.length && !isAfter(this.waiting[n]!.number, number)) n++
    return this.waiting.splice(0, n)
  }

  /**
   * The leader has appended neither `number` nor anything after it, of this flow: these are given back.
   * Nothing if it speaks of another flow: it has been heard.
   */
  refused(flow: number, number: number): Batch<T>[] {
    if (flow !== this.flow) return []
    this.flow = (flow + 1) % FLOWS
    const at = this.waiting.findIndex((b) => !isAfter(number, b.number))
    if (at < 0) return []
    this.following = this.waiting[at]!.number
    return this.waiting.splice(at)
  }

  /**
   * For a new leader, given the last of this member that is applied here: all that may be missing, in order.
   */
  unresolved(last: { incarnation: number; number: number }): Batch<T>[] {
    if (last.incarnation !== this.incarnation) return [...this.waiting]
    return this.waiting.filter((b) => isAfter(b.number, last.number))
  }

  /** Batches sent before `beforeMs`, each once: their changes are unknown from now on. */
  abandon(beforeMs: number): Batch<T>[] {
    const late = this.waiting.filter((b) => !b.abandoned && b.sentMs < beforeMs)
    for (const b of late) b.abandoned = true
    return late
  }
}

type Last = { readonly incarnation: number; readonly number: number; readonly flow: number | null }

/** The leader's side: which batch of each member it will propose next. */
export class Expected {
  private readonly members = new Map<number, Last>()
  private readonly term: number
  private readonly applied: (member: number) => { incarnation: number; number: number }

  /**
   * `applied`: the last batch of a member in the applied table; read when this leader first hears of the
   * member.
   */
  constructor(term: number, applied: (member: number) => { incarnation: number; number: number }) {
    this.term = term
    this.applied = applied
  }

  /**
   * `term`: whose leader it was sent to. 'take' it. 'old': taken already or not for us, say nothing. 'early':
   * one before it is missing, it will come again. 'refused': its flow was refused before, say so again.
   */
  judge(
    term: number,
    member: number,
    incarnation: number,
    number: number,
    flow: number,
  ): 'take' | 'old' | 'early' | 'refused' {
    if (term !== this.term) return 'old'
    const last = this.last(member)
    if (incarnation < last.incarnation) return 'old'
    if (incarnation > last.incarnation) return number === 1 ? 'take' : 'early'
    if (last.flow !== null && older(flow, last.flow)) return 'refused'
    if (!isAfter(number, last.number)) return 'old'
    return number === numberAfter(last.number) ? 'take' : 'early'
  }

  /** It is proposed, or will be. */
  took(member: number, incarnation: number, number: number, flow: number): void {
    this.members.set(member, { incarnation, number, flow })
  }

  /** Neither this one nor anything after it is proposed, nor will be in this flow. */
  refuse(member: number, incarnation: number, number: number, flow: number): void {
    this.members.set(member, { incarnation, number: (number - 1) | 0, flow: (flow + 1) % FLOWS })
  }

  /** What a repeated refusal names: the first number that was not taken. */
  next(member: number): number {
    return numberAfter(this.last(member).number)
  }

  private last(member: number): Last {
    return this.members.get(member) ?? { ...this.applied(member), flow: null }
  }
}
