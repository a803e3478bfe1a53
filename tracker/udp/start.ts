// Starts and ends the UDP workers, for the main thread.
// Refuses: to restart a worker: one that ends by itself has failed, and the owner ends the process.

import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { writeSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import type { StoreBuffers } from '../swarm/layout.ts'
import { OutcomeRing } from '../threads/outcome.ts'
import type { ProducerBuffers } from '../threads/producer.ts'
import { counterBuffer, countsOf, sumCounters, type UdpCounter } from './counters.ts'
import { floodBuffer, floodsOf, floodWarnings } from './flood.ts'
import { UdpOpenError } from './socket.ts'
import type { WorkerLimits, WorkerNews, WorkerOrders } from './worker.ts'

/**
 * Of a worker's heap: hardly anything is allocated there, and V8 would let garbage lie around up to 48 MiB.
 */
const YOUNG_MIB = 3

export { UdpOpenError } from './socket.ts'

const UDP_LIMITS: WorkerLimits = {
  parkForMs: 3500,
  waiting: 4096,
  answerBytes: 1200,
  batch: 128,
  receiveBufferBytes: 16 << 20,
  sendBufferBytes: 16 << 20,
  sliceNanoseconds: 10_000_000,
  gatherMicroseconds: 200,
}

export type UdpOptions = {
  /** Literal addresses, each gets a socket in every worker; `0.0.0.0` and `::` for all of a family. */
  readonly hosts: readonly string[]
  /** 0: any free one, the same for all hosts. */
  readonly port: number
  readonly buffers: StoreBuffers
  /** The buffer of `Control`. */
  readonly control: SharedArrayBuffer
  /** One a worker: so many workers. Made with `createEventFd`. */
  readonly producers: readonly ProducerBuffers[]
  readonly limits?: Partial<WorkerLimits>
  /** Sockets of node:dgram even where batches are to be had. The producers have no eventfd then. */
  readonly useDgram?: boolean
}

export type UdpWorkers = {
  readonly port: number
  /** True: batched system calls; false: node:dgram. */
  readonly native: boolean
  /** What the kernel granted the first worker's sockets, bytes. */
  readonly receiveBufferBytes: readonly number[]
  /** Sums over all workers, by the names of counters.ts. */
  counters(): Record<UdpCounter, number>
  /** Networks that flood while datagrams are lost, the heaviest first: for people. */
  floods(): string[]
  /** Answers what is parked, closes the sockets, ends the threads. */
  stop(): Promise<void>
  /** Resolves with the reason when a worker ends that was not told to. */
  readonly failed: Promise<Error>
}

/** Are batched system calls to be had here? */
export const nativeUdp = (): Promise<boolean> =>
  import('./mmsg.ts').then(
    () => true,
    () => false,
  )

/** For `producerBuffers`: what wakes a UDP worker; -1 where it sleeps in the event loop. */
export async function createEventFd(useDgram = false): Promise<number> {
  return useDgram || !(await nativeUdp()) ? -1 : (await import('./mmsg.ts')).createEventFd()
}

/** Rejects with UdpOpenError (EADDRINUSE says which port, and how to move); nothing is left open then. */
export async function startUdpWorkers(options: UdpOptions): Promise<UdpWorkers> {
  const { producers, hosts } = options
  const native = options.useDgram !== true && (await nativeUdp())
  if (producers.length === 0 || hosts.length === 0)
    throw new RangeError('no UDP worker or no address to listen on')
  if (producers.some(({ eventFd }) => eventFd >= 0 !== native))
    throw new RangeError('producers of UDP workers have an eventfd exactly if sockets are native')
  const limits = { ...UDP_LIMITS, ...options.limits }
  const port = await freePort(hosts, options.port)
  const stopBuffer = new SharedArrayBuffer(4)
  const running = producers.map((producer, i) =>
    start({
      name: `skep-udp-${i}`,
      hosts,
      port,
      reusePort: producers.length > 1,
      useDgram: !native,
      seed: randomInt(1, 2 ** 31),
      limits,
      store: options.buffers,
      control: options.control,
      producer,
      counters: counterBuffer(),
      flood: floodBuffer(),
      stop: stopBuffer,
    }),
  )
  let stopping = false
  const stop = async () => {
    stopping = true
    Atomics.store(new Int32Array(stopBuffer), 0, 1)
    for (const { orders } of running) wake(orders.producer)
    await Promise.all(running.map(({ ended }) => ended))
  }
  const failed = Promise.race(
    running.map(async ({ ended, orders }) => {
      const error = await ended
      if (stopping && error === null) return new Promise<never>(() => {})
      return error ?? new Error(`thread ${orders.name} ended by itself`)
    }),
  )
  let news: { receiveBufferBytes: readonly number[] }[]
  try {
    news = await Promise.all(running.map(({ started }) => started))
  } catch (error) {
    await stop()
    throw error
  }
  const counts = running.map(({ orders }) => countsOf(orders.counters))
  return {
    port,
    native,
    receiveBufferBytes: news[0]!.receiveBufferBytes,
    counters: () => sumCounters(counts),
    floods: () => floodWarnings(floodsOf(running.map(({ orders }) => orders.flood))),
    stop,
    failed,
  }
}

type Running = {
  readonly orders: WorkerOrders
  /** Sockets are open; rejects if they cannot be. */
  readonly started: Promise<{ receiveBufferBytes: readonly number[] }>
  /** The thread is over; with the error if that was the reason. */
  readonly ended: Promise<Error | null>
}

function start(orders: WorkerOrders): Running {
  const worker = new Worker(new URL('./worker.ts', import.meta.url), {
    workerData: orders,
    name: orders.name,
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
  })
  const ended = new Promise<Error | null>((resolve) => {
    worker.once('error', (cause) => resolve(new Error(`thread ${orders.name} failed`, { cause })))
    worker.once('exit', () => resolve(null))
  })
  const started = new Promise<{ receiveBufferBytes: readonly number[] }>((resolve, reject) => {
    worker.once('message', (news: WorkerNews) => {
      if (news.kind === 'ready') resolve(news)
      else reject(new UdpOpenError(news.code, news.host, news.port, 'bind'))
    })
    ended.then((error) => reject(error ?? new Error(`thread ${orders.name} ended before it was ready`)))
  })
  return { orders, started, ended }
}

function wake(producer: ProducerBuffers): void {
  if (producer.eventFd >= 0) writeSync(producer.eventFd, new Uint8Array(new BigUint64Array([1n]).buffer))
  else {
    const outcomes = new OutcomeRing(producer.outcomes)
    Atomics.store(outcomes.control, 32, 0)
    Atomics.notify(outcomes.control, 32)
  }
}

/**
 * The port, after one look that nobody holds it: sockets that share a port would share it with another
 * process of the same user too, and each would answer half of the clients.
 */
async function freePort(hosts: readonly string[], port: number): Promise<number> {
  let found = port
  for (const host of hosts) {
    const socket = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4', ipv6Only: host.includes(':') })
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject)
        socket.bind({ port: found, address: host, exclusive: true }, resolve)
      })
      found = socket.address().port
    } catch (error) {
      const { code = 'unknown', syscall = 'bind' } = error as NodeJS.ErrnoException
      throw new UdpOpenError(code, host, found, syscall)
    } finally {
      socket.close()
    }
  }
  return found
}
