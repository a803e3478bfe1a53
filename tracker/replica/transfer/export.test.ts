// A table leaves its cluster as a file and begins another: whole, without keys, and never over anything.

import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Random } from '@skep/testing/random.ts'
import { clusterIdOf } from '../../swarm/apply.ts'
import { BatchWriter, type Birth, batchEntry, birthEntry } from '../../swarm/entry.ts'
import { allocate, C_COUNTERS, C_HASH_KEY, C_ID_KEYS, limitsFor, RECORD } from '../../swarm/layout.ts'
import { SwarmMachine } from '../../swarm/machine.ts'
import { DEFAULT_SETTINGS } from '../../swarm/settings.ts'
import { relaid, renewed, withoutKeys } from '../../swarm/snapshot-keys.ts'
import { Store } from '../../swarm/store.ts'
import { OPTIONS } from '../log/log.case.ts'
import type { LogStore } from '../log/log.ts'
import { type MemoryDisk, memoryDisk } from '../log/memory.ts'
import { openLog } from '../log/store.ts'
import { birthStep, decodeIdentity } from '../membership/birth.ts'
import { directoryOf } from '../membership/directory.ts'
import { MembersMachine } from '../membership/members-machine.ts'
import { restoreSnapshot } from '../snapshots.ts'
import { checkExport, ExportDamaged, exportOf, readFilePieces, restoreExport, saveExport } from './export.ts'

const FROM = '0123456789abcdef0123456789abcdef'
const TO = 'fedcba9876543210fedcba9876543210'
const OLD_KEY = [0x5ec3e7a1, 0x5ec3e7a2] as const
const NEW_KEY = [0x11111111, 0x22222222] as const
const LIMITS = limitsFor(16 << 20, false)
const BIRTH: Birth = {
  clusterId: FROM,
  hashSeed: 12345,
  idKey: OLD_KEY,
  limits: LIMITS,
  settings: DEFAULT_SETTINGS,
  level: 1,
}
const MEMBER = 2 ** 40 + 5

const newMachine = (): { store: Store; machine: MembersMachine; swarm: SwarmMachine } => {
  const store = new Store(allocate(LIMITS, true))
  const swarm = new SwarmMachine(store, { part: () => {}, batch: () => {} }, () => {})
  const members = directoryOf([{ id: MEMBER, name: 'secret-name', address: 'secret-host:1' }])
  return { store, swarm, machine: new MembersMachine(swarm, members) }
}

/** A log with a snapshot of a table with some hundred peers. */
const exporting = async (): Promise<{ log: LogStore; store: Store }> => {
  const { store, machine } = newMachine()
  machine.apply(2, 1, birthEntry(BIRTH))
  const random = new Random(3)
  const words = new Int32Array(24 * 300)
  for (let i = 0; i < 300; i++) {
    words[i * 24] = 1 | (random.between(1, 60_000) << 16)
    for (let k = 1; k < 10; k++) words[i * 24 + k] = k === 1 ? random.word() | 1 : Math.imul(i % 7, k) + k
  }
  const writer = new BatchWriter(1 << 20)
  writer.begin(MEMBER, 1, 1)
  writer.addChanges(0, { words, at: (n) => n * 24 }, 0, 300)
  machine.apply(3, 1, batchEntry(1000, [writer.bytes()]))
  const log = await openLog(memoryDisk(), OPTIONS)
  const confState = { voters: [MEMBER], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false }
  const to = await log.createSnapshot({ index: 3, term: 1, confState }, true)
  const state = machine.snapshot()
  for await (const chunk of state.chunks()) await to.write(chunk)
  await to.commit()
  return { log, store }
}

const { idKey: _key, ...PUBLIC } = BIRTH
const pieces = (log: LogStore): AsyncIterable<Uint8Array> =>
  exportOf(log, log.snapshot!, FROM, PUBLIC, withoutKeys)

const all = async (from: AsyncIterable<Uint8Array>): Promise<Buffer> => {
  const out: Uint8Array[] = []
  for await (const piece of from) out.push(Uint8Array.from(piece))
  return Buffer.concat(out)
}

/** In pieces of an odd size. */
async function* cut(bytes: Buffer, size = 1013): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

const NEW_HASH_KEY = [11, 12, 13, 14]

const restoring = async (file: Buffer, disk: MemoryDisk = memoryDisk()): Promise<LogStore> => {
  const log = await openLog(disk, OPTIONS)
  await restoreExport({
    log,
    pieces: () => cut(file),
    name: 'r0',
    address: 'r0.example:5560',
    clusterId: TO,
    memberId: 77,
    birth: (birth) => ({ ...(birth as Birth), clusterId: TO, idKey: NEW_KEY }),
    renew: (chunks) => renewed(relaid(chunks, { level: 2, seed: 5, key: NEW_HASH_KEY }), TO, NEW_KEY),
    level: 2,
  })
  return log
}

