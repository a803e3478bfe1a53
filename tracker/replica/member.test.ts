// Stories of a few members: who leads, whose changes get where, and what nobody may lose or answer.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Cluster } from './cluster.case.ts'
import { NOTICE, RAFT } from './transport/frame.ts'

const THREE = [11, 12, 13]
const FIVE = [11, 12, 13, 14, 15]

const led = async (c: Cluster): Promise<void> => {
  assert.ok(await c.until(() => c.leader !== null, 5000), 'nobody leads')
}
/** Everyone can answer. */
const served = async (c: Cluster): Promise<void> => {
  const all = (): boolean => c.living.every((l) => l.member.mayAnswer(l.now))
  assert.ok(await c.until(all, 10_000), 'not everyone may answer')
}
const traffic = async (c: Cluster, rounds: number, everyMs = 3): Promise<void> => {
  for (let i = 0; i < rounds; i++) {
    for (const l of c.living) c.ask(l.id)
    await c.run(everyMs)
  }
}

test('three members elect the highest, and all of them answer their own clients', async () => {
  const c = await Cluster.of(THREE)
  await led(c)
  assert.equal(c.leader!.id, 13)
  await traffic(c, 30)
  await c.run(1000)
  assert.deepEqual(c.outcomes(), { applied: 90 })
  c.agree()
})

test('an idle cluster keeps its leases: reads are answered everywhere without a gap', async () => {
  const c = await Cluster.of(FIVE)
  await served(c)
  const gap = await c.until(() => c.living.some((l) => !l.member.mayAnswer(l.now)), 15_000)
  assert.equal(gap, false, `at ${c.nowMs}`)
  // Time passes in the log, too.
  assert.ok(c.leader!.ledger.timeMs > 13_000)
})

test('several members’ batches share entries, and commit notices ride on appends', async () => {
  const c = await Cluster.of(THREE)
  await served(c)
  const before = c.leader!.member.replica.status.lastIndex
  await traffic(c, 60, 1)
  await c.run(100)
  const entries = c.leader!.member.replica.status.lastIndex - before
  assert.deepEqual(c.outcomes(), { applied: 180 })
  assert.ok(entries < 60, `${entries} entries for 180 changes`)
  assert.ok(c.leader!.member.commitNotices > 20, `${c.leader!.member.commitNotices}`)
})

test('the leader is killed after any number of frames: nothing answered is lost, nothing waits for ever', async () => {
  for (let frames = 1; frames < 40; frames += 3) {
    const c = await Cluster.of(THREE, { seed: frames })
    await served(c)
    const leader = c.leader!
    for (const id of THREE) for (let i = 0; i < 3; i++) c.ask(id)
    let left = frames
    c.onFrame = () => {
      if (--left === 0) c.kill(leader.id)
      return left > 0 || leader.alive
    }
    await c.until(() => !leader.alive, 500)
    if (leader.alive) c.kill(leader.id)
    c.onFrame = () => true
    const killedMs = c.nowMs
    await led(c)
    // 2 s of silence, the margin, the vote.
    assert.ok(c.nowMs - killedMs < 2500, `silence of ${c.nowMs - killedMs} ms after ${frames} frames`)
    for (const l of c.living) c.ask(l.id)
    await c.run(100)
    for (const [value, a] of c.asked)
      if (a.by !== leader.id) assert.equal(a.outcome, 'applied', `${value} after ${frames} frames`)
    await c.restart(leader.id)
    await c.run(3000)
    c.agree()
  }
})

test('frames lost, twice and out of order: each change is decided once, and all tables are equal', async () => {
  for (let seed = 1; seed <= 4; seed++) {
    const c = await Cluster.of(seed % 2 === 0 ? THREE : FIVE, { seed, loss: 0.1, twice: 0.1, delayMs: 30 })
    await c.until(() => c.leader !== null, 60_000)
    for (let i = 0; i < 40; i++) {
      for (const l of c.living) c.ask(l.id)
      await c.run(50)
      if (i === 20 && c.leader !== null) {
        const { id } = c.leader
        c.kill(id)
        await c.run(1000)
        await c.restart(id)
      }
    }
    c.loss = 0
    await c.run(8000)
    c.agree()
    const { waiting } = c.outcomes()
    assert.equal(waiting, undefined, `seed ${seed}: ${JSON.stringify(c.outcomes())}`)
  }
})

