// When a worker should rest a moment before it looks at its sockets again, so that several datagrams share
// one wake-up: what network cards call interrupt coalescing. At some thousand requests a second waking is
// most of the price. Refuses: sockets and clocks; to rest where somebody waits for it: with few requests,
// with a busy core, or with clients that send only after they were answered.

/** Least datagrams a millisecond for which resting pays. */
const LEAST_RATE = 4
/** Least share of time asleep, without any rest: a busy worker gathers by being busy. */
const LEAST_IDLE = 0.4
/** Arrivals are measured without resting for this long, milliseconds... */
const PROBE_MS = 10
/** ...and with it for this long before the next look. */
const RESTING_MS = 250
/** A rate that falls to this share while resting belongs to clients that wait for answers. */
const KEPT_RATE = 0.7
/** Those are left alone for this long, milliseconds; twice as long each time it shows again. */
const HOLD_LEAST_MS = 40
const HOLD_MOST_MS = 2560

export class Gather {
  /** Of one rest, microseconds; 0: never. */
  private readonly restMicroseconds: number
  private resting = false
  private since = -1
  private received = 0
  private asleepMs = 0
  /** Datagrams a millisecond in the last look without resting. */
  private rate = 0
  private checked = false
  private heldUntilMs = -Infinity
  private holdMs = HOLD_LEAST_MS

  constructor(restMicroseconds: number) {
    this.restMicroseconds = restMicroseconds
  }

  /** `n` datagrams were received. */
  note(n: number): void {
    this.received += n
  }

  /** The worker slept this long because there was nothing to do. */
  slept(ms: number): void {
    this.asleepMs += ms
  }

  /** Before a sleep: how long to rest first, microseconds; 0: do not. */
  rest(nowMs: number): number {
    if (this.restMicroseconds === 0) return 0
    if (this.since < 0) this.look(nowMs)
    const passed = nowMs - this.since
    if (passed >= PROBE_MS) {
      if (!this.resting) this.decide(nowMs, passed)
      else if (!this.checked) this.check(nowMs, passed)
      else if (passed >= RESTING_MS) this.stop(nowMs)
    }
    return this.resting ? this.restMicroseconds : 0
  }

  private look(nowMs: number): void {
    this.since = nowMs
    this.received = 0
    this.asleepMs = 0
  }

  private decide(nowMs: number, passed: number): void {
    this.rate = this.received / passed
    const idle = this.asleepMs / passed
    this.resting = this.rate >= LEAST_RATE && idle >= LEAST_IDLE && nowMs >= this.heldUntilMs
    this.checked = false
    this.look(nowMs)
  }

  /** Clients that send again only when answered slow down with us: then it was wrong to rest. */
  private check(nowMs: number, passed: number): void {
    this.checked = true
    if (this.received / passed >= this.rate * KEPT_RATE) {
      this.holdMs = HOLD_LEAST_MS
      return
    }
    this.heldUntilMs = nowMs + this.holdMs
    this.holdMs = Math.min(this.holdMs * 2, HOLD_MOST_MS)
    this.stop(nowMs)
  }

  private stop(nowMs: number): void {
    this.resting = false
    this.look(nowMs)
  }
}
