// Cases of the plan as text: a few words for each pod and member become what the operator would have
// observed, and a plan becomes lines again. Words that nobody knows are refused, so that a case cannot test
// less than it says.
//
//   spec     replicas=3 storage.retention=Delete      fields of the specification
//   meta     deleting finalizer recover=(...)         what else the resource says
//   pods     0:ready 1:lost(12m) 2:ready,old          one word or more for each pod
//   raft     0:voter,leader 1:voter 2:learner,lag=900 members as the leader sees them; absent: nobody leads
//   says     1:joining 2:removed 0:cluster=other      what replicas say otherwise
//   claims   0 1 2:deleting                           default: one for each pod
//   sts      replicas=3 size=3 revision=new           default: as many as pods; none: there is no StatefulSet
//   status   clusterID=none voters=5 new              default: cluster c1 that was whole once, voters as in raft
//   config   join | create | none
//   drift    StatefulSet/t ConfigMap/t-config:absent
//   jobs     recover:2=failed(no space)
//   key      names=(a b) phase=Adding rotation=v
//   load     0:5000 1:5000                            announces a second
//   private  0.9                                      share of announces from private addresses
//   services udp=Cluster
//   own      0:0 1:2 2:-                              replica and whom its own Services lead to; -: elsewhere
//   failure  no room                                  why the last step failed
//   version  1.2.0                                    of all replicas, or 0:1.1.0 1:1.2.0

import type {
  ClaimSeen,
  JobSeen,
  MemberReport,
  MemberSeen,
  Observed,
  OwnServiceSeen,
  PodSeen,
  RaftMember,
} from '../model/facts.ts'
import { claimName, ownServiceName, podName } from '../model/names.ts'
import type { Decided, Plan, Step } from '../model/steps.ts'
import type { MemberState, TrackerClusterSpec, TrackerClusterStatus } from '../model/types.ts'
import { FINALIZER } from '../model/types.ts'
import { durationMs, rfc3339 } from '../model/units.ts'

export const NAME = 't'
export const NAMESPACE = 'n'
/** Saturday noon: when every case begins. */
export const BEGIN_MS = Date.parse('2026-01-03T12:00:00Z')

