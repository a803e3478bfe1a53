// Values, alerts and the dashboard as text: a sentence for each value, and no metric that nobody exports.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { parse } from 'yaml'
import { dashboard } from './dashboard.ts'
import { CHART, ROOT } from './generate.ts'
import { readValues } from './values.ts'

const read = (...path: string[]): string => readFileSync(join(...path), 'utf8')

test('each value has a sentence, and one without is refused', () => {
  const values = readValues(read(CHART, 'values.yaml'))
  for (const { path, words } of values) assert.match(words, /^[A-Z`a-z].*\.$|kubectl explain/, path.join('.'))
  assert.throws(() => readValues('a:\n  # -- Said.\n  b: 1\n  c: 2\n'), /a.c has no sentence/)
  assert.deepEqual(
    readValues('# -- Whole.\na:\n  b:\n    c: 1\n').map((v) => v.path),
    [['a']],
  )
})

test('versions are one: package, chart and app; and no image is promised that nobody can pull', () => {
  const { version } = JSON.parse(read(ROOT, 'package.json')) as { version: string }
  const chart = parse(read(CHART, 'Chart.yaml')) as Record<string, string>
  assert.equal(chart.appVersion, version)
  assert.equal(chart.version, version)
  for (const file of ['Chart.yaml', 'values.yaml', 'README.md'])
    assert.doesNotMatch(read(CHART, file), /ghcr\.io|docker\.io|quay\.io|github\.com/, file)
})

test('docs/metrics.md names each metric of the operator', () => {
  const docs = read(ROOT, 'docs/metrics.md')
  const names = [...read(ROOT, 'operator/metrics.ts').matchAll(/name: '(skep_[a-z_]+)'/g)].map((m) => m[1]!)
  assert.ok(names.length > 5)
  assert.deepEqual(
    names.filter((name) => !docs.includes(`\n| \`${name}\``)),
    [],
  )
})

test('what is named a total is exported as a counter, and nothing else is one, also in the docs', () => {
  const made = [...read(ROOT, 'operator/metrics.ts').matchAll(/new (\w+)\(\{\s+name: '(skep_[a-z_]+)'/g)]
  const told = [...read(ROOT, 'docs/metrics.md').matchAll(/^\| `(skep_[a-z_]+)` \| (\w+) /gm)]
  const all = [...made.map((m) => [m[2]!, m[1]!.toLowerCase()]), ...told.map((m) => [m[1]!, m[2]!])]
  assert.ok(all.length > 50)
  assert.deepEqual(
    all.filter(([name, kind]) => name!.endsWith('_total') !== (kind === 'counter')),
    [],
  )
})

test('alerts and dashboard ask only for metrics that are exported', () => {
  const exported = new Set(
    [read(ROOT, 'docs/metrics.md'), read(ROOT, 'operator/metrics.ts')].flatMap((text) =>
      [...text.matchAll(/[`'](skep_[a-z_]+)[`']/g)].map((m) => m[1]!),
    ),
  )
  const { groups } = parse(read(CHART, 'files/alerts.yaml')) as { groups: { rules: { expr: string }[] }[] }
  const panels = dashboard().panels as { targets?: { expr: string }[] }[]
  const asked = [
    ...groups.flatMap((g) => g.rules.map((r) => r.expr)),
    ...panels.flatMap((p) => (p.targets ?? []).map((t) => t.expr)),
  ]
  assert.ok(asked.length > 30)
  // A label that the chart's ServiceMonitor adds.
  const label = 'skep_cluster'
  const unknown = asked.flatMap((expr) =>
    [...expr.matchAll(/\bskep_[a-z_]+/g)]
      .map((m) => m[0])
      .filter((name) => name !== label && !exported.has(name)),
  )
  assert.deepEqual(unknown, [])
})
