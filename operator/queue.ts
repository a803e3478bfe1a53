// Keys of resources that want a pass: each at most once, now or later, backed off when a pass fails. A key
// whose pass is under way is not handed out again before that pass has ended, so one cluster is never worked
// on twice at once. Refuses: clocks and timers; the time is an argument, and whoever waits asks when there is
// something to do.

export type Queue = {
  /** Due at once, whatever was planned; while its pass runs: again right after it. */
  add(key: string, nowMs: number): void
  /** Due at that time, unless it is due sooner. */
  addAt(key: string, atMs: number): void
  /** A key that is due, handed out until `done` or `failed`; null: none. Longest due first. */
  take(nowMs: number): string | null
  /** Its pass went well; it is due again at `againAtMs`, or null: when something happens. */
  done(key: string, againAtMs: number | null): void
  /**
   * Its pass failed; the wait doubles with each failure in a row. Returns that wait. `chance`: 0 to 1,
   * spreads waits.
   */
  failed(key: string, nowMs: number, chance: number): number
  /** The resource is gone. */
  forget(key: string): void
  /** When the next key is due; null: none is planned. */
  nextMs(): number | null
  /** Keys that are due or planned. */
  size(): number
}

export type Backoff = { readonly firstMs: number; readonly mostMs: number }

const BACKOFF: Backoff = { firstMs: 500, mostMs: 60_000 }

export const newQueue = ({ firstMs, mostMs }: Backoff = BACKOFF): Queue => {
  const due = new Map<string, number>()
  /** Under way -> when it is due again. */
  const running = new Map<string, number | null>()
  const failures = new Map<string, number>()
  const sooner = (a: number | null | undefined, b: number): number => (a == null ? b : Math.min(a, b))

  const addAt = (key: string, atMs: number): void => {
    if (running.has(key)) running.set(key, sooner(running.get(key), atMs))
    else due.set(key, sooner(due.get(key), atMs))
  }
  const end = (key: string, againAtMs: number | null): void => {
    const meanwhile = running.get(key)
    running.delete(key)
    const at = againAtMs === null ? (meanwhile ?? null) : sooner(meanwhile, againAtMs)
    if (at !== null) due.set(key, sooner(due.get(key), at))
  }
  return {
    add: addAt,
    addAt,
    take(nowMs) {
      let found: string | null = null
      for (const [key, at] of due) if (at <= nowMs && (found === null || at < due.get(found)!)) found = key
      if (found === null) return null
      due.delete(found)
      running.set(found, null)
      return found
    },
    done(key, againAtMs) {
      failures.delete(key)
      end(key, againAtMs)
    },
    failed(key, nowMs, chance) {
      const count = failures.get(key) ?? 0
      failures.set(key, count + 1)
      const waitMs = Math.min(mostMs, firstMs * 2 ** Math.min(count, 30)) * (0.75 + chance / 2)
      // What happened during a failed pass does not shorten the wait: it would turn a fault into a hot loop.
      running.set(key, null)
      end(key, nowMs + waitMs)
      return waitMs
    },
    forget(key) {
      due.delete(key)
      failures.delete(key)
    },
    nextMs: () => (due.size === 0 ? null : Math.min(...due.values())),
    size: () => due.size,
  }
}
