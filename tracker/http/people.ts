// Pages for people: the start page and the statistics, as HTML that needs no script, no other resource and no
// wide screen. Refuses: to put anything into a page unescaped, and to compute what it shows.

import type { Probe } from './health.ts'

/** What /stats gives as JSON: names and numbers, in groups. */
export type Figures = { readonly [name: string]: unknown }

const STYLE = `
:root { color-scheme: light dark; --soft: color-mix(in srgb, currentcolor 9%, transparent);
  --line: color-mix(in srgb, currentcolor 18%, transparent) }
* { box-sizing: border-box }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 0 auto; padding: 1.5rem 1rem 3rem }
h1 { margin: 0 0 .25rem; font-size: 1.75rem } h2 { font-size: 1.05rem; margin: 1.75rem 0 .5rem }
p { margin: .5rem 0 } a { color: inherit }
code { display: block; padding: .6rem .8rem; margin: .5rem 0; border-radius: .4rem; overflow-wrap: anywhere;
  background: var(--soft); user-select: all }
.state { display: flex; gap: .6rem; align-items: baseline; padding: .6rem .8rem; border-radius: .4rem;
  background: var(--soft); border-left: .35rem solid #2a8f4f } .state.bad { border-color: #c4511d }
.state b { white-space: nowrap }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .6rem; margin: 0 }
dl div { padding: .5rem .7rem; border: 1px solid var(--line); border-radius: .4rem; min-width: 0 }
dt { font-size: .8rem; opacity: .75 } dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere }
dd small { opacity: .75 } li { overflow-wrap: anywhere } nav { margin-top: 1.75rem } nav a { margin-right: 1rem }
`

const escaped = (value: string): string => value.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)

const page = (title: string, body: string): string => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
${body}
</html>
`

/** Is it well, and who is it? */
const state = ({ ok, reason, note = '' }: Probe): string =>
  `<p class="state${ok ? '' : ' bad'}"><b>${ok ? 'It answers' : 'It does not answer'}</b>` +
  `<span>${escaped(ok ? note : reason)}</span></p>`

/** Of a replica that cannot tell its figures, only what is known without them. */
export function startPage(
  host: string,
  version: string,
  udpPort: number,
  ready: Probe,
  figures: Figures,
): string {
  // Nothing of a Host header gets into the page but what a host may be called.
  const safe = /^[A-Za-z0-9.:[\]_-]{1,255}$/.test(host) ? host : 'localhost'
  const name = safe.replace(/:\d+$/, '')
  const urls = [`http://${safe}/announce`]
  if (udpPort > 0) urls.unshift(`udp://${name}:${udpPort}/announce`)
  const shown = ['role', 'members', 'torrents', 'peers', 'seeders', 'leechers', 'answersPerSecond']
  const rows = [...shown, 'intervalSeconds', 'uptimeSeconds'].filter((key) => key in figures)
  return page(
    'Skep: a BitTorrent tracker',
    `<h1>Skep</h1>
<p>This is a BitTorrent tracker: it tells the members of a swarm of each other. It holds no files.</p>
${state(ready)}
<h2>Announce URLs</h2>
<p>Put them into a torrent, each as a tier of its own:</p>
${urls.map((url) => `<code>${escaped(url)}</code>`).join('\n')}
${rows.length === 0 ? '' : `<h2>Now</h2>\n${list(rows.map((key) => [key, figures[key]]))}`}
${foot(version)}`,
  )
}

const TITLES: { readonly [group: string]: string } = {
  ...{
    capacity: 'Room in the swarm table',
    log: 'Log',
    events: 'The swarm table since the cluster was born',
  },
  ...{ udp: 'UDP since start', http: 'HTTP since start' },
}

/** Everything that /stats tells, whatever that will be. */
export function statsPage(version: string, ready: Probe, figures: Figures): string {
  const plain: [string, unknown][] = []
  const groups: string[] = []
  for (const [key, value] of Object.entries(figures)) {
    if (key === 'warnings') continue
    if (typeof value !== 'object' || value === null) plain.push([key, value])
    else groups.push(`<h2>${escaped(TITLES[key] ?? words(key))}</h2>\n${list(Object.entries(value))}`)
  }
  const { warnings } = figures
  const warned = Array.isArray(warnings) && warnings.length > 0 ? warnings : []
  return page(
    'Skep: statistics',
    `<h1>Statistics</h1>
${state(ready)}
${warned.length === 0 ? '' : `<h2>Warnings</h2>\n<ul>${warned.map((w) => `<li>${escaped(String(w))}</li>`).join('')}</ul>`}
<h2>Replica</h2>
${list(plain)}
${groups.join('\n')}
${foot(version)}`,
  )
}

const foot = (version: string): string =>
  `<nav><a href="/">Start</a> <a href="/stats">Statistics</a> <a href="/metrics">Metrics</a></nav>
<p><small>Skep ${escaped(version)}. Programs get /stats as JSON.</small></p>`

const list = (rows: readonly (readonly [string, unknown])[]): string =>
  `<dl>\n${rows.map(([key, value]) => `<div><dt>${escaped(label(key))}</dt><dd>${shown(key, value)}</dd></div>`).join('\n')}\n</dl>`

/** `answersPerSecond`: answers per second. */
const words = (key: string): string =>
  key.replace(/_/g, ' ').replace(/[a-z0-9][A-Z]/g, (c) => `${c[0]} ${c[1]!.toLowerCase()}`)

const label = (key: string): string => words(key.replace(/Seconds$/, '').replace(/Now$/, ' now'))

function shown(key: string, value: unknown): string {
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (typeof value !== 'number') return escaped(String(value))
  if (/Seconds$/.test(key)) return duration(value)
  if (/bytes/i.test(key) && value >= 1024) return `${binary(value)}`
  return value.toLocaleString('en')
}

function duration(seconds: number): string {
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [Math.floor(seconds) % 60, 's'],
  ]
  const first = parts.findIndex(([n]) => n > 0)
  if (first < 0) return '0 s'
  const two = parts.slice(first, first + 2).filter(([n]) => n > 0)
  return two.map(([n, unit]) => `${n} ${unit}`).join(' ')
}

function binary(bytes: number): string {
  const power = Math.min(4, Math.floor(Math.log2(bytes) / 10))
  return `${(bytes / 1024 ** power).toFixed(1)} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][power]}`
}
