// What a specification becomes: objects as text cases, and whether an object as the API server keeps it
// counts as what is wanted.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Case, runCases } from '@skep/testing/datadriven.ts'
import { HASH_ANNOTATION } from '../model/labels.ts'
import type { KubeObject } from '../model/ports.ts'
import { settle, withRepository } from '../model/settle.ts'
import type { Decided } from '../model/steps.ts'
import type { TrackerBackup, TrackerCluster, TrackerClusterSpec } from '../model/types.ts'
import { backupRun, backupVolume } from './backup.ts'
import { readConfig } from './config.ts'
import { difference } from './drift.ts'
import { job } from './jobs.ts'
import { desiredObjects, hashed } from './objects.ts'
import { keysOf } from './secret.ts'
import { volumeTemplateOf } from './statefulset.ts'

const cluster = (spec: TrackerClusterSpec, annotations: Record<string, string> = {}): TrackerCluster => ({
  apiVersion: 'skep.dev/v1alpha1',
  kind: 'TrackerCluster',
  metadata: { name: 'demo', namespace: 'ns', uid: 'u-1', generation: 1, resourceVersion: '1', annotations },
  spec,
})

const decidedOf = (c: Case): Decided => {
  const size = Number(c.options.get('size') ?? 3)
  return {
    birth: c.options.get('birth') === 'create' ? 'create' : 'join',
    clusterID: c.options.get('id') ?? null,
    replicas: Number(c.options.get('replicas') ?? size),
    size,
    targets: (c.options.get('targets') ?? '')
      .split(',')
      .filter((t) => t !== '')
      .map(Number),
    startPods: c.options.get('start') !== 'no',
  }
}

/**
 * A line a leaf: `spec.ports[0].name udp`. Metadata that all objects share is left out unless it is asked
 * for.
 */
const flat = (value: unknown, path = ''): string[] => {
  if (Array.isArray(value) && value.every((v) => typeof v !== 'object'))
    return [`${path} [${value.map((v) => JSON.stringify(v)).join(' ')}]`]
  if (Array.isArray(value)) return value.flatMap((v, i) => flat(v, `${path}[${i}]`))
  if (typeof value === 'object' && value !== null)
    return Object.entries(value).flatMap(([key, v]) =>
      flat(v, path === '' ? key : /^[\w-]+(\.json)?$/.test(key) ? `${path}.${key}` : `${path}[${key}]`),
    )
  const text = String(value)
  return text.startsWith('{') ? flat(JSON.parse(text), path) : [`${path} ${text}`]
}

const show = (object: KubeObject, under: string): string =>
  flat(object)
    .filter(
      (line) =>
        !line.includes(HASH_ANNOTATION) &&
        (under === '' ? !line.startsWith('metadata.') : line.startsWith(under)),
    )
    .map((line) => line.slice(under.length).replace(/^\./, ''))
    .join('\n')

test('what a specification becomes', async () => {
  await runCases(new URL('./testdata/objects.txt', import.meta.url), (c) => {
    const written = JSON.parse(c.input === '' ? '{}' : c.input) as TrackerClusterSpec
    const { spec: given } = withRepository({ spec: written }, 'registry.example/skep')
    const resource = cluster(
      given,
      c.options.has('restart') ? { 'skep.dev/restart': c.options.get('restart')! } : {},
    )
    const s = settle(given, '0.2.0')
    const there = { volumeTemplate: null, keys: null }
    const objects = desiredObjects(resource, s, decidedOf(c), there, () => 'k'.repeat(64))
    if (c.command === 'list') return objects.map((o) => `${o.kind} ${o.metadata.name}`).join('\n')
    if (c.command === 'job') {
      const [purpose, ordinal] = [c.words[0] as 'restore' | 'recover' | 'purge', Number(c.words[1])]
      const source =
        purpose === 'restore' ? { claimName: 'backups', file: 'demo-20261121T140501Z.skep' } : null
      return show(job(resource, s, purpose, ordinal, source), c.options.get('under') ?? '')
    }
    if (c.command === 'backup') {
      const backup = {
        apiVersion: 'skep.dev/v1alpha1',
        kind: 'TrackerBackup',
        metadata: { ...resource.metadata, name: 'nightly' },
        spec: given as unknown as TrackerBackup['spec'],
      } satisfies TrackerBackup
      const made = [backupVolume(backup), backupRun(backup, cluster({}), settle(given, '0.2.0'), 3)]
      return made
        .flatMap((o) =>
          o === null ? [] : [`${o.kind} ${o.metadata.name}`, show(o, c.options.get('under') ?? '')],
        )
        .join('\n')
    }
    const [kind, name] = c.words
    const found = objects.find((o) => o.kind === kind && (name === undefined || o.metadata.name === name))
    return found === undefined ? 'none' : show(found, c.options.get('under') ?? '')
  })
})

