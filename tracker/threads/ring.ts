// Single-producer single-consumer rings in shared memory: front end -> replica thread. Refuses: more than one
// producer or consumer a ring, records that wrap, waiting. Positions only grow (mod 2^32).

/**
 * Words (32 bits) of a control block: 0 head, 16 tail, 32 "consumer sleeps"; each on a cache line of its own.
 */
const CONTROL_BYTES = 256
const HEAD = 0
const TAIL = 16
const SLEEPING = 32

/** Words a change record takes in the ring; the layout is in swarm/change.ts. */
export const RECORD_WORDS = 24

export const ringBuffer = (words: number): SharedArrayBuffer => {
  if ((words & (words - 1)) !== 0) throw new RangeError(`ring of ${words} words: not a power of two`)
  return new SharedArrayBuffer(CONTROL_BYTES + words * 4)
}

/**
 * A ring of 32-bit words; the producer publishes its tail once a batch, the consumer its head once a drain.
 */
export class WordRing {
  readonly control: Int32Array<SharedArrayBuffer>
  readonly words: Int32Array<SharedArrayBuffer>
  readonly mask: number
  head = 0
  tail = 0
  private headSeen = 0

  constructor(buffer: SharedArrayBuffer) {
    this.control = new Int32Array(buffer, 0, CONTROL_BYTES / 4)
    this.words = new Int32Array(buffer, CONTROL_BYTES)
    this.mask = this.words.length - 1
    this.head = this.headSeen = Atomics.load(this.control, HEAD)
    this.tail = Atomics.load(this.control, TAIL)
  }

  /** Producer: words that fit now. Reads the shared head only when the known room is under `need`. */
  room(need: number): number {
    let free = this.words.length - ((this.tail - this.headSeen) | 0)
    if (free < need) {
      this.headSeen = Atomics.load(this.control, HEAD)
      free = this.words.length - ((this.tail - this.headSeen) | 0)
    }
    return free
  }

  /** Producer: one word, not yet visible. The caller has asked `room`. */
  push(word: number): void {
    this.words[this.tail & this.mask] = word
    this.tail = (this.tail + 1) | 0
  }

  /** Producer: makes everything pushed visible. */
  publish(): void {
    Atomics.store(this.control, TAIL, this.tail)
  }

  /** Consumer: words ready. */
  available(): number {
    return (Atomics.load(this.control, TAIL) - this.head) | 0
  }

  /** Consumer: copies up to `max` words to `target` at `at`, frees them, returns how many. */
  drain(target: Int32Array, at: number, max: number): number {
    let n = this.available()
    if (n > max) n = max
    const from = this.head & this.mask
    const first = Math.min(n, this.words.length - from)
    target.set(this.words.subarray(from, from + first), at)
    if (n > first) target.set(this.words.subarray(0, n - first), at + first)
    this.head = (this.head + n) | 0
    Atomics.store(this.control, HEAD, this.head)
    return n
  }

  /** Consumer: says that it is about to sleep (check `available` once more afterwards). */
  sleeping(yes: boolean): void {
    Atomics.store(this.control, SLEEPING, yes ? 1 : 0)
  }

  /** Producer: true once when the consumer sleeps; the caller then wakes it. */
  takeSleeper(): boolean {
    return Atomics.load(this.control, SLEEPING) === 1 && Atomics.exchange(this.control, SLEEPING, 0) === 1
  }
}

/**
 * Change records from one front end to the replica thread. Record n (n counts from 0, mod 2^32) lies at slot
 * n & mask and stays readable by the producer until the producer itself frees it, which it does when the
 * outcome came: so a parked request needs no copy, and its sequence number is its place.
 */
export class ChangeRing {
  readonly control: Int32Array<SharedArrayBuffer>
  readonly words: Int32Array<SharedArrayBuffer>
  /** Slots, a power of two: the most changes that may be parked at once by this front end. */
  readonly slots: number
  readonly mask: number
  /** Consumer's next sequence number. */
  head = 0
  /** Producer's next sequence number. */
  tail = 0

  constructor(buffer: SharedArrayBuffer) {
    this.control = new Int32Array(buffer, 0, CONTROL_BYTES / 4)
    this.words = new Int32Array(buffer, CONTROL_BYTES)
    this.slots = Math.floor(this.words.length / RECORD_WORDS)
    if ((this.slots & (this.slots - 1)) !== 0) throw new RangeError(`${this.slots} slots: not a power of two`)
    this.mask = this.slots - 1
    this.head = Atomics.load(this.control, HEAD)
    this.tail = Atomics.load(this.control, TAIL)
  }

  /** Word offset of record `sequence`. */
  at(sequence: number): number {
    return (sequence & this.mask) * RECORD_WORDS
  }

  /** Producer: makes every record before `tail` visible. */
  publish(): void {
    Atomics.store(this.control, TAIL, this.tail)
  }

  /** Consumer: records ready. */
  available(): number {
    return (Atomics.load(this.control, TAIL) - this.head) | 0
  }

  /** Consumer: `n` records were taken (the producer still owns their slots). */
  take(n: number): void {
    this.head = (this.head + n) | 0
    Atomics.store(this.control, HEAD, this.head)
  }
}

/** Buffer of a `ChangeRing` with room for `slots` parked changes (a power of two). */
export const changeRingBuffer = (slots: number): SharedArrayBuffer =>
  new SharedArrayBuffer(CONTROL_BYTES + slots * RECORD_WORDS * 4)
