// Two and three members over real sockets and TLS: what is sent arrives, in order, in few writes, or it is
// said that it did not.

import assert from 'node:assert/strict'
import { type AddressInfo, createServer } from 'node:net'
import { test } from 'node:test'
import { MSG_APP, MSG_APP_RESP, MSG_HEARTBEAT, MSG_VOTE } from '@skep/raft/message.ts'
import { Echoes } from './echo.ts'
import { HEADER_BYTES, newStamp, WELCOME, writeHeader } from './frame.ts'
import { NOTICE_REFUSED } from './frame-body.ts'
import { BATCH_QUEUE_BYTES } from './peer.ts'
import { message, TestMember, withMembers } from './transport.case.ts'

test('messages, batches and notices reach who they are for, in the order of their connection', () =>
  withMembers([{}, {}, {}], async (a, b, c) => {
    for (let i = 0; i < 100; i++) {
      a!.transport.send(i, 2, message(MSG_APP, i))
      assert.equal(a!.transport.sendBatch(0, 2, 7, i, new Uint8Array(i)), true)
    }
    a!.transport.send(0, 3, message(MSG_VOTE, 1))
    c!.transport.sendNotice(0, 1, 7, 5, NOTICE_REFUSED)
    await b!.until(() => b!.heard.length === 200)
    await c!.until(() => c!.heard.length === 1)
    await a!.until(() => a!.heard.length === 1)
    const expected = Array.from({ length: 100 }, (_, i) => [
      `1: raft ${i} 3/${i}`,
      `1: batch 7.${i} ${i} bytes`,
    ])
    assert.deepEqual(b!.heard, expected.flat())
    assert.deepEqual(c!.heard, ['1: raft 0 5/1'])
    assert.deepEqual(a!.heard, ['3: notice 7.5 1'])
  }))

test('the frames of a turn leave in one write, and are told together', () =>
  withMembers([{}, {}], async (a, b) => {
    const before = a!.stateOf(2)!
    const { reads } = b!
    for (let i = 0; i < 50; i++) a!.transport.send(0, 2, message(MSG_APP, i))
    a!.transport.flush()
    await b!.until(() => b!.heard.length === 50)
    const after = a!.stateOf(2)!
    assert.equal(after.writes - before.writes, 1)
    assert.equal(after.sentFrames - before.sentFrames, 50)
    assert.equal(b!.reads - reads, 1)
    // Without a flush as well, when the turn is over.
    a!.transport.send(0, 2, message(MSG_APP, 1))
    a!.transport.send(0, 2, message(MSG_APP, 2))
    await b!.until(() => b!.heard.length === 52)
    assert.equal(a!.stateOf(2)!.writes - after.writes, 1)
  }))

test('large messages arrive whole', () =>
  withMembers([{}, {}], async (a, b) => {
    const large = new Uint8Array(9_000_000)
    large.set(message(MSG_APP, 9))
    large[8_999_999] = 77
    let last = 0
    b!.onFrame = (f) => {
      last = f.body.length === large.length ? f.body[8_999_999]! : -1
    }
    a!.transport.send(0, 2, large)
    await b!.until(() => b!.heard.length === 1)
    assert.equal(last, 77)
  }))

test('without a connection Raft messages are dropped and counted, batches refused', () =>
  withMembers(
    [{}],
    async (a) => {
      a!.transport.setPeers([{ id: 2, name: 'r2', address: { host: '127.0.0.1', port: 1 } }])
      a!.transport.send(0, 2, message(MSG_APP, 1))
      assert.equal(a!.transport.sendBatch(0, 2, 1, 1, new Uint8Array(4)), false)
      await a!.until(() => a!.stateOf(2)!.lastError !== '')
      const { state, droppedFrames, refusedBatches, lastError } = a!.stateOf(2)!
      assert.deepEqual([state, droppedFrames, refusedBatches], ['dialing', 1, 1])
      assert.equal(lastError, 'nobody listens at 127.0.0.1:1')
      a!.transport.send(0, 99, message(MSG_APP, 1))
      assert.equal(a!.transport.sendBatch(0, 99, 1, 1, new Uint8Array(4)), false)
    },
    true,
  ))

