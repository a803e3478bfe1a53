// A pass over one TrackerBackup: its claim, its Job or CronJob, and what came of them. Refuses: to take
// snapshots itself (jobs/backup.ts, in a pod of its own), and to delete files of a backup that is deleted.

import { backupRun, backupVolume } from './desired/backup.ts'
import { difference } from './desired/drift.ts'
import { hashed } from './desired/objects.ts'
import { BACKUP_LABEL } from './model/labels.ts'
import type { KubeObject } from './model/ports.ts'
import { settle, withRepository } from './model/settle.ts'
import type { Condition, TrackerBackup, TrackerCluster } from './model/types.ts'
import { rfc3339 } from './model/units.ts'
import { writeIfNew } from './status.ts'
import type { World } from './world.ts'

const AGAIN_MS = 10_000
const LOOK_MS = 60_000

/** When to come again, milliseconds; null: it is gone. */
export const reconcileBackup = async (
  world: World,
  namespace: string,
  name: string,
): Promise<number | null> => {
  const found = world.api.cached('TrackerBackup', namespace, name)
  if (found === null || found.metadata.deletionTimestamp !== undefined) return null
  const backup = found as unknown as TrackerBackup
  const cluster = world.api.cached('TrackerCluster', namespace, backup.spec.clusterName)
  if (cluster !== null)
    await makeObjects(world, backup, withRepository(cluster as unknown as TrackerCluster, world.repository))
  const runs = runsOf(world, backup)
  const status = statusOf(world, backup, cluster === null, runs)
  const [condition] = status.conditions
  const before = backup.status?.conditions?.find((c) => c.type === 'Ready')
  if (condition !== undefined && before?.reason !== condition.reason)
    await world.api.event({
      about: found,
      type: condition.status === 'False' ? 'Warning' : 'Normal',
      reason: condition.reason,
      message: condition.message,
    })
  await writeIfNew(world, found, status)
  return runs.some((r) => r.state === 'running') ? AGAIN_MS : LOOK_MS
}

const makeObjects = async (
  { api, version }: World,
  backup: TrackerBackup,
  cluster: TrackerCluster,
): Promise<void> => {
  const { namespace } = backup.metadata
  const volume = backupVolume(backup)
  if (volume !== null && api.cached('PersistentVolumeClaim', namespace, volume.metadata.name) === null)
    await api.apply(volume)
  // Nobody to ask before the birth: a Job would only fail.
  if (cluster.status?.clusterID === undefined) return
  const size = cluster.status.replicas ?? 1
  const run = hashed(backupRun(backup, cluster, settle(cluster.spec, version), size))
  const kind = run.kind as 'Job' | 'CronJob'
  const there = api.cached(kind, namespace, run.metadata.name)
  // A Job can never be changed; the one snapshot that was asked for is what it was.
  if (there === null || (kind === 'CronJob' && difference(run, there) !== null)) await api.apply(run)
  const other = kind === 'Job' ? 'CronJob' : 'Job'
  // A schedule was added or taken away.
  if (api.cached(other, namespace, run.metadata.name) !== null)
    await api.delete(other, namespace, run.metadata.name, {})
}

type Run = {
  readonly state: 'running' | 'succeeded' | 'failed'
  /** RFC 3339. */
  readonly at: string
  readonly message: string
  readonly file: string | null
  readonly bytes: number | null
}

type JobStatus = {
  readonly completionTime?: string
  readonly conditions?: readonly {
    readonly type: string
    readonly status: string
    readonly lastTransitionTime?: string
    readonly message?: string
  }[]
}