type Word = { readonly key: string; readonly value: string }
/** `a`, `a=b`, `a(b)`, `a=(b c)` -> key and value. */
const words = (line: string): Word[] =>
  (line.match(/[^\s(]*\([^)]*\)|\S+/g) ?? []).map((text) => {
    const m = /^([^=(]+)(?:=?\((.*)\)|=(.*))?$/.exec(text)
    if (m === null) throw new Error(`"${text}" is no word of a case`)
    return { key: m[1]!, value: m[2] ?? m[3] ?? '' }
  })

/** `0:ready,old 1:lost(12m)` -> by ordinal. */
const byOrdinal = (line: string): Map<number, Word[]> =>
  new Map(
    (line.match(/\d+(?::(?:[^\s(]|\([^)]*\))+)?/g) ?? []).map((text) => {
      const [, ordinal, rest] = /^(\d+):?(.*)$/.exec(text)!
      return [Number(ordinal), words((rest ?? '').replace(/,(?![^(]*\))/g, ' '))]
    }),
  )

const ms = (text: string): number => {
  const n = durationMs(text)
  if (n === null) throw new Error(`"${text}" is no duration`)
  return n
}

const value = (text: string): unknown => {
  if (/^-?\d+(\.\d+)?$/.test(text)) return Number(text)
  return text === 'true' ? true : text === 'false' ? false : text
}

export type Lines = ReadonlyMap<string, string>

export const linesOf = (input: string): Map<string, string> => {
  const known =
    /^(spec|meta|pods|raft|says|claims|sts|status|config|drift|jobs|key|load|private|services|own|version|stale|table|failure)$/
  return new Map(
    input.split('\n').map((line) => {
      const [, head, rest] = /^(\S+)\s*(.*)$/.exec(line)!
      if (!known.test(head!)) throw new Error(`a case has no line "${head}"`)
      return [head!, rest!.trim()]
    }),
  )
}

/** `before`: the status that the last pass of this case wrote. */
export const observedOf = (lines: Lines, nowMs: number, before: TrackerClusterStatus | null): Observed => {
  const pods = podsOf(lines, nowMs)
  const raft = raftOf(lines)
  const status = before ?? statusLine(lines, pods, raft, nowMs)
  const meta = words(lines.get('meta') ?? '')
  const has = (key: string): boolean => meta.some((w) => w.key === key)
  const annotations = Object.fromEntries(
    meta
      .filter((w) => /^(recover|rotate-key|restart|allow-skew)$/.test(w.key))
      .map((w) => [`skep.dev/${w.key}`, w.value]),
  )
  return {
    resource: {
      apiVersion: 'skep.dev/v1alpha1',
      kind: 'TrackerCluster',
      metadata: {
        name: meta.find((w) => w.key === 'name')?.value ?? NAME,
        namespace: NAMESPACE,
        uid: 'u1',
        generation: 1,
        resourceVersion: '1',
        annotations,
        finalizers: has('finalizer') ? [FINALIZER] : [],
        ...(has('deleting') ? { deletionTimestamp: rfc3339(nowMs) } : {}),
      },
      spec: specOf(lines.get('spec') ?? ''),
      status,
    },
    stale: lines.get('stale') ?? null,
    failure: lines.get('failure') ?? '',
    drift: words(lines.get('drift') ?? '').map((w) => {
      const [kind, rest] = w.key.split('/')
      const [name, absent] = rest!.split(':')
      return { kind: kind as Observed['drift'][number]['kind'], name: name!, absent: absent === 'absent' }
    }),
    config: configOf(lines, status),
    key: keyOf(lines),
    statefulSet: setOf(lines, pods),
    pods,
    claims: claimsOf(lines, pods),
    services: words(lines.get('services') ?? '').map((w) => ({
      name: `${NAME}-${w.key}`,
      protocol: w.key as 'udp' | 'http',
      type: 'LoadBalancer',
      externalTrafficPolicy: w.value,
      nodePort: null,
      addresses: [],
    })),
    ownServices: ownServicesOf(lines.get('own') ?? ''),
    jobs: jobsOf(lines),
    members: membersOf(lines, pods, raft),
    endpointsReady: pods.filter((p) => p.ready).length,
    version: '1.2.0',
  }
}

const specOf = (line: string): TrackerClusterSpec => {
  const spec: Record<string, unknown> = {
    image: { repository: 'registry.example/skep', tag: '1.2.0' },
  }
  for (const { key, value: text } of words(line)) {
    const path = key.split('.')
    let at = spec
    for (const part of path.slice(0, -1)) at = (at[part] ??= {}) as Record<string, unknown>
    at[path.at(-1)!] = value(text)
  }
  return spec
}

const podsOf = (lines: Lines, nowMs: number): PodSeen[] =>
  [...byOrdinal(lines.get('pods') ?? '')].map(([ordinal, flags]) => {
    const of = (key: string): string | undefined => flags.find((w) => w.key === key)?.value
    for (const { key } of flags)
      if (!/^(ready|unready|pending|deleting|old|waiting|exit|young|created|lost|uid)$/.test(key))
        throw new Error(`a pod has no word "${key}"`)
    const ready = of('ready') !== undefined || of('young') !== undefined
    return {
      name: podName(NAME, ordinal),
      ordinal,
      uid: of('uid') ?? `pod${ordinal}`,
      revision: of('old') === undefined ? 'new' : 'old',
      phase: of('pending') === undefined ? 'Running' : 'Pending',
      ready,
      readySinceMs: nowMs - (of('young') === undefined ? 3_600_000 : ms(of('young')!)),
      deleting: of('deleting') !== undefined,
      createdMs: nowMs - (of('created') === undefined ? 3_600_000 : ms(of('created')!)),
      node: of('pending') === undefined ? `node${ordinal}` : '',
      waiting: of('waiting') ?? '',
      exitCode: of('exit') === undefined ? null : Number(of('exit')),
    }
  })

type Raft = RaftMember & { readonly leads: boolean; readonly ordinal: number }

const raftOf = (lines: Lines): Raft[] =>
  (lines.get('raft') ?? '').split(/\s+(?![^(]*\))/).flatMap((text) =>
    [...byOrdinal(text)].map(([ordinal, flags]) => {
      const of = (key: string): string | undefined => flags.find((w) => w.key === key)?.value
      for (const { key } of flags)
        if (!/^(voter|learner|leader|lag|silent|id|replaces|diskfails|draining|name)$/.test(key))
          throw new Error(`a member has no word "${key}"`)
      const leads = of('leader') !== undefined
      return {
        id: of('id') ?? String(100 + ordinal),
        name: of('name') ?? podName(NAME, ordinal),
        ordinal,
        voter: of('voter') !== undefined,
        leads,
        lag: leads ? 0 : Number(of('lag') ?? 0),
        heardMsAgo: leads ? 0 : of('silent') === undefined ? 200 : ms(of('silent') || '1h'),
        replaces: of('replaces') ?? '0',
        diskFails: of('diskfails') !== undefined,
        draining: of('draining') !== undefined,
      }
    }),
  )

const membersOf = (lines: Lines, pods: readonly PodSeen[], raft: readonly Raft[]): MemberSeen[] => {
  const says = byOrdinal(lines.get('says') ?? '')
  return pods.map((pod) => {
    const { ordinal } = pod
    const flags = says.get(ordinal) ?? []
    const lost =
      /(^|,)(lost|pending|waiting)/.test(wordsOf(lines, ordinal)) || flags.some((w) => w.key === 'nothing')
    const base = { pod: pod.name, ordinal, podUid: pod.uid }
    if (lost) return { ...base, ageMs: Number.POSITIVE_INFINITY, report: null, error: 'no answer' }
    const age = flags.find((w) => w.key === 'age')
    return {
      ...base,
      ageMs: age === undefined ? 500 : ms(age.value),
      error: '',
      report: reportOf(lines, ordinal, flags, raft),
    }
  })
}

const wordsOf = (lines: Lines, ordinal: number): string =>
  new RegExp(`(?:^|\\s)${ordinal}:(\\S*)`).exec(lines.get('pods') ?? '')?.[1] ?? ''

const reportOf = (
  lines: Lines,
  ordinal: number,
  flags: readonly Word[],
  raft: readonly Raft[],
): MemberReport => {
  const of = (key: string): string | undefined => flags.find((w) => w.key === key)?.value
  for (const { key } of flags)
    if (
      !/^(joining|removed|cluster|term|leads|changing|age|keys|commit|last|notready|drains|voters|id)$/.test(
        key,
      )
    )
      throw new Error(`a replica has no word "${key}"`)
  const me = raft.find((m) => m.ordinal === ordinal)
  const leader = raft.find((m) => m.leads)
  const joining = of('joining') !== undefined
  const versions = byOrdinal(lines.get('version') ?? '')
  const version =
    versions.get(ordinal)?.[0]?.key ?? (versions.size > 0 ? '1.2.0' : (lines.get('version') ?? '1.2.0'))
  const share = Number(lines.get('private') ?? 0)
  const told = Number(of('voters') ?? 0)
  const others = Array.from({ length: told }, (_, i) => ({
    ...EMPTY_MEMBER,
    id: String(100 + i),
    name: podName(NAME, i),
  }))
  return {
    name: podName(NAME, ordinal),
    version,
    ready: !joining,
    notReady: of('notready') ?? '',
    birthAwaits: joining ? 'no member of a cluster answers yet' : '',
    draining: of('drains') !== undefined,
    networkKeys: (of('keys') ?? 'a').split('/'),
    clusterID: joining ? '' : (of('cluster') ?? 'c1'),
    memberID: of('id') ?? me?.id ?? (of('voters') === undefined ? '0' : String(100 + ordinal)),
    leads: (me?.leads ?? false) || of('leads') !== undefined,
    leaderID: leader?.id ?? '0',
    term: Number(of('term') ?? 3),
    commitIndex: Number(of('commit') ?? 1000),
    lastIndex: Number(of('last') ?? 1000),
    changing: of('changing') !== undefined,
    awaits: '',
    removed: of('removed') === undefined ? '' : of('removed') || 'removed by entry 77',
    members: told > 0 ? others : raft,
    announcesPerSecond: Number(byOrdinal(lines.get('load') ?? '').get(ordinal)?.[0]?.key ?? 0),
    announces: share > 0 ? 1000 : 0,
    announcesPrivate: share * 1000,
    torrents: 10,
    peers: 100,
    tableShare: Number(lines.get('table') ?? 0),
    diskFull: false,
  }
}

const EMPTY_MEMBER: RaftMember = {
  id: '0',
  name: '',
  voter: true,
  lag: null,
  heardMsAgo: null,
  replaces: '0',
  diskFails: false,
  draining: false,
}

const statusLine = (
  lines: Lines,
  pods: readonly PodSeen[],
  raft: readonly Raft[],
  nowMs: number,
): TrackerClusterStatus => {
  const members: MemberState[] = pods.flatMap((p) => {
    const lost = /lost\(([^)]*)\)/.exec(wordsOf(lines, p.ordinal))
    const silentSince = lost === null ? undefined : rfc3339(nowMs - ms(lost[1]!))
    return silentSince === undefined ? [] : [{ name: p.name, role: 'Silent', ready: false, silentSince }]
  })
  const voters = raft.filter((m) => m.voter).length
  const formed = {
    type: 'Ready',
    status: 'True',
    reason: 'Serving',
    message: '',
    lastTransitionTime: rfc3339(nowMs),
    observedGeneration: 1,
  }
  const status: Record<string, unknown> = {
    clusterID: 'c1',
    members,
    conditions: [formed],
    ...(voters > 0 ? { voters } : {}),
  }
  for (const { key, value: text } of words(lines.get('status') ?? '')) {
    if (key === 'new') delete status.conditions
    else if (key === 'recovery') status.recovery = { ...recoveryOf(text) }
    else if (text === 'none') delete status[key]
    else status[key] = value(text)
  }
  return status
}

