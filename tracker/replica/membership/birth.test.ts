// What an empty replica may do, case by case, and who a full one is.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  type Answer,
  birthStep,
  decodeIdentity,
  encodeIdentity,
  type Identity,
  memberIdOf,
  takePledge,
} from './birth.ts'

const identity: Identity = {
  version: 1,
  clusterId: 'c1',
  memberId: 5,
  name: 'r0',
  initialMembers: [{ name: 'r0', id: 5 }],
  birth: { any: 'thing' },
}
const EMPTY: Answer = { kind: 'empty' }
const SILENT: Answer = { kind: 'silent' }
const of = (clusterId: string): Answer => ({ kind: 'member', clusterId })

const step = (
  name: string,
  answers: Record<string, Answer>,
  initialMembers = ['r0', 'r1', 'r2'],
  more: { identity?: Identity; joinOnly?: boolean } = {},
): string => {
  const s = birthStep({
    identity: more.identity ?? null,
    name,
    initialMembers,
    joinOnly: more.joinOnly ?? false,
    level: 2,
    answers: new Map(Object.entries(answers)),
  })
  if (s.kind === 'create') return `create ${s.members.join(' ')}`
  if (s.kind === 'join') return `join ${s.clusterId} through ${s.through}`
  return 'reason' in s ? `${s.kind}: ${s.reason}` : `${s.kind} ${s.identity.clusterId}`
}

test('alone and empty: a new cluster', () => {
  assert.equal(step('r0', {}, []), 'create r0')
  assert.equal(step('r0', {}, ['r0']), 'create r0')
})

test('a full directory resumes under its own name only', () => {
  assert.equal(step('r0', {}, [], { identity }), 'resume c1')
  assert.match(step('r1', {}, [], { identity }), /^refuse: .*belongs to "r0"/)
})

test('the lowest name creates, once all are there and empty', () => {
  assert.equal(step('r0', { r1: EMPTY, r2: EMPTY }), 'create r0 r1 r2')
  assert.match(step('r1', { r0: EMPTY, r2: EMPTY }), /^wait: "r0" will create/)
  assert.match(step('r0', { r1: EMPTY, r2: SILENT }), /^wait: .*no answer from r2/)
  assert.match(step('r0', {}), /^wait: .*r1, r2/)
})

test('where a cluster exists it is joined, even by the lowest name with a lost disk', () => {
  assert.equal(step('r0', { r1: of('c1'), r2: SILENT }), 'join c1 through r1')
  assert.equal(step('r9', { r1: of('c1') }, [], { joinOnly: true }), 'join c1 through r1')
  assert.match(step('r9', { r1: EMPTY }, [], { joinOnly: true }), /^wait/)
})

test('two clusters, or a list without this replica: refused', () => {
  assert.match(step('r0', { r1: of('c1'), r2: of('c2') }), /^refuse: .*c1.*c2/)
  assert.match(step('r7', {}), /^refuse: .*"r7"/)
})

test('others that were started otherwise are named, with what to correct', () => {
  const r2: Answer = { kind: 'empty', name: 'r2', initialMembers: ['r1', 'r2'] }
  assert.match(
    step('r0', { r1: EMPTY, r2 }),
    /^wait: "r2" was started with other --initial-members \(r1, r2\)/,
  )
  assert.match(
    step('r0', { r1: EMPTY, r2: { kind: 'empty', name: 'r7' } }),
    /^wait: at the address of "r2" answers "r7"/,
  )
  assert.match(step('r0', { r1: { kind: 'wrong key' }, r2 }), /^wait: "r1": another network key/)
})

test('a cluster that is being formed: its record is handed out, and it starts when all have it', () => {
  const initialMembers = ['r0', 'r1', 'r2'].map((name, i) => ({ name, id: i + 5 }))
  const forming: Identity = { ...identity, initialMembers, phase: 'forming' }
  const has: Answer = { kind: 'forming', clusterId: 'c1' }
  const next = (name: string, answers: Record<string, Answer>): ReturnType<typeof birthStep> =>
    birthStep({
      identity: { ...forming, name },
      name,
      initialMembers: ['r0', 'r1', 'r2'],
      joinOnly: false,
      level: 2,
      answers: new Map(Object.entries(answers)),
    })
  const handed = next('r0', { r1: EMPTY, r2: SILENT })
  assert.ok(handed.kind === 'pledge')
  assert.deepEqual([handed.to, /no answer from r2$/.test(handed.reason)], [['r1'], true])
  assert.equal(next('r0', { r1: has, r2: has }).kind, 'start')
  assert.equal(next('r0', { r1: has, r2: { kind: 'forming', clusterId: 'older' } }).kind, 'pledge')
  assert.equal(next('r1', { r0: has, r2: has }).kind, 'wait')
  assert.equal(next('r1', { r0: of('c1'), r2: SILENT }).kind, 'start')
  assert.equal(next('r1', { r0: of('c9'), r2: has }).kind, 'refuse')
})

test('a record is taken by an empty initial member, again by the same, and by nobody else', () => {
  const initialMembers = ['r0', 'r1', 'r2'].map((name, i) => ({ name, id: i + 5 }))
  const record = { clusterId: 'c1', initialMembers, birth: {} }
  const take = (name: string, has: Identity | null, mine = ['r0', 'r1', 'r2'], joinOnly = false): string => {
    const taken = takePledge({ identity: has, name, initialMembers: mine, joinOnly }, record)
    return typeof taken === 'string' ? taken : `${taken.memberId} ${taken.phase}`
  }
  const mine = (clusterId: string, first: string, phase?: 'forming'): Identity => ({
    ...{ ...identity, name: 'r1', clusterId, initialMembers: [{ name: first, id: 1 }] },
    ...(phase === undefined ? {} : { phase }),
  })
  assert.equal(take('r1', null), '6 forming')
  assert.equal(take('r1', mine('older', 'r0', 'forming')), '6 forming')
  assert.match(take('r1', mine('older', 'a0', 'forming')), /another new cluster, made by "a0"/)
  assert.match(take('r1', mine('older', 'r0')), /belongs to cluster older already/)
  assert.match(take('r9', null), /"r9" is not among the members/)
  assert.match(take('r1', null, ['r1', 'r2']), /other --initial-members \(r1, r2\) than "r0"/)
  assert.match(take('r1', null, ['r0', 'r1', 'r2'], true), /--join: it forms no new cluster/)
})

test('no two replicas ever create, whatever each of them hears', () => {
  const answer = fc.constantFrom<Answer>(EMPTY, SILENT)
  const names = ['r0', 'r1', 'r2']
  fc.assert(
    fc.property(fc.array(answer, { minLength: 6, maxLength: 6 }), (heard) => {
      const creators = names.filter((name, i) => {
        const others = names.filter((n) => n !== name)
        const s = step(name, { [others[0]!]: heard[i * 2]!, [others[1]!]: heard[i * 2 + 1]! })
        return s.startsWith('create')
      })
      assert.ok(creators.length <= 1)
    }),
  )
})

test('identities survive the disk; member IDs are 52 bits and never 0', () => {
  assert.deepEqual(decodeIdentity(encodeIdentity(identity), 1), identity)
  assert.throws(() => decodeIdentity(Buffer.from('{"version":2}'), 1), /works at level 2.* up to 1: install/)
  fc.assert(
    fc.property(fc.integer(), fc.integer(), (high, low) => {
      const id = memberIdOf(high, low)
      assert.ok(Number.isSafeInteger(id) && id > 0 && id < 2 ** 52)
    }),
  )
  assert.equal(memberIdOf(0, 0), 1)
})
