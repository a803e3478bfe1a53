// All reading: caches, the network key, and what each replica says of itself, made into plain data
// (model/facts.ts). Refuses: opinions, and to fail because a replica does not answer; its last answer counts
// with its age.

import { hkdfSync } from 'node:crypto'
import { networkKeyName } from '@skep/wire/network-key.ts'
import { readConfig } from './desired/config.ts'
import { difference } from './desired/drift.ts'
import { desiredObjects, type There } from './desired/objects.ts'
import { keysOf } from './desired/secret.ts'
import { volumeTemplateOf } from './desired/statefulset.ts'
import type { Drift, KeySeen, MemberSeen, ObjectKind, Observed, PodSeen } from './model/facts.ts'
import { CLUSTER_LABEL, identity } from './model/labels.ts'
import { configName, keyName, udpName } from './model/names.ts'
import type { Api, KubeObject, MemberAddress } from './model/ports.ts'
import { settle, withRepository } from './model/settle.ts'
import type { Decided } from './model/steps.ts'
import type { TrackerCluster } from './model/types.ts'
import {
  claimSeen,
  jobSeen,
  ownServiceSeen,
  podSeen,
  readyEndpoints,
  serviceSeen,
  statefulSetSeen,
} from './observe-objects.ts'
import { decide } from './plan/decided.ts'
import { type Memory, memoryOf, type World } from './world.ts'

const SERVICE_OF_SLICE = 'kubernetes.io/service-name'

export const observe = async (world: World, wished: TrackerCluster): Promise<Observed> => {
  const { api, version, repository } = world
  const resource = withRepository(wished, repository)
  const { name, namespace } = resource.metadata
  const memory = memoryOf(world, resource)
  const replicas = identity(name, 'replica')
  const set = ownObject(api, resource, 'StatefulSet', name)
  const config = ownObject(api, resource, 'ConfigMap', configName(name))
  const pods = api.list('Pod', namespace, replicas).filter((p) => isOf(p, set?.metadata.uid ?? null))
  const key = await readKey(api, resource, memory)
  const podsSeen = pods.flatMap((p) => podSeen(name, p) ?? [])
  const seen: Omit<Observed, 'drift'> = {
    resource,
    // Looked at before anybody is asked: the caches may catch up meanwhile, but what was read above does not.
    stale: staleness(world, memory),
    failure: memory.failure,
    config: config === null ? null : readConfig(config),
    key,
    statefulSet: set === null ? null : statefulSetSeen(set),
    pods: podsSeen,
    claims: api.list('PersistentVolumeClaim', namespace, replicas).flatMap((c) => claimSeen(name, c) ?? []),
    services: (['udp', 'http'] as const).flatMap((part) =>
      api.list('Service', namespace, identity(name, part)).map((s) => serviceSeen(s, part)),
    ),
    ownServices: (['own-udp', 'own-http'] as const).flatMap((part) =>
      api
        .list('Service', namespace, identity(name, part))
        .filter((s) => isOf(s, resource.metadata.uid))
        .flatMap((s) => ownServiceSeen(name, s) ?? []),
    ),
    jobs: api.list('Job', namespace, identity(name, 'job')).flatMap((j) => jobSeen(j) ?? []),
    members: await askAll(world, resource, pods, podsSeen, memory),
    endpointsReady: readyEndpoints(
      api.list('EndpointSlice', namespace, { [CLUSTER_LABEL]: name, [SERVICE_OF_SLICE]: udpName(name) }),
    ),
    version,
  }
  return { ...seen, drift: drift(world, resource, decide(seen)) }
}

const staleness = (world: World, memory: Memory): string | null => {
  const silent = world.api.silent()
  if (silent !== null) return `${silent}: its watch is silent`
  return memory.written.behind(world.api, world.nowMs())
}

/**
 * Of the cache. One that is on its way out, or of an earlier resource of the same name, counts as absent
 * until it is gone.
 */
const ownObject = (
  api: Api,
  { metadata }: TrackerCluster,
  kind: ObjectKind,
  name: string,
): KubeObject | null => {
  const object = api.cached(kind, metadata.namespace, name)
  if (object === null || object.metadata.deletionTimestamp !== undefined) return null
  return isOf(object, metadata.uid) ? object : null
}

