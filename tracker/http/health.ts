// The main thread's side of the probes' own port: starts its thread, and tells it how things stand when
// asked. Refuses: to keep a replica from starting because a port that nobody asked for is taken.

import { Worker } from 'node:worker_threads'
import { HttpOpenError } from './open-error.ts'

/** `note`: what is wrong all the same. */
export type Probe = { readonly ok: boolean; readonly reason: string; readonly note?: string }
export type Probes = { readonly live: Probe; readonly ready: Probe }

export type HealthOrders = {
  /** Addresses to listen on. */
  readonly hosts: readonly string[]
  /** TCP port; 0: any free one, the same on all hosts. */
  readonly port: number
}

export type HealthNews =
  | { readonly kind: 'open'; readonly port: number }
  | { readonly kind: 'fault'; readonly code: string; readonly host: string; readonly port: number }
  | { readonly kind: 'ask' }

export type Health = {
  readonly port: number
  /** The thread ended by itself. */
  readonly failed: Promise<Error>
  close(): Promise<void>
}

/** MiB of heap: it answers a few requests a minute. */
const HEAP = { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 32 }

/** Rejects: HttpOpenError. `probes` is asked at each probe, and once a second. */
export async function startHealth(orders: HealthOrders, probes: () => Probes): Promise<Health> {
  const worker = new Worker(new URL('./health-thread.ts', import.meta.url), {
    workerData: orders,
    name: 'health',
    resourceLimits: HEAP,
  })
  let closing = false
  const ended = new Promise<Error>((resolve) => {
    worker.once('error', (cause) => resolve(new Error('thread health failed', { cause })))
    worker.once('exit', () => closing || resolve(new Error('thread health ended')))
  })
  const close = async (): Promise<void> => {
    closing = true
    await worker.terminate()
  }
  const opened = new Promise<number>((resolve, reject) => {
    worker.on('message', (news: HealthNews) => {
      if (news.kind === 'ask') worker.postMessage(probes())
      else if (news.kind === 'open') resolve(news.port)
      else reject(new HttpOpenError(news.code, news.host, news.port, 'health-port'))
    })
    void ended.then(reject)
  })
  try {
    return { port: await opened, failed: ended, close }
  } catch (error) {
    await close()
    throw error
  }
}