test('a leader that is cut off stops answering before another one leads', async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const c = await Cluster.of(FIVE, { seed })
    await served(c)
    const old = c.leader!
    const others = FIVE.filter((id) => id !== old.id)
    c.part([old.id], others)
    const cutMs = c.nowMs
    let endedMs = 0
    const taken = await c.until(() => {
      if (endedMs === 0 && !old.member.mayAnswer(old.now)) endedMs = c.nowMs
      return others.some((id) => c.lives.get(id)!.member.replica.leads)
    }, 10_000)
    assert.ok(taken)
    assert.ok(endedMs > 0 && endedMs < c.nowMs, 'its lease ended before')
    assert.ok(endedMs - cutMs < 1900)
    // Its clients wait and hear nothing; the others' are answered.
    const there = c.ask(old.id)
    const here = c.ask(others[0]!)
    await c.run(1000)
    assert.equal(c.asked.get(there)!.outcome, null)
    assert.equal(c.asked.get(here)!.outcome, 'applied')
    c.part([old.id], others, false)
    await c.run(1000)
    assert.equal(c.asked.get(there)!.outcome, 'applied', 'it went to the new leader')
    c.agree()
  }
})

test('a follower that is cut off stops answering, and a change there is unknown after the time to park', async () => {
  const c = await Cluster.of(THREE)
  await served(c)
  c.part([11], [12, 13])
  const value = c.ask(11)
  await c.until(() => !c.lives.get(11)!.member.mayAnswer(c.lives.get(11)!.now), 5000)
  const endedMs = c.nowMs
  assert.ok(endedMs < 3000)
  await c.run(5000)
  assert.equal(c.asked.get(value)!.outcome, 'unknown')
  const { askedMs, answeredMs } = c.asked.get(value)!
  assert.ok(answeredMs - askedMs <= 3600, `${answeredMs - askedMs}`)
  c.part([11], [12, 13], false)
  await c.run(3000)
  c.agree()
})

test('one-way cuts and a paused leader: never two leases, and it goes on', async () => {
  for (let seed = 1; seed <= 4; seed++) {
    const c = await Cluster.of(THREE, { seed })
    await served(c)
    const old = c.leader!
    if (seed % 2 === 0) {
      // It hears everyone, and nobody hears it.
      c.onFrame = (f) => f.from !== old.id
    } else old.paused = true
    assert.ok(await c.until(() => c.leader !== null && c.leader !== old, 10_000))
    c.ask(c.leader!.id)
    await c.run(500)
    old.paused = false
    c.onFrame = () => true
    await c.run(3000)
    c.ask(old.id)
    await c.run(500)
    assert.deepEqual(c.outcomes(), { applied: 2 })
    c.agree()
  }
})

test('a restarted voter neither votes nor stands for one election timeout', async () => {
  const c = await Cluster.of(THREE)
  await served(c)
  const old = c.leader!
  // 12 hears nothing of the leader and stands again and again; 11 hears it, so it does not vote for 12, whose
  // log is as long as anybody's.
  await c.run(500)
  old.member.leading.holding = true
  c.part([old.id], [12])
  await c.run(4000)
  assert.equal(c.leader, old)
  // Now 11 forgets, and cannot hear the leader either. What it promised holds: the leader's lease rests on
  // it.
  c.part([old.id], [11])
  c.kill(11)
  await c.restart(11)
  const cutMs = c.nowMs
  assert.ok(old.member.mayAnswer(old.now))
  assert.ok(await c.until(() => [11, 12].some((id) => c.lives.get(id)!.member.replica.leads), 10_000))
  assert.ok(c.nowMs - cutMs >= 2000, `${c.nowMs - cutMs}`)
  assert.ok(c.lives.get(11)!.member.unheard > 0)
})

test('leadership moves on request: nothing is lost, nothing refused, and hardly anybody waits', async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const c = await Cluster.of(THREE, { seed })
    await served(c)
    await traffic(c, 10)
    const moved = c.leader!.member.transfer(11, c.leader!.now)
    let done: string | null = null
    void moved.then((why) => (done = why))
    await traffic(c, 30)
    await c.run(100)
    assert.equal(done, '')
    assert.equal(c.leader!.id, 11)
    assert.deepEqual(c.outcomes(), { applied: c.asked.size })
    const worst = Math.max(...[...c.asked.values()].map((a) => a.answeredMs - a.askedMs))
    assert.ok(worst < 50, `${worst} ms`)
    c.agree()
  }
})

