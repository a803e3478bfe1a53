// kubectl skep, with a kubectl that answers from a small world: what it asks for, what it says, and how it
// ends.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { KubeObject } from '../model/ports.ts'
import type { TrackerCluster } from '../model/types.ts'
import { examine, type Seen } from './doctor.ts'
import { plugin } from './plugin.ts'

const NOW = Date.parse('2026-01-02T00:00:00Z')
const SINCE = '2026-01-01T23:59:00Z'

const cluster = (status: Partial<NonNullable<TrackerCluster['status']>> = {}): TrackerCluster => ({
  apiVersion: 'skep.dev/v1alpha1',
  kind: 'TrackerCluster',
  metadata: { name: 'hive', namespace: 'n', uid: 'u', generation: 2, resourceVersion: '1' },
  spec: { replicas: 2 },
  status: {
    observedGeneration: 2,
    leader: 'hive-1',
    term: 7,
    readyReplicas: 2,
    wishedReplicas: 2,
    voters: 1,
    conditions: [condition('Ready', 'True'), condition('ClientIPPreserved', 'True')],
    members: [
      { name: 'hive-0', role: 'Learner', ready: true, lag: 0, node: 'a' },
      { name: 'hive-1', role: 'Leader', ready: true, node: 'b' },
    ],
    ...status,
  },
})
const condition = (type: string, status: 'True' | 'False') => ({
  type,
  status,
  reason: 'Because',
  message: `A sentence about ${type}.`,
  lastTransitionTime: SINCE,
  observedGeneration: 2,
})
const object = (kind: string, name: string, rest: object = {}, labels = {}): KubeObject => ({
  apiVersion: 'v1',
  kind,
  metadata: { name, namespace: 'n', labels },
  ...rest,
})
const service = (part: string, spec: object = {}, status: object = {}): KubeObject =>
  object(
    'Service',
    `hive-${part}`,
    {
      spec: {
        type: 'NodePort',
        externalTrafficPolicy: 'Local',
        ports: [{ port: 6969, nodePort: 30069 }],
        ...spec,
      },
      status,
    },
    { 'skep.dev/part': part },
  )
const slice = (part: string, ready: boolean): KubeObject =>
  object(
    'EndpointSlice',
    `hive-${part}-x`,
    { endpoints: [{ nodeName: 'a', conditions: { ready } }] },
    { 'kubernetes.io/service-name': `hive-${part}` },
  )
const pod = (name: string, nodeName: string, container: object = {}): KubeObject =>
  object('Pod', name, {
    spec: { nodeName },
    status: {
      phase: 'Running',
      containerStatuses: [{ restartCount: 0, ready: true, image: 'i:1', ...container }],
    },
  })
const WELL: Seen = {
  cluster: cluster(),
  services: [service('udp'), service('http')],
  slices: [slice('udp', true), slice('http', true)],
  pods: [pod('hive-0', 'a'), pod('hive-1', 'b')],
  claims: [object('PersistentVolumeClaim', 'data-hive-0', { status: { phase: 'Bound' } })],
  budgets: [object('PodDisruptionBudget', 'hive', { status: { disruptionsAllowed: 1 } })],
}

type World = { seen?: Seen; inPods?: (pod: string, args: readonly string[]) => string }

async function called(args: readonly string[], { seen = WELL, inPods = () => '[]' }: World = {}) {
  const asked: string[] = []
  let [out, err] = ['', '']
  const lists: Record<string, readonly KubeObject[] | null> = {
    services: seen.services,
    endpointslices: seen.slices,
    pods: seen.pods,
    persistentvolumeclaims: seen.claims,
    poddisruptionbudgets: seen.budgets,
    'events.events.k8s.io': [
      {
        ...object('Event', 'e'),
        reason: 'Grown',
        note: 'hive-1 joins',
        eventTime: '2026-01-01T12:00:01Z',
        regarding: { kind: 'TrackerCluster', name: 'hive' },
      },
      { ...object('Event', 'f'), reason: 'Other', regarding: { kind: 'Pod', name: 'beehive-0' } },
    ] as unknown as KubeObject[],
  }
  const code = await plugin(args, {
    async kubectl(words) {
      asked.push(words.join(' '))
      const rest = words.slice(words.findIndex((w) => w === 'get' || w === 'exec'))
      if (rest[0] === 'exec') return inPods(rest[3]!, rest.slice(rest.indexOf('ctl') + 1))
      if (rest[1] === 'trackerclusters.skep.dev')
        return JSON.stringify(rest[2] === '-o' ? { items: [seen.cluster] } : seen.cluster)
      const list = lists[rest[1]!]
      if (list === null || list === undefined) throw new Error(`${rest[1]} is forbidden`)
      return JSON.stringify({ items: list })
    },
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    nowMs: () => NOW,
  })
  return { code, out, err, asked }
}

test('status says who leads, each condition with its reason, members and announce URLs', async () => {
  const { code, out } = await called(['status'])
  assert.equal(code, 0)
  for (const words of [
    /2 of 2 replicas ready, 1 vote, hive-1 leads \(term 7\)/,
    /Ready +True +Because: A sentence about Ready. \(60 s ago\)/,
    /hive-0 +Learner +ready/,
    /udp:\/\/NODE:30069\/announce/,
  ])
    assert.match(out, words)
  const ill = { ...WELL, cluster: cluster({ conditions: [condition('Ready', 'False')] }) }
  assert.equal((await called(['status', 'hive'], { seen: ill })).code, 1)
})

