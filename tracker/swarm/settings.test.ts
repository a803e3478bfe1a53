// Settings, access lists, connection IDs, addresses and the batch rule: what the log does to them.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type AccessOperation, ALLOW, accessEntries, accessState, allowed, DENY } from './access.ts'
import { addressClass4, addressClass6, BOGON, PRIVATE, PUBLIC } from './address.ts'
import { Announcer, CHANGE, DENIED, NONE } from './announce.ts'
import { Apply, clusterIdOf, MAX_STEP_MS } from './apply.ts'
import { LEAVE, PUT, SEEDER } from './change.ts'
import { ConnectionIds, WINDOW_MS } from './connection-id.ts'
import {
  accessEntry,
  BatchWriter,
  batchEntry,
  birthEntry,
  idKeyEntry,
  readBirth,
  settingsEntry,
} from './entry.ts'
import { allocate, limitsFor } from './layout.ts'
import { DEFAULT_SETTINGS, settingsFault } from './settings.ts'
import { Store } from './store.ts'

const LIMITS = { ...limitsFor(32 << 20, false), access: 200 }
const MEMBER = 2 ** 45 + 77

function world() {
  const store = new Store(allocate(LIMITS, true))
  const parts: number[][] = []
  const batches: string[] = []
  const apply = new Apply(store, {
    part: (_m, _i, producer, first, count) => parts.push([producer, first, count]),
    batch: (_m, incarnation, number, taken) =>
      batches.push(`${incarnation}/${number} ${taken ? 'taken' : 'refused'}`),
  })
  const birth = {
    clusterId: 'fedcba9876543210fedcba9876543210',
    hashSeed: 5,
    idKey: [11, 22] as const,
    limits: LIMITS,
    settings: DEFAULT_SETTINGS,
    level: 1,
  }
  apply.apply(birthEntry(birth))
  return { store, apply, parts, batches, birth }
}

const hashWords = (n: number): Int32Array => Int32Array.from([n, n + 1, n + 2, n + 3, n + 4])
const hashBytes = (...ns: number[]): Uint8Array => {
  const out = new Uint8Array(ns.length * 20)
  ns.forEach((n, i) => {
    out.set(new Uint8Array(hashWords(n).buffer), i * 20)
  })
  return out
}

function change(hash: number, port: number, kind = PUT, flags = 0): Int32Array {
  const words = new Int32Array(24)
  words[0] = kind | flags | (port << 16)
  words[1] = 0x0a00000a
  words.set(hashWords(hash), 5)
  return words
}

function batch(number: number, changes: Int32Array[], timeMs = 0, incarnation = 1): Uint8Array {
  const writer = new BatchWriter(1 << 16)
  const words = new Int32Array(24 * Math.max(1, changes.length))
  changes.forEach((c, i) => {
    words.set(c, i * 24)
  })
  writer.begin(MEMBER, incarnation, number)
  writer.addChanges(3, { words, at: (n) => n * 24 }, 0, changes.length)
  return batchEntry(timeMs, [writer.bytes()])
}

test('the birth record is what the first entry says, and only the first counts', () => {
  const w = world()
  assert.equal(clusterIdOf(w.store), w.birth.clusterId)
  assert.deepEqual(readBirth(birthEntry(w.birth)), w.birth)
  assert.equal(readBirth(batch(1, [])), null)
  w.apply.apply(birthEntry({ ...w.birth, clusterId: '0'.repeat(32) }))
  assert.equal(clusterIdOf(w.store), w.birth.clusterId)
})

