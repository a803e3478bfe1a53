// Clusters of their own beside the main one: deleted with and without their volumes, lost to the last
// majority, saved and restored, refused for what is wrong in them. Refuses: to leave them behind.

import { setTimeout as sleep } from 'node:timers/promises'
import { ApiRefusal } from '../api.ts'
import type { Outside } from '../outside-link.ts'
import {
  clusterOf,
  condition,
  event,
  NAMESPACE,
  type Scenario,
  statusOf,
  type World,
  waitFor,
  whole,
} from '../world.ts'

const spec = (world: World, more: object = {}): Record<string, unknown> => ({
  replicas: 1,
  image: {
    repository: world.target.images.repository,
    tag: world.target.images.tag,
    pullPolicy: world.target.lab === undefined ? 'IfNotPresent' : 'Never',
  },
  allowPrivate: 'on',
  memory: '64Mi',
  storage: { size: '256Mi' },
  services: { udp: { type: 'NodePort' }, http: { type: 'ClusterIP' } },
  ...more,
})

const make = (world: World, name: string, more: object = {}): Promise<void> =>
  world.target.api.create('trackerclusters', NAMESPACE, {
    apiVersion: 'skep.dev/v1alpha1',
    kind: 'TrackerCluster',
    metadata: { name },
    spec: spec(world, more),
  })

const claimsOf = async (world: World, name: string): Promise<string[]> => {
  const claims = await world.target.api.list('persistentvolumeclaims', NAMESPACE, `skep.dev/cluster=${name}`)
  return claims.map(({ metadata }) => metadata.name)
}

/** All that a cluster had; volumes may be meant to stay. */
const gone = (world: World, name: string): Promise<void> =>
  waitFor(`${name} gone`, 90, async () => {
    if ((await world.target.api.get('trackerclusters', NAMESPACE, name)) !== undefined)
      return 'the TrackerCluster is still there'
    const left: string[] = []
    for (const plural of ['pods', 'statefulsets', 'services', 'configmaps', 'poddisruptionbudgets', 'jobs'])
      for (const { metadata } of await world.target.api.list(
        plural,
        NAMESPACE,
        `skep.dev/cluster=${name},skep.dev/part!=backup`,
      ))
        left.push(`${plural}/${metadata.name}`)
    return left.length === 0 ? undefined : `still there: ${left.join(', ')}`
  })

const users = async (world: World, name: string): Promise<Outside> => {
  const outside = await world.target.users(NAMESPACE, `${name}-udp`, world.random.below(1 << 30))
  await waitFor(`${name} answers`, 60, async () =>
    (await outside.report()).answers > 0 ? undefined : 'nobody answers',
  )
  return outside
}

const dropClaims = async (world: World, name: string): Promise<void> => {
  for (const claim of await claimsOf(world, name))
    await world.target.api.remove('persistentvolumeclaims', NAMESPACE, claim)
}

/** Runs something with a cluster of its own, which is taken away whatever happens. */
async function beside(world: World, name: string, more: object, run: () => Promise<void>): Promise<void> {
  const before = world.outside
  try {
    await make(world, name, more)
    await run()
  } finally {
    if (world.outside !== before) world.outside?.stop()
    world.outside = before
    await world.target.api.remove('trackerclusters', NAMESPACE, name)
    await gone(world, name).catch((error: Error) => world.say(`  ${error.message}`))
    await dropClaims(world, name)
  }
}

