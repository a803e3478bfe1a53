// The core as its callers meet it: text cases (testdata/), replay, many groups, refusals, panics, memory.
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { test } from 'node:test'
import { runCases } from '@skep/testing/datadriven.ts'
import { Random } from '@skep/testing/random.ts'
import fc from 'fast-check'
import { type Core, type GroupOptions, loadCore, MAX_INPUT_BYTES, RaftError, RaftPanic } from './core.ts'
import { messageInfo } from './message.ts'
import { makeCluster } from './sim/cluster.ts'

const testdata = new URL('./testdata/', import.meta.url)

for (const file of readdirSync(testdata)) {
  test(`cases of ${file}`, async () => {
    const cluster = await makeCluster(1)
    await runCases(new URL(file, testdata), cluster.run)
  })
}

const none = new Uint8Array()
const group = (id: number, voters: number[], more: Partial<GroupOptions> = {}): GroupOptions => ({
  id,
  electionTicks: 10,
  heartbeatTicks: 1,
  maxSizePerMessageBytes: 1 << 16,
  maxUncommittedBytes: 1 << 24,
  maxInflightMessages: 64,
  maxInflightBytes: 1 << 22,
  hardState: null,
  snapshot: {
    index: 1,
    term: 1,
    confState: { voters, learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false },
    data: none,
  },
  entries: [],
  applied: 1,
  ...more,
})

const small = (random: () => number = Math.random): Promise<Core> => loadCore({ random, reserveBytes: 0 })

/** Lets groups of one instance talk until they are quiet. What is committed goes to `apply`. */
const pump = (
  core: Core,
  handles: readonly number[],
  slots: boolean,
  apply?: (h: number, e: string) => void,
) => {
  const queue: [number, number | Uint8Array][] = []
  for (let busy = true; busy; ) {
    busy = false
    for (const handle of handles) {
      const r = core.ready(handle, slots)
      if (r === null) continue
      busy = true
      for (const m of r.messages) queue.push([handles[m.to - 1]!, slots ? m.slot : m.data.slice()])
      for (const e of r.committed) apply?.(handle, `${e.index}/${e.term} ${new TextDecoder().decode(e.data)}`)
      core.advance(handle)
    }
    for (const [to, message] of queue.splice(0)) {
      if (typeof message === 'number') {
        core.stepSlot(to, message)
        core.releaseSlot(message)
      } else core.step(to, message)
    }
  }
}

/** A run of three members with ticks, proposals and loss, drawn from a seed: what each applied. */
const story = async (seed: number, slots: boolean): Promise<string[]> => {
  const chance = new Random(seed)
  const core = await small(() => chance.unit())
  const handles = [1, 2, 3].map((id) => core.create(group(id, [1, 2, 3])))
  const applied: string[] = []
  for (let t = 0; t < 200; t++) {
    for (const h of handles) core.tick(h)
    for (const h of handles) core.propose(h, new TextEncoder().encode(`${h}@${t}`))
    pump(core, handles, slots, (h, e) => applied.push(`${h}: ${e}`))
  }
  return applied
}

test('a seed replays a run, whether messages are bytes or kept objects; another seed differs', async () => {
  const first = await story(7, false)
  assert.ok(first.length > 300, `${first.length} applied`)
  assert.deepEqual(await story(7, false), first)
  assert.deepEqual(await story(7, true), first)
  assert.notDeepEqual(await story(8, false), first)
})

test('many groups live in one instance without hearing of each other', async () => {
  const core = await small()
  const clusters = Array.from({ length: 100 }, () => [1, 2, 3].map((id) => core.create(group(id, [1, 2, 3]))))
  clusters.forEach((handles, i) => {
    core.campaign(handles[i % 3]!)
    pump(core, handles, i % 2 === 0)
    for (let k = 0; k <= i; k++) assert.ok(core.propose(handles[i % 3]!, none).ok)
    pump(core, handles, i % 2 === 0)
  })
  clusters.forEach((handles, i) => {
    for (const h of handles) {
      const s = core.status(h)
      assert.deepEqual([s.leader, s.applied], [(i % 3) + 1, i + 3])
    }
  })
  for (const h of clusters[0]!) core.destroy(h)
  assert.equal(core.status(clusters[1]![0]!).applied, 4)
  const fresh = core.create(group(1, [1]))
  assert.ok(
    clusters.flat().every((h) => h !== fresh),
    'a handle was used again',
  )
})