test('settings change one by one; a faulty change is ignored by every member alike', () => {
  const w = world()
  w.apply.apply(settingsEntry({ intervalSeconds: 900 }))
  assert.deepEqual(w.store.settings, { ...DEFAULT_SETTINGS, intervalSeconds: 900 })
  w.apply.apply(settingsEntry({ intervalSeconds: 5000 }))
  assert.equal(w.store.settings.intervalSeconds, 900, 'above the largest interval')
  w.apply.apply(settingsEntry({ allowPrivate: 'off', numwantMax: 20, numwantDefault: 10 }))
  assert.equal(w.store.settings.allowPrivate, 'off')
  assert.match(settingsFault({ ...DEFAULT_SETTINGS, numwantMax: 0 })!, /numwantMax is 0/)
  assert.equal(settingsFault(DEFAULT_SETTINGS), null)
})

test('a batch counts only if it is the next of its member: repeats, gaps and old incarnations are refused', () => {
  const w = world()
  w.apply.apply(batch(1, [change(1, 10)]))
  w.apply.apply(batch(1, [change(1, 11)]))
  w.apply.apply(batch(3, [change(1, 12)]))
  w.apply.apply(batch(2, [change(1, 13), change(1, 14)]))
  w.apply.apply(batch(2, [change(1, 15)], 0, 2))
  w.apply.apply(batch(1, [change(1, 16)], 0, 2))
  w.apply.apply(batch(3, [change(1, 17)], 0, 1))
  assert.deepEqual(w.batches, [
    '1/1 taken',
    '1/1 refused',
    '1/3 refused',
    '1/2 taken',
    '2/2 refused',
    '2/1 taken',
    '1/3 refused',
  ])
  assert.deepEqual(w.parts, [
    [3, 0, 1],
    [3, 0, 2],
    [3, 0, 1],
  ])
  assert.equal(w.store.peerCount, 4)
  assert.deepEqual(w.apply.lastBatch(MEMBER), { incarnation: 2, number: 1 })
  w.apply.forgetMember(MEMBER)
  assert.deepEqual(w.apply.lastBatch(MEMBER), { incarnation: 0, number: 0 })
})

test('cluster time only moves forward, and at most a little an entry', () => {
  const w = world()
  w.apply.apply(batch(1, [], 1500))
  assert.equal(w.store.timeMs, 1500)
  w.apply.apply(batch(2, [], 900))
  assert.equal(w.store.timeMs, 1500)
  w.apply.apply(batch(3, [], 10_000_000))
  assert.equal(w.store.timeMs, 1500 + MAX_STEP_MS)
})

test('allow and deny lists work at once, by revision, and a denied swarm is emptied', () => {
  const w = world()
  const announcer = new Announcer(w.store, 1)
  const out = new Uint16Array(900)
  const ask = (hash: number) => announcer.announce(change(hash, 5), 0, 50, 1, out, 0)
  w.apply.apply(batch(1, [change(1, 1), change(2, 1), change(2, 2)], 1000))
  w.apply.apply(accessEntry(DENY, 'replace', 4, hashBytes(2, 9)))
  assert.equal(ask(1), CHANGE)
  assert.equal(ask(2), DENIED)
  w.apply.apply(batch(2, [change(2, 3)], 2000))
  assert.equal(w.store.counter('changes_denied'), 1)
  assert.equal(w.store.peerCount, 1, 'the sweep has emptied the denied swarm')
  w.apply.apply(accessEntry(ALLOW, 'replace', 1, hashBytes(1, 2)))
  assert.equal(ask(1), CHANGE)
  assert.equal(ask(2), DENIED, 'deny wins')
  assert.equal(ask(3), DENIED, 'not on the allow list')
  w.apply.apply(accessEntry(DENY, 'remove', 0, hashBytes(2, 9)))
  assert.equal(ask(2), CHANGE)
  assert.deepEqual(accessState(w.store, DENY), { active: false, entries: 0, revision: 5 })
  w.apply.apply(accessEntry(ALLOW, 'replace', 1, hashBytes(7)))
  assert.equal(ask(7), DENIED, 'an old revision is ignored')
  w.apply.apply(accessEntry(ALLOW, 'add', 2, hashBytes(7)))
  assert.equal(ask(7), CHANGE)
  assert.equal(accessEntries(w.store, ALLOW).length, 3)
  w.apply.apply(accessEntry(ALLOW, 'replace', 3, hashBytes()))
  assert.equal(ask(1), DENIED, 'an empty allow list allows nothing')
  w.apply.apply(accessEntry(ALLOW, 'off', 4, hashBytes()))
  assert.equal(ask(3), CHANGE)
})

