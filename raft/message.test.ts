// The message reader against messages that the core itself wrote, and against what is no message.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type ConfChange, type Entry, loadCore } from './core.ts'
import { confChangeOf, MESSAGE_TYPES, MSG_APP, MSG_SNAP, messageInfo } from './message.ts'

const data = Uint8Array.of(1, 2, 3, 4, 5)
const ids = [1, 2 ** 52 - 1, 300] as const
const confState = { voters: [...ids], learners: [7], votersOutgoing: [], learnersNext: [], autoLeave: false }

const startLeader = async () => {
  const core = await loadCore({ reserveBytes: 0 })
  const [first, second] = [ids[0], ids[1]].map((id) =>
    core.create({
      id,
      electionTicks: 10,
      heartbeatTicks: 1,
      maxSizePerMessageBytes: 1 << 16,
      maxUncommittedBytes: 1 << 20,
      maxInflightMessages: 16,
      maxInflightBytes: 1 << 20,
      hardState: null,
      snapshot: { index: 2 ** 40, term: 2 ** 33, confState, data },
      entries: [],
      applied: 2 ** 40,
    }),
  ) as [number, number]
  const sent: Uint8Array[] = []
  const committed: Entry[] = []
  const pump = (): void => {
    for (let busy = true; busy; ) {
      busy = false
      for (const h of [first, second]) {
        const r = core.ready(h)
        if (r === null) continue
        busy = true
        const messages = r.messages.map((m) => ({ to: m.to, type: m.type, data: m.data.slice() }))
        for (const m of messages) {
          const info = messageInfo(m.data)
          assert.ok(info !== null)
          assert.deepEqual([info.to, info.type], [m.to, m.type])
          assert.equal(info.from, h === first ? ids[0] : ids[1])
        }
        for (const e of r.committed) committed.push({ ...e, data: e.data.slice() })
        sent.push(...messages.map((m) => m.data))
        core.advance(h)
        for (const m of messages)
          if (m.to === ids[0] || m.to === ids[1]) core.step(m.to === ids[0] ? first : second, m.data)
      }
    }
  }
  core.campaign(first)
  pump()
  return { core, first, sent, committed, pump }
}

test('the head of every message that the core sends is read as the core means it', async () => {
  const { core, first, sent, pump } = await startLeader()
  sent.length = 0
  core.propose(first, data)
  core.propose(first, new Uint8Array(200))
  pump()
  const append = sent.map(messageInfo).find((m) => m?.type === MSG_APP && m.entries > 0)
  const base = 2 ** 40 + 1
  assert.deepEqual(append, {
    type: MSG_APP,
    to: ids[1],
    from: 1,
    term: 2 ** 33 + 1,
    logTerm: 2 ** 33 + 1,
    index: base,
    commit: base,
    reject: false,
    rejectHint: 0,
    entries: 1,
    entryBytes: 5,
    snapshot: null,
  })
})

test('a snapshot message names its snapshot', async () => {
  const { core, first, sent, pump } = await startLeader()
  // 300 never answered; the log before its position is gone, and it turns up again.
  const { applied } = core.status(first)
  assert.ok(core.createSnapshot(first, applied, confState, data).ok)
  assert.ok(core.compact(first, applied).ok)
  const term = 2 ** 33 + 1
  const varint = (n: number): number[] => (n < 128 ? [n] : [(n % 128) + 128, ...varint(Math.floor(n / 128))])
  const answer = [8, 9, 16, 1, 24, ...varint(300), 32, ...varint(term)] // MsgHeartbeatResp
  assert.ok(core.step(first, Uint8Array.from(answer)).ok)
  const reject = [8, 4, 16, 1, 24, ...varint(300), 32, ...varint(term), 48, ...varint(2 ** 40), 80, 1, 88, 0]
  assert.ok(core.step(first, Uint8Array.from(reject)).ok)
  pump()
  const info = sent.map(messageInfo).find((m) => m?.type === MSG_SNAP)
  assert.deepEqual(info?.snapshot && { ...info.snapshot, data: [...info.snapshot.data] }, {
    index: applied,
    term,
    confState,
    data: [...data],
  })
})

test('a configuration change is read back as it was proposed', async () => {
  const { core, first, committed, pump } = await startLeader()
  const change: ConfChange = {
    steps: [
      { type: 'add-voter', id: 2 ** 51 + 3 },
      { type: 'remove', id: 300 },
      { type: 'add-learner', id: 9 },
    ],
    transition: 'joint-explicit',
    context: data,
  }
  assert.ok(core.proposeConfChange(first, change).ok)
  pump()
  const entry = committed.findLast((e) => e.type !== 0)!
  const read = confChangeOf(entry)
  assert.deepEqual({ ...read, context: [...read!.context] }, { ...change, context: [...data] })
  const leave = { ...entry, data: new Uint8Array() }
  assert.deepEqual(confChangeOf(leave)?.steps, [])
  // The older form: add-learner 300, context "x".
  const older = { ...entry, type: 1, data: Uint8Array.of(8, 1, 16, 3, 24, 172, 2, 34, 1, 120) }
  assert.deepEqual(confChangeOf(older)?.steps, [{ type: 'add-learner', id: 300 }])
})

test('what is no message is refused, and nothing else is thrown', () => {
  for (const bytes of [[8], [10, 5, 1], [0, 0], [8, ...new Array(10).fill(255)], [74, 2, 18, 9], [11]]) {
    assert.equal(messageInfo(Uint8Array.from(bytes)), null, String(bytes))
  }
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => [null, 'object'].includes(messageInfo(bytes) && 'object')),
  )
  const entry = { index: 1, term: 1, type: 2, data: Uint8Array.of(18, 2, 8, 99) }
  assert.equal(confChangeOf(entry), null)
  assert.equal(MESSAGE_TYPES[MSG_SNAP], 'MsgSnap')
})
