// All that the operator may ever do to a cluster, and what comes out of a pass: one step, and what is said
// about it. Refuses: steps that are not safe to repeat. Each names what it was chosen for (uid, ID, size
// before), and act.ts does nothing where that is not so any more.

import type { BirthMode, JobPurpose, ObjectKind } from './facts.ts'
import type { Condition, TrackerClusterStatus } from './types.ts'

/** What the plan has decided about owned objects; desired/ makes the objects from the resource and this. */
export type Decided = {
  readonly birth: BirthMode
  readonly clusterID: string | null
  /** Replicas of the StatefulSet, as they are: apply never changes a size. */
  readonly replicas: number
  /** Written to the annotation skep.dev/size. Peers are listed up to this ordinal. */
  readonly size: number
  /**
   * By ordinal: the replica that its own Services lead to, as they are; apply never turns them. Empty:
   * replicas have none.
   */
  readonly targets: readonly number[]
  /** False until the volume of pod 0 has been filled from a backup. */
  readonly startPods: boolean
}

export type Step =
  | { readonly kind: 'none' }
  | { readonly kind: 'add-finalizer' }
  | { readonly kind: 'remove-finalizer' }
  /** Server-side apply of these owned objects, in the order ConfigMap, Secret, ..., StatefulSet last. */
  | {
      readonly kind: 'apply'
      readonly objects: readonly { readonly kind: ObjectKind; readonly name: string }[]
      readonly decided: Decided
    }
  /** Only the status of this pass is written: it holds the ID of the cluster that was born. */
  | { readonly kind: 'record-birth'; readonly clusterID: string }
  /** Only the status of this pass is written: it holds where a recovery stands. */
  | { readonly kind: 'record-recovery'; readonly phase: string }
  /** The StatefulSet gets another size; ConfigMap first when it grows, so that new pods know whom to ask. */
  | {
      readonly kind: 'set-size'
      readonly from: number
      readonly to: number
      readonly decided: Decided
      readonly why: 'grow' | 'shrink' | 'hibernate' | 'wake' | 'delete' | 'recover' | 'surge'
    }
  | {
      readonly kind: 'delete-pod'
      readonly pod: string
      readonly uid: string
      /** Without waiting for its node, which is gone. */
      readonly force: boolean
      readonly why: 'rollout' | 'cannot start' | 'recover'
    }
  /** A claim that no pod may use again: of a member that was removed, or of a cluster that is deleted. */
  | { readonly kind: 'delete-claim'; readonly claim: string; readonly uid: string }
  /** A claim asks for more room, a quantity of bytes; whether it gets it is for its storage class to say. */
  | { readonly kind: 'grow-claim'; readonly claim: string; readonly uid: string; readonly size: string }
  /**
   * A lost replica gets an empty volume: claim first (its finalizer waits for the pod), then the pod, by
   * force. What comes back is a newcomer, which the leader swaps for the lost member.
   */
  | {
      readonly kind: 'replace-member'
      readonly ordinal: number
      readonly pod: string
      readonly podUid: string | null
      readonly claim: string
      readonly claimUid: string | null
      /** Raft ID of the lost one; null: it is no member. */
      readonly memberID: string | null
    }
  /** Asked of the leader's pod, with IDs. */
  | { readonly kind: 'promote'; readonly at: string; readonly members: readonly string[] }
  | { readonly kind: 'demote'; readonly at: string; readonly members: readonly string[] }
  | {
      readonly kind: 'remove-member'
      readonly at: string
      readonly member: string
      readonly name: string
    }
  | { readonly kind: 'transfer'; readonly at: string; readonly to: string; readonly name: string }
  /**
   * Asked of the replica itself: it leaves its Services and goes on answering; or, with `undo`, it comes
   * back.
   */
  | { readonly kind: 'drain'; readonly at: string; readonly undo: boolean }
  /** The Secret's lines: a new key is made as second, takes the first place, or stays alone. */
  | {
      readonly kind: 'rotate-key'
      readonly phase: 'add' | 'swap' | 'drop'
      readonly secretName: string
      readonly rotation: string
      /** Names of the lines as they are. */
      readonly from: readonly string[]
    }
  /**
   * A Job that mounts the volume of an ordinal; pods are down then. A failed one of that purpose is deleted
   * first.
   */
  | { readonly kind: 'run-job'; readonly purpose: JobPurpose; readonly ordinal: number }
  | { readonly kind: 'delete-job'; readonly job: string }
  /** Of a replica that is wished for no more. */
  | { readonly kind: 'delete-service'; readonly service: string; readonly uid: string }
  /** The annotation skep.dev/recover has been carried out: it must not stand for the next time. */
  | { readonly kind: 'clear-recover'; readonly value: string }

export type StepKind = Step['kind']

export type PlanEvent = {
  readonly type: 'Normal' | 'Warning'
  readonly reason: string
  readonly message: string
}

export type Plan = {
  readonly step: Step
  /** Of the check that chose the step (or waits): one word, and a sentence. */
  readonly reason: string
  readonly message: string
  readonly conditions: readonly Condition[]
  readonly events: readonly PlanEvent[]
  /** When to look again if nothing happens. */
  readonly requeueAfterMs: number
  /** The whole status after this pass, conditions included. Written only if it differs from what is there. */
  readonly status: TrackerClusterStatus
}
