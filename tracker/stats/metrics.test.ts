// The metrics as Prometheus reads them, and docs/metrics.md, which must list exactly these.
// `REWRITE=1 node --test tracker/stats/metrics.test.ts` writes the lists anew.

import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { CONTROL_COUNTERS, controlCounts } from '../control/server.ts'
import { HTTP_COUNTERS, httpCounts } from '../http/counters.ts'
import { COUNTERS } from '../swarm/layout.ts'
import { sumCounters } from '../udp/counters.ts'
import {
  createMetrics,
  EVENTS,
  METRICS,
  type MetricSources,
  type ReplicaFigures,
  snakeCase,
} from './metrics.ts'

const REPLICA: ReplicaFigures = {
  role: 'leader',
  term: 3,
  members: 5,
  commit: 1000,
  applied: 999,
  lastIndex: 1001,
  snapshotIndex: 500,
  logBytes: 4096,
  linkBytes: { sent: 700, received: 300 },
  cycles: 12,
  syncs: 10,
  refusedLives: 4,
  syncSeconds: 0.25,
  diskFull: false,
  serving: true,
}

const sources = (replica: () => Promise<ReplicaFigures>): MetricSources => ({
  version: '1.2.3',
  intervalSeconds: () => 1800,
  table: () => ({
    torrents: 2,
    torrentsCapacity: 100,
    peers4: 30,
    peers4Capacity: 200,
    peers6: 4,
    peers6Capacity: 50,
    bytes: 65536,
    events: Object.fromEntries(COUNTERS.map((name) => [name, 1])),
  }),
  udp: () => ({ ...sumCounters([]), badConnectionId: 5, parkedNow: 6 }),
  http: () => ({ ...httpCounts(), announces: 7, connectionsNow: 8, parkedNow: 0, waitingNow: 9 }),
  controlApi: () => ({ ...controlCounts(), wrongTokens: 2 }),
  lostLines: () => 11,
  listFaults: () => ({ allow: '', deny: 'the file is not there' }),
  replica,
})

/** The samples of the text format, by name and labels as written. */
function samples(text: string): Map<string, number> {
  const found = new Map<string, number>()
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const space = line.lastIndexOf(' ')
    assert(!found.has(line.slice(0, space)), `twice: ${line}`)
    found.set(line.slice(0, space), Number(line.slice(space + 1)))
  }
  return found
}

test('every figure comes out under its name, and again at the next scrape', async () => {
  const metrics = createMetrics(sources(async () => REPLICA))
  try {
    await metrics.text()
    const found = samples(await metrics.text())
    const expected: Record<string, number> = {
      'skep_info{version="1.2.3"}': 1,
      'skep_peers{family="ipv6"}': 4,
      'skep_udp_events_total{event="bad_connection_id"}': 5,
      'skep_http_events_total{event="announces"}': 7,
      'skep_control_events_total{event="wrong_tokens"}': 2,
      'skep_parked_requests{protocol="udp"}': 6,
      'skep_waiting_requests{protocol="http"}': 9,
      'skep_role{role="leader"}': 1,
      'skep_role{role="follower"}': 0,
      skep_http_connections: 8,
      skep_raft_commit_index: 1000,
      skep_log_sync_seconds_total: 0.25,
      skep_serving: 1,
      skep_disk_full: 0,
    }
    for (const [name, value] of Object.entries(expected)) assert.equal(found.get(name), value, name)
    const names = new Set([...found.keys()].map((name) => name.replace(/\{.*/, '')))
    assert.deepEqual([...names].sort(), METRICS.map((metric) => metric.name).sort())
  } finally {
    metrics.stop()
  }
})

test('event labels are those that are documented', async () => {
  const metrics = createMetrics(sources(async () => REPLICA))
  try {
    const found = [...samples(await metrics.text()).keys()]
    for (const [name, events] of Object.entries(EVENTS)) {
      const labels = found.filter((sample) => sample.startsWith(`${name}{`)).map((s) => /"(.*)"/.exec(s)![1]!)
      assert.deepEqual(labels.sort(), [...events].sort())
    }
  } finally {
    metrics.stop()
  }
})

test('a silent replica thread leaves out its own metrics and nothing else', async () => {
  const metrics = createMetrics(sources(() => Promise.reject(new Error('silent'))))
  try {
    const found = samples(await metrics.text())
    assert.equal(found.get('skep_torrents'), 2)
    assert.equal(found.has('skep_raft_term'), false)
    assert.equal(found.has('skep_serving'), false)
  } finally {
    metrics.stop()
  }
})

const DOC = new URL('../../docs/metrics.md', import.meta.url)
const BEGIN = '<!-- list: written by REWRITE=1 node --test tracker/stats/metrics.test.ts -->'

function list(): string {
  const rows = METRICS.map(
    ({ name, kind, label, help }) => `| \`${name}\` | ${kind} | ${label ? `\`${label}\`` : ''} | ${help} |`,
  )
  const http = Object.entries(HTTP_COUNTERS).map(([name, help]) => `| \`${snakeCase(name)}\` | ${help} |`)
  const control = Object.entries(CONTROL_COUNTERS).map(
    ([name, help]) => `| \`${snakeCase(name)}\` | ${help} |`,
  )
  const names = (all: readonly string[]) => all.map((name) => `\`${name}\``).join(', ')
  return [
    '| metric | kind | label | meaning |\n| --- | --- | --- | --- |',
    ...rows,
    '\n## Events of the HTTP front end\n\n| event | meaning |\n| --- | --- |',
    ...http,
    "\n## Events of the control API's port\n\n| event | meaning |\n| --- | --- |",
    ...control,
    `\n## Events of the UDP front end\n\n${names(EVENTS.skep_udp_events_total)}`,
    `\n## Events of the swarm table\n\n${names(EVENTS.skep_table_events_total)}\n`,
  ].join('\n')
}

test('docs/metrics.md lists exactly what is exported', () => {
  const doc = readFileSync(DOC, 'utf8')
  const at = doc.indexOf(BEGIN)
  assert(at >= 0, 'the marker is missing')
  const wanted = `${doc.slice(0, at)}${BEGIN}\n\n${list()}`
  if (process.env.REWRITE === '1') writeFileSync(DOC, wanted)
  else assert.equal(doc, wanted)
})
