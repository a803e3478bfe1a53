// From one version to another: a released chart and image become those of this tree, go back by Helm, and
// forward for good; and another tag of this tree's image. Users announce all the while. Refuses: to take a
// version's own word for which image runs.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Outside } from '../outside-link.ts'
import {
  CLUSTER,
  event,
  leaderOf,
  NAMESPACE,
  notWhole,
  RELEASE,
  type Scenario,
  setSpec,
  statusOf,
  type World,
  waitFor,
  whole,
} from '../world.ts'
import { CHART, values } from './life.ts'

const HELM_MS = 180_000
/** Replicas agree to the next level after so long, once the way back is given up. */
const AGREE_AFTER = '5s'
const DEFINITIONS = ['trackerclusters', 'torrentpolicies', 'trackerbackups'].map((one) => `${one}.skep.dev`)
const STATUS = ['ctl', 'status', '--json', '--network-key-file', '/etc/skep-key/network.key']

type Pod = {
  readonly name: string
  readonly uid: string
  readonly image: string
  readonly restarts: number
}

async function podsOf(world: World): Promise<Pod[]> {
  const labels = `skep.dev/cluster=${CLUSTER},skep.dev/part=replica`
  const pods = await world.target.api.list('pods', NAMESPACE, labels)
  return pods.map(({ metadata, spec, status }) => {
    const [container] = (spec?.containers ?? []) as { image: string }[]
    const [state] = (status?.containerStatuses ?? []) as { restartCount: number }[]
    const { name, uid = '' } = metadata
    return { name, uid, image: container?.image ?? '', restarts: state?.restartCount ?? 0 }
  })
}

/** All replicas run this tag's image. */
const runs = (world: World, tag: string) => async (): Promise<string | undefined> => {
  const image = `${world.target.images.repository}:${tag}`
  const pods = await podsOf(world)
  const other = pods.find((pod) => pod.image !== image)
  const { members = [] } = await statusOf(world)
  return other === undefined ? notWhole(world, members.length) : `${other.name} runs ${other.image}`
}

/** `act` asks for another tag; then the leader must be the last one to go. */
async function roll(world: World, tag: string, what: string, act: () => Promise<void>): Promise<void> {
  const leader = await leaderOf(world)
  const replaced: string[] = []
  let seen = await podsOf(world)
  const follow = async (): Promise<string | undefined> => {
    const now = await podsOf(world)
    const before = (name: string): string | undefined => seen.find((pod) => pod.name === name)?.uid
    for (const { name, uid } of now) if (![undefined, uid].includes(before(name))) replaced.push(name)
    // A pod that is away for a moment is remembered.
    seen = [...seen.filter((pod) => !now.some(({ name }) => name === pod.name)), ...now]
    return runs(world, tag)()
  }
  await event(
    world,
    what,
    act,
    () => waitFor(`all replicas at ${tag}`, 240, follow),
    async () => `replaced ${replaced.join(', ')}; ${leader} led before`,
  )
  if (replaced.at(-1) !== leader)
    throw new Error(`the leader ${leader} was not the last one: ${replaced.join(', ')}`)
}

export const rollOut = (world: World, tag: string, what: string): Promise<void> =>
  roll(world, tag, what, () => setSpec(world, { image: { tag } }))

export const rollout: Scenario = {
  name: 'rollout',
  what: 'another image tag and back: followers first, the leader last',
  usual: true,
  minutes: 6,
  async run(world) {
    const { tag, next } = world.target.images
    if (next === undefined) throw new Error('there is no second image: --next-image REPOSITORY:TAG')
    await rollOut(world, next, 'rolling upgrade')
    await rollOut(world, tag, 'and back')
  },
}

async function helm(world: World, ...args: string[]): Promise<void> {
  const whole = [...args, '--namespace', NAMESPACE]
  const done = await world.target.helm(whole, { timeoutMs: HELM_MS })
  if (done.code !== 0) throw new Error(`helm ${args[0]}: ${done.err.trim() || done.out.trim().slice(-600)}`)
}

