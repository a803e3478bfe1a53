// How a running command is told to stop: once is a request, twice an order.
// Refuses: deciding what a stop means.

export type Signals = {
  readonly first: Promise<string>
  /** Rejects at the second signal: stop at once. */
  readonly second: Promise<never>
  /** Aborts with the first: a replica may wait long for others before it runs. */
  readonly opening: AbortSignal
}

export class Forced extends Error {}

export function catchSignals(): Signals {
  const first = Promise.withResolvers<string>()
  const second = Promise.withResolvers<never>()
  second.promise.catch(() => {})
  const opening = new AbortController()
  let seen = 0
  const take = (signal: string): void => {
    if (seen++ === 0) {
      first.resolve(signal)
      opening.abort()
    } else second.reject(new Forced(`${signal} for the second time: ended at once`))
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => take(signal))
  // Whoever started this process with a channel to it has ended, and its replicas end with it.
  process.once('disconnect', () => take('the process that started it has ended'))
  return { first: first.promise, second: second.promise, opening: opening.signal }
}
