// What announces ask for, against the slow twin: random clients that keep or change keys, peer_ids, ports and
// states, with and without details, at both levels; whatever they ask for is done to the table and to the
// twin.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '@skep/testing/random.ts'
import { Announcer, CHANGE, NONE, REFRESH } from './announce.ts'
import { Apply } from './apply.ts'
import { COMPLETED, DETAILS, IPV6, LEAVE, PUT, SEEDER, STARTED, WORD_DETAILS, WORD_TAG } from './change.ts'
import { BatchWriter, batchEntry, birthEntry } from './entry.ts'
import { allocate, BUCKET_MS, limitsFor } from './layout.ts'
import { Model } from './model.ts'
import { DEFAULT_SETTINGS } from './settings.ts'
import { Store } from './store.ts'

const RECORD = 24
const INTERVAL_SECONDS = 120
const HASH = 'a'
const EVENTS = [0, 0, 0, 0, STARTED, COMPLETED, LEAVE]

class World {
  readonly model = new Model()
  private readonly store: Store
  private readonly apply: Apply
  private readonly announcer: Announcer
  private readonly writer = new BatchWriter(1 << 16)
  private readonly words = new Int32Array(RECORD)
  private readonly out = new Uint16Array(4000)
  private batches = 0
  private timeMs = 0

  constructor(level: number, details: boolean) {
    const limits = limitsFor(8 << 20, details)
    this.store = new Store(allocate(limits, true))
    this.apply = new Apply(this.store, { part: () => {}, batch: () => {} })
    this.announcer = new Announcer(this.store, 1)
    const interval = { intervalSeconds: INTERVAL_SECONDS, intervalMaxSeconds: INTERVAL_SECONDS }
    const birth = { clusterId: '0'.repeat(32), hashSeed: 9, idKey: [1, 2], limits, level } as const
    const key = level < 2 ? {} : { hashKey: [1, 2, 3, 4] as const }
    this.apply.apply(birthEntry({ ...birth, ...key, settings: { ...DEFAULT_SETTINGS, ...interval } }))
    this.model.level = level
  }

  /** Cluster time, two seconds an entry at most; who was silent for too long is gone. */
  pass(ms: number): void {
    for (const until = this.timeMs + ms; this.timeMs < until; ) {
      this.timeMs += 2000
      this.entry(() => {})
      this.model.bucket = Math.floor(this.timeMs / BUCKET_MS)
      this.model.expire(Math.ceil((2 * INTERVAL_SECONDS * 1000) / BUCKET_MS))
      if (this.model.swarms.get(HASH)?.peers.size === 0 && this.model.counts(HASH).completed === 0)
        this.model.swarms.delete(HASH)
    }
  }

  private entry(fill: (writer: BatchWriter) => void): void {
    this.writer.begin(7, 1, ++this.batches)
    fill(this.writer)
    this.apply.apply(batchEntry(this.timeMs, [this.writer.bytes()]))
  }

  /** What was asked for, and what the twin says it is. */
  announce(c: Client, event: number, details: boolean): readonly [number, boolean] {
    const { words, announcer, model } = this
    words.fill(0)
    const kind = event === LEAVE ? LEAVE : PUT | event
    words[0] = kind | (c.seeder ? SEEDER : 0) | (c.v6 ? IPV6 : 0) | (details ? DETAILS : 0) | (c.port << 16)
    words.set(c.v6 ? [0x20, c.host, 0, 9] : [0x01000004 + (c.host << 8)], 1)
    words.fill(0x61616161, 5, 10)
    words[WORD_TAG] = c.tag
    if (details) words.fill(c.peerId, WORD_DETAILS, WORD_DETAILS + 5)
    const name = `${c.v6 ? 6 : 4}:${c.host}:${c.port}`
    const peerId = details ? String(c.peerId) : ''
    const wanted = model.isChange(HASH, name, c.seeder, c.tag, event !== 0, peerId, INTERVAL_SECONDS)
    const what = announcer.announce(words, 0, 50, 3, this.out, 0)
    if (what === REFRESH) {
      this.entry((writer) => writer.addTouches(0, Int32Array.of(announcer.touch), 1))
      model.touch(HASH, name)
    } else if (what === CHANGE) {
      this.entry((writer) => writer.addChanges(0, { words, at: () => 0 }, 0, 1))
      if (event === LEAVE) model.leave(HASH, name, c.v6, c.tag)
      else model.put(HASH, name, c.v6, c.seeder, c.tag, event === COMPLETED, peerId)
      const swarm = model.swarms.get(HASH)
      if (swarm?.peers.size === 0 && swarm.completed === 0) model.swarms.delete(HASH)
    } else assert.equal(what, NONE)
    return [what, wanted]
  }

  counts() {
    this.announcer.scrape(new Int32Array(5).fill(0x61616161), 0)
    const { seeders, leechers } = this.announcer
    return { peers: this.store.peerCount, seeders, leechers }
  }

  twinCounts() {
    const { seeders, leechers } = this.model.counts(HASH)
    return { peers: this.model.swarms.get(HASH)?.peers.size ?? 0, seeders, leechers }
  }
}

type Client = {
  v6: boolean
  host: number
  port: number
  tag: number
  peerId: number
  seeder: boolean
  /** A new key each time. */
  fickle: boolean
}

/** Few addresses and ports, so that clients meet, follow one another, and come back. */
const place = (r: Random) => ({ v6: r.chance(0.3), host: 1 + r.below(4), port: 1 + r.below(3) })
const draw = (r: Random): Client => ({
  ...place(r),
  tag: r.chance(0.2) ? 0 : 1 + r.below(12),
  peerId: 1 + r.below(6),
  seeder: r.chance(0.3),
  fickle: r.chance(0.3),
})

test('who is at its address and port refreshes, whatever its key; all else, and every event, is a change', () => {
  const seen = { changes: 0, refreshes: 0, none: 0 }
  for (let seed = 1; seed <= 12; seed++) {
    const r = new Random(seed)
    const details = seed % 3 === 0
    const world = new World(1 + (seed % 2), details)
    const clients = Array.from({ length: 14 }, () => draw(r))
    for (let step = 0; step < 600; step++) {
      const c = r.pick(clients)
      if (c.fickle) c.tag = 100 + r.below(1000)
      if (r.chance(0.05)) Object.assign(c, place(r))
      if (r.chance(0.05)) Object.assign(c, draw(r))
      if (r.chance(0.1)) c.seeder = !c.seeder
      if (r.chance(0.15)) world.pass(2000 * r.below(30))
      const event = r.pick(EVENTS)
      const [what, wanted] = world.announce(c, event, details)
      const where = `seed ${seed} step ${step}`
      assert.equal(what === CHANGE, wanted, where)
      assert.deepEqual(world.counts(), world.twinCounts(), where)
      if (what === CHANGE) seen.changes++
      else if (what === REFRESH) seen.refreshes++
      else seen.none++
    }
  }
  for (const [what, times] of Object.entries(seen)) assert.ok(times > 200, `${times} ${what}`)
})
