// The numbered batches of one member on their way to the log. Batch n of an incarnation counts only after n - 1, so a
// batch may be sent again to every new leader and is still applied once.
// Refuses: to send, and to know what a batch holds.
//
// The rule of the other side: a leader proposes of a member only the batch that follows the last one it proposed or
// saw applied; any other it refuses, as it does all when it cannot store. A refusal of n says that neither n nor
// anything after it was appended by that leader, so n is used again for the next batch. For that a late copy of the
// refused batch must not pass for the new one: each batch is sent to the leader of a term and names the term, and on the
// way to one leader order holds: a member's new connection ends what the old one may still deliver.

export type Batch<T> = {
  readonly number: number
  readonly content: T
  /** Milliseconds of this member's clock. */
  readonly sentMs: number
  /** Its changes were reported as unknown: nobody waits for it any more, but it must still be resolved. */
  abandoned: boolean
}

export class Batches<T> {
  readonly incarnation: number
  /** Most batches under way at once. */
  readonly limit: number
  private waiting: Batch<T>[] = []
  private following = 1

  constructor(incarnation: number, limit: number) {
    this.incarnation = incarnation
    this.limit = limit
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
    const number = this.following++
    this.waiting.push({ number, content, sentMs: nowMs, abandoned: false })
    return number
  }

  /** Applied up to `number` (of this incarnation; another one's is nobody's any more): these are resolved. */
  applied(incarnation: number, number: number): Batch<T>[] {
    if (incarnation !== this.incarnation) return []
    let n = 0
    while (n < this.waiting.length && this.waiting[n]!.number <= number) n++
    return this.waiting.splice(0, n)
  }

  /** The leader has appended neither `number` nor anything after it: these are given back. */
  refused(number: number): Batch<T>[] {
    const at = this.waiting.findIndex((b) => b.number >= number)
    if (at < 0) return []
    this.following = this.waiting[at]!.number
    return this.waiting.splice(at)
  }

  /** For a new leader, given the last of this member that is applied here: all that may be missing, in order. */
  unresolved(last: { incarnation: number; number: number }): Batch<T>[] {
    const from = last.incarnation === this.incarnation ? last.number : 0
    return this.waiting.filter((b) => b.number > from)
  }

  /** Batches sent before `beforeMs`, each once: their changes are unknown from now on. */
  abandon(beforeMs: number): Batch<T>[] {
    const late = this.waiting.filter((b) => !b.abandoned && b.sentMs < beforeMs)
    for (const b of late) b.abandoned = true
    return late
  }
}

/** The leader's side: which batch of each member it will propose next. */
export class Expected {
  private readonly proposed = new Map<number, { incarnation: number; number: number }>()
  private readonly term: number
  private readonly applied: (member: number) => { incarnation: number; number: number }

  /** `applied`: the last batch of a member in the applied table; read when this leader first hears of the member. */
  constructor(term: number, applied: (member: number) => { incarnation: number; number: number }) {
    this.term = term
    this.applied = applied
  }

  /** `term`: whose leader it was sent to. 'take' it; 'old': proposed already or not for us, say nothing; 'refuse' it. */
  judge(term: number, member: number, incarnation: number, number: number): 'take' | 'old' | 'refuse' {
    if (term !== this.term) return 'old'
    const last = this.proposed.get(member) ?? this.applied(member)
    if (incarnation < last.incarnation) return 'old'
    if (incarnation > last.incarnation) return number === 1 ? 'take' : 'refuse'
    if (number <= last.number) return 'old'
    return number === last.number + 1 ? 'take' : 'refuse'
  }

  /** It was appended. */
  took(member: number, incarnation: number, number: number): void {
    this.proposed.set(member, { incarnation, number })
  }
}
