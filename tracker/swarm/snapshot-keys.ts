// What of a table belongs to one cluster only: the connection-ID keys, its ID, its members' batch numbers.
// Taken out of a snapshot that leaves the cluster, put anew into one that becomes another; and the table laid
// anew, so that its order says nothing of the secret that it was laid by.

import { markBorn } from './apply.ts'
import { ID_KEY_WORDS } from './connection-id.ts'
import { copyTable, type Secret } from './copy.ts'
import { allocate, BATCH_MEMBERS, C_BATCHES, C_BIRTH, C_HASH_KEY, C_ID_KEYS } from './layout.ts'
import { openChunk, Restorer, SnapshotDamaged, sealChunk, snapshotLimits, takeSnapshot } from './snapshot.ts'
import { Store } from './store.ts'

const CONTROL = 0
const ID_WORDS = 4
const HASH_KEY_WORDS = 4

/** The chunk without keys; itself when it has none. Throws SnapshotDamaged. */
export function withoutKeys(chunk: Uint8Array): Uint8Array {
  return changed(chunk, (words) => {
    words.fill(0, C_ID_KEYS, C_ID_KEYS + ID_KEY_WORDS)
    words.fill(0, C_HASH_KEY, C_HASH_KEY + HASH_KEY_WORDS)
  })
}

/** The chunk as of a new cluster; itself when it says nothing of one. `clusterId`: 32 hexadecimal digits. */
function reborn(chunk: Uint8Array, clusterId: string, idKey: readonly [number, number]): Uint8Array {
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

/**
 * The chunks of a table as of nobody's cluster: laid as version 0.1.0 does it (level 1), under `seed`, which
 * may be known.
 */
export async function* anonymous(
  chunks: AsyncIterable<Uint8Array>,
  seed: number,
): AsyncGenerator<Uint8Array> {
  yield* relaid(chunks, { level: 1, seed, key: [0, 0, 0, 0] })
}

/** The chunks as of a new cluster, under its own secret. */
export async function* relaid(chunks: AsyncIterable<Uint8Array>, secret: Secret): AsyncGenerator<Uint8Array> {
  let from: Store | null = null
  let restorer: Restorer | null = null
  for await (const chunk of chunks) {
    from ??= new Store(allocate(snapshotLimits(chunk), true))
    restorer ??= new Restorer(from)
    restorer.add(chunk)
  }
  if (from === null || restorer === null) throw new SnapshotDamaged('a snapshot begins with its manifest')
  restorer.finish()
  const to = new Store(allocate(from.buffers.limits, true))
  markBorn(to)
  copyTable(from, to, secret)
  yield* takeSnapshot(to).chunks()
}

/** The chunks under the ID and the keys of a new cluster. */
export async function* renewed(
  chunks: AsyncIterable<Uint8Array>,
  clusterId: string,
  idKey: readonly [number, number],
): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) yield reborn(chunk, clusterId, idKey)
}
