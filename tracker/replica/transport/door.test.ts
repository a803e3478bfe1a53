// Who is let in, who is not, and what both sides are told about it.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { type AddressInfo, connect } from 'node:net'
import { test } from 'node:test'
import { createServer as createTlsServer, connect as tlsConnect } from 'node:tls'
import { MSG_APP } from '@skep/raft/message.ts'
import { backoffMs } from './backoff.ts'
import { HELLO, PING, PONG, RAFT, REFUSED, WELCOME } from './frame.ts'
import { encodeHello, type Hello } from './frame-body.ts'
import { clientTls, pskOf, pskRing } from './psk.ts'
import {
  byHand,
  CLUSTER,
  KEY,
  message,
  OTHER_KEY,
  ring,
  type TestMember,
  withMembers,
} from './transport.case.ts'
import { APPENDS, CONTROL } from './transport.ts'

const dials = (a: TestMember, b: TestMember, change = {}): void =>
  a.transport.setPeers([{ ...b.peer, ...change }])

test('a wrong network key is refused and named on both sides', () =>
  withMembers(
    [{}, { security: ring(OTHER_KEY) }],
    async (a, b) => {
      dials(a!, b!)
      await a!.until(() => a!.stateOf(2)!.state === 'refused')
      assert.equal(
        a!.stateOf(2)!.detail,
        'refused: wrong network key; give both replicas the same --network-key-file',
      )
      await b!.until(() => b!.events.length > 0)
      assert.equal(b!.events[0], 'turned away: wrong network key')
      assert.equal(b!.transport.refusedDials[0]!.sentence, 'wrong network key')
      assert.equal(b!.transport.refusedDials[0]!.from, '127.0.0.1')
    },
    true,
  ))

test('while keys are changed members with the old, both or the new one still meet', async () => {
  const rings = [ring(KEY), ring(KEY, OTHER_KEY), ring(OTHER_KEY, KEY), ring(OTHER_KEY)]
  const meet = [
    [0, 1],
    [1, 2],
    [2, 3],
    [0, 2],
    [1, 3],
  ] as const
  for (const [i, j] of meet)
    await withMembers([{ security: rings[i]! }, { security: rings[j]! }], async (a, b) => {
      a!.transport.send(0, 2, message(MSG_APP, 1))
      await b!.until(() => b!.heard.length === 1)
    })
})

test('a key that is put into the file counts from the next dial on', async () => {
  let keys = pskRing(OTHER_KEY)
  await withMembers(
    [{ security: () => keys, random: () => 0.999 }, {}],
    async (a, b) => {
      dials(a!, b!)
      await b!.until(() => b!.events.includes('turned away: wrong network key'))
      keys = pskRing(KEY)
      await a!.connected(2)
    },
    true,
  )
})

test('a key that is taken away ends what was opened with it, and the one that stays opens it again', async () => {
  let mine = pskRing(`${OTHER_KEY}\n${KEY}`)
  let its = pskRing(`${KEY}\n${OTHER_KEY}`)
  await withMembers([{ security: () => mine }, { security: () => its }], async (a, b) => {
    // Dialled with the old key; then it is replaced everywhere, and taken away.
    mine = pskRing(`${KEY}\n${OTHER_KEY}`)
    const before = a!.stateOf(2)!.connects
    its = pskRing(KEY)
    mine = pskRing(KEY)
    await a!.until(() => a!.stateOf(2)!.connects >= before + 3)
    a!.transport.send(0, 2, message(MSG_APP, 1))
    await b!.until(() => b!.heard.length === 1)
  })
})

