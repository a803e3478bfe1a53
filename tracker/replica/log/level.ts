// The door to classic-level (LevelDB): ordered keys, one write-ahead log, one flush a synced batch. Refuses:
// everything but the few calls a log makes. LevelDB skips records of its write-ahead log that fail their
// checksum and opens without a word; store.ts finds out.

import { ClassicLevel } from 'classic-level'
import type { KeyValue, Pair } from './disk.ts'
import type { OpenKeyValue } from './files.ts'
import { fileDisk } from './files.ts'
import { LogDamaged, saysFull } from './log.ts'

/**
 * Bytes of log kept in memory before LevelDB sorts them into a table: most entries are compacted away before
 * that.
 */
const WRITE_BUFFER_BYTES = 2 * 1024 * 1024

export const levelDisk = (dir: string): ReturnType<typeof fileDisk> =>
  fileDisk(dir, 'classic-level', openLevel)

/** Also used by the other store as a lock: LevelDB holds one that ends with the process. */
export const openLevel: OpenKeyValue = async (dir, locked) => {
  const db = new ClassicLevel<Uint8Array, Uint8Array>(dir, {
    keyEncoding: 'view',
    valueEncoding: 'view',
    compression: false,
    writeBufferSize: WRITE_BUFFER_BYTES,
  })
  try {
    await db.open()
  } catch (error) {
    const cause = (error as Error).cause as { code?: string; message?: string } | undefined
    if (cause?.code === 'LEVEL_LOCKED') throw locked(error)
    if (cause?.code === 'LEVEL_CORRUPTION' || /Corruption|missing files/.test(String(cause?.message)))
      throw new LogDamaged(dir, `LevelDB cannot open it: ${cause?.message}`, { cause: error })
    // LevelDB calls a missing CURRENT target, or a table it cannot find, an I/O error.
    if (/No such file|Invalid argument/.test(String(cause?.message)) && !saysFull(error))
      throw new LogDamaged(dir, `LevelDB cannot open it: ${cause?.message}`, { cause: error })
    throw error
  }
  return new Level(db)
}

class Level implements KeyValue {
  private readonly db: ClassicLevel<Uint8Array, Uint8Array>

  constructor(db: ClassicLevel<Uint8Array, Uint8Array>) {
    this.db = db
  }

  write(puts: readonly Pair[], deletes: readonly Uint8Array[], sync: boolean): Promise<void> {
    const operations: (
      | { type: 'put'; key: Uint8Array; value: Uint8Array }
      | { type: 'del'; key: Uint8Array }
    )[] = []
    for (const key of deletes) operations.push({ type: 'del', key })
    for (const { key, value } of puts) operations.push({ type: 'put', key, value })
    return this.db.batch(operations, { sync })
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.db.getSync(key)
  }

  async *range(from: Uint8Array, to: Uint8Array): AsyncGenerator<Pair> {
    for await (const [key, value] of this.db.iterator({ gte: from, lt: to })) yield { key, value }
  }

  /**
   * LevelDB merges deleted keys away only when it comes across them: a log's old end it may not touch for
   * long.
   */
  reclaim(from: Uint8Array, to: Uint8Array): Promise<void> {
    return this.db.compactRange(from, to)
  }

  close(): Promise<void> {
    return this.db.close()
  }
}
