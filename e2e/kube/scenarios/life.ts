// A cluster comes into being, grows and shrinks, follows its load.
// Refuses: to assert times; they are in the table.

import { setTimeout as sleep } from 'node:timers/promises'
import {
  CLUSTER,
  event,
  NAMESPACE,
  notWhole,
  RELEASE,
  rowText,
  type Scenario,
  setSpec,
  type World,
  waitFor,
  whole,
} from '../world.ts'

/** Ports of the nodes; within what an API server allows by default. */
const UDP_PORT = 30_969
const HTTP_PORT = 30_868

export const CHART = new URL('../../../charts/skep', import.meta.url).pathname

/** Values as --set arguments, in the names that the chart has. */
export function values(world: World, more: Readonly<Record<string, string>> = {}): string[] {
  const { repository, tag } = world.target.images
  const all: Record<string, string> = {
    'image.repository': repository,
    'image.tag': tag,
    'image.pullPolicy': world.target.lab === undefined ? 'IfNotPresent' : 'Never',
    'cluster.name': CLUSTER,
    'cluster.replicas': '3',
    'cluster.allowPrivate': 'on',
    'cluster.services.udp.type': 'NodePort',
    'cluster.services.udp.nodePort': String(UDP_PORT),
    'cluster.services.http.type': 'NodePort',
    'cluster.services.http.nodePort': String(HTTP_PORT),
    'cluster.storage.size': '256Mi',
    'cluster.storage.retention': 'Delete',
    'cluster.memory': '128Mi',
    // Without a request for CPU a pod gets next to nothing of a busy node.
    'cluster.resources.requests.cpu': '200m',
    ...more,
  }
  return Object.entries(all).flatMap(([name, value]) => ['--set', `${name}=${value}`])
}

export const create: Scenario = {
  name: 'create',
  what: 'helm install: time to the first answer and to Ready with 3 replicas',
  usual: true,
  minutes: 4,
  async run(world) {
    const { target } = world
    const begin = performance.now()
    if ((await target.api.get('trackerclusters', NAMESPACE, CLUSTER)) !== undefined) {
      // Left by an earlier run: what follows goes on with it.
      await setSpec(world, { replicas: 3, image: { tag: target.images.tag }, autoscaling: null })
      world.outside = await target.users(NAMESPACE, `${CLUSTER}-udp`, world.random.below(1 << 30))
      await whole(world, 3, 150)
      return
    }
    const args = ['install', RELEASE, CHART, '--namespace', NAMESPACE, '--create-namespace', ...values(world)]
    const done = await target.helm(args)
    if (done.code !== 0) throw new Error(`helm install: ${done.err.trim()}`)
    world.outside = await target.users(NAMESPACE, `${CLUSTER}-udp`, world.random.below(1 << 30))
    let first = 0
    await waitFor('the first answer', 120, async () => {
      const { answers } = await world.outside!.report()
      if (answers === 0) return (await notWhole(world, 3)) ?? 'nobody answers'
      first ||= performance.now() - begin
      return undefined
    })
    await whole(world, 3, 150)
    const tookMs = performance.now() - begin
    const row = {
      ...{ scenario: 'create', event: 'helm install', tookMs, silenceMs: 0, worstMs: 0, unanswered: 0 },
      note: `first answer after ${(first / 1000).toFixed(1)} s, Ready with 3 after ${(tookMs / 1000).toFixed(1)} s`,
    }
    world.rows.push(row)
    world.say(rowText(row))
    // The users' first swarms, before anything happens to them.
    await sleep(3000)
    const report = await world.outside.check()
    if (report.faultCount > 0) throw new Error(report.faults.join('; '))
  },
}

const scaleTo = async (world: World, from: number, to: number): Promise<void> => {
  await event(
    world,
    `${from} -> ${to}`,
    async () => {
      const done = await world.target.kubectl(['-n', NAMESPACE, 'scale', `tc/${CLUSTER}`, `--replicas=${to}`])
      if (done.code !== 0) throw new Error(done.err.trim())
    },
    () => whole(world, to, 180),
  )
}

export const scale: Scenario = {
  name: 'scale',
  what: 'kubectl scale: 3 -> 1 -> 3 -> 5 -> 3 while users announce',
  usual: true,
  minutes: 8,
  async run(world) {
    const steps = [3, 1, 3, 5, 3]
    for (const [i, to] of steps.entries()) if (i > 0) await scaleTo(world, steps[i - 1]!, to)
    const claims = await world.target.api.list(
      'persistentvolumeclaims',
      NAMESPACE,
      `skep.dev/cluster=${CLUSTER}`,
    )
    const left = claims.filter(
      ({ metadata }) => /-[34]$/.test(metadata.name) && metadata.deletionTimestamp === undefined,
    )
    if (left.length > 0)
      throw new Error(`volumes of removed replicas stay: ${left.map((c) => c.metadata.name)}`)
  },
}

export const autoscale: Scenario = {
  name: 'autoscale',
  what: 'autoscaling: replicas are added under load and taken when it ends',
  usual: true,
  minutes: 6,
  async run(world) {
    const autoscaling = {
      min: 3,
      max: 4,
      announcesPerSecondPerReplica: 40,
      upAfterSeconds: 5,
      downAfterSeconds: 10,
    }
    await event(
      world,
      'load is high: 3 -> 4',
      () => setSpec(world, { autoscaling }),
      () => whole(world, 4, 150),
    )
    await event(
      world,
      'load is low: 4 -> 3',
      () => setSpec(world, { autoscaling: { ...autoscaling, announcesPerSecondPerReplica: 100_000 } }),
      () => whole(world, 3, 150),
    )
    await setSpec(world, { autoscaling: null })
    await whole(world, 3, 60)
  },
}
