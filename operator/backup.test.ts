// TrackerBackup: one Job or a schedule, what came of it in status, and which files are kept.

import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { reconcileBackup } from './backup.ts'
import { fileName, newestFirst } from './jobs/backup.ts'
import { purgeRun } from './jobs/purge.ts'
import type { TrackerBackup } from './model/types.ts'
import { putCluster, type TestWorld, testWorld } from './world.case.ts'

const put = ({ server }: TestWorld, spec: Partial<TrackerBackup['spec']> = {}): void => {
  server.create({
    apiVersion: 'skep.dev/v1alpha1',
    kind: 'TrackerBackup',
    metadata: { name: 'b', namespace: 'ns' },
    spec: { clusterName: 'demo', storage: {}, ...spec },
  })
}
const status = ({ server }: TestWorld): NonNullable<TrackerBackup['status']> =>
  (server.get('TrackerBackup', 'ns', 'b') as unknown as TrackerBackup).status!
const said = (w: TestWorld): string => {
  const [c] = status(w).conditions ?? []
  return `${c?.status} ${c?.reason}: ${c?.message}`
}

/** The Job of that name ends, and its pod says so. */
const end = (
  { server }: TestWorld,
  name: string,
  type: 'Complete' | 'Failed',
  at: string,
  word: string,
): void => {
  const job = server.get('Job', 'ns', name)!
  server.update(job, {
    status: {
      completionTime: at,
      conditions: [{ type, status: 'True', lastTransitionTime: at, message: 'x' }],
    },
  })
  server.create({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `${name}-pod`,
      namespace: 'ns',
      labels: { ...job.metadata.labels, 'batch.kubernetes.io/job-name': name },
    },
    spec: {},
    status: { containerStatuses: [{ state: { terminated: { message: word, finishedAt: at } } }] },
  })
}

test('one snapshot: a claim and a Job once the cluster is there, then the file in status', async () => {
  const w = testWorld()
  put(w)
  await reconcileBackup(w, 'ns', 'b')
  assert.equal(said(w), 'Unknown NoCluster: there is no TrackerCluster demo')
  putCluster(w, {}, { clusterID: 'c', replicas: 3 })
  await reconcileBackup(w, 'ns', 'b')
  assert.deepEqual(
    w.done.filter((d) => d.startsWith('apply')),
    ['apply PersistentVolumeClaim b-backup', 'apply Job b-backup'],
  )
  end(w, 'b-backup', 'Complete', '2026-01-03T12:00:09Z', '{"file":"demo-20260103T120001Z.skep","bytes":42}')
  await reconcileBackup(w, 'ns', 'b')
  assert.equal(said(w), 'True Saved: demo-20260103T120001Z.skep was saved at 2026-01-03T12:00:09Z')
  assert.deepEqual(
    [status(w).lastFile, status(w).lastBytes, status(w).lastSuccess],
    ['demo-20260103T120001Z.skep', 42, '2026-01-03T12:00:09Z'],
  )
  // What is saved stays said when its Job and pod are gone.
  w.server.delete('Job', 'ns', 'b-backup', {})
  w.server.delete('Pod', 'ns', 'b-backup-pod', { force: true })
  await reconcileBackup(w, 'ns', 'b')
  assert.equal(status(w).lastFile, 'demo-20260103T120001Z.skep')
})

test('a schedule: a CronJob that follows the size of the cluster; a failure is told with its reason', async () => {
  const w = testWorld()
  putCluster(w, {}, { clusterID: 'c', replicas: 3 })
  put(w, { schedule: '0 3 * * *', storage: { claimName: 'disk' } })
  await reconcileBackup(w, 'ns', 'b')
  const cron = (): string => JSON.stringify(w.server.get('CronJob', 'ns', 'b-backup')!.spec)
  assert.match(cron(), /demo-2\.demo-replicas\.ns\.svc/)
  assert.equal(w.server.get('PersistentVolumeClaim', 'ns', 'b-backup'), null)
  const writes = w.done.length
  await reconcileBackup(w, 'ns', 'b')
  assert.equal(w.done.length, writes, 'nothing is written when nothing changes')
  w.server.update(w.server.get('TrackerCluster', 'ns', 'demo')!, { status: { clusterID: 'c', replicas: 5 } })
  await reconcileBackup(w, 'ns', 'b')
  assert.match(cron(), /demo-4\.demo-replicas/)
  w.server.create({
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: 'b-backup-1', namespace: 'ns', labels: { 'skep.dev/backup': 'b' } },
    spec: {},
  })
  end(w, 'b-backup-1', 'Failed', '2026-01-04T03:00:00Z', 'no replica gave its table: connection refused')
  await reconcileBackup(w, 'ns', 'b')
  assert.equal(said(w), 'False Failed: no replica gave its table: connection refused')
  assert.match(status(w).lastFailure ?? '', /^2026-01-04T03:00:00Z: no replica/)
})

test('files are named by time, and only whole ones of the same cluster count', () => {
  assert.equal(fileName('demo', Date.parse('2026-11-21T14:05:01.999Z')), 'demo-20261121T140501Z.skep')
  const names = [
    'demo-20251231T235959Z.skep',
    'demo-20260101T000000Z.skep',
    '.demo-20260101T000001Z.skep.part',
    'demo-2-20260102T000000Z.skep',
    'notes.txt',
  ]
  assert.deepEqual(newestFirst(names, 'demo'), ['demo-20260101T000000Z.skep', 'demo-20251231T235959Z.skep'])
  assert.equal(newestFirst(names, null)[0], 'demo-2-20260102T000000Z.skep')
})

test('a volume is emptied but for what its file system keeps there', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'skep-purge-'))
  for (const name of ['network.key', 'lost+found']) writeFileSync(join(folder, name), '')
  assert.equal(await purgeRun(['--data-dir', folder]), 0)
  assert.deepEqual(readdirSync(folder), ['lost+found'])
  assert.equal(await purgeRun(['--data-dir', folder]), 0, 'again is fine')
  rmSync(folder, { recursive: true })
})
