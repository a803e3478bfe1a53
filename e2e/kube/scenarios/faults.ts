// What goes wrong by itself: pods, nodes, networks, disks, the operator. Whatever it is, users go on
// announcing, and nothing that was acknowledged is lost. Refuses: faults that do not end.

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { runProgram } from '../lab.ts'
import {
  CLUSTER,
  event,
  followerOf,
  leaderOf,
  NAMESPACE,
  nodeOf,
  notWhole,
  type Scenario,
  setSpec,
  statusOf,
  type World,
  waitFor,
  whole,
} from '../world.ts'
import { rollOut } from './upgrade.ts'

/** The pod is another one by now, and all is whole. */
const replaced = async (world: World, pod: string, uid: string | undefined, replicas = 3): Promise<void> => {
  await waitFor(`${pod} made anew`, 60, async () => {
    const now = await world.target.api.get('pods', NAMESPACE, pod)
    return now !== undefined && now.metadata.uid !== uid ? undefined : `${pod} is still the old one`
  })
  await whole(world, replicas, 120)
}

const uidOf = async (world: World, pod: string): Promise<string | undefined> =>
  (await world.target.api.get('pods', NAMESPACE, pod))?.metadata.uid

const deletePod = async (world: World, what: string, pod: string): Promise<void> => {
  const uid = await uidOf(world, pod)
  await event(
    world,
    what,
    () => world.target.api.remove('pods', NAMESPACE, pod),
    () => replaced(world, pod, uid),
  )
}

/** A replica's process dies without a word; its container is started again in the same pod. */
async function crash(world: World, pod: string): Promise<void> {
  const id = (await containerOf(world, pod)).replace('containerd://', '')
  if (id === '') throw new Error(`${pod} does not run`)
  await world.target.lab!.crash(await nodeOf(world, pod), id)
}

/**
 * Another container than before runs, of the same pod or of one in its place, and is ready; and all is whole.
 * What the operator says may be older: it may have been on the node that was lost.
 */
async function restarted(world: World, pod: string, before: string, replicas: number): Promise<void> {
  await waitFor(`${pod} started again`, 120, async () => {
    const { containerID = '', ready = false } = await containerStatusOf(world, pod)
    if (containerID === '' || containerID === before) return `${pod} has not been started again`
    return ready ? undefined : `${pod} has been started again, and is not ready`
  })
  await whole(world, replicas, 120)
}

type ContainerStatus = { readonly containerID?: string; readonly ready?: boolean }

async function containerStatusOf(world: World, pod: string): Promise<ContainerStatus> {
  const found = await world.target.api.get('pods', NAMESPACE, pod)
  const [container] = (found?.status?.containerStatuses ?? []) as ContainerStatus[]
  return container ?? {}
}

const containerOf = async (world: World, pod: string): Promise<string> =>
  (await containerStatusOf(world, pod)).containerID ?? ''

export const crashes: Scenario = {
  name: 'crashes',
  what: "the leader's process is killed without a word; then a follower's",
  usual: true,
  lab: true,
  minutes: 5,
  async run(world) {
    for (const [what, pod] of [
      ['leader crashes', await leaderOf(world)],
      ['follower crashes', ''],
    ] as const) {
      const who = pod === '' ? await followerOf(world) : pod
      const before = await containerOf(world, who)
      await event(
        world,
        what,
        () => crash(world, who),
        () => restarted(world, who, before, 3),
      )
    }
  },
}

export const pods: Scenario = {
  name: 'pods',
  what: 'a follower deleted, the leader deleted',
  usual: true,
  minutes: 6,
  async run(world) {
    await deletePod(world, 'follower deleted', await followerOf(world))
    await deletePod(world, 'leader deleted', await leaderOf(world))
  },
}

export const nodeReady = async (world: World, node: string, wanted: boolean): Promise<string | undefined> => {
  const found = await world.target.api.get('nodes', '', node)
  const ready = found?.status?.conditions?.find((one) => one.type === 'Ready')?.status === 'True'
  return ready === wanted ? undefined : `${node} is ${ready ? 'ready' : 'not ready'}`
}

