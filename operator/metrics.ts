// What the operator counts, as text for Prometheus. The one door to prom-client here.
// Refuses: a series for each pod or step's sentence: only names of clusters and kinds of steps.

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Cache } from './kube/watch.ts'
import type { Plan } from './model/steps.ts'
import type { ConditionType } from './model/types.ts'

const CONDITIONS: readonly ConditionType[] = [
  'Ready',
  'Progressing',
  'Degraded',
  'QuorumAtRisk',
  'Stalled',
  'ClientIPPreserved',
]

export type Metrics = {
  /** A pass that ended; `plan` null: the resource is gone, or the pass failed. */
  pass(
    kind: string,
    cluster: string,
    seconds: number,
    result: 'done' | 'failed',
    plan: Plan | null,
    wroteStatus: boolean,
  ): void
  leading(ours: boolean): void
  gone(cluster: string): void
  text(): Promise<string>
  readonly contentType: string
}

/** `caches` and `queued` are asked when somebody reads the metrics. */
export const newMetrics = (caches: () => readonly Cache[], queued: () => number): Metrics => {
  const registers = [new Registry()]
  const [registry] = registers as [Registry]
  collectDefaultMetrics({ register: registry })
  const passes = new Histogram({
    name: 'skep_operator_reconcile_seconds',
    help: 'Time of a pass over a resource.',
    labelNames: ['kind', 'result'],
    buckets: [0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10],
    registers,
  })
  const steps = new Counter({
    name: 'skep_operator_steps_total',
    help: 'Steps carried out or tried, by kind.',
    labelNames: ['cluster', 'step', 'result'],
    registers,
  })
  const hot = new Counter({
    name: 'skep_operator_repeated_steps_total',
    help: 'Steps chosen again without any change that could be seen.',
    labelNames: ['cluster'],
    registers,
  })
  const writes = new Counter({
    name: 'skep_operator_status_writes_total',
    help: 'Writes of status.',
    labelNames: ['cluster'],
    registers,
  })
  const condition = new Gauge({
    name: 'skep_cluster_condition',
    help: 'Conditions of a TrackerCluster: 1 True, 0 False, -1 Unknown.',
    labelNames: ['cluster', 'type'],
    registers,
  })
  const size = new Gauge({
    name: 'skep_cluster_replicas',
    help: 'Replicas of a TrackerCluster: wished, there, ready, voters.',
    labelNames: ['cluster', 'what'],
    registers,
  })
  const leader = new Gauge({
    name: 'skep_operator_leader',
    help: '1 where this operator holds the lease and works.',
    registers,
  })
  gauges(registers, caches, queued)
  return {
    contentType: registry.contentType,
    pass(kind, cluster, seconds, result, plan, wroteStatus) {
      passes.observe({ kind, result }, seconds)
      if (wroteStatus) writes.inc({ cluster })
      if (plan === null) return
      if (plan.step.kind !== 'none') steps.inc({ cluster, step: plan.step.kind, result })
      if (plan.step.kind !== 'none' && (plan.status.lastStep?.count ?? 0) > 1) hot.inc({ cluster })
      for (const c of plan.conditions)
        condition.set({ cluster, type: c.type }, c.status === 'True' ? 1 : c.status === 'False' ? 0 : -1)
      const { wishedReplicas, replicas, readyReplicas, voters } = plan.status
      const counts = { wished: wishedReplicas, there: replicas, ready: readyReplicas, voters }
      for (const [what, n] of Object.entries(counts)) size.set({ cluster, what }, n ?? 0)
    },
    leading: (ours) => leader.set(ours ? 1 : 0),
    gone(cluster) {
      for (const type of CONDITIONS) condition.remove({ cluster, type })
      for (const what of ['wished', 'there', 'ready', 'voters']) size.remove({ cluster, what })
    },
    text: () => registry.metrics(),
  }
}

const gauges = (registers: Registry[], caches: () => readonly Cache[], queued: () => number): void => {
  new Gauge({
    name: 'skep_operator_queue_keys',
    help: 'Resources that are due or planned for a pass.',
    registers,
    collect() {
      this.set(queued())
    },
  })
  new Gauge({
    name: 'skep_operator_watch_age_seconds',
    help: 'Time since the API server was last heard of, by watched kind.',
    labelNames: ['kind'],
    registers,
    collect() {
      this.reset()
      const oldest = new Map<string, number>()
      for (const c of caches())
        oldest.set(c.of.kind, Math.max(oldest.get(c.of.kind) ?? 0, c.silentMs() / 1000))
      for (const [kind, seconds] of oldest) this.set({ kind }, seconds)
    },
  })
  new Counter({
    name: 'skep_operator_watch_errors_total',
    help: 'Watches and lists that failed, by kind.',
    labelNames: ['kind'],
    registers,
    collect() {
      this.reset()
      for (const c of caches()) this.inc({ kind: c.of.kind }, c.counts.errors)
    },
  })
}
