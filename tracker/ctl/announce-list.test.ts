// Announce URLs as tiers: what is printed is what clients and torrents take.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { StatusResponseSchema } from '@skep/wire/proto/gen/skep/cluster/v1/cluster_pb.js'
import { placeOf, placesOf, tiersOf } from './announce-list.ts'
import { statusTable } from './table.ts'

const PORTS = { udp: 6969, http: 8168 }

test('each replica is a tier of its own, so that a client whose replica is gone finds the next one', () => {
  const members = ['10.0.0.1:5560', '10.0.0.2:5560', 'c.example:5561'].map((address, i) => ({
    id: BigInt(i + 1),
    name: `r${i}`,
    address,
  }))
  assert.deepEqual(tiersOf(placesOf(members, 1n, PORTS)), [
    ['udp://10.0.0.1:6969/announce'],
    ['udp://10.0.0.2:6969/announce'],
    ['udp://c.example:6969/announce'],
    ['http://10.0.0.1:8168/announce'],
    ['http://10.0.0.2:8168/announce'],
    ['http://c.example:8168/announce'],
  ])
})

test('replicas of one machine have ports of their own, whichever of them is asked', () => {
  const members = [5560, 5570, 5580].map((port, i) => ({
    id: BigInt(i + 1),
    name: `r${i}`,
    address: `127.0.0.1:${port}`,
  }))
  const udp = [
    'udp://127.0.0.1:6969/announce',
    'udp://127.0.0.1:6979/announce',
    'udp://127.0.0.1:6989/announce',
  ]
  assert.deepEqual(tiersOf(placesOf(members.toReversed(), 1n, PORTS), 'udp').flat(), udp)
  assert.deepEqual(tiersOf(placesOf(members, 2n, { udp: 6979, http: 8178 }), 'udp').flat(), udp)
})

test('hosts are told with their ports, in any family; what is none is refused by name', () => {
  const url = (text: string): string => tiersOf([placeOf(text, PORTS)], 'udp')[0]![0]!
  assert.equal(url('t0.example.org'), 'udp://t0.example.org:6969/announce')
  assert.equal(url('192.0.2.1:7000:7001'), 'udp://192.0.2.1:7000/announce')
  assert.equal(url('2001:db8::1'), 'udp://[2001:db8::1]:6969/announce')
  assert.equal(url('[2001:db8::1]:7000:7001'), 'udp://[2001:db8::1]:7000/announce')
  assert.equal(url('bücher.example'), 'udp://xn--bcher-kva.example:6969/announce')
  const noHosts = [
    'two names',
    't0.example.org/announce',
    'a@b',
    'a%20b',
    '999.1.1.1',
    '1.2.3',
    ':::',
    '[1:2]',
    't0,t1',
  ]
  for (const wrong of ['t0:7000', 'udp://t0', 't0:0:1', 't0:99999:1', '', ...noHosts])
    assert.throws(() => placeOf(wrong, PORTS), /is neither a host nor/)
})

test('status shows the announce URLs, a tier each, at the ports that are really taken', () => {
  const told = (addresses: string[], udpPort: number): string =>
    statusTable(
      create(StatusResponseSchema, {
        ...{ udpPort, httpPort: 9168 },
        raft: {
          memberId: 1n,
          members: addresses.map((address, i) => ({ id: BigInt(i + 1), name: `r${i}`, address })),
        },
      }),
    )
  const lines = told(['10.0.0.1:5560', '10.0.0.2:5560'], 7969).split('\n').slice(-4)
  assert.deepEqual(
    lines.map((line) => line.replace(/^announce|^ /, '').trim()),
    [
      'tier 1: udp://10.0.0.1:7969/announce',
      'tier 2: udp://10.0.0.2:7969/announce',
      'tier 3: http://10.0.0.1:9168/announce',
      'tier 4: http://10.0.0.2:9168/announce',
    ],
  )
  assert.match(told([''], 7969), /announce +UDP port 7969, HTTP port 9168; skep ctl announce-list HOST/)
  assert.doesNotMatch(told(['10.0.0.1:5560'], 0), /announce/)
})
