// Replicas in threads of their own, over real sockets, TLS and disks, with front ends by hand.
// Refuses: to be run by itself.

import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { DEFAULT_SETTINGS } from '../swarm/settings.ts'
import { APPLIED } from '../threads/outcome.ts'
import { controlBuffer } from '../threads/state.ts'
import { FrontEnd, MEMORY, withDir } from './front-end.case.ts'
import { openReplica, type ReplicaHandle } from './handle.ts'
import type { ReplicaOptions } from './messages.ts'

export type One = { readonly name: string; readonly handle: ReplicaHandle; readonly front: FrontEnd }

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

const KEY = 'a network key that is long enough for tests'

export class Group {
  readonly dir: string
  readonly ports: readonly number[]
  readonly notes: string[] = []
  private readonly handles: ReplicaHandle[] = []
  private constructor(dir: string, ports: readonly number[]) {
    this.dir = dir
    this.ports = ports
  }
  static async in(dir: string, ports: number): Promise<Group> {
    return new Group(dir, await freePorts(ports))
  }
  /** After a failure: nothing is left that would keep the process. */
  abandon(): void {
    for (const handle of this.handles) void handle.stop({ purge: false }).catch(() => {})
  }
  async start(
    i: number,
    voters: number,
    change: Partial<NonNullable<ReplicaOptions['cluster']>> = {},
    dataDir = join(this.dir, `r${i}`),
  ): Promise<One> {
    const control = controlBuffer()
    const front = new FrontEnd(control)
    const address = (n: number): string => `127.0.0.1:${this.ports[n]}`
    const handle = await openReplica({
      dataDir,
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
      version: `1.2.${i}`,
      controlAddress: `127.0.0.1:${i}`,
      onNote: (sentence) => this.notes.push(`r${i}: ${sentence}`),
      cluster: {
        address: address(i),
        host: '127.0.0.1',
        replicaPort: this.ports[i]!,
        initialMembers: Array.from({ length: voters }, (_, n) => ({ name: `r${n}`, address: address(n) })),
        join: null,
        learner: false,
        networkKeys: [KEY],
        keepaliveMs: 300,
        missed: 2,
        maxVoters: 5,
        promotes: true,
        preferHighest: false,
        allowFaults: true,
        ...change,
      },
    })
    this.handles.push(handle)
    void handle.failed.then((error) => {
      front.dead = error
    })
    return { name: `r${i}`, handle, front }
  }
}

export const withGroup = (ports: number, run: (group: Group, dir: string) => Promise<void>): Promise<void> =>
  withDir(async (dir) => {
    const group = await Group.in(dir, ports)
    await run(group, dir).catch((error: unknown) => {
      group.abandon()
      throw error
    })
  })

export const applied = async (one: One, hash: number, first: number, count: number): Promise<void> => {
  for (const [, , outcome] of await one.front.join(hash, first, count)) assert.equal(outcome, APPLIED)
}
