// What skep ctl prints: tables for people, JSON for programs. Refuses: asking anything.

import { type JsonValue, toJson as messageToJson } from '@bufbuild/protobuf'
import { showBytes, showMilliseconds } from '@skep/cli/values.ts'
import {
  AllowPrivate,
  ChangeAccessResponseSchema,
  EventsResponseSchema,
  type Member,
  RaftSchema,
  Role,
  type Settings,
  SettingsSchema,
  SnapshotResponseSchema,
  State,
  type StatusResponse,
  StatusResponseSchema,
} from '@skep/wire/proto/gen/skep/cluster/v1/cluster_pb.js'
import { counted, rounded } from '@skep/wire/words.ts'
import { type Ports, placesOf, tiersOf } from './announce-list.ts'
import type { Finding } from './finding.ts'

const SCHEMAS = {
  status: StatusResponseSchema,
  raft: RaftSchema,
  event: EventsResponseSchema,
  settings: SettingsSchema,
  access: ChangeAccessResponseSchema,
  snapshot: SnapshotResponseSchema,
} as const

/** Protobuf's JSON: 64-bit numbers are strings, enumerations names. */
export function toJson(kind: keyof typeof SCHEMAS, message: object, indented = true): string {
  const value: JsonValue = messageToJson(SCHEMAS[kind], message as never, { alwaysEmitImplicit: true })
  return JSON.stringify(value, null, indented ? 2 : 0)
}

/** Rows with aligned first column. */
function table(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length)) + 2
  return rows.map(([name, value]) => `${name.padEnd(width)}${value}`).join('\n')
}

const number = (n: bigint | number): string => n.toLocaleString('en')

/** About how much, as a person says it. */
export function size(bytes: bigint): string {
  const n = Number(bytes)
  for (const [unit, one] of [
    ['GiB', 1024 ** 3],
    ['MiB', 1024 ** 2],
    ['KiB', 1024],
  ] as const)
    if (n >= one) return `${(n / one).toFixed(1)} ${unit}`
  return showBytes(n)
}

export function statusTable({
  name,
  version,
  uptimeSeconds,
  state,
  raft,
  table: swarm,
  disk,
  load,
  warnings,
  notReady,
  draining,
  birthAwaits,
  udpPort,
  httpPort,
}: StatusResponse): string {
  const share = (used = 0n, room = 0n): string => `${number(used)} of ${number(room)}`
  const rows: [string, string][] = [
    ['replica', `${name}, version ${version}, up ${showMilliseconds(Math.floor(uptimeSeconds) * 1000)}`],
    ['state', `${State[state].toLowerCase()}${draining ? ', being drained' : ''}`],
    ...(notReady === '' || draining ? [] : [['not ready', notReady] as [string, string]]),
    ...warnings.map((warning): [string, string] => ['warning', warning]),
  ]
  // Before its birth a replica has nothing else to tell.
  if (birthAwaits !== '') return table(rows)
  rows.push(
    [
      'raft',
      `${Role[raft?.role ?? 0].toLowerCase().replace('_', '-')} in term ${raft?.term}, cluster ${raft?.clusterId}`,
    ],
    [
      'log',
      `applied ${raft?.appliedIndex}, committed ${raft?.commitIndex}, last ${raft?.lastIndex}; ${size(disk?.logBytes ?? 0n)}, snapshot at ${disk?.snapshotIndex}`,
    ],
    ['level', `${raft?.level}${raft?.levelAwaits ? `; it will be raised: ${raft.levelAwaits}` : ''}`],
    ['disk', `${size(disk?.freeBytes ?? 0n)} free${disk?.full ? ', FULL: changes are refused' : ''}`],
    ['torrents', share(swarm?.torrents, swarm?.torrentsCapacity)],
    [
      'peers',
      `${number(swarm?.peers ?? 0n)} (room for ${number(swarm?.peersIpv4Capacity ?? 0n)} IPv4, ${number(swarm?.peersIpv6Capacity ?? 0n)} IPv6), ${size(swarm?.bytesInUse ?? 0n)}`,
    ],
    [
      'answers',
      `${number(load?.answers ?? 0n)}, now ${rounded(load?.answersPerSecond ?? 0)} a second; interval ${showMilliseconds((load?.intervalSeconds ?? 0) * 1000)}`,
    ],
    ...(raft?.members ?? []).map((member): [string, string] => [
      'member',
      [member.name || '?', ...standing(member, raft?.leaderId ?? 0n)].join(', '),
    ]),
    ...tiers(raft, { udp: udpPort, http: httpPort }),
  )
  return table(rows)
}

