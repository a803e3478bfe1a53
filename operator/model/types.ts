// The resources of skep.dev/v1alpha1 as users write them: every field with what it is for, its unit and its
// default. The custom resource definitions are checked against this file. What the operator sees is in
// facts.ts, what it does in steps.ts. Refuses: fields that do nothing. Defaults are filled in by settle.ts,
// faults are found by validate.ts.

export const GROUP = 'skep.dev'
export const VERSION = 'v1alpha1'

/** Limits of the specification; the schema says the same. */
export const LIMITS = {
  /** Members at once, as the tracker has it. */
  replicas: 32,
  /** Votes only cost latency: seven voters bear the loss of three. */
  maxVoters: 7,
  tolerateFailures: 3,
  /** The longest name plus "-replicas" and an ordinal has to be a DNS label. */
  nameLength: 50,
} as const

/** Annotations on a TrackerCluster by which people ask for what is not a state to be kept. */
export const ANNOTATIONS = {
  /**
   * `<clusterID> I accept losing what only the lost replicas had`: a cluster without a majority goes on from
   * a survivor.
   */
  recover: 'skep.dev/recover',
  /** Any new value: the network key made by the operator is replaced, with both keys valid on the way. */
  rotateKey: 'skep.dev/rotate-key',
  /** Any new value: all pods are restarted, one by one, leader last. */
  restart: 'skep.dev/restart',
  /** The image tag for which the check of version skew is passed over. */
  allowSkew: 'skep.dev/allow-skew',
} as const

/** What the annotation `skep.dev/recover` must say behind the cluster ID and a space. */
export const RECOVER_WORDS = 'I accept losing what only the lost replicas had'
export const FINALIZER = 'skep.dev/cluster'

export type ObjectMeta = {
  readonly name: string
  readonly namespace: string
  readonly uid: string
  readonly generation: number
  readonly resourceVersion: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
  readonly finalizers?: readonly string[]
  /** RFC 3339. */
  readonly creationTimestamp?: string
  readonly deletionTimestamp?: string
}

export type TrackerCluster = {
  readonly apiVersion: 'skep.dev/v1alpha1'
  readonly kind: 'TrackerCluster'
  readonly metadata: ObjectMeta
  readonly spec: TrackerClusterSpec
  readonly status?: TrackerClusterStatus
}

export type TrackerClusterSpec = {
  /**
   * Pods that answer clients, 1 to 32; any number serves. Voters are the largest odd number up to maxVoters.
   * Default 3.
   */
  readonly replicas?: number
  /**
   * Most replicas that vote: 1, 3, 5 or 7. More votes bear more losses and make each change slower. Default
   * 5.
   */
  readonly maxVoters?: number
  /**
   * Replicas that may be lost at once without losing service, 0 to 3; n asks for 2n+1 replicas and voters.
   * Default: unsaid.
   */
  readonly tolerateFailures?: number
  /** The image of the replicas; its tag is their version. */
  readonly image?: Image
  /** The volume of each replica. */
  readonly storage?: Storage
  /** How clients reach the cluster; UDP and HTTP are Services of their own. */
  readonly services?: {
    readonly udp?: UdpService
    readonly http?: HttpService
    /** An address of its own for each replica, beside the common ones: announce URLs as tiers. */
    readonly perReplica?: PerReplica
  }
  /** Pods use their node's network, one a node: no address translation at all. Default false. */
  readonly hostNetwork?: boolean
  /** The secret from which all traffic between replicas is encrypted. Default: made by the operator. */
  readonly networkKey?: { readonly secretName?: string; readonly key?: string }
  /**
   * When a change is answered: committed (a majority has it on disk) or relaxed (before). Default committed.
   */
  readonly consistency?: 'committed' | 'relaxed'
  /**
   * Time between signs of life of the leader, a duration such as 500ms or 1s, from 50ms to 1m. Default 1s.
   */
  readonly keepalive?: string
  /** Keepalives without which a leader is taken for dead, 2 to 100. Default 2. */
  readonly missed?: number
  /** Room of the swarm table of each replica, a quantity such as 512Mi; fixed at birth. Default 512Mi. */
  readonly memory?: string
  /** Peers with private addresses: auto (shown to private askers only), on or off. Default auto. */
  readonly allowPrivate?: 'auto' | 'on' | 'off'
  /** Leadership goes back to the highest name that has caught up. Default false: it stays where it is. */
  readonly preferHighest?: boolean
  /**
   * Further options of `skep tracker` by name, without dashes; those that the operator sets itself are
   * refused. Default none.
   */
  readonly options?: Readonly<Record<string, string>>
  /**
   * When the resource is deleted, replicas delete their log and snapshots before their pods go. Default
   * false.
   */
  readonly purgeOnDelete?: boolean
  /**
   * The operator chooses the number of replicas by load. Default: it does not, and replicas is the number.
   */
  readonly autoscaling?: Autoscaling
  /**
   * Requests and limits of the tracker's container, as in any pod. Default: requests of 100m CPU and the
   * memory it may take.
   */
  readonly resources?: Resources
  /** Whether replicas have to, or had better, be on different nodes and zones. */
  readonly topologySpread?: TopologySpread
  /** What else the pods are to have. */
  readonly pod?: PodOverrides
  /** The operator changes nothing but status. Default false. */
  readonly paused?: boolean
  /** All pods are stopped, all volumes stay. Default false. */
  readonly hibernated?: boolean
  readonly rollout?: Rollout
  /**
   * How long a replica may be silent before it is replaced in place with an empty volume, seconds, 30 to
   * 86400. Default 300.
   */
  readonly replaceAfterSeconds?: number
  /** A backup that the new cluster begins with; looked at only before birth, and fixed from then on. */
  readonly restoreFrom?: RestoreFrom
}