test('access lists agree with sets whatever is done to them, and never exceed their limit', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          list: fc.constantFrom(ALLOW, DENY) as fc.Arbitrary<1 | 2>,
          operation: fc.constantFrom<AccessOperation>('replace', 'add', 'remove', 'off'),
          hashes: fc.uniqueArray(fc.integer({ min: 1, max: 90 }), { maxLength: 60 }),
        }),
        { maxLength: 20 },
      ),
      (steps) => {
        const w = world()
        const sets = { 1: new Set<number>(), 2: new Set<number>() }
        const active = { 1: false, 2: false }
        for (const { list, operation, hashes } of steps) {
          w.apply.apply(accessEntry(list, operation, 0, hashBytes(...hashes)))
          const set = sets[list]
          if (operation === 'replace' || operation === 'off') set.clear()
          for (const h of hashes)
            if (operation === 'remove') set.delete(h)
            else if (operation !== 'off') set.add(h)
          active[list] = operation !== 'off' && !(operation === 'remove' && list === DENY && set.size === 0)
        }
        for (const list of [ALLOW, DENY] as const)
          assert.equal(accessState(w.store, list).entries, sets[list].size)
        for (let h = 1; h <= 92; h++)
          assert.equal(
            allowed(w.store, hashWords(h), 0),
            !sets[2].has(h) && (!active[1] || sets[1].has(h)),
            `hash ${h}`,
          )
      },
    ),
    { numRuns: 60 },
  )
  const w = world()
  w.apply.apply(accessEntry(DENY, 'replace', 0, hashBytes(...Array.from({ length: 201 }, (_, i) => i * 7))))
  assert.equal(accessState(w.store, DENY).entries, 0, 'over the limit: nothing of it')
})

test('a connection ID is good at every member, for its address, for two windows and the grace; then never', () => {
  const a = world()
  const b = world()
  const ids = new ConnectionIds(a.store)
  const others = new ConnectionIds(b.store)
  let number = 0
  const at = (w: ReturnType<typeof world>, ms: number) => {
    for (let t = w.store.timeMs; t < ms; ) {
      t = Math.min(ms, t + MAX_STEP_MS)
      w.apply.apply(batch(++number, [], t, w === a ? 1 : 2))
    }
  }
  at(a, WINDOW_MS * 3)
  ids.refresh(0)
  ids.make(0x01020304, 0, 0, 0)
  const { lo, hi } = ids
  const good = (c: ConnectionIds, grace: number) => {
    c.refresh(grace)
    return c.check(lo, hi, 0x01020304, 0, 0, 0)
  }
  assert.equal(good(ids, 0), true)
  assert.equal(ids.check(lo, hi, 0x01020305, 0, 0, 0), false, 'another address')
  assert.equal(ids.check(lo ^ 1, hi, 0x01020304, 0, 0, 0), false)
  assert.equal(ids.check(lo, hi ^ 1, 0x01020304, 0, 0, 0), false)
  number = 0
  at(b, WINDOW_MS * 2)
  assert.equal(good(others, 0), true, 'a member that is a window behind')
  at(b, WINDOW_MS * 4)
  assert.equal(good(others, 0), true, 'the previous window')
  b.apply.apply(idKeyEntry([33, 44]))
  assert.equal(good(others, 0), true, 'a new key leaves old windows alone')
  at(b, WINDOW_MS * 5)
  assert.equal(good(others, 0), false)
  assert.equal(good(others, 1), true, 'one window of grace')
  others.make(0x01020304, 0, 0, 0)
  const fresh = { lo: others.lo, hi: others.hi }
  assert.equal(others.check(fresh.lo, fresh.hi, 0x01020304, 0, 0, 0), true)
  others.make(1, 2, 3, 4)
  assert.equal(others.check(others.lo, others.hi, 1, 2, 3, 4), true)
  assert.equal(others.check(others.lo, others.hi, 1, 2, 3, 5), false)
})

