// How long this disk takes to keep a write: the floor under every committed change.
// Refuses: to leave its file behind.

import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { quantile } from './table.ts'

export type SyncedWrites = { readonly medianMs: number; readonly p99Ms: number; readonly count: number }

/** Appends of `bytes`, each followed by fdatasync, in the folder that matters. */
export function syncedWrites(folder: string, bytes: number, count: number): SyncedWrites {
  const path = join(folder, 'synced-writes.tmp')
  const fd = openSync(path, 'w')
  const block = new Uint8Array(bytes).fill(1)
  const times: number[] = []
  try {
    for (let i = 0; i < count; i++) {
      const begin = performance.now()
      writeSync(fd, block)
      fdatasyncSync(fd)
      times.push(performance.now() - begin)
    }
  } finally {
    closeSync(fd)
    rmSync(path, { force: true })
  }
  return { medianMs: quantile(times, 0.5), p99Ms: quantile(times, 0.99), count }
}
