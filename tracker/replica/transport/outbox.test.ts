// What waits is joined while the socket is busy, and never more than the limit.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HEADER_BYTES, newStamp, RAFT } from './frame.ts'
import { FrameDecoder } from './frame-decoder.ts'
import { Outbox } from './outbox.ts'

const head = { kind: RAFT, level: 1, clusterHigh: 0, clusterLow: 0, from: 1, to: 2, group: 0, sentUs: 0 }
const push = (box: Outbox, bytes: number, fill = 1): boolean =>
  box.push(head, newStamp(), new Uint8Array(bytes).fill(fill))

test('while the socket holds enough, what comes is joined for later', () => {
  const box = new Outbox(10_000_000)
  assert.equal(box.take(), null)
  push(box, 300_000, 7)
  const first = box.take()!
  assert.equal(first.frames, 1)
  push(box, 10, 8)
  push(box, 10, 9)
  assert.equal(box.take(), null)
  assert.equal(box.queuedBytes, 300_020 + 3 * HEADER_BYTES)
  const seen = Uint8Array.from(first.bytes)
  box.written(first)
  const second = box.take()!
  assert.equal(second.frames, 2)
  const decoder = new FrameDecoder(1_000_000)
  const fills: number[] = []
  for (const bytes of [seen, second.bytes]) {
    decoder.push(bytes)
    for (let f = decoder.next(); f !== null; f = decoder.next()) fills.push(f.body[0]!)
  }
  assert.deepEqual(fills, [7, 8, 9])
})

test('a buffer the socket still holds is not written over', () => {
  const box = new Outbox(1_000_000)
  push(box, 100, 1)
  const first = box.take()!
  push(box, 100, 2)
  const second = box.take()!
  assert.equal(first.bytes[HEADER_BYTES], 1)
  assert.equal(second.bytes[HEADER_BYTES], 2)
  box.written(first)
  push(box, 100, 3)
  assert.equal(box.take()!.bytes[HEADER_BYTES], 3)
  assert.equal(second.bytes[HEADER_BYTES], 2)
})

test('the limit counts what the socket holds, and one frame always fits', () => {
  const box = new Outbox(1000)
  assert.equal(push(box, 5000), true)
  const turn = box.take()!
  assert.equal(push(box, 1), false)
  box.written(turn)
  assert.equal(push(box, 500), true)
  assert.equal(push(box, 372), true)
  assert.equal(push(box, 1), false)
})
