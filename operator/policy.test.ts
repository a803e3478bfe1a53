// TorrentPolicy: the list of a cluster is what the resource says, everywhere, and off when the resource is
// gone.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AccessSeen, Lists } from './lists.ts'
import type { TorrentPolicy } from './model/types.ts'
import { reconcilePolicy } from './policy.ts'
import { wishedList } from './policy-list.ts'
import { putCluster, putPods, type TestWorld, testWorld } from './world.case.ts'

const A = 'a'.repeat(40)
const B = 'b'.repeat(40)

/** Lists of three replicas; what the leader is told reaches those in `linked`. */
const replicas = (linked: () => readonly string[]) => {
  const off: AccessSeen = { active: false, revision: 0, hashes: [] }
  const at = new Map<string, AccessSeen>()
  const asked: string[] = []
  const write = (leader: string, seen: AccessSeen): void => {
    for (const pod of [leader, ...linked()]) at.set(pod, seen)
  }
  const lists: Lists = {
    async read(address, list) {
      assert.equal(list, 'Deny')
      return at.get(address.pod) ?? off
    },
    async replace(address, _list, hashes, revision) {
      const before = at.get(address.pod) ?? off
      assert.equal(revision, before.revision)
      asked.push(`${address.pod} replace ${hashes.length}`)
      write(address.pod, { active: true, revision: revision + 1, hashes: [...hashes] })
      return revision + 1
    },
    async off(address) {
      asked.push(`${address.pod} off`)
      write(address.pod, off)
    },
    allowPrivate: async () => 'auto',
    setAllowPrivate: async () => {},
  }
  return { lists, asked, at }
}

const put = ({ server }: TestWorld, name: string, spec: Partial<TorrentPolicy['spec']>): void => {
  server.create({
    apiVersion: 'skep.dev/v1alpha1',
    kind: 'TorrentPolicy',
    metadata: { name, namespace: 'ns' },
    spec: { clusterName: 'demo', list: 'Deny', ...spec },
  })
}
const statusOf = ({ server }: TestWorld, name: string): NonNullable<TorrentPolicy['status']> =>
  (server.get('TorrentPolicy', 'ns', name) as unknown as TorrentPolicy).status!
const said = (w: TestWorld, name: string): string => {
  const [c] = statusOf(w, name).conditions ?? []
  return `${c?.status} ${c?.reason}: ${c?.message}`
}

test('a list is told to the leader, counted on each replica, and turned off with its policy', async () => {
  const w = testWorld()
  let linked: string[] = ['demo-0']
  const { lists, asked } = replicas(() => linked)
  putCluster(w, {}, { leader: 'demo-1' })
  putPods(w, 3)
  put(w, 'p', { infoHashes: [A], infoHashesFrom: { configMapName: 'more' } })
  await reconcilePolicy(w, lists, 'ns', 'p')
  assert.equal(said(w, 'p'), 'False NoConfigMap: there is no ConfigMap entry more')
  w.server.create({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'more', namespace: 'ns' },
    data: { list: `# comment\n${B} # why\n` },
  })
  await reconcilePolicy(w, lists, 'ns', 'p')
  assert.equal(said(w, 'p'), 'False Spreading: 2 torrents, in force on 2 of 3 replicas')
  linked = ['demo-0', 'demo-2']
  const { revision, entries } = statusOf(w, 'p')
  assert.deepEqual([revision, entries], [1, 2])
  lists.replace({ pod: 'demo-1' } as never, 'Deny', [A, B], 1)
  await reconcilePolicy(w, lists, 'ns', 'p')
  assert.equal(said(w, 'p'), 'True InForce: 2 torrents, in force on 3 of 3 replicas')
  asked.length = 0
  const { version } = { version: w.server.get('TorrentPolicy', 'ns', 'p')!.metadata.resourceVersion }
  await reconcilePolicy(w, lists, 'ns', 'p')
  assert.deepEqual(asked, [], 'nothing is written when nothing changes')
  assert.equal(w.server.get('TorrentPolicy', 'ns', 'p')!.metadata.resourceVersion, version)
  w.server.delete('TorrentPolicy', 'ns', 'p', {})
  await reconcilePolicy(w, lists, 'ns', 'p')
  assert.deepEqual(asked, ['demo-1 off'])
  assert.equal(w.server.get('TorrentPolicy', 'ns', 'p'), null)
})

test('of two policies for one list the older counts, and goes on to when one of them goes', async () => {
  const w = testWorld()
  const { lists, asked } = replicas(() => [])
  putCluster(w, {}, { leader: 'demo-0' })
  putPods(w, 1)
  put(w, 'old', { infoHashes: [A] })
  w.now += 5000
  put(w, 'young', { infoHashes: [B] })
  for (const name of ['old', 'young']) await reconcilePolicy(w, lists, 'ns', name)
  assert.match(said(w, 'old'), /^True InForce/)
  assert.equal(said(w, 'young'), 'False Conflict: TorrentPolicy old is older and for the same list')
  w.server.delete('TorrentPolicy', 'ns', 'old', {})
  for (const name of ['old', 'young']) await reconcilePolicy(w, lists, 'ns', name)
  assert.deepEqual(asked, ['demo-0 replace 1', 'demo-0 replace 1'], 'never off between')
  assert.match(said(w, 'young'), /^True InForce/)
})

test('without a cluster, or a leader, it waits and says so; a cluster that is gone holds no policy back', async () => {
  const w = testWorld()
  const { lists, asked } = replicas(() => [])
  put(w, 'p', { infoHashes: [A] })
  await reconcilePolicy(w, lists, 'ns', 'p')
  assert.equal(said(w, 'p'), 'False NoCluster: there is no TrackerCluster demo')
  putCluster(w, {}, {})
  putPods(w, 1)
  await reconcilePolicy(w, lists, 'ns', 'p')
  assert.match(said(w, 'p'), /^False NoLeader/)
  w.server.delete('TrackerCluster', 'ns', 'demo', {})
  w.server.delete('TorrentPolicy', 'ns', 'p', {})
  assert.equal(await reconcilePolicy(w, lists, 'ns', 'p'), null)
  assert.deepEqual(asked, [])
})

test('one faulty entry and nothing is changed; the fault is named with its place', () => {
  const spec = { clusterName: 'demo', list: 'Deny' } as const
  const fault = (more: object, texts: Record<string, string> = {}): string => {
    const wished = wishedList({ ...spec, ...more }, texts)
    return wished.kind === 'fault' ? wished.message : 'none'
  }
  assert.match(fault({ infoHashes: [A, 'nonsense'] }), /spec\.infoHashes\[1\]: nonsense/)
  assert.match(fault({}, { list: `${A}\nzz` }), /list line 2: zz/)
  assert.match(fault({ infoHashes: Array.from({ length: 9 }, () => 'x') }), /and 4 more$/)
  assert.match(fault({ list: 'Allow' }), /would refuse every torrent/)
  assert.equal(fault({}), 'none')
  const magnet = `magnet:?xt=urn:btih:${A}&dn=x`
  assert.deepEqual(wishedList({ ...spec, infoHashes: [B, magnet, A.toUpperCase()] }, {}), {
    kind: 'list',
    hashes: [A, B],
  })
})
