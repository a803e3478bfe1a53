// Reads a file that somebody may be writing, or that may never answer: whole, once it has been left alone,
// and bounded in time and bytes. Refuses: what is no file (pipes, devices, folders), and to be waited for.

import { type BigIntStats, constants } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { setTimeout as wait } from 'node:timers/promises'

/** Largest file, bytes. */
const ACCESS_FILE_BYTES = 64 * 1024 * 1024
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
  | { readonly kind: 'text'; readonly text: string }
  /** `passes`: it may be well again by itself. */
  | { readonly kind: 'fault'; readonly fault: string; readonly passes: boolean }
  | { readonly kind: 'stopped' }

let hung = 0
/** Reads that no file system has answered yet: a process with such a one cannot end in the usual way. */
export const hungReads = (): number => hung

const fault = (text: string, passes = false): ReadText => ({ kind: 'fault', fault: text, passes })

export class SettledFile {
  private readonly path: string
  private silent = false

  constructor(path: string) {
    this.path = path
  }

  /** Its text once it is whole; never rejects. */
  async text(signal: AbortSignal): Promise<ReadText> {
    // One that does not answer occupies a thread: no second one.
    if (this.silent) return fault(SILENT, true)
    try {
      const until = performance.now() + BUSY_MS
      for (let before = await this.bounded(stampOf(this.path), signal); ; ) {
        await wait(SETTLE_MS, undefined, { signal })
        const now = await this.bounded(stampOf(this.path), signal)
        if (now.stamp === before.stamp && isQuiet(now.mtimeMs)) {
          const read = await this.bounded(readWhole(this.path), signal)
          if (read.stamp === now.stamp) return { kind: 'text', text: read.text }
        }
        if (performance.now() > until) return fault('it is being written all the time', true)
        before = now
      }
    } catch (error) {
      if (signal.aborted) return { kind: 'stopped' }
      if (error instanceof Silent) return fault(SILENT, true)
      if (error instanceof NoFile) return fault(error.message)
      const { code, message } = error as NodeJS.ErrnoException
      return fault(code === 'ENOENT' ? 'the file is not there' : message)
    }
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

async function stampOf(path: string): Promise<{ stamp: string; mtimeMs: number }> {
  return describe(await stat(path, { bigint: true }))
}

function describe(found: BigIntStats): { stamp: string; mtimeMs: number } {
  if (!found.isFile())
    throw new NoFile(
      `it is ${found.isDirectory() ? 'a folder' : found.isFIFO() ? 'a named pipe' : 'a device'}, and only files are read`,
    )
  if (found.size > ACCESS_FILE_BYTES)
    throw new NoFile(`the file has ${found.size} bytes, at most ${ACCESS_FILE_BYTES} are read`)
  const { ino, size, mtimeNs, ctimeNs } = found
  return { stamp: `${ino} ${size} ${mtimeNs} ${ctimeNs}`, mtimeMs: Number(mtimeNs / 1_000_000n) }
}

/** Not by its size: some files say 0 and never end. */
async function readWhole(path: string): Promise<{ stamp: string; text: string }> {
  // A pipe that took the file's place meanwhile must not be waited for.
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
  try {
    const before = describe(await file.stat({ bigint: true })).stamp
    const text = await bytesOf(file)
    return { stamp: describe(await file.stat({ bigint: true })).stamp === before ? before : '', text }
  } finally {
    await file.close()
  }
}

async function bytesOf(file: FileHandle): Promise<string> {
  const pieces: Buffer[] = []
  for (let bytes = 0; ; ) {
    const piece = Buffer.allocUnsafe(PIECE_BYTES)
    const { bytesRead } = await file.read(piece, 0, piece.length)
    if (bytesRead === 0) return Buffer.concat(pieces).toString()
    bytes += bytesRead
    if (bytes > ACCESS_FILE_BYTES) throw new NoFile(`the file has more than ${ACCESS_FILE_BYTES} bytes`)
    pieces.push(piece.subarray(0, bytesRead))
  }
}
