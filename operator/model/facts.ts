// What the operator sees of one cluster in one pass, as plain data: caches, and what each replica says of
// itself, with its age. observe.ts gathers it (or the simulator), plan/ decides from it alone. Refuses:
// opinions. Who counts as lost or caught up is decided in plan/.

import type { TrackerCluster } from './types.ts'

export type Observed = {
  readonly resource: TrackerCluster
  /** Which cache is older than what the operator itself has last written; null: none. The plan waits then. */
  readonly stale: string | null
  /**
   * Why the last step that was tried could not be done, as the API server or a replica said it; '' : it was
   * done.
   */
  readonly failure: string
  /**
   * Owned objects that are absent or differ from what desired/ makes of the resource and `decided`
   * (plan/decided.ts).
   */
  readonly drift: readonly Drift[]
  /** The ConfigMap as it is; null: there is none. */
  readonly config: ConfigSeen | null
  readonly key: KeySeen | null
  readonly statefulSet: StatefulSetSeen | null
  readonly pods: readonly PodSeen[]
  readonly claims: readonly ClaimSeen[]
  readonly services: readonly ServiceSeen[]
  /** Of single replicas. */
  readonly ownServices: readonly OwnServiceSeen[]
  readonly jobs: readonly JobSeen[]
  /** One for each pod that was asked. */
  readonly members: readonly MemberSeen[]
  /** Ready endpoints of the UDP Service. */
  readonly endpointsReady: number
  /** Of the operator: the tag of the image where none is named. */
  readonly version: string
}

export type ObjectKind =
  | 'ConfigMap'
  | 'Secret'
  | 'ServiceAccount'
  | 'Service'
  | 'PodDisruptionBudget'
  | 'StatefulSet'
export type Drift = { readonly kind: ObjectKind; readonly name: string; readonly absent: boolean }

/** How an empty pod comes to a cluster. `create`: pod 0 alone may form one; `join`: nobody ever does. */
export type BirthMode = 'create' | 'join'

export type ConfigSeen = {
  readonly birth: BirthMode
  /** Written beside the mode, so that a lost status does not lose it. */
  readonly clusterID: string | null
}

export type KeySeen = {
  readonly secretName: string
  /** Made by the operator: only such keys are rotated. */
  readonly made: boolean
  /** Names (hashes) of its lines, the one in use first; empty: no usable line. */
  readonly names: readonly string[]
  /**
   * Annotation skep.dev/rotation of the Secret: the value of skep.dev/rotate-key that it was last changed
   * for; '' : never.
   */
  readonly rotation: string
  /**
   * Annotation skep.dev/rotation-phase of the Secret. Adding: old key first, new one second. Swapping: new
   * key first, old one second. Done: the new one alone.
   */
  readonly phase: 'Adding' | 'Swapping' | 'Done'
}

export type StatefulSetSeen = {
  readonly uid: string
  /** spec.replicas. */
  readonly replicas: number
  /** Annotation skep.dev/size: as many as there are when the cluster does not sleep. */
  readonly size: number
  /** Of the template that new pods get; '' while its controller has not looked at the newest one. */
  readonly revision: string
  readonly deleting: boolean
}

export type PodSeen = {
  readonly name: string
  readonly ordinal: number
  readonly uid: string
  readonly revision: string
  readonly phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed' | 'Unknown'
  readonly ready: boolean
  /** Milliseconds since the epoch when `ready` last changed; null: not known. */
  readonly readySinceMs: number | null
  readonly deleting: boolean
  /** Milliseconds since the epoch. */
  readonly createdMs: number
  /** '' until it is scheduled. */
  readonly node: string
  readonly hostIP?: string
  /**
   * Why its container does not run, as Kubernetes says it: CrashLoopBackOff, ImagePullBackOff, Unschedulable;
   * '' : it does.
   */
  readonly waiting: string
  readonly waitingMessage?: string
  /** Of the container's last end; null: it never ended. */
  readonly exitCode: number | null
}

export type ClaimSeen = {
  readonly name: string
  readonly ordinal: number
  readonly uid: string
  readonly phase: 'Pending' | 'Bound' | 'Lost'
  readonly deleting: boolean
  /** As asked for, bytes; 0: not known. */
  readonly bytes: number
}

export type ServiceSeen = {
  readonly name: string
  readonly protocol: 'udp' | 'http'
  readonly type: string
  readonly externalTrafficPolicy: string
  readonly nodePort: number | null
  /** Of the load balancer. */
  readonly addresses: readonly string[]
}

/** A Service of one replica. */
export type OwnServiceSeen = {
  readonly name: string
  readonly uid: string
  readonly ordinal: number
  /** Ordinal of the replica that it leads to; null: somebody has made it lead elsewhere. */
  readonly target: number | null
}

export type JobPurpose = 'restore' | 'recover' | 'purge'
export type JobSeen = {
  readonly name: string
  readonly purpose: JobPurpose
  readonly ordinal: number
  readonly state: 'running' | 'succeeded' | 'failed'
  /** Last line of a failed one, or its reason. */
  readonly message: string
}

/** What a pod's replica said when it was last asked. */
export type MemberSeen = {
  readonly pod: string
  readonly ordinal: number
  /** Of the pod that was asked: an answer of its predecessor says nothing of this one. */
  readonly podUid: string
  /** How old `report` is, milliseconds; Infinity: never heard. */
  readonly ageMs: number
  readonly report: MemberReport | null
  /** Why the last question was not answered; '' : it was. */
  readonly error: string
}

/** StatusResponse of the control API, as far as the plan looks at it. IDs are decimal. */
export type MemberReport = {
  readonly name: string
  readonly version: string
  readonly ready: boolean
  readonly notReady: string
  /** '' once it is a member. Until then all below is empty. */
  readonly birthAwaits: string
  readonly draining: boolean
  /** Names of the keys that are valid there, the one in use first. */
  readonly networkKeys: readonly string[]
  readonly clusterID: string
  readonly memberID: string
  readonly leads: boolean
  /** '0': none known. */
  readonly leaderID: string
  readonly term: number
  readonly commitIndex: number
  readonly lastIndex: number
  /** A change of members is under way, or joint. */
  readonly changing: boolean
  /** What the replicas wait for by themselves, such as a successor that catches up; '' : nothing. */
  readonly awaits: string
  /** Why it is no member any more; '' : it is one. */
  readonly removed: string
  readonly members: readonly RaftMember[]
  readonly announcesPerSecond: number
  /** Since its start. */
  readonly announces: number
  readonly announcesPrivate: number
  readonly torrents: number
  readonly peers: number
  /** Of the table's room in use, 0 to 1. */
  readonly tableShare: number
  readonly diskFull: boolean
}

/** A member as a replica sees it; `lag` and `heardMsAgo` are only known to the leader. */
export type RaftMember = {
  readonly id: string
  readonly name: string
  readonly voter: boolean
  /** Entries that it lacks; null: not known. */
  readonly lag: number | null
  /** null: never since the leader took over. The leader itself: 0. */
  readonly heardMsAgo: number | null
  /** ID of the lost voter whose place it takes; '0': nobody's. */
  readonly replaces: string
  readonly diskFails: boolean
  readonly draining: boolean
}
