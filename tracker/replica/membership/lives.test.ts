// Which life of a member counts: what contradicts the memory of it, whose word is final, and what is kept.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeHello, encodeHello, type Life } from '../transport/frame-body.ts'
import { type Facts, forgotten, type Known, knownOf, LifeRefused, Lives } from './lives.ts'

const life = (nonce: string, incarnation: number, began: number, lastIndex = 10): Life => ({
  ...{ nonce, incarnation, began, lastIndex },
})
const facts = (change: Partial<Facts> = {}): Facts => ({
  ...{ name: 'r2', leads: true, leader: false, match: 0, other: null },
  ...change,
})
const SELF = 1
const judge = (stored: Uint8Array | null = null): Lives => new Lives(SELF, life('self', 1, 0), stored)
/** It has met start 4 of member 2, which has called 50 batches synced. */
const knows = (): Lives => {
  const lives = judge()
  assert.equal(lives.judge(2, life('a', 4, 40), facts()), null)
  lives.told([{ id: 2, nonce: 'a', incarnation: 4, batch: 50 }], null)
  return lives
}

const CASES: readonly (readonly [string, Life | null, Partial<Facts>, string])[] = [
  ['the same life dials again', life('a', 4, 40), {}, 'in'],
  ['the same life, which has acknowledged more than it began with', life('a', 4, 40), { match: 90 }, 'in'],
  ['the next start, with all that was synced', life('b', 5, 50), {}, 'in'],
  ['a later start: those between met others', life('b', 9, 77), {}, 'in'],
  ['an older version, which says nothing', null, { match: 90 }, 'in'],
  ['a copy of the same life, a batch short', life('b', 5, 49), {}, 'older life, final'],
  ['a copy from starts ago that went on by itself', life('b', 3, 60), {}, 'older life, final'],
  ['another start 4: two folders', life('b', 4, 60), {}, 'older life, final'],
  [
    'a log that ends before what it has acknowledged',
    life('b', 5, 50, 10),
    { match: 11 },
    'older life, final',
  ],
  ['and one that does not', life('b', 5, 50, 11), { match: 11 }, 'in'],
  ['a copy, as a follower sees it', life('b', 5, 49), { leads: false }, 'older life'],
  [
    'a copy of the leader, which is here',
    life('b', 5, 49),
    { leads: false, leader: true, other: { alive: false } },
    'older life, final',
  ],
  ['beside one that may have gone', life('b', 5, 50), { other: { alive: false } }, 'held'],
  ['beside one that answers', life('b', 5, 50), { other: { alive: true } }, 'doubled, final'],
  [
    'beside one that answers a follower',
    life('b', 5, 50),
    { leads: false, other: { alive: true } },
    'doubled',
  ],
  [
    'beside the leader itself',
    life('b', 5, 50),
    { leads: false, leader: true, other: { alive: true } },
    'doubled, final',
  ],
]

for (const [what, dials, change, expected] of CASES)
  test(`${what}: ${expected}`, () => {
    const refusal = knows().judge(2, dials, facts(change))
    const said = refusal === null ? 'in' : `${refusal.code}${refusal.final === true ? ', final' : ''}`
    assert.equal(said, expected)
    if (refusal !== null && refusal.code !== 'held')
      assert.match(refusal.sentence, /^"r2" \(member 2\) runs .*neither votes nor answers.*--join/)
  })

test('a follower lets a new start in for the time being; the leader says which one counts', () => {
  const lives = knows()
  const follows = facts({ leads: false })
  assert.equal(lives.judge(2, life('b', 5, 50), follows), null)
  assert.equal(lives.of(2)!.nonce, 'a')
  // The one that it remembers comes back, and is not refused for that.
  assert.equal(lives.judge(2, life('a', 4, 40), follows), null)
  // Nobody but the leader makes another one count.
  const word: Known = { id: 2, nonce: 'b', incarnation: 5, batch: 60 }
  assert.deepEqual(lives.told([word], null), [])
  assert.equal(lives.of(2)!.nonce, 'a')
  assert.deepEqual(lives.told([word], { id: 1, term: 3 }), [2])
  assert.deepEqual(lives.of(2), word)
  assert.equal(lives.judge(2, life('a', 4, 40), follows)!.code, 'older life')
})

test('whoever comes to lead takes those for good whom it has let in before', () => {
  const lives = knows()
  lives.judge(2, life('b', 5, 50), facts({ leads: false }))
  lives.leads(true, () => true)
  assert.deepEqual(lives.of(2), { id: 2, nonce: 'b', incarnation: 5, batch: 50 })
  assert.equal(lives.unsaved, 'now')
})

