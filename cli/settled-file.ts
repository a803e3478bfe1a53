// Reads a file that somebody may be writing, or that may never answer: whole, once it has been left alone,
// and bounded in time and bytes. Refuses: what is no file (pipes, devices, folders), and to be waited for.

import { type BigIntStats, constants } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { setTimeout as wait } from 'node:timers/promises'

/** Largest list, bytes. */
const LIST_BYTES = 64 * 1024 * 1024
/** A file counts as written when two looks so far apart see the same, milliseconds. */
const SETTLE_MS = 100
/** And when nobody has written it for so long, milliseconds. */
const QUIET_MS = 1000
/** A file that is written for longer is no list, milliseconds. */
const BUSY_MS = 30_000
/** One look takes no longer, or its file system is not there, milliseconds. */
const READ_MS = 10_000
const PIECE_BYTES = 1024 * 1024

export type ReadText =
  | { readonly kind: 'text'; readonly text: string; readonly stamp: string; readonly found: Found }
  /** Nobody has touched it since the stamp that was named. */
  | { readonly kind: 'same' }
  /** `passes`: it may be well again by itself. */
  | { readonly kind: 'fault'; readonly fault: string; readonly passes: boolean }
  | { readonly kind: 'stopped' }

/** Whose it is, and who may read it. */
type Found = { readonly mode: number; readonly uid: number }
type Seen = { readonly stamp: string; readonly mtimeMs: number; readonly found: Found }

let hung = 0
/** Reads that no file system has answered yet: a process with such a one cannot end in the usual way. */
export const hungReads = (): number => hung

const fault = (text: string, passes = false): ReadText => ({ kind: 'fault', fault: text, passes })

export class SettledFile {
  private readonly path: string
  private readonly most: number
  private silent = false

  /** `most`: bytes. */
  constructor(path: string, most = LIST_BYTES) {
    this.path = path
    this.most = most
  }

  /** Its text once it is whole, unless it is still what `seen` stands for; never rejects. */
  text(signal: AbortSignal, seen = ''): Promise<ReadText> {
    return this.guarded(signal, async () => {
      const until = performance.now() + BUSY_MS
      for (let before = await this.stamp(signal); ; ) {
        if (before.stamp === seen) return { kind: 'same' }
        await wait(SETTLE_MS, undefined, { signal })
        const now = await this.stamp(signal)
        if (now.stamp === before.stamp && isQuiet(now.mtimeMs)) {
          const read = await this.bounded(readWhole(this.path, this.most), signal)
          if (read.whole && read.stamp === now.stamp) return { kind: 'text', ...read }
        }
        if (performance.now() > until) return fault('it is being written all the time', true)
        before = now
      }
    })
  }

  /** Its text as it is now, for whoever looks once; never rejects. */
  now(signal: AbortSignal): Promise<ReadText> {
    return this.guarded(signal, async () => {
      // A pipe is not even opened: whoever writes to it would take that for a reader.
      await this.stamp(signal)
      return { kind: 'text', ...(await this.bounded(readWhole(this.path, this.most), signal)) }
    })
  }

  private async guarded(signal: AbortSignal, read: () => Promise<ReadText>): Promise<ReadText> {
    // One that does not answer occupies a thread: no second one.
    if (this.silent) return fault(SILENT, true)
    try {
      return await read()
    } catch (error) {
      if (signal.aborted) return { kind: 'stopped' }
      if (error instanceof Silent) return fault(SILENT, true)
      if (error instanceof NoFile) return fault(error.message)
      const { code, message } = error as NodeJS.ErrnoException
      if (code === 'EACCES') return fault('this user may not read it')
      return fault(code === 'ENOENT' ? 'the file is not there' : message)
    }
  }

  private stamp(signal: AbortSignal): Promise<Seen> {
    return this.bounded(stampOf(this.path, this.most), signal)
  }

  private async bounded<T>(reading: Promise<T>, signal: AbortSignal): Promise<T> {
    const ended = new AbortController()
    const late = wait(READ_MS, undefined, { signal: AbortSignal.any([signal, ended.signal]) }).then(() => {
      throw new Silent()
    })
    // Told to stop or out of patience while it reads: it is left to itself, and counted until it answers.
    let answered = false
    reading.then(
      () => (answered = true),
      () => (answered = true),
    )
    try {
      return await Promise.race([reading, late])
    } catch (error) {
      if (!answered) {
        hung++
        this.silent = true
        const back = (): void => {
          hung--
          this.silent = false
        }
        reading.then(back, back)
      }
      throw error
    } finally {
      ended.abort()
      late.catch(() => {})
    }
  }
}

class Silent extends Error {}
class NoFile extends Error {}
const SILENT = `its file system has not answered for ${READ_MS / 1000} s`

/** A file from the future has a clock of its own. */
const isQuiet = (mtimeMs: number): boolean => Math.abs(Date.now() - mtimeMs) >= QUIET_MS

async function stampOf(path: string, most: number): Promise<Seen> {
  return describe(await stat(path, { bigint: true }), most)
}

function describe(found: BigIntStats, most: number): Seen {
  if (!found.isFile())
    throw new NoFile(
      `it is ${found.isDirectory() ? 'a folder' : found.isFIFO() ? 'a named pipe' : 'a device'}, and only files are read`,
    )
  if (found.size > most) throw new NoFile(`the file has ${found.size} bytes, at most ${most} are read`)
  const { ino, size, mtimeNs, ctimeNs, mode, uid } = found
  return {
    stamp: `${ino} ${size} ${mtimeNs} ${ctimeNs}`,
    mtimeMs: Number(mtimeNs / 1_000_000n),
    found: { mode: Number(mode), uid: Number(uid) },
  }
}

type Read = { readonly stamp: string; readonly found: Found; readonly text: string; readonly whole: boolean }

/** Not by its size: some files say 0 and never end. `whole`: nobody wrote meanwhile. */
async function readWhole(path: string, most: number): Promise<Read> {
  // A pipe that took the file's place meanwhile must not be waited for.
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
  try {
    const { stamp } = describe(await file.stat({ bigint: true }), most)
    const text = await bytesOf(file, most)
    const after = describe(await file.stat({ bigint: true }), most)
    return { stamp, text, whole: after.stamp === stamp, found: after.found }
  } finally {
    await file.close()
  }
}

async function bytesOf(file: FileHandle, most: number): Promise<string> {
  const pieces: Buffer[] = []
  for (let bytes = 0; ; ) {
    const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, most + 1))
    const { bytesRead } = await file.read(piece, 0, piece.length)
    if (bytesRead === 0) return Buffer.concat(pieces).toString()
    bytes += bytesRead
    if (bytes > most) throw new NoFile(`the file has more than ${most} bytes`)
    pieces.push(piece.subarray(0, bytesRead))
  }
}
