#!/usr/bin/env node
// kubectl skep: how a cluster stands, in words; who is in it; what happened; what is wrong. It asks through
// kubectl and through
// `skep ctl` in the pods, so contexts and rights are those of whoever calls it.
// Refuses: rights and keys of its own, and to change anything but who leads.

import '@skep/cli/guard.ts'
import { execFile } from 'node:child_process'
import { parseArgs } from 'node:util'
import { complain, usageText } from '@skep/cli/complain.ts'
import { FAILURE, OK, USAGE } from '@skep/cli/exit-codes.ts'
import { DATA_FOLDER, KEY_FOLDER } from '../desired/config.ts'
import { PROGRAM } from '../desired/pod.ts'
import { identity } from '../model/labels.ts'
import type { KubeObject } from '../model/ports.ts'
import type { TrackerCluster } from '../model/types.ts'
import { examine, type Finding, type Seen } from './doctor.ts'
import { eventLines, findingLines, statusLines, type Told } from './words.ts'

/** Longest wait for one answer of kubectl, and most that is read of it. */
const KUBECTL_MS = 30_000
const OUTPUT_BYTES = 1 << 26

const HELP = `Usage: kubectl skep <command> [CLUSTER] [options]

  status   [CLUSTER]          conditions and reasons, members, services, the operator's last step
  members  [CLUSTER]          who is in the Raft group, votes, leads and lags
  events   [CLUSTER]          what happened, to Kubernetes' objects and in the cluster
  transfer CLUSTER [POD]      let another replica lead; nobody named: whoever is best
  doctor   [CLUSTER]          look for what commonly goes wrong, in each pod and around them

With one TrackerCluster in the namespace its name may be left out.

Options:
  -n, --namespace NAME        of the cluster
      --context NAME          of the kubeconfig
      --kubeconfig FILE
      --json                  for programs, where there is something to print
  -h, --help

Exit codes: 0 good; 1 something is wrong, or kubectl failed; 64 wrong usage
`

/** What a command is done with; a test has its own. */
export type PluginEnds = {
  /** Standard output of kubectl with these arguments. Rejects with its own words. */
  readonly kubectl: (args: readonly string[]) => Promise<string>
  readonly out: (text: string) => void
  readonly err: (text: string) => void
  readonly nowMs: () => number
}

type Call = PluginEnds & { readonly json: boolean; readonly words: readonly string[] }

const COMMANDS: Readonly<Record<string, (call: Call) => Promise<number>>> = {
  status,
  members,
  events,
  transfer,
  doctor,
}

export async function plugin(args: readonly string[], ends: PluginEnds): Promise<number> {
  const { values, positionals } = parsed(args)
  if (values === null) {
    return wrong(ends, usageText(new Error(positionals[0])))
  }
  const [name, ...words] = positionals
  if (values.help === true || name === undefined) {
    ends.out(HELP)
    return OK
  }
  const command = COMMANDS[name]
  const most = name === 'transfer' ? 2 : 1
  if (command === undefined || words.length > most) {
    const known = Object.keys(COMMANDS).join(', ')
    return wrong(ends, command === undefined ? `no command ${name}, there are ${known}` : 'too many names')
  }
  const passed = (['namespace', 'context', 'kubeconfig'] as const).flatMap((key) =>
    values[key] === undefined ? [] : [`--${key}`, values[key]],
  )
  const kubectl = (more: readonly string[]): Promise<string> => ends.kubectl([...passed, ...more])
  try {
    return await command({ ...ends, kubectl, json: values.json === true, words })
  } catch (error) {
    complain((error as Error).message.trim(), ends.err, NAMED)
    return FAILURE
  }
}

const NAMED = 'kubectl skep'

function wrong({ err }: PluginEnds, text: string): number {
  complain(`${text}; ${NAMED} --help says what there is`, err, NAMED)
  return USAGE
}

const OPTIONS = {
  namespace: { type: 'string', short: 'n' },
  context: { type: 'string' },
  kubeconfig: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const

function parsed(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true })
  } catch (error) {
    return { values: null, positionals: [(error as Error).message] }
  }
}

