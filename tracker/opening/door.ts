// The control API of a replica from its first moment on: what it says before there is a member behind it,
// draining, and the way from there to the whole of it. Refuses: everything but status, draining and stopping
// before the birth.

import { setTimeout as wait } from 'node:timers/promises'
import { State } from '@skep/wire/proto/gen/skep/cluster/v1/cluster_pb.js'
import type { TrackerConfig } from '../config/options.ts'
import { type Born, type Controlled, clusterRoutes, type StatusMessage } from '../control/cluster.ts'
import {
  type ControlCounts,
  type ControlServer,
  controlCounts,
  startControlServer,
} from '../control/server.ts'
import type { Probe } from '../http/health.ts'
import { controlToken, networkKeyName, type WatchedKeys } from '../keys/network-key.ts'
import type { ReplicaHandle } from '../replica-thread/handle.ts'
import { controlNamesOf } from './parts.ts'

/** What is behind the door once the replica is a member. */
export type Behind = Born & {
  status(): Promise<StatusMessage>
  readonly live: () => Probe
  readonly ready: () => Probe
  readonly replica: Pick<ReplicaHandle, 'drain'>
}

class Door implements Controlled {
  private readonly name: string
  private readonly version: string
  /** In force, whatever becomes of their file. */
  readonly keys: WatchedKeys
  private readonly early = new AbortController()
  private readonly asking = Promise.withResolvers<{ purge: boolean }>()
  private behind: Behind | null = null
  private awaited = 'the log is being read'
  /** The port it stands at; null: not yet open. */
  server: ControlServer | null = null
  /** Somebody is about to stop this replica: it is not ready, whatever it answers. */
  draining = false

  /** Somebody asked by it that this replica stop. */
  readonly asked: Promise<{ readonly purge: boolean }> = this.asking.promise
  /** Aborts then. */
  readonly stopped: AbortSignal = this.early.signal

  constructor(name: string, version: string, keys: WatchedKeys) {
    this.name = name
    this.version = version
    this.keys = keys
  }

  /** What is awaited before this replica is a member. '': nothing from outside. */
  note(sentence: string): void {
    this.awaited = sentence === '' ? 'the log is being read' : sentence
  }

  /** There is a member now. */
  open(behind: Behind): void {
    this.behind = behind
    if (this.draining) void behind.replica.drain(true).catch(() => {})
  }

  /** What happened at its port. */
  counts(): Readonly<ControlCounts> {
    return this.server?.counts ?? controlCounts()
  }

  born(): Born | null {
    return this.behind
  }

  awaits(): string {
    return this.behind === null ? this.awaited : ''
  }

  live(): Probe {
    return this.behind?.live() ?? { ok: true, reason: 'alive' }
  }

  ready(): Probe {
    return this.behind?.ready() ?? { ok: false, reason: this.awaited }
  }

  async status(): Promise<StatusMessage> {
    const { fault } = this.keys
    const own = { networkKeys: this.keys.keys.map(networkKeyName), draining: this.draining }
    const late = fault === '' ? [] : [`${fault}. The keys read before stay in force`]
    late.push(...(this.server?.warnings() ?? []))
    if (this.behind === null)
      return {
        ...own,
        name: this.name,
        version: this.version,
        uptimeSeconds: process.uptime(),
        state: State.STARTING,
        notReady: this.awaited,
        birthAwaits: this.awaited,
        warnings: late,
      }
    const status = await this.behind.status()
    return { ...status, ...own, warnings: [...(status.warnings ?? []), ...late] }
  }

  async drain(forMs: number, undo: boolean, signal: AbortSignal): Promise<string> {
    this.draining = !undo
    if (this.behind === null)
      return 'this replica is no member of a cluster yet: there is nothing to hand over'
    const came = await this.behind.replica.drain(!undo)
    if (undo) return came
    await wait(forMs, undefined, { signal, ref: false }).catch(() => {})
    return `${came}; this replica is not ready, and answers until it is stopped`
  }

  stop(purge: boolean): void {
    this.asking.resolve({ purge })
    this.early.abort()
  }
}

export type OpenDoor = Door & { readonly port: number; close(): Promise<void> }

/** Rejects with the error of `listen`. */
export async function openDoor(config: TrackerConfig, version: string, keys: WatchedKeys): Promise<OpenDoor> {
  const door = new Door(config.name, version, keys)
  let tokens = keys.keys.map(controlToken)
  keys.follow((now) => {
    tokens = now.map(controlToken)
  })
  const server = await startControlServer({
    ...config,
    names: controlNamesOf(config),
    tokens: () => tokens,
    routes: clusterRoutes(door),
    live: () => door.live(),
  })
  door.server = server
  return Object.assign(door, { port: server.port, close: () => server.stop() })
}
