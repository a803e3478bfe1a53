// A machine and its feed for tests of members: numbers are joined in batches, each is applied once, in order.
// Refuses: swarms. What an entry looks like is JSON here.

import type { Fed, Feed } from './batches/feed.ts'
import type { Machine, MachineSnapshot } from './machine.ts'

type Section = { member: number; incarnation: number; number: number; values: number[] }
type Batch = { readonly values: number[]; abandoned: boolean }

const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value))
const parse = <T>(bytes: Uint8Array): T => JSON.parse(Buffer.from(bytes).toString()) as T

/** The table: all values ever applied, in order, and each member's last batch. */
export class Ledger implements Machine {
  values: number[] = []
  timeMs = 0
  last = new Map<number, { incarnation: number; number: number }>()
  onBatch: (s: Section) => void = () => {}

  apply(_index: number, _term: number, data: Uint8Array): void {
    const { timeMs, sections } = parse<{ timeMs: number; sections: Section[] }>(data)
    this.timeMs = Math.max(this.timeMs, timeMs)
    for (const s of sections) {
      const last = this.last.get(s.member) ?? { incarnation: 0, number: 0 }
      const next =
        s.incarnation > last.incarnation
          ? s.number === 1
          : s.incarnation === last.incarnation && s.number === ((last.number + 1) | 0)
      if (!next) continue
      this.last.set(s.member, { incarnation: s.incarnation, number: s.number })
      this.values.push(...s.values)
      this.onBatch(s)
    }
  }
  applied(): void {}
  snapshot(): MachineSnapshot {
    const text = json({ values: this.values, timeMs: this.timeMs, last: [...this.last] })
    return {
      bytes: text.length,
      async *chunks() {
        for (let at = 0; at < text.length; at += 100) yield text.subarray(at, at + 100)
      },
      release() {},
    }
  }
  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const parts: Uint8Array[] = []
    for await (const c of chunks) parts.push(Uint8Array.from(c))
    const state = parse<{ values: number[]; timeMs: number; last: [number, never][] }>(Buffer.concat(parts))
    this.values = state.values
    this.timeMs = state.timeMs
    this.last = new Map(state.last)
  }
}

/** Clients of one life of a member: what they asked for, and what became of it. */
export class Clients implements Feed<Batch> {
  readonly member: number
  readonly incarnation: number
  readonly ledger: Ledger
  /** `--consistency relaxed`. */
  relaxed = false
  /** Values that wait for a batch, and since when. */
  waiting: { value: number; sinceMs: number }[] = []
  /** Told, but not yet let out: answers leave only under a lease. */
  told: { value: number; outcome: string }[] = []
  private parked: Batch[] = []
  private lastMs = Number.NEGATIVE_INFINITY
  nowMs = 0

  constructor(member: number, incarnation: number, ledger: Ledger) {
    this.member = member
    this.incarnation = incarnation
    this.ledger = ledger
    ledger.onBatch = (s) => {
      if (s.member !== member || s.incarnation !== incarnation) return
      const batch = this.parked.shift()!
      if (!batch.abandoned) this.tellAll(batch.values, 'applied')
      this.onApplied(s.number)
    }
  }
  onApplied: (number: number) => void = () => {}

  ask(...values: number[]): void {
    this.waiting.push(...values.map((value) => ({ value, sinceMs: this.nowMs })))
  }
  private tellAll(values: readonly number[], outcome: string): void {
    for (const value of values) this.told.push({ value, outcome })
  }

  due(nowMs: number, lingerMs: number): number {
    return this.waiting.length === 0 ? Number.POSITIVE_INFINITY : Math.max(nowMs, this.lastMs + lingerMs)
  }
  next(number: number, nowMs: number): Fed<Batch> | null {
    const taken = this.waiting.splice(0, 10)
    if (taken.length === 0) return null
    this.lastMs = nowMs
    const values = taken.map((t) => t.value)
    if (this.relaxed) this.tellAll(values, 'applied')
    const content = { values, abandoned: this.relaxed }
    this.parked.push(content)
    const { member, incarnation } = this
    return { section: json({ member, incarnation, number, values }), content, sinceMs: taken[0]!.sinceMs }
  }
  end(content: Batch, outcome: 'applied' | 'refused' | 'unknown'): void {
    if (!content.abandoned) this.tellAll(content.values, outcome)
    if (outcome === 'unknown') content.abandoned = true
    else this.parked.splice(this.parked.indexOf(content), 1)
  }
  refuseWaiting(): number {
    const given = this.waiting.splice(0)
    this.tellAll(
      given.map((w) => w.value),
      'refused',
    )
    return given.length
  }
  dropWaiting(beforeMs: number): number {
    const late = this.waiting.filter((w) => w.sinceMs < beforeMs)
    this.waiting = this.waiting.filter((w) => w.sinceMs >= beforeMs)
    this.tellAll(
      late.map((w) => w.value),
      'unknown',
    )
    return late.length
  }
  tell(): void {}
  entry(timeMs: number, sections: readonly Uint8Array[]): Uint8Array {
    return json({ timeMs, sections: sections.map((s) => parse<Section>(s)) })
  }
  first(): null {
    return null
  }
  fits(section: Uint8Array, member: number, incarnation: number, number: number): boolean {
    try {
      const s = parse<Section>(section)
      return s.member === member && s.incarnation === incarnation && s.number === number
    } catch {
      return false
    }
  }
  timeMs(): number {
    return this.ledger.timeMs
  }
  lastBatch(member: number): { incarnation: number; number: number } {
    return this.ledger.last.get(member) ?? { incarnation: 0, number: 0 }
  }
}
