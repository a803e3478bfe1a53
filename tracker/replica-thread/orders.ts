// The orders of the main thread: one case for each, answered under the order's own number.
// Refuses: to do the work; the parts do.

import { monotonicMs } from '../threads/state.ts'
import { drain } from './drain.ts'
import type { Ending } from './ending.ts'
import type { Answers, Order, TimelineEvent } from './messages.ts'
import { PARK_FOR_MS, type Parts } from './parts.ts'
import type { Saving } from './saving.ts'
import { type Standing, statusOf } from './status.ts'

export type OrdersOptions = {
  readonly parts: Parts
  readonly saving: Saving
  readonly ending: Ending
  readonly standing: () => Standing
}

/** What takes each order; a stop is answered at the very end (ending.ts). */
export function ordersOf(options: OrdersOptions): (order: Order) => void {
  const { say } = options.parts
  return (order) => {
    // thread.ts takes them, with or without a member.
    if (order.kind === 'keys') return
    if (order.kind === 'stop') return options.ending.begin(order)
    const { number } = order
    // What needs no waiting is answered before anything else happens.
    const given = carryOut(options, order)
    const answer = (value: unknown): void => say({ kind: 'answer', number, value })
    if (!(given instanceof Promise)) answer(given)
    else given.then(answer, (error: Error) => say({ kind: 'error', number, message: error.message }))
  }
}

type Given = Answers[keyof Answers]

function carryOut(
  o: OrdersOptions,
  order: Exclude<Order, { kind: 'stop' | 'keys' }>,
): Given | Promise<Given> {
  const { parts, saving } = o
  switch (order.kind) {
    case 'status':
      return statusOf(parts, o.standing())
    case 'snapshot':
      return snapshot(parts)
    case 'propose':
      return propose(o, order.entry)
    case 'members':
      return parts.desk.request(order.request)
    case 'events':
      return events(parts, order.since)
    case 'fault':
      return parts.network?.fault(order.member, order.fault) ?? false
    case 'drain':
      return drain(parts, order.on)
    case 'save':
      return saving.begin()
    case 'piece':
      return saving.next(order.id)
    case 'unsave':
      saving.end(order.id)
      return undefined
  }
}

/** Monotonic times as wall times of now: for display. */
function events({ member, roster }: Parts, since: number): readonly TimelineEvent[] {
  const offsetMs = Date.now() - monotonicMs()
  return member.events.after(since).map(({ atMs, ...e }) => ({
    ...e,
    at: new Date(atMs + offsetMs).toISOString(),
    name: e.member === 0 ? '' : roster.nameOf(e.member),
  }))
}

async function propose({ parts, ending }: OrdersOptions, entry: Uint8Array): Promise<Answers['propose']> {
  const { log, member, options } = parts
  if (log.failed !== null || member.refusing || ending.begun) return 'refused'
  const { promise, resolve } = Promise.withResolvers<'unknown'>()
  const late = setTimeout(() => resolve('unknown'), options.parkForMs ?? PARK_FOR_MS)
  const fate = await Promise.race([member.propose(entry), promise])
  clearTimeout(late)
  return fate
}

async function snapshot({ member, log }: Parts): Promise<number> {
  const { replica } = member
  await replica.snapshots.take(replica.applied, replica.confState)
  return log.snapshot!.index
}
