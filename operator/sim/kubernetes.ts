// What Kubernetes does beside the API server, lazily and in any order: the StatefulSet's controller,
// scheduler, kubelets, volumes, Jobs, garbage collection, nodes that are lost and come back. Refuses: hurry.
// Whatever a real cluster may do late is done late here.

import { hkdfSync } from 'node:crypto'
import type { Random } from '@skep/testing/random.ts'
import { networkKeyName } from '@skep/wire/network-key.ts'
import { CLUSTER_LABEL, ORDINAL_LABEL, PART_LABEL, PURPOSE_LABEL } from '../model/labels.ts'
import { claimName, ordinalOf, podName } from '../model/names.ts'
import { fingerprint, rfc3339 } from '../model/units.ts'
import type { Group, Process } from './group.ts'
import type { Json, Server, Stored } from './server.ts'

type Node = { up: boolean; lostMs: number }
type Container = {
  retryMs: number
  exitCode: number | null
  endMs: number | null
  keysMs: number
  readyMs: number
}

/** A lost node: until its pods are not ready any more, and until they are to be deleted, milliseconds. */
const NOT_READY_MS = 8000
const EVICTED_MS = 40_000

export class Kubernetes {
  readonly nodes = new Map<string, Node>()
  private readonly server: Server
  private readonly group: Group
  private readonly random: Random
  private readonly containers = new Map<string, Container>()
  private readonly claimNodes = new Map<string, string>()
  private readonly jobEnds = new Map<string, number>()
  private readonly revisions = new WeakMap<Json, string>()
  private readonly keyNames = new Map<string, string>()
  /** Volumes live on the node where they were first used. */
  readonly localVolumes: boolean
  nowMs = 0

  constructor(server: Server, group: Group, random: Random, nodes: number) {
    this.server = server
    this.group = group
    this.random = random
    this.localVolumes = random.chance(0.5)
    for (let i = 0; i < nodes; i++) this.nodes.set(`node${i}`, { up: true, lostMs: 0 })
  }

  tick(nowMs: number): void {
    this.nowMs = nowMs
    const parts = [
      () => this.random.chance(0.7) && this.sets(),
      () => this.random.chance(0.8) && this.schedule(),
      () => this.kubelets(),
      () => this.random.chance(0.7) && this.claims(),
      () => this.jobs(),
      () => this.random.chance(0.3) && this.collect(),
    ]
    for (const part of this.random.shuffle(parts)) part()
  }

  pods(): Stored[] {
    return this.server.list('Pod').filter((p) => p.metadata.labels?.[PART_LABEL] === 'replica')
  }

  processOf(pod: string): Process | null {
    for (const p of this.group.processes.values())
      if (p.pod === pod && this.server.get('Pod', 'n', pod)?.metadata.uid === p.podUid) return p
    return null
  }

  /** The power of a node goes, or its network; nothing on it can be reached. */
  lose(node: string): void {
    const n = this.nodes.get(node)!
    n.up = false
    n.lostMs = this.nowMs
    for (const pod of this.pods()) if (nodeOf(pod) === node) this.reach(pod, false)
  }

  heal(node: string): void {
    this.nodes.get(node)!.up = true
    for (const p of [...this.group.processes.values()]) {
      const pod = this.server.get('Pod', 'n', p.pod)
      // Whose pod was taken away meanwhile is ended by its kubelet before anybody can reach it.
      if (pod === null || pod.metadata.uid !== p.podUid) this.group.processes.delete(p.podUid)
      else if (nodeOf(pod) === node) p.reachable = true
    }
  }

  private reach(pod: Stored, is: boolean): void {
    const p = this.group.processes.get(pod.metadata.uid!)
    if (p !== undefined) p.reachable = is
  }

  /** The process ends, its pod stays. */
  kill(pod: Stored, exitCode: number): void {
    this.group.processes.delete(pod.metadata.uid!)
    const c = this.containers.get(pod.metadata.uid!)
    if (c !== undefined) Object.assign(c, { exitCode, retryMs: this.nowMs + 1000 })
  }

  private sets(): void {
    for (const set of this.server.list('StatefulSet')) {
      if (set.metadata.deletionTimestamp !== undefined) continue
      const spec = set.spec as { replicas: number; template: Json }
      const revision = this.revisionOf(spec.template)
      this.server.update(set, {
        status: { observedGeneration: set.metadata.generation, updateRevision: revision },
      })
      const there = this.pods()
      for (let i = 0; i < spec.replicas; i++) {
        const name = podName(set.metadata.name, i)
        const pod = there.find((p) => p.metadata.name === name)
        if (
          (pod === undefined || nodeOf(pod) === '') &&
          this.server.get('PersistentVolumeClaim', 'n', claimName(set.metadata.name, i)) === null
        )
          this.makeClaim(set, i)
        if (pod === undefined) this.makePod(set, name, revision, spec.template)
      }
      for (const pod of there)
        if ((ordinalOf(set.metadata.name, pod.metadata.name) ?? 0) >= spec.replicas)
          this.server.delete('Pod', 'n', pod.metadata.name, {})
    }
  }

