// What operator/model/types.ts cannot say of a field: defaults, limits, rules that join fields, and words
// where it has no comment. Keyed by kind and path, `[]` for the items of a list. A path that types.ts does
// not have stops the generator. Refuses: fields. They come from types.ts alone.

import { LIMITS } from '../operator/model/types.ts'
import { RESERVED_OPTIONS } from '../operator/model/validate.ts'

export type Rule = {
  /** CEL; `self` is the field, `oldSelf` what it was. */
  readonly rule: string
  readonly message: string
  /** Where the message belongs, below the field that has the rule. */
  readonly fieldPath?: string
}
export type Extra = {
  readonly words?: string
  readonly default?: unknown
  readonly minimum?: number
  readonly maximum?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly pattern?: string
  readonly maxItems?: number
  readonly maxProperties?: number
  /** Numbers are taken as well as texts, as in a pod's resources. */
  readonly orNumber?: true
  /** Fractions are allowed; without it a number is whole. */
  readonly fraction?: true
  /** Names the field by which the items of a list are told apart. */
  readonly listKey?: string
  readonly rules?: readonly Rule[]
}

const SIZE = { pattern: '^[0-9]+(\\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$', maxLength: 32 } as const
const NAME = { pattern: '^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$', maxLength: 253 } as const
const CIDR = { pattern: '^([0-9.]+/[0-9]{1,2}|[0-9a-fA-F:.]+/[0-9]{1,3})$', maxLength: 50 } as const
const PORT = { minimum: 1, maximum: 65_535 } as const

const atLeast = (path: string, size: string): Rule => ({
  rule: `quantity(self).compareTo(quantity('${size}')) >= 0`,
  message: `${path} must be at least ${size}`,
})
const fixed = (path: string): Rule => ({ rule: 'self == oldSelf', message: `${path} is fixed` })

const service = (name: 'udp' | 'http', port: number): Record<string, Extra> => {
  const at = `TrackerCluster.spec.services.${name}`
  return {
    [at]: {
      words: `The Service for ${name === 'udp' ? 'UDP (BEP 15)' : 'HTTP: announce, scrape, stats and metrics'}.`,
      default: {},
      rules: [
        {
          rule: "!has(self.nodePort) || self.type != 'ClusterIP'",
          message: `spec.services.${name}.nodePort: a Service of type ClusterIP has none`,
          fieldPath: '.nodePort',
        },
      ],
    },
    [`${at}.type`]: { default: 'LoadBalancer' },
    [`${at}.nodePort`]: PORT,
    [`${at}.externalTrafficPolicy`]: { default: 'Local' },
    [`${at}.port`]: {
      words: `Port of the Service; with hostNetwork of the node. Default ${port}.`,
      default: port,
      ...PORT,
    },
    [`${at}.loadBalancerClass`]: { words: 'As in a Service; cannot be changed later.' },
    [`${at}.loadBalancerSourceRanges`]: { maxItems: 64 },
    [`${at}.loadBalancerSourceRanges[]`]: CIDR,
  }
}

const born = 'has(oldSelf.status) && has(oldSelf.status.clusterID)'
const reserved = Object.keys(RESERVED_OPTIONS)
  .map((name) => `'${name}'`)
  .join(', ')
/** Replicas that are sure to be there: with autoscaling the fewest. */
const surely = '(has(self.autoscaling) ? self.autoscaling.min : self.replicas)'

