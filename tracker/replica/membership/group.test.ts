// How a group changes, with the real core: newcomers get the whole state, votes move by odd numbers, lost
// members are swapped, removed ones stay out, and everybody's directory says the same.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ConfState } from '@skep/raft'
import { decodeSaid, encodeSaid } from './birth-words.ts'
import { admission, nameOf, peersOf, standingOf } from './directory.ts'
import { Group, identityOf, type Node } from './group.case.ts'
import { leaveGroup } from './leave.ts'

const R0 = { name: 'r0', id: 1, address: 'r0:1' }

const add = (g: Group, id: number, name: string): Promise<{ ok: boolean; sentence: string }> =>
  g.leader!.desk.request({ kind: 'add', id, name, address: `${name}:1` })

const newcomer = async (g: Group, id: number, name: string): Promise<Node> => {
  const node = await g.start({ ...identityOf(id, name, []), known: g.leader!.machine.directory.members })
  const reply = add(g, id, name)
  await g.until(() => node.replica.applied > 0)
  assert.deepEqual((await reply).ok, true, (await reply).sentence)
  return node
}

const write = async (g: Group, ...numbers: number[]): Promise<void> => {
  const leader = g.leader!
  leader.numbers.queue.push(...numbers)
  assert.ok(await g.until(() => leader.numbers.queue.length === 0))
}

/** Everybody alive has applied the same, and knows the same of everybody. */
const agree = async (g: Group): Promise<void> => {
  const same = (): boolean => {
    const leader = g.leader
    return leader !== undefined && g.living.every((n) => n.replica.applied === leader.replica.applied)
  }
  assert.ok(await g.until(same))
  for (const n of g.living) {
    assert.equal(n.counter.sum, g.leader!.counter.sum)
    assert.deepEqual(n.machine.directory, g.leader!.machine.directory)
    const sorted = (ids: readonly number[]): number[] => [...ids].sort()
    assert.deepEqual(sorted(n.replica.confState.voters), sorted(g.leader!.replica.confState.voters))
  }
}

const voters = (g: Group): string =>
  [...g.leader!.replica.confState.voters]
    .map((id) => nameOf(g.leader!.machine.directory, id))
    .sort()
    .join(' ')

const three = async (): Promise<Group> => {
  const g = await Group.create()
  await g.start(identityOf(1, 'r0', [R0]))
  await g.elect()
  await write(g, 1, 10, 100)
  await newcomer(g, 2, 'r1')
  await newcomer(g, 3, 'r2')
  const whole = ({ voters, votersOutgoing }: ConfState): boolean =>
    voters.length === 3 && votersOutgoing.length === 0
  assert.ok(await g.until(() => whole(g.leader!.replica.confState)))
  return g
}

test('one becomes three: the newcomers are sent the state, and both vote at once', async () => {
  const g = await three()
  await agree(g)
  assert.equal(voters(g), 'r0 r1 r2')
  assert.equal(g.nodes.get(3)!.counter.sum, 111)
  assert.deepEqual(g.leader!.told, [
    'r1 joins as a learner',
    'r2 joins as a learner',
    'r1, r2 vote now: 3 voters',
    'the joint change of members is through',
  ])
  assert.deepEqual(
    peersOf(g.nodes.get(2)!.machine.directory, 2).map((p) => `${p.name} ${p.address.host}`),
    ['r0 r0', 'r2 r2'],
  )
  await write(g, 1000)
  await agree(g)
  assert.equal(g.nodes.get(2)!.counter.sum, 1111)
})

test('a stream that breaks after every part still brings the state', async () => {
  const g = await Group.create()
  await g.start(identityOf(1, 'r0', [R0]))
  await g.elect()
  await write(g, ...Array.from({ length: 40 }, (_, i) => i))
  g.breaks = [0, 1, 0]
  await newcomer(g, 2, 'r1')
  await agree(g)
  assert.equal(g.breaks.length, 0)
  assert.equal(g.nodes.get(2)!.counter.sum, 780)
})

test('who is far behind a compacted log is sent the state again, and work goes on meanwhile', async () => {
  const g = await three()
  g.snapshotLogBytes = 2000
  for (const id of [1, 2, 3]) await g.restart(id)
  await g.elect()
  const away = [1, 2, 3].find((id) => id !== g.leader!.id)!
  g.kill(away)
  for (let i = 0; i < 60; i++) await write(g, 1, 1, 1, 1, 1)
  assert.ok(g.leader!.log.firstIndex > 100)
  const back = await g.restart(away)
  const installed = back.replica.applied
  await write(g, 5)
  await agree(g)
  assert.ok(back.log.snapshot!.index > installed)
  assert.equal(back.transfers.receiver.received, 1)
  assert.equal(back.counter.sum, 111 + 300 + 5)
})

