// A UDP worker: the thread's entry and its loop. It owns one socket for every address the tracker listens on,
// and sleeps in poll(2) on all of them and its eventfd (or in the event loop, without native sockets).
// Refuses: to live on after a failure: whatever is thrown ends the thread, and with it the process.

import { writeFileSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { Announcer } from '../swarm/announce.ts'
import { ConnectionIds } from '../swarm/connection-id.ts'
import type { StoreBuffers } from '../swarm/layout.ts'
import { Store } from '../swarm/store.ts'
import { OutcomeRing } from '../threads/outcome.ts'
import type { ProducerBuffers } from '../threads/producer.ts'
import { ChangeRing, WordRing } from '../threads/ring.ts'
import { Control, monotonicMs, STOPPING } from '../threads/state.ts'
import { countsOf, SLEEPS } from './counters.ts'
import type { EventSocket } from './dgram.ts'
import { Flood } from './flood.ts'
import { Gather } from './gather.ts'
import { Packets } from './packet.ts'
import { Pending } from './pending.ts'
import { UdpOpenError, type UdpSocket } from './socket.ts'
import { LONGEST_SLEEP_MS, Turn } from './turn.ts'

export type WorkerLimits = {
  /** Requests wait for an outcome or for a leader at most this long, milliseconds. */
  readonly parkForMs: number
  /** Requests an address keeps while there is no leader. */
  readonly waiting: number
  /** Largest answer, bytes: even, 576 to 1472. */
  readonly answerBytes: number
  /** Datagrams a system call. */
  readonly batch: number
  /** Of each socket, bytes. */
  readonly receiveBufferBytes: number
  readonly sendBufferBytes: number
  /**
   * Scheduler slice asked for this thread, nanoseconds; a long one lets the replica thread go first. 0: the
   * system's.
   */
  readonly sliceNanoseconds: number
  /** How long a steady stream of requests is gathered for one wake-up, microseconds (gather.ts). */
  readonly gatherMicroseconds: number
}

/** What start.ts hands to a worker. */
export type WorkerOrders = {
  readonly name: string
  readonly hosts: readonly string[]
  readonly port: number
  readonly reusePort: boolean
  readonly useDgram: boolean
  readonly seed: number
  readonly limits: WorkerLimits
  readonly store: StoreBuffers
  readonly control: SharedArrayBuffer
  readonly producer: ProducerBuffers
  readonly counters: SharedArrayBuffer
  /** flood.ts */
  readonly flood: SharedArrayBuffer
  /** Word 0: not 0 when this worker shall drain and end. */
  readonly stop: SharedArrayBuffer
}

/** What a worker says, once. */
export type WorkerNews =
  | { readonly kind: 'ready'; readonly receiveBufferBytes: readonly number[] }
  | {
      readonly kind: 'refused'
      readonly code: string
      readonly host: string
      readonly port: number
      readonly message: string
    }

/** While a worker drains before its end, milliseconds. */
const ENDING_SLEEP_MS = 5

function turnOf(
  orders: WorkerOrders,
  sockets: readonly UdpSocket[],
  outcomes: OutcomeRing,
  gather: Gather,
): Turn {
  const { limits, producer } = orders
  const store = new Store(orders.store)
  const ring = new ChangeRing(producer.changes)
  const touches = new WordRing(producer.touches)
  const pending = new Pending(ring.slots, ring.tail)
  const counts = countsOf(orders.counters)
  const packets = new Packets({
    store,
    announcer: new Announcer(store, orders.seed),
    ids: new ConnectionIds(store),
    ring,
    touches,
    pending,
    counts,
    seed: ~orders.seed,
    answerBytes: limits.answerBytes,
    parkForMs: limits.parkForMs,
  })
  return new Turn({
    sockets,
    packets,
    pending,
    ring,
    touches,
    outcomes,
    control: new Control(orders.control),
    counts,
    gather,
    flood: new Flood(orders.flood),
    parkForMs: limits.parkForMs,
    waitingMost: limits.waiting,
    now: monotonicMs,
  })
}

/**
 * Told to end, by its owner or by the replica: it still answers what is parked, for as long as that may take.
 */
function shutting(orders: WorkerOrders): () => boolean {
  const stop = new Int32Array(orders.stop)
  const control = new Control(orders.control)
  return () => Atomics.load(stop, 0) !== 0 || control.state === STOPPING
}

/** Blocks this thread until it is told to end. */
async function runBatched(orders: WorkerOrders): Promise<void> {
  const { openUdp, Poller, rest } = await import('./mmsg.ts')
  const { setSchedulerSlice } = await import('../native/scheduler.ts')
  if (orders.limits.sliceNanoseconds > 0) setSchedulerSlice(orders.limits.sliceNanoseconds)
  const sockets = orders.hosts.map((host) =>
    openUdp({ ...orders.limits, host, port: orders.port, reusePort: orders.reusePort }),
  )
  const poller = new Poller(sockets, orders.producer.eventFd)
  const outcomes = new OutcomeRing(orders.producer.outcomes)
  const counts = countsOf(orders.counters)
  const gather = new Gather(orders.limits.gatherMicroseconds)
  const turn = turnOf(orders, sockets, outcomes, gather)
  const ending = shutting(orders)
  ready(sockets)
  let endMs = Infinity
  for (;;) {
    if (turn.run()) continue
    if (ending()) {
      endMs = Math.min(endMs, monotonicMs() + orders.limits.parkForMs)
      if (turn.drained || monotonicMs() >= endMs) break
    }
    const now = monotonicMs()
    const microseconds = turn.received > 0 ? gather.rest(now) : 0
    if (microseconds > 0) {
      // Outcomes wait as long: nobody needs to wake a worker that wakes by itself.
      rest(microseconds)
      gather.slept(monotonicMs() - now)
      continue
    }
    outcomes.sleeping(true)
    // Outcomes that came since are answered at once, unless they may not be yet.
    if (turn.sleepMs < LONGEST_SLEEP_MS || !outcomes.available()) {
      counts[SLEEPS]!++
      const from = monotonicMs()
      poller.wait(endMs < Infinity ? ENDING_SLEEP_MS : turn.sleepMs)
      gather.slept(monotonicMs() - from)
    }
    outcomes.sleeping(false)
    turn.warm()
  }
  for (const socket of sockets) socket.close()
}

/** The same in the event loop. */
async function runEvents(orders: WorkerOrders): Promise<void> {
  const { openDgram } = await import('./dgram.ts')
  const sockets: EventSocket[] = []
  for (const host of orders.hosts)
    sockets.push(await openDgram({ ...orders.limits, host, port: orders.port, reusePort: orders.reusePort }))
  const outcomes = new OutcomeRing(orders.producer.outcomes)
  const counts = countsOf(orders.counters)
  const turn = turnOf(orders, sockets, outcomes, new Gather(0))
  const ending = shutting(orders)
  const run = () => {
    turn.warm()
    while (turn.run());
  }
  for (const socket of sockets) socket.listen(run)
  ready(sockets)
  let endMs = Infinity
  for (;;) {
    run()
    if (ending()) {
      endMs = Math.min(endMs, monotonicMs() + orders.limits.parkForMs)
      if (turn.drained || monotonicMs() >= endMs) break
    }
    outcomes.sleeping(true)
    if (turn.sleepMs === LONGEST_SLEEP_MS && outcomes.available()) continue
    counts[SLEEPS]!++
    const timeout = endMs < Infinity ? ENDING_SLEEP_MS : turn.sleepMs
    const sleep = Atomics.waitAsync(outcomes.control, 32, 1, timeout)
    if (sleep.async) await sleep.value
    outcomes.sleeping(false)
  }
  for (const socket of sockets) socket.close()
}

const say = (news: WorkerNews): void => parentPort?.postMessage(news)

function ready(sockets: readonly UdpSocket[]): void {
  say({ kind: 'ready', receiveBufferBytes: sockets.map((socket) => socket.receiveBufferBytes) })
}

if (parentPort !== null) {
  const orders = workerData as WorkerOrders
  try {
    // So that `top -H` and perf tell the threads apart; 15 characters are kept.
    writeFileSync('/proc/thread-self/comm', orders.name)
  } catch {
    // Not Linux: threads have no such name.
  }
  try {
    await (orders.useDgram ? runEvents(orders) : runBatched(orders))
  } catch (error) {
    if (!(error instanceof UdpOpenError)) throw error
    const { code, host, port, message } = error
    say({ kind: 'refused', code, host, port, message })
  }
}
