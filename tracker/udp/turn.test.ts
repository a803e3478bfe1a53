// A worker's turns over a socket in memory and a clock that is told: what happens when a lease ends in the
// middle.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Answer, decodeAnswer, EVENT_STARTED, encodeRequest } from '@skep/wire/udp-tracker.ts'
import { ID_KEY_WORDS, WINDOW_MS } from '../swarm/connection-id.ts'
import { C_ID_KEYS } from '../swarm/layout.ts'
import { OutcomeRing } from '../threads/outcome.ts'
import { producerBuffers } from '../threads/producer.ts'
import { hash20 } from './client.case.ts'
import { packetBench } from './fuzz.ts'
import { Gather } from './gather.ts'
import { LocalReplica } from './local-replica.case.ts'
import { AF_INET, Inbox, Outbox } from './slots.ts'
import type { UdpSocket } from './socket.ts'
import { Turn } from './turn.ts'

type Refused = Extract<ReturnType<typeof decodeAnswer>, { kind: 'refused' }>

const BATCH = 16
const ANSWER_BYTES = 1200

/** A socket that receives what is put into `arriving` and keeps what is sent. */
function socketInMemory() {
  const arriving: Uint8Array[] = []
  const sent: Uint8Array[] = []
  const inbox = new Inbox(4, BATCH)
  const outbox = new Outbox(4, BATCH, ANSWER_BYTES)
  const socket: UdpSocket = {
    ...{ family: 4, port: 6969, receiveBufferBytes: 0, inbox, outbox, sendErrors: 0 },
    receive() {
      const taken = arriving.splice(0, BATCH)
      for (const [i, bytes] of taken.entries()) {
        inbox.bytes.set(bytes, i * inbox.strideWords * 4)
        inbox.lengths[i * 16 + 14] = bytes.length
        inbox.from[i * 8] = AF_INET
        inbox.from[i * 8 + 1] = 0x05060708
      }
      return taken.length
    },
    send() {
      const n = outbox.count
      for (let o = 0; o < n; o++) {
        const at = o * outbox.strideWords * 4
        sent.push(outbox.bytes.slice(at, at + outbox.lengths[o * 4 + 2]!))
      }
      outbox.count = 0
      return n
    },
    drops: () => 0,
    close: () => {},
  }
  return { socket, arriving, sent }
}

/** A worker over that socket; `clock`: the times it will see, the last one for ever. */
function worker(replica = new LocalReplica(16 << 20)) {
  const producer = producerBuffers(256, 256)
  replica.serve(producer)
  const { packets, pending, ring, touches, counts } = packetBench(replica.buffers, { producer })
  const { socket, arriving, sent } = socketInMemory()
  const { control } = replica
  const clock = [0]
  const now = (): number => (clock.length > 1 ? clock.shift()! : clock[0]!)
  const outcomes = new OutcomeRing(producer.outcomes)
  const parts = { sockets: [socket], packets, pending, ring, touches, outcomes, control, counts }
  const turn = new Turn({ ...parts, gather: new Gather(0), parkForMs: 3500, waitingMost: BATCH, now })
  const answers = () => sent.splice(0).map((bytes) => decodeAnswer(bytes, 4))
  /** What a turn answers to these. */
  const ask = (...requests: Uint8Array[]) => {
    arriving.push(...requests)
    turn.run()
    return answers()
  }
  return { replica, control, turn, arriving, clock, answers, ask, counts }
}

const connect = (transactionId: number): Uint8Array => encodeRequest({ kind: 'connect', transactionId })
const join = (connectionId: bigint, transactionId: number): Uint8Array =>
  encodeRequest({
    ...{ kind: 'announce', connectionId, transactionId, infoHash: hash20(1), downloaded: 0n, left: 1n },
    ...{ uploaded: 0n, event: EVENT_STARTED, ip: 0, key: transactionId, numWant: 0 },
    ...{ peerId: hash20(transactionId), port: 1000 + transactionId, urlData: new Uint8Array(0) },
  })
const scrape = (connectionId: bigint, transactionId: number): Uint8Array =>
  encodeRequest({ kind: 'scrape', connectionId, transactionId, infoHashes: [hash20(1)] })

