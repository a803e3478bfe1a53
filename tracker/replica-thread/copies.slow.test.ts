// Copies of a data folder against a running cluster: an older one in place of the member's own, and one that
// is started beside the original. Both are turned away for good, with a sentence, and nobody else notices.

import assert from 'node:assert/strict'
import { cp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { COPY } from '@skep/cli/exit-codes.ts'
import { seeders } from './front-end.case.ts'
import { applied, type Group, type One, withGroup } from './group.case.ts'
import { ReplicaFailed } from './handle.ts'

const TIMES = { keepaliveMs: 1000 }
/** They wait for refusals: one that does not come is a failure, not a wait for ever. */
const TIMEOUT = { timeout: 120_000 }
const all = [0, 1, 2]

const startAll = async (group: Group): Promise<One[]> => {
  const some = await Promise.all(all.map((i) => group.start(i, 3, TIMES)))
  await Promise.all(some.map((one) => one.handle.serving))
  return some
}

const leaderOf = async (some: readonly One[]): Promise<One> => {
  for (;;) {
    const statuses = await Promise.all(some.map((one) => one.handle.status()))
    const found = some[statuses.findIndex((s) => s.role === 'leader' && s.serving)]
    if (found !== undefined) return found
  }
}

/** Resolves once `one` takes the present start of `other` for the one that counts. */
const remembers = async (one: One, other: One): Promise<void> => {
  const { id, incarnation } = await other.handle.status()
  for (;;) {
    const { members } = await one.handle.status()
    if (members.some((m) => m.id === id && m.start === incarnation)) return
  }
}

/** It ends by itself, with the sentence and the exit code; starting it again ends at once. */
const turnedAway = async (start: () => Promise<One>, sentence: RegExp): Promise<void> => {
  const why = await start().then(
    (one) => one.handle.failed,
    (error: unknown) => error,
  )
  assert.ok(why instanceof ReplicaFailed, String(why))
  assert.match(why.message, sentence)
  assert.match(why.message, /delete the folder and start it with --join/)
  assert.deepEqual([why.kind, why.exitCode], ['copy', COPY])
  await assert.rejects(start(), (error: ReplicaFailed) => error.message === why.message)
}

const indexOf = (one: One): number => Number(one.name.slice(1))

for (const moved of [false, true])
  test(
    `a member whose folder was set back is not let in ${moved ? 'by another leader' : 'by its leader'}, and joins are kept`,
    TIMEOUT,
    () =>
      withGroup(3, async (group, dir) => {
        const some = await startAll(group)
        await Promise.all(some.map((one, i) => applied(one, 7, i * 20, 20)))
        const leader = await leaderOf(some)
        const victim = some.find((one) => one !== leader)!
        const others = some.filter((one) => one !== victim)
        const i = indexOf(victim)
        const folder = join(dir, victim.name)
        await victim.handle.stop({ purge: false })
        await cp(folder, join(dir, 'older'), { recursive: true, preserveTimestamps: true })
        const again = await group.start(i, 3, TIMES)
        await again.handle.serving
        for (let round = 0; round < 5; round++)
          await Promise.all([again, ...others].map((one, n) => applied(one, 8, (round * 3 + n) * 20, 20)))
        await again.handle.stop({ purge: false })
        const other = others.find((one) => one !== leader)!
        if (moved) {
          const reply = await leader.handle.members({ kind: 'transfer', to: other.name })
          assert.ok(reply.ok, reply.sentence)
        }
        await rm(folder, { recursive: true })
        await cp(join(dir, 'older'), folder, { recursive: true, preserveTimestamps: true })
        await turnedAway(() => group.start(i, 3, TIMES), /an older copy of its data folder/)
        await Promise.all(others.map((one, n) => applied(one, 9, n * 20, 20)))
        for (const one of others) assert.equal(seeders(one.handle, 8), 300)
        const told = await Promise.all(others.map(async (one) => (await one.handle.status()).refusedLife))
        assert.ok(told.some((sentence) => /"r\d" \(member \d+\) runs from an older copy/.test(sentence)))
        await Promise.all(others.map((one) => one.handle.stop({ purge: false })))
      }),
  )

test('all start anew at once, one of them from an older folder: the others still know', TIMEOUT, () =>
  withGroup(3, async (group, dir) => {
    const some = await startAll(group)
    await Promise.all(some.map((one, i) => applied(one, 7, i * 20, 20)))
    await some[2]!.handle.stop({ purge: false })
    await cp(join(dir, 'r2'), join(dir, 'older'), { recursive: true, preserveTimestamps: true })
    const again = await group.start(2, 3, TIMES)
    await again.handle.serving
    const now = [some[0]!, some[1]!, again]
    await Promise.all([some[0]!, some[1]!].map((one) => remembers(one, again)))
    await Promise.all(now.map((one, i) => applied(one, 8, i * 20, 20)))
    await Promise.all(now.map((one) => one.handle.stop({ purge: false })))
    await rm(join(dir, 'r2'), { recursive: true })
    await cp(join(dir, 'older'), join(dir, 'r2'), { recursive: true, preserveTimestamps: true })
    const [others] = await Promise.all([
      Promise.all([0, 1].map((i) => group.start(i, 3, TIMES))),
      turnedAway(() => group.start(2, 3, TIMES), /an older copy of its data folder/),
    ])
    await Promise.all(others.map((one) => one.handle.serving))
    for (const one of others) assert.equal(seeders(one.handle, 8), 60)
    await Promise.all(others.map((one) => one.handle.stop({ purge: false })))
  }),
)

for (const who of ['follower', 'leader'] as const)
  test(
    `a copy that is started beside a running ${who} is turned away, and the original goes on answering`,
    TIMEOUT,
    () =>
      withGroup(4, async (group, dir) => {
        const some = await startAll(group)
        await Promise.all(some.map((one, i) => applied(one, 7, i * 20, 20)))
        const leader = await leaderOf(some)
        const original = who === 'leader' ? leader : some.find((one) => one !== leader)!
        const i = indexOf(original)
        const copy = join(dir, 'copy')
        await cp(join(dir, original.name), copy, { recursive: true, preserveTimestamps: true })
        const place = { ...TIMES, address: `127.0.0.1:${group.ports[3]}`, replicaPort: group.ports[3]! }
        await turnedAway(() => group.start(i, 3, place, copy), /twice|an older copy/)
        await Promise.all(some.map((one, n) => applied(one, 8, n * 20, 20)))
        for (const one of some) assert.equal(seeders(one.handle, 7), 60)
        assert.ok((await original.handle.status()).serving)
        await Promise.all(some.map((one) => one.handle.stop({ purge: false })))
      }),
  )