test('a move that fails says why, and the leader goes on', async () => {
  const c = await Cluster.of(THREE)
  await served(c)
  const leader = c.leader!
  const unknown = leader.member.transfer(99, leader.now)
  await c.run(10)
  assert.match(await unknown, /not a voter/)
  c.part([11], [12, 13])
  c.ask(13)
  await c.run(20)
  const behind = leader.member.transfer(11, leader.now)
  const waits = c.ask(13)
  await c.run(1000)
  assert.equal(c.asked.get(waits)!.outcome, null)
  await c.run(1500)
  assert.match(await behind, /behind and did not catch up|does not answer/)
  assert.equal(c.asked.get(waits)!.outcome, 'applied', 'it goes on')
  assert.equal(await c.lives.get(12)!.member.transfer(0, 0), 'this member does not lead')
})

test('a move that somebody asked for holds until members change or another is elected; only then the preferred one leads', async () => {
  // What each member has heard: out of which term leadership was moved on request, and to whom.
  const asked = { term: 0, to: 0 }
  const c = await Cluster.of(THREE, {
    options: {
      preferHighest: true,
      staysPut: () => c.leader?.id === asked.to && c.leader.member.term > asked.term,
    },
  })
  await served(c)
  assert.ok(await c.until(() => c.leader?.id === 13), 'the highest leads by itself')
  const leader = c.leader!
  Object.assign(asked, { term: leader.member.term, to: 11 })
  const moved = leader.member.transfer(11, leader.now)
  await c.run(1000)
  assert.equal(await moved, '')
  await c.run(15_000)
  assert.equal(c.leader!.id, 11)
  // The same again changes nothing of the members, but it is a change of members.
  const steps = [{ type: 'add-voter' as const, id: 12 }]
  const changed = c.leader!.member.proposeConfChange({ steps, transition: 'auto', context: new Uint8Array() })
  assert.ok(await c.until(() => c.leader?.id === 13))
  assert.equal(await changed, 'committed')
})

test('TimeoutNow is lost: it is asked again', async () => {
  const c = await Cluster.of(THREE)
  await served(c)
  let lost = 0
  c.onFrame = (f) => {
    const asks = f.kind === RAFT && f.body[0] === 8 && f.body[1] === 14
    if (asks && lost < 2) lost++
    return !asks || lost >= 2
  }
  const moved = c.leader!.member.transfer(12, c.leader!.now)
  await c.run(1000)
  assert.equal(await moved, '')
  assert.equal(lost, 2)
  assert.equal(c.leader!.id, 12)
})

test('who was asked to take over dies: the lease of the term is gone, so another one takes over', async () => {
  const c = await Cluster.of(THREE)
  await served(c)
  const old = c.leader!
  c.onFrame = (f) => {
    if (f.kind === RAFT && f.body[1] === 14 && f.to === 12) {
      c.kill(12)
      return false
    }
    return true
  }
  const moved = old.member.transfer(12, old.now)
  await c.run(20)
  assert.equal(c.leader, null)
  await led(c)
  assert.match(await moved, /did not take over/)
  assert.equal(c.leader!.id, 11)
  await traffic(c, 3)
  await c.run(500)
  c.agree()
})

test('a leader whose disk fails hands over at once, and its clients hear what became of their changes', async () => {
  const c = await Cluster.of(THREE)
  await served(c)
  await traffic(c, 5)
  const old = c.leader!
  old.disk.fault = 'full'
  const there = c.ask(old.id)
  const failedMs = c.nowMs
  await c.until(() => c.leader !== null && c.leader !== old, 10_000)
  assert.ok(c.nowMs - failedMs < 500, `${c.nowMs - failedMs}`)
  const refused = c.ask(old.id)
  const here = c.ask(c.leader!.id)
  await c.run(300)
  assert.ok(['unknown', 'refused'].includes(c.asked.get(there)!.outcome!), 'the one under way')
  assert.equal(c.asked.get(refused)!.outcome, 'refused')
  assert.equal(c.asked.get(here)!.outcome, 'applied')
  assert.ok(old.member.events.after(0).some((e) => e.kind === 'disk failed'))
  old.disk.fault = 'none'
  await c.run(1000)
  const again = c.ask(old.id)
  await c.run(200)
  assert.equal(c.asked.get(again)!.outcome, 'applied')
  c.agree()
})

