// The swarm table against its slow twin: random changes, growth to directories and back, twins, moves,
// expiry, snapshots in the middle, equal bytes.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '@skep/testing/random.ts'
import { Announcer } from './announce.ts'
import { Apply } from './apply.ts'
import { COMPLETED, IPV6, LEAVE, PUT, SEEDER } from './change.ts'
import { BatchWriter, batchEntry, birthEntry } from './entry.ts'
import { allocate, BUCKET_MS, type Limits, limitsFor } from './layout.ts'
import { Model } from './model.ts'
import { DEFAULT_SETTINGS } from './settings.ts'
import { digest, Restorer, takeSnapshot } from './snapshot.ts'
import { Store } from './store.ts'

const LIMITS: Limits = limitsFor(64 << 20, false)

function world(limits: Limits = LIMITS, ordered = true, level = 1) {
  const store = new Store(allocate(limits, ordered))
  const apply = new Apply(store, { part: () => {}, batch: () => {} })
  apply.apply(
    birthEntry({
      clusterId: '0123456789abcdef0123456789abcdef',
      hashSeed: 12345,
      idKey: [1, 2],
      limits,
      settings: { ...DEFAULT_SETTINGS, intervalSeconds: 1800, intervalMaxSeconds: 1800 },
      level,
    }),
  )
  return { store, apply, announcer: new Announcer(store, 7) }
}

type Change = { kind: number; flags: number; port: number; address: number[]; hash: number; tag: number }

const RING = 24
function record(c: Change, words: Int32Array, at: number): void {
  words.fill(0, at, at + RING)
  words[at] = c.kind | c.flags | (c.port << 16)
  for (let i = 0; i < c.address.length; i++) words[at + 1 + i] = c.address[i]!
  for (let i = 0; i < 5; i++) words[at + 5 + i] = Math.imul(c.hash + 1, 0x9e3779b1 + i)
  words[at + 10] = c.tag
}

class Driver {
  readonly writer = new BatchWriter(1 << 20)
  readonly words = new Int32Array(RING * 4096)
  number = 0
  timeMs = 0
  entry(changes: readonly Change[], touches: readonly number[] = []): Uint8Array {
    changes.forEach((c, i) => {
      record(c, this.words, i * RING)
    })
    this.writer.begin(2 ** 40 + 5, 1, ++this.number)
    const ring = { words: this.words, at: (n: number) => n * RING }
    assert.equal(this.writer.addChanges(0, ring, 0, changes.length), changes.length)
    if (touches.length > 0) this.writer.addTouches(0, Int32Array.from(touches), touches.length)
    return batchEntry(this.timeMs, [this.writer.bytes()])
  }
}

const name = (c: Change): string => `${c.flags & IPV6 ? 6 : 4}:${c.address.join('.')}:${c.port}`

/** Nearly every address has one port; where another one is drawn, a client may have changed its own. */
function draw(r: Random, o: { hashes: number; addresses: number; tags: number; v6: number }): Change {
  const v6 = r.chance(o.v6)
  const n = 1 + r.below(o.addresses)
  return {
    kind: r.chance(0.25) ? LEAVE : PUT,
    flags: (r.chance(0.6) ? SEEDER : 0) | (r.chance(0.2) ? COMPLETED : 0) | (v6 ? IPV6 : 0),
    port: 1 + (r.chance(0.85) ? n % 7 : r.below(7)),
    address: v6 ? [0x20, n, 0, 9] : [0x0100_0004 + (n << 8)],
    hash: r.below(o.hashes),
    tag: r.chance(0.4) ? 0 : 1 + r.below(o.tags),
  }
}

