// What an echo proves, and what must not pass for proof: a lease rests on it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadCore } from '@skep/raft'
import { MSG_APP, MSG_HEARTBEAT, MSG_HEARTBEAT_RESP, MSG_VOTE, messageInfo } from '@skep/raft/message.ts'
import { Echoes, raftType, WireClock } from './echo.ts'
import { BATCH, type Frame, KEEPALIVE, newFrame, RAFT } from './frame.ts'

/** A raftpb.Message of this type and term, to 2 from 1; numbers below 128. */
const message = (type: number, term: number): Uint8Array => Uint8Array.of(8, type, 16, 2, 24, 1, 32, term)

const frame = (change: Partial<Frame>): Frame => ({
  ...newFrame(),
  kind: RAFT,
  from: 1,
  leads: true,
  ...change,
})

test('a follower echoes only what restarted its election timer', () => {
  const cases: [Partial<Frame>, boolean][] = [
    [{ body: message(MSG_APP, 5) }, true],
    [{ body: message(MSG_HEARTBEAT, 5) }, true],
    [{ body: message(MSG_VOTE, 5) }, false],
    [{ body: message(MSG_HEARTBEAT_RESP, 5) }, false],
    [{ kind: KEEPALIVE }, false],
    [{ kind: BATCH, body: message(MSG_APP, 5) }, false],
    // Sent in an older term, written into a frame of this one.
    [{ body: message(MSG_APP, 4) }, false],
    [{ body: message(MSG_APP, 5), leads: false }, false],
    [{ body: message(MSG_APP, 5), term: 4 }, false],
    [{ body: message(MSG_APP, 5).subarray(0, 7) }, false],
  ]
  for (const [change, counts] of cases) {
    const echoes = new Echoes()
    echoes.enter(5)
    echoes.stepped(frame({ term: 5, sentUs: 77, ...change }), false)
    assert.equal(echoes.echoFor(1), counts ? 77 : -1, JSON.stringify(change))
  }
})

test('a leader takes any frame of its term as a sign of life, the newest counts', () => {
  const echoes = new Echoes()
  echoes.enter(5)
  echoes.stepped(frame({ kind: KEEPALIVE, leads: false, term: 5, sentUs: 20, echoMs: 3 }), true)
  echoes.stepped(frame({ kind: KEEPALIVE, leads: false, term: 5, sentUs: 10, echoMs: 2 }), true)
  echoes.stepped(frame({ kind: KEEPALIVE, leads: false, term: 4, sentUs: 30, echoMs: 9 }), true)
  assert.equal(echoes.echoFor(1), 20)
  assert.equal(echoes.echoed.get(1), 3)
  assert.equal(echoes.echoFor(2), -1)
})

test('another term or another life of the member ends what was heard', () => {
  const echoes = new Echoes()
  echoes.enter(5)
  echoes.stepped(frame({ term: 5, sentUs: 20, echoMs: 3 }), true)
  echoes.enter(5)
  assert.equal(echoes.echoFor(1), 20)
  echoes.forget(1)
  assert.deepEqual([echoes.echoFor(1), echoes.echoed.get(1)], [-1, undefined])
  echoes.stepped(frame({ term: 5, sentUs: 20, echoMs: 3 }), true)
  echoes.enter(6)
  assert.deepEqual([echoes.echoFor(1), echoes.echoed.get(1)], [-1, undefined])
})

test('no echo is no time', () => {
  const echoes = new Echoes()
  echoes.enter(1)
  echoes.stepped(frame({ term: 1, sentUs: 1 }), true)
  assert.equal(echoes.echoed.has(1), false)
})

test('the clock on the wire knows its own times and no others', () => {
  const clock = new WireClock(1000, 0.5)
  const us = clock.toWire(1234.5678)
  const back = clock.fromWire(us, 1300)
  assert.ok(back <= 1234.5678 && back > 1234.5667)
  assert.equal(clock.fromWire(us, 1234), Number.NEGATIVE_INFINITY, 'a time that has not come yet')
  const earlierLife = new WireClock(1000, 0.4999)
  assert.equal(clock.fromWire(earlierLife.toWire(1200), 1300), Number.NEGATIVE_INFINITY)
  const otherLife = new WireClock(1000, 0.5001)
  assert.equal(clock.fromWire(otherLife.toWire(1200), 1300), Number.NEGATIVE_INFINITY)
})

test("the core's own heartbeats and appends are known as such", async () => {
  const core = await loadCore({ random: () => 0.5, now: () => 1 })
  const confState = { voters: [1, 2], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false }
  const open = (id: number): number =>
    core.create({
      id,
      electionTicks: 10,
      heartbeatTicks: 1,
      maxSizePerMessageBytes: 1024,
      maxUncommittedBytes: 1024,
      maxInflightMessages: 8,
      maxInflightBytes: 8192,
      hardState: { term: 300, vote: 0, commit: 1 },
      snapshot: { index: 1, term: 1, confState, data: new Uint8Array(0) },
      entries: [],
      applied: 1,
    })
  const groups = new Map([1, 2].map((id) => [id, open(id)]))
  const counted: number[] = []
  core.campaign(groups.get(1)!)
  for (let round = 0; round < 12; round++) {
    for (const [id, group] of groups) {
      const ready = core.ready(group)
      if (ready === null) continue
      const messages = ready.messages.map((m) => ({ to: m.to, data: Uint8Array.from(m.data) }))
      core.advance(group)
      const { term } = core.status(group)
      for (const { to, data } of messages) {
        assert.equal(raftType(data), messageInfo(data)!.type)
        const echoes = new Echoes()
        echoes.enter(term)
        echoes.stepped(frame({ term, from: id, sentUs: 1, body: data }), false)
        if (echoes.echoFor(id) === 1) counted.push(raftType(data))
        core.step(groups.get(to)!, data)
      }
    }
    core.tick(groups.get(1)!)
  }
  assert.deepEqual([...new Set(counted)].sort(), [MSG_APP, MSG_HEARTBEAT])
})
