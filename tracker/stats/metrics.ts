// What Prometheus sees: one table of metrics, each with the place it is read from. docs/metrics.md lists the
// same table, and a test holds the two together. Refuses: labels whose values come from clients (addresses,
// info_hashes, user agents), and secrets of any kind.

import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, Gauge, Registry } from 'prom-client'
import { CONTROL_COUNTERS } from '../control/server.ts'
import { HTTP_COUNTERS } from '../http/counters.ts'
import { COUNTERS } from '../swarm/layout.ts'
import { UDP_COUNTERS } from '../udp/counters.ts'

/** How the replica stands, as its thread last told. */
export type ReplicaFigures = {
  readonly role: string
  readonly term: number
  readonly members: number
  readonly commit: number
  readonly applied: number
  readonly lastIndex: number
  readonly snapshotIndex: number
  readonly logBytes: number
  /** Bytes on the connections to other members since start, TLS left out. */
  readonly linkBytes: { readonly sent: number; readonly received: number }
  /** Turns of the loop that wrote something, since start. */
  readonly cycles: number
  /** Synced writes since start, and seconds spent in them. */
  readonly syncs: number
  readonly refusedLives: number
  readonly syncSeconds: number
  readonly diskFull: boolean
  /** A lease holds: announces are answered. */
  readonly serving: boolean
}

export type TableFigures = {
  readonly torrents: number
  readonly torrentsCapacity: number
  readonly peers4: number
  readonly peers4Capacity: number
  readonly peers6: number
  readonly peers6Capacity: number
  readonly bytes: number
  /** By the names of `COUNTERS`. */
  readonly events: Record<string, number>
}

export type MetricSources = {
  readonly version: string
  readonly intervalSeconds: () => number
  readonly table: () => TableFigures
  readonly udp: () => Record<string, number>
  readonly http: () => Record<string, number>
  readonly controlApi: () => Record<string, number>
  /** Lines of the log that nobody took, since the start. */
  readonly lostLines: () => number
  /** Why a list's file is not in force, by list; '' where it is. */
  readonly listFaults: () => Readonly<Record<string, string>>
  /** Rejects when the replica thread does not answer: its metrics are then left out. */
  readonly replica: () => Promise<ReplicaFigures>
}

type Figures = {
  readonly version: string
  readonly intervalSeconds: number
  readonly uptimeSeconds: number
  readonly table: TableFigures
  readonly udp: Record<string, number>
  readonly http: Record<string, number>
  readonly controlApi: Record<string, number>
  readonly lostLines: number
  readonly listFaults: Readonly<Record<string, string>>
  readonly replica: ReplicaFigures | null
  readonly memory: NodeJS.MemoryUsage
  /**
   * Seconds that the main thread's event loop came late since the last look: median, 99th percentile, worst.
   */
  readonly delay: { readonly p50: number; readonly p99: number; readonly max: number }
}

export type MetricKind = 'counter' | 'gauge'

export type Metric = {
  readonly name: string
  readonly kind: MetricKind
  readonly help: string
  /** The one label, if there is one. */
  readonly label?: string
  /** A number, or by label value; null leaves the metric out. */
  readonly read: (figures: Figures) => number | Readonly<Record<string, number>> | null
}

export const ROLES = ['leader', 'follower', 'candidate', 'pre-candidate'] as const

export const snakeCase = (name: string): string => name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)

/** What waits is a gauge of its own, not an event. */
const isEvent = (name: string) => !name.endsWith('Now')

/** Label values of the `event` labels, by metric. */
export const EVENTS = {
  skep_table_events_total: [...COUNTERS],
  skep_udp_events_total: UDP_COUNTERS.filter(isEvent).map(snakeCase),
  skep_http_events_total: Object.keys(HTTP_COUNTERS).map(snakeCase),
  skep_control_events_total: Object.keys(CONTROL_COUNTERS).map(snakeCase),
} as const

const events = (counts: Record<string, number>): Record<string, number> =>
  Object.fromEntries(
    Object.entries(counts)
      .filter(([name]) => isEvent(name))
      .map(([name, value]) => [snakeCase(name), value]),
  )