export type Image = {
  /** Default: the operator's own. */
  readonly repository?: string
  /** Default: the operator's own version. */
  readonly tag?: string
  /** Default IfNotPresent. */
  readonly pullPolicy?: 'Always' | 'IfNotPresent' | 'Never'
  /** Names of secrets in the same namespace. Default none. */
  readonly pullSecrets?: readonly string[]
}

export type Storage = {
  /** Of each volume. Fixed: volumes are grown one by one in their claims. Default 2Gi. */
  readonly size?: string
  /** Fixed once set. Default: the cluster's default class. */
  readonly className?: string
  /** What becomes of volumes when the resource is deleted or the cluster shrinks. Default Retain. */
  readonly retention?: 'Retain' | 'Delete'
}

export type ServiceSpec = {
  /** Default LoadBalancer. */
  readonly type?: 'ClusterIP' | 'NodePort' | 'LoadBalancer'
  /** Port of a node, 1 to 65535 as the API server allows it. Default: chosen by the API server. */
  readonly nodePort?: number
  /** Of the Service object; most load balancers are configured by these. Default none. */
  readonly annotations?: Readonly<Record<string, string>>
  /** Local keeps the clients' addresses, which a tracker hands out; Cluster hides them. Default Local. */
  readonly externalTrafficPolicy?: 'Local' | 'Cluster'
  readonly loadBalancerClass?: string
  /** Networks that may come in, where the load balancer supports it. Default all. */
  readonly loadBalancerSourceRanges?: readonly string[]
}
export type UdpService = ServiceSpec & {
  /** Default 6969. */
  readonly port?: number
}
export type HttpService = ServiceSpec & {
  /** Default 8168. */
  readonly port?: number
  /**
   * Networks of proxies whose X-Forwarded-For is believed, such as the Ingress controller's pods. Default
   * none.
   */
  readonly trustedProxies?: readonly string[]
}

export type PerReplica = {
  /**
   * A Service a replica for UDP and one for HTTP, of the same types as the common ones. While its replica
   * does not answer, a Service leads to another one. Default false: of type LoadBalancer each has its price.
   */
  readonly enabled?: boolean
  /**
   * Of each of these Services; $(ORDINAL) in a value is the number of the replica, for addresses and host
   * names. Default none.
   */
  readonly annotations?: Readonly<Record<string, string>>
}

