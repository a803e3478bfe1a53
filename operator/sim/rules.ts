// What the operator must never do, looked at from above: each write is held against the truth of the world at
// that moment. Refuses: to blame it for what it cannot know yet. A fault of the last few seconds is news to
// everybody.

import { POD_LABEL } from '../model/labels.ts'
import { ordinalOf } from '../model/names.ts'
import type { KubeObject, MemberAnswer } from '../model/ports.ts'
import type { Plan } from '../model/steps.ts'
import type { TrackerClusterStatus } from '../model/types.ts'
import { majority } from '../model/units.ts'
import type { Group } from './group.ts'
import type { Server } from './server.ts'

/**
 * Until a leader calls somebody dead, the operator has asked it, and the answer counts no more, milliseconds.
 */
const NEWS_MS = 15_000
/** So long an address may lead to a replica that is not ready, milliseconds; writes may fail meanwhile. */
const UNANSWERED_MS = 20_000
/** Reasons of passes that may touch nothing. */
const HANDS_OFF = ['Paused', 'InvalidSpec', 'VersionSkew', 'CacheBehind', 'Deleting']

export const isReady = (pod: KubeObject): boolean =>
  (pod.status as { conditions?: { type: string; status: string }[] }).conditions?.some(
    (c) => c.type === 'Ready' && c.status === 'True',
  ) ?? false

export class Rules {
  private readonly server: Server
  private readonly group: Group
  private readonly now: () => number
  /** When anything was last done to the cluster from outside. */
  faultMs = Number.NEGATIVE_INFINITY
  /** Since when there has been no majority of voters alive; null: there is one. */
  private lostSinceMs: number | null = null
  /**
   * A resource was deleted and made anew at once: pods of the old one, on their way out, may read the Secret
   * of the new one.
   */
  twoOwners = false
  /** By Service of a replica: since when nobody is ready where it leads. */
  private readonly unanswered = new Map<string, number>()
  writes = 0
  readonly counts = new Map<string, number>()
  violation: string | null = null

  constructor(server: Server, group: Group, now: () => number) {
    this.server = server
    this.group = group
    this.now = now
  }

  break(sentence: string): void {
    this.violation ??= sentence
  }

  tick(): void {
    const { group } = this
    const alive = group.aliveVoters(this.now()).length
    const enough = alive >= majority(group.voters().length)
    if (enough) this.lostSinceMs = null
    else this.lostSinceMs ??= this.now()
    if (group.violation !== null) this.break(group.violation)
    if (this.twoOwners) return
    // Whoever has left the cluster, is on its way out, or cannot be reached, needs no key.
    const talking = [...group.processes.values()].filter(
      (p) => p.reachable && !p.draining && !group.removed.has(group.diskOf(p)?.memberID ?? ''),
    )
    for (const { pod, keys } of talking)
      for (const other of talking)
        if (keys.names[0] !== undefined && !other.keys.names.includes(keys.names[0]))
          this.break(`${other.pod} does not know the network key that ${pod} uses`)
  }

  private get status(): TrackerClusterStatus {
    return (this.server.get('TrackerCluster', 'n', 't')?.status ?? {}) as TrackerClusterStatus
  }

  /** People asked for an end of all, or gave the majority up. */
  private get licensed(): boolean {
    const resource = this.server.get('TrackerCluster', 'n', 't')
    const phase = this.status.recovery?.phase
    return (
      resource?.metadata.deletionTimestamp !== undefined ||
      (phase !== undefined && phase !== 'Done' && phase !== 'Refused')
    )
  }

  private get hibernated(): boolean {
    return (
      (this.server.get('TrackerCluster', 'n', 't')?.spec as { hibernated?: boolean } | undefined)
        ?.hibernated === true
    )
  }