function look(w: ReturnType<typeof world>, hash: number, seeder: boolean) {
  const words = new Int32Array(RING)
  record({ kind: PUT, flags: seeder ? SEEDER : 0, port: 9999, address: [0x09090909], hash, tag: 0 }, words, 0)
  const out = new Uint16Array(200_000)
  assert.equal(w.announcer.answer(words, 0, 20_000, 3, out, 0), true)
  const peers = new Set<string>()
  const a = w.announcer
  let d = 0
  for (let i = 0; i < a.count4; i++, d += 3) peers.add(`4:${out[d]! | (out[d + 1]! << 16)}:${out[d + 2]}`)
  for (let i = 0; i < a.count6; i++, d += 9) {
    const p: number[] = []
    for (let j = 0; j < 8; j += 2) p.push(out[d + j]! | (out[d + j + 1]! << 16))
    peers.add(`6:${p.join('.')}:${out[d + 8]}`)
  }
  return {
    peers,
    count: a.count4 + a.count6,
    seeders: a.seeders,
    leechers: a.leechers,
    completed: a.completed,
  }
}

function agree(w: ReturnType<typeof world>, model: Model, hashes: number, seed: number): void {
  for (let hash = 0; hash < hashes; hash++) {
    const real = look(w, hash, false)
    const swarm = model.swarms.get(String(hash))
    const wished = new Set(swarm?.peers.keys() ?? [])
    assert.deepEqual(real.peers, wished, `seed ${seed} hash ${hash}`)
    assert.equal(real.count, wished.size, `seed ${seed}: no peer twice`)
    const counts = model.counts(String(hash))
    assert.deepEqual(
      { seeders: real.seeders, leechers: real.leechers },
      { seeders: counts.seeders, leechers: counts.leechers },
      `seed ${seed} hash ${hash}`,
    )
    // An empty torrent without downloads is forgotten, and its count with it: only then may the two differ.
    if (wished.size > 0) assert.equal(real.completed, counts.completed, `seed ${seed} hash ${hash} completed`)
  }
}

function churn(
  seed: number,
  level: number,
  o: { hashes: number; addresses: number; tags: number; v6: number; rounds: number },
) {
  const r = new Random(seed)
  const w = world(LIMITS, true, level)
  const model = new Model()
  model.level = level
  const driver = new Driver()
  for (let round = 0; round < o.rounds; round++) {
    const changes = Array.from({ length: 200 }, () => draw(r, o))
    const shrink = round > o.rounds * 0.7
    if (shrink) for (const c of changes) if (r.chance(0.8)) c.kind = LEAVE
    w.apply.apply(driver.entry(changes))
    for (const c of changes) {
      const hash = String(c.hash)
      const key = c.flags & IPV6 ? `6:${c.address.join('.')}:${c.port}` : name(c)
      if (c.kind === LEAVE) model.leave(hash, key, (c.flags & IPV6) !== 0, c.tag)
      else
        model.put(
          hash,
          key,
          (c.flags & IPV6) !== 0,
          (c.flags & SEEDER) !== 0,
          c.tag,
          (c.flags & COMPLETED) !== 0,
        )
      const swarm = model.swarms.get(hash)
      if (swarm !== undefined && swarm.peers.size === 0 && swarm.completed === 0) model.swarms.delete(hash)
    }
    if (round % 5 === 4) agree(w, model, o.hashes, seed)
  }
  return w
}

test('many small swarms hold exactly the peers that joined and did not leave', () => {
  for (let seed = 1; seed <= 16; seed++)
    churn(seed, 1 + (seed % 2), { hashes: 40, addresses: 60, tags: 50, v6: 0.3, rounds: 20 })
})

test('big swarms grow into directories and shrink back, with twins and moves counted right', () => {
  for (let seed = 1; seed <= 6; seed++)
    churn(seed, 1 + (seed % 2), { hashes: 2, addresses: 3000, tags: 1500, v6: 0.4, rounds: 60 })
})