test('addresses are told apart as RFC 6890 does', () => {
  const four = (text: string) => {
    const [a, b, c, d] = text.split('.').map(Number) as [number, number, number, number]
    return addressClass4(a | (b << 8) | (c << 16) | (d << 24))
  }
  const cases: [string, number][] = [
    ['8.8.8.8', PUBLIC],
    ['100.63.0.1', PUBLIC],
    ['172.32.0.1', PUBLIC],
    ['192.169.0.1', PUBLIC],
    ['10.1.2.3', PRIVATE],
    ['100.64.0.1', PRIVATE],
    ['127.0.0.1', PRIVATE],
    ['169.254.9.9', PRIVATE],
    ['172.31.255.1', PRIVATE],
    ['192.168.0.1', PRIVATE],
    ['0.0.0.0', BOGON],
    ['192.0.2.1', BOGON],
    ['198.18.0.1', BOGON],
    ['198.51.100.7', BOGON],
    ['203.0.113.9', BOGON],
    ['224.0.0.1', BOGON],
    ['255.255.255.255', BOGON],
  ]
  for (const [text, kind] of cases) assert.equal(four(text), kind, text)
  const six = (...bytes: number[]) => {
    const view = new Int32Array(Uint8Array.from([...bytes, ...Array(16 - bytes.length).fill(0)]).buffer)
    return addressClass6(view[0]!, view[1]!, view[2]!, view[3]!)
  }
  assert.equal(six(0x26, 0x00, 1), PUBLIC)
  assert.equal(six(0xfd, 1), PRIVATE)
  assert.equal(six(0xfe, 0x80), PRIVATE)
  assert.equal(six(...Array(15).fill(0), 1), PRIVATE)
  assert.equal(six(), BOGON)
  assert.equal(six(0xff, 2), BOGON)
  assert.equal(six(0x20, 0x01, 0x0d, 0xb8), BOGON)
})

test('private peers are shown to private askers only, unless told otherwise', () => {
  const w = world()
  const announcer = new Announcer(w.store, 1)
  const out = new Uint16Array(900)
  const inside = change(1, 1)
  const outside = change(1, 2)
  outside[1] = 0x08080808
  const another = change(1, 3)
  another[1] = 0x09080808
  w.apply.apply(batch(1, [inside, outside, another]))
  const seen = (asker: Int32Array) => {
    assert.equal(announcer.announce(asker, 0, 50, 1, out, 0), NONE)
    return Array.from({ length: announcer.count4 }, (_, i) => out[i * 3 + 2]).sort()
  }
  assert.deepEqual(seen(inside), [2, 3])
  assert.deepEqual(seen(outside), [3])
  w.apply.apply(settingsEntry({ allowPrivate: 'on' }))
  assert.deepEqual(seen(outside), [1, 3])
})

test('leave, repeated and unknown, is harmless', () => {
  const w = world()
  const announcer = new Announcer(w.store, 1)
  const out = new Uint16Array(900)
  w.apply.apply(batch(1, [change(1, 1, PUT, SEEDER), change(1, 2)]))
  assert.equal(announcer.announce(change(1, 9, LEAVE), 0, 50, 1, out, 0), CHANGE)
  assert.equal(announcer.announce(change(1, 2, LEAVE), 0, 50, 1, out, 0), CHANGE)
  w.apply.apply(batch(2, [change(1, 2, LEAVE), change(1, 2, LEAVE), change(5, 2, LEAVE)]))
  announcer.scrape(hashWords(1), 0)
  assert.deepEqual([announcer.seeders, announcer.leechers], [1, 0])
})