test('a call that cannot be made throws and harms nobody', async () => {
  const core = await small()
  const h = core.create(group(1, [1]))
  const bad: [Partial<GroupOptions>, RegExp][] = [
    [{ id: 0 }, /id must be/],
    [{ electionTicks: 1 }, /electionTicks/],
    [{ heartbeatTicks: 0 }, /heartbeatTicks/],
    [{ maxInflightMessages: 0 }, /maxInflightMessages/],
    [{ maxInflightBytes: 1 }, /maxInflightBytes/],
    [{ hardState: { term: 3, vote: 1, commit: 9 } }, /9 was committed: entries are lost/],
    [{ applied: 5 }, /applied 5 is beyond/],
    [{ entries: [{ index: 3, term: 1, type: 0, data: none }] }, /first entry is 3/],
    [{ entries: [{ index: 2, term: 1, type: 0, data: none }] }, /without a hard state/],
    [
      {
        entries: [{ index: 2, term: 4, type: 0, data: none }],
        hardState: { term: 3, vote: 0, commit: 1 },
      },
      /term 4, the hard state of term 3/,
    ],
  ]
  for (const [more, why] of bad) {
    assert.throws(
      () => core.create(group(1, [1], more)),
      (e: unknown) => e instanceof RaftError && e.code === 'bad-config' && why.test(e.message),
    )
  }
  assert.throws(() => core.tick(h + 1), /no group has handle/)
  assert.throws(() => core.applyConfChange(h, { index: 2, term: 1, type: 0, data: none }), RaftError)
  assert.throws(
    () => core.applyConfChange(h, { index: 2, term: 1, type: 2, data: Buffer.from([255]) }),
    RaftError,
  )
  core.destroy(h)
  assert.throws(() => core.tick(h), RaftError)
  assert.equal(core.propose(core.create(group(1, [1])), none).ok, false)
})

test('whatever bytes are stepped, the group refuses or goes on', async () => {
  const core = await small()
  const h = core.create(group(1, [1, 2, 3]))
  const varint = fc.integer({ min: 0, max: 127 })
  // Fields of raftpb.Message with small numbers, so that many parse; commit (8) is left out: a commit beyond
  // the log is no garbage but the sign of a lost disk, which must not be survived.
  const field = fc.tuple(fc.constantFrom(1, 2, 3, 4, 5, 6, 10, 11, 13), varint).map(([f, v]) => [f * 8, v])
  const entry = fc.array(
    fc.tuple(fc.constantFrom(1, 2, 3), varint).map(([f, v]) => [f * 8, v]),
    { maxLength: 3 },
  )
  const nested = fc
    .tuple(fc.constantFrom(7, 9, 12, 14), entry)
    .map(([f, inner]) => [f * 8 + 2, inner.flat().length, ...inner.flat()])
  const message = fc.array(fc.oneof(field, nested)).map((parts) => [16, 1, ...parts.flat()])
  const garbage = fc.oneof(
    fc.uint8Array().map((b) => [...b]),
    message,
  )
  fc.assert(
    fc.property(garbage, (bytes) => {
      const r = core.step(h, Uint8Array.from(bytes))
      if (core.ready(h) !== null) core.advance(h)
      return r.ok || r.code === 'bad-message' || r.code.startsWith('step-')
    }),
    { numRuns: 3000, seed: 1 },
  )
  assert.equal(core.status(h).id, 1)
  const huge = core.step(h, new Uint8Array(MAX_INPUT_BYTES + 1))
  assert.equal(huge.ok ? '' : huge.code, 'bad-message')
})

test('a kept message can be delivered again after it was forwarded', async () => {
  const core = await small()
  const handles = [1, 2, 3].map((id) => core.create(group(id, [1, 2, 3])))
  const [one, two] = handles as [number, number]
  core.campaign(one)
  pump(core, handles, true)
  core.readIndex(two, Uint8Array.of(5))
  const { slot } = core.ready(two, true)!.messages[0]!
  core.advance(two)
  core.transferLeadership(one, 3)
  pump(core, handles, true)
  assert.equal(core.status(one).leader, 3)
  for (let n = 0; n < 2; n++) {
    assert.deepEqual(core.stepSlot(one, slot), { ok: true })
    assert.deepEqual(
      core.ready(one, true)?.messages.map((m) => m.to),
      [3],
    )
    core.advance(one)
  }
  assert.equal(messageInfo(core.slotBytes(slot))?.to, 1)
  core.releaseSlot(slot)
})

