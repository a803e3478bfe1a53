// What wakes a pass, and what does not: the operator writes status itself.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { KubeObject } from './model/ports.ts'
import { newQueue } from './queue.ts'
import { wokenBy, work } from './work.ts'

const cluster = (more: object = {}): KubeObject => ({
  apiVersion: 'skep.dev/v1alpha1',
  kind: 'TrackerCluster',
  metadata: { name: 'demo', namespace: 'ns', uid: 'u', generation: 1, ...more },
})
const owned = (labels: Record<string, string>): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'x', namespace: 'ns', labels },
})

test('a resource wakes its pass when its specification changes, not when its status does', () => {
  const marks = new Map<string, string>()
  const woken = (object: KubeObject, type: 'put' | 'gone' = 'put'): string[] =>
    wokenBy('TrackerCluster', { type, object }, marks)
  assert.deepEqual(woken(cluster()), ['TrackerCluster/ns/demo'])
  assert.deepEqual(woken(cluster({ resourceVersion: '2' })), [])
  assert.deepEqual(woken({ ...cluster(), status: { replicas: 3 } }), [])
  for (const change of [
    { generation: 2 },
    { generation: 2, annotations: { 'skep.dev/restart': '1' } },
    { generation: 2, deletionTimestamp: 'now' },
  ])
    assert.deepEqual(woken(cluster(change)), ['TrackerCluster/ns/demo'])
  assert.deepEqual(woken(cluster(), 'gone'), ['TrackerCluster/ns/demo'])
  assert.equal(marks.size, 0)
})

test('what is owned wakes whom it belongs to', () => {
  const woken = (labels: Record<string, string>): string[] =>
    wokenBy('Pod', { type: 'put', object: owned(labels) }, new Map())
  assert.deepEqual(woken({ 'skep.dev/cluster': 'demo' }), ['TrackerCluster/ns/demo'])
  assert.deepEqual(woken({ 'skep.dev/cluster': 'demo', 'skep.dev/backup': 'b' }), ['TrackerBackup/ns/b'])
  assert.deepEqual(woken({ app: 'other' }), [])
})

test('passes run a few at once, never two of one key, and a stop waits for them', async () => {
  const queue = newQueue()
  const stop = new AbortController()
  const open: (() => void)[] = []
  const now = new Set<string>()
  let most = 0
  let done = 0
  const working = work(
    queue,
    2,
    {
      nowMs: () => performance.now(),
      chance: () => 0.5,
      // Nothing here becomes due by time.
      wait: (_, signal) =>
        new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true })),
    },
    stop.signal,
    async (key) => {
      assert.ok(!now.has(key))
      now.add(key)
      most = Math.max(most, now.size)
      await new Promise<void>((resolve) => open.push(resolve))
      now.delete(key)
      done++
      return null
    },
    () => assert.fail('no pass fails'),
  )
  for (const key of ['a', 'b', 'c', 'a']) queue.add(key, 0)
  working.wake()
  while (done < 3) {
    await new Promise((resolve) => setImmediate(resolve))
    open.shift()?.()
  }
  queue.add('a', 0)
  working.wake()
  while (!now.has('a')) await new Promise((resolve) => setImmediate(resolve))
  stop.abort()
  let ended = false
  working.ended.then(() => {
    ended = true
  })
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(ended, false)
  while (!ended) {
    open.shift()?.()
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.equal(most, 2)
  assert.equal(now.size, 0)
})
