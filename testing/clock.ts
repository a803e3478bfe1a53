// Time that passes only when it is told to, for simulations: a queue of events in the world's time, and
// clocks of members that start anywhere, run fast or slow, jump, and stand still with their process. Refuses:
// real time, and to run two events at once. Equal times run in the order in which they were asked for.

export type Timer = {
  /** World milliseconds; Infinity: not queued. */
  readonly at: number
}

type Event = { at: number; order: number; run: (() => void) | null }

/** What waits for time: the world's clock or a member's. */
export interface Ticker {
  now(): number
  /** Milliseconds of this clock. */
  after(ms: number, run: () => void): Timer
  cancel(timer: Timer): void
}

export class VirtualClock implements Ticker {
  private time = 0
  private order = 0
  private readonly heap: Event[] = []

  /** Milliseconds since the beginning of the world. */
  now(): number {
    return this.time
  }

  after(ms: number, run: () => void): Timer {
    return this.push(this.time + Math.max(0, ms), run)
  }

  /** Again and again, first after `ms`. `cancel` takes what is returned. */
  every(ms: number, run: () => void): Timer {
    const event: Event = { at: this.time + ms, order: this.order++, run: null }
    event.run = () => {
      run()
      event.at = this.time + ms
      event.order = this.order++
      this.insert(event)
    }
    return this.insert(event)
  }

  cancel(timer: Timer): void {
    ;(timer as Event).run = null
  }

  /** When the next event is due; Infinity: never. */
  next(): number {
    this.forgetCancelled()
    return this.heap[0]?.at ?? Number.POSITIVE_INFINITY
  }

  /** Moves to the next event and runs it; false when there is none. */
  step(): boolean {
    this.forgetCancelled()
    const event = this.pop()
    if (event === undefined) return false
    this.time = event.at
    event.run!()
    return true
  }

  /** Runs all that is due within `ms`, and is `ms` later then. */
  advance(ms: number): void {
    const until = this.time + ms
    while (this.next() <= until) this.step()
    this.time = until
  }

  private push(at: number, run: () => void): Event {
    return this.insert({ at, order: this.order++, run })
  }

  private forgetCancelled(): void {
    while (this.heap.length > 0 && this.heap[0]!.run === null) this.pop()
  }

  private insert(event: Event): Event {
    const heap = this.heap
    let i = heap.push(event) - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (!before(event, heap[parent]!)) break
      heap[i] = heap[parent]!
      i = parent
    }
    heap[i] = event
    return event
  }

  private pop(): Event | undefined {
    const heap = this.heap
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    let i = 0
    for (let child = 1; child < heap.length; child = 2 * i + 1) {
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
      if (!before(heap[child]!, last)) break
      heap[i] = heap[child]!
      i = child
    }
    heap[i] = last
    return first
  }
}

const before = (a: Event, b: Event): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)

/** What a member's clock shows moves in this many steps a millisecond. */
const STEPS = 1024
/** A member's timers are this late, so that its clock shows the time they are for. */
const LATE_MS = 1e-6

type OwnTimer = { at: number; due: number; event: Timer | null; readonly run: () => void }

/** A member's monotonic clock: nobody else's zero, nobody else's second. */
export class MemberClock implements Ticker {
  private readonly world: VirtualClock
  private own: number
  private anchor: number
  private rate: number
  private stopped = false
  private readonly timers = new Set<OwnTimer>()

  /** `originMs`: what it shows now; `rate`: own milliseconds in one of the world's. */
  constructor(world: VirtualClock, originMs: number, rate: number) {
    this.world = world
    this.own = originMs
    this.rate = rate
    this.anchor = world.now()
  }

  /** In steps of 1/1024 ms, so that sums of what it shows are exact. */
  now(): number {
    return Math.floor(this.exact() * STEPS) / STEPS
  }

  private exact(): number {
    return this.own + (this.world.now() - this.anchor) * this.rate
  }

  /** To the step in which the time is over: nobody waits for a last fraction again and again. */
  after(ms: number, run: () => void): Timer {
    const due = Math.ceil((this.now() + Math.max(0, ms)) * STEPS) / STEPS
    const timer: OwnTimer = { at: 0, due, event: null, run }
    this.timers.add(timer)
    this.queue(timer)
    return timer
  }

  cancel(timer: Timer): void {
    const own = timer as OwnTimer
    this.timers.delete(own)
    if (own.event !== null) this.world.cancel(own.event)
  }

  /** Forwards only: what a monotonic clock may do when a machine was moved or a counter corrected. */
  jump(ms: number): void {
    if (ms < 0) throw new RangeError(`a monotonic clock does not go back (${ms} ms)`)
    this.change(ms, this.rate)
  }

  setRate(rate: number): void {
    this.change(0, rate)
  }

  /** The process stands still (SIGSTOP): time passes, nothing of it runs. */
  stop(): void {
    this.stopped = true
    this.change(0, this.rate)
  }

  /** What became due meanwhile runs now, in the order of its times. */
  goOn(): void {
    this.stopped = false
    this.change(0, this.rate)
  }

  get standing(): boolean {
    return this.stopped
  }

  /** All timers are forgotten: the process is gone. */
  clear(): void {
    for (const timer of this.timers) this.cancel(timer)
  }

  private change(jumpMs: number, rate: number): void {
    this.own = this.exact() + jumpMs
    this.anchor = this.world.now()
    this.rate = rate
    const timers = [...this.timers].sort((a, b) => a.due - b.due)
    for (const timer of timers) {
      if (timer.event !== null) this.world.cancel(timer.event)
      this.queue(timer)
    }
  }

  private queue(timer: OwnTimer): void {
    timer.event = null
    timer.at = Number.POSITIVE_INFINITY
    if (this.stopped) return
    timer.event = this.world.after((timer.due - this.exact()) / this.rate + LATE_MS, () => {
      this.timers.delete(timer)
      timer.run()
    })
    timer.at = timer.event.at
  }
}
