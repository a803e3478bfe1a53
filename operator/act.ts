// All writing: a step is carried out, once, and only where what it was chosen for is still so. Everything
// here may be done again after a crash at any point. Refuses: decisions, and steps without their
// preconditions: whoever was quicker wins, and the next pass looks again.

import { hkdfSync } from 'node:crypto'
import { networkKeyName } from '@skep/wire/network-key.ts'
import { backupClaim } from './desired/backup.ts'
import { job, type RestoreSource } from './desired/jobs.ts'
import { desiredObjects, hashed } from './desired/objects.ts'
import { keySecret, keysOf } from './desired/secret.ts'
import { claimSpec } from './desired/statefulset.ts'
import type { Observed } from './model/facts.ts'
import { labels } from './model/labels.ts'
import { claimName, configName, jobName } from './model/names.ts'
import {
  ApiError,
  CONFLICT,
  type KubeObject,
  type MemberAddress,
  type MemberAnswer,
  type WatchedKind,
} from './model/ports.ts'
import { settle } from './model/settle.ts'
import type { Decided, Step } from './model/steps.ts'
import { FINALIZER, type TrackerBackup, type TrackerCluster } from './model/types.ts'
import { addressOf, thereIs } from './observe.ts'
import { memoryOf, type World } from './world.ts'

/** A step that could not be done, in a sentence for people. */
export class StepFailed extends Error {
  override readonly name = 'StepFailed'
}

type StepOf<K extends Step['kind']> = Extract<Step, { kind: K }>

/** Returns the resource as it is after the step. Rejects with ApiError or StepFailed. */
export const act = async (world: World, seen: Observed, step: Step): Promise<TrackerCluster> => {
  const hands = handsOf(world, seen.resource)
  switch (step.kind) {
    case 'none':
    case 'record-birth':
    case 'record-recovery':
      return seen.resource
    case 'add-finalizer':
    case 'remove-finalizer':
      return await finalizer(hands, step.kind === 'add-finalizer')
    case 'clear-recover':
      return await clearRecover(hands, step)
    case 'apply':
      await apply(hands, step)
      return seen.resource
    case 'set-size':
      await setSize(hands, step)
      return seen.resource
    case 'delete-pod':
      await deletePod(hands, seen, step)
      return seen.resource
    case 'delete-claim':
      await deleteClaim(hands, seen, step.claim, step.uid)
      return seen.resource
    case 'grow-claim':
      await growClaim(hands, step)
      return seen.resource
    case 'replace-member':
      await replaceMember(hands, seen, step)
      return seen.resource
    case 'promote':
    case 'demote':
    case 'remove-member':
    case 'transfer':
    case 'drain':
      await askMember(hands, step)
      return seen.resource
    case 'rotate-key':
      await rotateKey(hands, step)
      return seen.resource
    case 'run-job':
      await runJob(hands, step)
      return seen.resource
    case 'delete-service':
      await hands.remove('Service', step.service, step.uid)
      return seen.resource
    case 'delete-job':
      await hands.remove('Job', step.job)
      return seen.resource
  }
}

/** Writing for one cluster, with a note of each write for the caches to catch up with. */
type Hands = {
  readonly world: World
  readonly resource: TrackerCluster
  apply(object: KubeObject): Promise<KubeObject>
  patch(metadata: Readonly<Record<string, unknown>>): Promise<TrackerCluster>
  remove(kind: WatchedKind, name: string, uid?: string, force?: boolean): Promise<void>
}

const handsOf = (world: World, resource: TrackerCluster): Hands => {
  const { api } = world
  const { name, namespace } = resource.metadata
  const { written } = memoryOf(world, resource)
  return {
    world,
    resource,
    async apply(object) {
      const done = await api.apply(object)
      written.wrote({ ...done, kind: object.kind }, world.nowMs())
      return done
    },
    async patch(metadata) {
      const { resourceVersion } = resource.metadata
      const done = await api.patchMetadata('TrackerCluster', namespace, name, {
        ...metadata,
        resourceVersion,
      })
      written.wrote({ ...done, kind: 'TrackerCluster' }, world.nowMs())
      return done as unknown as TrackerCluster
    },
    async remove(kind, what, uid, force = false) {
      await api.delete(kind, namespace, what, { force, ...(uid === undefined ? {} : { uid }) })
      if (uid !== undefined) written.deleted(kind, namespace, what, uid, world.nowMs())
    },
  }
}