/** `Stopping survivor=1 size=3` */
const recoveryOf = (text: string): object => {
  const [phase, ...rest] = text.split(' ')
  const fields = Object.fromEntries(rest.map((part) => part.split('=')).map(([k, n]) => [k, Number(n)]))
  return { phase, accepted: 'x', message: '', ...fields }
}

const configOf = (lines: Lines, status: TrackerClusterStatus): Observed['config'] => {
  const [mode, id] = (lines.get('config') ?? '').split(' ')
  if (mode === 'none') return null
  if (mode === 'create') return { birth: 'create', clusterID: null }
  return { birth: 'join', clusterID: id ?? status.clusterID ?? null }
}

const keyOf = (lines: Lines): Observed['key'] => {
  const line = lines.get('key')
  if (line === 'none') return null
  const all = words(line ?? '')
  const of = (key: string): string | undefined => all.find((w) => w.key === key)?.value
  return {
    secretName: of('secret') ?? `${NAME}-network-key`,
    made: of('secret') === undefined,
    names: (of('names') ?? (line === 'empty' ? '' : 'a')).split(' ').filter((n) => n !== ''),
    rotation: of('rotation') ?? '',
    phase: (of('phase') ?? 'Done') as 'Adding' | 'Swapping' | 'Done',
  }
}