test('neither plain TCP nor TLS without the key gets in', () =>
  withMembers([{}], async (a) => {
    const { port } = a!.address
    const plain = connect(port, '127.0.0.1')
    plain.on('error', () => {})
    plain.write('GET / HTTP/1.1\r\n\r\n')
    await a!.until(() => a!.events.length === 1)
    assert.match(a!.events[0]!, /^turned away: no TLS handshake with a network key/)
    const certificate = tlsConnect({ port, host: '127.0.0.1', rejectUnauthorized: false })
    await new Promise<void>((resolve) => certificate.on('error', () => resolve()))
    await a!.until(() => a!.events.length === 2)
    const older = tlsConnect({
      port,
      host: '127.0.0.1',
      ...clientTls(pskOf(KEY)),
      ...{ minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' },
    })
    await new Promise<void>((resolve) => older.on('error', () => resolve()))
  }))

test('another cluster, another member, a removed member: refused with a sentence that names what is wrong', async () => {
  const other = 'f'.repeat(32)
  const self = { clusterId: CLUSTER, id: 1, name: 'r1', level: 1, incarnation: 1 }
  await withMembers(
    [{ self: { ...self, clusterId: other } }, {}],
    async (a, b) => {
      dials(a!, b!)
      await a!.until(() => a!.stateOf(2)!.state === 'refused')
      const sentence = `"r2" belongs to cluster ${CLUSTER}, not to ${other}`
      assert.equal(a!.stateOf(2)!.detail, `refused: ${sentence}`)
      assert.deepEqual(a!.events[0], `refused by 2: wrong cluster: ${sentence}`)
      assert.equal(b!.events[0], `turned away: "r1" (member 1): ${sentence}`)
    },
    true,
  )
  await withMembers(
    [{}, {}],
    async (a, b) => {
      dials(a!, b!, { id: 7 })
      await a!.until(() => a!.stateOf(7)!.state === 'refused')
      assert.equal(a!.stateOf(7)!.detail, 'refused: member 7 is not here: this is "r2", member 2')
      b!.admitted = (hello) => ({ code: 'removed member', sentence: `member ${hello.from} was removed` })
      dials(a!, b!)
      await a!.until(() => a!.events.at(-1) === 'refused by 2: removed member: member 1 was removed')
      assert.equal(a!.stateOf(2)!.detail, 'refused: member 1 was removed')
    },
    true,
  )
})

test('a member of no cluster lets nobody in until it is born, and does not warn of those afterwards', () =>
  withMembers(
    [{}, { self: { clusterId: '', id: 2, name: 'r2', level: 1, incarnation: 1 } }],
    async (a, b) => {
      dials(a!, b!)
      await a!.until(() => a!.events.some((e) => e.startsWith('refused by 2: no cluster yet')))
      b!.transport.identify({ clusterId: CLUSTER, id: 2, name: 'r2', level: 1, incarnation: 1 })
      await a!.connected(2)
      assert.deepEqual(b!.transport.refusedDials, [])
    },
    true,
  ))

test('a caller that goes away before it has proved a key was not turned away: nobody is warned of it', () =>
  withMembers(
    [{}, {}],
    async (a, b) => {
      const socket = connect(b!.address.port, '127.0.0.1')
      await new Promise((resolve) => socket.once('connect', resolve))
      // Half of a record, so that the other side waits for the rest of it.
      await new Promise((resolve) => socket.write(new Uint8Array([22, 3, 1, 2, 0, 1]), resolve))
      socket.resetAndDestroy()
      dials(a!, b!)
      await a!.connected(2)
      assert.deepEqual(b!.transport.refusedDials, [])
    },
    true,
  ))

test('a port where something else answers is named as such', () =>
  withMembers(
    [{}, { security: 'plain' }],
    async (a, b) => {
      dials(a!, b!)
      await a!.until(() => a!.stateOf(2)!.lastError !== '')
      assert.notEqual(a!.stateOf(2)!.state, 'connected')
    },
    true,
  ))

const hello = (change: Partial<Hello> = {}): Uint8Array =>
  encodeHello({
    clusterId: CLUSTER,
    from: 1,
    to: 2,
    name: 'r1',
    channel: APPENDS,
    level: 1,
    incarnation: 5,
    dial: 5,
    ...change,
  })

test('noise, frames before the greeting and frames in another name end the connection that brought them', () =>
  withMembers(
    [{}, { security: 'plain' }],
    async (_a, b) => {
      const { port } = b!.address
      const early = await byHand(port)
      early.send(RAFT, 1, 2, message(MSG_APP, 1))
      assert.deepEqual([await early.next(), await early.next()], [`${REFUSED} malformed`, 'closed'])
      const good = await byHand(port)
      good.send(HELLO, 1, 2, hello())
      assert.equal(await good.next(), `${WELCOME}`)
      good.send(RAFT, 1, 2, message(MSG_APP, 2))
      await b!.until(() => b!.heard.length === 1)
      good.send(PING, 1, 2)
      assert.equal(await good.next(), `${PONG}`)
      good.send(RAFT, 3, 2, message(MSG_APP, 3))
      assert.equal(await good.next(), 'closed')
      const long = await byHand(port)
      long.send(HELLO, 1, 2, new Uint8Array(70_000))
      assert.equal(await long.next(), 'closed')
      assert.deepEqual(b!.heard, ['1: raft 0 3/2'])
    },
    true,
  ))

test('the newest connection of a member ends the older ones, which say nothing more', () =>
  withMembers(
    [{}, { security: 'plain' }],
    async (_a, b) => {
      const { port } = b!.address
      const old = await byHand(port)
      old.send(HELLO, 1, 2, hello())
      assert.equal(await old.next(), `${WELCOME}`)
      for (const older of [{ dial: 4 }, { incarnation: 4, dial: 9 }, {}]) {
        const late = await byHand(port)
        late.send(HELLO, 1, 2, hello(older))
        late.send(RAFT, 1, 2, message(MSG_APP, 1))
        assert.equal(await late.next(), `${REFUSED} superseded`)
      }
      const other = await byHand(port)
      other.send(HELLO, 1, 2, hello({ channel: CONTROL }))
      assert.equal(await other.next(), `${WELCOME}`)
      const restarted = await byHand(port)
      restarted.send(HELLO, 1, 2, hello({ incarnation: 6, dial: 1 }))
      assert.equal(await restarted.next(), `${WELCOME}`)
      assert.equal(await old.next(), 'closed')
      restarted.send(RAFT, 1, 2, message(MSG_APP, 2))
      await b!.until(() => b!.heard.length === 1)
      assert.deepEqual(b!.heard, ['1: raft 0 3/2'])
      assert.deepEqual(b!.events, ['started 1 5', 'started 1 6'])
    },
    true,
  ))

test('a start of a member beside another is held while that one is asked, refused when it answers, let in when it is gone', () =>
  withMembers(
    [{}, { security: 'plain' }],
    async (_a, b) => {
      const { port } = b!.address
      b!.admitted = (_hello, rival) =>
        rival === null ? null : { code: rival.alive ? 'doubled' : 'held', sentence: 'two' }
      const life = (nonce: string) => ({ nonce, incarnation: 5, began: 9, lastIndex: 3 })
      const original = await byHand(port)
      original.send(HELLO, 1, 2, hello({ life: life('aa') }))
      assert.equal(await original.next(), `${WELCOME}`)
      const knocks = async (): Promise<string> => {
        const copy = await byHand(port)
        copy.send(HELLO, 1, 2, hello({ life: life('bb'), incarnation: 6 }))
        return copy.next()
      }
      assert.equal(await knocks(), `${REFUSED} held`)
      assert.equal(await original.next(), `${PING}`)
      original.send(PONG, 1, 2)
      original.send(PING, 1, 2)
      assert.equal(await original.next(), `${PONG}`)
      assert.equal(await knocks(), `${REFUSED} doubled`)
      // What it said to one copy is no answer to another.
      const another = await byHand(port)
      another.send(HELLO, 1, 2, hello({ life: life('cc'), incarnation: 6 }))
      assert.equal(await another.next(), `${REFUSED} held`)
      // The original's frames still count; once it is gone, the other comes in.
      original.send(RAFT, 1, 2, message(MSG_APP, 2))
      await b!.until(() => b!.heard.length === 1)
      original.close()
      for (let answer = ''; answer !== `${WELCOME}`; ) answer = await knocks()
      assert.deepEqual(
        b!.events.filter((e) => e.startsWith('started')),
        ['started 1 5', 'started 1 6'],
      )
    },
    true,
  ))

test('a server that shows a certificate instead of the key is left', async () => {
  const pem = readFileSync(new URL('testdata/impostor.pem', import.meta.url))
  const impostor = createTlsServer({ key: pem, cert: pem }, () => assert.fail('it was believed'))
  await new Promise<void>((resolve) => impostor.listen(0, '127.0.0.1', resolve))
  const { port } = impostor.address() as AddressInfo
  try {
    await withMembers(
      [{}],
      async (a) => {
        a!.transport.setPeers([{ id: 2, name: 'r2', address: { host: '127.0.0.1', port } }])
        await a!.until(() => a!.stateOf(2)!.lastError !== '')
        assert.equal(a!.stateOf(2)!.connects, 0)
      },
      true,
    )
  } finally {
    impostor.close()
  }
})

test('a network without a key is not opened', () => {
  assert.throws(() => pskRing('\n \n'), /no network key/)
  assert.throws(() => pskRing('k\n'.repeat(9)), /8 are the most/)
})

test('what goes over the wire of a key says nothing of it, and differs with it', () => {
  const [a, b, again] = [pskOf(KEY), pskOf(OTHER_KEY), pskOf(KEY)]
  assert.deepEqual(a, again)
  assert.notEqual(a.identity, b.identity)
  assert.notDeepEqual(a.key, b.key)
  assert.equal(a.identity.includes(a.key.toString('hex').slice(0, 8)), false)
  assert.deepEqual(pskRing(` ${KEY} \r\n\n${OTHER_KEY}\n`), [a, b])
})

test('waits between dials double up to a second, are never zero and vary', () => {
  assert.deepEqual(
    [1, 2, 3, 4, 5, 6, 100].map((n) => backoffMs(n, false, 0)),
    [50, 100, 200, 400, 800, 1000, 1000],
  )
  assert.equal(backoffMs(1, false, 0.999_999) > 25, true)
  assert.equal(backoffMs(1, true, 0), 2000)
})
