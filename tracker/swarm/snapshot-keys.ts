// What of a table belongs to one cluster only: the connection-ID keys, its ID, its members' batch numbers.
// Taken out of a snapshot that leaves the cluster, put anew into one that becomes another. Refuses: to touch
// anything else. The seed of the hash tables stays: the index in the snapshot is built on it.

import { ID_KEY_WORDS } from './connection-id.ts'
import { BATCH_MEMBERS, C_BATCHES, C_BIRTH, C_ID_KEYS } from './layout.ts'
import { openChunk, sealChunk } from './snapshot.ts'

const CONTROL = 0
const ID_WORDS = 4

/** The chunk without keys; itself when it has none. Throws SnapshotDamaged. */
export function withoutKeys(chunk: Uint8Array): Uint8Array {
  return changed(chunk, (words) => words.fill(0, C_ID_KEYS, C_ID_KEYS + ID_KEY_WORDS))
}

/** The chunk as of a new cluster; itself when it says nothing of one. `clusterId`: 32 hexadecimal digits. */
export function reborn(chunk: Uint8Array, clusterId: string, idKey: readonly [number, number]): Uint8Array {
  return changed(chunk, (words) => {
    words.fill(0, C_ID_KEYS, C_ID_KEYS + ID_KEY_WORDS)
    words.set(idKey, C_ID_KEYS)
    words.fill(0, C_BATCHES, C_BATCHES + BATCH_MEMBERS * 4)
    for (let i = 0; i < ID_WORDS; i++)
      words[C_BIRTH + i] = Number.parseInt(clusterId.slice(i * 8, i * 8 + 8), 16)
  })
}

function changed(chunk: Uint8Array, change: (words: Int32Array) => void): Uint8Array {
  const { buffer, block, data } = openChunk(chunk)
  if (buffer !== CONTROL || block !== 0) return chunk
  const copy = Uint8Array.from(data)
  change(new Int32Array(copy.buffer))
  return sealChunk(buffer, block, copy)
}