const CLUSTER: Record<string, Extra> = {
  TrackerCluster: {
    words: 'A BitTorrent tracker whose swarm table is replicated to each of its pods by Raft.',
    rules: [
      {
        rule: `self.metadata.name.size() <= ${LIMITS.nameLength}`,
        message: `metadata.name must have at most ${LIMITS.nameLength} characters`,
      },
      {
        rule: "self.metadata.name.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')",
        message: 'metadata.name must be lower-case letters, digits and hyphens, and begin with a letter',
      },
      {
        rule: `!(${born}) || quantity(self.spec.memory).compareTo(quantity(oldSelf.spec.memory)) == 0`,
        message: 'spec.memory is fixed at the birth of the cluster: back up, and restore into a new one',
        fieldPath: '.spec.memory',
      },
      {
        rule: `!(${born}) || (has(self.spec.restoreFrom) == has(oldSelf.spec.restoreFrom) && (!has(self.spec.restoreFrom) || self.spec.restoreFrom == oldSelf.spec.restoreFrom))`,
        message: 'spec.restoreFrom is fixed at the birth of the cluster',
        fieldPath: '.spec.restoreFrom',
      },
    ],
  },
  'TrackerCluster.spec': {
    words: 'The cluster as it should be. All of it may be left out.',
    default: {},
    rules: [
      {
        rule: `!has(self.tolerateFailures) || ${surely} >= 2 * self.tolerateFailures + 1`,
        message:
          'spec.replicas (with autoscaling: spec.autoscaling.min) must be at least twice spec.tolerateFailures and one',
        fieldPath: '.tolerateFailures',
      },
      {
        rule: '!has(self.tolerateFailures) || self.maxVoters >= 2 * self.tolerateFailures + 1',
        message: 'spec.maxVoters must be at least twice spec.tolerateFailures and one',
        fieldPath: '.maxVoters',
      },
      {
        rule: "!self.hostNetwork || self.topologySpread.nodes != 'Off'",
        message:
          'spec.topologySpread.nodes cannot be Off with spec.hostNetwork: two replicas need the same ports',
        fieldPath: '.topologySpread.nodes',
      },
    ],
  },
  'TrackerCluster.spec.replicas': { default: 3, minimum: 1, maximum: LIMITS.replicas },
  'TrackerCluster.spec.maxVoters': {
    default: 5,
    minimum: 1,
    maximum: LIMITS.maxVoters,
    rules: [
      {
        rule: 'self % 2 == 1',
        message: 'spec.maxVoters must be odd: one more than an odd number bears no more losses',
      },
    ],
  },
  'TrackerCluster.spec.tolerateFailures': { minimum: 0, maximum: LIMITS.tolerateFailures },
  'TrackerCluster.spec.image': { default: {} },
  'TrackerCluster.spec.image.repository': {
    words: 'Where it is pulled from. Default: where the operator was.',
  },
  'TrackerCluster.spec.image.tag': { words: "Its tag, the version. Default: the operator's own version." },
  'TrackerCluster.spec.image.pullPolicy': {
    words: 'When it is pulled. Default IfNotPresent.',
    default: 'IfNotPresent',
  },
  'TrackerCluster.spec.image.pullSecrets[]': NAME,
  'TrackerCluster.spec.storage': {
    default: {},
    rules: [
      {
        rule: 'quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0',
        message: 'spec.storage.size must not shrink: volumes cannot',
        fieldPath: '.size',
      },
      {
        rule: 'has(self.className) == has(oldSelf.className) && (!has(self.className) || self.className == oldSelf.className)',
        message:
          'spec.storage.className is fixed: volumes cannot move; back up, and restore into a new cluster',
        fieldPath: '.className',
      },
    ],
  },
  'TrackerCluster.spec.storage.size': {
    words: 'Of each volume; may grow where the class allows it, never shrink. Default 2Gi.',
    default: '2Gi',
    ...SIZE,
    rules: [atLeast('spec.storage.size', '256Mi')],
  },
  'TrackerCluster.spec.storage.className': {
    words: "StorageClass of the volumes; fixed. Default: the Kubernetes cluster's default class.",
    ...NAME,
  },
  'TrackerCluster.spec.storage.retention': { default: 'Retain' },
  'TrackerCluster.spec.services': { default: {} },
  ...service('udp', 6969),
  ...service('http', 8168),
  'TrackerCluster.spec.services.http.port': {
    words: 'Port of the Service; with hostNetwork of the node. Default 8168.',
    default: 8168,
    ...PORT,
    rules: [
      {
        rule: 'self != 5560 && self != 8169',
        message: 'spec.services.http.port: 5560 and 8169 are taken by the replicas themselves',
      },
    ],
  },
  'TrackerCluster.spec.services.perReplica.enabled': { default: false },
  'TrackerCluster.spec.services.perReplica.annotations': { maxProperties: 32 },
  'TrackerCluster.spec.services.http.trustedProxies': { maxItems: 64 },
  'TrackerCluster.spec.services.http.trustedProxies[]': CIDR,
  'TrackerCluster.spec.hostNetwork': { default: false },
  'TrackerCluster.spec.networkKey.secretName': {
    words: 'A Secret of the same namespace. Default: one is made, <name>-network-key.',
    ...NAME,
  },
  'TrackerCluster.spec.networkKey.key': {
    words: 'Which entry of the Secret. Default network.key.',
    maxLength: 253,
  },
  'TrackerCluster.spec.consistency': { default: 'committed' },
  'TrackerCluster.spec.keepalive': {
    default: '1s',
    pattern: '^([0-9]+(ms|s|m))+$',
    maxLength: 16,
    rules: [
      {
        rule: "duration(self) >= duration('50ms') && duration(self) <= duration('1m')",
        message: 'spec.keepalive must be a duration from 50ms to 1m',
      },
    ],
  },
  'TrackerCluster.spec.missed': { default: 2, minimum: 2, maximum: 100 },
  'TrackerCluster.spec.memory': { default: '512Mi', ...SIZE, rules: [atLeast('spec.memory', '16Mi')] },
  'TrackerCluster.spec.allowPrivate': {
    words:
      'Peers with private addresses: auto (shown to private askers only), on (like any other) or off (refused). ' +
      'Write "on" and "off" in quotes, or YAML takes them for booleans. Default auto.',
    default: 'auto',
  },
  'TrackerCluster.spec.preferHighest': { default: false },
  'TrackerCluster.spec.options': {
    maxProperties: 64,
    rules: [
      {
        rule: "self.all(name, name.matches('^[a-z][a-z0-9-]*$'))",
        message: 'spec.options: names are written as in skep tracker --help, without the dashes in front',
      },
      {
        rule: `!self.exists(name, name in [${reserved}])`,
        message: 'spec.options names an option that the operator sets itself, mostly by a field of its own',
      },
    ],
  },
  'TrackerCluster.spec.options{}': { minLength: 1, maxLength: 4096, pattern: '^[^\\n\\x00]*$' },
  'TrackerCluster.spec.purgeOnDelete': { default: false },
  'TrackerCluster.spec.autoscaling': {
    rules: [
      {
        rule: 'self.min <= self.max',
        message: 'spec.autoscaling.min is above spec.autoscaling.max',
        fieldPath: '.min',
      },
    ],
  },
  'TrackerCluster.spec.autoscaling.min': { default: 3, minimum: 1, maximum: LIMITS.replicas },
  'TrackerCluster.spec.autoscaling.max': { default: 9, minimum: 1, maximum: LIMITS.replicas },
  'TrackerCluster.spec.autoscaling.announcesPerSecondPerReplica': {
    default: 20_000,
    minimum: 1,
    maximum: 100_000_000,
  },
  'TrackerCluster.spec.autoscaling.memoryPercent': { default: 85, minimum: 1, maximum: 100 },
  'TrackerCluster.spec.autoscaling.upAfterSeconds': { default: 30, minimum: 0, maximum: 86_400 },
  'TrackerCluster.spec.autoscaling.downAfterSeconds': { default: 300, minimum: 0, maximum: 86_400 },
  'TrackerCluster.spec.resources.requests': { words: 'What the scheduler sets aside, such as cpu: 2.' },
  'TrackerCluster.spec.resources.limits': {
    words: 'What it may use at most; memory must be spec.memory and 256Mi at least.',
  },
  'TrackerCluster.spec.resources.requests{}': { orNumber: true },
  'TrackerCluster.spec.resources.limits{}': { orNumber: true },
  'TrackerCluster.spec.topologySpread': { default: {} },
  'TrackerCluster.spec.topologySpread.nodes': { default: 'Preferred' },
  'TrackerCluster.spec.topologySpread.zones': {
    words: 'Required: no two replicas in one zone; Preferred: if it can be; Off. Default Preferred.',
    default: 'Preferred',
  },
  'TrackerCluster.spec.pod': {
    default: {},
    rules: [
      {
        rule: 'self.terminationGracePeriodSeconds >= self.drainSeconds + 10',
        message: 'spec.pod.terminationGracePeriodSeconds must be at least spec.pod.drainSeconds and 10',
        fieldPath: '.terminationGracePeriodSeconds',
      },
    ],
  },
  'TrackerCluster.spec.pod.labels': { words: 'Labels beside those of the operator.' },
  'TrackerCluster.spec.pod.annotations': { words: 'Annotations beside those of the operator.' },
  'TrackerCluster.spec.pod.nodeSelector': { words: 'As in a pod.' },
  'TrackerCluster.spec.pod.priorityClassName': { words: 'As in a pod.' },
  'TrackerCluster.spec.pod.runtimeClassName': { words: 'As in a pod.' },
  'TrackerCluster.spec.pod.serviceAccountName': {
    words: 'As in a pod; replicas never call the Kubernetes API. Default: one is made.',
  },
  'TrackerCluster.spec.pod.tolerations': { maxItems: 64 },
  'TrackerCluster.spec.pod.terminationGracePeriodSeconds': { default: 60, minimum: 10, maximum: 3600 },
  'TrackerCluster.spec.pod.drainSeconds': { default: 5, minimum: 0, maximum: 600 },
  'TrackerCluster.spec.paused': { default: false },
  'TrackerCluster.spec.hibernated': { default: false },
  'TrackerCluster.spec.rollout': { words: 'How new versions and changed pods come in.', default: {} },
  'TrackerCluster.spec.rollout.surge': { default: false },
  'TrackerCluster.spec.rollout.settleSeconds': { default: 5, minimum: 0, maximum: 3600 },
  'TrackerCluster.spec.replaceAfterSeconds': { default: 300, minimum: 30, maximum: 86_400 },
  'TrackerCluster.spec.restoreFrom': {
    rules: [
      {
        rule: 'has(self.backup) != has(self.claimName)',
        message: 'spec.restoreFrom needs either backup or claimName',
      },
    ],
  },
  'TrackerCluster.spec.restoreFrom.backup': NAME,
  'TrackerCluster.spec.restoreFrom.claimName': NAME,
  'TrackerCluster.spec.restoreFrom.file': { maxLength: 1024 },
  'TrackerCluster.status': { words: 'The cluster as the operator saw it last.' },
  'TrackerCluster.status.term': { words: 'Raft term: how many elections there were.' },
  'TrackerCluster.status.readyReplicas': { words: 'Pods that answer clients.' },
  'TrackerCluster.status.voters': { words: 'Members that vote; a majority of them must be there.' },
  'TrackerCluster.status.announcesPerSecond': {
    words: 'Announces that all replicas answer a second, of late.',
    fraction: true,
  },
  'TrackerCluster.status.torrents': { words: 'Torrents in the swarm table.' },
  'TrackerCluster.status.peers': { words: 'Peers in the swarm table.' },
  'TrackerCluster.status.members': { words: 'Each member, as Raft knows it.', listKey: 'name' },
}