test('all pages come back when everybody has left', () => {
  const w = world()
  const driver = new Driver()
  const joins = Array.from({ length: 4000 }, (_, i) => ({
    kind: PUT,
    flags: i % 3 === 0 ? SEEDER : 0,
    port: 5,
    address: [0x01000000 + i * 256 + 7],
    hash: i % 3,
    tag: i + 1,
  }))
  w.apply.apply(driver.entry(joins))
  assert.equal(w.store.peerCount, 4000)
  assert.equal(w.store.torrentCount, 3)
  w.apply.apply(driver.entry(joins.map((c) => ({ ...c, kind: LEAVE }))))
  assert.equal(w.store.peerCount, 0)
  assert.equal(w.store.torrentCount, 0)
  assert.equal(w.store.tags.inUse, 0)
  const before = w.store.peers4.pages.top
  w.apply.apply(driver.entry(joins))
  assert.equal(w.store.peers4.pages.top, before, 'the same pages serve again')
})

test('a peer that never says goodbye is gone after two of the largest intervals, a touched one is not', () => {
  const w = world()
  const driver = new Driver()
  const join = (n: number): Change => ({
    kind: PUT,
    flags: 0,
    port: n,
    address: [0x0200000a],
    hash: 1,
    tag: 0,
  })
  w.apply.apply(driver.entry([join(1), join(2)]))
  const words = new Int32Array(RING)
  record(join(2), words, 0)
  let touched = 0
  for (let s = 0; s <= 3600 + 60; s += 2) {
    driver.timeMs = s * 1000
    const out = new Uint16Array(600)
    const touches: number[] = []
    if (w.announcer.announce(words, 0, 50, 1, out, 0) === 1) {
      touches.push(w.announcer.touch)
      touched++
    }
    w.apply.apply(driver.entry([], touches))
  }
  assert.ok(touched > 200, `touched once a bucket of ${BUCKET_MS} ms: ${touched}`)
  assert.equal(w.store.peerCount, 1)
  assert.equal(w.store.counter('expired'), 1)
  assert.equal(w.store.counter('stale_touches'), 0)
})

test('a snapshot taken while changes go on restores to the bytes of its moment', () => {
  for (const [seed, hashes, addresses] of [
    [99, 30, 2000],
    [100, 4000, 40],
    [101, 300, 5],
  ] as const) {
    const r = new Random(seed)
    const w = world()
    const driver = new Driver()
    const o = { hashes, addresses, tags: 800, v6: 0.3 }
    for (let turn = 0; turn < 6; turn++) {
      for (let i = 0; i < 30; i++) {
        driver.timeMs += 900
        w.apply.apply(driver.entry(Array.from({ length: 300 }, () => draw(r, o))))
      }
      const then = digest(w.store)
      const chunks: Uint8Array[] = []
      for (const c of takeSnapshot(w.store).chunks()) {
        chunks.push(c.slice())
        driver.timeMs += 900
        w.apply.apply(driver.entry(Array.from({ length: 100 }, () => draw(r, o))))
      }
      assert.notEqual(digest(w.store), then)
      const other = world()
      const restorer = new Restorer(other.store)
      for (const c of chunks) restorer.add(c)
      restorer.finish()
      assert.equal(digest(other.store), then, `seed ${seed} turn ${turn}`)
    }
  }
})

test('a damaged, cut or reordered snapshot is refused', () => {
  const w = world()
  const driver = new Driver()
  const r = new Random(3)
  w.apply.apply(
    driver.entry(Array.from({ length: 300 }, () => draw(r, { hashes: 9, addresses: 90, tags: 9, v6: 0.1 }))),
  )
  const chunks = Array.from(takeSnapshot(w.store).chunks(), (c) => c.slice())
  const restore = (list: Uint8Array[]) => {
    const restorer = new Restorer(world().store)
    for (const c of list) restorer.add(c)
    restorer.finish()
  }
  restore(chunks)
  for (let i = 0; i < 60; i++) {
    const at = r.below(chunks.length)
    const bad = chunks[at]!.slice()
    const bit = r.below(bad.length - 3) // the last bytes of a chunk may be padding
    bad[bit]! ^= 1 << r.below(8)
    assert.throws(() => restore(chunks.with(at, bad)), /snapshot/, `chunk ${at} byte ${bit}`)
  }
  assert.throws(() => restore(chunks.slice(0, -1)), /ends after/)
  assert.throws(() => restore(chunks.slice(1)), /manifest/)
  assert.throws(() => restore([...chunks.slice(0, 2), ...chunks.slice(3)]), /instead of/)
})

