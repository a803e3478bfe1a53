// Three replicas together: birth, leadership, cuts, drains, removal.

import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { checkExport } from '../replica/transfer/export.ts'
import { settingsEntry } from '../swarm/entry.ts'
import { readSettings } from '../swarm/settings.ts'
import { Store } from '../swarm/store.ts'
import { APPLIED } from '../threads/outcome.ts'
import { monotonicMs } from '../threads/state.ts'
import { seeders } from './front-end.case.ts'
import { applied, type One, withGroup } from './group.case.ts'

test('three replicas form a cluster, answer each its own clients, and move leadership on request', () =>
  withGroup(4, async (group, dir) => {
    const all = await Promise.all([0, 1, 2].map((i) => group.start(i, 3)))
    await Promise.all(all.map((one) => one.handle.serving))
    for (let round = 0; round < 10; round++)
      await Promise.all(all.map((one, i) => applied(one, 7, (i * 10 + round) * 20, 20)))
    const statuses = await Promise.all(all.map((one) => one.handle.status()))
    assert.equal(new Set(statuses.map((s) => s.clusterId)).size, 1)
    const leader = all[statuses.findIndex((s) => s.role === 'leader')]!
    assert.equal(seeders(leader.handle, 7), 600)
    const followers = all.filter((one) => one !== leader)
    assert.equal(await leader.handle.propose(settingsEntry({ numwantDefault: 33 })), 'committed')

    const reply = await leader.handle.members({ kind: 'transfer', to: followers[0]!.name })
    assert.ok(reply.ok, reply.sentence)
    await Promise.all(all.map((one, i) => applied(one, 8, i * 20, 20)))
    assert.equal((await followers[0]!.handle.status()).role, 'leader')
    const no = await leader.handle.members({ kind: 'transfer', to: leader.name })
    assert.match(no.sentence, /does not lead: ask/)
    const events = await followers[0]!.handle.events(0)
    assert.ok(events.some((e) => e.kind === 'elected'))

    // A fourth one joins, learns and is in time.
    const late = await group.start(3, 0, { join: [`127.0.0.1:${group.ports[0]}`], initialMembers: [] })
    await late.handle.serving
    await applied(late, 9, 0, 20)
    assert.equal(seeders(late.handle, 7), 600)
    assert.equal(readSettings(new Store(late.handle.store).control).numwantDefault, 33)
    // It leaves the group before it deletes what it has.
    await late.handle.stop({ purge: true })
    assert.deepEqual(await readdir(join(dir, 'r3', 'replica')), [])
    assert.equal((await followers[0]!.handle.status()).members.length, 3)

    // The leader stops cleanly: the others go on without a pause.
    await followers[0]!.handle.stop({ purge: false })
    await Promise.all([leader, followers[1]!].map((one, i) => applied(one, 10, i * 20, 20)))
    await Promise.all([leader, followers[1]!].map((one) => one.handle.stop({ purge: false })))
  }))

test('the leader is cut off: its lease ends, the others go on, and what waited there is answered in the end', () =>
  withGroup(3, async (group) => {
    const quick = { keepaliveMs: 100 }
    const all = await Promise.all([0, 1, 2].map((i) => group.start(i, 3, quick)))
    await Promise.all(all.map((one) => one.handle.serving))
    await Promise.all(all.map((one, i) => applied(one, 7, i * 20, 20)))
    const statuses = await Promise.all(all.map((one) => one.handle.status()))
    const old = all[statuses.findIndex((s) => s.role === 'leader')]!
    const others = all.filter((one) => one !== old)
    const untilMs = monotonicMs() + 1200
    for (const m of statuses[0]!.members)
      if (m.name !== old.name) assert.ok(await old.handle.fault(m.id, { cut: 'both', untilMs }))
    const waits = old.front.join(8, 0, 5)
    // Answered through whoever leads next; the old leader may not even know.
    await Promise.all(others.map((one, i) => applied(one, 9, i * 20, 20)))
    const terms = await Promise.all(others.map(async (one) => (await one.handle.status()).term))
    assert.ok(terms[0]! > statuses[0]!.term)
    if (monotonicMs() < untilMs) assert.equal(old.front.control.mayAnswer(monotonicMs()), false)
    for (const [, , outcome] of await waits) assert.equal(outcome, APPLIED)
    for (const one of all) assert.equal(seeders(one.handle, 9), 40)
    await Promise.all(all.map((one) => one.handle.stop({ purge: false })))
  }))

test('a drained leader hands over and answers on; members tell of themselves; a table leaves as a file; one is removed', () =>
  withGroup(3, async (group) => {
    const all = await Promise.all(
      [0, 1, 2].map((i) => group.start(i, 3, { preferHighest: true, keepaliveMs: 100 })),
    )
    await Promise.all(all.map((one) => one.handle.serving))
    await Promise.all(all.map((one, i) => applied(one, 7, i * 20, 20)))
    const leading = async (): Promise<One> => {
      for (;;) {
        const statuses = await Promise.all(all.map((one) => one.handle.status()))
        const found = all[statuses.findIndex((s) => s.role === 'leader')]
        if (found !== undefined) return found
      }
    }
    const first = await leading()
    assert.match(await first.handle.drain(true), /^r\d leads$/)
    const next = await leading()
    assert.notEqual(next, first)
    await applied(first, 8, 0, 20)
    // It may be asked to drain again, and the others know of it.
    assert.match(await first.handle.drain(true), new RegExp(`^${next.name} leads$`))
    const seen = async () => (await next.handle.status()).members
    for (let m = await seen(); ; m = await seen())
      if (m.every((one) => one.version !== '' && one.draining === (one.name === first.name))) {
        for (const { name, version, controlAddress, applied: index, diskBytes } of m) {
          assert.deepEqual([version, controlAddress], [`1.2.${name[1]}`, `127.0.0.1:${name[1]}`])
          assert.ok(index !== null && index > 0 && diskBytes !== null && diskBytes > 0)
        }
        break
      }
    assert.match(await first.handle.drain(false), /takes part/)

    const { totalBytes, pieces } = await next.handle.save()
    let bytes = 0
    const counted = async function* () {
      for await (const piece of pieces) {
        bytes += piece.length
        yield piece
      }
    }
    const header = await checkExport(counted())
    assert.equal(header.clusterId, (await next.handle.status()).clusterId)
    assert.ok(totalBytes > 0 && bytes > totalBytes * 0.9)

    const leader = await leading()
    const gone = all.find((one) => one !== leader)!
    const other = await leader.handle.members({ kind: 'remove', who: gone.name })
    assert.ok(other.ok, other.sentence)
    // Asked twice, as by somebody who did not hear the answer.
    const twice = async (): Promise<void> => {
      const now = await (await leading()).handle.members({ kind: 'remove', who: gone.name })
      if (!now.ok && now.again) return await twice()
      assert.match(now.sentence, /was removed already/)
    }
    await twice()
    while (gone.handle.removed() === '') await gone.handle.status()
    assert.match(gone.handle.removed(), /removed from its cluster/)
    await Promise.all(all.map((one) => one.handle.stop({ purge: false })))
  }))
