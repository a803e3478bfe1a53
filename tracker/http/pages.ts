// What a browser or a probe sees: the start page, statistics, metrics, liveness and readiness.
// Refuses: to compute any of it; what it shows is handed in.

import type { Probe } from './health.ts'

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

export const PATHS = ['/', '/announce', '/scrape', '/stats', '/metrics', '/livez', '/readyz'] as const

/** The page of `path`, for who asks from that host and takes that. */
export async function pageOf(
  path: string,
  { host }: { readonly host: string; readonly accept: string },
  sources: PageSources,
): Promise<Page> {
  switch (path) {
    case '/':
      return { status: 200, type: 'text/html; charset=utf-8', body: startPage(host, sources) }
    case '/stats':
      return {
        status: 200,
        type: 'application/json',
        body: `${JSON.stringify(await sources.stats(), null, 2)}\n`,
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

const escaped = (value: string): string => value.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)

function startPage(host: string, { version, udpPort }: PageSources): string {
  // Nothing of a Host header gets into the page but what a host may be called.
  const safe = /^[A-Za-z0-9.:[\]_-]{1,255}$/.test(host) ? host : 'localhost'
  const name = safe.replace(/:\d+$/, '')
  const urls = [`http://${safe}/announce`]
  if (udpPort > 0) urls.unshift(`udp://${name}:${udpPort}/announce`)
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Skep: a BitTorrent tracker</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 0 auto; padding: 1.5rem 1rem }
code { display: block; padding: .6rem .8rem; margin: .5rem 0; border-radius: .4rem; overflow-wrap: anywhere;
  background: color-mix(in srgb, currentcolor 10%, transparent); user-select: all }
</style>
<h1>Skep</h1>
<p>This is a BitTorrent tracker: it tells the members of a swarm of each other. It holds no files.</p>
<p>Put one of these into a torrent to use it:</p>
${urls.map((url) => `<code>${url}</code>`).join('\n')}
<p><a href="/stats">Statistics</a> · <a href="/metrics">metrics</a> · <a href="/readyz">ready?</a></p>
<p><small>Skep ${escaped(version)}</small></p>
`
}