async function status(call: Call): Promise<number> {
  const cluster = await theCluster(call)
  if (call.json) call.out(`${JSON.stringify(cluster, null, 2)}\n`)
  else call.out(statusLines(cluster, await objects(call, cluster, 'services'), call.nowMs()))
  const ready = cluster.status?.conditions?.find((c) => c.type === 'Ready')
  return ready?.status === 'True' ? OK : FAILURE
}

async function members(call: Call): Promise<number> {
  const cluster = await theCluster(call)
  call.out(await inPod(call, leaderOf(cluster), ['members', ...(call.json ? ['--json'] : [])]))
  return OK
}

async function events(call: Call): Promise<number> {
  const cluster = await theCluster(call)
  const told: Told[] = []
  const lists = await Promise.allSettled([kubeEvents(call, cluster), raftEvents(call, cluster)])
  for (const list of lists)
    if (list.status === 'fulfilled') told.push(...list.value)
    else complain((list.reason as Error).message.trim(), call.err, NAMED)
  told.sort((a, b) => Date.parse(a.at) - Date.parse(b.at))
  if (call.json) call.out(told.map((t) => `${JSON.stringify(t)}\n`).join(''))
  else call.out(eventLines(told))
  return lists.every((list) => list.status === 'fulfilled') ? OK : FAILURE
}

async function kubeEvents(call: Call, { metadata }: TrackerCluster): Promise<Told[]> {
  const text = await call.kubectl(['get', 'events.events.k8s.io', '-n', metadata.namespace, '-o', 'json'])
  type Event = {
    eventTime?: string
    deprecatedFirstTimestamp?: string
    deprecatedLastTimestamp?: string
    series?: { lastObservedTime: string; count: number }
    regarding?: { kind?: string; name?: string }
    reason: string
    note?: string
    metadata: { creationTimestamp: string }
  }
  const own = new RegExp(`^(data-)?${metadata.name}(-.*)?$`)
  return (JSON.parse(text) as { items: Event[] }).items
    .filter((e) => own.test(e.regarding?.name ?? ''))
    .map((e) => ({
      at:
        e.series?.lastObservedTime ??
        e.deprecatedLastTimestamp ??
        e.eventTime ??
        e.metadata.creationTimestamp,
      who: `${e.regarding?.kind ?? ''}/${e.regarding?.name ?? ''}`,
      what: e.reason,
      words: `${e.note ?? ''}${e.series === undefined ? '' : ` (${e.series.count} times)`}`,
    }))
}

async function raftEvents(call: Call, cluster: TrackerCluster): Promise<Told[]> {
  const lines = (await inPod(call, leaderOf(cluster), ['events', '--json']))
    .split('\n')
    .filter((l) => l !== '')
  return lines.map((line) => {
    const { at, kind, memberName, detail } = JSON.parse(line) as Record<string, string>
    return { at: at ?? '', who: memberName ?? '', what: kind ?? '', words: detail ?? '' }
  })
}

async function transfer(call: Call): Promise<number> {
  if (call.words.length === 0) return wrong(call, 'transfer needs the name of the cluster')
  const cluster = await theCluster(call)
  const to = call.words[1] === undefined ? [] : [call.words[1]]
  call.out(await inPod(call, leaderOf(cluster), ['transfer', ...to, ...(call.json ? ['--json'] : [])]))
  return OK
}

async function doctor(call: Call): Promise<number> {
  const cluster = await theCluster(call)
  const found = examine(await seen(call, cluster), call.nowMs())
  const { namespace } = cluster.metadata
  const pods = (await objects(call, cluster, 'pods')).map((p) => p.metadata.name)
  const inside = await Promise.all(
    pods.map(async (pod): Promise<Finding[]> => {
      try {
        // It ends with 1 where it finds something bad; what it found is what counts.
        const text = await inPod(call, { pod, namespace }, ['doctor', '--json'], true)
        return (JSON.parse(text) as Finding[]).map((f) => ({ ...f, where: pod }))
      } catch (error) {
        const why = (error as Error).message.trim().split('\n').at(-1)
        return [{ where: pod, verdict: 'bad', what: `cannot be asked: ${why}`, mend: `kubectl logs ${pod}` }]
      }
    }),
  )
  const all = [...found, ...inside.flat()]
  call.out(call.json ? `${JSON.stringify(all, null, 2)}\n` : findingLines(all))
  return all.some((f) => f.verdict === 'bad') ? FAILURE : OK
}

