// A simulated member's machine, with a known bug if one is asked for, and with ears at it: checkers hear of
// each entry as it is applied and of each state that is restored. Refuses: to change what it passes on, but
// for the bug.

import type { Machine } from '../replica/machine.ts'
import type { Replica } from '../replica/replica.ts'
import { canaryMachine, canaryOrder } from './canaries.ts'
import type { Place } from './place.ts'

/** `member`: null until it stands; what is restored before that is its own. */
export const watched = (
  place: Place,
  swarm: Machine,
  member: () => { readonly replica: Replica } | null,
): Machine => {
  const { witness } = place
  const machine = canaryMachine(place.canary, place.store, swarm)
  return canaryOrder(place.canary, {
    apply: (index, term, data) => {
      machine.apply(index, term, data)
      witness.applied(index, term, data)
    },
    applied: (index) => machine.applied(index),
    snapshot: () => {
      place.note('snapshot', member()?.replica.applied ?? 0)
      return machine.snapshot()
    },
    restore: async (chunks) => {
      await machine.restore(chunks)
      const installing = member()?.replica.installing ?? null
      if (installing === null) return
      place.note('installed', installing.index)
      witness.restored(installing.index)
    },
  })
}