test('what waits has a limit: batches are refused first, then Raft messages dropped', () =>
  withMembers([{}, {}], async (a, b) => {
    const section = new Uint8Array(1024 * 1024)
    let taken = 0
    while (a!.transport.sendBatch(0, 2, 1, taken + 1, section)) taken++
    assert.equal(taken, BATCH_QUEUE_BYTES / section.length - 1)
    const large = new Uint8Array(4 * 1024 * 1024)
    large.set(message(MSG_APP, 1))
    let sent = 0
    while (a!.stateOf(2)!.droppedFrames === 0) {
      a!.transport.send(0, 2, large)
      sent++
    }
    assert.equal(sent - 1, 6)
    assert.ok(a!.stateOf(2)!.queuedBytes <= 32 * 1024 * 1024)
    // A vote is not behind any of that, and all that was taken arrives.
    a!.transport.send(0, 2, message(MSG_VOTE, 1))
    await b!.until(() => b!.heard.length === taken + sent)
    const batches = b!.heard.filter((h) => h.includes('batch'))
    assert.deepEqual(
      batches,
      Array.from({ length: taken }, (_, i) => `1: batch 1.${i + 1} ${section.length} bytes`),
    )
    assert.notEqual(b!.heard.at(-1), '1: raft 0 5/1')
  }))

test('a member that dies is reported, and met again when it is back, at its new incarnation', () =>
  withMembers([{}, {}], async (a, b) => {
    await b!.transport.close()
    await a!.until(() => a!.events.filter((e) => e.startsWith('down 2')).length === 3)
    assert.equal(a!.transport.sendBatch(0, 2, 1, 1, new Uint8Array(4)), false)
    const again = new TestMember(2, {
      listen: b!.address,
      self: { ...selfOf(2), incarnation: 2 },
    })
    await again.open()
    try {
      again.transport.setPeers([a!.peer])
      await a!.connected(2)
      await a!.until(() => a!.events.includes('started 2 2'))
      assert.equal(a!.events.filter((e) => e === 'started 2 1').length, 1)
      a!.transport.send(0, 2, message(MSG_APP, 5))
      await again.until(() => again.heard.length === 1)
      assert.equal(a!.stateOf(2)!.connects, 6)
    } finally {
      await again.transport.close()
    }
  }))

test('a member that gives no sign of life is left, and dialled again', async () => {
  // Welcomes whoever comes, then says nothing.
  const mute = createServer((socket) => {
    const frame = new Uint8Array(HEADER_BYTES)
    const head = {
      kind: WELCOME,
      level: 1,
      clusterHigh: 0,
      clusterLow: 0,
      from: 2,
      to: 1,
      group: 0,
      sentUs: 0,
    }
    writeHeader(new DataView(frame.buffer), 0, head, newStamp(), 0)
    socket.on('error', () => {})
    socket.write(frame)
  })
  await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve))
  const { port } = mute.address() as AddressInfo
  try {
    await withMembers(
      [{ security: 'plain', keepaliveMs: 5, missed: 2 }],
      async (a) => {
        a!.transport.setPeers([{ id: 2, name: 'r2', address: { host: '127.0.0.1', port } }])
        await a!.until(() => a!.events.includes('down 2 control'))
        assert.match(a!.stateOf(2)!.lastError, /^no sign of life for \d+ ms$/)
        await a!.until(() => a!.events.filter((e) => e === 'up 2 control').length === 2)
      },
      true,
    )
  } finally {
    mute.close()
  }
})

test('stamps travel: term, lease, commit, readiness, and the echo in our own clock', () =>
  withMembers([{}, {}], async (a, b) => {
    const echoes = new Echoes()
    echoes.enter(4)
    b!.onFrame = (f) => {
      echoes.stepped(f, false)
      assert.deepEqual(
        [f.term, f.leads, f.notReady, f.leaseAgeMs, f.commit, f.level, f.echoMs],
        [4, true, false, 1.5, 1234, 1, Number.NEGATIVE_INFINITY],
      )
    }
    a!.says = { term: 4, leads: true, notReady: false, leaseAgeMs: 1.5, commit: 1234 }
    const before = performance.now()
    a!.transport.send(0, 2, message(MSG_HEARTBEAT, 1, 4))
    const after = performance.now()
    await b!.until(() => b!.heard.length === 1)
    b!.says = { term: 4, leads: false, notReady: true, echoUs: echoes.echoFor(1) }
    let echoMs = 0
    a!.onFrame = (f) => {
      assert.equal(f.notReady, true)
      echoMs = f.echoMs
    }
    b!.transport.keepalive(0, 1)
    await a!.until(() => a!.heard.length === 1)
    assert.ok(echoMs > before - 0.001 && echoMs <= after, `${before} ${echoMs} ${after}`)
    // A time that we never sent is none of ours.
    b!.says = { echoUs: 5 }
    b!.transport.keepalive(0, 1)
    await a!.until(() => a!.heard.length === 2)
    assert.equal(echoMs, Number.NEGATIVE_INFINITY)
  }))

