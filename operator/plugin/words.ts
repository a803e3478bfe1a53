// What kubectl skep prints for people.
// Refuses: colours, and to ask anything.

import { counted } from '@skep/wire/words.ts'
import { ORDINAL_LABEL, PART_LABEL, POD_LABEL } from '../model/labels.ts'
import type { KubeObject } from '../model/ports.ts'
import type { TrackerCluster } from '../model/types.ts'
import type { Finding } from './doctor.ts'

export type Told = {
  readonly at: string
  readonly who: string
  readonly what: string
  readonly words: string
}

const MARKS = { good: 'ok  ', fair: 'fair', bad: 'BAD ' } as const

export function statusLines(cluster: TrackerCluster, services: readonly KubeObject[], nowMs: number): string {
  const { metadata, spec, status } = cluster
  const lines = [
    `${metadata.namespace}/${metadata.name}${spec.paused ? ' (paused)' : ''}${spec.hibernated ? ' (hibernated)' : ''}`,
  ]
  if (status === undefined) return `${lines[0]}\n  no operator has looked at it yet\n`
  const facts = [
    `${status.readyReplicas ?? 0} of ${counted(status.wishedReplicas ?? spec.replicas ?? 3, 'replica')} ready`,
    `${status.voters ?? 0} vote`,
    status.leader === undefined ? 'nobody leads' : `${status.leader} leads (term ${status.term ?? '?'})`,
    `${counted(Math.round(status.announcesPerSecond ?? 0), 'announce')} a second`,
    ...(status.peers === undefined
      ? []
      : [`${counted(status.peers, 'peer')} of ${counted(status.torrents ?? 0, 'torrent')}`]),
    ...(status.version === undefined ? [] : [`version ${status.version}`]),
  ]
  lines.push(`  ${facts.join(', ')}`, '')
  for (const { type, status: is, reason, message, lastTransitionTime } of status.conditions ?? [])
    lines.push(`  ${type.padEnd(18)}${is.padEnd(8)}${reason}: ${message} (${ago(lastTransitionTime, nowMs)})`)
  const members = (status.members ?? []).map((m) => [
    m.name,
    m.role,
    m.ready ? 'ready' : '-',
    m.lag === undefined ? '' : `lag ${m.lag}`,
    m.node ?? '',
    m.detail ?? '',
  ])
  lines.push('', ...table(members).map((l) => `  ${l}`), '')
  lines.push(...announceLines(services).map((l) => `  ${l}`))
  if (status.lastStep !== undefined) {
    const { kind, message, at, count } = status.lastStep
    lines.push(
      '',
      `  last step: ${kind}, ${ago(at, nowMs)}${count > 1 ? `, ${count} times` : ''}: ${message}`,
    )
  }
  if (status.waiting !== undefined)
    lines.push(`  waits: ${status.waiting.reason}, since ${ago(status.waiting.since, nowMs)}`)
  return `${lines.join('\n').replaceAll(/\n{3,}/g, '\n\n')}\n`
}

type Ports = {
  readonly type?: string
  readonly ports?: readonly { port: number; nodePort?: number; protocol?: string }[]
}
type Balanced = {
  readonly loadBalancer?: { readonly ingress?: readonly { ip?: string; hostname?: string }[] }
}

/**
 * What belongs into a torrent or a client. Tiers, since clients stay with the address that they once looked
 * up: with UDP most of them never ask a second address of a name.
 */
function announceLines(services: readonly KubeObject[]): string[] {
  const of = (...parts: string[]): string[][] =>
    parts.flatMap((part) =>
      services
        .filter((s) => s.metadata.labels?.[PART_LABEL] === part)
        .sort((a, b) => ordinal(a) - ordinal(b))
        .flatMap(serviceRow),
    )
  const own = of('own-udp', 'own-http')
  const common = of('udp', 'http')
  if (own.length === 0)
    return [
      'announce URLs, each a tier of its own; NODE: a tier for each node with a replica',
      ...table(common),
    ]
  return [
    'announce URLs of single replicas, each a tier of its own; while one is away, another answers there',
    ...table(own),
    '',
    'of all replicas together',
    ...table(common),
  ]
}

const ordinal = (service: KubeObject): number => Number(service.metadata.labels?.[ORDINAL_LABEL] ?? 0)

function serviceRow({ metadata, spec, status }: KubeObject): string[][] {
  const part = metadata.labels?.[PART_LABEL]?.replace('own-', '')
  if (part !== 'udp' && part !== 'http') return []
  const { type, ports } = (spec ?? {}) as Ports
  const [port] = ports ?? []
  const at = ((status ?? {}) as Balanced).loadBalancer?.ingress?.map((i) => i.hostname ?? i.ip ?? '?') ?? []
  const where =
    type === 'LoadBalancer' && at.length > 0
      ? at.map((a) => `${part}://${a}:${port?.port}/announce`)
      : type === 'ClusterIP'
        ? [`${part}://${metadata.name}.${metadata.namespace}:${port?.port}/announce`]
        : [`${part}://NODE:${port?.nodePort ?? '?'}/announce`]
  const target = (spec?.selector as Readonly<Record<string, string>> | undefined)?.[POD_LABEL]
  return where.map((url) => [
    type === 'LoadBalancer' && at.length === 0 ? 'LoadBalancer, pending' : (type ?? '?'),
    url,
    target === undefined ? '' : `answered by ${target}`,
  ])
}

export const eventLines = (told: readonly Told[]): string =>
  told.length === 0
    ? 'nothing is remembered\n'
    : `${table(told.map(({ at, who, what, words }) => [at.slice(0, 19), who, what, words])).join('\n')}\n`

export function findingLines(findings: readonly Finding[]): string {
  const lines = findings.flatMap(({ where, verdict, what, mend }) => [
    `${MARKS[verdict]}  ${where === undefined ? '' : `${where}: `}${what}`,
    ...(mend === '' ? [] : [`      -> ${mend}`]),
  ])
  const count = (verdict: Finding['verdict']): number => findings.filter((f) => f.verdict === verdict).length
  return `${lines.join('\n')}\n\n${count('good')} ok, ${count('fair')} fair, ${count('bad')} bad\n`
}

/** Columns as wide as their widest cell, two blanks between. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((r) => r[i]!.length)))
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join('  ')
      .trimEnd(),
  )
}

function ago(time: string, nowMs: number): string {
  const seconds = Math.max(0, Math.round((nowMs - Date.parse(time)) / 1000))
  if (!Number.isFinite(seconds)) return time
  if (seconds < 120) return `${seconds} s ago`
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ago`
  return seconds < 172_800
    ? `${Math.floor(seconds / 3600)} h ago`
    : `${counted(Math.floor(seconds / 86_400), 'day')} ago`
}
