// A pass over one TorrentPolicy: read its list, make the cluster's list the same (at the leader), look on how
// many replicas it is in force, say so. When the policy is deleted the list is turned off. Refuses: to merge;
// one policy a list, the oldest.

import { counted } from '@skep/wire/words.ts'
import type { AccessSeen, Lists } from './lists.ts'
import type { KubeObject, MemberAddress } from './model/ports.ts'
import type { Condition, TorrentPolicy, TrackerCluster } from './model/types.ts'
import { rfc3339 } from './model/units.ts'
import { addressOf } from './observe.ts'
import { elderOf, wishedList } from './policy-list.ts'
import { writeIfNew } from './status.ts'
import { replicasOf, type World } from './world.ts'

const POLICY_FINALIZER = 'skep.dev/policy'
const AGAIN_MS = 5000
/** `skep ctl access` may change the list as well: it is put right so often. */
const LOOK_MS = 60_000

type Said = { readonly ok: boolean; readonly reason: string; readonly message: string }
type Outcome = {
  readonly said: Said
  readonly more: Partial<NonNullable<TorrentPolicy['status']>>
  readonly againMs: number
  /** The policy, where it was written on the way. */
  readonly written: KubeObject | null
}

/** When to come again, milliseconds; null: it is gone. */
export const reconcilePolicy = async (
  world: World,
  lists: Lists,
  namespace: string,
  name: string,
): Promise<number | null> => {
  const found = world.api.cached('TorrentPolicy', namespace, name)
  if (found === null) return null
  const policy = found as unknown as TorrentPolicy
  const cluster = world.api.cached('TrackerCluster', namespace, policy.spec.clusterName)
  const resource = cluster === null ? null : (cluster as unknown as TrackerCluster)
  if (policy.metadata.deletionTimestamp !== undefined) return await retire(world, lists, policy, resource)
  const { said, more, againMs, written } = await enforce(world, lists, policy, resource)
  const condition: Condition = {
    type: 'Ready',
    status: said.ok ? 'True' : 'False',
    reason: said.reason,
    message: said.message,
    observedGeneration: policy.metadata.generation,
    lastTransitionTime: sinceOf(policy, said.ok) ?? rfc3339(world.nowMs()),
  }
  const status = { ...more, observedGeneration: policy.metadata.generation, conditions: [condition] }
  const before = policy.status?.conditions?.find((c) => c.type === 'Ready')
  if (before?.reason !== said.reason)
    await world.api.event({
      about: found,
      type: said.ok ? 'Normal' : 'Warning',
      reason: said.reason,
      message: said.message,
    })
  await writeIfNew(world, written ?? found, status)
  return againMs
}

const sinceOf = ({ status }: TorrentPolicy, ok: boolean): string | undefined => {
  const before = status?.conditions?.find((c) => c.type === 'Ready')
  return (before?.status === 'True') === ok ? before?.lastTransitionTime : undefined
}

