// The client of the control API against a real replica: tokens, what its status becomes, and what its errors
// mean.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { hkdfSync } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { networkKeyName } from '@skep/wire/network-key.ts'
import { liveLists } from './lists.ts'
import { controlClients, liveMembers, rateOf } from './members.ts'
import type { MemberAddress } from './model/ports.ts'

const SKEP = resolve(import.meta.dirname, '../skep.ts')
const OLD = 'o'.repeat(40)
const NEW = 'n'.repeat(40)
/** The port is the same everywhere, so the address is one that nobody else takes. */
const IP = '127.83.75.69'

test('a rate is taken over seconds, and begins anew where the counter does', () => {
  const first = rateOf(undefined, 1000, 0)
  assert.equal(first.perSecond, 0)
  assert.equal(rateOf(first, 9000, 4999), first)
  const second = rateOf(first, 51_000, 10_000)
  assert.equal(second.perSecond, 5000)
  assert.equal(rateOf(second, 51_000, 20_000).perSecond, 0)
  assert.deepEqual(rateOf(second, 7, 20_000), { count: 7, atMs: 20_000, perSecond: 0 })
})

test('a replica is asked and told over its control API', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'skep-members-'))
  const keyFile = join(folder, 'key')
  writeFileSync(keyFile, `${OLD}\n`)
  const ports = [
    '--udp-port',
    '0',
    '--http-port',
    '0',
    '--replica-port',
    '0',
    '--host',
    IP,
    '--memory',
    '16MiB',
  ]
  const replica = spawn(
    process.execPath,
    [SKEP, 'tracker', '--control-host', IP, '--data-dir', folder, '--network-key-file', keyFile, ...ports],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  t.after(async () => {
    replica.kill('SIGKILL')
    await once(replica, 'close')
    rmSync(folder, { recursive: true })
  })
  for await (const line of createInterface({ input: replica.stdout })) if (line.includes('answering')) break
  let keys: readonly string[] = [OLD]
  const clients = controlClients(() => keys)
  const members = liveMembers(clients)
  const at: MemberAddress = { pod: 'r0', podUid: 'u', ip: IP, namespace: 'ns', cluster: 'c' }

  const report = await members.status(at)
  assert.match(report.clusterID, /^[0-9a-f]{32}$/)
  assert.equal(report.birthAwaits, '')
  assert.equal(report.leads, true)
  assert.deepEqual(report.networkKeys, [networkKeyName(OLD, hkdfSync)])
  assert.deepEqual(
    report.members.map((m) => [m.id, m.name, m.voter, m.heardMsAgo, m.replaces]),
    [[report.memberID, 'r0', true, 0, '0']],
  )
  assert.equal(report.tableShare, 0)

  // A key that the replica does not know yet is followed by the one that it does.
  keys = [NEW, OLD]
  assert.equal((await members.status(at)).clusterID, report.clusterID)
  keys = [NEW]
  await assert.rejects(members.status(at), /wrong token/)
  assert.equal((await members.promote(at, ['1'])).kind, 'refused')
  keys = []
  await assert.rejects(members.status(at), /network key is not there/)
  keys = [OLD]

  const answer = await members.remove(at, '12345')
  assert.equal(answer.kind, 'refused')
  assert.match(answer.sentence, /12345/)
  assert.equal(await members.status({ ...at, podUid: 'v', ip: '127.83.75.70' }).catch(() => null), null)
  assert.equal((await members.promote({ ...at, podUid: 'v', ip: '127.83.75.70' }, ['1'])).kind, 'later')

  const lists = liveLists(clients)
  const [a, b] = ['a'.repeat(40), 'b'.repeat(40)]
  const { revision } = await lists.read(at, 'Deny')
  const next = await lists.replace(at, 'Deny', [a, b], revision)
  assert.deepEqual(await lists.read(at, 'Deny'), { active: true, revision: next, hashes: [a, b] })
  await assert.rejects(lists.replace(at, 'Deny', [a], revision), /revision/)
  await lists.off(at, 'Deny')
  assert.equal((await lists.read(at, 'Deny')).active, false)
  await lists.setAllowPrivate(at, 'off')
  assert.equal(await lists.allowPrivate(at), 'off')
})