export type Autoscaling = {
  /** Fewest replicas. Default 3. */
  readonly min?: number
  /** Most replicas. Default 9. */
  readonly max?: number
  /**
   * Announces a second that one replica is to bear; above it one is added, well below it one is taken.
   * Default 20000.
   */
  readonly announcesPerSecondPerReplica?: number
  /**
   * Share of the table's room above which status warns that memory, not replicas, is short, percent. Default
   * 85.
   */
  readonly memoryPercent?: number
  /** How long the load has to be high before a replica is added, seconds. Default 30. */
  readonly upAfterSeconds?: number
  /** How long the load has to be low before one is taken, seconds. Default 300. */
  readonly downAfterSeconds?: number
}

export type Resources = {
  readonly requests?: Readonly<Record<string, string>>
  readonly limits?: Readonly<Record<string, string>>
}

export type TopologySpread = {
  /** Required: no two replicas on one node; Preferred: if it can be; Off. Default Preferred. */
  readonly nodes?: 'Required' | 'Preferred' | 'Off'
  /** The same for zones. Default Preferred. */
  readonly zones?: 'Required' | 'Preferred' | 'Off'
}

export type PodOverrides = {
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
  readonly nodeSelector?: Readonly<Record<string, string>>
  /** As in a pod. */
  readonly tolerations?: readonly Readonly<Record<string, unknown>>[]
  /** As in a pod; replaces the operator's own. */
  readonly affinity?: Readonly<Record<string, unknown>>
  readonly priorityClassName?: string
  readonly runtimeClassName?: string
  readonly serviceAccountName?: string
  /** Time from a stop's beginning to the kill, seconds, at least drainSeconds + 10. Default 60. */
  readonly terminationGracePeriodSeconds?: number
  /** How long a stopping replica goes on answering, for balancers to notice, seconds, 0 to 600. Default 5. */
  readonly drainSeconds?: number
}

export type Rollout = {
  /** While pods are replaced, one more replica serves. Default false. */
  readonly surge?: boolean
  /** How long a new pod must have been ready before the next one goes, seconds, 0 to 3600. Default 5. */
  readonly settleSeconds?: number
}

export type RestoreFrom = {
  /** A TrackerBackup of the same namespace; its last good file is taken, or `file`. */
  readonly backup?: string
  /** A claim with snapshot files, instead of `backup`. */
  readonly claimName?: string
  /** Path of the file in the volume. Default: the newest. */
  readonly file?: string
}

export type ConditionType =
  | 'Ready'
  | 'Progressing'
  | 'Degraded'
  | 'QuorumAtRisk'
  | 'Stalled'
  | 'ClientIPPreserved'

export type Condition = {
  readonly type: string
  readonly status: 'True' | 'False' | 'Unknown'
  /** One word, for programs. */
  readonly reason: string
  /** A sentence, for people. */
  readonly message: string
  /** RFC 3339: when `status` last changed. */
  readonly lastTransitionTime: string
  readonly observedGeneration: number
}

export type TrackerClusterStatus = {
  readonly observedGeneration?: number
  readonly conditions?: readonly Condition[]
  /** 32 hexadecimal digits; written once at birth. As long as it stands no pod can create a cluster. */
  readonly clusterID?: string
  /** The pod that leads; absent: none known. */
  readonly leader?: string
  readonly term?: number
  /** Pods that are there, for the scale subresource. */
  readonly replicas?: number
  readonly readyReplicas?: number
  readonly voters?: number
  /** Replicas that are aimed at now; with autoscaling the operator's own choice. */
  readonly wishedReplicas?: number
  /** Label selector of the pods, for the scale subresource. */
  readonly selector?: string
  readonly announcesPerSecond?: number
  readonly torrents?: number
  readonly peers?: number
  /** Oldest version that runs. */
  readonly version?: string
  readonly members?: readonly MemberState[]
  readonly lastStep?: LastStep
  readonly autoscaling?: {
    /** Since when the load has been high or low, RFC 3339; absent: it is neither. */
    readonly highSince?: string
    readonly lowSince?: string
    readonly lastChange?: string
  }
  readonly networkKey?: {
    /** Value of the annotation that was carried out last, or is being. */
    readonly rotation?: string
    readonly phase?: 'Adding' | 'Swapping' | 'Dropping' | 'Done'
  }
  readonly recovery?: Recovery
  /** One more replica than wished serves until a rollout is over. */
  readonly surge?: boolean
  /** What is waited for, and since when: the same for long is Stalled. */
  readonly waiting?: { readonly reason: string; readonly since: string }
}

