// All that a replica says of itself, put together once: pages and probes for HTTP, Status for the control
// API. Refuses: computing any of it (stats.ts, metrics.ts, pulse.ts do).

import type { TrackerConfig } from '../config/options.ts'
import type { StatusMessage } from '../control/cluster.ts'
import type { Probe } from '../http/health.ts'
import type { Logger } from '../log.ts'
import type { ReplicaHandle } from '../replica-thread/handle.ts'
import type { Store } from '../swarm/store.ts'
import type { Control } from '../threads/state.ts'
import { censusOf } from './census.ts'
import { createMetrics } from './metrics.ts'
import { startPulse } from './pulse.ts'
import {
  answersOf,
  metricSourcesOf,
  refusalsOf,
  type StatsSources,
  statsOf,
  statusMessageOf,
} from './stats.ts'

type Ports = { readonly udpPort: number; readonly httpPort: number }
type Counts = () => Readonly<Record<string, number>>

export type ReportOptions = {
  readonly config: TrackerConfig
  readonly version: string
  readonly store: Store
  readonly control: Control
  readonly replica: ReplicaHandle
  readonly udp: Counts
  /** Networks that flood, in a sentence: for the admin alone. */
  readonly floods: () => string[]
  /** Of the control API's port. */
  readonly controlApi: Counts
  readonly log: Logger
  readonly warnings: readonly string[]
  /** Somebody asked that this replica be drained. */
  readonly drained: () => boolean
  /** Why a list's file is not in force, by list; '' where it is. */
  readonly listFaults: () => Readonly<Record<string, string>>
}

export type Report = {
  /** What the HTTP front end shows. */
  readonly pages: {
    readonly stats: () => Promise<object>
    readonly metricsText: () => Promise<string>
    readonly ready: () => Probe
    readonly live: () => Probe
    readonly onError: (error: unknown) => void
  }
  readonly status: () => Promise<StatusMessage>
  readonly live: () => Probe
  /** The front ends start later than what tells of them. */
  countHttp(counts: Counts, ports: Ports): void
  stop(): void
}

export function startReport(options: ReportOptions): Report {
  const { config, store, log, udp } = options
  let httpCounts: Counts = () => ({})
  let ports: Ports = { udpPort: 0, httpPort: 0 }
  const counts = { udp, http: () => httpCounts() }
  const census = censusOf(store)
  const pulse = startPulse({
    ...config,
    ...options,
    census,
    refusals: () => refusalsOf(counts),
    answers: () => answersOf(counts),
  })
  const { status } = options.replica
  const sources: StatsSources = {
    ...config,
    ...options,
    ...counts,
    census,
    status,
    rate: pulse.rate,
    ready: pulse.ready,
  }
  const metrics = createMetrics(metricSourcesOf(sources))
  return {
    pages: {
      stats: () => statsOf(sources),
      metricsText: metrics.text,
      ready: pulse.ready,
      live: pulse.live,
      onError: (err) => log.error({ err }, 'an HTTP request failed'),
    },
    status: async () => ({ ...(await statusMessageOf(sources)), ...ports }),
    live: pulse.live,
    countHttp(counts, taken) {
      httpCounts = counts
      ports = taken
    },
    stop() {
      pulse.stop()
      metrics.stop()
    },
  }
}