/** What nobody controls is ours, too: it has our name and label, and is adopted. */
const isOf = (object: KubeObject, uid: string | null): boolean => {
  const owner = object.metadata.ownerReferences?.find((o) => o.controller === true)
  return owner === undefined || owner.uid === uid
}

/** What is there and no wish can change, for desired/. */
export const thereIs = (api: Api, resource: TrackerCluster): There => {
  const { name } = resource.metadata
  const set = ownObject(api, resource, 'StatefulSet', name)
  const secret = ownObject(api, resource, 'Secret', keyName(name))
  return {
    volumeTemplate: set === null ? null : volumeTemplateOf(set),
    keys: secret === null ? null : keysOf(secret, settle(resource.spec, '').networkKey.key),
  }
}

const drift = ({ api, version }: World, resource: TrackerCluster, decided: Decided): Drift[] => {
  const wanted = desiredObjects(
    resource,
    settle(resource.spec, version),
    decided,
    thereIs(api, resource),
    () => '',
  )
  return wanted.flatMap((object): Drift[] => {
    const kind = object.kind as ObjectKind
    const { name } = object.metadata
    const there = ownObject(api, resource, kind, name)
    if (there === null) return [{ kind, name, absent: true }]
    // A network key is only ever changed by its rotation.
    return kind === 'Secret' || difference(object, there) === null ? [] : [{ kind, name, absent: false }]
  })
}

const readKey = async (api: Api, resource: TrackerCluster, memory: Memory): Promise<KeySeen | null> => {
  const { name, namespace } = resource.metadata
  const { secretName, key } = settle(resource.spec, '').networkKey
  const made = secretName === undefined
  const secret = made
    ? ownObject(api, resource, 'Secret', keyName(name))
    : // Somebody else's: without our label it is in no cache.
      await api.get('Secret', namespace, secretName)
  if (secret === null) return null
  const { lines, rotation, phase } = keysOf(secret, key)
  if (lines.length > 0) memory.keys = lines
  return {
    secretName: secret.metadata.name,
    made,
    names: lines.map((line) => networkKeyName(line, hkdfSync)),
    rotation,
    phase,
  }
}

const askAll = async (
  world: World,
  resource: TrackerCluster,
  pods: readonly KubeObject[],
  podsSeen: readonly PodSeen[],
  memory: Memory,
): Promise<MemberSeen[]> => {
  const names = new Set(podsSeen.map((p) => p.name))
  for (const name of memory.heard.keys()) if (!names.has(name)) memory.heard.delete(name)
  const asked = podsSeen.map(async (pod): Promise<MemberSeen> => {
    const address = addressOf(resource, pods.find((p) => p.metadata.uid === pod.uid)!)
    if (address !== null && pod.phase === 'Running') await ask(world, address, memory)
    const heard = memory.heard.get(pod.name)
    return {
      pod: pod.name,
      ordinal: pod.ordinal,
      podUid: heard?.podUid ?? pod.uid,
      ageMs: heard?.report == null ? Number.POSITIVE_INFINITY : Math.max(0, world.nowMs() - heard.atMs),
      report: heard?.report ?? null,
      error: heard?.error ?? 'it does not run',
    }
  })
  return Promise.all(asked)
}

const ask = async (world: World, address: MemberAddress, memory: Memory): Promise<void> => {
  try {
    const report = await world.members.status(address)
    memory.heard.set(address.pod, { podUid: address.podUid, report, atMs: world.nowMs(), error: '' })
  } catch (cause) {
    const before = memory.heard.get(address.pod)
    const error = cause instanceof Error ? cause.message : String(cause)
    memory.heard.set(
      address.pod,
      before?.podUid === address.podUid
        ? { ...before, error }
        : { podUid: address.podUid, report: null, atMs: world.nowMs(), error },
    )
  }
}

/** null: the pod has no address yet. */
export const addressOf = (resource: TrackerCluster, pod: KubeObject): MemberAddress | null => {
  const ip = (pod.status as { podIP?: string } | undefined)?.podIP ?? ''
  const { name, namespace } = resource.metadata
  if (ip === '') return null
  return { pod: pod.metadata.name, podUid: pod.metadata.uid ?? '', ip, namespace, cluster: name }
}