/** The newest first. */
const runsOf = ({ api }: World, { metadata }: TrackerBackup): Run[] => {
  const mine = { [BACKUP_LABEL]: metadata.name }
  const pods = api.list('Pod', metadata.namespace, mine)
  const runs = api.list('Job', metadata.namespace, mine).map((job): Run => {
    const status = (job.status ?? {}) as JobStatus
    const ended = status.conditions?.find((c) => c.status === 'True' && /^(Complete|Failed)$/.test(c.type))
    const word = lastWord(
      pods.filter((p) => p.metadata.labels?.['batch.kubernetes.io/job-name'] === job.metadata.name),
    )
    if (ended === undefined)
      return {
        state: 'running',
        at: job.metadata.creationTimestamp ?? '',
        message: '',
        file: null,
        bytes: null,
      }
    const at = status.completionTime ?? ended.lastTransitionTime ?? ''
    if (ended.type === 'Failed')
      return {
        state: 'failed',
        at,
        message: word === '' ? (ended.message ?? '') : word,
        file: null,
        bytes: null,
      }
    return { state: 'succeeded', at, message: '', ...fileOf(word) }
  })
  return runs.sort((a, b) => (a.at < b.at ? 1 : -1))
}

type Terminated = {
  readonly state?: { readonly terminated?: { readonly message?: string; readonly finishedAt?: string } }
}

/** What the newest pod of a Job said in the end. */
const lastWord = (pods: readonly KubeObject[]): string => {
  const words = pods.flatMap((pod) => {
    const statuses = (pod.status as { containerStatuses?: readonly Terminated[] } | undefined)
      ?.containerStatuses
    const ended = statuses?.[0]?.state?.terminated
    return ended === undefined ? [] : [{ at: ended.finishedAt ?? '', text: (ended.message ?? '').trim() }]
  })
  return (
    words
      .sort((a, b) => (a.at < b.at ? 1 : -1))[0]
      ?.text.split('\n')
      .at(-1) ?? ''
  )
}

const fileOf = (word: string): { file: string | null; bytes: number | null } => {
  try {
    const { file, bytes } = JSON.parse(word) as { file?: unknown; bytes?: unknown }
    return {
      file: typeof file === 'string' ? file : null,
      bytes: typeof bytes === 'number' ? bytes : null,
    }
  } catch {
    return { file: null, bytes: null }
  }
}

type Status = NonNullable<TrackerBackup['status']> & { readonly conditions: readonly Condition[] }

const statusOf = (world: World, backup: TrackerBackup, orphan: boolean, runs: readonly Run[]): Status => {
  const good = runs.find((r) => r.state === 'succeeded')
  const bad = runs.find((r) => r.state === 'failed')
  const before = backup.status ?? {}
  // Jobs are deleted after a while; what they did is still so.
  const lastSuccess = good?.at ?? before.lastSuccess
  const lastFile = good?.file ?? before.lastFile
  const lastBytes = good?.bytes ?? before.lastBytes
  const lastFailure = bad === undefined ? before.lastFailure : `${bad.at}: ${bad.message}`
  const failedLast = bad !== undefined && (good === undefined || bad.at > good.at)
  const said = failedLast
    ? { status: 'False' as const, reason: 'Failed', message: bad.message }
    : lastSuccess !== undefined
      ? {
          status: 'True' as const,
          reason: 'Saved',
          message: `${lastFile ?? 'a snapshot'} was saved at ${lastSuccess}`,
        }
      : orphan
        ? {
            status: 'Unknown' as const,
            reason: 'NoCluster',
            message: `there is no TrackerCluster ${backup.spec.clusterName}`,
          }
        : { status: 'Unknown' as const, reason: 'Waiting', message: 'no snapshot was saved yet' }
  const old = before.conditions?.find((c) => c.type === 'Ready')
  return {
    observedGeneration: backup.metadata.generation,
    ...(lastSuccess === undefined ? {} : { lastSuccess }),
    ...(lastFile === undefined ? {} : { lastFile }),
    ...(lastBytes === undefined ? {} : { lastBytes }),
    ...(lastFailure === undefined ? {} : { lastFailure }),
    conditions: [
      {
        type: 'Ready',
        ...said,
        observedGeneration: backup.metadata.generation,
        lastTransitionTime: old?.status === said.status ? old.lastTransitionTime : rfc3339(world.nowMs()),
      },
    ],
  }
}
