// What every scenario works with: one cluster under test, what it says of itself, the users outside, and the
// table of events with their silences. Refuses: waits without bound, and events that end while something
// acknowledged is missing.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '@skep/testing/random.ts'
import type { KubeObject } from './api.ts'
import type { Outside } from './outside-link.ts'
import type { Target } from './target.ts'

export const NAMESPACE = 'skep-e2e'
export const RELEASE = 'skep'
export const CLUSTER = 'skep'
const POLL_MS = 100
/** Answers that were under way when an event was over still count to it. */
const AFTERWARDS_MS = 1500

export type Member = {
  name: string
  id?: string
  role: string
  ready: boolean
  version?: string
  node?: string
}
export type ClusterStatus = {
  observedGeneration?: number
  clusterID?: string
  leader?: string
  term?: number
  replicas?: number
  readyReplicas?: number
  voters?: number
  wishedReplicas?: number
  announcesPerSecond?: number
  version?: string
  members?: Member[]
  conditions?: { type: string; status: string; reason?: string; message?: string }[]
  networkKey?: { phase?: string; rotation?: string }
  lastStep?: { kind: string; reason: string; message: string; count: number }
}

export type EventRow = {
  readonly scenario: string
  readonly event: string
  /** Until all was as it should be again. */
  readonly tookMs: number
  readonly silenceMs: number
  readonly worstMs: number
  readonly unanswered: number
  /** More to say of it. */
  readonly note: string
}

export type World = {
  readonly target: Target
  readonly random: Random
  readonly say: (line: string) => void
  readonly rows: EventRow[]
  /** Set by the scenario that creates the cluster. */
  outside: Outside | undefined
  scenario: string
}

export type Scenario = {
  readonly name: string
  readonly what: string
  /** In the set that runs by default. */
  readonly usual: boolean
  /** Needs nodes that can be broken. */
  readonly lab?: true
  /** Makes a cluster of its own before there is the one that all others work with. */
  readonly alone?: true
  /** Minutes it may take. */
  readonly minutes: number
  run(world: World): Promise<void>
  /** Takes away what it made, however it ended. */
  end?(world: World): Promise<void>
}

let patience = 1
/** On a machine that is busy with other things, all bounds are so many times as long. */
export const setPatience = (times: number): void => {
  patience = times
}
export const patiently = (amount: number): number => amount * patience

/**
 * Asks until it is so; what it was instead is in the error. `ask` returns undefined for yes, else what is in
 * the way.
 */
export async function waitFor(
  what: string,
  atMost: number,
  ask: () => Promise<string | undefined>,
): Promise<void> {
  const seconds = patiently(atMost)
  const end = performance.now() + seconds * 1000
  for (;;) {
    const why = await ask().catch((error: Error) => error.message)
    if (why === undefined) return
    if (performance.now() > end) throw new Error(`${what}: not within ${seconds} s: ${why}`)
    await sleep(POLL_MS)
  }
}

export async function clusterOf(world: World, name = CLUSTER, namespace = NAMESPACE): Promise<KubeObject> {
  const found = await world.target.api.get('trackerclusters', namespace, name)
  if (found === undefined) throw new Error(`there is no TrackerCluster ${name}`)
  return found
}

export async function statusOf(world: World, name = CLUSTER, namespace = NAMESPACE): Promise<ClusterStatus> {
  return ((await clusterOf(world, name, namespace)).status ?? {}) as ClusterStatus
}

export const condition = (
  status: ClusterStatus,
  type: string,
): { status: string; reason: string; message: string } => {
  const found = status.conditions?.find((one) => one.type === type)
  return { status: found?.status ?? 'absent', reason: found?.reason ?? '', message: found?.message ?? '' }
}