/** The released chart with the released image, and users who are answered. */
async function released(world: World, chart: string, tag: string): Promise<Outside> {
  if ((await world.target.api.get('trackerclusters', NAMESPACE, CLUSTER)) !== undefined)
    throw new Error('a cluster is here already: an upgrade begins on a test cluster without one')
  await helm(world, 'install', RELEASE, chart, '--create-namespace', ...values(world, { 'image.tag': tag }))
  const outside = await world.target.users(NAMESPACE, `${CLUSTER}-udp`, world.random.below(1 << 30))
  world.outside = outside
  await whole(world, 3, 240)
  await waitFor('an answer', 120, async () => {
    const { answers } = await outside.report()
    return answers === 0 ? 'nobody answers' : undefined
  })
  return outside
}

const toThisTree = (world: World, raiseAfter: string): Promise<void> => {
  const more = { 'cluster.options.raise-level-after': raiseAfter }
  return helm(world, 'upgrade', RELEASE, CHART, ...values(world, more))
}

/** What each replica says of the rules that its log is read by. */
async function levels(world: World): Promise<number[]> {
  const all: number[] = []
  for (const { name } of await podsOf(world)) {
    const done = await world.target.kubectl([
      '-n',
      NAMESPACE,
      'exec',
      name,
      '--',
      'node',
      'skep.ts',
      ...STATUS,
    ])
    if (done.code !== 0) throw new Error(`${name}: ${done.err.trim()}`)
    all.push((JSON.parse(done.out) as { raft: { level: number } }).raft.level)
  }
  return all
}

async function levelIs(world: World, wanted: number): Promise<void> {
  await waitFor(`level ${wanted} everywhere`, 90, async () => {
    const all = await levels(world)
    return all.every((one) => one === wanted) ? undefined : `levels ${all.join(', ')}`
  })
}

/**
 * Older replicas refuse the new level: one of them tries in vain, the others serve, and the way out is the
 * new tag.
 */
async function tooLate(world: World, older: string, tag: string): Promise<void> {
  let refused: Pod | undefined
  await event(
    world,
    `too late for ${older}, and ${tag} again`,
    async () => {
      await setSpec(world, { image: { tag: older } })
      await waitFor(`a replica of ${older} that is refused`, 120, async () => {
        refused = (await podsOf(world)).find(
          ({ image, restarts }) => image.endsWith(`:${older}`) && restarts > 0,
        )
        return refused === undefined ? 'nothing has ended yet' : undefined
      })
      const others = (await podsOf(world)).filter(({ name }) => name !== refused!.name)
      const more = others.filter(({ image }) => !image.endsWith(`:${tag}`))
      if (others.length !== 2 || more.length > 0)
        throw new Error(`${refused!.name} was refused, and yet the next one went: ${JSON.stringify(more)}`)
      await setSpec(world, { image: { tag } })
    },
    () => waitFor(`all replicas at ${tag}`, 240, runs(world, tag)),
    async () => `${refused!.name} was refused`,
  )
}

export const upgrade: Scenario = {
  name: 'upgrade',
  what: 'a released chart and its image become those of this tree, go back, and forward for good',
  usual: true,
  alone: true,
  minutes: 12,
  async run(world) {
    const { tag, older } = world.target.images
    if (older === undefined) throw new Error('there is no image of an older version: why was said above')
    await released(world, older.chart, older.tag)
    // Something to lose before anything happens.
    await sleep(3000)
    const keeping = `helm upgrade from ${older.tag} to ${tag}`
    await roll(world, tag, keeping, () => toThisTree(world, 'never'))
    await levelIs(world, 1)
    const back = `helm rollback to ${older.tag}`
    await roll(world, older.tag, back, () => helm(world, 'rollback', RELEASE, '1'))
    await roll(world, tag, `and to ${tag} for good`, () => toThisTree(world, AGREE_AFTER))
    await event(
      world,
      'the level rises',
      async () => {},
      () => levelIs(world, 2),
    )
    await tooLate(world, older.tag, tag)
  },
  async end(world) {
    world.outside?.stop()
    world.outside = undefined
    await helm(world, 'uninstall', RELEASE, '--wait', '--timeout', '150s')
    // Only of a cluster of our own: others may have more of them.
    if (world.target.lab === undefined) return
    const done = await world.target.kubectl(['delete', 'crd', ...DEFINITIONS])
    if (done.code !== 0) throw new Error(done.err.trim())
  },
}
