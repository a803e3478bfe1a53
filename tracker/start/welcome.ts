// What people see when a tracker starts in their terminal: what runs where, with announce URLs to paste.
// Refuses: starting anything.

import { existsSync, readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import type { Source } from '@skep/cli/layers.ts'
import { shellWords, skepCommand } from '@skep/cli/paste.ts'
import { type ConfigKey, OPTIONS, type TrackerConfig } from '../config/options.ts'
import { parseAddress } from '../http/address.ts'
import type { Running } from '../main.ts'
import { addressClass4, addressClass6, addressRefusal, PRIVATE, PUBLIC } from '../swarm/address.ts'
import type { Settings } from '../swarm/settings.ts'

/** The addresses to listen on: `::` is left out where nobody asked for it and the machine has no IPv6. */
export function hostsOf(config: TrackerConfig, sources: ReadonlyMap<ConfigKey, Source>): readonly string[] {
  if (sources.get('hosts') !== 'default') return config.hosts
  const speaksIpv6 = Object.values(networkInterfaces()).some((list) =>
    list?.some(({ family }) => family === 'IPv6'),
  )
  return config.hosts.filter((host) => speaksIpv6 || !host.includes(':'))
}

/** What runs where, with announce URLs to paste. */
export function welcome({ ports, hosts, networkKey, settings }: Running, config: TrackerConfig): string {
  const names = hosts.flatMap(addressesOf)
  const ctl = ctlWords('status', ports.control, config)
  const { allowPrivate } = settings()
  const urls = ['udp', 'http'].flatMap((kind) =>
    names.map((host) => urlLine(kind, host, kind === 'udp' ? ports.udp : ports.http, allowPrivate)),
  )
  return `
  Skep ${version()} is running: one tracker replica, ${config.name}.

  Announce URLs (paste into a client or a .torrent):
${urls.join('\n')}

  Statistics   http://${names[0]}:${ports.http}/stats   (also /, /metrics, /readyz)
  Control API  ${config.controlHost} port ${ports.control}: ${ctl}
  Data         ${config.dataDir}${networkKey.made ? `  (new network key: ${networkKey.path})` : ''}

  Ctrl-C stops it, and nothing is forgotten.

`
}

/** What it does, before it is done: the first start on a folder takes a moment. */
export const firstWords = (config: TrackerConfig): string =>
  existsSync(join(config.dataDir, 'replica'))
    ? `skep: starting ${config.name} with what it knew in ${config.dataDir}\n`
    : `skep: starting ${config.name}: a new tracker, alone, without torrents; its data go to ${config.dataDir}, announce URLs follow\n`

const urlLine = (kind: string, host: string, port: number, allowPrivate: Settings['allowPrivate']): string =>
  `    ${kind}://${host}:${port}/announce${refusedText(host, allowPrivate)}`

/** Whoever announces from this address, as from this machine, would hear so: said before. */
function refusedText(host: string, allowPrivate: Settings['allowPrivate']): string {
  const asker = parseAddress(host.replace(/^\[|\]$/g, ''))
  if (asker === null) return ''
  const [a = 0, b = 0, c = 0, d = 0] = asker.words
  const kind = asker.v6 ? addressClass6(a, b, c, d) : addressClass4(a)
  if (kind === PUBLIC || (kind === PRIVATE && allowPrivate !== 'off')) return ''
  return `   (clients at this address are refused: ${addressRefusal(kind, asker.v6, [a, b, c, d])})`
}

/** A replica of `skep start --replicas`, as it runs. */
export type ClusterRow = {
  readonly name: string
  readonly pid: number
  readonly udp: number
  readonly http: number
  readonly control: number
  readonly replicaPort: number
  readonly dataDir: string
  readonly hosts: readonly string[]
  readonly allowPrivate: Settings['allowPrivate']
}

const HEAD = ['replica', 'process', 'UDP', 'HTTP', 'control', 'replicas', 'data']

/** What runs where, for a cluster in one terminal. */
export function clusterWelcome(rows: readonly ClusterRow[], config: TrackerConfig, keyFile: string): string {
  const cells = rows.map((r) =>
    [r.name, r.pid, r.udp, r.http, r.control, r.replicaPort, r.dataDir].map(String),
  )
  const widths = HEAD.map((title, i) => Math.max(title.length, ...cells.map((row) => row[i]!.length)) + 2)
  const line = (row: readonly string[]): string =>
    `    ${row.map((cell, i) => cell.padEnd(widths[i]!)).join('')}`.trimEnd()
  const names = rows[0]!.hosts.flatMap(addressesOf)
  const urls = (['udp', 'http'] as const).flatMap((kind) =>
    rows.map((row) => urlLine(kind, names[0]!, row[kind], row.allowPrivate)),
  )
  return `
  Skep ${version()} is running: a cluster of ${rows.length} replicas, a process each.

${[HEAD, ...cells].map(line).join('\n')}

  Announce URLs, a tier each (paste them with an empty line between two):
${urls.join('\n')}
  Each replica knows every peer, and a client that gets no answer goes on to the next tier${others(names, rows[0]!.allowPrivate)}.

  Who leads    ${ctlWords('members', rows[0]!.control, config, keyFile)}   (any replica's control port)
  Network key  ${keyFile}

  Ctrl-C stops all of them, and nothing is forgotten. To see what a cluster is for: kill -9 one of the processes.

`
}

/** The replicas' other addresses: those from where clients would be refused are left out. */
function others(names: readonly string[], allowPrivate: Settings['allowPrivate']): string {
  const taken = names.slice(1).filter((name) => refusedText(name, allowPrivate) === '')
  return taken.length === 0 ? '' : `; also at ${taken.join(', ')}`
}

/** How to ask the replica at this control port. */
function ctlWords(what: string, control: number, config: TrackerConfig, keyFile?: string): string {
  const key =
    config.networkKeyFile !== null
      ? ['--network-key-file', keyFile ?? config.networkKeyFile]
      : config.dataDir === OPTIONS.dataDir.default
        ? []
        : ['--data-dir', config.dataDir]
  const port = control === OPTIONS.controlPort.default ? [] : ['--control-port', String(control)]
  return `${skepCommand()} ${shellWords(['ctl', what, ...port, ...key])}`
}

/**
 * The addresses behind one to listen on, as they stand in a URL: loopback first, link-local ones left out.
 */
function addressesOf(host: string): string[] {
  if (host !== '0.0.0.0' && host !== '::') return [host.includes(':') ? `[${host}]` : host]
  const family = host === '::' ? 'IPv6' : 'IPv4'
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
  const found = all.filter((address) => address.family === family && !address.address.startsWith('fe80:'))
  found.sort((a, b) => Number(b.internal) - Number(a.internal))
  return found.map(({ address }) => (family === 'IPv6' ? `[${address}]` : address))
}

export function version(): string {
  return JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version
}
