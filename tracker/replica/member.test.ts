// Stories of a few members: who leads, whose changes get where, and what nobody may lose or answer.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Cluster } from './cluster.case.ts'

const THREE = [11, 12, 13]

test('three members elect the highest, and all of them answer their own clients', async () => {
  const c = await Cluster.of(THREE)
  assert.ok(await c.until(() => c.leader !== null, 2000))
  assert.equal(c.leader!.id, 13)
  for (let i = 0; i < 30; i++) {
    for (const id of THREE) c.ask(id)
    await c.run(5)
  }
  await c.run(1000)
  assert.deepEqual(c.outcomes(), { applied: 90 })
  c.agree()
})
