// What a request gets that is not plain: pages, errors, and tracker requests in another form, which are
// answered as the plain ones are. Refuses: methods but GET and HEAD; sockets.

import type { Asker } from './address.ts'
import type { GeneralAnswer } from './connection.ts'
import type { HttpCounts } from './counters.ts'
import type { Head } from './head.ts'
import { type Page, type PageSources, pageOf } from './pages.ts'
import type { Waiter } from './pending.ts'
import { MAX_TARGET_BYTES } from './query.ts'
import { ANNOUNCE, type HttpTracker, SCRAPE } from './tracker.ts'

export type GeneralOptions = {
  readonly tracker: HttpTracker
  readonly counts: HttpCounts
  readonly pages: PageSources
  /** A page could not be made: told to the log, the client gets a 500. */
  readonly onError: (error: unknown) => void
}

const text = (status: number, body: string, allow = ''): GeneralAnswer => ({
  kind: 'page',
  page: { status, type: 'text/plain; charset=utf-8', body: `${body}\n`, allow },
})

const FAULTS: { readonly [status: number]: string } = {
  400: 'This is no HTTP request',
  408: 'The request did not arrive in time',
  414: `The request is longer than ${MAX_TARGET_BYTES} bytes`,
  431: 'The headers are too long',
  505: 'Only 1.0 and 1.1 of HTTP are spoken here',
}

export function answerGeneral(
  head: Head,
  asker: Asker | null,
  waiter: Waiter,
  nowMs: number,
  { tracker, counts, pages, onError }: GeneralOptions,
): GeneralAnswer {
  const { fault, method, path, query } = head
  if (fault !== 0) {
    counts.badRequests++
    return text(fault, FAULTS[fault]!)
  }
  const tracking = path === '/announce' || path === '/scrape'
  if (method !== 'GET' && (tracking || method !== 'HEAD'))
    return text(405, `${method} is not for this path`, tracking ? 'GET' : 'GET, HEAD')
  if (tracking) {
    const kind = path === '/announce' ? ANNOUNCE : SCRAPE
    const answered = tracker.request(kind, query, 0, query.length, asker, waiter, nowMs)
    return { kind: answered ? 'tracker' : 'parked' }
  }
  // A client was given an announce URL without its path: its user should read why nothing comes of it.
  if (method === 'GET' && /(^|&)info(_|%5f)hash=/i.test(query)) {
    tracker.misplaced()
    return { kind: 'tracker' }
  }
  counts.pages++
  const made = pageOf(path, head, pages).catch((error: unknown): Page => {
    onError(error)
    return { status: 500, type: 'text/plain', body: 'This page could not be made; the log says why\n' }
  })
  return { kind: 'pages', page: made }
}