test('status gives the announce URLs as tiers, and who answers at each', async () => {
  const own = (ordinal: number, target: string): KubeObject => {
    const made = service('own-udp', {
      type: 'LoadBalancer',
      ports: [{ port: 6969 }],
      selector: { 'statefulset.kubernetes.io/pod-name': target },
    })
    const labels = { 'skep.dev/part': 'own-udp', 'skep.dev/ordinal': String(ordinal) }
    return {
      ...made,
      metadata: { ...made.metadata, name: `hive-udp-${ordinal}`, labels },
      status: { loadBalancer: { ingress: [{ ip: `192.0.2.${ordinal}` }] } },
    }
  }
  const seen = { ...WELL, services: [service('udp'), own(1, 'hive-0'), own(0, 'hive-0')] }
  const { out } = await called(['status'], { seen })
  assert.match(
    out,
    /each a tier of its own; while one is away, another answers there\n +LoadBalancer +udp:\/\/192.0.2.0:6969\/announce +answered by hive-0\n +LoadBalancer +udp:\/\/192.0.2.1:6969\/announce +answered by hive-0\n/,
  )
})

test('members and transfer are asked of the leader, with context and namespace as kubectl has them', async () => {
  const inPods = (pod: string, args: readonly string[]): string => `${pod}: ${args.slice(0, 2).join(' ')}\n`
  const { out, asked } = await called(['transfer', 'hive', 'hive-0', '--context', 'c', '-n', 'n'], { inPods })
  assert.equal(out, 'hive-1: transfer hive-0\n')
  assert.ok(
    asked.every((a) => a.startsWith('--namespace n --context c ')),
    asked.join('\n'),
  )
  assert.match(asked.at(-1)!, /exec -n n hive-1 -c tracker -- node \/app\/skep.ts ctl transfer/)
  assert.equal((await called(['transfer'])).code, 64)
})

test('events of both worlds come by time, and only those of the cluster', async () => {
  const inPods = (): string => '{"at":"2026-01-01T12:00:00.5Z","kind":"elected","memberName":"hive-1"}\n'
  const { out } = await called(['events'], { inPods })
  assert.match(out, /^2026-01-01T12:00:00 +hive-1 +elected\n.*TrackerCluster\/hive +Grown +hive-1 joins\n$/s)
  const silent = await called(['events'], {
    inPods: () => {
      throw new Error('pod not found')
    },
  })
  assert.equal(silent.code, 1)
  assert.match(silent.out, /Grown/)
})

test('a cluster that is well has nothing bad; each pod is asked for its own findings', async () => {
  const inPods = (pod: string): string =>
    JSON.stringify([{ verdict: 'fair', what: `buffers of ${pod}`, mend: 'sysctl' }])
  const { code, out } = await called(['doctor'], { inPods })
  assert.equal(code, 0, out)
  assert.match(out, /fair {2}hive-0: buffers of hive-0\n {6}-> sysctl/)
  assert.match(out, /9 ok, 2 fair, 0 bad/)
  assert.equal(
    (await called(['doctor'], { inPods: () => '[{"verdict":"bad","what":"w","mend":""}]' })).code,
    1,
  )
})

const ILL: readonly (readonly [string, Partial<Seen>, RegExp])[] = [
  [
    'a condition',
    { cluster: cluster({ conditions: [condition('QuorumAtRisk', 'True')] }) },
    /QuorumAtRisk is True/,
  ],
  ['no operator', { cluster: cluster({ observedGeneration: 1 }) }, /not seen the last change/],
  [
    'traffic policy',
    { services: [service('udp', { externalTrafficPolicy: 'Cluster' })] },
    /hides the clients/,
  ],
  ['no balancer', { services: [service('udp', { type: 'LoadBalancer' })] }, /no address of a load balancer/],
  ['no endpoints', { slices: [slice('udp', false)] }, /hive-udp leads to no ready replica/],
  [
    'image',
    { pods: [pod('hive-0', 'a', { ready: false, state: { waiting: { reason: 'ImagePullBackOff' } } })] },
    /ImagePullBackOff/,
  ],
  ['restarts', { pods: [pod('hive-0', 'a', { restartCount: 9 })] }, /started 9 times again/],
  ['one node', { pods: [pod('hive-0', 'a'), pod('hive-1', 'a')] }, /share a node/],
  [
    'volume',
    { claims: [object('PersistentVolumeClaim', 'data-hive-0', { status: { phase: 'Pending' } })] },
    /data-hive-0 is not bound/,
  ],
  ['no budget', { budgets: [] }, /no disruption budget/],
  ['no rights', { pods: null }, /may not read pods/],
]
for (const [name, change, words] of ILL)
  test(`the doctor finds: ${name}`, () => {
    const found = examine({ ...WELL, ...change }, NOW).filter((f) => f.verdict !== 'good')
    assert.ok(
      found.some((f) => words.test(f.what)),
      JSON.stringify(found),
    )
  })

test('wrong usage ends with 64, a cluster that is not told with a question', async () => {
  for (const args of [['nonsense'], ['status', 'a', 'b'], ['status', '--nonsense']])
    assert.equal((await called(args)).code, 64, args.join(' '))
  for (const args of [['--help'], []]) assert.equal((await called(args)).code, 0, args.join(' '))
})