/** Undefined when the cluster is whole with so many replicas; else a sentence. */
export async function notWhole(
  world: World,
  replicas: number,
  name = CLUSTER,
  namespace = NAMESPACE,
): Promise<string | undefined> {
  const cluster = await clusterOf(world, name, namespace)
  const status = (cluster.status ?? {}) as ClusterStatus
  const ready = condition(status, 'Ready')
  const last = `${ready.reason}: ${ready.message}; last step ${status.lastStep?.reason ?? 'none'}: ${status.lastStep?.message ?? ''}`
  if (status.observedGeneration !== cluster.metadata.generation)
    return 'the operator has not seen the change yet'
  if (ready.status !== 'True') return `Ready is ${ready.status}: ${last}`
  if (status.readyReplicas !== replicas)
    return `${status.readyReplicas} of ${replicas} replicas are ready: ${last}`
  if (status.leader === undefined) return 'no leader is known'
  const voters = status.members?.filter((one) => one.role === 'Leader' || one.role === 'Voter').length
  const wished = Math.min(5, replicas % 2 === 1 ? replicas : replicas - 1)
  if (voters !== wished) return `${voters} of ${wished} vote: ${last}`
  if ((status.members?.length ?? 0) !== replicas)
    return `${status.members?.length} members of ${replicas}: ${last}`
  const progressing = condition(status, 'Progressing')
  if (progressing.status === 'True') return `still progressing: ${progressing.reason}: ${progressing.message}`
  return undefined
}

export const whole = (world: World, replicas: number, seconds: number, name = CLUSTER): Promise<void> =>
  waitFor(`${name} whole with ${replicas}`, seconds, () => notWhole(world, replicas, name))

export async function leaderOf(world: World, name = CLUSTER): Promise<string> {
  let leader: string | undefined
  await waitFor('a leader', 30, async () => {
    leader = (await statusOf(world, name)).leader
    return leader === undefined ? 'nobody leads' : undefined
  })
  return leader!
}

/** A member that follows and votes. */
export async function followerOf(world: World): Promise<string> {
  const { members = [] } = await statusOf(world)
  const voters = members.filter((one) => one.role === 'Voter')
  if (voters.length === 0) throw new Error('there is no follower')
  return world.random.pick(voters).name
}

export async function nodeOf(world: World, pod: string): Promise<string> {
  const found = await world.target.api.get('pods', NAMESPACE, pod)
  const node = found?.spec?.nodeName
  if (typeof node !== 'string') throw new Error(`${pod} runs nowhere`)
  return node
}

export const setSpec = (world: World, spec: object, name = CLUSTER): Promise<void> =>
  world.target.api.patch('trackerclusters', NAMESPACE, name, { spec })

/**
 * Something happens to the cluster while users go on announcing. `until` waits for the end; then everything
 * that was acknowledged is looked for at every replica.
 */
export async function event(
  world: World,
  name: string,
  act: () => Promise<void>,
  until: () => Promise<void>,
  note: () => Promise<string> = async () => '',
): Promise<EventRow> {
  const { outside } = world
  if (outside === undefined) throw new Error('no users are announcing')
  await outside.mark()
  const begin = performance.now()
  await act()
  await until()
  const tookMs = performance.now() - begin
  await sleep(AFTERWARDS_MS)
  const { silenceMs, worstMs, unanswered } = await outside.report()
  const row = {
    scenario: world.scenario,
    event: name,
    tookMs,
    silenceMs,
    worstMs,
    unanswered,
    note: await note(),
  }
  world.rows.push(row)
  world.say(rowText(row))
  await nothingLost(world)
  return row
}

/** Every swarm is asked of every ready replica. */
async function nothingLost(world: World): Promise<void> {
  const report = await world.outside!.check()
  if (report.faultCount > 0)
    throw new Error(`${report.faultCount} answers cannot be true: ${report.faults.slice(0, 4).join('; ')}`)
  if (report.acknowledged === 0) throw new Error('nothing was acknowledged at all')
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`

export const rowText = ({ event: name, tookMs, silenceMs, worstMs, unanswered, note }: EventRow): string =>
  `  ${name}: over after ${seconds(tookMs)}; longest silence ${silenceMs.toFixed(0)} ms, slowest answer ${worstMs.toFixed(0)} ms, ${unanswered} unanswered${note === '' ? '' : `; ${note}`}`