const gauge = (name: string, help: string, read: Metric['read'], label?: string): Metric =>
  label === undefined ? { name, kind: 'gauge', help, read } : { name, kind: 'gauge', help, read, label }
const counter = (name: string, help: string, read: Metric['read'], label?: string): Metric => ({
  ...gauge(name, help, read, label),
  kind: 'counter',
})
const ofReplica =
  (read: (replica: ReplicaFigures) => number): Metric['read'] =>
  ({ replica }) =>
    replica === null ? null : read(replica)

export const METRICS: readonly Metric[] = [
  gauge('skep_info', 'Always 1; the label tells the version', (f) => ({ [f.version]: 1 }), 'version'),
  gauge('skep_uptime_seconds', 'Seconds since the process started', (f) => f.uptimeSeconds),
  gauge(
    'skep_announce_interval_seconds',
    'Announce interval handed out now, before jitter',
    (f) => f.intervalSeconds,
  ),
  gauge('skep_torrents', 'Torrents in the swarm table', (f) => f.table.torrents),
  gauge('skep_torrents_capacity', 'Torrents the swarm table has room for', (f) => f.table.torrentsCapacity),
  gauge(
    'skep_peers',
    'Peers in the swarm table; a client seen on IPv4 and IPv6 counts in both',
    (f) => ({ ipv4: f.table.peers4, ipv6: f.table.peers6 }),
    'family',
  ),
  gauge(
    'skep_peers_capacity',
    'Peers the swarm table has room for',
    (f) => ({ ipv4: f.table.peers4Capacity, ipv6: f.table.peers6Capacity }),
    'family',
  ),
  gauge('skep_table_bytes', 'Bytes of the swarm table in use', (f) => f.table.bytes),
  counter(
    'skep_table_events_total',
    'What happened in the swarm table since the cluster was born, the same on every member',
    (f) => f.table.events,
    'event',
  ),
  counter(
    'skep_refused_copies_total',
    "Dials refused since start: of an older copy of a member's data folder, or of a copy beside the original",
    ofReplica((r) => r.refusedLives),
  ),
  counter(
    'skep_udp_events_total',
    'What the UDP front end counted since start',
    (f) => events(f.udp),
    'event',
  ),
  counter(
    'skep_http_events_total',
    'What the HTTP front end counted since start',
    (f) => events(f.http),
    'event',
  ),
  counter(
    'skep_control_events_total',
    "What the control API's port counted since start",
    (f) => events(f.controlApi),
    'event',
  ),
  gauge(
    'skep_parked_requests',
    'Announces whose change waits to be committed',
    (f) => ({ udp: f.udp.parkedNow ?? 0, http: f.http.parkedNow ?? 0 }),
    'protocol',
  ),
  gauge(
    'skep_waiting_requests',
    'Requests that wait for a leader',
    (f) => ({ udp: f.udp.waitingNow ?? 0, http: f.http.waitingNow ?? 0 }),
    'protocol',
  ),
  gauge('skep_http_connections', 'Open HTTP connections', (f) => f.http.connectionsNow ?? 0),
  gauge(
    'skep_serving',
    '1 while a lease holds and announces are answered',
    ofReplica((r) => Number(r.serving)),
  ),
  gauge(
    'skep_role',
    '1 for the role this replica has in Raft, 0 for the others',
    ({ replica }) =>
      replica === null
        ? null
        : Object.fromEntries(ROLES.map((role) => [role, Number(role === replica.role)])),
    'role',
  ),
  gauge(
    'skep_raft_members',
    'Members of the Raft group',
    ofReplica((r) => r.members),
  ),
  gauge(
    'skep_raft_term',
    'Raft term',
    ofReplica((r) => r.term),
  ),
  gauge(
    'skep_raft_commit_index',
    'Highest log index known to be committed',
    ofReplica((r) => r.commit),
  ),
  gauge(
    'skep_raft_applied_index',
    'Highest log index applied to the swarm table',
    ofReplica((r) => r.applied),
  ),
  gauge(
    'skep_log_last_index',
    'Highest index in the log on disk',
    ofReplica((r) => r.lastIndex),
  ),
  gauge(
    'skep_log_snapshot_index',
    'Index of the newest snapshot on disk',
    ofReplica((r) => r.snapshotIndex),
  ),
  gauge(
    'skep_log_bytes',
    'Bytes of entries in the log on disk',
    ofReplica((r) => r.logBytes),
  ),
  counter(
    'skep_link_bytes_total',
    'Bytes said to and heard from the other members, before encryption',
    ({ replica }) => replica && { ...replica.linkBytes },
    'direction',
  ),
  counter(
    'skep_cycles_total',
    'Turns of the replica loop that had something to do',
    ofReplica((r) => r.cycles),
  ),
  counter(
    'skep_log_syncs_total',
    'Synced writes of the log',
    ofReplica((r) => r.syncs),
  ),
  counter(
    'skep_log_sync_seconds_total',
    'Seconds spent in synced writes of the log',
    ofReplica((r) => r.syncSeconds),
  ),
  gauge(
    'skep_disk_full',
    '1 while the log takes no writes and changes are refused',
    ofReplica((r) => Number(r.diskFull)),
  ),
  gauge(
    'skep_access_list_fault',
    '1 while the file of a list cannot be used: the list that was in force before stays',
    (f) =>
      Object.fromEntries(Object.entries(f.listFaults).map(([list, fault]) => [list, Number(fault !== '')])),
    'list',
  ),
  counter(
    'skep_lost_log_lines_total',
    'Lines of the log that could not be written: their reader had gone, was slow, or the disk was full',
    (f) => f.lostLines,
  ),
  gauge(
    'skep_event_loop_delay_seconds',
    'How late the main thread came to its work since the last scrape',
    (f) => ({ '0.5': f.delay.p50, '0.99': f.delay.p99, '1': f.delay.max }),
    'quantile',
  ),
  gauge(
    'skep_memory_bytes',
    'Memory of the process: resident, and the part that is the heap of the main thread',
    (f) => ({ resident: f.memory.rss, heap: f.memory.heapUsed }),
    'kind',
  ),
]

