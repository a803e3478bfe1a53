// Which of several operators works: whoever holds the Lease. Time is counted from when this process saw the
// Lease change, by its own clock, so clocks need not agree. Refuses: sockets and clocks; elect.ts has them.

/** A Lease as it is (coordination.k8s.io/v1). */
export type Lease = {
  /** '' : nobody. */
  readonly holder: string
  readonly renewTime: string
  readonly durationSeconds: number
  readonly transitions: number
  readonly resourceVersion: string
}

export const LEASE_SECONDS = 15
/**
 * The holder stops working when it could not renew for so long: before anybody else may begin, milliseconds.
 */
export const RENEW_DEADLINE_MS = 10_000
export const RETRY_MS = 2000

/** What is known of the Lease: its last state that differed, and since when. */
export type Watching = { readonly lease: Lease | null; readonly sinceMs: number }

export const looked = (before: Watching | null, lease: Lease | null, nowMs: number): Watching =>
  before !== null && before.lease?.resourceVersion === lease?.resourceVersion
    ? before
    : { lease, sinceMs: nowMs }

export type Move =
  | { readonly kind: 'create' }
  /** Ours already. */
  | { readonly kind: 'renew' }
  /** Nobody's, or of one that has not renewed it. */
  | { readonly kind: 'take' }
  | { readonly kind: 'wait' }

export const nextMove = ({ lease, sinceMs }: Watching, own: string, nowMs: number): Move => {
  if (lease === null) return { kind: 'create' }
  if (lease.holder === own) return { kind: 'renew' }
  if (lease.holder === '' || nowMs - sinceMs > lease.durationSeconds * 1000) return { kind: 'take' }
  return { kind: 'wait' }
}
