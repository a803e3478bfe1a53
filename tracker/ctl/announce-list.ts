// skep ctl announce-list: what belongs into a torrent or a client, one URL a tier and replica. Clients stay
// with the address that they once looked up: by UDP most of them never ask the second address of a name, so
// only URLs that name replicas one by one lead to a living one. Refuses: to guess names that the outside has
// for a replica; it prints what replicas call each other unless it is told better.

import { UsageError } from '@skep/cli/command.ts'
import { FAILURE } from '@skep/cli/exit-codes.ts'
import { type Asked, type Call, KEYS } from './asked.ts'

export const ANNOUNCE_LIST_CALLS: readonly Call[] = [
  {
    name: 'announce-list',
    summary: 'Announce URLs as tiers, one for each replica, to paste into a client or a .torrent.',
    words: [
      [
        '[host...]',
        'names or addresses that clients know the replicas by, host or host:UDP-port:HTTP-port; none: as they know each other',
      ],
    ],
    options: [['--only <udp|http>', 'One protocol; without it UDP comes first, then HTTP.']],
    keys: [...KEYS, 'udpPort', 'httpPort'],
    offline: (words) => words.length > 0,
    run: announceList,
  },
]

export type Place = { readonly host: string; readonly udp: number; readonly http: number }
type Member = { readonly id: bigint; readonly name: string; readonly address: string }
export type Ports = { readonly udp: number; readonly http: number }

async function announceList(
  { client, configured, json, options, print, note }: Asked,
  ...hosts: string[]
): Promise<number | undefined> {
  const { udpPort: udp, httpPort: http } = configured.config
  const ports = { udp, http }
  const only = options.only as string | undefined
  if (only !== undefined && only !== 'udp' && only !== 'http')
    throw new UsageError(`--only is udp or http, not "${only}"`)
  let places = hosts.map((host) => placeOf(host, ports))
  if (hosts.length === 0) {
    const { raft, udpPort, httpPort } = await client.status({})
    // By its own word, unless it is of a version that does not say so.
    const own = udpPort === 0 ? ports : { udp: udpPort, http: httpPort }
    places = placesOf(raft?.members ?? [], raft?.memberId ?? 0n, own)
    if (places.length === 0) {
      note(
        'this replica knows no address that others reach it by: name the hosts, skep ctl announce-list HOST...',
      )
      return FAILURE
    }
  }
  const tiers = tiersOf(places, only)
  // A line between two URLs is what clients take for the next tier.
  print(
    json ? JSON.stringify({ announce: tiers[0]![0], 'announce-list': tiers }, null, 2) : tiers.join('\n\n'),
  )
  for (const line of notes(places)) note(line)
  return undefined
}

/** `host`, `host:udp:http`, `[v6]`, `[v6]:udp:http`. */
export function placeOf(text: string, ports: Ports): Place {
  const m = /^(\[[0-9a-fA-F:.]+\]|[^[\]:]+)(?::(\d{1,5}):(\d{1,5}))?$/.exec(text)
  const bare = m === null && /^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*$/.test(text) ? `[${text}]` : undefined
  const [udp, http] = [m?.[2] ?? ports.udp, m?.[3] ?? ports.http].map(Number) as [number, number]
  const host = hostOf(bare ?? m?.[1] ?? '')
  if (host === undefined || udp < 1 || udp > 65_535 || http < 1 || http > 65_535)
    throw new UsageError(`"${text}" is neither a host nor host:UDP-port:HTTP-port`)
  return { host, udp, http }
}

/**
 * As clients take it, international names in ASCII; undefined for what nobody can look up: it is pasted
 * unread.
 */
function hostOf(text: string): string | undefined {
  if (!/^(\[.*\]|[\p{L}\p{M}\p{N}._-]+)$/u.test(text)) return undefined
  const url = URL.parse(`http://${text}`)
  // Short forms of IPv4 such as 10.1 are read by some clients only.
  return url === null || (/^[\d.]+$/.test(text) && url.hostname !== text) ? undefined : url.hostname
}

/** Replicas of one host have their ports moved as their replica ports are, as skep start --replicas does. */
export function placesOf(members: readonly Member[], asked: bigint, ports: Ports): Place[] {
  const own = split(members.find((m) => m.id === asked)?.address ?? '')
  const named = [...members].sort((a, b) => (a.name < b.name ? -1 : 1))
  return named.flatMap(({ address }) => {
    const at = split(address)
    if (at === null) return []
    const moved = own !== null && own.host === at.host ? at.port - own.port : 0
    return [{ host: at.host, udp: ports.udp + moved, http: ports.http + moved }]
  })
}

const split = (address: string): { host: string; port: number } | null => {
  const m = /^(.+):(\d+)$/.exec(address)
  return m === null ? null : { host: m[1]!, port: Number(m[2]) }
}

export const tiersOf = (places: readonly Place[], only?: 'udp' | 'http'): string[][] => [
  ...(only === 'http' ? [] : places.map(({ host, udp }) => [`udp://${host}:${udp}/announce`])),
  ...(only === 'udp' ? [] : places.map(({ host, http }) => [`http://${host}:${http}/announce`])),
]

const NEAR =
  /^(localhost|127\.|10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|169\.254\.|.*\.(svc|local|internal)$|\[::1\]|\[f[cde])/

function notes(places: readonly Place[]): string[] {
  const near = places.find(({ host }) => NEAR.test(host) || !/[.:]/.test(host))
  return [
    ...(near === undefined
      ? []
      : [
          `${near.host} is an address of this machine or network: name what clients know the replicas by, as in skep ctl announce-list tracker0.example.org tracker1.example.org`,
        ]),
    'Each URL is a tier of its own: a client that gets no answer goes on to the next. A name with several addresses does not do that by UDP, and an AAAA record only helps where IPv6 is as good as IPv4.',
    'transmission, rtorrent and qBittorrent announce to every tier; --only udp leaves them half of it.',
  ]
}
