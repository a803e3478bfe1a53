// What every kind of UDP socket must do, asked from outside through real clients: the whole way through a
// worker thread, the rings and a table. mmsg.test.ts and dgram.test.ts run it. Gaps are named by the one who
// has them.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import {
  ANNOUNCE_BYTES,
  type AnnounceAnswer,
  type Answer,
  EVENT_COMPLETED,
  EVENT_STOPPED,
  type ScrapeAnswer,
} from '@skep/wire/udp-tracker.ts'
import { REFUSED, UNKNOWN } from '../threads/outcome.ts'
import { producerBuffers } from '../threads/producer.ts'
import { SERVING, WAITING } from '../threads/state.ts'
import { hash20, TestClient } from './client.case.ts'
import { LocalReplica } from './local-replica.case.ts'
import { createEventFd, startUdpWorkers, UdpOpenError, type UdpWorkers } from './start.ts'
import type { WorkerLimits } from './worker.ts'

export type SocketTraits = {
  readonly useDgram: boolean
  /** Answers leave from the address that was asked, on sockets bound to all of them. */
  readonly answersFromAsked: boolean
}

type World = { readonly replica: LocalReplica; readonly workers: UdpWorkers; readonly clients: TestClient[] }

const worlds: World[] = []

async function world(
  traits: SocketTraits,
  hosts: readonly string[],
  options: { workers?: number; parked?: number; limits?: Partial<WorkerLimits>; details?: boolean } = {},
): Promise<World> {
  const replica = new LocalReplica(16 << 20, {}, options.details)
  const producers = []
  for (let i = 0; i < (options.workers ?? 1); i++) {
    const producer = producerBuffers(options.parked ?? 1024, 1024, await createEventFd(traits.useDgram))
    producers.push(producer)
    replica.serve(producer)
  }
  replica.start()
  const workers = await startUdpWorkers({
    hosts,
    port: 0,
    buffers: replica.buffers,
    control: replica.controlBuffer,
    producers,
    useDgram: traits.useDgram,
    limits: { ...options.limits },
  })
  const made = { replica, workers, clients: [] }
  worlds.push(made)
  return made
}

async function client(w: World, host = '127.0.0.1', from?: string): Promise<TestClient> {
  const made = await TestClient.open(host, w.workers.port, from)
  w.clients.push(made)
  return made.connect()
}

async function end(w: World): Promise<void> {
  worlds.splice(worlds.indexOf(w), 1)
  for (const c of w.clients) c.close()
  w.replica.holding = false
  w.replica.control.setState(SERVING)
  await w.workers.stop()
  await w.replica.end()
}

function peersOf(answer: Answer): string[] {
  assert.equal(answer.kind, 'announce', `answered ${answer.kind === 'error' ? answer.message : answer.kind}`)
  return (answer as AnnounceAnswer).peers.map(({ address, port }) => `${address}:${port}`).sort()
}

const countsOf = (answer: Answer) => (answer as ScrapeAnswer).counts