test('a majority cannot store: changes are refused everywhere with a word, reads go on, and it heals', async () => {
  const c = await Cluster.of(THREE)
  await served(c)
  await traffic(c, 3)
  for (const id of [11, 12]) c.lives.get(id)!.disk.fault = 'full'
  for (const id of THREE) c.ask(id)
  await c.run(1000)
  const asked = THREE.map((id) => c.ask(id))
  await c.run(1000)
  assert.deepEqual(
    asked.map((v) => c.asked.get(v)!.outcome),
    ['refused', 'refused', 'refused'],
  )
  assert.ok(c.leader !== null, 'the leader holds on')
  assert.ok(c.leader.member.refusing)
  await c.run(10_000)
  assert.ok(c.leader !== null, 'and goes on holding on')
  for (const id of [11, 12]) c.lives.get(id)!.disk.fault = 'none'
  await c.run(3000)
  const again = THREE.map((id) => c.ask(id))
  await c.run(300)
  assert.deepEqual(
    again.map((v) => c.asked.get(v)!.outcome),
    ['applied', 'applied', 'applied'],
  )
  c.agree()
})

test('refusals lost and repeated: a refused change is never applied', async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const c = await Cluster.of(THREE, { seed, twice: 0.3, delayMs: 20 })
    await served(c)
    // The leader and one more cannot be reached by notices for a while.
    let drop = true
    c.onFrame = (f) => f.kind !== NOTICE || !drop
    const failing = THREE.filter((id) => id !== c.leader!.id)[0]!
    c.lives.get(failing)!.disk.fault = 'fails'
    c.lives.get(c.leader!.id)!.member.leading.setRefusing(true)
    for (let i = 0; i < 20; i++) {
      for (const id of THREE) c.ask(id)
      await c.run(100)
      if (i === 10) drop = false
    }
    c.lives.get(failing)!.disk.fault = 'none'
    await c.run(5000)
    for (const id of THREE) c.ask(id)
    await c.run(6000)
    assert.equal(c.outcomes().waiting, undefined, JSON.stringify(c.outcomes()))
    c.agree()
  }
})

test('relaxed: answered before the commit, and told once', async () => {
  const c = await Cluster.of(THREE)
  await served(c)
  for (const l of c.living) l.clients.relaxed = true
  c.part([13], [11, 12])
  const value = c.ask(13)
  await c.run(10)
  assert.equal(c.asked.get(value)!.outcome, 'applied')
  c.part([13], [11, 12], false)
  await c.run(500)
  c.agree()
})

test('a newcomer gets a snapshot, learns, is promoted, and an old voter is removed', async () => {
  const c = await Cluster.of(THREE)
  await served(c)
  await traffic(c, 20)
  const learner = await c.newcomer(20)
  const leader = c.leader!
  const context = new Uint8Array()
  const change = (steps: { type: 'add-voter' | 'add-learner' | 'remove'; id: number }[]) =>
    leader.member.proposeConfChange({ steps, transition: 'auto', context })
  const added = change([{ type: 'add-learner', id: 20 }])
  await c.run(200)
  assert.equal(await added, 'committed')
  await c.until(() => learner.member.mayAnswer(learner.now), 5000)
  const value = c.ask(20)
  await c.run(100)
  assert.equal(c.asked.get(value)!.outcome, 'applied', 'a learner forwards and answers')
  assert.ok(learner.member.events.after(0).some((e) => e.kind === 'snapshot installed'))
  const swapped = change([
    { type: 'add-voter', id: 20 },
    { type: 'remove', id: 11 },
  ])
  await c.run(500)
  assert.equal(await swapped, 'committed')
  assert.deepEqual([...leader.member.replica.confState.voters].sort(), [12, 13, 20])
  await c.run(3000)
  c.kill(11)
  await traffic(c, 5)
  await c.run(500)
  assert.equal(c.outcomes().waiting, undefined)
  c.agree()
})

test('a laggard beyond the log gets a snapshot, and hears that its own batches are in it', async () => {
  const c = await Cluster.of(THREE, { options: { snapshotLogBytes: 4000 } })
  await served(c)
  const value = c.ask(11)
  await c.run(3.2)
  c.part([11], [12, 13])
  for (let i = 0; i < 60; i++) {
    for (const id of [12, 13]) for (let k = 0; k < 10; k++) c.ask(id)
    await c.run(20)
  }
  c.part([11], [12, 13], false)
  await c.run(6000)
  const life = c.lives.get(11)!
  assert.ok(life.member.events.after(0).some((e) => e.kind === 'snapshot installed'))
  assert.equal(c.asked.get(value)!.outcome, 'applied')
  assert.ok(life.member.mayAnswer(life.now))
  c.agree()
})