/** A node is gone; Kubernetes notices; it comes back. */
async function loseNode(
  world: World,
  what: string,
  pod: string,
  verbs: ['kill', 'start'] | ['cut', 'heal'],
): Promise<void> {
  const lab = world.target.lab!
  const node = await nodeOf(world, pod)
  const before = await containerOf(world, pod)
  let seen = 0
  const begin = performance.now()
  await event(
    world,
    `${what} (${node})`,
    () => lab.act(verbs[0], node),
    async () => {
      await waitFor(`${node} not ready`, 60, () => nodeReady(world, node, false))
      seen = performance.now() - begin
      await sleep(2000)
    },
    async () => `Kubernetes noticed after ${(seen / 1000).toFixed(1)} s`,
  ).finally(() => lab.act(verbs[1], node))
  await event(
    world,
    `${node} is back`,
    async () => {},
    async () => {
      await waitFor(`${node} ready`, 60, () => nodeReady(world, node, true))
      // Until the node has looked at its pods, they count as what they were before the cut.
      if (verbs[0] === 'kill') await restarted(world, pod, before, 3)
      else await whole(world, 3, 150)
    },
  )
}

export const power: Scenario = {
  name: 'power',
  what: 'the power of a node is cut: of a follower, then of the leader',
  usual: true,
  lab: true,
  minutes: 6,
  async run(world) {
    await loseNode(world, "power cut, a follower's node", await followerOf(world), ['kill', 'start'])
    await loseNode(world, "power cut, the leader's node", await leaderOf(world), ['kill', 'start'])
  },
}

/**
 * Asks a pod from its own node, where a network cut does not show: connect, then scrapes; prints what
 * came back.
 */
const ASK = `
const [address, at] = process.argv.slice(1)
const socket = require('node:dgram').createSocket('udp4')
let answers = 0
let ask = Buffer.from('0000041727101980000000005a5a5a5a', 'hex')
socket.on('message', (m) => {
  // A connect needs no leader; a scrape, with the ID that came of it, does.
  if (m.readUInt32BE(0) === 0) {
    ask = Buffer.alloc(36)
    m.copy(ask, 0, 8, 16)
    ask.writeUInt32BE(2, 8)
  } else {
    answers++
    console.log(Date.now(), m.readUInt32BE(0))
  }
})
const timer = setInterval(() => socket.send(ask, 6969, address), 200)
setTimeout(() => { clearInterval(timer); socket.close(); console.log('end', answers) }, Number(at))
`

export const cut: Scenario = {
  name: 'cut',
  what: "the network of the leader's node is cut: it must fall silent, another one must lead",
  usual: true,
  lab: true,
  minutes: 5,
  async run(world) {
    const lab = world.target.lab!
    const leader = await leaderOf(world)
    const node = await nodeOf(world, leader)
    const pod = await world.target.api.get('pods', NAMESPACE, leader)
    const address = String(pod?.status?.podIP)
    let stale: Promise<{ out: string }> | undefined
    let cutAt = 0
    await event(
      world,
      `network cut, the leader's node (${node})`,
      async () => {
        stale = runProgram([...lab.on(node), process.execPath, '-e', ASK, address, '14000'], {
          env: lab.env,
          timeoutMs: 30_000,
        })
        await sleep(1500)
        await lab.act('cut', node)
        cutAt = Date.now()
      },
      async () => {
        await waitFor('another leader', 60, async () => {
          const status = await statusOf(world)
          return status.leader !== undefined && status.leader !== leader
            ? undefined
            : `${status.leader} leads`
        })
        await waitFor(`${node} not ready`, 60, () => nodeReady(world, node, false))
        await stale
      },
    ).finally(() => lab.act('heal', node))
    const { out } = await stale!
    const times = [...out.matchAll(/^(\d{13}) /gm)].map((match) => Number(match[1]))
    if (!times.some((at) => at < cutAt))
      throw new Error('the leader did not answer its own node before the cut')
    // A lease is at most 0.9 x 19 ticks of 100 ms; what was read before may be sent a little later.
    const late = times.filter((at) => at > cutAt + 2500)
    if (late.length > 0)
      throw new Error(
        `the leader that was cut off answered ${late.length} times, last ${late.at(-1)! - cutAt} ms after the cut`,
      )
    world.say(`  the leader that was cut off answered last ${Math.max(...times) - cutAt} ms after the cut`)
    await event(
      world,
      `${node} is back`,
      async () => {},
      () => whole(world, 3, 150),
    )
  },
}