export type MemberState = {
  /** Of pod and member alike. */
  readonly name: string
  /** Raft ID, decimal: it does not fit a float in every language. */
  readonly id?: string
  readonly role: 'Leader' | 'Voter' | 'Learner' | 'Joining' | 'Removed' | 'Silent' | 'Stopped'
  readonly ready: boolean
  /** Entries that it lacks; absent: not known. */
  readonly lag?: number
  readonly version?: string
  readonly node?: string
  /** Since when neither the operator nor the leader has heard of it, RFC 3339. */
  readonly silentSince?: string
  /** Why it is not as it should be. */
  readonly detail?: string
}

export type LastStep = {
  readonly kind: string
  readonly reason: string
  readonly message: string
  /** Hash of the step and of what was observed when it was chosen. */
  readonly fingerprint: string
  /** How often it was chosen in a row without any change that could be seen. */
  readonly count: number
  /** RFC 3339. */
  readonly at: string
}

/** Of a cluster that lost its majority for good. */
export type Recovery = {
  readonly phase: 'Stopping' | 'Rewriting' | 'Wiping' | 'Starting' | 'Done' | 'Refused'
  /** Value of the annotation. */
  readonly accepted: string
  /**
   * Ordinal of the replica that the cluster goes on from; absent: nobody has any data, an empty cluster is
   * born.
   */
  readonly survivor?: number
  /** Pods before. */
  readonly size: number
  readonly message: string
}

/** Lists of torrents kept in Git: allowed or denied, in force on each replica of a cluster. */
export type TorrentPolicy = {
  readonly apiVersion: 'skep.dev/v1alpha1'
  readonly kind: 'TorrentPolicy'
  readonly metadata: ObjectMeta
  readonly spec: {
    /** A TrackerCluster of the same namespace. Fixed. */
    readonly clusterName: string
    /**
     * Allow: only these torrents are tracked. Deny: these are refused. One policy a list and cluster. Fixed.
     */
    readonly list: 'Allow' | 'Deny'
    /** Hexadecimal, base32 or magnet links, up to 10000; together with infoHashesFrom. */
    readonly infoHashes?: readonly string[]
    /** A ConfigMap of the same namespace whose values are lists, an info_hash a line. */
    readonly infoHashesFrom?: { readonly configMapName: string; readonly key?: string }
  }
  readonly status?: {
    readonly observedGeneration?: number
    readonly entries?: number
    readonly revision?: number
    /** Such as "3 of 3". */
    readonly inForce?: string
    readonly conditions?: readonly Condition[]
  }
}

/** Snapshots of a cluster on a volume: one, or again and again. */
export type TrackerBackup = {
  readonly apiVersion: 'skep.dev/v1alpha1'
  readonly kind: 'TrackerBackup'
  readonly metadata: ObjectMeta
  readonly spec: {
    /** A TrackerCluster of the same namespace. Fixed. */
    readonly clusterName: string
    /** Cron, in UTC. Default: once, now. */
    readonly schedule?: string
    readonly suspend?: boolean
    /** Files kept, 1 to 1000; older ones are deleted after a good one. Default 7. */
    readonly keep?: number
    readonly storage: {
      /** A claim that is there. Default: one is made, named after the backup. */
      readonly claimName?: string
      /** Of the claim that is made. Default 10Gi. */
      readonly size?: string
      readonly className?: string
    }
  }
  readonly status?: {
    readonly observedGeneration?: number
    readonly lastSuccess?: string
    readonly lastFile?: string
    readonly lastBytes?: number
    readonly lastFailure?: string
    readonly conditions?: readonly Condition[]
  }
}
