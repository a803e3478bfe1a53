// Readers beside the writer, in real threads: no answer ever shows a half-written swarm.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { Apply } from './apply.ts'
import { LEAVE, PUT, SEEDER } from './change.ts'
import { BatchWriter, batchEntry, birthEntry } from './entry.ts'
import { allocate, limitsFor, type StoreBuffers } from './layout.ts'
import { DEFAULT_SETTINGS } from './settings.ts'
import { Store } from './store.ts'

/**
 * Peer n has address 1.(low n).(high n).0 and port n: a torn read shows as an address that does not fit its
 * port.
 */
const READER = `
import { parentPort, workerData } from 'node:worker_threads'
import { Announcer } from '${new URL('./announce.ts', import.meta.url)}'
import { Store } from '${new URL('./store.ts', import.meta.url)}'
const store = new Store(workerData.buffers)
const announcer = new Announcer(store, 11)
const stop = new Int32Array(workerData.stop)
const words = new Int32Array(24), out = new Uint16Array(4096)
let answers = 0, torn = 0, doubles = 0, wrongCounts = 0, busy = 0
while (Atomics.load(stop, 0) === 0) {
  for (let hash = 0; hash < 3; hash++) {
    for (let i = 0; i < 5; i++) words[5 + i] = hash + 1
    words[0] = 1 | (7 << 16); words[1] = 0x05050505
    if (!announcer.answer(words, 0, 300, 1, out, 0)) { busy++; continue }
    answers++
    const seen = new Set()
    for (let i = 0; i < announcer.count4; i++) {
      const address = out[i * 3] | (out[i * 3 + 1] << 16), port = out[i * 3 + 2]
      if (((address >>> 8) & 0xffff) !== port || (address & 0xff) !== 1) torn++
      if (seen.has(port)) doubles++
      seen.add(port)
    }
    if (announcer.seeders < 0 || announcer.leechers < 0 || announcer.seeders + announcer.leechers > 400) wrongCounts++
  }
}
parentPort.postMessage({ answers, torn, doubles, wrongCounts, busy })
`

async function race(ordered: boolean): Promise<void> {
  const limits = limitsFor(32 << 20, false)
  const buffers: StoreBuffers = allocate(limits, ordered)
  const store = new Store(buffers)
  const apply = new Apply(store, { part: () => {}, batch: () => {} })
  const idKey = [1, 2] as const
  apply.apply(
    birthEntry({
      clusterId: '0'.repeat(32),
      hashSeed: 1,
      idKey,
      limits,
      settings: DEFAULT_SETTINGS,
      level: 1,
    }),
  )
  const stop = new SharedArrayBuffer(4)
  const readers = [0, 1].map(() => new Worker(READER, { eval: true, workerData: { buffers, stop } }))
  const results = readers.map(
    (w) => new Promise<Record<string, number>>((done, fail) => w.once('message', done).once('error', fail)),
  )
  await Promise.all(readers.map((w) => new Promise((done) => w.once('online', done))))
  const writer = new BatchWriter(1 << 20)
  const words = new Int32Array(24 * 64)
  let x = 1
  for (let entry = 1; entry <= 6000; entry++) {
    for (let i = 0; i < 64; i++) {
      x = (Math.imul(x, 1103515245) + 12345) & 0x7fffffff
      const n = 1 + ((x >>> 8) % 400)
      const at = i * 24
      words[at] = (((x >>> 4) & 3) === 0 ? LEAVE : PUT) | ((x & 4096) !== 0 ? SEEDER : 0) | (n << 16)
      words[at + 1] = 1 | (n << 8)
      for (let j = 0; j < 5; j++) words[at + 5 + j] = 1 + ((x >>> 20) % 3)
    }
    writer.begin(9, 1, entry)
    writer.addChanges(0, { words, at: (n) => n * 24 }, 0, 64)
    apply.apply(batchEntry(entry, [writer.bytes()]))
  }
  Atomics.store(new Int32Array(stop), 0, 1)
  for (const r of await Promise.all(results)) {
    assert.ok(r.answers! > 0, 'the reader came to look')
    assert.deepEqual(
      { torn: r.torn, doubles: r.doubles, wrongCounts: r.wrongCounts },
      { torn: 0, doubles: 0, wrongCounts: 0 },
    )
  }
}

test('answers read while the table changes are never torn', () => race(true))
test('the same where readers take the lock', () => race(false))