test('the same options lead to the same template, whoever is asked to be joined', () => {
  const of = (spec: TrackerClusterSpec, decided: Partial<Decided> = {}): string => {
    const all = {
      birth: 'join',
      clusterID: 'c',
      replicas: 3,
      size: 3,
      targets: [],
      startPods: true,
      ...decided,
    } as const
    const there = { volumeTemplate: null, keys: null }
    const objects = desiredObjects(cluster(spec), settle(spec, '1'), all, there, () => 'k'.repeat(32))
    return JSON.stringify(
      (objects.find((o) => o.kind === 'StatefulSet')!.spec as { template: object }).template,
    )
  }
  assert.equal(of({}), of({}, { birth: 'create', clusterID: null, size: 1, replicas: 1 }))
  assert.equal(of({ maxVoters: 3, replicas: 9 }), of({ maxVoters: 5 }))
  assert.notEqual(of({}), of({ keepalive: '500ms' }))
})

test('a volume template that is there is never wished to be another one', () => {
  const spec: TrackerClusterSpec = { storage: { size: '8Gi', className: 'fast' } }
  const decided: Decided = {
    birth: 'join',
    clusterID: 'c',
    replicas: 3,
    size: 3,
    targets: [],
    startPods: true,
  }
  const before = desiredObjects(
    cluster({ storage: { size: '2Gi' } }),
    settle({ storage: { size: '2Gi' } }, '1'),
    decided,
    { volumeTemplate: null, keys: null },
    () => 'k'.repeat(32),
  ).find((o) => o.kind === 'StatefulSet')!
  const there = { volumeTemplate: volumeTemplateOf(before), keys: null }
  const after = desiredObjects(cluster(spec), settle(spec, '1'), decided, there, () => '').find(
    (o) => o.kind === 'StatefulSet',
  )!
  assert.deepEqual(
    (after.spec as { volumeClaimTemplates: unknown }).volumeClaimTemplates,
    (before.spec as { volumeClaimTemplates: unknown }).volumeClaimTemplates,
  )
})

test('keys survive the way into a Secret and back; a secret is in no hash', () => {
  const keys = { lines: ['a'.repeat(64), 'b'.repeat(64)], rotation: 'r1', phase: 'Adding' } as const
  const objects = (k: typeof keys | { lines: string[]; rotation: string; phase: 'Adding' }): KubeObject =>
    desiredObjects(
      cluster({}),
      settle({}, '1'),
      { birth: 'join', clusterID: null, replicas: 1, size: 1, targets: [], startPods: true },
      { volumeTemplate: null, keys: k },
      () => 'never',
    ).find((o) => o.kind === 'Secret')!
  assert.deepEqual(keysOf(objects(keys), 'network.key'), keys)
  assert.equal(
    objects(keys).metadata.annotations?.[HASH_ANNOTATION],
    objects({ ...keys, lines: ['c'.repeat(64)] }).metadata.annotations?.[HASH_ANNOTATION],
  )
})

test('a birth mode that cannot be read never creates', () => {
  const object = (data: Record<string, string>): KubeObject => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'x' },
    data,
  })
  assert.deepEqual(readConfig(object({ birth: 'create' })), { birth: 'create', clusterID: null })
  for (const data of [{}, { birth: 'Create' }, { birth: '' }] as Record<string, string>[])
    assert.equal(readConfig(object(data)).birth, 'join')
})

test('what the API server adds or writes in its own way is no difference; what is missing or too much is', () => {
  const wanted = hashed({
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: { name: 'x', labels: { a: '1' } },
    spec: {
      replicas: 0,
      list: [{ name: 'p', port: 1 }],
      none: [],
      resources: { requests: { cpu: '1000m', memory: '1024Mi' } },
    },
  })
  const kept = {
    ...wanted,
    metadata: { ...wanted.metadata, resourceVersion: '7', labels: { a: '1', theirs: '2' } },
    spec: {
      replicas: 0,
      list: [{ name: 'p', port: 1, protocol: 'TCP' }],
      resources: { requests: { cpu: '1', memory: '1Gi' } },
      added: true,
    },
  }
  assert.equal(difference(wanted, kept), null)
  const changed = (spec: object): KubeObject => ({ ...kept, spec: { ...kept.spec, ...spec } })
  assert.equal(difference(wanted, changed({ replicas: 2 })), 'spec.replicas')
  assert.equal(difference(wanted, changed({ list: [...kept.spec.list, { name: 'q' }] })), 'spec.list')
  assert.equal(difference(wanted, changed({ list: [{ name: 'p', port: 2 }] })), 'spec.list[0].port')
  assert.equal(
    difference(wanted, changed({ resources: { requests: { cpu: '2', memory: '1Gi' } } })),
    'spec.resources.requests.cpu',
  )
  assert.match(difference(hashed({ ...wanted, spec: {} }), kept) ?? '', /skep\.dev\/desired/)
})