const told = (answers: readonly (Answer | Refused)[]): string[] =>
  answers.flatMap((answer) => (answer.kind === 'refused' ? [] : [`${answer.kind} ${answer.transactionId}`]))
const idOf = (answers: readonly (Answer | Refused)[]): bigint =>
  answers.flatMap((answer) => (answer.kind === 'connect' ? [answer.connectionId] : []))[0]!

test('a lease that ends while those who waited are handled: all are answered once, changes are made once', () => {
  const { replica, control, turn, clock, answers, ask } = worker()
  const id = idOf(ask(connect(1)))

  control.setLeaseUntil(0)
  assert.deepEqual(ask(join(id, 2), scrape(id, 3), join(id, 4), scrape(id, 5)), [])

  // Held when the turn begins, gone when its answers should leave.
  control.setLeaseUntil(1000)
  clock.splice(0, 1, 999, 1001)
  turn.run()
  assert.deepEqual(answers(), [])

  control.setLeaseUntil(Infinity)
  turn.run()
  replica.step()
  turn.run()
  assert.deepEqual(told(answers()).sort(), ['announce 2', 'announce 4', 'scrape 3', 'scrape 5'])
  assert.equal(replica.changes, 2)
})

test('a connect is answered without a leader, an announce and a scrape wait for one', () => {
  const { replica, control, turn, answers, ask } = worker()
  control.setLeaseUntil(0)
  const first = ask(connect(1))
  assert.deepEqual(told(first), ['connect 1'])
  const id = idOf(first)
  assert.deepEqual(told(ask(join(id, 2), connect(3), scrape(id, 4), connect(5))), ['connect 3', 'connect 5'])
  assert.deepEqual(told(ask(scrape(id, 6))), [])
  control.setLeaseUntil(Infinity)
  turn.run()
  replica.step()
  turn.run()
  assert.deepEqual(told(answers()).sort(), ['announce 2', 'scrape 4', 'scrape 6'])
})

test('a connect whose lease ends before its answer leaves is answered, once', () => {
  const { control, turn, clock, answers, ask } = worker()
  const id = idOf(ask(connect(1)))
  control.setLeaseUntil(1000)
  clock.splice(0, 1, 999, 1001)
  assert.deepEqual(told(ask(scrape(id, 2), connect(3), scrape(id, 4), connect(5))), [
    'connect 3',
    'connect 5',
  ])
  control.setLeaseUntil(Infinity)
  turn.run()
  assert.deepEqual(told(answers()).sort(), ['scrape 2', 'scrape 4'])
})

test('connects that come before the cluster is known are answered as soon as it is, not only under a lease', () => {
  const replica = new LocalReplica(16 << 20)
  const words = replica.store.control
  const keys = [...words.subarray(C_ID_KEYS, C_ID_KEYS + ID_KEY_WORDS)]
  words.fill(0, C_ID_KEYS, C_ID_KEYS + ID_KEY_WORDS)
  const { control, turn, answers, ask } = worker(replica)
  control.setLeaseUntil(0)
  assert.deepEqual(ask(connect(1), scrape(0n, 2), connect(3)), [])
  assert.deepEqual(ask(connect(4)), [])
  words.set(keys, C_ID_KEYS)
  turn.run()
  const now = answers()
  assert.deepEqual(told(now), ['connect 1', 'connect 3', 'connect 4'])
  control.setLeaseUntil(Infinity)
  assert.deepEqual(told(ask(scrape(idOf(now), 5))), ['scrape 5'])
})

test('an ID from a replica that was cut off for long is good there when it is back', () => {
  const { replica, control, clock, ask } = worker()
  const old = idOf(ask(connect(1)))
  control.setLeaseUntil(0)
  clock[0] = 600_000
  const id = idOf(ask(connect(2)))
  // The others went on meanwhile.
  for (let ms = 0; ms < 10 * WINDOW_MS; ms += 2000) replica.advance(2000)
  control.setLeaseUntil(Infinity)
  clock[0] = 630_000
  assert.deepEqual(told(ask(scrape(id, 3))), ['scrape 3'])
  assert.deepEqual(told(ask(scrape(id + 1n, 4))), [])
  clock[0] = 600_000 + 2 * WINDOW_MS
  assert.deepEqual(told(ask(scrape(id, 5), scrape(old, 6))), [])
})
