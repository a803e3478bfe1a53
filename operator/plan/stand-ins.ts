// Whom the Services of single replicas lead to: home, or, while nobody answers there, to a replica that does.
// Clients keep the address that they once looked up for hours, and few of them ask a second one by UDP; so
// every address that was given out has to be answered, whoever is gone. Connection IDs and the table are the
// cluster's, so it makes no difference to a client who answers. Refuses: to turn a Service for the operator's
// own blindness (silent means silent to it and to the leader, or not ready to Kubernetes), and back and
// forth.

import { addressed } from './decided.ts'
import { memberAt, names, podOf, type Verdict, type View } from './view.ts'

/** How often replicas are asked where addresses depend on it, milliseconds. */
export const LOOK_MS = 2000
/** A replica that is back has been ready for so long before its addresses lead home again, milliseconds. */
const HOME_MS = 5000

export const standIns = (v: View): Verdict | null => {
  const wanted = targetsNow(v)
  const turned = v.seen.ownServices.filter((s) => s.ordinal < wanted.length && s.target !== wanted[s.ordinal])
  if (turned.length === 0) return null
  const which = [...new Set(turned.map((s) => s.ordinal))].sort((a, b) => a - b)
  const home = which.filter((i) => wanted[i] === i)
  const away = which.filter((i) => wanted[i] !== i)
  return {
    step: {
      kind: 'apply',
      objects: turned.map(({ name }) => ({ kind: 'Service', name })),
      decided: { ...v.decided, targets: wanted },
    },
    reason: away.length > 0 ? 'StandingIn' : 'BackHome',
    message: [
      ...away.map((i) => `${podOf(v, i)} does not answer: ${podOf(v, wanted[i]!)} answers at its addresses`),
      ...(home.length === 0
        ? []
        : [`${names(home.map((i) => ({ name: podOf(v, i) })))}: addresses lead home`]),
    ].join('; '),
  }
}

const targetsNow = (v: View): number[] => {
  const { targets } = v.decided
  const able = [...v.pods.keys()].filter((i) => answers(v, i)).sort((a, b) => a - b)
  return targets.map((now, i) => {
    // Whoever stands in goes on until the one at home is sure to stay, and is not changed for another.
    if (able.includes(i) && (now === i || settledIn(v, i) || !able.includes(now))) return i
    return able.includes(now) ? now : (able.find((other) => other > i) ?? able[0] ?? now)
  })
}

const settledIn = (v: View, ordinal: number): boolean => {
  const since = v.pods.get(ordinal)?.readySinceMs ?? null
  return since === null || v.nowMs - since >= HOME_MS
}

/**
 * Kubernetes notices a lost node after most of a minute; the leader, of which a replica hears with every
 * keepalive, after seconds.
 */
const answers = (v: View, ordinal: number): boolean => {
  const pod = v.pods.get(ordinal)
  if (pod === undefined || !pod.ready || pod.deleting) return false
  if (v.reports.get(ordinal)?.draining === true) return false
  const asked = v.seen.members.find((m) => m.ordinal === ordinal)
  return (
    asked === undefined || asked.error === '' || v.leader === null || memberAt(v, ordinal)?.alive !== false
  )
}

/** Services of replicas that are wished for no more; also all of them, once they are. */
export const leftoverServices = (v: View): Verdict | null => {
  const last = addressed(v.seen.resource.spec)
  const left = v.seen.ownServices.find((s) => s.ordinal >= last)
  if (left === undefined) return null
  return {
    step: { kind: 'delete-service', service: left.name, uid: left.uid },
    reason: 'Applying',
    message: `Service ${left.name} deleted: no replica of that number is wished to have an address of its own`,
  }
}
