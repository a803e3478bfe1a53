// Faults on request do what they say and heal by themselves.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MSG_APP, MSG_HEARTBEAT } from '@skep/raft/message.ts'
import { message, type TestMember, withMembers } from './transport.case.ts'

const cut = (m: TestMember, member: number, how: 'in' | 'out' | 'both', ms: number): void => {
  assert.equal(m.transport.setFault(member, { cut: how, untilMs: performance.now() + ms }), true)
}

test('a cut network carries nothing in the directions that were cut, and heals', () =>
  withMembers([{}, {}], async (a, b) => {
    cut(a!, 2, 'out', 1e9)
    assert.equal(a!.stateOf(2)!.state, 'cut')
    a!.transport.send(0, 2, message(MSG_APP, 1))
    assert.equal(a!.transport.sendBatch(0, 2, 1, 1, new Uint8Array(4)), false)
    assert.equal(a!.stateOf(2)!.droppedFrames, 1)
    b!.transport.send(0, 1, message(MSG_APP, 2))
    await a!.until(() => a!.heard.length === 1)
    assert.deepEqual(b!.heard, [])
    // A new fault takes the place of the old one; this one ends at once.
    cut(a!, 2, 'both', 0)
    await b!.until(() => b!.events.includes('down 1 appends'))
    await a!.connected(2)
    await b!.connected(1)
    a!.transport.send(0, 2, message(MSG_APP, 3))
    await b!.until(() => b!.heard.length === 1)
    assert.deepEqual(b!.heard, ['1: raft 0 3/3'])
    assert.equal(a!.transport.setFault(9, null), false)
  }))

test('delayed frames keep their order, and none is lost when the delay ends', () =>
  withMembers([{}, {}], async (a, b) => {
    a!.transport.setFault(2, { delayMs: 30, untilMs: performance.now() + 5 })
    for (let i = 0; i < 10; i++) {
      a!.transport.send(0, 2, message(MSG_APP, i))
      a!.transport.flush()
    }
    a!.transport.setFault(2, null)
    for (let i = 10; i < 20; i++) {
      a!.transport.send(0, 2, message(MSG_APP, i))
      a!.transport.flush()
    }
    await b!.until(() => b!.heard.length === 20)
    assert.deepEqual(
      b!.heard,
      Array.from({ length: 20 }, (_, i) => `1: raft 0 3/${i}`),
    )
  }))

test('lossy networks lose Raft messages, by the chance that was asked for, and no batches', () => {
  let n = 0
  // Every second draw is a loss.
  return withMembers([{ random: () => (n++ % 2 === 0 ? 0.2 : 0.9) }, {}], async (a, b) => {
    n = 0
    a!.transport.setFault(2, { loss: 0.5, untilMs: performance.now() + 1e9 })
    for (let i = 0; i < 10; i++) a!.transport.send(0, 2, message(MSG_HEARTBEAT, i))
    for (let i = 0; i < 10; i++) assert.equal(a!.transport.sendBatch(0, 2, 1, i, new Uint8Array(4)), true)
    await b!.until(() => b!.heard.length === 15)
    assert.equal(b!.heard.filter((h) => h.includes('batch')).length, 10)
    assert.equal(a!.stateOf(2)!.droppedFrames, 5)
  })
})