test('what leaves as a file begins a cluster of its own: the same peers, another ID, other keys', async () => {
  const { log, store } = await exporting()
  const file = await all(pieces(log))
  assert.deepEqual(await checkExport(cut(file)), {
    clusterId: FROM,
    index: 3,
    term: 1,
    bytes: log.snapshot!.bytes,
    birth: JSON.parse(JSON.stringify(PUBLIC)),
  })
  const taken = await restoring(file)
  const identity = decodeIdentity(taken.identity!, 2)
  assert.deepEqual([identity.phase, identity.memberId, identity.clusterId], [undefined, 77, TO])
  assert.deepEqual(taken.snapshot!.confState.voters, [77])
  const fresh = newMachine()
  await restoreSnapshot(taken, fresh.machine)
  assert.equal(clusterIdOf(fresh.store), TO)
  assert.deepEqual([...fresh.store.control.subarray(C_ID_KEYS, C_ID_KEYS + 5)], [...NEW_KEY, 0, 0, 0])
  assert.deepEqual(fresh.swarm.lastBatch(MEMBER), { incarnation: 0, number: 0 })
  assert.deepEqual(
    fresh.machine.directory.members.map((m) => [m.id, m.name, m.address]),
    [[77, 'r0', 'r0.example:5560']],
  )
  assert.equal(fresh.store.control[C_COUNTERS], 300)
  assert.equal(fresh.store.level, 2)
  assert.deepEqual([...fresh.store.control.subarray(C_HASH_KEY, C_HASH_KEY + 4)], NEW_HASH_KEY)
  assert.equal(fresh.store.peerCount, store.peerCount)
  assert.equal(fresh.store.torrentCount, store.torrentCount)
  for (let k = 0; k < store.torrentCount * RECORD; k += RECORD)
    assert.ok(fresh.store.torrent(store.torrents, k) >= 0, 'each torrent is found under the new secret')
})

test('no key, no member and no address is in the file', async () => {
  const file = await all(pieces((await exporting()).log))
  const key = Buffer.from(Int32Array.from(OLD_KEY).buffer)
  assert.equal(file.indexOf(key), -1)
  assert.equal(file.indexOf('secret'), -1)
  assert.equal(file.indexOf('idKey'), -1)
})

test('any flipped byte and any missing end is noticed before anything is written', async () => {
  const file = await all(pieces((await exporting()).log))
  const random = new Random(5)
  for (let i = 0; i < 60; i++) {
    const bad = Buffer.from(file)
    if (i % 3 === 0) bad[random.below(bad.length)]! ^= 1 << random.below(8)
    const short = i % 3 === 1 ? bad.subarray(0, random.below(bad.length)) : bad
    const long = i % 3 === 2 ? Buffer.concat([short, random.bytes(1 + random.below(9))]) : short
    const disk = memoryDisk()
    await assert.rejects(restoring(long, disk), ExportDamaged)
    const log = await openLog(disk.crash(), OPTIONS)
    assert.deepEqual([log.identity, log.snapshot], [null, null])
  }
})

test('a newer version is named as such', async () => {
  const file = await all(pieces((await exporting()).log))
  file.writeUInt32LE(2, 8)
  await assert.rejects(checkExport(cut(file)), /version 2, this program reads 1/)
})

test('nothing is restored over a cluster', async () => {
  const file = await all(pieces((await exporting()).log))
  const disk = memoryDisk()
  await (await restoring(file, disk)).close()
  await assert.rejects(restoring(file, disk.crash()), /belongs to a cluster already/)
})

test('a restore that stopped half way does not start, and can be done again', async () => {
  const file = await all(pieces((await exporting()).log))
  const disk = memoryDisk()
  const log = await openLog(disk, OPTIONS)
  const stop = restoreExport({
    log,
    pieces: () => cut(file),
    name: 'r0',
    address: '',
    clusterId: TO,
    memberId: 77,
    birth: (birth) => birth,
    level: 1,
    renew: () => {
      throw new Error('power cut')
    },
  })
  await assert.rejects(stop, /power cut/)
  const after = disk.crash()
  const again = await openLog(after, OPTIONS)
  const step = birthStep({
    identity: decodeIdentity(again.identity!, 2),
    name: 'r0',
    initialMembers: [],
    joinOnly: false,
    level: 1,
    answers: new Map(),
  })
  assert.equal(step.kind, 'refuse')
  assert.match('reason' in step ? step.reason : '', /restore again, or delete/)
  const done = await restoring(file, after.crash())
  assert.equal(decodeIdentity(done.identity!, 2).phase, undefined)
})

test('the file is whole or not there', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'skep-export-'))
  try {
    const { log } = await exporting()
    const path = join(dir, 'table.skep')
    const bytes = await saveExport(path, pieces(log))
    assert.equal((await readFile(path)).length, bytes)
    assert.equal((await checkExport(readFilePieces(path))).index, 3)
    const broken = async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.from('half')
      throw new Error('the disk is full')
    }
    await writeFile(join(dir, 'other'), '')
    await assert.rejects(saveExport(join(dir, 'half.skep'), broken()), /full/)
    assert.deepEqual((await readdir(dir)).sort(), ['other', 'table.skep'])
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
})
