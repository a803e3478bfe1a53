// Holds the Lease, or waits for it. Losing it ends the work at once: two operators must never plan at the
// same time. Refuses: to decide (election.ts).

import { ApiError, CONFLICT } from '../model/ports.ts'
import { getOrNull } from './api.ts'
import type { Clock } from './clock.ts'
import {
  LEASE_SECONDS,
  type Lease,
  looked,
  nextMove,
  RENEW_DEADLINE_MS,
  RETRY_MS,
  type Watching,
} from './election.ts'
import { pathOf } from './kinds.ts'
import type { Kube } from './kube.ts'

export type Election = {
  readonly namespace: string
  readonly lease: string
  /** Of this process; unique. */
  readonly identity: string
}

type LeaseObject = {
  readonly metadata: { readonly resourceVersion: string }
  readonly spec?: {
    readonly holderIdentity?: string
    readonly renewTime?: string
    readonly leaseDurationSeconds?: number
    readonly leaseTransitions?: number
  }
}

/**
 * Runs until the signal is raised; then gives the Lease back, so that another operator need not wait.
 * `onChange` hears of each change of who holds it. Resolves with `lost` when a Lease that was held could not
 * be kept: the process has to end.
 */
export const elect = async (
  kube: Pick<Kube, 'ask'>,
  election: Election,
  clock: Clock,
  signal: AbortSignal,
  onChange: (ours: boolean, holder: string) => void,
): Promise<'stopped' | 'lost'> => {
  let watching: Watching | null = null
  let renewedMs: number | null = null
  let told = ''
  while (!signal.aborted) {
    try {
      watching = looked(watching, await read(kube, election), clock.nowMs())
      const move = nextMove(watching, election.identity, clock.nowMs())
      if (renewedMs !== null && move.kind !== 'renew') return 'lost'
      if (move.kind !== 'wait') {
        const askedMs = clock.nowMs()
        const lease: Lease = await write(kube, election, watching.lease, move.kind !== 'renew')
        watching = looked(watching, lease, clock.nowMs())
        // From when it was asked: the answer may have taken its time.
        renewedMs = askedMs
      }
      const holder = watching.lease?.holder ?? ''
      if (holder !== told) onChange(holder === election.identity, holder)
      told = holder
    } catch {
      // Refused, or no answer: the deadline decides.
    }
    if (renewedMs !== null && clock.nowMs() - renewedMs > RENEW_DEADLINE_MS) return 'lost'
    await clock.wait(RETRY_MS * (0.8 + 0.4 * clock.chance()), signal)
  }
  if (renewedMs !== null) await giveBack(kube, election).catch(() => {})
  return 'stopped'
}

/** Shorter than the deadline, so that a request without an answer leaves time for another one. */
const TIMEOUT_MS = 4000

const read = async (kube: Pick<Kube, 'ask'>, { namespace, lease }: Election): Promise<Lease | null> => {
  const object = await getOrNull(
    { ask: (ask) => kube.ask({ ...ask, timeoutMs: TIMEOUT_MS }) },
    pathOf('Lease', namespace, lease),
  )
  return object === null ? null : leaseOf(object as unknown as LeaseObject)
}

const leaseOf = ({ metadata, spec = {} }: LeaseObject): Lease => ({
  holder: spec.holderIdentity ?? '',
  renewTime: spec.renewTime ?? '',
  durationSeconds: spec.leaseDurationSeconds ?? LEASE_SECONDS,
  transitions: spec.leaseTransitions ?? 0,
  resourceVersion: metadata.resourceVersion,
})

const write = async (
  kube: Pick<Kube, 'ask'>,
  { namespace, lease, identity }: Election,
  before: Lease | null,
  taken: boolean,
): Promise<Lease> => {
  const now = `${new Date().toISOString().slice(0, 23)}000Z`
  const transitions = (before?.transitions ?? -1) + (taken ? 1 : 0)
  const spec = {
    holderIdentity: identity,
    leaseDurationSeconds: LEASE_SECONDS,
    renewTime: now,
    ...(taken ? { acquireTime: now } : {}),
    leaseTransitions: Math.max(0, transitions),
  }
  const head = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' }
  const timeoutMs = TIMEOUT_MS
  const done =
    before === null
      ? await kube.ask({
          method: 'POST',
          path: pathOf('Lease', namespace),
          body: { ...head, metadata: { name: lease, namespace }, spec },
          timeoutMs,
        })
      : // The version makes it a question: whoever is second gets 409.
        await kube.ask({
          method: 'PATCH',
          path: pathOf('Lease', namespace, lease),
          contentType: 'application/merge-patch+json',
          body: { metadata: { resourceVersion: before.resourceVersion }, spec },
          timeoutMs,
        })
  return leaseOf(done as LeaseObject)
}

const giveBack = async (kube: Pick<Kube, 'ask'>, election: Election): Promise<void> => {
  const lease = await read(kube, election)
  if (lease?.holder !== election.identity) return
  try {
    await kube.ask({
      method: 'PATCH',
      path: pathOf('Lease', election.namespace, election.lease),
      contentType: 'application/merge-patch+json',
      body: { metadata: { resourceVersion: lease.resourceVersion }, spec: { holderIdentity: '' } },
      timeoutMs: TIMEOUT_MS,
    })
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== CONFLICT) throw error
  }
}
