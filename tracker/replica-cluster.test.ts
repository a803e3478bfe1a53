// Three replicas in threads of their own, over real sockets, TLS and disks, with front ends by hand.

import assert from 'node:assert/strict'
import { readdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { FrontEnd, MEMORY, seeders, withDir } from './replica.case.ts'
import { openReplica, type ReplicaHandle, type ReplicaOptions } from './replica-handle.ts'
import { controlBuffer, monotonicMs } from './shared/control.ts'
import { APPLIED } from './shared/outcome.ts'
import { settingsEntry } from './swarm/entry.ts'
import { DEFAULT_SETTINGS, readSettings } from './swarm/settings.ts'
import { Store } from './swarm/store.ts'

type One = { readonly name: string; readonly handle: ReplicaHandle; readonly front: FrontEnd }

const freePorts = async (count: number): Promise<number[]> => {
  const servers = Array.from({ length: count }, () => createServer())
  const ports = await Promise.all(
    servers.map(
      (s) =>
        new Promise<number>((resolve) =>
          s.listen(0, '127.0.0.1', () => resolve((s.address() as { port: number }).port)),
        ),
    ),
  )
  await Promise.all(servers.map((s) => new Promise((resolve) => s.close(resolve))))
  return ports
}

class Group {
  readonly dir: string
  readonly ports: readonly number[]
  readonly notes: string[] = []
  private constructor(dir: string, ports: readonly number[]) {
    this.dir = dir
    this.ports = ports
  }
  static async in(dir: string, ports: number): Promise<Group> {
    await writeFile(join(dir, 'key'), 'a network key that is long enough for tests\n')
    return new Group(dir, await freePorts(ports))
  }
  async start(
    i: number,
    voters: number,
    change: Partial<NonNullable<ReplicaOptions['cluster']>> = {},
  ): Promise<One> {
    const control = controlBuffer()
    const front = new FrontEnd(control)
    const address = (n: number): string => `127.0.0.1:${this.ports[n]}`
    const handle = await openReplica({
      dataDir: join(this.dir, `r${i}`),
      name: `r${i}`,
      fsync: 'always',
      logStore: 'classic-level',
      memoryBytes: MEMORY,
      peerDetails: false,
      birthSettings: DEFAULT_SETTINGS,
      control,
      producers: [front.buffers],
      lingerMs: 1,
      snapshotLogBytes: 64 * 1024 * 1024,
      onNote: (sentence) => this.notes.push(`r${i}: ${sentence}`),
      cluster: {
        address: address(i),
        host: '127.0.0.1',
        replicaPort: this.ports[i]!,
        initialMembers: Array.from({ length: voters }, (_, n) => ({ name: `r${n}`, address: address(n) })),
        join: null,
        learner: false,
        networkKeyFile: join(this.dir, 'key'),
        keepaliveMs: 300,
        missed: 2,
        maxVoters: 5,
        promotes: true,
        preferHighest: false,
        allowFaults: true,
        ...change,
      },
    })
    void handle.failed.then((error) => {
      front.dead = error
    })
    return { name: `r${i}`, handle, front }
  }
}

const applied = async (one: One, hash: number, first: number, count: number): Promise<void> => {
  for (const [, , outcome] of await one.front.join(hash, first, count)) assert.equal(outcome, APPLIED)
}

test('three replicas form a cluster, answer each its own clients, and move leadership on request', () =>
  withDir(async (dir) => {
    const group = await Group.in(dir, 4)
    const all = await Promise.all([0, 1, 2].map((i) => group.start(i, 3)))
    await Promise.all(all.map((one) => one.handle.serving))
    for (let round = 0; round < 10; round++)
      await Promise.all(all.map((one, i) => applied(one, 7, (i * 10 + round) * 20, 20)))
    const statuses = await Promise.all(all.map((one) => one.handle.status()))
    assert.equal(new Set(statuses.map((s) => s.clusterId)).size, 1)
    const leader = all[statuses.findIndex((s) => s.role === 'leader')]!
    assert.equal(seeders(leader.handle, 7), 600)
    const followers = all.filter((one) => one !== leader)
    assert.equal(await leader.handle.propose(settingsEntry({ numwantDefault: 33 })), 'committed')

    const reply = await leader.handle.members({ kind: 'transfer', to: followers[0]!.name })
    assert.ok(reply.ok, reply.sentence)
    await Promise.all(all.map((one, i) => applied(one, 8, i * 20, 20)))
    assert.equal((await followers[0]!.handle.status()).role, 'leader')
    const no = await leader.handle.members({ kind: 'transfer', to: leader.name })
    assert.match(no.sentence, /does not lead: ask/)
    const events = await followers[0]!.handle.events(0)
    assert.ok(events.some((e) => e.kind === 'elected'))

    // A fourth one joins, learns and is in time.
    const late = await group.start(3, 0, { join: [`127.0.0.1:${group.ports[0]}`], initialMembers: [] })
    await late.handle.serving
    await applied(late, 9, 0, 20)
    assert.equal(seeders(late.handle, 7), 600)
    assert.equal(readSettings(new Store(late.handle.store).control).numwantDefault, 33)
    // It leaves the group before it deletes what it has.
    await late.handle.stop({ purge: true })
    assert.deepEqual(await readdir(join(dir, 'r3', 'replica')), [])
    assert.equal((await followers[0]!.handle.status()).members.length, 3)

    // The leader stops cleanly: the others go on without a pause.
    await followers[0]!.handle.stop({ purge: false })
    await Promise.all([leader, followers[1]!].map((one, i) => applied(one, 10, i * 20, 20)))
    await Promise.all([leader, followers[1]!].map((one) => one.handle.stop({ purge: false })))
  }))

test('the leader is cut off: its lease ends, the others go on, and what waited there is answered in the end', () =>
  withDir(async (dir) => {
    const group = await Group.in(dir, 3)
    const quick = { keepaliveMs: 100 }
    const all = await Promise.all([0, 1, 2].map((i) => group.start(i, 3, quick)))
    await Promise.all(all.map((one) => one.handle.serving))
    await Promise.all(all.map((one, i) => applied(one, 7, i * 20, 20)))
    const statuses = await Promise.all(all.map((one) => one.handle.status()))
    const old = all[statuses.findIndex((s) => s.role === 'leader')]!
    const others = all.filter((one) => one !== old)
    const untilMs = monotonicMs() + 1200
    for (const m of statuses[0]!.members)
      if (m.name !== old.name) assert.ok(await old.handle.fault(m.id, { cut: 'both', untilMs }))
    const waits = old.front.join(8, 0, 5)
    // Answered through whoever leads next; the old leader may not even know.
    await Promise.all(others.map((one, i) => applied(one, 9, i * 20, 20)))
    const terms = await Promise.all(others.map(async (one) => (await one.handle.status()).term))
    assert.ok(terms[0]! > statuses[0]!.term)
    if (monotonicMs() < untilMs) assert.equal(old.front.control.mayAnswer(monotonicMs()), false)
    for (const [, , outcome] of await waits) assert.equal(outcome, APPLIED)
    for (const one of all) assert.equal(seeders(one.handle, 9), 40)
    await Promise.all(all.map((one) => one.handle.stop({ purge: false })))
  }))