  private count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1)
  }

  /** Nothing is touched without a majority, but for what mends a pod that never ran. */
  private quorum(what: string): void {
    if (
      this.lostSinceMs !== null &&
      this.now() - this.lostSinceMs > NEWS_MS &&
      !this.licensed &&
      !this.hibernated
    )
      this.break(`${what} although there has been no majority since ${this.lostSinceMs}`)
  }

  /**
   * An address of a replica that is away is answered by another one. Excused is whoever is down, may not
   * touch anything, or has nobody to choose; `plan` null: nobody plans.
   */
  addresses(pods: readonly KubeObject[], plan: Plan | null): void {
    const ready = pods.filter((p) => isReady(p) && p.metadata.deletionTimestamp === undefined)
    const excused = plan === null || ready.length === 0 || HANDS_OFF.includes(plan.reason)
    for (const service of this.server.list('Service')) {
      const { [POD_LABEL]: target } = (service.spec as { selector: Record<string, string> }).selector
      const { name } = service.metadata
      if (excused || target === undefined || ready.some((p) => p.metadata.name === target))
        this.unanswered.delete(name)
      else if (this.now() - (this.unanswered.get(name) ?? this.now()) > UNANSWERED_MS)
        this.break(`${name} led to ${target}, which was not ready, for ${UNANSWERED_MS / 1000} seconds`)
      else if (!this.unanswered.has(name)) this.unanswered.set(name, this.now())
    }
  }

  beforeApply(object: KubeObject): void {
    this.count(`apply ${object.kind}`)
    if (object.kind !== 'StatefulSet') return
    const before = this.server.get('StatefulSet', 'n', object.metadata.name)?.spec as
      | { replicas: number }
      | undefined
    const after = (object.spec as { replicas: number }).replicas
    if (before === undefined || after === before.replicas) return
    this.count('set size')
    if (after > before.replicas || this.licensed || this.hibernated) return
    this.quorum('the StatefulSet shrinks')
    if (after < before.replicas - 1)
      this.break(`the StatefulSet shrinks from ${before.replicas} to ${after} in one step`)
    const gone = this.group.members.find(
      (m) => (ordinalOf('t', m.name) ?? 0) >= after && ordinalOf('t', m.name)! < before.replicas,
    )
    if (gone !== undefined)
      this.break(`the StatefulSet shrinks to ${after} while ${gone.name} (${gone.id}) is a member`)
  }

  beforeDelete(kind: string, name: string, options: { uid?: string; force?: boolean }): void {
    this.count(`delete ${kind}`)
    if (kind === 'PersistentVolumeClaim') this.survivorStays(name, options.uid)
    if (this.licensed) return
    if (kind === 'Pod') this.podGoes(name, options.uid)
    if (kind === 'PersistentVolumeClaim') this.claimGoes(name, options.uid)
  }

  /** During a recovery all volumes but one go, and that one only by the will of people. */
  private survivorStays(name: string, uid: string | undefined): void {
    if (this.server.get('TrackerCluster', 'n', 't')?.metadata.deletionTimestamp !== undefined) return
    const disk = uid === undefined ? null : (this.group.disks.get(uid) ?? null)
    const voters = this.group.voters()
    if (voters.length === 1 && disk?.memberID === voters[0]!.id && this.now() - this.faultMs > NEWS_MS)
      this.break(`claim ${name} of the only voter is deleted`)
  }

  private podGoes(name: string, uid: string | undefined): void {
    const { group } = this
    const process = uid === undefined ? undefined : group.processes.get(uid)
    const id = process === undefined ? undefined : group.diskOf(process)?.memberID
    const voters = group.voters()
    const alive = group.aliveVoters(this.now())
    if (!alive.some((m) => m.id === id)) return
    this.quorum(`pod ${name} is deleted`)
    if (voters.length === 1 || this.now() - this.faultMs < NEWS_MS) return
    if (alive.length - 1 < majority(voters.length))
      this.break(`pod ${name} is deleted: ${alive.length - 1} of ${voters.length} voters are left`)
    const lagging = alive.find((m) => m.id !== id && group.last - group.match(m.id, this.now()) > 2000)
    if (lagging !== undefined) this.break(`pod ${name} is deleted while voter ${lagging.name} lacks entries`)
  }

  /** A volume goes only when a majority has its data without it, and nobody lives on it. */
  private claimGoes(name: string, uid: string | undefined): void {
    const { group } = this
    const disk = uid === undefined ? null : (group.disks.get(uid) ?? null)
    if (disk === null || !group.members.some((m) => m.id === disk.memberID)) return
    this.quorum(`claim ${name} is deleted`)
    if (this.now() - this.faultMs < NEWS_MS) return
    const member = group.members.find((m) => m.id === disk.memberID)!
    if (group.alive(member.id, this.now()) !== null)
      this.break(`claim ${name} of ${member.id}, which is alive, is deleted`)
    if (!member.voter) return
    const kept = group.voters().filter((m) => m.id !== member.id && this.holds(m.id)).length
    if (kept < majority(group.voters().length))
      this.break(`claim ${name} is deleted: ${kept} of ${group.voters().length} voters still have a volume`)
  }

  private holds(id: string): boolean {
    return this.server
      .list('PersistentVolumeClaim')
      .some(
        (c) =>
          c.metadata.deletionTimestamp === undefined &&
          this.group.disks.get(c.metadata.uid!)?.memberID === id,
      )
  }

  asked(kind: string, answer: MemberAnswer): void {
    this.count(`${kind} ${answer.kind}`)
  }
}
