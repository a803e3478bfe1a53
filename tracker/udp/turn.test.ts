// A worker's turns over a socket in memory and a clock that is told: what happens when a lease ends in the
// middle.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeAnswer, EVENT_STARTED, encodeRequest } from '@skep/wire/udp-tracker.ts'
import { OutcomeRing } from '../threads/outcome.ts'
import { producerBuffers } from '../threads/producer.ts'
import { hash20 } from './client.case.ts'
import { packetBench } from './fuzz.ts'
import { Gather } from './gather.ts'
import { LocalReplica } from './local-replica.case.ts'
import { AF_INET, Inbox, Outbox } from './slots.ts'
import type { UdpSocket } from './socket.ts'
import { Turn } from './turn.ts'

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

test('a lease that ends while those who waited are handled: all are answered once, changes are made once', () => {
  const replica = new LocalReplica(16 << 20)
  const producer = producerBuffers(256, 256)
  replica.serve(producer)
  const { packets, pending, ring, touches, counts } = packetBench(replica.buffers, { producer })
  const { socket, arriving, sent } = socketInMemory()
  const { control } = replica
  let clock = [0]
  const now = (): number => (clock.length > 1 ? clock.shift()! : clock[0]!)
  const outcomes = new OutcomeRing(producer.outcomes)
  const parts = { sockets: [socket], packets, pending, ring, touches, outcomes, control, counts }
  const turn = new Turn({ ...parts, gather: new Gather(0), parkForMs: 3500, waitingMost: BATCH, now })
  const answers = () => sent.splice(0).map((bytes) => decodeAnswer(bytes, 4))

  arriving.push(encodeRequest({ kind: 'connect', transactionId: 1 }))
  turn.run()
  const [connected] = answers()
  assert.equal(connected?.kind, 'connect')
  const { connectionId } = connected as { connectionId: bigint }
  const join = (transactionId: number): Uint8Array =>
    encodeRequest({
      ...{ kind: 'announce', connectionId, transactionId, infoHash: hash20(1), downloaded: 0n, left: 1n },
      ...{ uploaded: 0n, event: EVENT_STARTED, ip: 0, key: transactionId, numWant: 0 },
      ...{ peerId: hash20(transactionId), port: 1000 + transactionId, urlData: new Uint8Array(0) },
    })
  const scrape = (transactionId: number): Uint8Array =>
    encodeRequest({ kind: 'scrape', connectionId, transactionId, infoHashes: [hash20(1)] })

  control.setLeaseUntil(0)
  arriving.push(join(2), scrape(3), join(4), scrape(5))
  turn.run()
  assert.deepEqual(answers(), [])

  // Held when the turn begins, gone when its answers should leave.
  control.setLeaseUntil(1000)
  clock = [999, 1001]
  turn.run()
  assert.deepEqual(answers(), [])

  control.setLeaseUntil(Infinity)
  turn.run()
  replica.step()
  turn.run()
  const told = answers().flatMap((answer) => (answer.kind === 'refused' ? [] : [answer.transactionId]))
  assert.deepEqual(told.sort(), [2, 3, 4, 5])
  assert.equal(replica.changes, 2)
})
