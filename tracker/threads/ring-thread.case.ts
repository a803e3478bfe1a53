// The second thread of ring.test.ts: takes changes and words, tells an outcome for each, echoes what it saw.
// Refuses: to be more than a consumer.

import { workerData } from 'node:worker_threads'
import { APPLIED, OutcomeRing, REFUSED } from './outcome.ts'
import type { ProducerBuffers } from './producer.ts'
import { ChangeRing, WordRing } from './ring.ts'
import { Control } from './state.ts'

export type ThreadOrders = {
  readonly producer: ProducerBuffers
  readonly control: SharedArrayBuffer
  readonly changes: number
  readonly words: number
  /** Sums of what was seen: changes, words. */
  readonly sums: SharedArrayBuffer
}

const orders = workerData as ThreadOrders
const { producer } = orders
const control = new Control(orders.control)
const changes = new ChangeRing(producer.changes)
const touches = new WordRing(producer.touches)
const outcomes = new OutcomeRing(producer.outcomes)
const sums = new Int32Array(orders.sums)
const scratch = new Int32Array(64)
let seen = 0
let words = 0

// A thread that only waits in Atomics.waitAsync has nothing that keeps its event loop alive.
const alive = setInterval(() => {}, 60_000)
while (seen < orders.changes || words < orders.words) {
  const n = changes.available()
  for (let i = 0; i < n; i++) {
    const at = changes.at(changes.head + i)
    sums[0] = (sums[0]! + changes.words[at]! + changes.words[at + 23]!) | 0
  }
  if (n > 0) {
    const first = changes.head
    changes.take(n)
    seen += n
    while (!outcomes.push(first, n, (first & 1) === 0 ? APPLIED : REFUSED))
      throw new Error('outcome ring full')
    outcomes.publish()
    if (outcomes.takeSleeper()) Atomics.notify(outcomes.control, 32)
  }
  const m = touches.drain(scratch, 0, 7)
  for (let i = 0; i < m; i++) sums[1] = (Math.imul(sums[1]!, 31) + scratch[i]!) | 0
  words += m
  if (n + m > 0) continue
  const sleep = control.sleepReplica(1000)
  if (changes.available() > 0 || touches.available() > 0) {
    control.replicaAwake()
    continue
  }
  if (sleep.async) await sleep.value
  control.replicaAwake()
}
clearInterval(alive)
