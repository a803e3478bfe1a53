// How a running command is told to stop: once is a request, twice an order. Refuses: deciding what a stop
// means; and to take for an order what is only the same request by two ways (a supervisor that signals the
// process group, then the process).

/**
 * A second signal within this is the same request, milliseconds; at a terminal, where a person presses a key,
 * sooner.
 */
const SAME_MS = 1000
const SAME_KEY_MS = 150

/** Is `signal`, so long after the first one, an order to end at once? */
export const isOrder = (signal: string, sinceMs: number, terminal: boolean): boolean =>
  sinceMs >= (signal === 'SIGINT' && terminal ? SAME_KEY_MS : SAME_MS)

export type Signals = {
  readonly first: Promise<string>
  /** Rejects at a second signal that is an order: stop at once. */
  readonly second: Promise<never>
  /** Aborts with the first: a replica may wait long for others before it runs. */
  readonly opening: AbortSignal
}

export class Forced extends Error {}

let caught: Signals | undefined

/** From the first call on signals are requests; every call gives the same. */
export function catchSignals(): Signals {
  caught ??= listen()
  return caught
}

function listen(): Signals {
  const first = Promise.withResolvers<string>()
  const second = Promise.withResolvers<never>()
  second.promise.catch(() => {})
  const opening = new AbortController()
  let firstMs: number | null = null
  const take = (signal: string): void => {
    const nowMs = performance.now()
    if (firstMs === null) {
      firstMs = nowMs
      first.resolve(signal)
      opening.abort()
    } else if (isOrder(signal, nowMs - firstMs, process.stdin.isTTY === true))
      second.reject(new Forced(`${signal} for the second time: ended at once`))
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => take(signal))
  // Whoever started this process with a channel to it has ended, and its replicas end with it.
  process.once('disconnect', () => take('the process that started it has ended'))
  return { first: first.promise, second: second.promise, opening: opening.signal }
}
