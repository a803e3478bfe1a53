// What a browser or a probe sees: the start page, statistics, metrics, liveness and readiness.
// Refuses: to compute any of it; what it shows is handed in.

import type { Probe } from './health.ts'
import { type Figures, startPage, statsPage } from './people.ts'

export type PageSources = {
  readonly version: string
  /** Where UDP announces go; 0: nowhere. */
  readonly udpPort: number
  /** JSON of /stats. */
  readonly stats: () => object | Promise<object>
  /** Text of /metrics. */
  readonly metricsText: () => Promise<string>
  /** Caught up once since start, and a lease within the last 10 s. */
  readonly ready: () => Probe
  /** All threads alive. */
  readonly live: () => Probe
}

export type Page = {
  readonly status: number
  readonly type: string
  readonly body: string
  /** Methods, where another one was used. */
  readonly allow?: string
}

const TEXT = 'text/plain; charset=utf-8'
const text = (status: number, body: string): Page => ({ status, type: TEXT, body: `${body}\n` })
const probe = ({ ok, reason, note = '' }: Probe): Page =>
  text(ok ? 200 : 503, ok ? `ok${note && `\n${note}`}` : reason)
const html = (body: string): Page => ({ status: 200, type: 'text/html; charset=utf-8', body })
/** Browsers name it; programs name JSON, or anything. */
const takesHtml = (accept: string): boolean =>
  /(^|[\s,])text\/html\s*(,|;(?!\s*q=0(\.0*)?\s*(,|$))|$)/i.test(accept)

export const PATHS = ['/', '/announce', '/scrape', '/stats', '/metrics', '/livez', '/readyz'] as const

/** The page of `path`, for who asks from that host and takes that. */
export async function pageOf(
  path: string,
  { host, accept }: { readonly host: string; readonly accept: string },
  sources: PageSources,
): Promise<Page> {
  const { version, udpPort, ready } = sources
  switch (path) {
    case '/': {
      // Without its figures the page still says how to announce.
      const figures = (await Promise.resolve(sources.stats()).catch(() => ({}))) as Figures
      return html(startPage(host, version, udpPort, ready(), figures))
    }
    case '/stats': {
      const stats = await sources.stats()
      if (takesHtml(accept)) return html(statsPage(version, ready(), stats as Figures))
      return { status: 200, type: 'application/json', body: `${JSON.stringify(stats, null, 2)}\n` }
    }
    case '/metrics':
      return {
        status: 200,
        type: 'text/plain; version=0.0.4; charset=utf-8',
        body: await sources.metricsText(),
      }
    case '/livez':
      return probe(sources.live())
    case '/readyz':
      return probe(sources.ready())
    default:
      return text(404, `Nothing here. This is a BitTorrent tracker: it answers ${PATHS.join(' ')}`)
  }
}
