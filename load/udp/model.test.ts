// The population: address and port lead back to the peer, and everyone is counted once.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  addressOf,
  buildModel,
  isSeeder,
  peersBySocket,
  portOf,
  rankOf,
  sizeOf,
  socketOf,
  swarmLimit,
} from './model.ts'

const homes = fc
  .record({ addresses: fc.integer({ min: 1, max: 40 }), perAddress: fc.integer({ min: 1, max: 8 }) })
  .map(({ addresses, perAddress }) => ({ addresses, sockets: addresses * perAddress }))

test('address and port tell the rank, within what a swarm may hold', () => {
  fc.assert(
    fc.property(homes, fc.nat({ max: 1_000_000 }), fc.nat({ max: 2_000_000 }), (at, torrent, any) => {
      const rank = any % swarmLimit(at)
      assert.equal(rankOf(at, torrent, addressOf(at, torrent, rank), portOf(at, torrent, rank)), rank)
      assert.ok(portOf(at, torrent, rank) >= 1024 && portOf(at, torrent, rank) < 65536)
      assert.ok(socketOf(at, torrent, rank) < at.sockets)
      assert.equal(
        Math.floor(socketOf(at, torrent, rank) / (at.sockets / at.addresses)),
        addressOf(at, torrent, rank),
      )
    }),
  )
})

test('the population is whole: every peer has a torrent, a socket, and is counted once', () => {
  const model = buildModel({ torrents: 50, peers: 5000, skew: 3, seeders: 0.75, seed: 9 })
  const at = { addresses: 4, sockets: 8 }
  const lists = peersBySocket(model, at)
  const all = lists.flatMap((list) => [...list]).sort((a, b) => a - b)
  assert.deepEqual(all, [...Array(5000).keys()])
  let peers = 0
  let seeders = 0
  for (let t = 0; t < 50; t++) {
    peers += sizeOf(model, t)
    seeders += model.seeders[t]!
    for (let r = 0; r < sizeOf(model, t); r++) assert.equal(model.torrentOf[model.start[t]! + r], t)
    const counted = [...Array(sizeOf(model, t)).keys()].filter((r) => isSeeder(model.shape, t, r)).length
    assert.equal(model.seeders[t], counted)
    assert.ok(sizeOf(model, t) <= sizeOf(model, model.largest))
  }
  assert.equal(peers, 5000)
  assert.ok(seeders > 3600 && seeders < 3900, `${seeders} of 5000 are seeders where 3750 are expected`)
})

test('the same shape is the same population; another seed is another', () => {
  const shape = { torrents: 10, peers: 100, skew: 1, seeders: 0.5, seed: 1 }
  assert.deepEqual(buildModel(shape), buildModel(shape))
  assert.notDeepEqual(buildModel(shape).hashes, buildModel({ ...shape, seed: 2 }).hashes)
})
