// Another form than BEP 3 of asking and being told: what reads its own request, and is given figures instead
// of a bencoded body. Refuses: rules; those are the tracker's, for all forms alike.

import type { Asker } from './address.ts'
import type { AnnounceQuery, ScrapeQuery } from './query.ts'
import type { Counts, Intervals } from './reply.ts'

/**
 * Why there is no answer. `unavailable`: nothing has happened, and it may be otherwise soon; `unknown`: it is
 * not known whether it happened.
 */
export type Why = 'invalid' | 'forbidden' | 'nobody' | 'unavailable' | 'unknown'

export interface Form {
  /** Writes the request into `query`. */
  readAnnounce(query: AnnounceQuery): void
  readScrape(query: ScrapeQuery): void
  /** `peers`: count4 x 6 bytes, then count6 x 18; theirs no longer after the call. */
  announced(
    counts: Counts,
    intervals: Intervals,
    asker: Asker,
    peers: Uint8Array,
    count4: number,
    count6: number,
  ): void
  /** In the order asked. */
  scraped(counts: readonly Counts[]): void
  failed(why: Why, reason: string): void
}
