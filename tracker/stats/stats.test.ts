// What a replica says of itself: counts of a real table, warnings at the right moment, probes.

import assert from 'node:assert/strict'
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { layer, type Source } from '@skep/cli/layers.ts'
import { type ConfigKey, OPTIONS, type TrackerConfig } from '../config/options.ts'
import { TABLE } from '../config/table.ts'
import {
  controlToken,
  NetworkKeyError,
  networkKeyName,
  openNetworkKey,
  readNetworkKeys,
  watchedKeys,
} from '../keys/network-key.ts'
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

test('a key file with several keys: the first is in use, and a change of the file counts without a start', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'skep-keys-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const [old, fresh] = ['o'.repeat(32), 'f'.repeat(40)]
  // As a mounted secret lies there: a link to a folder that is exchanged.
  const write = (version: string, text: string): void => {
    mkdirSync(join(folder, version))
    writeFileSync(join(folder, version, 'key'), text)
    symlinkSync(version, join(folder, 'next'))
    renameSync(join(folder, 'next'), join(folder, 'data'))
  }
  write('1', `${old}\n`)
  symlinkSync('data/key', join(folder, 'key'))
  const path = join(folder, 'key')
  assert.deepEqual(readNetworkKeys(path), [old])
  const keys = watchedKeys(path, (all) => all)
  const follow = async (wanted: readonly string[]): Promise<void> => {
    while (keys().join() !== wanted.join()) await new Promise(setImmediate)
  }
  write('2', ` ${old}\r\n\n${fresh}\n${old}\n`)
  await follow([old, fresh])
  write('3', `${fresh}\nhunter2\n`)
  while (keys.fault() === '') {
    keys()
    await new Promise(setImmediate)
  }
  assert.match(keys.fault(), /7 characters in line 2/)
  assert.deepEqual(keys(), [old, fresh])
  write('4', `${fresh}\n`)
  await follow([fresh])
  assert.equal(keys.fault(), '')
  assert.match(networkKeyName(old), /^[0-9a-f]{24}$/)
  writeFileSync(path, Array.from({ length: 9 }, (_, i) => `${i}`.repeat(32)).join('\n'))
  assert.throws(() => readNetworkKeys(path), /9 lines; 8 keys are the most/)
})

test('a key file that is still being written, or is no file, takes no key away', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'skep-keys-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'key')
  const [first, second] = ['a'.repeat(40), 'b'.repeat(40)]
  writeFileSync(path, `${first}\n${second}\n`)
  const keys = watchedKeys(path, (all) => all)
  // Written anew in place, piece by piece: each piece alone would be a good file.
  const turned = ['c'.repeat(40), second, first]
  for (let lines = 1; lines <= turned.length; lines++) {
    const until = performance.now() + 300
    writeFileSync(path, `${turned.slice(0, lines).join('\n')}\n`)
    while (performance.now() < until) {
      utimesSync(path, new Date(), new Date()) // As whoever still writes does.
      assert.deepEqual(keys(), [first, second])
      await new Promise(setImmediate)
    }
  }
  while (keys().length < 3) await new Promise(setImmediate)
  assert.deepEqual(keys(), turned)
  rmSync(path)
  mkdirSync(path)
  while (keys.fault() === '') {
    keys()
    await new Promise(setImmediate)
  }
  assert.match(keys.fault(), /must be a file/)
  assert.deepEqual(keys(), turned)
  assert.throws(() => openNetworkKey(folder, path), /must be a file/)
})

test('a network key is made once, private, and read back; poor ones are refused', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'skep-key-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const first = openNetworkKey(folder, null)
  assert.ok(first.made)
  assert.equal(statSync(first.path).mode & 0o777, 0o600)
  const second = openNetworkKey(folder, null)
  assert.deepEqual([second.made, second.key], [false, first.key])
  assert.ok(!readFileSync(first.path, 'utf8').includes(controlToken(first.key)))
  assert.notEqual(controlToken(first.key), controlToken(`${first.key}x`))
  const short = join(folder, 'short')
  writeFileSync(short, 'hunter2\n', { mode: 0o644 })
  assert.throws(() => openNetworkKey(folder, short), NetworkKeyError)
  assert.throws(() => openNetworkKey(folder, join(folder, 'none')), /it is not there/)
})