const OTHERS: Record<string, Extra> = {
  TorrentPolicy: { words: 'Lists of torrents kept in Git: allowed or denied, in force on each replica.' },
  'TorrentPolicy.spec': {
    words: 'The list as it should be.',
    rules: [
      {
        rule: 'has(self.infoHashes) || has(self.infoHashesFrom)',
        message: 'spec needs infoHashes or infoHashesFrom; infoHashes: [] is an empty list',
      },
    ],
  },
  'TorrentPolicy.spec.clusterName': { ...NAME, rules: [fixed('spec.clusterName')] },
  'TorrentPolicy.spec.list': { rules: [fixed('spec.list')] },
  'TorrentPolicy.spec.infoHashes': { maxItems: 10_000 },
  'TorrentPolicy.spec.infoHashes[]': { minLength: 32, maxLength: 4096 },
  'TorrentPolicy.spec.infoHashesFrom.configMapName': { words: 'Name of the ConfigMap.', ...NAME },
  'TorrentPolicy.spec.infoHashesFrom.key': { words: 'Only this entry. Default: all.', maxLength: 253 },
  'TorrentPolicy.status': { words: 'The list as the replicas have it.' },
  'TorrentPolicy.status.entries': { words: 'Torrents in the list.' },
  'TorrentPolicy.status.revision': { words: 'Revision that the cluster gave to the list.' },
  'TorrentPolicy.status.inForce': { words: 'On how many replicas the list is in force, such as "3 of 3".' },
  TrackerBackup: { words: 'Snapshots of a cluster on a volume: one, or again and again.' },
  'TrackerBackup.spec': { words: 'What is backed up, when, and where to.' },
  'TrackerBackup.spec.clusterName': { ...NAME, rules: [fixed('spec.clusterName')] },
  'TrackerBackup.spec.schedule': { minLength: 9, maxLength: 100 },
  'TrackerBackup.spec.suspend': { words: 'No new backups for now. Default false.', default: false },
  'TrackerBackup.spec.keep': { default: 7, minimum: 1, maximum: 1000 },
  'TrackerBackup.spec.storage': { words: 'Where the files go.', default: {} },
  'TrackerBackup.spec.storage.claimName': NAME,
  'TrackerBackup.spec.storage.size': { default: '10Gi', ...SIZE },
  'TrackerBackup.spec.storage.className': {
    words: "StorageClass of the claim that is made. Default: the Kubernetes cluster's default class.",
    ...NAME,
  },
  'TrackerBackup.status': { words: 'What has been backed up.' },
  'TrackerBackup.status.lastSuccess': { words: 'When the last backup was whole, RFC 3339.' },
  'TrackerBackup.status.lastFile': { words: 'The file of the last good backup.' },
  'TrackerBackup.status.lastBytes': { words: 'Its size, bytes.' },
  'TrackerBackup.status.lastFailure': { words: 'Why the last attempt failed; absent: it did not.' },
}

export const EXTRAS: Readonly<Record<string, Extra>> = { ...CLUSTER, ...OTHERS }

/** Words for fields of these names wherever they are, if nothing nearer has any. */
export const COMMON_WORDS: Readonly<Record<string, string>> = {
  observedGeneration: 'The generation of the resource that this was written for.',
  conditions: 'How it stands, each with a reason and a sentence.',
  name: 'Its name.',
  ready: 'Whether it answers clients.',
  role: 'What it is in the Raft group.',
  version: 'Version that it runs.',
  node: 'Node of the pod.',
  type: 'Of which kind it is.',
  status: 'True, False or Unknown.',
  kind: 'Kind of the step.',
  reason: 'One word, for programs.',
  message: 'A sentence, for people.',
  phase: 'How far it is.',
  since: 'Since when, RFC 3339.',
  highSince: 'Since when the load has been high, RFC 3339; absent: it is not.',
  lowSince: 'Since when the load has been low, RFC 3339; absent: it is not.',
  lastChange: 'When the number of replicas was last changed by load, RFC 3339.',
  autoscaling: 'What the load said lately.',
  networkKey: 'How far a rotation of the network key is.',
  recovery: 'How far a guided recovery is.',
  lastStep: 'What the operator did last, and why.',
}
