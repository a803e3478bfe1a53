// The door to lmdb: the second store behind the same interface (docs/decisions/0002-log-store.md says when).
// Refuses: everything but the few calls a log makes, and two processes on one directory (lmdb itself would
// allow it).

import { statfsSync } from 'node:fs'
import type { RootDatabase } from 'lmdb'
import { open } from 'lmdb'
import type { KeyValue, Pair } from './disk.ts'
import type { OpenKeyValue } from './files.ts'
import { fileDisk } from './files.ts'
import { openLevel } from './level.ts'
import { LogDamaged, saysFull } from './log.ts'

/** lmdb's flags of a transaction. */
const ABORTABLE = 1
const SYNCHRONOUS_COMMIT = 2
const NO_SYNC_FLUSH = 0x10000
/** Kept free on the file system beside twice what is written: the tree's pages. */
const ROOM_BYTES = 1024 * 1024

export const lmdbDisk = (dir: string): ReturnType<typeof fileDisk> => fileDisk(dir, 'lmdb', openLmdb)

const openLmdb: OpenKeyValue = async (dir, locked) => {
  const lock = await openLevel(`${dir}/lock`, locked)
  try {
    const db = open<Buffer, Buffer>({
      path: `${dir}/lmdb`,
      encoding: 'binary',
      keyEncoding: 'binary',
      compression: false,
      overlappingSync: false,
    })
    return new Lmdb(dir, db, lock)
  } catch (error) {
    await lock.close()
    if (saysFull(error)) throw error
    throw new LogDamaged(dir, `lmdb cannot open it: ${error instanceof Error ? error.message : error}`, {
      cause: error,
    })
  }
}

class Lmdb implements KeyValue {
  private readonly db: RootDatabase<Buffer, Buffer>
  private readonly lock: KeyValue
  private readonly dir: string

  constructor(dir: string, db: RootDatabase<Buffer, Buffer>, lock: KeyValue) {
    this.dir = dir
    this.db = db
    this.lock = lock
  }

  /**
   * Never up to the last byte: when the disk is full under it, lmdb-js may free memory twice and the process
   * dies (seen). In this thread, waiting: of its asynchronous commits lmdb-js neither resolves nor rejects
   * the one that meets a full disk, and a write of which nobody hears again is worse than one that blocks.
   */
  async write(puts: readonly Pair[], deletes: readonly Uint8Array[], sync: boolean): Promise<void> {
    let need = ROOM_BYTES
    for (const { value } of puts) need += 2 * value.byteLength
    const { bavail, bsize } = statfsSync(this.dir)
    if (bavail * bsize < need) throw new Error(`ENOSPC: ${bavail * bsize} bytes are left, lmdb needs ${need}`)
    const flags = ABORTABLE | SYNCHRONOUS_COMMIT | (sync ? 0 : NO_SYNC_FLUSH)
    this.db.transactionSync(() => {
      for (const key of deletes) this.db.removeSync(asBuffer(key))
      for (const { key, value } of puts) this.db.putSync(asBuffer(key), asBuffer(value))
    }, flags)
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.db.get(asBuffer(key))
  }

  async *range(from: Uint8Array, to: Uint8Array): AsyncGenerator<Pair> {
    for (const { key, value } of this.db.getRange({ start: asBuffer(from), end: asBuffer(to) }))
      yield { key: Uint8Array.from(key), value: Uint8Array.from(value) }
  }

  /** lmdb uses the pages of deleted keys again by itself. */
  async reclaim(): Promise<void> {}

  async close(): Promise<void> {
    await this.db.close()
    await this.lock.close()
  }
}

const asBuffer = (b: Uint8Array): Buffer => Buffer.from(b.buffer, b.byteOffset, b.byteLength)
