// The operator against a real API server (without nodes): what it writes is taken, and is afterwards as
// wished. A field that the server writes in another way would be applied again and again.

import assert from 'node:assert/strict'
import { resolve } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { backupRun, backupVolume } from '../../operator/desired/backup.ts'
import { difference } from '../../operator/desired/drift.ts'
import { job } from '../../operator/desired/jobs.ts'
import { hashed } from '../../operator/desired/objects.ts'
import { type LiveApi, liveApi } from '../../operator/kube/api.ts'
import { REAL_CLOCK } from '../../operator/kube/clock.ts'
import { elect } from '../../operator/kube/elect.ts'
import { openKube } from '../../operator/kube/kube.ts'
import type { KubeObject } from '../../operator/model/ports.ts'
import { settle } from '../../operator/model/settle.ts'
import type { TrackerBackup, TrackerCluster } from '../../operator/model/types.ts'
import { observe } from '../../operator/observe.ts'
import { reconcile } from '../../operator/reconcile.ts'
import { wokenBy } from '../../operator/work.ts'
import type { World } from '../../operator/world.ts'
import { type ApiServer, startApiServer } from './api-server.ts'

/** A test that waits for ever tells nothing. */
const TIMEOUT_MS = 300_000

/** As much as a specification can ask for, in the spellings that people use. */
const RICH = {
  replicas: 3,
  image: { repository: 'localhost/skep', tag: 'dev', pullSecrets: ['registry'] },
  storage: { size: '1024Mi', className: 'fast' },
  services: {
    udp: { type: 'NodePort', annotations: { 'example.com/a': 'b' } },
    http: { type: 'LoadBalancer', loadBalancerSourceRanges: ['10.0.0.0/8'], port: 80 },
    perReplica: { enabled: true, annotations: { 'example.com/host': 't$(ORDINAL).example.org' } },
  },
  resources: { requests: { cpu: '1000m', memory: '2048Mi' }, limits: { memory: '2Gi', cpu: '2.0' } },
  topologySpread: { nodes: 'Required', zones: 'Preferred' },
  pod: {
    labels: { team: 'x' },
    annotations: { note: 'y' },
    nodeSelector: { disk: 'ssd' },
    tolerations: [{ key: 'dedicated', operator: 'Exists', effect: 'NoSchedule' }, { operator: 'Exists' }],
    priorityClassName: 'system-cluster-critical',
    drainSeconds: 3,
  },
}

