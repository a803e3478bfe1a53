// Addresses of single replicas: a UDP client that knows nothing but one of them, as clients do that looked a
// name up hours ago, while that replica's node has lost its power. The client stands outside; a Service's
// cluster address, reached through the cluster's gateway, takes the place of a balancer's, which outlives
// nodes, too. Refuses: to judge by time; the silence is in the table.

import { setTimeout as sleep } from 'node:timers/promises'
import { type Lab, runProgram } from '../lab.ts'
import {
  CLUSTER,
  event,
  followerOf,
  leaderOf,
  NAMESPACE,
  nodeOf,
  type Scenario,
  setSpec,
  type World,
  waitFor,
  whole,
} from '../world.ts'
import { nodeReady } from './faults.ts'

/**
 * One socket, one address, for good: connects anew where it has no connection ID that is young enough, and
 * announces with it five times a second. At the end of its input it says how long no answer had come at most.
 */
const NAILED = `
const [address, forMs] = process.argv.slice(1)
const socket = require('node:dgram').createSocket('udp4')
let [id, idAt, last, longest, answers] = [null, 0, Date.now(), 0, 0]
const ask = (bytes) => socket.send(bytes, 6969, address)
socket.on('message', (m) => {
  const now = Date.now()
  if (m.readUInt32BE(0) === 0 && m.length === 16) [id, idAt] = [m.subarray(8, 16), now]
  else if (m.readUInt32BE(0) === 1) {
    answers++
    if (now - last > longest) longest = now - last
    last = now
  }
})
setInterval(() => {
  if (id === null || Date.now() - idAt > 60000) ask(Buffer.from('0000041727101980000000005a5a5a5a', 'hex'))
  if (id === null) return
  const m = Buffer.alloc(98)
  id.copy(m, 0)
  m.writeUInt32BE(1, 8)
  m.write('an address of a replica', 16, 20, 'latin1')
  m.write('-XX0001-nailedclient', 36, 20, 'latin1')
  m.writeBigUInt64BE(1n, 64)
  m.writeUInt32BE(7, 88)
  m.writeInt32BE(-1, 92)
  m.writeUInt16BE(6881, 96)
  ask(m)
}, 200)
process.stdin.resume().on('end', () => {
  console.log('longest', longest, 'answers', answers, 'last', Date.now() - last)
  process.exit(0)
})
setTimeout(() => process.exit(1), Number(forMs))
`

/** `stop` says the longest silence; rejects if the client was not answered both before and at the end. */
type Nailed = { stop(): Promise<number> }

/** Begins to announce at an address. */
function nail(lab: Lab, address: string): Nailed {
  const enough = Promise.withResolvers<void>()
  const command = [...lab.outside, process.execPath, '-e', NAILED, address, '300000']
  const done = runProgram(command, { env: lab.env, inputUntil: enough.promise, timeoutMs: 300_000 })
  return {
    async stop() {
      enough.resolve()
      const { out, err } = await done
      const said = /longest (\d+) answers (\d+) last (\d+)/.exec(out)
      if (said === null) throw new Error(`the client at ${address} said nothing: ${out} ${err}`)
      const [longest, answers, last] = said.slice(1).map(Number) as [number, number, number]
      if (answers === 0 || last > ANSWERED_MS)
        throw new Error(
          `the client at ${address} was answered ${answers} times, last ${last} ms before its end`,
        )
      return longest
    },
  }
}

/** An answer is not older than this at the end, milliseconds: five are asked for in a second. */
const ANSWERED_MS = 2000
const AFTERWARDS_MS = 4000

type ServiceSpec = { readonly clusterIP: string; readonly selector: Readonly<Record<string, string>> }

async function ownService(world: World, ordinal: string): Promise<ServiceSpec> {
  const name = `${CLUSTER}-udp-${ordinal}`
  const found = await world.target.api.get('services', NAMESPACE, name)
  if (found === undefined) throw new Error(`there is no Service ${name}`)
  return found.spec as unknown as ServiceSpec
}

const leadsTo = async (world: World, ordinal: string, home: boolean): Promise<string | undefined> => {
  const target = (await ownService(world, ordinal)).selector['statefulset.kubernetes.io/pod-name']
  return (target === `${CLUSTER}-${ordinal}`) === home
    ? undefined
    : `${CLUSTER}-udp-${ordinal} leads to ${target}`
}

/** The power of a replica's node is cut; its own address is answered by another one; and it comes home. */
async function lose(world: World, who: string, pod: string): Promise<void> {
  const lab = world.target.lab!
  const ordinal = pod.slice(CLUSTER.length + 1)
  const node = await nodeOf(world, pod)
  const { clusterIP } = await ownService(world, ordinal)
  const away = nail(lab, clusterIP)
  await sleep(AFTERWARDS_MS)
  let silence = ''
  const finish = async (client: Nailed): Promise<void> => {
    // What was turned is in force on each node a moment later.
    await sleep(AFTERWARDS_MS)
    const silenceMs = await client.stop()
    silence = `a UDP client that knows only ${pod}'s address: silence ${silenceMs} ms, then answered again`
  }
  const begin = performance.now()
  let noticed = ''
  await event(
    world,
    `power cut, ${who} ${pod} with its own address`,
    () => lab.act('kill', node),
    async () => {
      await waitFor('another replica in its place', 60, () => leadsTo(world, ordinal, false))
      noticed = `turned after ${((performance.now() - begin) / 1000).toFixed(1)} s`
      await waitFor(`${node} not ready`, 60, () => nodeReady(world, node, false))
      await finish(away)
    },
    async () => `${noticed}; ${silence}`,
  ).finally(() => lab.act('start', node))
  const back = nail(lab, clusterIP)
  await event(
    world,
    `${node} is back, the address leads home`,
    async () => {},
    async () => {
      await waitFor(`${node} ready`, 60, () => nodeReady(world, node, true))
      await waitFor('the address at home', 120, () => leadsTo(world, ordinal, true))
      await whole(world, 3, 120)
      await finish(back)
    },
    async () => silence,
  )
}

export const addresses: Scenario = {
  name: 'addresses',
  what: 'each replica has its own address; its node loses its power, and another one answers there',
  usual: true,
  lab: true,
  minutes: 8,
  async run(world) {
    await setSpec(world, { services: { perReplica: { enabled: true } } })
    await waitFor('a Service for each replica, at home', 30, async () => {
      for (const ordinal of ['0', '1', '2']) {
        const away = await leadsTo(world, ordinal, true)
        if (away !== undefined) return away
      }
      return undefined
    })
    await lose(world, 'a follower', await followerOf(world))
    await lose(world, 'the leader', await leaderOf(world))
    await setSpec(world, { services: { perReplica: { enabled: false } } })
    await waitFor('their Services gone', 60, async () => {
      const left = await world.target.api.list('services', NAMESPACE, 'skep.dev/part=own-udp')
      return left.length === 0 ? undefined : `${left.length} are left`
    })
  },
}