const setOf = (lines: Lines, pods: readonly PodSeen[]): Observed['statefulSet'] => {
  const line = lines.get('sts')
  if (line === 'none') return null
  const all = words(line ?? '')
  const of = (key: string): string | undefined => all.find((w) => w.key === key)?.value
  const replicas = Number(of('replicas') ?? pods.length)
  const revision = of('revision') ?? 'new'
  return {
    uid: 's1',
    replicas,
    size: Number(of('size') ?? replicas),
    revision: revision === 'unknown' ? '' : revision,
    deleting: false,
  }
}

const claimsOf = (lines: Lines, pods: readonly PodSeen[]): ClaimSeen[] => {
  const line = lines.get('claims')
  const all = line === undefined ? pods.map((p) => [p.ordinal, []] as const) : [...byOrdinal(line)]
  return all.map(([ordinal, flags]) => ({
    name: claimName(NAME, ordinal),
    ordinal,
    uid: `claim${ordinal}`,
    phase: flags.some((w: Word) => w.key === 'pending') ? 'Pending' : 'Bound',
    deleting: flags.some((w: Word) => w.key === 'deleting'),
    bytes: 2 ** 31,
  }))
}

/** `0:0 1:2`: the Services of replica 1 lead to replica 2; `1:-` elsewhere. */
const ownServicesOf = (line: string): OwnServiceSeen[] =>
  [...byOrdinal(line)].flatMap(([ordinal, [target]]) =>
    (['udp', 'http'] as const).map((part) => ({
      name: ownServiceName(NAME, part, ordinal),
      uid: `${part}${ordinal}`,
      ordinal,
      target: target?.key === '-' ? null : Number(target?.key),
    })),
  )