test('a mere notice of a commit waits for the next append and leaves with it, once', () =>
  withMembers([{ noticeMs: 60_000 }, { noticeMs: 1 }], async (a, b) => {
    const append = new Uint8Array(200)
    append.set(message(MSG_APP, 3))
    a!.transport.send(0, 2, message(MSG_APP, 1))
    a!.transport.send(0, 2, message(MSG_APP, 2))
    a!.transport.send(0, 2, message(MSG_APP_RESP, 9))
    a!.transport.send(0, 2, append)
    await b!.until(() => b!.heard.length === 2)
    assert.deepEqual(b!.heard, ['1: raft 0 4/9', '1: raft 0 3/3'])
    // With no append to follow it goes alone.
    b!.transport.send(0, 1, message(MSG_APP, 4))
    await a!.until(() => a!.heard.length === 1)
    assert.deepEqual(a!.heard, ['2: raft 0 3/4'])
  }))

test('a member that moves is dialled at its new address; one that is gone is let go', () =>
  withMembers([{}, {}], async (a, b) => {
    const moved = new TestMember(2, { self: { ...selfOf(2), incarnation: 2 } })
    await moved.open()
    try {
      await b!.transport.close()
      a!.transport.setPeers([moved.peer])
      await a!.connected(2)
      a!.transport.send(0, 2, message(MSG_APP, 1))
      await moved.until(() => moved.heard.length === 1)
      moved.transport.setPeers([a!.peer])
      await moved.connected(1)
      a!.transport.setPeers([])
      assert.deepEqual(a!.transport.status(), [])
      await moved.until(() => moved.events.some((e) => e.startsWith('down 1')))
      // It is a member again, under the same incarnation: its newer dials count.
      a!.transport.setPeers([moved.peer])
      await a!.connected(2)
      await moved.connected(1)
    } finally {
      await moved.transport.close()
    }
  }))

test('names are looked up at each dial', async () => {
  const at = { host: '127.0.0.1' }
  const lookups: string[] = []
  const lookup = (
    name: string,
    o: { all?: boolean },
    done: (e: Error | null, a: never, f?: number) => void,
  ): void => {
    lookups.push(`${name} ${at.host}`)
    const found = { address: at.host, family: 4 }
    if (o.all === true) done(null, [found] as never)
    else done(null, found.address as never, 4)
  }
  await withMembers(
    [{ lookup: lookup as never }, {}],
    async (a, b) => {
      a!.transport.setPeers([{ ...b!.peer, address: { host: 'r2.example', port: b!.address.port } }])
      await a!.connected(2)
      assert.equal(lookups.length, 3)
      at.host = '127.0.0.2'
      await b!.transport.close()
      const there = new TestMember(2, {
        listen: { host: '127.0.0.2', port: b!.address.port },
        self: { ...selfOf(2), incarnation: 2 },
      })
      await there.open()
      try {
        await a!.until(() => a!.events.filter((e) => e.startsWith('down 2')).length === 3)
        await a!.connected(2)
        assert.ok(lookups.includes('r2.example 127.0.0.2'))
      } finally {
        await there.transport.close()
      }
    },
    true,
  )
})

test('a member whose name still leads elsewhere is dialled where it came from', () =>
  withMembers(
    [{}, {}],
    async (a, b) => {
      // Nobody listens there, as with the address that a pod had before.
      a!.transport.setPeers([{ ...b!.peer, address: { host: '127.0.0.9', port: b!.address.port } }])
      await a!.until(() => a!.stateOf(2)!.lastError.startsWith('nobody listens at 127.0.0.9'))
      b!.transport.setPeers([a!.peer])
      await a!.connected(2)
      a!.transport.send(0, 2, message(MSG_APP, 1))
      await b!.until(() => b!.heard.length === 1)
    },
    true,
  ))

test('where a member was met somebody else may listen: its name counts then', () =>
  withMembers(
    [{}, {}, {}],
    async (a, _, c) => {
      // The member comes from an address at which, on its port, c listens.
      const host = '127.0.0.2'
      const other = new TestMember(2, { listen: { host, port: c!.address.port } })
      await other.open()
      try {
        a!.transport.setPeers([{ ...other.peer, address: { host, port: c!.address.port } }])
        other.transport.setPeers([a!.peer])
        await a!.connected(2)
        assert.deepEqual(
          a!.events.filter((e) => e.startsWith('refused')),
          [],
        )
      } finally {
        await other.transport.close()
      }
    },
    true,
  ))

test('every keepalive measures the way there and back', () =>
  withMembers([{ keepaliveMs: 5 }, {}], async (a) => {
    await a!.until(() => a!.stateOf(2)!.rttMs !== null)
    assert.ok(a!.stateOf(2)!.rttMs! >= 0)
    assert.equal(a!.stateOf(2)!.level, 1)
  }))

const selfOf = (id: number) => ({
  clusterId: '0123456789abcdef0123456789abcdef',
  id,
  name: `r${id}`,
  level: 1,
  incarnation: 1,
})