const finalizer = ({ resource, patch }: Hands, wanted: boolean): Promise<TrackerCluster> => {
  const others = (resource.metadata.finalizers ?? []).filter((f) => f !== FINALIZER)
  return patch({ finalizers: wanted ? [...others, FINALIZER] : others })
}

const clearRecover = async (
  { resource, patch }: Hands,
  { value }: StepOf<'clear-recover'>,
): Promise<TrackerCluster> => {
  const found = Object.entries(resource.metadata.annotations ?? {}).find(([, v]) => v === value)
  return found === undefined ? resource : await patch({ annotations: { [found[0]]: null } })
}

const wantedOf = ({ world, resource }: Hands, decided: Decided): readonly KubeObject[] => {
  const s = settle(resource.spec, world.version)
  return desiredObjects(resource, s, decided, thereIs(world.api, resource), world.makeKey)
}

const apply = async (hands: Hands, { objects, decided }: StepOf<'apply'>): Promise<void> => {
  const { api } = hands.world
  for (const object of wantedOf(hands, decided)) {
    const { kind, metadata } = object
    if (!objects.some((o) => o.kind === kind && o.name === metadata.name)) continue
    // A cache that is late must not cost a cluster its key: the server itself is asked before one is made.
    if (kind === 'Secret' && (await api.get('Secret', metadata.namespace!, metadata.name)) !== null) continue
    await hands.apply(object)
  }
}

const setSize = async (hands: Hands, step: StepOf<'set-size'>): Promise<void> => {
  const { name, namespace } = hands.resource.metadata
  const there = await hands.world.api.get('StatefulSet', namespace, name)
  const now = (there?.spec as { replicas?: number } | undefined)?.replicas
  if (there === null || now !== step.from)
    throw new ApiError(CONFLICT, `StatefulSet ${name} has ${now ?? 'no'} replicas, not ${step.from}`)
  const wanted = wantedOf(hands, step.decided)
  const config = wanted.find((o) => o.kind === 'ConfigMap' && o.metadata.name === configName(name))!
  const set = wanted.find((o) => o.kind === 'StatefulSet')!
  const { resourceVersion } = there.metadata
  const sized = {
    ...set,
    metadata: { ...set.metadata, ...(resourceVersion === undefined ? {} : { resourceVersion }) },
  }
  // New pods have to know whom to ask; those on their way out need not.
  for (const object of step.to > step.from ? [config, sized] : [sized, config]) await hands.apply(object)
}

const deletePod = async (hands: Hands, seen: Observed, step: StepOf<'delete-pod'>): Promise<void> => {
  const { namespace } = hands.resource.metadata
  const ready = seen.pods.find((p) => p.uid === step.uid)?.ready === true
  // A replica that serves goes only where the disruption budget allows it: somebody may be draining a node.
  // One that does not serve would be held back by the budget for as long as it is broken.
  if (step.why === 'rollout' && ready) {
    await hands.world.api.evict(namespace, step.pod, step.uid)
    memoryOf(hands.world, hands.resource).written.deleted(
      'Pod',
      namespace,
      step.pod,
      step.uid,
      hands.world.nowMs(),
    )
  } else await hands.remove('Pod', step.pod, step.uid, step.force)
}

/** Only the room: what else its StatefulSet or a restore wrote there is said again as it is. */
const growClaim = async (hands: Hands, step: StepOf<'grow-claim'>): Promise<void> => {
  const { name, namespace } = hands.resource.metadata
  const there = await hands.world.api.get('PersistentVolumeClaim', namespace, step.claim)
  if (there === null || there.metadata.uid !== step.uid)
    throw new ApiError(CONFLICT, `PersistentVolumeClaim ${step.claim} is another one by now`)
  const { storageClassName: className } = there.spec as { storageClassName?: string }
  await hands.apply({
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: step.claim, namespace, uid: step.uid, labels: labels(name, 'replica') },
    spec: claimSpec({ size: step.size, ...(className === undefined ? {} : { className }) }) as Record<
      string,
      unknown
    >,
  })
}

/**
 * Pods of Jobs that have ended hold their volume as well: a claim waits for all pods that name it, for ever.
 */
const deleteClaim = async (hands: Hands, seen: Observed, claim: string, uid: string): Promise<void> => {
  const ordinal = seen.claims.find((c) => c.name === claim)?.ordinal
  for (const ended of seen.jobs.filter((j) => j.ordinal === ordinal && j.state !== 'running'))
    await hands.remove('Job', ended.name)
  await hands.remove('PersistentVolumeClaim', claim, uid)
}

