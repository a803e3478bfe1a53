// What is wrong with a specification, field by field, and that a right one is taken: testdata/validate.txt.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runCases } from '@skep/testing/datadriven.ts'
import { settle, withRepository } from './settle.ts'
import type { TrackerCluster, TrackerClusterSpec } from './types.ts'
import { bytesOf, durationMs } from './units.ts'
import { validate } from './validate.ts'

const bare = (spec: TrackerClusterSpec, name = 'public'): TrackerCluster => ({
  apiVersion: 'skep.dev/v1alpha1',
  kind: 'TrackerCluster',
  metadata: { name, namespace: 'n', uid: 'u', generation: 1, resourceVersion: '1' },
  spec,
})
const resource = (spec: TrackerClusterSpec, name?: string): TrackerCluster =>
  withRepository(bare(spec, name), 'registry.example/skep')

test('without an image of its own a cluster takes the one of the operator, and else is told to name one', () => {
  const own = { image: { repository: 'a.example/skep', tag: '2' } }
  assert.deepEqual(resource({ replicas: 3, image: { tag: '1' } }).spec.image, {
    repository: 'registry.example/skep',
    tag: '1',
  })
  assert.deepEqual(resource(own).spec, own)
  const [fault] = validate(bare({}))
  assert.equal(fault?.path, 'spec.image.repository')
  assert.match(fault.message, /docs\/kubernetes\.md says how to build one/)
})

test('testdata/validate.txt', async () => {
  await runCases(new URL('testdata/validate.txt', import.meta.url), (c) => {
    const spec = JSON.parse(c.input === '' ? '{}' : c.input) as TrackerClusterSpec
    const faults = validate(resource(spec, c.options.get('name')))
    return faults.length === 0 ? 'ok' : faults.map((f) => `${f.path}: ${f.message}`).join('\n')
  })
})

test('what is left out has a default, and what is there stays', () => {
  const s = settle(
    { services: { udp: { type: 'NodePort', nodePort: 30_069 } }, pod: { drainSeconds: 1 } },
    '1.2.3',
  )
  assert.equal(s.replicas, 3)
  assert.equal(s.image.tag, '1.2.3')
  assert.equal(s.services.udp.nodePort, 30_069)
  assert.equal(s.services.udp.externalTrafficPolicy, 'Local')
  assert.equal(s.services.http.type, 'LoadBalancer')
  assert.equal(s.pod.drainSeconds, 1)
  assert.equal(s.pod.terminationGracePeriodSeconds, 60)
  assert.equal(s.autoscaling, null)
})

test('durations and quantities', () => {
  assert.equal(durationMs('1h30m'), 5_400_000)
  assert.equal(durationMs('500ms'), 500)
  for (const wrong of ['', '1', 's', '1.5s', '-1s', '1s ']) assert.equal(durationMs(wrong), null, wrong)
  assert.equal(bytesOf('512Mi'), 536_870_912)
  assert.equal(bytesOf('1.5G'), 1_500_000_000)
  for (const wrong of ['', 'Mi', '1MiB', '-1Mi', '1 Mi']) assert.equal(bytesOf(wrong), null, wrong)
})
