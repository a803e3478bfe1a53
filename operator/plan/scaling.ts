// How many replicas are aimed at: the number in the specification, or by load, with hysteresis. Refuses: to
// react to a moment. The load must be high (or low) for a while, and one replica comes or goes at a time.

import { counted } from '@skep/wire/words.ts'
import type { MemberReport } from '../model/facts.ts'
import type { Settled } from '../model/settle.ts'
import type { TrackerClusterStatus } from '../model/types.ts'
import { epochMs, rfc3339 } from '../model/units.ts'

/** One replica fewer must still be below this share of what each is to bear. */
const LOW_SHARE = 0.7

export type Wish = {
  readonly replicas: number
  /** For status; null: no autoscaling. */
  readonly window: NonNullable<TrackerClusterStatus['autoscaling']> | null
  /** The size was changed by this pass, and why; '' : it was not. */
  readonly change: string
  /** The table is nearly full: more replicas would not help. '' : it is not. */
  readonly memory: string
  /** When the window may next say something, milliseconds; Infinity: nothing is near. */
  readonly dueMs: number
}

export const wish = (
  spec: Settled,
  status: TrackerClusterStatus,
  reports: readonly MemberReport[],
  /** Replicas of the StatefulSet, where status says nothing; null: there is none. */
  size: number | null,
  nowMs: number,
): Wish => {
  const a = spec.autoscaling
  const fixed = { window: null, change: '', memory: '', dueMs: Number.POSITIVE_INFINITY }
  if (a === null) return { ...fixed, replicas: spec.replicas }
  const within = (n: number): number => Math.min(a.max, Math.max(a.min, n))
  // Where status was lost, or autoscaling is new: what there is now.
  const before = within((status.autoscaling === undefined ? size : status.wishedReplicas) ?? spec.replicas)
  const share = Math.max(0, ...reports.map((r) => r.tableShare))
  const memory =
    share * 100 > a.memoryPercent
      ? `the swarm table is ${Math.round(share * 20) * 5} % full: each replica holds all of it, so more memory is needed, not more replicas`
      : ''
  const load = reports.reduce((sum, r) => sum + r.announcesPerSecond, 0)
  // Who does not answer is not counted: what is not known neither adds nor takes a replica.
  const known = reports.length >= before
  const high = reports.length > 0 && load > before * a.announcesPerSecondPerReplica
  const low = known && before > a.min && load < (before - 1) * a.announcesPerSecondPerReplica * LOW_SHARE
  const { highSince, lowSince, lastChange } = status.autoscaling ?? {}
  const since = (is: boolean, at: string | undefined): string | null => (is ? (at ?? rfc3339(nowMs)) : null)
  const highFrom = since(high && before < a.max, highSince)
  const lowFrom = since(low, lowSince)
  const due = (from: string | null, seconds: number): number =>
    from === null ? Number.POSITIVE_INFINITY : epochMs(from) + seconds * 1000 - nowMs
  const [up, down] = [due(highFrom, a.upAfterSeconds), due(lowFrom, a.downAfterSeconds)]
  const per = `${counted(a.announcesPerSecondPerReplica, 'announce')} a second and replica`
  if (up <= 0)
    return changed(before + 1, memory, nowMs, `more than ${per} for ${counted(a.upAfterSeconds, 'second')}`)
  if (down <= 0)
    return changed(
      before - 1,
      memory,
      nowMs,
      `one replica fewer bears the load of the last ${a.downAfterSeconds} seconds`,
    )
  return {
    replicas: before,
    change: '',
    memory,
    dueMs: Math.min(up, down),
    window: {
      ...(highFrom === null ? {} : { highSince: highFrom }),
      ...(lowFrom === null ? {} : { lowSince: lowFrom }),
      ...(lastChange === undefined ? {} : { lastChange }),
    },
  }
}

/** A new window begins: what the change does has to be seen first. */
const changed = (replicas: number, memory: string, nowMs: number, why: string): Wish => ({
  replicas,
  memory,
  dueMs: Number.POSITIVE_INFINITY,
  window: { lastChange: rfc3339(nowMs) },
  change: why,
})