const replaceMember = async (hands: Hands, seen: Observed, step: StepOf<'replace-member'>): Promise<void> => {
  // The claim first: it waits for its pod, and the pod that follows waits for a new one.
  if (step.claimUid !== null) await deleteClaim(hands, seen, step.claim, step.claimUid)
  if (step.podUid !== null) await hands.remove('Pod', step.pod, step.podUid, true)
}

const askMember = async (
  hands: Hands,
  step: StepOf<'promote' | 'demote' | 'remove-member' | 'transfer' | 'drain'>,
): Promise<void> => {
  const { members } = hands.world
  const at = memberAddress(hands, step.at)
  const answer = await (step.kind === 'promote'
    ? members.promote(at, step.members)
    : step.kind === 'demote'
      ? members.demote(at, step.members)
      : step.kind === 'remove-member'
        ? members.remove(at, step.member)
        : step.kind === 'drain'
          ? members.drain(at, step.undo)
          : members.transfer(at, step.to))
  assertDone(step.at, answer)
}

const assertDone = (pod: string, answer: MemberAnswer): void => {
  if (answer.kind === 'done') return
  const how = { later: 'not now', refused: 'refused', unknown: 'no answer' }[answer.kind]
  throw new StepFailed(`${pod}: ${how}: ${answer.sentence}`)
}

const memberAddress = ({ world, resource }: Hands, pod: string): MemberAddress => {
  const object = world.api.cached('Pod', resource.metadata.namespace, pod)
  const address = object === null ? null : addressOf(resource, object)
  if (address === null) throw new StepFailed(`${pod} has no address any more`)
  return address
}

const rotateKey = async (hands: Hands, step: StepOf<'rotate-key'>): Promise<void> => {
  const { world, resource } = hands
  const { namespace } = resource.metadata
  const secret = await world.api.get('Secret', namespace, step.secretName)
  if (secret === null) throw new StepFailed(`Secret ${step.secretName} is gone`)
  const { lines } = keysOf(secret, settle(resource.spec, world.version).networkKey.key)
  const names = lines.map((line) => networkKeyName(line, hkdfSync))
  if (names.join() !== step.from.join())
    throw new ApiError(CONFLICT, `Secret ${step.secretName} holds other keys by now`)
  const next = {
    add: { lines: [...lines, world.makeKey()], phase: 'Adding' },
    swap: { lines: [...lines.slice(-1), ...lines.slice(0, -1)], phase: 'Swapping' },
    drop: { lines: lines.slice(0, 1), phase: 'Done' },
  } as const
  const wanted = hashed(keySecret(resource, { ...next[step.phase], rotation: step.rotation }))
  const { resourceVersion } = secret.metadata
  const pinned = { ...wanted.metadata, ...(resourceVersion === undefined ? {} : { resourceVersion }) }
  await hands.apply({ ...wanted, metadata: pinned })
  memoryOf(world, resource).keys = next[step.phase].lines
}

const runJob = async (hands: Hands, { purpose, ordinal }: StepOf<'run-job'>): Promise<void> => {
  const { world, resource } = hands
  const { name, namespace } = resource.metadata
  const s = settle(resource.spec, world.version)
  if ((await world.api.get('Job', namespace, jobName(name, purpose, ordinal))) !== null) return
  const source = purpose === 'restore' ? restoreSource(hands) : null
  if (purpose === 'restore') {
    // Its StatefulSet is made only when the volume is filled, and takes what it finds by name.
    const claim = claimName(name, ordinal)
    if ((await world.api.get('PersistentVolumeClaim', namespace, claim)) === null)
      await hands.apply({
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        metadata: { name: claim, namespace, labels: labels(name, 'replica') },
        spec: claimSpec(s.storage) as Record<string, unknown>,
      })
  }
  await hands.apply(job(resource, s, purpose, ordinal, source))
}

const restoreSource = ({ world, resource }: Hands): RestoreSource => {
  const { backup, claimName: claim, file } = resource.spec.restoreFrom ?? {}
  if (claim !== undefined) return { claimName: claim, ...(file === undefined ? {} : { file }) }
  if (backup === undefined) throw new StepFailed('spec.restoreFrom names neither a backup nor a claim')
  const found = world.api.cached('TrackerBackup', resource.metadata.namespace, backup)
  if (found === null) throw new StepFailed(`spec.restoreFrom.backup: there is no TrackerBackup ${backup}`)
  const taken = found as unknown as TrackerBackup
  const last = file ?? taken.status?.lastFile
  return { claimName: backupClaim(taken), ...(last === undefined ? {} : { file: last }) }
}