describe('a real API server', { timeout: TIMEOUT_MS }, () => {
  let server: ApiServer
  let api: LiveApi
  let world: World
  const stop = new AbortController()
  const errors: string[] = []

  before(async () => {
    server = await startApiServer()
    const crds = resolve(import.meta.dirname, '../../manifests/crd')
    const done = await server.kubectl(['apply', '--server-side', '-k', crds])
    assert.equal(done.code, 0, done.err)
    await server.kubectl(['wait', '--for=condition=Established', '--timeout=60s', 'crd', '--all'])
    process.env.KUBECONFIG = server.kubeconfig
    api = liveApi(openKube(), REAL_CLOCK, {
      namespaces: [],
      instance: 'test',
      onChange: () => happened(),
      onError: (message) => errors.push(message),
    })
    api.run(stop.signal)
    world = {
      api,
      members: {} as World['members'],
      nowMs: () => Date.now(),
      makeKey: () => 'k'.repeat(64),
      repository: 'localhost/skep',
      version: '0.2.0',
      memories: new Map(),
    }
    await api.whenFilled
  })
  after(() => {
    stop.abort()
    server?.stop()
  })

  const create = async (name: string, spec: object): Promise<TrackerCluster> => {
    const text = JSON.stringify({
      apiVersion: 'skep.dev/v1alpha1',
      kind: 'TrackerCluster',
      metadata: { name, namespace: 'default' },
      spec,
    })
    const done = await server.kubectl(['create', '-f', '-'], text)
    assert.equal(done.code, 0, done.err)
    return (await until(() => api.cached('TrackerCluster', 'default', name))) as unknown as TrackerCluster
  }

  for (const [name, spec] of [
    ['plain', {}],
    ['rich', RICH],
    ['host', { hostNetwork: true, topologySpread: { nodes: 'Required', zones: 'Required' } }],
  ] as const)
    test(`${name}: all is made in a pass, is as wished afterwards, and is not written again`, async () => {
      const resource = await create(name, spec)
      const first = await reconcile(world, 'default', name)
      assert.equal(first?.plan.step.kind, 'apply')
      assert.equal(first?.wroteStatus, true)
      const seen = await until(async () => {
        const now = await observe(
          world,
          api.cached('TrackerCluster', 'default', name) as unknown as TrackerCluster,
        )
        return now.stale === null ? now : null
      })
      const wrong = seen.drift.map((d) => `${d.kind} ${d.name} absent=${d.absent}`)
      assert.deepEqual(wrong, [])
      assert.equal(seen.key?.names.length, 1)
      assert.deepEqual(seen.config, { birth: 'create', clusterID: null })
      assert.equal(resource.metadata.name, name)
    })

  test('Jobs and CronJobs are taken as they are', async () => {
    const cluster = await create('jobs', RICH)
    const s = settle(cluster.spec, '0.2.0')
    const backup = {
      apiVersion: 'skep.dev/v1alpha1',
      kind: 'TrackerBackup',
      metadata: { ...cluster.metadata, name: 'nightly' },
      spec: { clusterName: 'jobs', schedule: '0 3 * * *', storage: {} },
    } satisfies TrackerBackup
    const once = { ...backup, spec: { clusterName: 'jobs', storage: {} } }
    const all = [
      job(cluster, s, 'restore', 0, { claimName: 'x', file: 'f.skep' }),
      job(cluster, s, 'recover', 1, null),
      job(cluster, s, 'purge', 2, null),
      backupVolume(backup)!,
      backupRun(backup, cluster, s, 3),
      backupRun(once, cluster, s, 3),
    ].map(hashed)
    for (const object of all)
      assert.equal(difference(object, await api.apply(object)), null, object.metadata.name)
  })

  test('preconditions hold, and what is gone is fine', async () => {
    const account = (uid?: string, resourceVersion?: string): KubeObject => ({
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: {
        name: 'a',
        namespace: 'default',
        ...(uid === undefined ? {} : { uid }),
        ...(resourceVersion === undefined ? {} : { resourceVersion }),
      },
    })
    const made = await api.apply(account())
    await assert.rejects(api.apply(account('00000000-0000-0000-0000-000000000000')), { code: 409 })
    await assert.rejects(api.apply(account(undefined, '1')), { code: 409 })
    await api.apply(account(made.metadata.uid))
    assert.equal((await api.get('ServiceAccount', 'default', 'a'))?.metadata.uid, made.metadata.uid)
    assert.equal(await api.get('ServiceAccount', 'default', 'b'), null)
    await assert.rejects(api.delete('ServiceAccount', 'default', 'a', { uid: 'other' }), { code: 409 })
    await api.delete('Pod', 'default', 'nobody', { force: true })
    await api.evict('default', 'nobody', 'u')
    const { metadata } = await create('status', {})
    const old = api.cached('TrackerCluster', 'default', 'status')!
    await api.putStatus(old, { replicas: 1 })
    await assert.rejects(api.putStatus(old, { replicas: 2 }), { code: 409 })
    const patched = await api.patchMetadata('TrackerCluster', 'default', 'status', {
      finalizers: ['skep.dev/cluster'],
    })
    assert.deepEqual(patched.metadata.finalizers, ['skep.dev/cluster'])
    assert.equal(patched.metadata.uid, metadata.uid)
  })

  test('an event is recorded once, and counted', async () => {
    const about = (await create('events', {})) as unknown as KubeObject
    const note = { about, type: 'Warning', reason: 'Test', message: 'ä'.repeat(900) } as const
    for (let i = 0; i < 3; i++) await api.event(note)
    const { out } = await server.kubectl([
      'get',
      'events',
      '--field-selector',
      'involvedObject.name=events',
      '-o',
      'json',
    ])
    const { items } = JSON.parse(out) as { items: { reason: string; message: string }[] }
    assert.deepEqual(
      items.map((e) => e.reason),
      ['Test'],
    )
    assert.match(items[0]!.message, /^ä+\.\.\.$/)
  })

  test('one of two holds the Lease; given back, the other has it at once', async () => {
    const holders: string[] = []
    const run = (identity: string) => {
      const end = new AbortController()
      const election = { namespace: 'default', lease: 'skep-operator', identity }
      const done = elect(openKube(), election, REAL_CLOCK, end.signal, (ours) => {
        if (ours) holders.push(identity)
        happened()
      })
      return { end, done }
    }
    const a = run('a')
    await until(() => holders.length > 0)
    const b = run('b')
    a.end.abort()
    assert.equal(await a.done, 'stopped')
    await until(() => holders.length > 1)
    assert.deepEqual(holders, ['a', 'b'])
    b.end.abort()
    await b.done
  })

  test('a change of a specification wakes its pass by the watch', async () => {
    await create('woken', {})
    const marks = new Map<string, string>()
    const change = () => ({ type: 'put' as const, object: api.cached('TrackerCluster', 'default', 'woken')! })
    assert.equal(wokenBy('TrackerCluster', change(), marks).length, 1)
    await server.kubectl(['patch', 'tc', 'woken', '--type=merge', '-p', '{"spec":{"replicas":5}}'])
    await until(() => api.cached('TrackerCluster', 'default', 'woken')?.metadata.generation === 2)
    assert.equal(wokenBy('TrackerCluster', change(), marks).length, 1)
    // Definitions made a moment ago: the server says 429 until it has a store for them, and is asked again.
    assert.deepEqual(
      errors.filter((error) => !error.includes('storage is (re)initializing')),
      [],
    )
  })
})

let next = Promise.withResolvers<void>()

/** An object of the API server has changed, or the Lease its holder. */
function happened(): void {
  next.resolve()
  next = Promise.withResolvers()
}

/** Looks again whenever something has happened. */
async function until<T>(look: () => T | Promise<T>): Promise<NonNullable<T>> {
  for (;;) {
    const { promise } = next
    const found = await look()
    if (found !== null && found !== undefined && found !== false) return found as NonNullable<T>
    await promise
  }
}