  private revisionOf(template: Json): string {
    const revision = this.revisions.get(template) ?? fingerprint(JSON.stringify(template))
    this.revisions.set(template, revision)
    return revision
  }

  private makeClaim(set: Stored, ordinal: number): void {
    const labels = { [CLUSTER_LABEL]: set.metadata.name, [PART_LABEL]: 'replica' }
    const metadata = { name: claimName(set.metadata.name, ordinal), namespace: 'n', labels }
    this.server.create({
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata,
      status: { phase: 'Pending' },
    })
  }

  private makePod(set: Stored, name: string, revision: string, template: Json): void {
    const { metadata, spec } = template as { metadata: { labels: Record<string, string> }; spec: Json }
    const owner = {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      name: set.metadata.name,
      uid: set.metadata.uid!,
      controller: true,
    }
    this.server.create({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name,
        namespace: 'n',
        labels: { ...metadata.labels, 'controller-revision-hash': revision },
        ownerReferences: [owner],
      },
      spec: { image: (spec.containers as { image: string }[])[0]!.image },
      status: { phase: 'Pending' },
    })
  }

  private claimOf(pod: Stored): Stored | null {
    return this.server.get('PersistentVolumeClaim', 'n', `data-${pod.metadata.name}`)
  }

  private schedule(): void {
    for (const pod of this.pods()) {
      if (nodeOf(pod) !== '' || pod.metadata.deletionTimestamp !== undefined) continue
      const claim = this.claimOf(pod)
      const bound = claim === null ? undefined : this.claimNodes.get(claim.metadata.uid!)
      const free = [...this.nodes].filter(([, n]) => n.up).map(([name]) => name)
      const fits = free.filter((n) => !this.localVolumes || bound === undefined || bound === n)
      if (claim === null || claim.metadata.deletionTimestamp !== undefined || fits.length === 0) {
        const conditions = [
          { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: 'no node fits' },
        ]
        this.server.update(pod, { status: { phase: 'Pending', conditions } })
        continue
      }
      const node = this.random.pick(fits)
      this.claimNodes.set(claim.metadata.uid!, bound ?? node)
      this.server.update(claim, { status: { phase: 'Bound' } })
      this.server.update(pod, { spec: { ...pod.spec, nodeName: node }, status: { phase: 'Pending' } })
      this.containers.set(pod.metadata.uid!, {
        retryMs: this.nowMs + this.random.between(300, 3000),
        exitCode: null,
        endMs: null,
        keysMs: 0,
        readyMs: 0,
      })
    }
  }

  private kubelets(): void {
    const uids = new Set(this.pods().map((p) => p.metadata.uid!))
    // Taken away by force: its kubelet ends it when it can.
    for (const p of [...this.group.processes.values()])
      if (!uids.has(p.podUid) && p.reachable) this.group.processes.delete(p.podUid)
    for (const pod of this.pods()) {
      const node = this.nodes.get(nodeOf(pod))
      if (node === undefined) {
        if (pod.metadata.deletionTimestamp !== undefined) this.server.remove(pod)
      } else if (node.up) this.kubelet(pod)
      else this.lostPod(pod, this.nowMs - node.lostMs)
    }
  }

  private lostPod(pod: Stored, forMs: number): void {
    if (forMs > EVICTED_MS && pod.metadata.deletionTimestamp === undefined)
      this.server.delete('Pod', 'n', pod.metadata.name, {})
    const now = this.server.get('Pod', 'n', pod.metadata.name)
    if (forMs > NOT_READY_MS && now !== null) this.readiness(now, false)
  }

  private readiness(pod: Stored, ready: boolean): void {
    const status = pod.status as { conditions?: { type: string; status: string }[] }
    const before = status.conditions?.find((c) => c.type === 'Ready')
    const wanted = ready ? 'True' : 'False'
    if (before?.status === wanted) return
    const condition = { type: 'Ready', status: wanted, lastTransitionTime: rfc3339(this.nowMs) }
    this.server.update(pod, { status: { ...status, conditions: [condition] } })
  }

  private kubelet(pod: Stored): void {
    const uid = pod.metadata.uid!
    const c = this.containers.get(uid)!
    const process = this.group.processes.get(uid)
    if (pod.metadata.deletionTimestamp !== undefined) {
      this.stop(pod, c, process)
      return
    }
    if (process === undefined) {
      if (this.nowMs >= c.retryMs) this.start(pod, c)
      return
    }
    if (this.nowMs >= c.keysMs) this.readKeys(process, c)
    this.readiness(pod, this.group.readyAt(process, this.nowMs))
  }

  /** preStop: leadership goes, answers go on for a while. */
  private stop(pod: Stored, c: Container, process: Process | undefined): void {
    c.endMs ??= this.nowMs + this.random.between(500, 4000)
    if (process !== undefined && !process.draining) {
      process.draining = true
      const self = this.group.diskOf(process)?.memberID
      const heirs = this.group
        .voters()
        .filter((m) => m.id !== self && this.group.alive(m.id, this.nowMs)?.draining === false)
      if (self === this.group.leader && heirs[0] !== undefined && this.group.pending === null)
        this.group.ask(process, this.nowMs, { kind: 'transfer', ids: [heirs[0].id] })
    }
    this.readiness(pod, false)
    if (this.nowMs < c.endMs) return
    this.group.processes.delete(pod.metadata.uid!)
    this.server.remove(this.server.get('Pod', 'n', pod.metadata.name)!)
  }

  private start(pod: Stored, c: Container): void {
    const { name, uid } = pod.metadata
    const image = (pod.spec as { image: string }).image
    const waiting = (reason: string): void => {
      c.retryMs = this.nowMs + 5000
      const containerStatuses = [
        {
          name: 'tracker',
          state: { waiting: { reason } },
          ...(c.exitCode === null ? {} : { lastState: { terminated: { exitCode: c.exitCode } } }),
        },
      ]
      this.server.update(this.server.get('Pod', 'n', name)!, {
        status: { phase: 'Pending', podIP: `10.0.0.${uid}`, conditions: [], containerStatuses },
      })
    }
    if (image.includes('bad')) {
      waiting('ImagePullBackOff')
      return
    }
    const set = pod.metadata.labels![CLUSTER_LABEL]!
    const config = this.server.get('ConfigMap', 'n', `${set}-config`)
    const claim = this.claimOf(pod)
    if (config === null || this.keys().length === 0 || claim === null) {
      waiting('ContainerCreating')
      return
    }
    const options = config.data?.[`${name}.json`]
    if (options === undefined) {
      c.exitCode = 64
      waiting('CrashLoopBackOff')
      return
    }
    this.group.processes.set(uid!, {
      pod: name,
      podUid: uid!,
      claimUid: claim.metadata.uid!,
      startedMs: this.nowMs,
      reachable: true,
      mayCreate: 'initial-members' in (JSON.parse(options) as Json),
      keys: { names: this.keys() },
      version: image.split(':').at(-1)!,
      draining: false,
    })
    c.keysMs = this.nowMs + this.random.between(1000, 60_000)
    const containerStatuses = [{ name: 'tracker', state: { running: {} } }]
    this.server.update(this.server.get('Pod', 'n', name)!, {
      status: { phase: 'Running', podIP: `10.0.0.${uid}`, conditions: [], containerStatuses },
    })
  }

  /** A mounted Secret changes within a minute or so. */
  private readKeys(process: Process, c: Container): void {
    const names = this.keys()
    // What is mounted stays when its Secret goes.
    if (names.length > 0) process.keys.names = names
    c.keysMs = this.nowMs + this.random.between(1000, 60_000)
  }

  private keys(): string[] {
    const secret = this.server.list('Secret')[0]
    const data = Object.values(secret?.data ?? {})[0] ?? ''
    return atob(data)
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const name = this.keyNames.get(line) ?? networkKeyName(line, hkdfSync)
        this.keyNames.set(line, name)
        return name
      })
  }

  private claims(): void {
    for (const claim of this.server.list('PersistentVolumeClaim')) {
      if (claim.metadata.deletionTimestamp === undefined) continue
      const used = this.pods().some(
        (p) => `data-${p.metadata.name}` === claim.metadata.name && nodeOf(p) !== '',
      )
      if (used) continue
      this.server.remove(claim)
      this.group.disks.delete(claim.metadata.uid!)
    }
  }

  private jobs(): void {
    for (const job of this.server.list('Job')) {
      const uid = job.metadata.uid!
      if (job.status !== undefined) continue
      const end = this.jobEnds.get(uid) ?? this.nowMs + this.random.between(500, 5000)
      this.jobEnds.set(uid, end)
      if (this.nowMs < end) continue
      const claim = this.server.get(
        'PersistentVolumeClaim',
        'n',
        claimName(job.metadata.labels![CLUSTER_LABEL]!, Number(job.metadata.labels![ORDINAL_LABEL])),
      )
      const fault = this.work(job.metadata.labels![PURPOSE_LABEL]!, claim?.metadata.uid ?? '')
      const type = fault === '' ? 'Complete' : 'Failed'
      this.server.update(job, { status: { conditions: [{ type, status: 'True', reason: fault }] } })
    }
  }

  private work(purpose: string, claimUid: string): string {
    if ([...this.group.processes.values()].some((p) => p.claimUid === claimUid && p.reachable)) {
      this.group.violation = `a Job works on a volume (${purpose}) while its replica runs`
      return 'in use'
    }
    if (purpose === 'purge') this.group.disks.delete(claimUid)
    return purpose === 'recover' ? this.group.recover(claimUid) : ''
  }

  /** What belongs to an object that is gone. */
  private collect(): void {
    const uids = new Set([...this.server.objects.values()].map((o) => o.metadata.uid))
    for (const object of [...this.server.objects.values()]) {
      const { ownerReferences: owners, deletionTimestamp, name } = object.metadata
      if (owners === undefined || deletionTimestamp !== undefined) continue
      if (!owners.some((o) => uids.has(o.uid as string))) this.server.delete(object.kind, 'n', name, {})
    }
  }
}

export const nodeOf = (pod: Stored): string => (pod.spec as { nodeName?: string } | undefined)?.nodeName ?? ''