/** Announce URLs as replicas know each other, a tier each; where to get those that clients can use. */
function tiers(raft: StatusResponse['raft'], ports: Ports): [string, string][] {
  // A version that does not say where it takes announces.
  if (raft === undefined || ports.udp === 0) return []
  const places = placesOf(raft.members, raft.memberId, ports)
  if (places.length === 0)
    return [
      [
        'announce',
        `UDP port ${ports.udp}, HTTP port ${ports.http}; skep ctl announce-list HOST: URLs to paste`,
      ],
    ]
  return tiersOf(places).map(([url], i) => [i === 0 ? 'announce' : '', `tier ${i + 1}: ${url}`])
}

/** What is worth saying of a member, in words. */
const standing = (m: Member, leader: bigint): string[] => [
  m.voter ? 'voter' : 'learner',
  ...(m.id === leader ? ['leader'] : []),
  ...(m.self ? ['this replica'] : m.connection === '' ? [] : [m.connection]),
  ...(m.lag === undefined || m.self ? [] : [`${counted(m.lag, 'entry', 'entries')} behind`]),
  ...(m.diskFails ? ['its disk takes no writes'] : []),
]

const HEAD = ['name', 'role', 'address', 'behind', 'heard', 'connection', 'disk', 'version', 'ID'] as const

/** The cluster as one replica sees it; `-`: only the leader knows. */
export function membersTable({ raft, warnings }: StatusResponse): string {
  const { members = [], leaderId = 0n, transfers = [], awaits = '' } = raft ?? {}
  const leads = members.some((m) => m.self && m.id === leaderId)
  // Followers hear of each other only through the leader.
  const heard = (m: Member): string =>
    m.heardMsAgo === undefined ? (leads ? 'never' : '-') : `${(m.heardMsAgo / 1000).toFixed(1)} s ago`
  const rows = [...members]
    .sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }))
    .map((m) => [
      `${m.name || '?'}${m.self ? ' *' : ''}`,
      m.id === leaderId ? 'leader' : m.voter ? 'voter' : 'learner',
      m.address || '-',
      m.lag === undefined || !leads ? '-' : number(m.lag),
      m.self ? '-' : heard(m),
      `${m.self ? '-' : m.connection}${m.diskFails ? ', disk fails' : ''}${m.draining ? ', being drained' : ''}`,
      m.diskBytes === undefined ? '-' : size(m.diskBytes),
      m.version || '-',
      String(m.id),
    ])
  const widths = HEAD.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)) + 2)
  const name = (id: bigint): string => members.find((m) => m.id === id)?.name ?? String(id)
  const lines = [
    ...[[...HEAD], ...rows].map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('')
        .trimEnd(),
    ),
    ...members
      .filter((m) => m.replaces !== 0n)
      .map((m) => `${m.name} (member ${m.id}) replaces member ${m.replaces} once it has caught up.`),
    ...(leaderId === 0n ? ['Nobody leads at the moment.'] : []),
    ...(raft?.joint ? ['Members are being changed: a joint change is not through yet.'] : []),
    ...(awaits === '' ? [] : [`Next: ${awaits}`]),
    ...transfers.map(
      (t) =>
        `The state goes ${t.outgoing ? 'to' : 'here from'} ${name(t.memberId)}: ${share(t.bytes, t.totalBytes)}, ` +
        `${size(BigInt(Math.round(t.bytesPerSecond)))}/s` +
        (t.secondsLeft === undefined ? '' : `, ${Math.ceil(t.secondsLeft)} s left`),
    ),
    ...warnings.map((warning) => `Warning: ${warning}`),
  ]
  return lines.join('\n')
}

const share = (bytes: bigint, total: bigint): string =>
  total === 0n ? size(bytes) : `${Math.floor(Number((bytes * 100n) / total))} % of ${size(total)}`

export function settingsTable(settings: Settings): string {
  return table([
    ['interval', showMilliseconds(settings.intervalSeconds * 1000)],
    ['interval-max', showMilliseconds(settings.intervalMaxSeconds * 1000)],
    ['numwant-default', String(settings.numwantDefault)],
    ['numwant-max', String(settings.numwantMax)],
    ['allow-private', AllowPrivate[settings.allowPrivate].toLowerCase()],
  ])
}

const MARKS = { good: 'ok  ', fair: 'note', bad: 'BAD ' } as const

export const faultsTable = (findings: readonly Finding[]): string =>
  findings
    .map(({ verdict, what, mend }) => `${MARKS[verdict]}  ${what}${mend === '' ? '' : `\n      ${mend}`}`)
    .join('\n')
