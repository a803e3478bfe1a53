// What members tell each other of themselves about once a second, beside Raft: how far they have applied,
// what lies on their disk, where their control API is, whether they are being drained. For status, and for
// who is fit to lead. Refuses: to be relied upon. It rides on keepalives, which may be lost; nothing that
// must be right is decided by it.

import { type Known, knownOf } from '../replica/membership/lives.ts'
import type { Whereabout } from '../replica/membership/whereabouts.ts'
import { KEEPALIVE } from '../replica/transport/frame.ts'

/** Between two tellings, milliseconds. */
const TELL_MS = 1000
/** Longest, bytes: anything longer is not ours. */
const MOST_BYTES = 8192
/** Members met elsewhere that are told of at once, and the longest address of one. */
export const MOST_MET = 4
const MOST_ADDRESS = 260

export type Word = {
  readonly version: string
  readonly applied: number
  /** Of log and snapshots. */
  readonly diskBytes: number
  /** host:port; '': on loopback only. */
  readonly control: string
  readonly draining: boolean
  /** The level that it agrees to have raised now; 0: none. */
  readonly agrees: number
  /** Members that it has met elsewhere than the directory says. */
  readonly met: readonly Whereabout[]
  /** The last move of leadership that somebody asked for: out of which term, to whom; 0: none. */
  readonly movedTerm: number
  readonly movedTo: number
  /** What it remembers of everybody's lives; its own comes first. */
  readonly lives: readonly Known[]
}

/** Body of a KEEPALIVE; one without a body tells nothing. */
const encodeWord = (word: Word): Uint8Array =>
  new TextEncoder().encode(JSON.stringify({ v: 1, ...word, lives: word.lives.map(packed) }))

/** Without names of fields: everybody tells of everybody. */
const packed = ({ id, nonce, incarnation, batch }: Known): unknown => [id, nonce, incarnation, batch]
const unpacked = (value: unknown): unknown => {
  const [id, nonce, incarnation, batch] = Array.isArray(value) ? value : []
  return { id, nonce, incarnation, batch }
}

/** Null: nothing of ours. */
const decodeWord = (body: Uint8Array): Word | null => {
  if (body.length === 0 || body.length > MOST_BYTES) return null
  try {
    const n = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)) as Record<string, unknown>
    const whole = (key: string): number => {
      const value = n[key]
      return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : 0
    }
    const text = (key: string): string => (typeof n[key] === 'string' ? n[key].slice(0, 300) : '')
    if (n?.v !== 1) return null
    return {
      version: text('version'),
      applied: whole('applied'),
      diskBytes: whole('diskBytes'),
      control: text('control'),
      draining: n.draining === true,
      agrees: whole('agrees'),
      met: metOf(n.met),
      movedTerm: whole('movedTerm'),
      movedTo: whole('movedTo'),
      lives: knownOf(Array.isArray(n.lives) ? n.lives.map(unpacked) : []),
    }
  } catch {
    return null
  }
}

const metOf = (value: unknown): Whereabout[] =>
  (Array.isArray(value) ? value.slice(0, MOST_MET) : []).flatMap((m: Partial<Whereabout> | null) => {
    const { id, address, incarnation, nonce } = m ?? {}
    const whole = Number.isSafeInteger(id) && Number.isSafeInteger(incarnation)
    if (!whole || typeof address !== 'string' || address.length > MOST_ADDRESS) return []
    const start = typeof nonce === 'string' ? { nonce: nonce.slice(0, 64) } : {}
    return [{ id: id!, address, incarnation: incarnation!, ...start }]
  })

export type BulletinOptions = {
  readonly self: number
  readonly others: () => readonly number[]
  readonly tell: (to: number, body: Uint8Array) => void
  /** A member was met by another one. */
  readonly told?: (met: Whereabout) => void
  /** Of this replica, now. */
  readonly own: () => Omit<Word, 'draining' | 'movedTerm' | 'movedTo'>
}

/** What is known of everybody by their own word. */
export class Bulletin {
  private readonly o: BulletinOptions
  private readonly heard = new Map<number, Word>()
  private toldMs = Number.NEGATIVE_INFINITY
  private moved = { term: 0, to: 0 }
  draining = false

  constructor(options: BulletinOptions) {
    this.o = options
  }

  /** Tells the others when it is time, or at once. */
  tell(nowMs: number, atOnce = false): void {
    if (!atOnce && nowMs < this.toldMs + TELL_MS) return
    this.toldMs = nowMs
    const others = this.o.others()
    if (others.length === 0) return
    const body = encodeWord(this.own())
    for (const to of others) this.o.tell(to, body)
  }

  /** Null: the frame is no word of a member. */
  take(frame: { readonly kind: number; readonly from: number; readonly body: Uint8Array }): Word | null {
    if (frame.kind !== KEEPALIVE || frame.body.length === 0) return null
    const word = decodeWord(frame.body)
    if (word === null || !this.o.others().includes(frame.from)) return null
    this.heard.set(frame.from, word)
    for (const met of word.met) if (met.id !== this.o.self) this.o.told?.(met)
    return word
  }

  /** Leadership is about to move because somebody asked for it. */
  moves(term: number, to: number, nowMs: number): void {
    this.moved = { term, to }
    this.tell(nowMs, true)
  }

  /** It has started anew: what it said before counts no more. */
  forget(id: number): void {
    this.heard.delete(id)
  }

  /** Did this member come to lead in `term` because somebody asked for it? */
  wasAskedToLead(term: number): boolean {
    const { self } = this.o
    // A vote that had to be repeated takes a term more.
    return [...this.heard.values()].some(
      (n) => n.movedTo === self && n.movedTerm < term && n.movedTerm >= term - 2,
    )
  }

  of(id: number): Word | null {
    return id === this.o.self ? this.own() : (this.heard.get(id) ?? null)
  }

  private own(): Word {
    const { term, to } = this.moved
    return { ...this.o.own(), draining: this.draining, movedTerm: term, movedTo: to }
  }
}