/** Returns the function that makes the text of /metrics; `stop` ends the measuring of the event loop. */
export function createMetrics(sources: MetricSources): { text(): Promise<string>; stop(): void } {
  const registry = new Registry()
  const delay = monitorEventLoopDelay({ resolution: 20 })
  delay.enable()
  const instruments = METRICS.map((metric) => {
    const configuration = {
      name: metric.name,
      help: metric.help,
      labelNames: metric.label === undefined ? [] : [metric.label],
      registers: [registry],
    }
    return {
      metric,
      instrument: metric.kind === 'counter' ? new Counter(configuration) : new Gauge(configuration),
    }
  })
  return {
    async text() {
      const replica = await sources.replica().catch(() => null)
      const figures: Figures = {
        version: sources.version,
        intervalSeconds: sources.intervalSeconds(),
        uptimeSeconds: Math.round(process.uptime()),
        table: sources.table(),
        udp: sources.udp(),
        http: sources.http(),
        controlApi: sources.controlApi(),
        lostLines: sources.lostLines(),
        listFaults: sources.listFaults(),
        replica,
        memory: process.memoryUsage(),
        delay: {
          p50: seconds(delay.percentile(50)),
          p99: seconds(delay.percentile(99)),
          max: seconds(delay.max),
        },
      }
      delay.reset()
      for (const { metric, instrument } of instruments) fill(metric, instrument, figures)
      return registry.metrics()
    },
    stop() {
      delay.disable()
    },
  }
}

/** Nanoseconds beyond the 20 ms at which the loop is looked at, as seconds. */
const seconds = (nanoseconds: number): number =>
  Number.isFinite(nanoseconds) ? Math.max(0, nanoseconds / 1e9 - 0.02) : 0

function fill(metric: Metric, instrument: Counter | Gauge, figures: Figures): void {
  const value = metric.read(figures)
  instrument.reset()
  if (value === null) {
    if (metric.label === undefined) instrument.remove()
    return
  }
  if (typeof value === 'number') instrument.inc(value)
  else for (const [label, n] of Object.entries(value)) instrument.inc({ [metric.label!]: label }, n)
}