test('a copy that has gone does not count with the next leader, who had let it in before the last one spoke', () => {
  const lives = knows()
  lives.judge(2, life('copy', 5, 50), facts({ leads: false }))
  lives.leads(true, (id, nonce) => id === 2 && nonce !== 'copy')
  assert.equal(lives.of(2)!.nonce, 'a')
  assert.equal(lives.judge(2, life('a', 4, 40), facts()), null, 'the original goes on')
})

test('a copy of the leader has no say in its name: a start leads to its end, or to that of its term', () => {
  const lives = knows()
  const word = (nonce: string): Known => ({ id: 2, nonce, incarnation: nonce === 'a' ? 4 : 5, batch: 60 })
  lives.told([word('a')], { id: 2, term: 3 })
  assert.deepEqual(lives.told([word('copy')], { id: 2, term: 3 }), [])
  assert.equal(lives.of(2)!.nonce, 'a')
  // It was started anew, and elected.
  lives.told([word('b')], { id: 2, term: 4 })
  assert.equal(lives.of(2)!.nonce, 'b')
})

test('what is known outlives a restart of those who know; a spoilt memory is none', () => {
  const stored = knows().encode()
  assert.equal(judge(stored).judge(2, life('b', 5, 49), facts())!.code, 'older life')
  for (let at = 0; at < stored.length; at++) {
    const spoilt = Uint8Array.from(stored)
    spoilt[at]! ^= 1
    assert.equal(judge(spoilt).of(2), null)
  }
  assert.equal(judge(new Uint8Array()).of(2), null)
})

test('a folder that was refused for good says so by itself at the next start', () => {
  const lives = judge()
  lives.condemn('because')
  assert.throws(() => judge(lives.encode()), new LifeRefused('because'))
})

test('a heartbeat of a commit beyond the end of the log is no panic but a sentence', () => {
  // raftpb.Message: type 8, term 3, commit 9.
  const heartbeat = Uint8Array.of(0x08, 8, 0x10, 1, 0x18, 2, 0x20, 3, 0x40, 9)
  assert.equal(forgotten(heartbeat, { term: 3, lastIndex: 9 }), '')
  assert.equal(forgotten(heartbeat, { term: 4, lastIndex: 8 }), '')
  assert.match(forgotten(heartbeat, { term: 3, lastIndex: 8 }), /ends at entry 8, .*acknowledged entry 9/)
})

test('greetings with and without a life are read by either version', () => {
  const old = { clusterId: 'c', from: 2, to: 1, name: 'r2', channel: 0, level: 1, incarnation: 3, dial: 4 }
  assert.deepEqual(decodeHello(encodeHello(old)), old)
  const told = { ...old, life: life('ab', 3, 7) }
  assert.deepEqual(decodeHello(encodeHello(told)), told)
  // Version 0.1.0 takes every object with its own fields in it.
  assert.deepEqual(JSON.parse(new TextDecoder().decode(encodeHello(told))), told)
  const odd = { ...old, life: { nonce: 7 } as unknown as Life }
  assert.deepEqual(decodeHello(encodeHello(odd)), old)
})

test('a folder that only ever goes on is never refused, however often it starts and whoever leads', () => {
  const step = fc.record({
    writes: fc.nat(20),
    restarts: fc.boolean(),
    leads: fc.boolean(),
    heard: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const lives = judge()
      let [batch, incarnation, nonce] = [0, 0, '']
      let began = 0
      for (const { writes, restarts, leads, heard } of [
        { writes: 1, restarts: true, leads: true, heard: false },
        ...steps,
      ]) {
        if (restarts) {
          began = batch
          nonce = `n${++incarnation}`
          batch += 2
          lives.leads(leads, () => true)
        }
        assert.equal(lives.judge(2, life(nonce, incarnation, began, batch), facts({ leads })), null)
        batch += writes
        if (heard) lives.told([{ id: 2, nonce, incarnation, batch }], null)
      }
    }),
  )
})

test('words that are none are not heard', () => {
  const good = { id: 2, nonce: 'a', incarnation: 1, batch: 3 }
  assert.deepEqual(knownOf([good, null, 7, { ...good, batch: -1 }, { ...good, nonce: 5 }]), [good])
  assert.deepEqual(knownOf('x'), [])
})
