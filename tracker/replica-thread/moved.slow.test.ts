// Replicas that are started again on other ports: threads of their own, over real sockets, TLS and disks.

import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { DEFAULT_SETTINGS } from '../swarm/settings.ts'
import { APPLIED } from '../threads/outcome.ts'
import { controlBuffer } from '../threads/state.ts'
import { FrontEnd, MEMORY, withDir } from './front-end.case.ts'
import { openReplica, type ReplicaHandle } from './handle.ts'

type One = {
  readonly name: string
  readonly address: string
  readonly handle: ReplicaHandle
  readonly front: FrontEnd
  readonly notes: string[]
}

const freePort = async (): Promise<number> => {
  const server = createServer()
  const port = await new Promise<number>((resolve) =>
    server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port)),
  )
  await new Promise((resolve) => server.close(resolve))
  return port
}

const KEY = 'a network key that is long enough for tests'

const start = async (dir: string, name: string, named: ReadonlyMap<string, number>): Promise<One> => {
  const control = controlBuffer()
  const front = new FrontEnd(control)
  const notes: string[] = []
  const address = `127.0.0.1:${named.get(name)}`
  const handle = await openReplica({
    ...{ dataDir: join(dir, name), name, fsync: 'always', logStore: 'classic-level', memoryBytes: MEMORY },
    ...{ peerDetails: false, birthSettings: DEFAULT_SETTINGS, control, producers: [front.buffers] },
    ...{ lingerMs: 1, snapshotLogBytes: 64 * 1024 * 1024, onNote: (sentence) => notes.push(sentence) },
    cluster: {
      ...{ address, host: '127.0.0.1', replicaPort: named.get(name)! },
      initialMembers: [...named].map(([n, port]) => ({ name: n, address: `127.0.0.1:${port}` })),
      ...{ join: null, learner: false, networkKeys: [KEY], keepaliveMs: 1000, missed: 2 },
      ...{ maxVoters: 5, promotes: true, preferHighest: false, allowFaults: true },
    },
  })
  void handle.failed.then((error) => {
    front.dead = error
  })
  return { name, address, handle, front, notes }
}

/** Three replicas; `run` may put others into `all`. */
const withThree = (run: (all: Map<string, One>, dir: string, ports: Map<string, number>) => Promise<void>) =>
  withDir(async (dir) => {
    const ports = new Map<string, number>()
    for (const name of ['r0', 'r1', 'r2']) ports.set(name, await freePort())
    const all = new Map<string, One>()
    try {
      await Promise.all([...ports.keys()].map(async (name) => all.set(name, await start(dir, name, ports))))
      await Promise.all([...all.values()].map((one) => one.handle.serving))
      await run(all, dir, ports)
    } finally {
      await Promise.all([...all.values()].map((one) => one.handle.stop({ purge: false }).catch(() => {})))
    }
  })

const leaderOf = async (all: ReadonlyMap<string, One>): Promise<One> => {
  for (;;) for (const one of all.values()) if ((await one.handle.status()).role === 'leader') return one
}

let hash = 1
/** Every replica takes changes, and has everybody connected where they are now. */
const whole = async (all: ReadonlyMap<string, One>): Promise<void> => {
  await Promise.all([...all.values()].map((one) => one.handle.serving))
  const h = ++hash
  await Promise.all(
    [...all.values()].map(async (one, i) => {
      for (const [, , outcome] of await one.front.join(h, i * 10, 5)) assert.equal(outcome, APPLIED)
    }),
  )
  const right = new Map([...all.values()].map((one) => [one.name, one.address]))
  for (const one of all.values())
    for (;;) {
      const { members, moved } = await one.handle.status()
      const there = members.every((m) => m.self || m.way === 'connected')
      if (there && moved.length === 0 && members.every((m) => m.address === right.get(m.name))) break
    }
}

for (const [what, whom] of [
  ['a follower', (leader: string, names: string[]) => names.filter((n) => n !== leader).slice(0, 1)],
  ['the leader', (leader: string) => [leader]],
  ['both followers at once', (leader: string, names: string[]) => names.filter((n) => n !== leader)],
  [
    'the leader and a follower at once',
    (leader: string, names: string[]) => [leader, names.find((n) => n !== leader)!],
  ],
] as const)
  test(`${what} comes back on another port, and the cluster is whole again`, () =>
    withThree(async (all, dir, ports) => {
      const leader = await leaderOf(all)
      const names = whom(leader.name, [...all.keys()])
      await Promise.all(names.map((name) => all.get(name)!.handle.stop({ purge: false })))
      for (const name of names) {
        const port = await freePort()
        // The others' command lines know nothing of it.
        all.set(name, await start(dir, name, new Map([...ports, [name, port]])))
      }
      await whole(all)
      for (const name of names) {
        const { address, notes } = all.get(name)!
        const said = new RegExp(`${name} (is )?at ${address} now`)
        assert.ok(
          notes.some((n) => said.test(n)),
          notes.join(),
        )
        for (const one of all.values())
          if (!names.includes(one.name))
            assert.ok(
              one.notes.some((n) => said.test(n)),
              one.notes.join(),
            )
      }
      // It is in the log: who starts again knows it without being told.
      const back = names[0]!
      await all.get(back)!.handle.stop({ purge: false })
      all.set(
        back,
        await start(dir, back, new Map([...ports, [back, Number(all.get(back)!.address.split(':')[1])]])),
      )
      await whole(all)
      assert.deepEqual(
        all.get(back)!.notes.filter((n) => / is at /.test(n)),
        [],
      )
    }))

test('all come back on other ports, and find each other by the new --initial-members', () =>
  withThree(async (all, dir) => {
    await Promise.all([...all.values()].map((one) => one.handle.stop({ purge: false })))
    const ports = new Map<string, number>()
    for (const name of all.keys()) ports.set(name, await freePort())
    await Promise.all([...ports.keys()].map(async (name) => all.set(name, await start(dir, name, ports))))
    await whole(all)
  }))