const jobsOf = (lines: Lines): JobSeen[] =>
  (lines.get('jobs') ?? '').match(/\w+:\d+=\w+(\([^)]*\))?/g)?.map((text) => {
    const [, purpose, ordinal, state, message] = /^(\w+):(\d+)=(\w+)(?:\((.*)\))?$/.exec(text)!
    return {
      name: `${NAME}-${purpose}-${ordinal}`,
      purpose: purpose as JobSeen['purpose'],
      ordinal: Number(ordinal),
      state: state as JobSeen['state'],
      message: message ?? '',
    }
  }) ?? []

/** What came out, as lines. Conditions that say that all is well are left out. */
export const planText = (p: Plan, withEvents: boolean): string => {
  const calm: Readonly<Record<string, string>> = {
    Degraded: 'False',
    QuorumAtRisk: 'False',
    Stalled: 'False',
    Progressing: '-',
    ClientIPPreserved: 'Unknown',
  }
  return [
    `step     ${stepText(p.step)}`,
    `why      ${p.reason}: ${p.message}`,
    ...p.conditions
      .filter((c) => c.status !== calm[c.type] && c.type !== 'Progressing')
      .map((c) => `status   ${c.type}=${c.status} ${c.reason} "${c.message}"`),
    ...(p.status.recovery === undefined ? [] : [`recovery ${p.status.recovery.phase}`]),
    ...(withEvents ? p.events.map((e) => `event    ${e.type} ${e.reason}`) : []),
    `requeue  ${p.requeueAfterMs < 1000 ? `${p.requeueAfterMs}ms` : `${p.requeueAfterMs / 1000}s`}`,
  ].join('\n')
}

const stepText = (step: Step): string => {
  const { kind, ...rest } = step as Step & Record<string, unknown>
  const parts = Object.entries(rest).map(([key, v]) => {
    if (key === 'decided') {
      const d = v as Decided
      const lead = d.targets.length === 0 ? '' : ` targets=${d.targets.join(',')}`
      return `birth=${d.birth} size=${d.size}${kind === 'apply' ? ` replicas=${d.replicas}` : ''}${lead}`
    }
    if (key === 'objects')
      return `objects=${(v as { kind: string; name: string }[]).map((o) => `${o.kind}/${o.name}`).join(',')}`
    return `${key}=${Array.isArray(v) ? v.join(',') : String(v)}`
  })
  return [kind, ...parts].join(' ')
}
