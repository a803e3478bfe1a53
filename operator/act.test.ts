// Steps happen only where what they were chosen for is still so. Whole lives are simulated in sim/; here is
// what a simulated API server would forgive.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { act } from './act.ts'
import { keysOf } from './desired/secret.ts'
import type { Step } from './model/steps.ts'
import type { TrackerCluster } from './model/types.ts'
import { observe } from './observe.ts'
import { decide } from './plan/decided.ts'
import { putCluster, putPods, type TestWorld, testWorld } from './world.case.ts'

const step = async (
  w: TestWorld,
  chosen: (seen: Awaited<ReturnType<typeof observe>>) => Step,
): Promise<void> => {
  const seen = await observe(w, w.server.get('TrackerCluster', 'ns', 'demo') as unknown as TrackerCluster)
  await act(w, seen, chosen(seen))
}
const applyAll = (w: TestWorld): Promise<void> =>
  step(w, (seen) => ({
    kind: 'apply',
    objects: seen.drift.map(({ kind, name }) => ({ kind, name })),
    decided: decide(seen),
  }))
const lines = (w: TestWorld): readonly string[] =>
  keysOf(w.server.get('Secret', 'ns', 'demo-network-key')!, 'network.key').lines

test('all is made once, in order, and then nothing differs', async () => {
  const w = testWorld()
  putCluster(w)
  await applyAll(w)
  assert.deepEqual(w.done, [
    'apply ConfigMap demo-config',
    'apply Secret demo-network-key',
    'apply ServiceAccount demo-replica',
    'apply Service demo-replicas',
    'apply Service demo-udp',
    'apply Service demo-http',
    'apply PodDisruptionBudget demo',
    'apply StatefulSet demo',
  ])
  const seen = await observe(w, w.server.get('TrackerCluster', 'ns', 'demo') as unknown as TrackerCluster)
  assert.deepEqual(seen.drift, [])
})

test('a network key that is there is never made anew, whatever a cache says', async () => {
  const w = testWorld()
  putCluster(w)
  await applyAll(w)
  const [key] = lines(w)
  const cached = w.api.cached
  const late = {
    ...w,
    api: {
      ...w.api,
      cached: (...of: Parameters<typeof cached>) => (of[0] === 'Secret' ? null : cached(...of)),
    },
  }
  await applyAll(late)
  assert.deepEqual(lines(w), [key])
})

test('a key is rotated line by line, and only from the lines that were seen', async () => {
  const w = testWorld()
  putCluster(w)
  await applyAll(w)
  const [old] = lines(w)
  const rotate = (phase: 'add' | 'swap' | 'drop', from?: readonly string[]): Promise<void> =>
    step(w, (seen) => ({
      kind: 'rotate-key',
      phase,
      secretName: 'demo-network-key',
      rotation: 'r1',
      from: from ?? seen.key!.names,
    }))
  await rotate('add')
  const [first, fresh] = lines(w)
  assert.equal(first, old)
  await assert.rejects(rotate('swap', ['other']), { code: 409 })
  await rotate('swap')
  assert.deepEqual(lines(w), [fresh, old])
  await rotate('drop')
  assert.deepEqual(lines(w), [fresh])
})

test('a size is changed only from the size that was seen; whom to ask is known before new pods come', async () => {
  const w = testWorld()
  putCluster(w)
  await applyAll(w)
  w.done.length = 0
  const size = (from: number, to: number): Promise<void> =>
    step(w, (seen) => ({
      kind: 'set-size',
      from,
      to,
      why: to > from ? 'grow' : 'shrink',
      decided: { ...decide(seen), replicas: to, size: to },
    }))
  await assert.rejects(size(2, 3), { code: 409 })
  assert.deepEqual(w.done, [])
  await size(1, 3)
  assert.deepEqual(w.done, ['apply ConfigMap demo-config', 'apply StatefulSet demo'])
  assert.ok(w.server.get('ConfigMap', 'ns', 'demo-config')!.data?.['demo-2.json'] !== undefined)
  w.done.length = 0
  await size(3, 2)
  assert.deepEqual(w.done, ['apply StatefulSet demo', 'apply ConfigMap demo-config'])
})

test('a roll-out evicts who serves, as budgets allow, and deletes who does not', async () => {
  const w = testWorld()
  putCluster(w)
  await applyAll(w)
  putPods(w, 2)
  const pod = w.server.get('Pod', 'ns', 'demo-0')!
  w.server.update(pod, { status: { ...pod.status, conditions: [{ type: 'Ready', status: 'True' }] } })
  w.done.length = 0
  const remove = (name: string): Promise<void> =>
    step(w, (seen) => ({
      kind: 'delete-pod',
      pod: name,
      uid: seen.pods.find((p) => p.name === name)!.uid,
      force: false,
      why: 'rollout',
    }))
  w.full = true
  await assert.rejects(remove('demo-0'), { code: 429 })
  await remove('demo-1')
  w.full = false
  await remove('demo-0')
  assert.deepEqual(w.done, ['delete Pod demo-1', 'evict demo-0'])
})

test('a volume goes with the Jobs that ended on it: their pods would hold it for ever', async () => {
  const w = testWorld()
  putCluster(w, { restoreFrom: { claimName: 'backups' } })
  await applyAll(w)
  await step(w, () => ({ kind: 'run-job', purpose: 'restore', ordinal: 0 }))
  const job = w.server.get('Job', 'ns', 'demo-restore-0')!
  w.server.update(job, { status: { conditions: [{ type: 'Complete', status: 'True' }] } })
  w.done.length = 0
  await step(w, (seen) => ({ kind: 'delete-claim', claim: 'data-demo-0', uid: seen.claims[0]!.uid }))
  assert.deepEqual(w.done, ['delete Job demo-restore-0', 'delete PersistentVolumeClaim data-demo-0'])
})

test('what belongs to an earlier resource of the name counts as absent', async () => {
  const w = testWorld()
  putCluster(w)
  await applyAll(w)
  w.server.delete('TrackerCluster', 'ns', 'demo', {})
  putCluster(w)
  const seen = await observe(w, w.server.get('TrackerCluster', 'ns', 'demo') as unknown as TrackerCluster)
  assert.deepEqual([seen.config, seen.key, seen.statefulSet], [null, null, null])
  assert.ok(seen.drift.every((d) => d.absent))
})
