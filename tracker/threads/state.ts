// The few words every thread of a replica reads: may we answer, which time is it, with which limits.
// One writer a word (named beside it). Refuses: anything that belongs to a swarm; that lies in the store.

/** Where the replica stands. */
export const STARTING = 0
/** A lease holds: refreshes and scrapes are answered. */
export const SERVING = 1
/** No leader or no lease: requests wait. */
export const WAITING = 2
/** Draining before the end: parked requests are answered, new ones are not taken. */
export const STOPPING = 3

/** Word offsets (32-bit words) in the control buffer. */
const STATE = 0
const INTERVAL_SECONDS = 1
const ID_GRACE_WINDOWS = 2
const DISK_FULL = 3
const REPLICA_SLEEPS = 16
const LEASE_UNTIL_MS = 8 // as a float64: word 8..9

export const controlBuffer = (): SharedArrayBuffer => new SharedArrayBuffer(1024)

/** Milliseconds of the machine's monotonic clock, the same in every thread of the process. */
export const monotonicMs = (): number => Number(process.hrtime.bigint() / 1000n) / 1000

export class Control {
  private readonly words: Int32Array<SharedArrayBuffer>
  private readonly floats: Float64Array<SharedArrayBuffer>

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer)
    this.floats = new Float64Array(buffer)
  }

  /** Replica thread. */
  setState(state: number): void {
    Atomics.store(this.words, STATE, state)
  }

  get state(): number {
    return Atomics.load(this.words, STATE)
  }

  /** Replica thread: the lease holds while `monotonicMs()` is below this (Infinity for a Raft of one). */
  setLeaseUntil(ms: number): void {
    this.floats[LEASE_UNTIL_MS / 2] = ms
  }

  /** May a refresh or a scrape be answered now? Tested before every send of a batch. */
  mayAnswer(nowMs: number): boolean {
    return Atomics.load(this.words, STATE) === SERVING && nowMs < this.floats[LEASE_UNTIL_MS / 2]!
  }

  /**
   * May the answer of a committed change leave now? As `mayAnswer`, and while draining before the end too.
   */
  mayRelease(nowMs: number): boolean {
    const state = Atomics.load(this.words, STATE)
    return (state === SERVING || state === STOPPING) && nowMs < this.floats[LEASE_UNTIL_MS / 2]!
  }

  /** Main thread: the announce interval handed out now, seconds, before jitter. */
  setIntervalSeconds(seconds: number): void {
    Atomics.store(this.words, INTERVAL_SECONDS, seconds)
  }

  get intervalSeconds(): number {
    return Atomics.load(this.words, INTERVAL_SECONDS)
  }

  /** Main thread: older windows whose connection IDs are still taken, beyond the previous one. */
  setIdGraceWindows(windows: number): void {
    Atomics.store(this.words, ID_GRACE_WINDOWS, windows)
  }

  get idGraceWindows(): number {
    return Atomics.load(this.words, ID_GRACE_WINDOWS)
  }

  /** Replica thread: the store takes no more changes (disk full or failed); they are refused at once. */
  setDiskFull(full: boolean): void {
    Atomics.store(this.words, DISK_FULL, full ? 1 : 0)
  }

  get diskFull(): boolean {
    return Atomics.load(this.words, DISK_FULL) === 1
  }

  /**
   * Replica thread: about to sleep on the returned wait; look at the rings once more between this and
   * awaiting.
   */
  sleepReplica(timeoutMs: number): { async: boolean; value: Promise<string> | string } {
    Atomics.store(this.words, REPLICA_SLEEPS, 1)
    return Atomics.waitAsync(this.words, REPLICA_SLEEPS, 1, timeoutMs)
  }

  /** Replica thread: awake; producers need not wake it. */
  replicaAwake(): void {
    Atomics.store(this.words, REPLICA_SLEEPS, 0)
  }

  /** Front end, after publishing to a ring: wakes the replica thread if it sleeps. */
  wakeReplica(): void {
    if (
      Atomics.load(this.words, REPLICA_SLEEPS) === 1 &&
      Atomics.exchange(this.words, REPLICA_SLEEPS, 0) === 1
    )
      Atomics.notify(this.words, REPLICA_SLEEPS)
  }
}
