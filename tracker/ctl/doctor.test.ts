// What the doctor says of what it finds.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { Code, ConnectError } from '@connectrpc/connect'
import { StatusResponseSchema } from '@skep/wire/proto/gen/skep/cluster/v1/cluster_pb.js'
import { clients, members, replica, silent } from './doctor.ts'
import {
  clockFinding,
  conntrackFinding,
  memoryFinding,
  memoryLimit,
  mtuFinding,
  syncFinding,
} from './machine.ts'

const GIB = 1024 ** 3

test('memory: a full table has to fit into what the control group allows', () => {
  assert.equal(memoryFinding(GIB, null, 8 * GIB).verdict, 'good')
  const tight = memoryFinding(GIB, GIB, 8 * GIB)
  assert.deepEqual(
    [tight.verdict, /need 1280 MiB; its control group allows 1024 MiB/.test(tight.what)],
    ['fair', true],
  )
  assert.match(memoryFinding(null, null, GIB).what, /the machine has 1024 MiB/)
  const files = (found: Record<string, string>) => (path: string) => found[path] ?? null
  const nested = { '/proc/self/cgroup': '0::/pod/c1\n', '/sys/fs/cgroup/pod/c1/memory.max': '1073741824\n' }
  assert.equal(memoryLimit(files(nested)), GIB)
  assert.equal(memoryLimit(files({ '/sys/fs/cgroup/memory.max': 'max\n' })), null)
  assert.equal(
    memoryLimit(files({ '/sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n' })),
    null,
  )
})

test('a command without the key is told of the key, not that nothing answers', () => {
  const at = { controlHost: '127.0.0.1', controlPort: 8169 }
  const locked = silent(at, new ConnectError('the control API needs its token', Code.Unauthenticated))
  assert.match(locked.what, /127\.0\.0\.1 port 8169 does not let this command in/)
  assert.match(locked.mend, /--network-key-file/)
  const gone = silent(at, new ConnectError('connection refused', Code.Unavailable))
  assert.match(gone.what, /no answer from the control API/)
  assert.match(gone.mend, /--control-port/)
})

test('the machine: connection tracking, MTU, clock, disk', () => {
  assert.equal(conntrackFinding(null, null).verdict, 'good')
  assert.equal(conntrackFinding(0, 65536).verdict, 'good')
  assert.equal(conntrackFinding(500, 65536).verdict, 'fair')
  assert.match(conntrackFinding(60_000, 65536).mend, /notrack/)
  assert.equal(conntrackFinding(60_000, 65536).verdict, 'bad')
  assert.equal(mtuFinding([['eth0', 1500]]).verdict, 'good')
  assert.match(
    mtuFinding([
      ['eth0', 1500],
      ['tun0', 1200],
    ]).mend,
    /--udp-answer-bytes 1152/,
  )
  assert.equal(clockFinding('tsc\n', 2026).verdict, 'good')
  assert.equal(clockFinding('hpet\n', 2026).verdict, 'fair')
  assert.equal(clockFinding('tsc', 1970).verdict, 'fair')
  assert.deepEqual([syncFinding('/d', 2).verdict, syncFinding('/d', 80).verdict], ['good', 'fair'])
})

test('the replica: not ready with its reason, clients that are hidden, members away and names without an address', async () => {
  const waiting = create(StatusResponseSchema, { name: 'r0', notReady: 'no answer from r1', warnings: ['w'] })
  assert.match(replica(waiting)[0]!.what, /announces wait \(no answer from r1\)/)
  const counted = (all: bigint, hidden: bigint) =>
    clients(create(StatusResponseSchema, { load: { announces: all, announcesPrivate: hidden } }))
  assert.deepEqual(counted(0n, 0n), [])
  assert.deepEqual([counted(10n, 1n)[0]!.verdict, counted(10n, 9n)[0]!.verdict], ['good', 'fair'])
  const status = create(StatusResponseSchema, {
    raft: {
      members: [
        { name: 'r0', self: true, address: 'r0.example:5560' },
        { name: 'r1', address: 'r1.example:5560', connection: 'connected' },
        {
          name: 'r2',
          address: '10.0.0.2:5560',
          connection: 'refused',
          connectionDetail: 'wrong network key',
        },
      ],
    },
  })
  const asked: string[] = []
  const found = await members(status, async (host) => {
    asked.push(host)
    throw Object.assign(new Error(), { code: 'ENOTFOUND' })
  })
  assert.deepEqual(asked, ['r1.example'])
  assert.deepEqual(
    found.map(({ verdict, what }) => [verdict, what]),
    [
      ['bad', 'r2 (10.0.0.2:5560) is refused: wrong network key'],
      ['bad', 'the name r1.example of a member has no address here (ENOTFOUND)'],
    ],
  )
})
