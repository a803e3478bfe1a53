// A log's disk on a real file system: format file, mark, snapshot files; the key-value store comes as an
// argument.
//   FORMAT        which format and which store; written first, never again
//   owner         pid, host and time of the process that has it open: for people, the store's lock is what counts
//   mark          two slots of 64 bytes, written in place
//   store/        the key-value store
//   snapshots/    snapshot files, `.part` while unfinished
// Refuses: a directory of another format or store, and one that has lost its format file.

import { closeSync, openSync, readFileSync, readSync, writeSync } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import type { BlobWriter, KeyValue, LogDisk } from './disk.ts'
import { MARK_SLOT_BYTES } from './disk.ts'
import { LogDamaged, LogFormat, LogLocked } from './log.ts'
import { FORMAT } from './record.ts'

/** Opens the key-value store of a directory; `locked` makes the error for one that another process has. */
export type OpenKeyValue = (dir: string, locked: (cause: unknown) => LogLocked) => Promise<KeyValue>

/**
 * Snapshot bytes after which what was written so far is synced: many small flushes instead of one that stalls
 * the log.
 */
const SYNC_EVERY_BYTES = 8 * 1024 * 1024
const READ_PIECE_BYTES = 1024 * 1024

/** `storeName`: names the store in the format file, so that one store is never opened as another. */
export const fileDisk = (dir: string, storeName: string, openKeyValue: OpenKeyValue): LogDisk =>
  new FileDisk(dir, storeName, openKeyValue)

class FileDisk implements LogDisk {
  readonly place: string
  private readonly storeName: string
  private readonly openKeyValue: OpenKeyValue
  private markFd = -1

  constructor(dir: string, storeName: string, openKeyValue: OpenKeyValue) {
    this.place = dir
    this.storeName = storeName
    this.openKeyValue = openKeyValue
  }

  async claim(): Promise<boolean> {
    await mkdir(this.place, { recursive: true })
    const format = await readFile(join(this.place, 'FORMAT'), 'utf8').catch(absent)
    const expected = `${FORMAT} ${this.storeName}\n`
    if (format !== null && format !== expected)
      throw new LogFormat(
        `${this.place} holds "${format.trim()}", this program was told to open "${expected.trim()}". ` +
          'Use the option --log-store it was made with, or the version that wrote it.',
      )
    if (format === null) {
      const rest = (await readdir(this.place)).filter((name) => name !== 'lost+found' && name !== 'owner')
      if (rest.length > 0) {
        const what = rest.slice(0, 3).join(', ')
        throw new LogDamaged(`${this.place}, file FORMAT`, `the format file is missing beside ${what}`)
      }
      await writeSynced(join(this.place, 'FORMAT'), expected)
    } else await syncFile(join(this.place, 'FORMAT'))
    // Also when it was there: the process that wrote it may have died before it was on disk.
    await syncFile(this.place)
    return format === null
  }

  async openStore(): Promise<KeyValue> {
    const owner = await readFile(join(this.place, 'owner'), 'utf8').catch(absent)
    const kv = await this.openKeyValue(
      join(this.place, 'store'),
      (cause) => new LogLocked(this.place, owner?.trim() ?? '', { cause }),
    )
    await mkdir(join(this.place, 'snapshots'), { recursive: true })
    const text = `process ${process.pid} on ${hostname()} since ${new Date().toISOString()}\n`
    // For people only: a full disk must not keep a log from opening.
    await writeFile(join(this.place, 'owner'), text).catch(() => {})
    return kv
  }

  readMark(): Uint8Array | null {
    if (this.markFd >= 0) closeSync(this.markFd)
    this.markFd = -1
    try {
      this.markFd = openSync(join(this.place, 'mark'), 'r+')
    } catch (error) {
      return absent(error)
    }
    const bytes = Buffer.alloc(2 * MARK_SLOT_BYTES)
    return bytes.subarray(0, readSync(this.markFd, bytes, 0, bytes.length, 0))
  }

