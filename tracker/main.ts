// A replica from start to stop, as a story: which threads there are, who talks to whom, what ends what.
// Refuses: deciding anything about data; and half a replica: if one part fails, all end.

import type { Source } from '@skep/cli/layers.ts'
import { accessFiles } from './access/lists.ts'
import type { ConfigKey, TrackerConfig } from './config/options.ts'
import { changesOf } from './control/changes.ts'
import { elsewhere } from './control/members.ts'
import { startHttp } from './http/server.ts'
import type { Logger } from './log.ts'
import { openDoor } from './opening/door.ts'
import { openFolder } from './opening/folder.ts'
import { openHealth } from './opening/health.ts'
import { openMember } from './opening/member.ts'
import { birthWarnings, bufferWarnings, httpLimitsOf, sharedMemoryOf, udpOptionsOf } from './opening/parts.ts'
import { startReport } from './stats/report.ts'
import type { Settings } from './swarm/settings.ts'
import { Store } from './swarm/store.ts'
import { startUdpWorkers } from './udp/start.ts'

export type Running = {
  readonly ports: {
    readonly udp: number
    readonly http: number
    readonly control: number
    /** Of probes; 0: they have none of their own. */
    readonly health: number
  }
  /** The addresses really listened on. */
  readonly hosts: readonly string[]
  readonly networkKey: { readonly path: string; readonly made: boolean }
  readonly warnings: readonly string[]
  /** In force now, whatever the options say. */
  settings(): Settings
  /** Announces are answered. */
  readonly serving: Promise<void>
  /** Somebody asked by the control API that this replica stop. */
  readonly asked: Promise<{ readonly purge: boolean }>
  /** Why this replica is no member of its cluster any more; '' while it is one. */
  removed(): string
  /** Resolves with the reason when any part ends by itself. */
  readonly failed: Promise<Error>
  stop(options: { readonly purge: boolean }): Promise<void>
}

export type RunOptions = {
  readonly config: TrackerConfig
  readonly sources: ReadonlyMap<ConfigKey, Source>
  /** Addresses to listen on: the configured ones that this machine has a family for. */
  readonly hosts: readonly string[]
  readonly version: string
  readonly log: Logger
  /** Ends a start that still waits for other replicas. */
  readonly signal: AbortSignal
}

/** Rejects when a part cannot start; what had started is stopped first. */
export async function run({ config, sources, hosts, version, log, signal }: RunOptions): Promise<Running> {
  const stops: ((purge: boolean) => unknown)[] = []
  const stop = async (purge: boolean): Promise<void> => {
    for (const each of stops.splice(0).reverse()) await each(purge)
  }
  try {
    // The data folder, for this user alone, and in it the cluster's secret: nobody could ask without it.
    const networkKey = await openFolder(config, log, signal)
    const lists = await accessFiles(config, log, signal)
    stops.push(networkKey.stop, lists.stop)

    // The control API is there from now on, for whoever has the token: it can tell what is awaited. It goes
    // last, so that Stop itself is answered.
    const door = await openDoor(config, version, networkKey.watched)
    stops.push(() => door.close())

    // Probes have a port and a thread of their own: nothing that is done here keeps them waiting.
    const probes = () => ({ live: door.live(), ready: door.ready() })
    const health = await openHealth(config, sources, hosts, probes)
    stops.push(health.close)

    // What all threads share: a few control words, and three rings for each front end.
    const { buffer, control, workers, producer, useDgram } = await sharedMemoryOf(config)

    // The replica thread: Raft, the log, the other replicas, and the only writer of the swarm table.
    const producers = [...workers, producer]
    const opening = { config, hosts, version, log, signal, door, control: buffer, producers, lists }
    const { replica, httpPort } = await openMember(opening)
    stops.push((purge) => replica.stop({ purge }))
    const store = new Store(replica.store)
    const shared = { store: replica.store, buffers: replica.store, control: buffer, hosts, version }

    // UDP workers answer from the table, and park what changes it.
    const udp = await startUdpWorkers({ ...shared, ...udpOptionsOf(config), producers: workers, useDgram })
    stops.push(() => udp.stop())

    // What it says of itself: counters, status, probes; and what is done once a second.
    const warnings = [
      ...[networkKey, health].flatMap((part) => part.warnings),
      ...bufferWarnings(config, udp.receiveBufferBytes),
      ...birthWarnings(config, sources, store),
    ]
    const report = startReport({
      config,
      version,
      store,
      control,
      replica,
      ...{ udp: udp.counters, floods: udp.floods },
      controlApi: () => door.counts(),
      log,
      warnings,
      drained: () => door.draining,
      listFaults: lists.faults,
    })
    stops.push(report.stop)

    // HTTP shares the main thread: the same answers, and pages for people and probes.
    const limits = { ...httpLimitsOf(config), port: httpPort, udpPort: udp.port }
    const http = await startHttp({ ...config, ...shared, ...report.pages, ...limits, producer })
    report.countHttp(() => http.counters(), { udpPort: udp.port, httpPort: http.port })
    stops.push(() => http.stop())

    // All of the control API.
    const changes = changesOf(store, replica.propose, () => elsewhere(replica))
    const { snapshot, save } = replica
    const { status, live } = report
    const { ready } = report.pages
    door.open({ changes, members: replica, replica, snapshot, save, status, live, ready })

    return {
      ports: { udp: udp.port, http: http.port, control: door.port, health: health.port },
      hosts: http.hosts,
      networkKey,
      warnings,
      serving: replica.serving,
      settings: () => store.settings,
      asked: door.asked,
      removed: replica.removed,
      failed: Promise.race([replica.failed, udp.failed, http.failed, health.failed]),
      stop: ({ purge }) => stop(purge),
    }
  } catch (error) {
    await stop(false)
    throw error
  }
}