test('a newcomer under a lost voter’s name takes its vote in one change; the old one stays out', async () => {
  const g = await three()
  const lost = [2, 3].find((id) => id !== g.leader!.id)!
  const name = g.nodes.get(lost)!.identity.name
  g.kill(lost)
  await write(g, 7)
  await g.until(() => false, 15)
  await newcomer(g, 9, name)
  assert.ok(await g.until(() => !g.leader!.machine.directory.members.some((m) => m.id === lost)))
  await agree(g)
  assert.equal(voters(g), 'r0 r1 r2')
  for (const n of g.living) {
    const { directory } = n.machine
    const { confState, applied } = n.replica
    assert.deepEqual(
      directory.removed.map((m) => [m.id, m.name]),
      [[lost, name]],
    )
    assert.deepEqual([n.forgotten.includes(lost), standingOf(directory, confState, lost)], [true, 'removed'])
    const refusal = admission(directory, confState, applied, { from: lost, name })
    assert.equal(refusal?.code, 'removed member')
    assert.match(refusal!.sentence, /delete its data directory and start it with --join/)
    assert.equal(admission(directory, confState, applied, { from: 9, name }), null)
    assert.equal(admission(directory, confState, applied, { from: 55, name: 'x' })?.code, 'unknown member')
    assert.equal(admission(directory, confState, 0, { from: 55, name: 'x' }), null)
  }
  const again = await add(g, lost, name)
  assert.match(again.sentence, /an ID is never used again/)
})

test('the directory survives a restart of everybody, from the log and from a snapshot', async () => {
  for (const snapshot of [false, true]) {
    const g = await three()
    if (snapshot)
      for (const n of g.living) await n.replica.snapshots.take(n.replica.applied, n.replica.confState)
    const before = g.leader!.machine.directory
    for (const id of [1, 2, 3]) await g.restart(id)
    if (snapshot) assert.deepEqual(g.nodes.get(3)!.machine.directory, before)
    await g.elect()
    await agree(g)
    assert.deepEqual(g.leader!.machine.directory, before)
  }
})

test('the leader leaves: leadership moves, it is removed, and another steps back to keep the number odd', async () => {
  const g = await three()
  const old = g.leader!
  g.promotes = false
  const left = leaveGroup({
    identity: old.identity,
    view: () => old.view(),
    desk: old.desk,
    ask: async (address, question) => {
      const node = g.living.find((n) => `${n.identity.name}:1` === address)
      return node!.desk.answer(question)
    },
    now: () => g.nowMs,
    pause: () => new Promise((resolve) => setImmediate(resolve)),
    untilMs: 60_000,
  })
  let said: string | null = null
  void left.then((s) => (said = s))
  assert.ok(await g.until(() => said !== null))
  assert.equal(said, '')
  g.kill(old.id)
  await g.elect()
  assert.equal(g.leader!.replica.confState.voters.length, 1)
  assert.deepEqual(g.leader!.machine.directory.members.length, 2)
  assert.deepEqual(
    g.leader!.machine.directory.removed.map((m) => m.id),
    [old.id],
  )
  await write(g, 3)
})

test('a follower that leaves is told so only when no vote of it can be needed any more', async () => {
  const g = await three()
  g.promotes = false
  const leader = g.leader!
  const leaver = g.living.find((n) => n !== leader)!
  const said: string[] = []
  const left = leaveGroup({
    identity: leaver.identity,
    view: () => leaver.view(),
    desk: leaver.desk,
    ask: async (_address, question) => {
      const answer = decodeSaid(await leader.desk.answer(question))!
      const still = leader.machine.directory.members.some((m) => m.id === leaver.id)
      said.push(`${answer.is}${still ? ' while still a member' : ''}`)
      return encodeSaid(answer)
    },
    now: () => g.nowMs,
    pause: () => new Promise((resolve) => setImmediate(resolve)),
    untilMs: 60_000,
  })
  let fate: string | null = null
  void left.then((s) => (fate = s))
  assert.ok(await g.until(() => fate !== null))
  assert.equal(fate, '')
  assert.ok(said.length > 0)
  assert.ok(!said.includes('done while still a member'), said.join(', '))
})

test('the last voter hands its vote to a learner in the change that removes it', async () => {
  const g = await Group.create()
  await g.start(identityOf(1, 'r0', [R0]))
  await g.elect()
  await write(g, 4)
  const heir = await newcomer(g, 2, 'r1')
  await agree(g)
  const reply = g.leader!.desk.request({ kind: 'remove', who: 'r0' })
  assert.ok(await g.until(() => heir.replica.leads))
  assert.match((await reply).sentence, /r0 is removed, and r1 votes in its place/)
  // Who ends the joint configuration is who stays: nobody else need know that it was ended.
  assert.deepEqual(heir.replica.confState.votersOutgoing, [1])
  assert.ok(await g.until(() => heir.replica.confState.votersOutgoing.length === 0))
  assert.ok(heir.replica.leads)
  g.kill(1)
  await write(g, 6)
  assert.equal(heir.counter.sum, 10)
  assert.deepEqual(
    heir.machine.directory.members.map((m) => m.name),
    ['r1'],
  )
})

test('two requests at once: one is done, the other is told to come again', async () => {
  const g = await three()
  g.promotes = false
  const [one, two] = [add(g, 11, 'r7'), add(g, 12, 'r8')]
  await g.until(() => false, 5)
  assert.deepEqual([(await one).ok, (await two).ok], [true, false])
  assert.match((await two).sentence, /being changed already/)
  const follower = g.living.find((n) => !n.replica.leads)!
  const sentence = (await follower.desk.request({ kind: 'remove', who: 'r7' })).sentence
  assert.match(sentence, /this replica does not lead: ask r\d through its own control API/)
})