  writeMark(slot: number, bytes: Uint8Array): void {
    if (this.markFd < 0) {
      this.markFd = openSync(join(this.place, 'mark'), 'w+')
      writeSync(this.markFd, Buffer.alloc(2 * MARK_SLOT_BYTES), 0, 2 * MARK_SLOT_BYTES, 0)
    }
    writeSync(this.markFd, bytes, 0, bytes.byteLength, slot * MARK_SLOT_BYTES)
  }

  syncMark(): Promise<void> {
    return syncFile(join(this.place, 'mark'))
  }

  async createBlob(name: string): Promise<BlobWriter> {
    const dir = join(this.place, 'snapshots')
    const part = join(dir, `${name}.part`)
    const file = await open(part, 'w')
    let unsynced = 0
    // One flush under way while the next pieces are written: whoever writes waits for the one before it at
    // most.
    let syncing: Promise<void> = Promise.resolve()
    const abort = async (): Promise<void> => {
      await syncing.catch(() => {})
      await file.close().catch(() => {})
      await rm(part, { force: true })
    }
    return {
      async write(parts) {
        let bytes = 0
        for (const p of parts) bytes += p.byteLength
        const { bytesWritten } = await file.writev(parts)
        if (bytesWritten < bytes) await writeRest(file, parts, bytesWritten)
        unsynced += bytes
        if (unsynced < SYNC_EVERY_BYTES) return
        unsynced = 0
        await syncing
        syncing = file.datasync()
        syncing.catch(() => {})
      },
      async finish() {
        await syncing
        await file.sync()
        await file.close()
        await rename(part, join(dir, name))
        await syncFile(dir)
      },
      abort,
    }
  }

  async readBlob(name: string): Promise<AsyncIterable<Uint8Array> | null> {
    const file = await open(join(this.place, 'snapshots', name), 'r').catch(absent)
    return file === null ? null : piecesOf(file)
  }

  async listBlobs(): Promise<string[]> {
    return (await readdir(join(this.place, 'snapshots')).catch(absent)) ?? []
  }

  async removeBlob(name: string): Promise<void> {
    await rm(join(this.place, 'snapshots', name), { force: true })
  }

  bootNumber(): number {
    try {
      return crc32(readFileSync('/proc/sys/kernel/random/boot_id'))
    } catch {
      return 0
    }
  }

  async release(): Promise<void> {
    if (this.markFd >= 0) closeSync(this.markFd)
    this.markFd = -1
    await rm(join(this.place, 'owner'), { force: true })
  }

  async destroy(): Promise<void> {
    for (const name of ['store', 'snapshots', 'mark', 'owner', 'FORMAT'])
      await rm(join(this.place, name), { recursive: true, force: true })
  }
}

/** One buffer for all: memory that is new costs more than the bytes that are read into it. */
async function* piecesOf(file: FileHandle): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(READ_PIECE_BYTES)
  try {
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length)
      if (bytesRead === 0) return
      yield buffer.subarray(0, bytesRead)
    }
  } finally {
    await file.close()
  }
}

/** What a write left over: it may stop anywhere when space runs out, and then the next one says so. */
const writeRest = async (file: FileHandle, parts: readonly Uint8Array[], written: number): Promise<void> => {
  let before = 0
  for (const p of parts) {
    for (let at = Math.max(0, written - before); at < p.byteLength; )
      at += (await file.write(p, at)).bytesWritten
    before += p.byteLength
  }
}

/** For `catch`: nothing there is null, everything else goes on. */
const absent = (error: unknown): null => {
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
  throw error
}

const writeSynced = async (path: string, text: string): Promise<void> => {
  const file = await open(path, 'w')
  try {
    await file.write(text)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** A file, or a directory: which names it has. */
const syncFile = async (path: string): Promise<void> => {
  const file = await open(path, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}
