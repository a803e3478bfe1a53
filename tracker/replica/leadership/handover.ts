// A planned move of leadership: nothing new is proposed, what is proposed gets applied, the target catches
// up, and only then Raft is asked to move. So nothing is lost, and no request waits longer than the vote
// takes. Refuses: clocks, messages, and to hold back proposals without an end: a target that does not get
// there in time is given up.

import type { Progress } from '@skep/raft'

export type HandoverFacts = {
  readonly nowMs: number
  readonly leads: boolean
  readonly term: number
  readonly applied: number
  readonly lastIndex: number
  readonly progress: readonly Progress[]
  /** Raft's own idea of a transfer under way; 0: none. */
  readonly transferee: number
}

export type HandoverStep =
  | { readonly kind: 'wait' }
  /** Ask Raft to move leadership there, now. */
  | { readonly kind: 'move'; readonly to: number }
  | { readonly kind: 'done' }
  | { readonly kind: 'failed'; readonly why: string }

export class Handover {
  readonly to: number
  private readonly term: number
  private readonly untilMs: number
  private asked = false

  constructor(to: number, term: number, untilMs: number) {
    this.to = to
    this.term = term
    this.untilMs = untilMs
  }

  step(f: HandoverFacts): HandoverStep {
    if (!f.leads || f.term !== this.term) return { kind: 'done' }
    if (this.asked) {
      if (f.transferee !== 0) return { kind: 'wait' }
      return { kind: 'failed', why: `member ${this.to} did not take over in time` }
    }
    const target = f.progress.find((p) => p.id === this.to)
    if (target === undefined || target.isLearner)
      return { kind: 'failed', why: `member ${this.to} is not a voter` }
    if (f.applied === f.lastIndex && target.match === f.lastIndex) {
      this.asked = true
      return { kind: 'move', to: this.to }
    }
    if (f.nowMs < this.untilMs) return { kind: 'wait' }
    const behind = f.lastIndex - target.match
    return {
      kind: 'failed',
      why: target.recentActive
        ? `member ${this.to} is ${behind} ${behind === 1 ? 'entry' : 'entries'} behind and did not catch up in time`
        : `member ${this.to} does not answer`,
    }
  }
}

/**
 * Who should lead next: of the voters that answer, can store and are at most `lag` entries behind, the
 * preferred one; 0: nobody.
 */
export const successor = (
  self: number,
  lastIndex: number,
  lag: number,
  progress: readonly Progress[],
  fit: (id: number) => boolean,
  preference: (id: number) => number,
): number => {
  let best = 0
  for (const p of progress) {
    if (p.id === self || p.isLearner || !p.recentActive || p.match + lag < lastIndex || !fit(p.id)) continue
    if (best === 0 || preference(p.id) > preference(best)) best = p.id
  }
  return best
}