test('replaying the same entries gives the same bytes, also where readers lock', () => {
  const make = (ordered: boolean) => {
    const r = new Random(5)
    const w = world(LIMITS, ordered)
    const driver = new Driver()
    for (let i = 0; i < 20; i++)
      w.apply.apply(
        driver.entry(
          Array.from({ length: 200 }, () => draw(r, { hashes: 5, addresses: 500, tags: 99, v6: 0.2 })),
        ),
      )
    look(w, 1, true)
    return digest(w.store)
  }
  assert.equal(make(true), make(true))
  assert.equal(make(true), make(false))
})

test('at capacity known peers are served and kept, new ones are answered but not stored', () => {
  const w = world({ ...LIMITS, pages4: 3 })
  const driver = new Driver()
  const joins = Array.from({ length: 400 }, (_, i) => ({
    kind: PUT,
    flags: 0,
    port: 5,
    address: [0x01000000 + i * 256 + 7],
    hash: 0,
    tag: 0,
  }))
  w.apply.apply(driver.entry(joins))
  const stored = w.store.peerCount
  assert.ok(stored >= 64 && stored < 400, `${stored}`)
  assert.equal(w.store.counter('peers_refused_full'), 400 - stored)
  const first = look(w, 0, false)
  assert.equal(first.count, stored)
  w.apply.apply(driver.entry(joins.slice(0, 10).map((c) => ({ ...c, flags: SEEDER | COMPLETED }))))
  assert.equal(w.store.peerCount, stored, 'nobody is lost by changing at capacity')
  const few = world({ ...LIMITS, torrents: 4 })
  few.apply.apply(new Driver().entry(Array.from({ length: 10 }, (_, i) => ({ ...joins[0]!, hash: i + 1 }))))
  assert.equal(few.store.counter('torrents_refused_full'), 6)
  assert.equal(few.store.torrentCount, 4)
})

test('a seeder gets leechers first, a leecher gets both, and nobody gets itself', () => {
  const w = world()
  const driver = new Driver()
  const joins = Array.from({ length: 300 }, (_, i) => ({
    kind: PUT,
    flags: i < 240 ? SEEDER : 0,
    port: i < 240 ? 1 : 2,
    address: [0x01000000 + i * 256 + 7],
    hash: 0,
    tag: 0,
  }))
  w.apply.apply(driver.entry(joins))
  const words = new Int32Array(RING)
  const out = new Uint16Array(4000)
  const ask = (c: Change, want: number) => {
    record(c, words, 0)
    const what = w.announcer.announce(words, 0, want, 1, out, 0)
    const ports = Array.from({ length: w.announcer.count4 }, (_, i) => out[i * 3 + 2]!)
    const self = Array.from(
      { length: w.announcer.count4 },
      (_, i) => out[i * 3]! | (out[i * 3 + 1]! << 16),
    ).includes(c.address[0]!)
    return { what, ports, self }
  }
  const leecherSeen = new Set<number>()
  for (let i = 0; i < 200; i++) {
    const s = ask(joins[5]!, 40)
    assert.equal(s.what, 0)
    assert.equal(s.self, false)
    assert.deepEqual(s.ports, Array(40).fill(2), 'leechers first')
    const l = ask(joins[299]!, 40)
    assert.equal(l.self, false)
    assert.equal(l.ports.length, 40)
    const seeders = l.ports.filter((p) => p === 1).length
    assert.ok(seeders >= 31 && seeders <= 33, `${seeders} seeders of 40`)
    for (let j = 0; j < 40; j++) leecherSeen.add(out[j * 3 + 1]! * 65536 + out[j * 3]!)
  }
  assert.ok(leecherSeen.size > 250, `random windows reach everybody: ${leecherSeen.size} of 299`)
  const all = ask(joins[5]!, 100)
  assert.equal(all.ports.filter((p) => p === 2).length, 60, 'all leechers, then seeders')
  assert.equal(all.ports.length, 100)
})