async function seen(call: Call, cluster: TrackerCluster): Promise<Seen> {
  const kinds = [
    'services',
    'endpointslices',
    'pods',
    'persistentvolumeclaims',
    'poddisruptionbudgets',
  ] as const
  const [services, slices, pods, claims, budgets] = await Promise.all(
    kinds.map((kind) =>
      // Whoever may not read a kind still hears of the others.
      kind === 'endpointslices'
        ? objects(call, cluster, kind, 'skep.dev/cluster').catch(() => null)
        : objects(call, cluster, kind).catch(() => null),
    ),
  )
  return {
    cluster,
    services: services ?? null,
    slices: slices ?? null,
    pods: pods ?? null,
    claims: claims ?? null,
    budgets: budgets ?? null,
  }
}

/** The one that is named, or the only one of the namespace. */
async function theCluster({ kubectl, words }: Call): Promise<TrackerCluster> {
  const name = words[0]
  if (name !== undefined)
    return JSON.parse(
      await kubectl(['get', 'trackerclusters.skep.dev', name, '-o', 'json']),
    ) as TrackerCluster
  const all = JSON.parse(await kubectl(['get', 'trackerclusters.skep.dev', '-o', 'json'])) as {
    items: TrackerCluster[]
  }
  if (all.items.length === 1) return all.items[0]!
  throw new Error(
    all.items.length === 0
      ? 'there is no TrackerCluster in this namespace; -n names another'
      : `which one? ${all.items.map((c) => c.metadata.name).join(', ')}`,
  )
}

async function objects(
  { kubectl }: Call,
  { metadata }: TrackerCluster,
  kind: string,
  label?: string,
): Promise<KubeObject[]> {
  const replicas = identity(metadata.name, 'replica')
  const cluster = `skep.dev/cluster=${metadata.name}`
  const selector =
    kind === 'pods' && label === undefined
      ? Object.entries(replicas)
          .map(([k, v]) => `${k}=${v}`)
          .join(',')
      : cluster
  const text = await kubectl(['get', kind, '-n', metadata.namespace, '-l', selector, '-o', 'json'])
  return (JSON.parse(text) as { items: KubeObject[] }).items
}

/** Where questions about the group go: to the leader, or whoever would know it. */
function leaderOf({ metadata, status }: TrackerCluster): { pod: string; namespace: string } {
  const other = status?.members?.find((m) => m.ready)?.name
  return { pod: status?.leader ?? other ?? `${metadata.name}-0`, namespace: metadata.namespace }
}

const inPod = async (
  { kubectl }: Call,
  { pod, namespace }: { pod: string; namespace: string },
  args: readonly string[],
  evenIfBad = false,
): Promise<string> => {
  const own = ['--data-dir', DATA_FOLDER, '--network-key-file', `${KEY_FOLDER}/network.key`]
  const exec = ['exec', '-n', namespace, pod, '-c', 'tracker', '--', ...PROGRAM, 'ctl', ...args, ...own]
  try {
    return await kubectl(exec)
  } catch (error) {
    const { stdout } = error as { stdout?: string }
    if (evenIfBad && stdout?.startsWith('[')) return stdout
    throw error
  }
}

const runKubectl = (args: readonly string[]): Promise<string> =>
  new Promise((resolve, reject) => {
    const program = process.env.KUBECTL ?? 'kubectl'
    const options = { timeout: KUBECTL_MS, maxBuffer: OUTPUT_BYTES }
    execFile(program, [...args], options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else if (error.code === 'ENOENT')
        reject(new Error(`there is no ${program}: install it, or let KUBECTL name it`))
      else reject(Object.assign(new Error(stderr === '' ? error.message : stderr), { stdout }))
    })
  })

if (import.meta.main)
  process.exitCode = await plugin(process.argv.slice(2), {
    kubectl: runKubectl,
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    nowMs: () => Date.now(),
  })
