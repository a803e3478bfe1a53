// Jobs that work on the volume of a replica that is stopped: fill it from a backup, make it the only
// survivor, empty it. Refuses: to run beside a replica; the plan stops the pods first, and the log has one
// owner anyway.

import type { JobPurpose } from '../model/facts.ts'
import { ORDINAL_LABEL, owned, PURPOSE_LABEL } from '../model/labels.ts'
import { accountName, claimName, jobName, keyName, podName, replicaAddress } from '../model/names.ts'
import type { KubeObject } from '../model/ports.ts'
import type { Settled } from '../model/settle.ts'
import type { TrackerCluster } from '../model/types.ts'
import { DATA_FOLDER, KEY_FOLDER } from './config.ts'
import { CONTAINER_SECURITY, imageOf, POD_SECURITY, PROGRAM } from './pod.ts'

/** Where backups are mounted. */
export const BACKUP_FOLDER = '/backup'
/** A Job that takes longer has failed, seconds. */
const DEADLINE_SECONDS = 1800
const ATTEMPTS = 3

/** Where a restore reads: a claim, and the file in it; without a file the newest. */
export type RestoreSource = { readonly claimName: string; readonly file?: string }

export const job = (
  resource: TrackerCluster,
  s: Settled,
  purpose: JobPurpose,
  ordinal: number,
  source: RestoreSource | null,
): KubeObject => {
  const { name, namespace } = resource.metadata
  const metadata = owned(resource, jobName(name, purpose, ordinal), 'job')
  const marks = { ...metadata.labels, [PURPOSE_LABEL]: purpose, [ORDINAL_LABEL]: String(ordinal) }
  const backup = source === null ? [] : [{ name: 'backup', claim: source.claimName, path: BACKUP_FOLDER }]
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { ...metadata, labels: marks },
    spec: {
      backoffLimit: ATTEMPTS - 1,
      activeDeadlineSeconds: DEADLINE_SECONDS,
      template: {
        metadata: { labels: marks },
        spec: jobPod(s, {
          args: argsOf(name, namespace, purpose, ordinal, source),
          account: s.pod.serviceAccountName ?? accountName(name),
          claims: [{ name: 'data', claim: claimName(name, ordinal), path: DATA_FOLDER }, ...backup],
          secret: null,
        }),
      },
    },
  }
}

const argsOf = (
  cluster: string,
  namespace: string,
  purpose: JobPurpose,
  ordinal: number,
  source: RestoreSource | null,
): readonly string[] => {
  switch (purpose) {
    case 'restore':
      return [
        'operator',
        'restore-run',
        '--folder',
        BACKUP_FOLDER,
        ...(source?.file === undefined ? [] : ['--file', source.file]),
        '--data-dir',
        DATA_FOLDER,
        '--name',
        podName(cluster, ordinal),
        '--replica-address',
        replicaAddress(cluster, namespace, ordinal),
      ]
    case 'recover':
      return ['ctl', 'recover', '--data-dir', DATA_FOLDER, '--force']
    case 'purge':
      return ['operator', 'purge-run', '--data-dir', DATA_FOLDER]
  }
}

type JobPod = {
  readonly args: readonly string[]
  readonly account: string
  readonly claims: readonly { readonly name: string; readonly claim: string; readonly path: string }[]
  /** Name and entry of the network key; null: it is not needed. */
  readonly secret: { readonly name: string; readonly key: string } | null
}

/** As locked in as a replica. */
export const jobPod = (s: Settled, { args, account, claims, secret }: JobPod): object => ({
  restartPolicy: 'Never',
  serviceAccountName: account,
  automountServiceAccountToken: false,
  enableServiceLinks: false,
  securityContext: POD_SECURITY,
  ...(s.image.pullSecrets.length === 0
    ? {}
    : { imagePullSecrets: s.image.pullSecrets.map((name) => ({ name })) }),
  ...(Object.keys(s.pod.nodeSelector).length === 0 ? {} : { nodeSelector: s.pod.nodeSelector }),
  ...(s.pod.tolerations.length === 0 ? {} : { tolerations: s.pod.tolerations }),
  containers: [
    {
      name: 'job',
      image: imageOf(s),
      imagePullPolicy: s.image.pullPolicy,
      command: [...PROGRAM],
      args,
      securityContext: CONTAINER_SECURITY,
      terminationMessagePolicy: 'FallbackToLogsOnError',
      volumeMounts: [
        ...claims.map(({ name, path }) => ({ name, mountPath: path })),
        ...(secret === null ? [] : [{ name: 'key', mountPath: KEY_FOLDER, readOnly: true }]),
        { name: 'tmp', mountPath: '/tmp' },
      ],
    },
  ],
  volumes: [
    ...claims.map(({ name, claim }) => ({ name, persistentVolumeClaim: { claimName: claim } })),
    ...(secret === null
      ? []
      : [
          {
            name: 'key',
            secret: {
              secretName: secret.name,
              defaultMode: 0o440,
              items: [{ key: secret.key, path: 'network.key' }],
            },
          },
        ]),
    { name: 'tmp', emptyDir: { medium: 'Memory', sizeLimit: '16Mi' } },
  ],
})

export const keySource = (cluster: string, s: Settled): { name: string; key: string } => ({
  name: s.networkKey.secretName ?? keyName(cluster),
  key: s.networkKey.key,
})
