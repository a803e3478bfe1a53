// A world for tests of single passes: the API server in memory, its caches always up to date, and what was
// told as events. Refuses: faults and replicas; the simulator has those.

import { type Api, ApiError, type KubeObject, TOO_MANY } from './model/ports.ts'
import { Server } from './sim/server.ts'
import type { World } from './world.ts'

export type TestWorld = World & {
  readonly server: Server
  /** `reason: message`, and writes as `apply Kind name`, `delete Kind name`, `evict name`, in order. */
  readonly done: string[]
  /** Evictions are refused, as a disruption budget does. */
  full: boolean
  now: number
}

export const testWorld = (): TestWorld => {
  const done: string[] = []
  const server = new Server(() => new Date(world.now).toISOString())
  const api: Api = {
    list: (kind, namespace, labels = {}) =>
      server
        .list(kind)
        .filter((o) => o.metadata.namespace === namespace)
        .filter((o) => Object.entries(labels).every(([key, value]) => o.metadata.labels?.[key] === value)),
    cached: (kind, namespace, name) => server.get(kind, namespace, name),
    silent: () => null,
    get: async (kind, namespace, name) => server.get(kind, namespace, name),
    async apply(object) {
      done.push(`apply ${object.kind} ${object.metadata.name}`)
      return server.apply(JSON.parse(JSON.stringify(object)) as KubeObject)
    },
    patchMetadata: async (kind, namespace, name, metadata) =>
      server.patchMetadata(kind, namespace, name, metadata as Record<string, unknown>),
    putStatus: async (object, status) => server.putStatus(object, status),
    async delete(kind, namespace, name, options) {
      done.push(`delete ${kind} ${name}${options.force === true ? ' by force' : ''}`)
      server.delete(kind, namespace, name, options)
    },
    async evict(namespace, pod, uid) {
      if (world.full) throw new ApiError(TOO_MANY, 'the disruption budget forbids it')
      done.push(`evict ${pod}`)
      server.delete('Pod', namespace, pod, { uid })
    },
    async event({ reason, message }) {
      done.push(`${reason}: ${message}`)
    },
  }
  const answer = async () => ({ kind: 'done' as const, sentence: '' })
  let keys = 0
  const world: TestWorld = {
    api,
    members: {
      status: () => Promise.reject(new Error('nobody is there')),
      promote: answer,
      demote: answer,
      remove: answer,
      transfer: answer,
      drain: answer,
    },
    nowMs: () => world.now,
    makeKey: () => `key-${++keys}-`.padEnd(40, 'k'),
    repository: 'registry.example/skep',
    version: '1.2.0',
    memories: new Map(),
    server,
    done,
    full: false,
    now: Date.parse('2026-01-03T12:00:00Z'),
  }
  return world
}

/** A TrackerCluster called demo in the namespace ns, as it is on the server. */
export const putCluster = ({ server }: TestWorld, spec: object = {}, status?: object): KubeObject => {
  server.create({
    apiVersion: 'skep.dev/v1alpha1',
    kind: 'TrackerCluster',
    metadata: { name: 'demo', namespace: 'ns' },
    spec: spec as Record<string, unknown>,
    ...(status === undefined ? {} : { status: status as Record<string, unknown> }),
  })
  return server.get('TrackerCluster', 'ns', 'demo')!
}

/** Pods of demo that run and have addresses. */
export const putPods = ({ server }: TestWorld, n: number): void => {
  for (let i = 0; i < n; i++)
    server.create({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name: `demo-${i}`,
        namespace: 'ns',
        labels: { 'skep.dev/cluster': 'demo', 'skep.dev/part': 'replica' },
      },
      spec: {},
      status: { phase: 'Running', podIP: `10.0.0.${i + 1}` },
    })
}
