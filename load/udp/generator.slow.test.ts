// The generator against real sockets: an honest tracker is found honest, and every kind of lie is caught.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { measure } from '../bench/measure.ts'
import { type Lie, openTracker } from '../honest-tracker.case.ts'
import type { Work } from './asks.ts'
import { Generator } from './generator.ts'
import { buildModel } from './model.ts'
import { defaultSources, openSources, type Target } from './target.ts'
import { FAULTS, type Kind, type Tally } from './verify.ts'

const SHAPE = { torrents: 20, peers: 200, skew: 2, seeders: 0.75, seed: 3 }
const WORK: Work = {
  mix: [100, 20, 10],
  joinsPermille: 0,
  numwant: 10,
  window: 8,
  rate: 0,
  burst: 1,
  timeoutMs: 2000,
  verify: true,
}

type Told = {
  missing: number
  unconnected: number
  tally: Tally
  answers: number
  joins: number
  peers: number
}

/** Loads the population into a tracker of that kind, asks for 300 ms. */
async function tell(lie: Lie, host: string, engine: 'auto' | 'dgram', work: Work = WORK): Promise<Told> {
  const tracker = await openTracker(lie, host)
  const target: Target = { address: host, port: tracker.port, family: host.includes(':') ? 6 : 4 }
  const { io, homes, raw } = await openSources(target, await defaultSources(target, 4), {
    engine,
    answerBytes: 2048,
  })
  const model = buildModel(SHAPE)
  const generator = new Generator(io, model, { homes, family: target.family, raw, loaded: false, seed: 1 })
  try {
    const unconnected = await generator.connect(lie === 'silence' ? 300 : 5000)
    // Lies begin with the preload, so what it finds counts too.
    const missing =
      lie === 'silence' ? SHAPE.peers : await generator.preload(work, () => {}, lie === 'none' ? 20_000 : 500)
    const early = { ...generator.verifier.tally }
    const measured = await measure(generator, work, { warmMs: 0, ms: 300, pids: [] })
    const tally = { ...measured.tally }
    for (const kind of Object.keys(early) as Kind[]) tally[kind] += early[kind]
    const { answers, counts } = measured
    return { missing, unconnected, tally, answers, joins: counts.joins, peers: measured.peersPerAnnounce }
  } finally {
    generator.close()
    await tracker.close()
  }
}

const found = (tally: Tally): string[] => FAULTS.filter((kind) => tally[kind] > 0)

for (const [host, engine] of [
  ['127.0.0.1', 'auto'],
  ['127.0.0.1', 'dgram'],
  ['::1', 'auto'],
] as const)
  test(`an honest tracker at ${host} is found honest, by ${engine}`, async () => {
    const told = await tell('none', host, engine)
    assert.equal(told.unconnected, 0)
    assert.equal(told.missing, 0)
    assert.ok(told.answers > 20)
    assert.ok(told.peers > 5, 'peers were returned and read')
    assert.deepEqual(found(told.tally), [])
    assert.equal(told.tally.askerReturned, 0)
    assert.equal(told.tally.fewerThanThere, 0)
  })

test('joins of new peers are known to the model, so an honest tracker stays honest', async () => {
  const told = await tell('none', '127.0.0.1', 'auto', { ...WORK, joinsPermille: 500 })
  assert.ok(told.joins > 0)
  assert.deepEqual(found(told.tally), [])
})

test('no more is asked than the rate allows', async () => {
  const told = await tell('none', '127.0.0.1', 'auto', { ...WORK, rate: 1000, window: 64 })
  // Three tenths of a second's worth, and what a late start may owe.
  assert.ok(told.answers > 0 && told.answers <= 320, `${told.answers} answers`)
})

const LIES: readonly (readonly [Lie, Kind])[] = [
  ['foreign peer', 'foreignPeer'],
  ['duplicate peer', 'duplicatePeer'],
  ['asker', 'askerReturned'],
  ['count', 'wrongCounts'],
  ['scrape', 'wrongScrape'],
  ['transaction', 'unknownTransaction'],
  ['action', 'wrongAction'],
  ['short', 'wrongLength'],
  ['error', 'errorAnswer'],
  ['stale id', 'staleConnectionId'],
]
for (const [lie, kind] of LIES)
  test(`a tracker that lies (${lie}) is caught: ${kind}`, async () => {
    const told = await tell(lie, '127.0.0.1', 'auto')
    assert.ok(told.tally[kind] > 0, `${kind} was not counted`)
  })

test('a silent tracker leaves every source without a connection ID', async () => {
  const told = await tell('silence', '127.0.0.1', 'auto')
  assert.equal(told.unconnected, 4)
  assert.equal(told.answers, 0)
})
