// The Grafana dashboard as data: one row for clients, one for the swarm table, one for Raft, one for
// machines. Refuses: metrics that nobody exports; the test looks each up.

type Query = readonly [expr: string, legend: string]
type Panel = {
  title: string
  words: string
  unit: string
  kind: 'timeseries' | 'stat'
  queries: readonly Query[]
}

const OF = 'namespace=~"$namespace",skep_cluster=~"$cluster"'
const rate = (metric: string, labels = ''): string =>
  `rate(${metric}{${OF}${labels === '' ? '' : `,${labels}`}}[$__rate_interval])`
const line = (title: string, unit: string, words: string, ...queries: Query[]): Panel => ({
  title,
  words,
  unit,
  kind: 'timeseries',
  queries,
})
const number = (title: string, unit: string, words: string, ...queries: Query[]): Panel => ({
  ...line(title, unit, words, ...queries),
  kind: 'stat',
})

const ROWS: readonly { title: string; panels: readonly Panel[] }[] = [
  {
    title: 'Clients',
    panels: [
      number('Serving replicas', 'none', 'Replicas that hold a lease and answer.', [
        `sum by (skep_cluster) (skep_serving{${OF}})`,
        '{{skep_cluster}}',
      ]),
      number('Announce interval', 's', 'What clients are told now; it grows under load.', [
        `max by (skep_cluster) (skep_announce_interval_seconds{${OF}})`,
        '{{skep_cluster}}',
      ]),
      line(
        'Announces',
        'reqps',
        'Answered a second, by protocol.',
        [`sum(${rate('skep_udp_events_total', 'event="announces"')})`, 'UDP'],
        [`sum(${rate('skep_http_events_total', 'event="announces"')})`, 'HTTP'],
      ),
      line('Announces by replica', 'reqps', 'Shows how evenly the balancer spreads them.', [
        `sum by (pod) (${rate('skep_udp_events_total', 'event="announces"')} + ${rate('skep_http_events_total', 'event="announces"')})`,
        '{{pod}}',
      ]),
      line(
        'Not answered as asked',
        'reqps',
        'Errors, drops of the kernel, and requests that waited in vain.',
        [
          `sum by (event) (${rate('skep_udp_events_total', 'event=~"errors|late|waiting_late|parked_full|socket_drops|send_dropped"')})`,
          'UDP {{event}}',
        ],
        [
          `sum by (event) (${rate('skep_http_events_total', 'event=~"refused_.*|parked_late|waiting_late|connections_refused"')})`,
          'HTTP {{event}}',
        ],
      ),
      line(
        'Waiting',
        'none',
        'Announces that wait for a majority, and requests that wait for a leader.',
        [`sum by (pod) (skep_parked_requests{${OF}})`, '{{pod}} majority'],
        [`sum by (pod) (skep_waiting_requests{${OF}})`, '{{pod}} leader'],
      ),
    ],
  },
  {
    title: 'Swarm table',
    panels: [
      line('Torrents', 'none', 'The same on each replica but for a moment.', [
        `max by (skep_cluster) (skep_torrents{${OF}})`,
        '{{skep_cluster}}',
      ]),
      line('Peers', 'none', 'By family; a client seen on both counts in both.', [
        `max by (skep_cluster, family) (skep_peers{${OF}})`,
        '{{skep_cluster}} {{family}}',
      ]),
      line('Room used', 'percentunit', 'At 1 new peers are answered but not stored.', [
        `max by (skep_cluster) (skep_peers{${OF}} / skep_peers_capacity{${OF}})`,
        '{{skep_cluster}}',
      ]),
      line('What happens to peers', 'ops', 'As the leader applies it.', [
        `max by (event) (${rate('skep_table_events_total', 'event=~"joins|leaves|completions|expired"')})`,
        '{{event}}',
      ]),
    ],
  },
  {
    title: 'Raft',
    panels: [
      line('Leader', 'none', '1 for the replica that leads.', [`skep_role{${OF},role="leader"}`, '{{pod}}']),
      line('Term', 'none', 'Each step is an election.', [
        `max by (skep_cluster) (skep_raft_term{${OF}})`,
        '{{skep_cluster}}',
      ]),
      line('Entries behind', 'none', 'Committed, but not applied yet.', [
        `skep_raft_commit_index{${OF}} - skep_raft_applied_index{${OF}}`,
        '{{pod}}',
      ]),
      line('Sync of the log', 's', 'Mean time of a synced write; every new peer waits for it.', [
        `${rate('skep_log_sync_seconds_total')} / ${rate('skep_log_syncs_total')}`,
        '{{pod}}',
      ]),
    ],
  },
  {
    title: 'Machines',
    panels: [
      line('Memory', 'bytes', 'Resident memory of each replica.', [
        `skep_memory_bytes{${OF},kind="resident"}`,
        '{{pod}}',
      ]),
      line('Log on disk', 'bytes', 'Entries since the last snapshot.', [`skep_log_bytes{${OF}}`, '{{pod}}']),
      line('Main thread late', 's', 'How late timers ran; high values mean a busy machine.', [
        `skep_event_loop_delay_seconds{${OF}}`,
        '{{pod}} {{quantile}}',
      ]),
      line('Up since', 's', 'Falls to nothing at a restart.', [`skep_uptime_seconds{${OF}}`, '{{pod}}']),
    ],
  },
]

const WIDTH = 24
const PANEL = { w: 6, h: 7 }

export function dashboard(): Record<string, unknown> {
  const panels: Record<string, unknown>[] = []
  let y = 0
  for (const row of ROWS) {
    panels.push({
      id: panels.length + 1,
      type: 'row',
      title: row.title,
      gridPos: { x: 0, y: y++, w: WIDTH, h: 1 },
    })
    row.panels.forEach((panel, i) => {
      const x = (i * PANEL.w) % WIDTH
      if (i > 0 && x === 0) y += PANEL.h
      panels.push(panelOf(panel, panels.length + 1, { x, y, ...PANEL }))
    })
    y += PANEL.h
  }
  return {
    uid: 'skep',
    title: 'Skep: BitTorrent tracker',
    tags: ['skep', 'bittorrent'],
    schemaVersion: 39,
    version: 1,
    editable: true,
    time: { from: 'now-3h', to: 'now' },
    refresh: '30s',
    templating: {
      list: [
        { name: 'datasource', type: 'datasource', query: 'prometheus', label: 'Prometheus' },
        variable('namespace', 'label_values(skep_info, namespace)'),
        variable('cluster', 'label_values(skep_info{namespace=~"$namespace"}, skep_cluster)'),
      ],
    },
    panels,
  }
}

const SOURCE = { type: 'prometheus', uid: '$' + '{datasource}' }

const variable = (name: string, query: string): object => ({
  name,
  type: 'query',
  datasource: SOURCE,
  query: { query, refId: name },
  refresh: 2,
  multi: true,
  includeAll: true,
  current: { text: 'All', value: '$__all' },
})

const panelOf = (panel: Panel, id: number, gridPos: object): Record<string, unknown> => ({
  id,
  type: panel.kind,
  title: panel.title,
  description: panel.words,
  gridPos,
  datasource: SOURCE,
  fieldConfig: { defaults: { unit: panel.unit, min: 0 }, overrides: [] },
  targets: panel.queries.map(([expr, legendFormat], i) => ({
    refId: String.fromCharCode(65 + i),
    datasource: SOURCE,
    expr,
    legendFormat,
  })),
})
