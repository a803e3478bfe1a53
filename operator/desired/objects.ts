// All objects that a cluster owns, in the order in which they have to be applied: what pods need first, the
// StatefulSet last. Each carries a hash of itself, so that a field that is wanted no more is seen, too.
// Refuses: volumes (their StatefulSet makes them, the plan deletes them) and Jobs (the plan starts them).

import { HASH_ANNOTATION } from '../model/labels.ts'
import type { KubeObject } from '../model/ports.ts'
import type { Settled } from '../model/settle.ts'
import type { Decided } from '../model/steps.ts'
import type { TrackerCluster } from '../model/types.ts'
import { fingerprint } from '../model/units.ts'
import { configMap } from './config.ts'
import { disruptionBudget } from './disruption-budget.ts'
import { type Keys, keySecret } from './secret.ts'
import { serviceAccount } from './service-account.ts'
import { httpService, ownServices, replicasService, udpService } from './services.ts'
import { statefulSet, type VolumeTemplate } from './statefulset.ts'

/** What is there already and can never be changed, or is known to nobody else. */
export type There = {
  readonly volumeTemplate: VolumeTemplate | null
  /** Of the network key that the operator made; null: none yet. */
  readonly keys: Keys | null
}

/** `makeKey`: chance for a network key that is not there yet. */
export const desiredObjects = (
  resource: TrackerCluster,
  s: Settled,
  decided: Decided,
  there: There,
  makeKey: () => string,
): readonly KubeObject[] => {
  const keys = (): Keys => there.keys ?? { lines: [makeKey()], rotation: '', phase: 'Done' }
  return [
    configMap(resource, s, decided),
    ...(s.networkKey.secretName === undefined ? [keySecret(resource, keys())] : []),
    ...(s.pod.serviceAccountName === undefined ? [serviceAccount(resource)] : []),
    replicasService(resource),
    udpService(resource, s),
    httpService(resource, s),
    ...decided.targets.flatMap((target, ordinal) => ownServices(resource, s, ordinal, target)),
    disruptionBudget(resource),
    ...(decided.startPods ? [statefulSet(resource, s, decided, there.volumeTemplate)] : []),
  ].map(hashed)
}

/**
 * The hash leaves a Secret's lines out, for it is there for everybody to read, and what can never be changed:
 * of volume templates the server's own spelling is wished from the second pass on.
 */
export const hashed = (object: KubeObject): KubeObject => {
  const { data, spec, ...rest } = object
  const { volumeClaimTemplates: _, ...changing } = spec ?? {}
  const shown = { ...rest, spec: changing }
  const text = JSON.stringify(object.kind === 'Secret' ? shown : { ...shown, data })
  return {
    ...object,
    metadata: {
      ...object.metadata,
      annotations: { ...object.metadata.annotations, [HASH_ANNOTATION]: fingerprint(text) },
    },
  }
}