/** Registers the cases. */
export function socketCases(name: string, traits: SocketTraits): void {
  after(async () => {
    for (const w of [...worlds]) await end(w)
  })

  test(`${name}: a swarm over IPv4, from join to stop`, async () => {
    const w = await world(traits, ['127.0.0.1'])
    const a = await client(w)
    const b = await client(w)
    const infoHash = hash20(1)
    const first = await a.announce({ infoHash, port: 1001 })
    assert.deepEqual(peersOf(first), [])
    assert.ok(first.kind === 'announce' && first.leechers === 1 && first.seeders === 0)
    assert.ok(first.intervalSeconds >= 1620 && first.intervalSeconds <= 1800, `${first.intervalSeconds}`)
    assert.deepEqual(peersOf(await b.announce({ infoHash, port: 1002, left: 0n })), ['127.0.0.1:1001'])
    assert.deepEqual(peersOf(await a.announce({ infoHash, port: 1001, event: 0 })), ['127.0.0.1:1002'])
    assert.deepEqual(countsOf(await a.scrape([infoHash, hash20(2)])), [
      { seeders: 1, completed: 0, leechers: 1 },
      { seeders: 0, completed: 0, leechers: 0 },
    ])
    await a.announce({ infoHash, port: 1001, left: 0n, event: EVENT_COMPLETED })
    assert.deepEqual(countsOf(await a.scrape([infoHash])), [{ seeders: 2, completed: 1, leechers: 0 }])
    assert.deepEqual(peersOf(await b.announce({ infoHash, port: 1002, left: 0n, event: EVENT_STOPPED })), [])
    assert.deepEqual(countsOf(await a.scrape([infoHash])), [{ seeders: 1, completed: 1, leechers: 0 }])
    await end(w)
  })

  test(`${name}: the same over ::1, with 18-byte peers, beside IPv4 in one worker`, async () => {
    const w = await world(traits, ['127.0.0.1', '::1'])
    const infoHash = hash20(3)
    const a = await client(w, '::1')
    const b = await client(w, '::1')
    const four = await client(w)
    await a.announce({ infoHash, port: 1001 })
    await four.announce({ infoHash, port: 1003 })
    assert.deepEqual(peersOf(await b.announce({ infoHash, port: 1002 })), ['::1:1001'])
    assert.deepEqual(countsOf(await four.scrape([infoHash])), [{ seeders: 0, completed: 0, leechers: 3 }])
    await end(w)
  })

  test(`${name}: a thousand requests at once from many sources and over several workers are all answered`, async () => {
    const w = await world(traits, ['0.0.0.0'], { workers: process.platform === 'linux' ? 2 : 1 })
    const clients = await Promise.all(Array.from({ length: 20 }, () => client(w)))
    const infoHash = hash20(4)
    const answers = await Promise.all(
      Array.from({ length: 1000 }, (_, i) =>
        clients[i % 20]!.announce({
          infoHash: i < 500 ? infoHash : hash20(100 + i),
          port: 2000 + i,
          numWant: 200,
        }),
      ),
    )
    for (const answer of answers) assert.equal(answer.kind, 'announce')
    const scraped = await clients[0]!.scrape([infoHash])
    assert.equal(countsOf(scraped)[0]!.leechers, 500)
    assert.equal(w.workers.counters().announces, 1000)
    assert.equal(w.workers.counters().committed, 1000)
    const full = await clients[1]!.announce({ infoHash, port: 9, numWant: 10_000 })
    assert.equal(peersOf(full).length, 196, 'as many as fit 1,200 bytes')
    assert.deepEqual(peersOf(await clients[1]!.announce({ infoHash, port: 9, numWant: 0 })), [])
    assert.equal(peersOf(await clients[1]!.announce({ infoHash, port: 9, numWant: -1 })).length, 50)
    await end(w)
  })

  test(`${name}: what is no request gets silence, what is proven but wrong gets an error`, async () => {
    const w = await world(traits, ['127.0.0.1'])
    const c = await client(w)
    const infoHash = hash20(5)
    const good = c.announceBytes({ infoHash }, 77)
    const badId = good.slice()
    badId[3]! ^= 1
    c.sendRaw(new Uint8Array(0))
    c.sendRaw(new Uint8Array(15))
    c.sendRaw(new Uint8Array(16))
    c.sendRaw(badId)
    c.sendRaw(new Uint8Array(1400).fill(0xff))
    assert.ok(await c.silence(), 'nothing came back')
    const wrong = async (bytes: Uint8Array, words: RegExp) => {
      const answer = await c.ask(bytes, 77)
      assert.match(answer.kind === 'error' ? answer.message : answer.kind, words)
    }
    await wrong(good.subarray(0, ANNOUNCE_BYTES - 1), /cut short/)
    await wrong(good.subarray(0, 16), /cut short/)
    const action = good.slice()
    action[11] = 9
    await wrong(action, /unknown action/)
    const other = await client(w, '127.0.0.1', '127.0.0.9')
    other.connectionId = c.connectionId
    other.sendRaw(other.announceBytes({ infoHash }, 5))
    assert.ok(await other.silence(), 'an ID is good for its own address only')
    const { tooShort, badMagic, badConnectionId, malformed, badAction, errors } = w.workers.counters()
    assert.deepEqual(
      { tooShort, badMagic, badConnectionId, malformed, badAction, errors },
      { tooShort: 2, badMagic: 1, badConnectionId: 3, malformed: 2, badAction: 1, errors: 3 },
    )
    await end(w)
  })

  test(`${name}: the largest datagrams: 74 info_hashes, options of a kilobyte, more than a slot holds`, async () => {
    const w = await world(traits, ['127.0.0.1'], { details: true })
    const c = await client(w)
    const hashes = Array.from({ length: 74 }, (_, i) => hash20(1000 + i))
    await c.announce({ infoHash: hashes[73]!, left: 0n })
    const counts = countsOf(await c.scrape(hashes))
    assert.equal(counts.length, 74)
    assert.deepEqual(counts[73], { seeders: 1, completed: 0, leechers: 0 })
    assert.equal((await c.announce({ infoHash: hashes[0]!, urlData: new Uint8Array(1000) })).kind, 'announce')
    assert.equal((await c.announce({ infoHash: hashes[1]!, urlData: new Uint8Array(3000) })).kind, 'announce')
    await end(w)
  })

  test(`${name}: without a leader a connect is answered, requests wait and are answered once there is one`, async () => {
    const w = await world(traits, ['127.0.0.1'], { limits: { waiting: 8, parkForMs: 60_000 } })
    const c = await client(w)
    const late = await TestClient.open('127.0.0.1', w.workers.port)
    w.clients.push(late)
    w.replica.control.setState(WAITING)
    const order: string[] = []
    const note = <T>(what: string, p: Promise<T>): Promise<T> =>
      p.then((value) => {
        order.push(what)
        return value
      })
    const scrape = note('scrape', c.scrape([hash20(7)]))
    await note('connect', late.connect())
    c.sendRaw(new Uint8Array(40)) // no request: takes no place
    while (w.workers.counters().waited < 1) await new Promise(setImmediate)
    for (let i = 0; i < 10; i++) c.sendRaw(c.announceBytes({ infoHash: hash20(7), port: 3000 + i }, 500 + i))
    while (w.workers.counters().waitingFull < 3) await new Promise(setImmediate)
    assert.deepEqual(order, ['connect'])
    while (w.workers.counters().waitingNow !== 8) await new Promise(setImmediate)
    const answers = Promise.all([500, 501, 502, 503, 504, 505, 506].map((t) => c.expect(t)))
    w.replica.control.setState(SERVING)
    await scrape
    for (const answer of await answers) assert.equal(answer.kind, 'announce')
    await end(w)
  })

  test(`${name}: a lease that runs out holds answers back without a change of state`, async () => {
    const w = await world(traits, ['127.0.0.1'], { limits: { parkForMs: 60_000 } })
    const c = await client(w)
    w.replica.control.setLeaseUntil(0)
    const scrape = c.scrape([hash20(8)])
    while (w.workers.counters().waited < 1) await new Promise(setImmediate)
    assert.equal(w.workers.counters().scrapes, 0)
    w.replica.control.setLeaseUntil(Infinity)
    assert.equal((await scrape).kind, 'scrape')
    await end(w)
  })

  test(`${name}: outcomes of changes: refused is an error, unknown is silence, late is silence, full is dropped`, async () => {
    const w = await world(traits, ['127.0.0.1'], { parked: 4, limits: { parkForMs: 300_000 } })
    const c = await client(w)
    w.replica.outcome = REFUSED
    const refused = await c.announce({ infoHash: hash20(9) })
    assert.match(refused.kind === 'error' ? refused.message : '', /try again/)
    w.replica.outcome = UNKNOWN
    c.sendRaw(c.announceBytes({ infoHash: hash20(9) }, 1))
    while (w.workers.counters().unknown < 1) await new Promise(setImmediate)
    assert.ok(await c.silence())
    w.replica.outcome = 1
    w.replica.holding = true
    for (let i = 0; i < 5; i++) c.sendRaw(c.announceBytes({ infoHash: hash20(9), port: 4000 + i }, 10 + i))
    assert.ok(await c.silence(), 'connects are answered meanwhile')
    assert.equal(w.workers.counters().parkedFull, 2, 'one slot fewer than the ring has')
    while (w.workers.counters().parkedNow !== 3) await new Promise(setImmediate)
    const answers = Promise.all([10, 11, 12].map((transaction) => c.expect(transaction)))
    w.replica.holding = false
    await answers
    w.replica.control.setDiskFull(true)
    const full = await c.announce({ infoHash: hash20(10) })
    assert.match(full.kind === 'error' ? full.message : '', /try again/)
    await end(w)
  })

  test(`${name}: an outcome after the longest wait frees the slot and answers nobody`, async () => {
    const w = await world(traits, ['127.0.0.1'], { limits: { parkForMs: 1 } })
    const c = await client(w)
    w.replica.holding = true
    c.sendRaw(c.announceBytes({ infoHash: hash20(11) }, 1))
    while (w.workers.counters().parkedNow < 1) await new Promise(setImmediate)
    await new Promise((resolve) => setTimeout(resolve, 5))
    w.replica.holding = false
    while (w.workers.counters().late < 1) await new Promise(setImmediate)
    assert.ok(await c.silence())
    while (w.workers.counters().parkedNow !== 0) await new Promise(setImmediate)
    assert.equal(countsOf(await c.scrape([hash20(11)]))[0]!.leechers, 1, 'the change holds nevertheless')
    await end(w)
  })

  test(`${name}: to stop, parked requests are answered first`, async () => {
    const w = await world(traits, ['127.0.0.1'], { limits: { parkForMs: 60_000 } })
    const c = await client(w)
    w.replica.holding = true
    const answer = c.announce({ infoHash: hash20(12) })
    while (w.workers.counters().parkedNow < 1) await new Promise(setImmediate)
    const stopped = w.workers.stop()
    const { sleeps } = w.workers.counters()
    while (w.workers.counters().sleeps < sleeps + 3) await new Promise(setImmediate)
    w.replica.holding = false
    assert.equal((await answer).kind, 'announce')
    await stopped
    await end(w)
  })

  test(`${name}: a port that is taken is said by name, with the way out`, async () => {
    const w = await world(traits, ['127.0.0.1'], { workers: process.platform === 'linux' ? 2 : 1 })
    // Two workers share a port; they must not share it with another tracker all the same.
    const producers = [1, 2].map(() =>
      createEventFd(traits.useDgram).then((fd) => producerBuffers(16, 16, fd)),
    )
    const second = startUdpWorkers({
      hosts: ['127.0.0.1'],
      port: w.workers.port,
      buffers: w.replica.buffers,
      control: w.replica.controlBuffer,
      producers: await Promise.all(producers),
      useDgram: traits.useDgram,
    })
    await assert.rejects(second, (error) => {
      assert.ok(error instanceof UdpOpenError)
      assert.equal(error.code, 'EADDRINUSE')
      assert.match(error.message, new RegExp(`${w.workers.port}.*--udp-port`))
      return true
    })
    await end(w)
  })

  if (!traits.answersFromAsked) return
  const skip = process.platform === 'linux' ? false : 'only Linux answers at all of 127/8'
  test(`${name}: answers leave from the address that was asked`, { skip }, async () => {
    const w = await world(traits, ['0.0.0.0', '::'])
    const c = await client(w, '127.0.0.77', '127.0.0.1')
    assert.deepEqual(peersOf(await c.announce({ infoHash: hash20(13), port: 1001 })), [])
    const other = await client(w, '127.1.2.3', '127.0.0.2')
    assert.deepEqual(peersOf(await other.announce({ infoHash: hash20(13), port: 1002 })), ['127.0.0.1:1001'])
    const six = await client(w, '::1')
    assert.deepEqual(peersOf(await six.announce({ infoHash: hash20(13), port: 1003 })), [])
    await end(w)
  })
}