test('a panic ends the instance: every later call throws the same, about any group', async () => {
  const core = await small()
  const other = core.create(group(1, [1]))
  const h = core.create(group(1, [1, 2], { snapshot: null, applied: 0 }))
  const heartbeat = Uint8Array.of(8, 8, 16, 1, 24, 2, 32, 1, 64, 9) // from 2: 9 is committed
  const panic = (call: () => unknown): RaftPanic => {
    try {
      call()
    } catch (e) {
      if (e instanceof RaftPanic) return e
    }
    throw new Error('no RaftPanic')
  }
  const first = panic(() => core.step(h, heartbeat))
  assert.match(first.message, /^tocommit\(9\) is out of range \[lastIndex\(0\)\]/)
  assert.match(first.trace, /goroutine/)
  for (const call of [() => core.tick(other), () => core.status(h), () => core.create(group(1, [1]))]) {
    assert.equal(panic(call), first)
  }
})

test('an error in readEntries ends the instance and is told as the cause', async () => {
  const core = await small()
  const cause = new Error('disk on fire')
  const entries = [{ index: 3, term: 1, type: 0, data: none }]
  const readEntries = (): never => {
    throw cause
  }
  const hardState = { term: 1, vote: 1, commit: 3 }
  const h = core.create(group(1, [1], { entries, hardState, readEntries }))
  assert.throws(
    () => core.ready(h),
    (e: unknown) => e instanceof RaftPanic && e.cause === cause && /disk on fire/.test(e.message),
  )
  assert.throws(() => core.tick(h), RaftPanic)
})

test('entry data is aligned to words, however odd its neighbours', async () => {
  const core = await small()
  const handles = [1, 2].map((id) => core.create(group(id, [1, 2])))
  core.campaign(handles[0]!)
  pump(core, handles, false)
  for (let n = 0; n < 40; n++) core.propose(handles[0]!, new Uint8Array(n % 13).fill(n))
  const seen: number[] = []
  const queue: Uint8Array[] = []
  for (let r = core.ready(handles[0]!); r !== null; r = core.ready(handles[0]!)) {
    for (const e of [...r.entries, ...r.committed]) assert.equal(e.data.byteOffset % 4, 0)
    for (const m of r.messages) queue.push(m.data.slice())
    core.advance(handles[0]!)
  }
  for (const m of queue) core.step(handles[1]!, m)
  for (const e of core.ready(handles[1]!)?.entries ?? []) {
    assert.equal(e.data.byteOffset % 4, 0)
    assert.ok(e.data.every((b) => b % 13 === e.data.length))
    seen.push(e.index)
  }
  assert.equal(seen.length, 40)
})

test('memory stays bounded while the log grows without end', async () => {
  const core = await loadCore({ memoryLimitBytes: 32 << 20 })
  const handles = [1, 2, 3].map((id) => core.create(group(id, [1, 2, 3], { keepBytes: 1 << 20 })))
  core.campaign(handles[0]!)
  pump(core, handles, false)
  const data = new Uint8Array(16 * 1024)
  for (let n = 0; n < 4000; n++) {
    core.propose(handles[0]!, data)
    if (n % 16 === 0) pump(core, handles, false)
  }
  const memory = core.memory()
  assert.ok(memory.allocatedInTotal > 4 * memory.linear, 'too little was allocated to tell')
  assert.ok(memory.heap < 40 << 20, `${memory.heap} bytes of heap`)
  assert.ok(memory.linear < 64 << 20, `${memory.linear} bytes`)
})

test('a warmed-up instance is as good as new', async () => {
  const core = await small()
  core.warmUp(50)
  const h = core.create(group(1, [1]))
  core.campaign(h)
  pump(core, [h], false)
  assert.equal(core.status(h).role, 'leader')
})
