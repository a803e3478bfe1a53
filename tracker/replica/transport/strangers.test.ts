// Who stays before a door: a newcomer always, a crowd never, known addresses in places of their own.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KnownNetworks, networkOf, Strangers } from './strangers.ts'

const LIMITS = { most: 4, mostOfNetwork: 3, forMs: 60_000 }

function door(known: readonly string[] = []) {
  const away: string[] = []
  const networks = new KnownNetworks(2)
  for (const address of known) networks.proved(address)
  const strangers = new Strangers<string>(
    LIMITS,
    (who) => away.push(who),
    (network) => networks.has(network),
  )
  return { away, strangers, come: (who: string, address: string) => strangers.came(who, address) }
}

test('one address has so many places, and its own oldest goes', () => {
  const { away, come, strangers } = door()
  come('other', '10.0.0.2')
  for (const n of [1, 2, 3, 4, 5]) come(`a${n}`, '10.0.0.1')
  assert.deepEqual(away, ['a1', 'a2'])
  strangers.left('a3')
  come('a6', '10.0.0.1')
  assert.deepEqual(away, ['a1', 'a2'])
})

test('when it is full, whoever holds most places makes room', () => {
  const { away, come } = door()
  come('a1', '10.0.0.1')
  for (const n of [1, 2, 3]) come(`b${n}`, '10.0.0.2')
  come('c1', '10.0.0.3')
  come('d1', '10.0.0.4')
  come('e1', '10.0.0.5')
  assert.deepEqual(away, ['b1', 'b2', 'a1'])
})

test('no crowd of others takes the places of those who are known', () => {
  const { away, come } = door(['10.0.0.9'])
  come('member', '::ffff:10.0.0.9')
  for (let n = 0; n < 100; n++) come(`s${n}`, `10.1.0.${n}`)
  assert.equal(away.length, 96)
  assert.ok(!away.includes('member'))
})

test('who takes too long has to go', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const gone: string[] = []
  const strangers = new Strangers<string>(
    { ...LIMITS, forMs: 5 },
    (who, why) => void gone.push(`${who} ${why}`),
    () => false,
  )
  strangers.came('slow', '10.0.0.1')
  t.mock.timers.tick(4)
  assert.deepEqual(gone, [])
  t.mock.timers.tick(1)
  assert.deepEqual(gone, ['slow late'])
  assert.equal(strangers.count, 0)
})

test('what counts as one address', () => {
  assert.equal(networkOf('::ffff:10.0.0.1'), '10.0.0.1')
  assert.equal(networkOf('2001:db8:0:7:1::9'), networkOf('2001:DB8::7:ffff:0:0:1'))
  assert.notEqual(networkOf('2001:db8:0:7::1'), networkOf('2001:db8:0:8::1'))
  assert.equal(networkOf('fe80::1%eth0'), 'fe80:0:0:0::/64')
  assert.equal(networkOf('::1'), '0:0:0:0::/64')
})

test('of known addresses the longest unseen is forgotten first', () => {
  const known = new KnownNetworks(2)
  for (const address of ['10.0.0.1', '10.0.0.2', '10.0.0.1', '10.0.0.3']) known.proved(address)
  assert.deepEqual(
    ['10.0.0.1', '10.0.0.2', '10.0.0.3'].map((address) => known.has(address)),
    [true, false, true],
  )
})
