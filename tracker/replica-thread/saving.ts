// Snapshots on their way to a file: the main thread takes them piece by piece, as fast as whoever asked
// reads. Refuses: keys in what leaves, more than a few at once, and to wait for ever for somebody who has
// gone.

import { randomUUID } from 'node:crypto'
import { exportOf } from '../replica/transfer/export.ts'
import type { Birth } from '../swarm/entry.ts'
import { withoutKeys } from '../swarm/snapshot-keys.ts'
import { monotonicMs } from '../threads/state.ts'
import type { SaveBegun } from './messages.ts'
import type { Parts } from './parts.ts'

/** At once: each holds the log's tail back. */
const MOST = 2
/** Since the last piece was taken, milliseconds. */
const PATIENCE_MS = 60_000
/** Pieces are joined up to this size, bytes. */
const PIECE_BYTES = 256 * 1024

type Save = { readonly pieces: AsyncGenerator<Uint8Array>; readonly unpin: () => void; atMs: number }

export class Saving {
  private readonly parts: Pick<Parts, 'log' | 'identity' | 'member'>
  private readonly saves = new Map<string, Save>()

  constructor(parts: Pick<Parts, 'log' | 'identity' | 'member'>) {
    this.parts = parts
  }

  /**
   * A snapshot of now, or the newest one if nothing has happened since. Rejects when there is none to be had.
   */
  async begin(): Promise<SaveBegun> {
    this.sweep()
    if (this.saves.size >= MOST) throw new Error(`${MOST} snapshots are being saved already: try again later`)
    const { log, identity, member } = this.parts
    const { replica } = member
    await replica.snapshots.take(replica.applied, replica.confState)
    const record = log.snapshot
    if (record === null || record.chunks === 0) throw new Error('there is nothing to save yet')
    const { idKey: _idKey, hashKey: _hashKey, ...open } = identity.birth as Birth
    const unpin = replica.snapshots.pin(record.index)
    const pieces = joined(exportOf(log, record, identity.clusterId, open, withoutKeys))
    const id = randomUUID()
    this.saves.set(id, { pieces, unpin, atMs: monotonicMs() })
    return { id, index: record.index, totalBytes: record.bytes }
  }

  /** The next piece; null: that was all. */
  async next(id: string): Promise<Uint8Array | null> {
    const save = this.saves.get(id)
    if (save === undefined) throw new Error('this snapshot was given up: nobody has read it for too long')
    save.atMs = monotonicMs()
    const { done, value } = await save.pieces.next()
    save.atMs = monotonicMs()
    if (done !== true) return value
    this.end(id)
    return null
  }

  /** Nobody reads it any more. */
  end(id: string): void {
    const save = this.saves.get(id)
    this.saves.delete(id)
    save?.unpin()
    void save?.pieces.return(undefined).catch(() => {})
  }

  /** Gives up what nobody reads. */
  sweep(): void {
    for (const [id, { atMs }] of this.saves) if (monotonicMs() - atMs > PATIENCE_MS) this.end(id)
  }

  stop(): void {
    for (const id of [...this.saves.keys()]) this.end(id)
  }
}

async function* joined(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let held: Uint8Array[] = []
  let bytes = 0
  for await (const piece of pieces) {
    // The bytes are only valid until the next ones are read.
    held.push(Uint8Array.from(piece))
    bytes += piece.length
    if (bytes < PIECE_BYTES) continue
    yield Buffer.concat(held)
    held = []
    bytes = 0
  }
  if (bytes > 0) yield Buffer.concat(held)
}
