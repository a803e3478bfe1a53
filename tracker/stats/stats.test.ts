// What a replica says of itself: counts of a real table, warnings at the right moment.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { layer, type Source } from '@skep/cli/layers.ts'
import { type ConfigKey, OPTIONS, type TrackerConfig } from '../config/options.ts'
import { TABLE } from '../config/table.ts'
import { birthWarnings, bufferWarnings } from '../opening/parts.ts'
import { Apply, MAX_STEP_MS } from '../swarm/apply.ts'
import { PUT, SEEDER } from '../swarm/change.ts'
import { batchEntry, birthEntry, idKeyEntry } from '../swarm/entry.ts'
import { allocate, limitsFor } from '../swarm/layout.ts'
import { DEFAULT_SETTINGS } from '../swarm/settings.ts'
import { Store } from '../swarm/store.ts'
import { censusOf } from './census.ts'
import { ID_KEY_MS, idKeyIsOld } from './pulse.ts'

function world() {
  const limits = limitsFor(16 * 1024 * 1024, false)
  const store = new Store(allocate(limits, true))
  const log = new Apply(store, { part() {}, batch() {} })
  const birth = {
    clusterId: 'c'.repeat(32),
    hashSeed: 5,
    idKey: [1, 2] as const,
    limits,
    settings: DEFAULT_SETTINGS,
    level: 1,
  }
  log.apply(birthEntry(birth))
  return { store, log }
}

const config = (
  environment: Record<string, string> = {},
): { config: TrackerConfig; sources: ReadonlyMap<ConfigKey, Source> } => {
  const layered = layer(TABLE, { flags: new Map(), environment, file: null })
  assert.ok(layered.ok)
  return layered
}

test('the census counts seeders and leechers of all torrents', () => {
  const { store, log } = world()
  for (let torrent = 0; torrent < 300; torrent++)
    for (let peer = 0; peer < 3; peer++) {
      const words = new Int32Array(24)
      words[0] = PUT | (peer === 0 ? SEEDER : 0) | (((1000 + peer) << 16) >> 0)
      words.fill(torrent + 1, 2, 7)
      words[1] = 0x04030201 + (peer << 24)
      log.table.put(words, 0)
    }
  assert.equal(store.torrentCount, 300)
  const census = censusOf(store)
  census.step()
  assert.deepEqual([census.seeders, census.leechers], [300, 600])
})

test('an option that the log overrules is told, a default is not', () => {
  const { store } = world()
  const told = (environment: Record<string, string>) => {
    const given = config(environment)
    return birthWarnings(given.config, given.sources, store)
  }
  assert.deepEqual(told({}), [])
  assert.match(told({ SKEP_INTERVAL: '20m' })[0]!, /--interval says 1200, the cluster's log 1800/)
  assert.match(told({ SKEP_PEER_DETAILS: 'on' })[0]!, /--peer-details/)
})

test('a small receive buffer is told with its fix', () => {
  const { config: asked } = config()
  assert.deepEqual(bufferWarnings(asked, [asked.udpReceiveBufferBytes]), [])
  assert.match(bufferWarnings(asked, [212_992])[0]!, /208KiB.*rmem_max=16777216/)
  assert.equal(OPTIONS.udpReceiveBufferBytes.default, asked.udpReceiveBufferBytes)
})

test('the connection-ID key is old after a day of cluster time, and young once renewed', () => {
  const { store, log } = world()
  assert.equal(idKeyIsOld(store), false)
  for (let ms = 0; ms <= ID_KEY_MS; ms += MAX_STEP_MS) log.apply(batchEntry(ms, []))
  assert.equal(idKeyIsOld(store), true)
  log.apply(idKeyEntry([3, 4]))
  assert.equal(idKeyIsOld(store), false)
})
