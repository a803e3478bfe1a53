// Going on from a minority: the survivor leads alone with what it had, says what may be lost, and the others
// stay out.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ConfChange, ENTRY_CONF_CHANGE_V2, type Entry } from '@skep/raft'
import { confChangeOf } from '@skep/raft/message.ts'
import fc from 'fast-check'
import { testCore } from '../counter.case.ts'
import { OPTIONS } from '../log/log.case.ts'
import { memoryDisk } from '../log/memory.ts'
import { openLog } from '../log/store.ts'
import { encodeIdentity } from './birth.ts'
import { beginAs } from './birth-flow.ts'
import { admission } from './directory.ts'
import { Group, identityOf, type Node } from './group.case.ts'
import { encodeConfChange, recover } from './recover.ts'

const NAMES = ['r0', 'r1', 'r2']
const MEMBERS = NAMES.map((name, i) => ({ name, id: i + 1, address: `${name}:1` }))

const born = async (members = MEMBERS): Promise<Group> => {
  const g = await Group.create()
  for (const m of members) {
    const node = await g.start(identityOf(m.id, m.name, members))
    await node.log.setIdentity(encodeIdentity(node.identity))
  }
  await g.elect()
  return g
}

const write = async (g: Group, ...numbers: number[]): Promise<void> => {
  g.leader!.numbers.queue.push(...numbers)
  const { sum } = g.leader!.counter
  const goal = sum + numbers.reduce((a, b) => a + b, 0)
  assert.ok(await g.until(() => g.living.every((n) => n.counter.sum === goal)))
}

/** Stops everybody, recovers `who` and starts it again in a world of its own. */
const recovered = async (g: Group, who: number): Promise<{ node: Node; alone: Group; text: string }> => {
  const old = g.nodes.get(who)!
  for (const n of g.living) g.kill(n.id)
  const disk = old.disk.crash()
  const log = await openLog(disk, OPTIONS)
  const before = { last: log.lastIndex, hard: log.hardState }
  const dry = await recover(log, await testCore(), false, 1)
  assert.equal(dry.refused, null, dry.refused ?? '')
  assert.deepEqual({ last: log.lastIndex, hard: log.hardState }, before)
  const report = await recover(log, await testCore(), true, 1)
  assert.ok(report.done)
  assert.deepEqual({ ...report, done: false }, dry)
  await log.close()
  const alone = await Group.create()
  const node = await alone.start(old.identity, disk.crash())
  await alone.elect()
  return { node, alone, text: report.sentences.join('\n') }
}

test('one of three goes on alone with all it had, and the others are refused', async () => {
  const g = await born()
  await write(g, 1, 10, 100)
  const { node, alone, text } = await recovered(g, 2)
  assert.equal(node.counter.sum, 111)
  assert.deepEqual([node.replica.confState.voters, node.replica.confState.learners], [[2], []])
  assert.deepEqual(
    node.machine.directory.members.map((m) => m.name),
    ['r1'],
  )
  assert.deepEqual(
    node.machine.directory.removed.map((m) => m.id),
    [1, 3],
  )
  const { directory } = node.machine
  const { confState, applied } = node.replica
  assert.equal(admission(directory, confState, applied, { from: 3, name: 'r2' })?.code, 'removed member')
  node.numbers.queue.push(1000)
  assert.ok(await alone.until(() => node.counter.sum === 1111))
  assert.match(text, /r1 goes on alone with everything up to entry \d+/)
  assert.match(text, /Taken out of the cluster: r0 \(member 1\), r2 \(member 3\)/)
  assert.match(text, /none of them runs/)
})

test('entries that no majority is known to have are kept and counted', async () => {
  const g = await born()
  await write(g, 1)
  const leader = g.leader!
  for (const n of g.living) if (n !== leader) g.kill(n.id)
  leader.numbers.queue.push(50)
  await g.until(() => false, 2)
  const log = await openLog(leader.disk.crash(), OPTIONS)
  const report = await recover(log, await testCore(), false, 1)
  assert.equal(report.uncertain, 1)
  assert.match(report.sentences.join('\n'), /no majority is known to have had it: 1 entry\./)
  await log.close()
  const { node } = await recovered(g, leader.id)
  assert.equal(node.counter.sum, 51)
})