export const deletion: Scenario = {
  name: 'deletion',
  what: 'a TrackerCluster deleted with its volumes retained, and made again; then deleted with them',
  usual: true,
  minutes: 6,
  async run(world) {
    await beside(world, 'kept', { storage: { size: '256Mi', retention: 'Retain' } }, async () => {
      await whole(world, 1, 120, 'kept')
      const { clusterID } = await statusOf(world, 'kept')
      world.outside = await users(world, 'kept')
      await sleep(3000)
      await event(
        world,
        'deleted with retain, made again',
        async () => {
          await world.target.api.remove('trackerclusters', NAMESPACE, 'kept')
          await gone(world, 'kept')
          if ((await claimsOf(world, 'kept')).length !== 1)
            throw new Error('the volume is gone, which was to be retained')
          await make(world, 'kept', { storage: { size: '256Mi', retention: 'Retain' } })
        },
        () => whole(world, 1, 120, 'kept'),
      )
      if ((await statusOf(world, 'kept')).clusterID !== clusterID) throw new Error('another cluster was born')
    })
    await beside(world, 'given', { storage: { size: '256Mi', retention: 'Delete' } }, async () => {
      await whole(world, 1, 120, 'given')
      const outside = await users(world, 'given')
      world.outside = outside
      await sleep(3000)
      await world.target.api.remove('trackerclusters', NAMESPACE, 'given')
      await gone(world, 'given')
      await waitFor('the volume gone', 60, async () => {
        const claims = await claimsOf(world, 'given')
        return claims.length === 0 ? undefined : `still there: ${claims.join(', ')}`
      })
      // The users must be able to see a loss: an empty cluster of the same name is one.
      await make(world, 'given', { storage: { size: '256Mi', retention: 'Delete' } })
      await whole(world, 1, 120, 'given')
      await outside.forget()
      await waitFor('the users answered', 30, async () => {
        const { answers } = await outside.mark()
        return answers > 0 ? undefined : 'nobody answers'
      })
      const { faults } = await outside.check()
      const noticed = faults.find((fault) => fault.includes('acknowledged'))
      if (noticed === undefined) throw new Error('all peers were lost, and the users did not notice')
      world.say(`  an empty cluster in its place is noticed: ${noticed}`)
    })
  },
}

/** Wrong specifications and the field that the refusal must name. */
const WRONG: readonly { name: string; field: RegExp; spec: object }[] = [
  { name: 'no replicas', field: /spec\.replicas/, spec: { replicas: 0 } },
  { name: 'replicas as text', field: /spec\.replicas/, spec: { replicas: 'three' } },
  { name: 'even voters', field: /spec(\.maxVoters)?.*(odd|maxVoters)/, spec: { maxVoters: 4 } },
  { name: 'unknown consistency', field: /spec\.consistency/, spec: { consistency: 'sometimes' } },
  { name: 'missed once', field: /spec\.missed/, spec: { missed: 1 } },
  {
    name: 'unknown service type',
    field: /spec\.services\.udp\.type/,
    spec: { services: { udp: { type: 'Tunnel' } } },
  },
  {
    name: 'port out of range',
    field: /spec\.services\.udp\.nodePort/,
    spec: { services: { udp: { nodePort: 99_999 } } },
  },
  {
    name: 'minimum over maximum',
    field: /spec\.autoscaling/,
    spec: { autoscaling: { min: 5, max: 3, announcesPerSecondPerReplica: 10 } },
  },
]

export const wrong: Scenario = {
  name: 'wrong',
  what: 'wrong specifications are refused with a message that names the field',
  usual: true,
  minutes: 2,
  async run(world) {
    for (const { name, field, spec: more } of WRONG) {
      const metadata = 'wrong'
      let message: string | undefined
      try {
        await make(world, metadata, more)
        // Not refused by the schema: then by the operator, in a condition, without doing anything.
        await waitFor(`${name} is reported`, 20, async () => {
          const status = await statusOf(world, metadata)
          message = (status.conditions ?? [])
            .map((one) => `${one.reason}: ${one.message}`)
            .find((text) => field.test(text))
          return message === undefined ? `no condition names ${field}` : undefined
        })
      } catch (error) {
        if (!(error instanceof ApiRefusal)) throw error
        message = error.message
      } finally {
        await world.target.api.remove('trackerclusters', NAMESPACE, metadata)
        await gone(world, metadata)
        await dropClaims(world, metadata)
      }
      if (!field.test(message ?? ''))
        throw new Error(`${name}: the refusal does not name the field: ${message}`)
      world.say(`  ${name}: ${message!.replace(/\s+/g, ' ').slice(0, 150)}`)
    }
    const main = await clusterOf(world).catch(() => undefined)
    if (main === undefined) return
    // What is fixed stays fixed.
    const refusal = await world.target.api
      .patch('trackerclusters', NAMESPACE, main.metadata.name, { spec: { memory: '1Gi' } })
      .then(
        () => '',
        (error: Error) => error.message,
      )
    if (!/memory/.test(refusal)) throw new Error(`another size of the table was not refused: ${refusal}`)
    world.say(`  another size of the table: ${refusal.replace(/\s+/g, ' ').slice(0, 150)}`)
  },
}