const enforce = async (
  world: World,
  lists: Lists,
  policy: TorrentPolicy,
  cluster: TrackerCluster | null,
): Promise<Outcome> => {
  const { namespace, finalizers = [] } = policy.metadata
  const not = (reason: string, message: string, againMs = AGAIN_MS): Outcome => ({
    said: { ok: false, reason, message },
    more: {},
    againMs,
    written: null,
  })
  if (cluster === null) return not('NoCluster', `there is no TrackerCluster ${policy.spec.clusterName}`)
  const all = world.api.list('TorrentPolicy', namespace) as unknown as readonly TorrentPolicy[]
  const elder = elderOf(policy, all)
  if (elder !== null)
    return not('Conflict', `TorrentPolicy ${elder.metadata.name} is older and for the same list`, LOOK_MS)
  const texts = await textsOf(world, policy)
  if (texts === null)
    return not('NoConfigMap', `there is no ConfigMap entry ${policy.spec.infoHashesFrom?.configMapName}`)
  const wished = wishedList(policy.spec, texts)
  if (wished.kind === 'fault') return not('InvalidSpec', wished.message)
  const replicas = addressesOf(world, cluster)
  const leader = replicas.find((at) => at.pod === cluster.status?.leader)
  if (leader === undefined) return not('NoLeader', 'no replica leads that could change the list')
  if (cluster.spec.paused === true) return not('Paused', 'the cluster is paused')
  // Before anything is changed, so that nothing stays behind when the policy goes.
  const written = finalizers.includes(POLICY_FINALIZER)
    ? null
    : await setFinalizers(world, policy, [...finalizers, POLICY_FINALIZER])
  const { list } = policy.spec
  const there = await lists.read(leader, list)
  const revision = isSame(there, wished.hashes)
    ? there.revision
    : await lists.replace(leader, list, wished.hashes, there.revision)
  const seen = await Promise.allSettled(replicas.map((at) => lists.read(at, list)))
  const inForce = seen.filter((s) => s.status === 'fulfilled' && isSame(s.value, wished.hashes)).length
  const inForceText = `${inForce} of ${replicas.length}`
  const whole = inForce === replicas.length
  return {
    said: {
      ok: whole,
      reason: whole ? 'InForce' : 'Spreading',
      message: `${counted(wished.hashes.length, 'torrent')}, in force on ${inForceText} replicas`,
    },
    more: { entries: wished.hashes.length, revision, inForce: inForceText },
    againMs: whole ? LOOK_MS : AGAIN_MS,
    written,
  }
}

const isSame = (there: AccessSeen, wished: readonly string[]): boolean =>
  there.active && there.hashes.length === wished.length && there.hashes.every((h, i) => h === wished[i])

const textsOf = async (
  { api }: World,
  { metadata, spec }: TorrentPolicy,
): Promise<Readonly<Record<string, string>> | null> => {
  const from = spec.infoHashesFrom
  if (from === undefined) return {}
  // Somebody else's: it has no label of ours, so no cache holds it.
  const found = await api.get('ConfigMap', metadata.namespace, from.configMapName)
  const data = found?.data
  if (data === undefined) return null
  if (from.key === undefined) return data
  return data[from.key] === undefined ? null : { [from.key]: data[from.key]! }
}

const addressesOf = ({ api }: World, cluster: TrackerCluster): MemberAddress[] =>
  replicasOf(api, cluster).flatMap((pod) => addressOf(cluster, pod) ?? [])

const setFinalizers = (
  world: World,
  policy: TorrentPolicy,
  finalizers: readonly string[],
): Promise<KubeObject> => {
  const { name, namespace, resourceVersion } = policy.metadata
  return world.api.patchMetadata('TorrentPolicy', namespace, name, { finalizers, resourceVersion })
}

/**
 * Without its policy a list is off. A cluster that is gone, or never changed by this policy, has nothing to
 * turn off.
 */
const retire = async (
  world: World,
  lists: Lists,
  policy: TorrentPolicy,
  cluster: TrackerCluster | null,
): Promise<number | null> => {
  const { finalizers = [], namespace } = policy.metadata
  if (!finalizers.includes(POLICY_FINALIZER)) return null
  if (cluster !== null && cluster.metadata.deletionTimestamp === undefined) {
    const others = (world.api.list('TorrentPolicy', namespace) as unknown as readonly TorrentPolicy[]).filter(
      (p) =>
        p.metadata.uid !== policy.metadata.uid &&
        p.metadata.deletionTimestamp === undefined &&
        p.spec.clusterName === policy.spec.clusterName &&
        p.spec.list === policy.spec.list,
    )
    const leader = addressesOf(world, cluster).find((at) => at.pod === cluster.status?.leader)
    if (leader === undefined) return AGAIN_MS
    // A younger policy takes the list over as it is.
    if (others.length === 0) await lists.off(leader, policy.spec.list)
  }
  await setFinalizers(
    world,
    policy,
    finalizers.filter((f) => f !== POLICY_FINALIZER),
  )
  return null
}
