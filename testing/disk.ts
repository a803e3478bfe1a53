// A disk for simulations: files of bytes, of which a power cut leaves only what was synced; each write since
// then survives whole, torn by sectors, or not at all, and a later one may survive an earlier one. Refuses:
// to know what the bytes mean, and to damage what was synced: that is a lost disk, another fault.

import type { Ticker } from './clock.ts'
import type { Random } from './random.ts'

/** The smallest part that is written whole, bytes. */
export const SECTOR_BYTES = 512

export type DiskPace = {
  /** A sync takes this long at least, milliseconds, and this much more on average. */
  readonly syncMs: number
  readonly syncJitterMs: number
}

/** `fails`: nothing was written; `fails-but-lands`: all was, and yet an error comes back. */
export type DiskFault = 'none' | 'full' | 'fails' | 'fails-but-lands'

/**
 * `process`: the machine lives on, and the system writes what it had taken. `power`: only what was synced is
 * sure.
 */
export type Crash = 'process' | 'power'

/** What a power cut leaves of one write that was not synced. */
export type Survival = 'whole' | 'torn' | 'lost'

type Write = { readonly offset: number; readonly bytes: Uint8Array }
type Bytes = { data: Uint8Array; size: number }
type File = { cached: Bytes; durable: Bytes; unsynced: Write[] }

export class VirtualDisk {
  pace: DiskPace
  fault: DiskFault = 'none'
  /** Counts. */
  writes = 0
  syncs = 0
  private readonly files = new Map<string, File>()
  private readonly time: Ticker | null
  private readonly random: Random
  private dead = false
  /** Raised by each crash. */
  readonly boot: number

  /** `time` null: everything takes no time. */
  constructor(time: Ticker | null, random: Random, pace: DiskPace, boot = 1) {
    this.time = time
    this.random = random
    this.pace = pace
    this.boot = boot
  }

  names(): string[] {
    return [...this.files.keys()].sort()
  }

  exists(name: string): boolean {
    return this.files.has(name)
  }

  /** The file as a reader of the living system sees it, synced or not: a view, good until the next write. */
  read(name: string): Uint8Array {
    const file = this.files.get(name)
    if (file === undefined) throw new Error(`ENOENT: no file ${name}`)
    return file.cached.data.subarray(0, file.cached.size)
  }

  size(name: string): number {
    return this.files.get(name)?.cached.size ?? 0
  }

  /**
   * Takes a write into the system's memory; the file is made if it is not there. Throws what `fault` says.
   */
  write(name: string, offset: number, bytes: Uint8Array): void {
    if (this.dead) return
    if (this.fault === 'full') throw diskError('ENOSPC', 'no space left on device')
    if (this.fault === 'fails') throw diskError('EIO', 'i/o error')
    this.writes++
    const file = this.file(name)
    const write = { offset, bytes: Uint8Array.from(bytes) }
    put(file.cached, write)
    file.unsynced.push(write)
  }

  append(name: string, bytes: Uint8Array): void {
    this.write(name, this.size(name), bytes)
  }

  /** Everything written so far is on disk when it resolves. Never resolves on a dead disk. */
  async sync(name: string): Promise<void> {
    const file = this.files.get(name)
    const upTo = file?.unsynced.length ?? 0
    await this.wait()
    if (this.dead) return never()
    if (this.fault === 'fails' || this.fault === 'full') throw diskError('EIO', 'i/o error during sync')
    this.syncs++
    if (file !== undefined) for (const w of file.unsynced.splice(0, upTo)) put(file.durable, w)
    if (this.fault === 'fails-but-lands') throw diskError('EIO', 'i/o error after sync')
  }

  /** Cuts the file off at `size`, for good. */
  truncate(name: string, size: number): void {
    if (this.dead) return
    const file = this.file(name)
    file.cached.size = Math.min(file.cached.size, size)
    file.durable = copyOf(file.cached)
    file.unsynced = []
  }

  /** Names are the file system's own and need no sync; the bytes behind them do. */
  rename(from: string, to: string): void {
    if (this.dead) return
    const file = this.files.get(from)
    if (file === undefined) throw new Error(`ENOENT: no file ${from}`)
    this.files.delete(from)
    this.files.set(to, file)
  }

  remove(name: string): void {
    if (!this.dead) this.files.delete(name)
  }

  /** This disk is dead from here on; returned is what the next process finds. */
  crash(how: Crash): VirtualDisk {
    this.dead = true
    const next = new VirtualDisk(this.time, this.random, this.pace, this.boot + (how === 'power' ? 1 : 0))
    for (const [name, file] of this.files) {
      if (how === 'power') for (const w of file.unsynced) this.survive(file.durable, w)
      next.files.set(name, {
        cached: copyOf(how === 'power' ? file.durable : file.cached),
        durable: file.durable,
        unsynced: how === 'power' ? [] : file.unsynced,
      })
    }
    return next
  }

  /** What `cp -a` makes of a living disk: another disk, with all that a reader sees at this moment. */
  copy(time: Ticker | null = this.time): VirtualDisk {
    const next = new VirtualDisk(time, this.random, this.pace, this.boot)
    for (const [name, { cached }] of this.files)
      next.files.set(name, { cached: copyOf(cached), durable: copyOf(cached), unsynced: [] })
    return next
  }

  private survive(bytes: Bytes, write: Write): void {
    const how = this.random.pick<Survival>(['whole', 'torn', 'lost'])
    if (how === 'whole') put(bytes, write)
    if (how !== 'torn') return
    // Sectors count from the start of the file: that is how a disk sees them.
    for (let at = 0; at < write.bytes.length; ) {
      const offset = write.offset + at
      const end = Math.min(write.bytes.length, at + SECTOR_BYTES - (offset % SECTOR_BYTES))
      if (this.random.chance(0.5)) put(bytes, { offset, bytes: write.bytes.subarray(at, end) })
      at = end
    }
  }

  private wait(): Promise<void> {
    const { time, pace } = this
    if (time === null) return Promise.resolve()
    const ms = pace.syncMs + this.random.exponential(pace.syncJitterMs)
    return new Promise((resolve) => time.after(ms, resolve))
  }

  private file(name: string): File {
    let file = this.files.get(name)
    if (file === undefined)
      this.files.set(name, (file = { cached: nothing(), durable: nothing(), unsynced: [] }))
    return file
  }
}

/** As the system calls say it. */
export const diskError = (code: string, what: string): Error =>
  Object.assign(new Error(`${code}: ${what}`), { code })

const never = (): Promise<never> => new Promise(() => {})

const nothing = (): Bytes => ({ data: new Uint8Array(0), size: 0 })
const copyOf = ({ data, size }: Bytes): Bytes => ({ data: data.slice(0, size), size })

/** What lies between the end and a write behind it is zeros. */
const put = (to: Bytes, { offset, bytes }: Write): void => {
  const end = offset + bytes.length
  if (end > to.data.length) {
    const larger = new Uint8Array(Math.max(end, 2 * to.data.length, 1024))
    larger.set(to.data.subarray(0, to.size))
    to.data = larger
  } else if (offset > to.size) to.data.fill(0, to.size, offset)
  to.data.set(bytes, offset)
  to.size = Math.max(to.size, end)
}
