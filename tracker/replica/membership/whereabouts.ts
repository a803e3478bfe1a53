// Where members say they are, as far as that is not where the directory has them: a replica that was started
// with another port or address tells so when it dials, whom it met tells the others, and the leader has the
// directory follow (plan.ts). Until then it is dialled at both places. Each word is that of one start: it
// counts once the start does, by the leader's judgement (lives.ts), for whoever met it may have met a copy.
// Refuses: to remember more than a few starts of each member.

import { addressOf, type Directory, MAX_MEMBERS } from './directory.ts'

export type Whereabout = {
  readonly id: number
  /** `host:port`. */
  readonly address: string
  /** The start of that member which said so. */
  readonly incarnation: number
  /** What tells that start from others; absent: version 0.1.0. */
  readonly nonce?: string
  /** It has dialled this member itself. */
  readonly seen?: boolean
}

/** `open`: no leader has spoken of that start yet. `past`: another one counts. */
export type Standing = 'counts' | 'open' | 'past'

/** Starts remembered of each member. */
const MOST_STARTS = 3

export class Whereabouts {
  private readonly standing: (said: Whereabout) => Standing
  private readonly said = new Map<number, Whereabout[]>()

  constructor(standing: (said: Whereabout) => Standing) {
    this.standing = standing
  }

  /** The first word of each start stays; whether it was seen may follow. */
  hear(directory: Directory, said: Whereabout): void {
    const member = directory.members.find((m) => m.id === said.id)
    if (member === undefined || addressOf(said.address) === null) return
    const before = this.said.get(said.id) ?? []
    const same = before.find((w) => w.nonce === said.nonce)
    const stays = same !== undefined && same.incarnation >= said.incarnation
    if (stays && (same.seen === said.seen || same.address !== said.address)) return
    const word = stays ? { ...same, seen: true } : said
    const others = before.filter((w) => w !== same)
    this.said.set(said.id, this.inOrder([word, ...others]).slice(0, MOST_STARTS))
    for (const id of this.said.keys()) if (this.said.size > MAX_MEMBERS) this.said.delete(id)
  }

  /** First whose word is worth most. */
  private inOrder(starts: readonly Whereabout[]): Whereabout[] {
    const worth = (w: Whereabout): number => ['past', 'open', 'counts'].indexOf(this.standing(w))
    return starts.toSorted((a, b) => worth(b) - worth(a) || b.incarnation - a.incarnation)
  }

  /**
   * Who is elsewhere than the directory says, as others may be told. `leader`: who judges starts; 0: nobody,
   * and those that nobody has judged must find each other. So must those who follow one of them.
   */
  moved(directory: Directory, leader: number): Whereabout[] {
    return this.elsewhere(directory, leader, false)
  }

  /** Where else to dial: whoever came here and was let in is answered, judged or not. */
  dialled(directory: Directory, leader: number): Whereabout[] {
    return this.elsewhere(directory, leader, true)
  }

  /** Of a member: where the start that counts is, then where a newer one is that may be used. */
  private elsewhere(directory: Directory, leader: number, seen: boolean): Whereabout[] {
    return directory.members.flatMap(({ id, address }) => {
      const starts = this.inOrder(this.said.get(id) ?? [])
      const counts = starts.find((w) => this.standing(w) === 'counts')
      const unjudged = leader === 0 || leader === id
      const open = starts.find((w) => this.standing(w) === 'open' && (unjudged || (seen && w.seen === true)))
      return [counts, open].filter((w) => w !== undefined && w.address !== address) as Whereabout[]
    })
  }
}
