// The chart's own life: both Helms find nothing wrong in it, its test announces, upgrades and rollbacks hold,
// and an uninstall leaves nothing behind. Refuses: to be run before the cluster is there.

import { CLUSTER, event, NAMESPACE, RELEASE, type Scenario, type World, waitFor, whole } from '../world.ts'
import { CHART, values } from './life.ts'

const must = async (
  what: string,
  asked: Promise<{ code: number; out: string; err: string }>,
): Promise<string> => {
  const done = await asked
  if (done.code !== 0) throw new Error(`${what}: ${done.err.trim() || done.out.trim().slice(-600)}`)
  return done.out
}

export const lint: Scenario = {
  name: 'lint',
  what: 'Helm 3 and Helm 4 lint and render the chart; the API server takes all that comes out',
  usual: true,
  minutes: 2,
  async run(world) {
    for (const major of [3, 4] as const) {
      await must(`helm ${major} lint`, world.target.helm(['lint', '--strict', CHART], { major }))
      const args = ['template', RELEASE, CHART, '--namespace', NAMESPACE, '--include-crds', ...values(world)]
      const out = await must(`helm ${major} template`, world.target.helm(args, { major }))
      world.say(`  Helm ${major}: ${out.split('\n---').length} objects rendered`)
    }
    await must('kubectl get tc', world.target.kubectl(['-n', NAMESPACE, 'get', 'tc']))
    const explained = await must('kubectl explain', world.target.kubectl(['explain', 'tc.spec']))
    for (const field of ['replicas', 'maxVoters', 'storage', 'services'])
      if (!explained.includes(field)) throw new Error(`kubectl explain tc.spec does not tell of ${field}`)
  },
}

export const test: Scenario = {
  name: 'test',
  what: 'helm test announces over UDP and HTTP from within',
  usual: true,
  minutes: 4,
  async run(world) {
    const args = ['test', RELEASE, '--namespace', NAMESPACE, '--timeout', '180s']
    const out = await must('helm test', world.target.helm(args, { timeoutMs: 200_000 }))
    if (!/Phase:\s+Succeeded/.test(out)) throw new Error(`helm test did not succeed: ${out.slice(-500)}`)
  },
}

export const release: Scenario = {
  name: 'release',
  what: 'helm upgrade and helm rollback while users announce',
  usual: false,
  minutes: 6,
  async run(world) {
    const change = [
      '--set',
      'cluster.rollout.settleSeconds=1',
      '--set',
      'cluster.pod.annotations.e2e=upgraded',
    ]
    await event(
      world,
      'helm upgrade',
      async () => {
        const args = ['upgrade', RELEASE, CHART, '--namespace', NAMESPACE, ...values(world), ...change]
        await must('helm upgrade', world.target.helm(args, { timeoutMs: 120_000 }))
      },
      () => annotated(world, 'upgraded'),
    )
    await event(
      world,
      'helm rollback',
      async () => {
        await must(
          'helm rollback',
          world.target.helm(['rollback', RELEASE, '1', '--namespace', NAMESPACE], { timeoutMs: 120_000 }),
        )
      },
      () => annotated(world, undefined),
    )
  },
}

/** All pods carry this annotation, and the cluster is whole. */
const annotated = async (world: World, wanted: string | undefined): Promise<void> => {
  await waitFor('all pods follow', 240, async () => {
    const pods = await world.target.api.list(
      'pods',
      NAMESPACE,
      `skep.dev/cluster=${CLUSTER},skep.dev/part=replica`,
    )
    const other = pods.find(({ metadata }) => metadata.annotations?.e2e !== wanted)
    return other === undefined
      ? undefined
      : `${other.metadata.name} has annotation ${other.metadata.annotations?.e2e}`
  })
  await whole(world, 3, 120)
}

/** Everything in a namespace that a release could have made. */
const KINDS = [
  'pods',
  'services',
  'statefulsets',
  'deployments',
  'configmaps',
  'secrets',
  'serviceaccounts',
  'persistentvolumeclaims',
  'poddisruptionbudgets',
  'jobs',
  'cronjobs',
  'trackerclusters',
]
/** Kubernetes' own. */
const ALWAYS = new Set(['configmaps/kube-root-ca.crt', 'serviceaccounts/default'])

export const uninstall: Scenario = {
  name: 'uninstall',
  what: 'helm uninstall leaves nothing behind (definitions of resources stay, as with any chart)',
  usual: true,
  minutes: 4,
  async run(world) {
    world.outside?.stop()
    world.outside = undefined
    const args = ['uninstall', RELEASE, '--namespace', NAMESPACE, '--wait', '--timeout', '150s']
    await must('helm uninstall', world.target.helm(args, { timeoutMs: 180_000 }))
    await waitFor('nothing left', 60, async () => {
      const left: string[] = []
      for (const plural of KINDS)
        for (const { metadata } of await world.target.api.list(plural, NAMESPACE))
          if (!ALWAYS.has(`${plural}/${metadata.name}`)) left.push(`${plural}/${metadata.name}`)
      return left.length === 0 ? undefined : `still there: ${left.join(', ')}`
    })
    const wide = await world.target.kubectl(['get', 'clusterroles,clusterrolebindings', '-o', 'name'])
    const left = wide.out.split('\n').filter((name) => name.includes('skep'))
    if (left.length > 0) throw new Error(`still there: ${left.join(', ')}`)
  },
}