test('a learner can go on too, and hears that it may lack more', async () => {
  const g = await born([...MEMBERS, { name: 'r3', id: 4, address: 'r3:1', learner: true } as never])
  await write(g, 8)
  const { node, text } = await recovered(g, 4)
  assert.deepEqual([node.counter.sum, node.replica.confState.voters], [8, [4]])
  assert.match(text, /r3 was a learner/)
})

test('from the middle of a joint change it goes on as well', async () => {
  const disk = memoryDisk()
  const g = await Group.create()
  const node = await g.start(identityOf(1, 'r0', MEMBERS), disk)
  await node.log.setIdentity(encodeIdentity(node.identity))
  const joint: Entry = {
    index: 2,
    term: 1,
    type: ENTRY_CONF_CHANGE_V2,
    data: encodeConfChange([
      { type: 'add-voter', id: 9 },
      { type: 'remove', id: 3 },
      { type: 'add-learner', id: 2 },
    ]),
  }
  await node.log.append({ hardState: { term: 1, vote: 0, commit: 1 }, entries: [joint], sync: true })
  const after = await recovered(g, 1)
  assert.deepEqual(after.node.replica.confState.voters, [1])
  assert.deepEqual(
    after.node.machine.directory.members.map((m) => m.id),
    [1],
  )
})

test('from a snapshot: names come from there, and doing it twice changes nothing', async () => {
  const g = await born()
  await write(g, 5)
  const one = g.nodes.get(1)!
  void g.leader!.desk.request({ kind: 'add', id: 9, name: 'r9', address: 'r9:1' })
  assert.ok(await g.until(() => one.machine.directory.members.some((m) => m.id === 9)))
  await one.replica.snapshots.take(one.replica.applied, one.replica.confState)
  const { node, alone, text } = await recovered(g, 1)
  assert.match(text, /r1 \(member 2\), r2 \(member 3\), r9 \(member 9, learner\)/)
  assert.equal(node.counter.sum, 5)
  alone.kill(1)
  const log = await openLog(node.disk.crash(), OPTIONS)
  const again = await recover(log, await testCore(), true, 1)
  assert.deepEqual([again.done, again.sentences], [false, ['r0 is the only member already: just start it']])
})

test('where there is nothing to go on from it is refused, with what to do', async () => {
  const core = await testCore()
  const empty = await openLog(memoryDisk(), OPTIONS)
  assert.match((await recover(empty, core, true, 1)).refused!, /belongs to no cluster/)
  await empty.setIdentity(encodeIdentity({ ...identityOf(1, 'r0', MEMBERS), phase: 'forming' }))
  assert.match((await recover(empty, core, true, 1)).refused!, /never became a member/)
  await empty.setIdentity(encodeIdentity(identityOf(1, 'r0', [])))
  assert.match((await recover(empty, core, true, 1)).refused!, /never sent the state/)
  const removed = await openLog(memoryDisk(), OPTIONS)
  await removed.setIdentity(encodeIdentity(identityOf(3, 'r2', MEMBERS)))
  await beginAs(removed, identityOf(3, 'r2', MEMBERS))
  const data = encodeConfChange([{ type: 'remove', id: 3 }])
  const entries = [{ index: 2, term: 1, type: ENTRY_CONF_CHANGE_V2, data }]
  await removed.append({ hardState: null, entries, sync: true })
  assert.match((await recover(removed, core, true, 1)).refused!, /no member of the cluster any more/)
})

test('changes are written as the core reads them', () => {
  const id = fc.integer({ min: 1, max: 2 ** 52 - 1 })
  const step = fc.record({ type: fc.constantFrom('add-voter', 'add-learner', 'remove'), id })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 5 }), (steps) => {
      const data = encodeConfChange(steps as ConfChange['steps'])
      const entry = { index: 1, term: 1, type: ENTRY_CONF_CHANGE_V2, data }
      assert.deepEqual(
        confChangeOf(entry)?.steps,
        steps.map((s) => ({ ...s })),
      )
    }),
  )
})