export const disk: Scenario = {
  name: 'disk',
  what: 'a replica loses its volume, and comes back as a newcomer in its place',
  usual: true,
  minutes: 4,
  async run(world) {
    const pod = await followerOf(world)
    const before = await statusOf(world)
    const idBefore = before.members?.find((one) => one.name === pod)?.id
    const claim = `data-${pod}`
    await event(
      world,
      `disk of ${pod} lost`,
      async () => {
        const found = await world.target.api.get('persistentvolumeclaims', NAMESPACE, claim)
        const volume = found?.spec?.volumeName
        await world.target.api.remove('persistentvolumeclaims', NAMESPACE, claim)
        await world.target.api.remove('pods', NAMESPACE, pod, true)
        if (world.target.lab !== undefined && typeof volume === 'string')
          rmSync(join(world.target.lab.state, 'volumes', volume), { recursive: true, force: true })
      },
      () =>
        waitFor(`${pod} is a new member`, 180, async () => {
          const status = await statusOf(world)
          const id = status.members?.find((one) => one.name === pod)?.id
          if (id === undefined || id === idBefore) return `${pod} is member ${id}, as before`
          return notWhole(world, 3)
        }),
    )
    if ((await statusOf(world)).clusterID !== before.clusterID) throw new Error('the cluster is another one')
  },
}

export const two: Scenario = {
  name: 'two',
  what: 'five replicas, two crash at once, the leader among them',
  usual: true,
  lab: true,
  minutes: 6,
  async run(world) {
    await event(
      world,
      '3 -> 5',
      () => setSpec(world, { replicas: 5 }),
      () => whole(world, 5, 180),
    )
    const lost = [await leaderOf(world), await followerOf(world)]
    const before = await Promise.all(lost.map((pod) => containerOf(world, pod)))
    await event(
      world,
      `${lost.join(' and ')} crash`,
      async () => {
        await Promise.all(lost.map((pod) => crash(world, pod)))
      },
      async () => {
        for (const [i, pod] of lost.entries()) await restarted(world, pod, before[i]!, 5)
      },
    )
    await event(
      world,
      '5 -> 3',
      () => setSpec(world, { replicas: 3 }),
      () => whole(world, 3, 180),
    )
  },
}

/**
 * All pods of the operator at once, as soon as its step count in status has moved a drawn number of times.
 */
async function killOperator(world: World): Promise<void> {
  const waitMs = 300 + world.random.below(6000)
  await sleep(waitMs)
  const found = await world.target.api.list('pods', NAMESPACE, 'app.kubernetes.io/name=skep-operator')
  await Promise.all(
    found.map(({ metadata }) => world.target.api.remove('pods', NAMESPACE, metadata.name, true)),
  )
  const { lastStep } = await statusOf(world)
  world.say(
    `  operator killed ${waitMs} ms after it began, after its step ${lastStep?.kind} (${lastStep?.reason})`,
  )
}

export const operator: Scenario = {
  name: 'operator',
  what: 'the operator is killed in the middle of growing, upgrading, replacing and shrinking',
  usual: true,
  minutes: 10,
  async run(world) {
    const { tag, next } = world.target.images
    const killed = async (what: string, begin: () => Promise<void>, replicas: number): Promise<void> => {
      let killing: Promise<void> | undefined
      await event(
        world,
        `${what}, operator killed`,
        async () => {
          await begin()
          killing = killOperator(world)
        },
        async () => {
          await killing
          await whole(world, replicas, 240)
        },
      )
    }
    await killed('3 -> 5', () => setSpec(world, { replicas: 5 }), 5)
    const leader = await leaderOf(world)
    await killed('leader deleted', () => world.target.api.remove('pods', NAMESPACE, leader), 5)
    await killed('5 -> 3', () => setSpec(world, { replicas: 3 }), 3)
    if (next !== undefined) {
      const killing = sleep(500).then(() => killOperator(world))
      await rollOut(world, next, 'rolling upgrade, operator killed')
      await killing
      await rollOut(world, tag, 'and back')
    }
  },
}

export const key: Scenario = {
  name: 'key',
  what: 'the network key is rotated; both are valid on the way',
  usual: true,
  minutes: 8,
  async run(world) {
    const rotation = `e2e-${world.random.below(1 << 30)}`
    const secret = async (): Promise<string> => {
      const found = (await world.target.api.get('secrets', NAMESPACE, `${CLUSTER}-network-key`)) as
        | { data?: Record<string, string> }
        | undefined
      return JSON.stringify(found?.data ?? {})
    }
    const before = await secret()
    await event(
      world,
      'network key rotated',
      () =>
        world.target.api.patch('trackerclusters', NAMESPACE, CLUSTER, {
          metadata: { annotations: { 'skep.dev/rotate-key': rotation } },
        }),
      () =>
        waitFor('the rotation done', 420, async () => {
          const { networkKey } = await statusOf(world)
          if (networkKey?.rotation !== rotation || networkKey.phase !== 'Done')
            return `it is ${networkKey?.phase} of ${networkKey?.rotation}`
          return notWhole(world, 3)
        }),
    )
    if ((await secret()) === before) throw new Error('the key is still the same')
  },
}
