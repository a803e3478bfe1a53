// What a TrackerBackup owns: the claim that its files are on (if none is named), and a Job for one snapshot
// or a CronJob for many. The Job asks a replica for the table over the control API and deletes older files
// after a good one. Refuses: to delete the claim with the backup: backups outlive what they were made of, and
// by whom.

import { BACKUP_LABEL, labels, ownedBy } from '../model/labels.ts'
import { accountName, CONTROL_PORT, podName, replicasName } from '../model/names.ts'
import type { KubeObject } from '../model/ports.ts'
import type { Settled } from '../model/settle.ts'
import type { TrackerBackup, TrackerCluster } from '../model/types.ts'
import { KEY_FOLDER } from './config.ts'
import { BACKUP_FOLDER, jobPod, keySource } from './jobs.ts'

const KEEP = 7
export const SIZE = '10Gi'
/** A snapshot that takes longer has failed, seconds. */
const DEADLINE_SECONDS = 3600

export const backupClaim = ({ metadata, spec }: TrackerBackup): string =>
  spec.storage.claimName ?? `${metadata.name}-backup`

const marks = ({ metadata, spec }: TrackerBackup): Record<string, string> => ({
  ...labels(spec.clusterName, 'backup'),
  [BACKUP_LABEL]: metadata.name,
})

/** null: one is named in the specification. */
export const backupVolume = (backup: TrackerBackup): KubeObject | null => {
  const { storage } = backup.spec
  if (storage.claimName !== undefined) return null
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: backupClaim(backup), namespace: backup.metadata.namespace, labels: marks(backup) },
    spec: {
      accessModes: ['ReadWriteOnce'],
      ...(storage.className === undefined ? {} : { storageClassName: storage.className }),
      resources: { requests: { storage: storage.size ?? SIZE } },
    },
  }
}

/** `size`: replicas that may be asked; the first that answers gives the table. */
export const backupRun = (
  backup: TrackerBackup,
  cluster: TrackerCluster,
  s: Settled,
  size: number,
): KubeObject => {
  const { name, namespace } = backup.metadata
  const metadata = {
    name: `${name}-backup`,
    namespace,
    labels: marks(backup),
    ownerReferences: ownedBy(backup),
  }
  const job = {
    backoffLimit: 2,
    activeDeadlineSeconds: DEADLINE_SECONDS,
    template: {
      metadata: { labels: marks(backup) },
      spec: jobPod(s, {
        args: argsOf(backup, namespace, size),
        account: s.pod.serviceAccountName ?? accountName(cluster.metadata.name),
        claims: [{ name: 'backup', claim: backupClaim(backup), path: BACKUP_FOLDER }],
        secret: keySource(cluster.metadata.name, s),
      }),
    },
  }
  if (backup.spec.schedule === undefined) return { apiVersion: 'batch/v1', kind: 'Job', metadata, spec: job }
  return {
    apiVersion: 'batch/v1',
    kind: 'CronJob',
    metadata,
    spec: {
      schedule: backup.spec.schedule,
      timeZone: 'Etc/UTC',
      suspend: backup.spec.suspend ?? false,
      // Two at once would write the same volume, and the second would say nothing new.
      concurrencyPolicy: 'Forbid',
      startingDeadlineSeconds: 600,
      successfulJobsHistoryLimit: 2,
      failedJobsHistoryLimit: 2,
      jobTemplate: { metadata: { labels: marks(backup) }, spec: job },
    },
  }
}

const argsOf = (backup: TrackerBackup, namespace: string, size: number): readonly string[] => {
  const cluster = backup.spec.clusterName
  const hosts = Array.from(
    { length: Math.max(1, size) },
    // The highest first: the lowest is most often the leader, which has enough to do.
    (_, i) => `${podName(cluster, size - 1 - i)}.${replicasName(cluster)}.${namespace}.svc`,
  )
  return [
    'operator',
    'backup-run',
    '--folder',
    BACKUP_FOLDER,
    '--keep',
    String(backup.spec.keep ?? KEEP),
    '--cluster',
    cluster,
    '--control-port',
    String(CONTROL_PORT),
    '--network-key-file',
    `${KEY_FOLDER}/network.key`,
    ...hosts.flatMap((host) => ['--replica', host]),
  ]
}