export const quorum: Scenario = {
  name: 'quorum',
  what: 'two of three disks lost: nothing is touched until a person accepts the loss; then it goes on',
  usual: false,
  minutes: 10,
  async run(world) {
    await beside(
      world,
      'poor',
      { replicas: 3, storage: { size: '256Mi', retention: 'Delete' } },
      async () => {
        await whole(world, 3, 180, 'poor')
        const before = await statusOf(world, 'poor')
        const outside = await users(world, 'poor')
        try {
          await sleep(2000)
          const lost = (before.members ?? []).map(({ name }) => name).filter((name) => name !== 'poor-0')
          for (const pod of lost) {
            await world.target.api.remove('persistentvolumeclaims', NAMESPACE, `data-${pod}`)
            await world.target.api.remove('pods', NAMESPACE, pod, true)
          }
          await waitFor('the loss reported', 120, async () => {
            const ready = condition(await statusOf(world, 'poor'), 'Ready')
            return ready.status === 'False' ? undefined : `Ready is ${ready.status}: ${ready.message}`
          })
          await sleep(15_000)
          const status = await statusOf(world, 'poor')
          if (status.clusterID !== before.clusterID) throw new Error('another cluster came into being')
          if (!(await claimsOf(world, 'poor')).includes('data-poor-0'))
            throw new Error("the survivor's volume was touched")
          world.say(`  ${condition(status, 'Ready').reason}: ${condition(status, 'Ready').message}`)
          const begin = performance.now()
          await world.target.api.patch('trackerclusters', NAMESPACE, 'poor', {
            metadata: {
              annotations: {
                'skep.dev/recover': `${before.clusterID} I accept losing what only the lost replicas had`,
              },
            },
          })
          await whole(world, 3, 300, 'poor')
          world.say(
            `  recovered ${((performance.now() - begin) / 1000).toFixed(0)} s after the loss was accepted`,
          )
          await outside.mark()
          await waitFor('answers after the recovery', 30, async () =>
            (await outside.report()).answers > 0 ? undefined : 'nobody answers',
          )
        } finally {
          outside.stop()
        }
      },
    )
  },
}

export const backup: Scenario = {
  name: 'backup',
  what: 'a backup, the cluster destroyed, a new one from the backup: the same peers',
  usual: false,
  minutes: 8,
  async run(world) {
    const claims = async (): Promise<void> => dropClaims(world, 'restored')
    try {
      await beside(world, 'saved', { storage: { size: '256Mi', retention: 'Delete' } }, async () => {
        await whole(world, 1, 120, 'saved')
        const outside = await users(world, 'saved')
        await sleep(5000)
        outside.stop()
        await sleep(1000)
        await world.target.api.create('trackerbackups', NAMESPACE, {
          apiVersion: 'skep.dev/v1alpha1',
          kind: 'TrackerBackup',
          metadata: { name: 'saved' },
          spec: { clusterName: 'saved', storage: { size: '256Mi' } },
        })
        await waitFor('the backup made', 120, async () => {
          const found = await world.target.api.get('trackerbackups', NAMESPACE, 'saved')
          const { lastSuccess, lastFailure } = (found?.status ?? {}) as Record<string, string>
          return lastSuccess === undefined
            ? `not yet: ${lastFailure ?? JSON.stringify(found?.status ?? {})}`
            : undefined
        })
        const { peers, torrents } = (await clusterOf(world, 'saved')).status as {
          peers?: number
          torrents?: number
        }
        await world.target.api.remove('trackerclusters', NAMESPACE, 'saved')
        await gone(world, 'saved')
        await make(world, 'restored', {
          restoreFrom: { backup: 'saved' },
          storage: { size: '256Mi', retention: 'Delete' },
        })
        await whole(world, 1, 180, 'restored')
        await waitFor('the same peers', 60, async () => {
          const status = (await clusterOf(world, 'restored')).status as { peers?: number; torrents?: number }
          if (peers === undefined || peers === 0) return 'the saved cluster had no peers at all'
          if (status.peers === peers && status.torrents === torrents) return undefined
          return `${status.peers} peers in ${status.torrents} torrents instead of ${peers} in ${torrents}`
        })
        world.say(`  ${peers} peers in ${torrents} torrents restored`)
      })
    } finally {
      await world.target.api.remove('trackerclusters', NAMESPACE, 'restored')
      await world.target.api.remove('trackerbackups', NAMESPACE, 'saved')
      await gone(world, 'restored')
      await claims()
    }
  },
}
