// Where members are said to be: the start that counts has the word, and only what differs from the directory.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Life } from '../transport/frame-body.ts'
import { directoryOf } from './directory.ts'
import { Lives } from './lives.ts'
import { type Whereabout, Whereabouts } from './whereabouts.ts'

const HERE = directoryOf([
  { id: 1, name: 'r0', address: '10.0.0.1:5560' },
  { id: 2, name: 'r1', address: '10.0.0.2:5560' },
])
const SELF = 2
const LEADER = 3

const life = (nonce: string, incarnation: number): Life => ({ nonce, incarnation, began: 0, lastIndex: 0 })
const said = (nonce: string, incarnation: number, address: string): Whereabout => ({
  ...{ id: 1, nonce, incarnation, address },
})
const standing = () => {
  const lives = new Lives(SELF, life('self', 1), null)
  const counts = (nonce: string, incarnation: number): void => {
    lives.told([{ id: 1, nonce, incarnation, batch: 0 }], { id: 3, term: 1 })
  }
  return { counts, w: new Whereabouts((s) => lives.standing(s)) }
}

test('a member that was started elsewhere is where its newest start says, until the directory agrees', () => {
  const { w, counts } = standing()
  counts('a', 4)
  w.hear(HERE, said('a', 4, '10.0.0.1:5560'))
  assert.deepEqual(w.moved(HERE, LEADER), [])
  const moved = said('b', 5, '10.0.0.1:5570')
  w.hear(HERE, moved)
  counts('b', 5)
  assert.deepEqual(w.moved(HERE, LEADER), [moved])
  // The first word of a start stays, and an earlier one has none any more.
  w.hear(HERE, said('b', 5, '10.0.0.9:1'))
  w.hear(HERE, said('a', 4, '10.0.0.9:1'))
  assert.deepEqual(w.moved(HERE, LEADER), [moved])
  const agreed = directoryOf([{ id: 1, name: 'r0', address: '10.0.0.1:5570' }])
  assert.deepEqual(w.moved(agreed, LEADER), [])
  w.hear(HERE, said('c', 6, '10.0.0.1:5560'))
  counts('c', 6)
  assert.deepEqual(w.moved(HERE, LEADER), [])
})

test('a copy that a follower lets in does not draw a member away from where it is', () => {
  const { w, counts } = standing()
  counts('a', 4)
  const own = said('a', 4, '10.0.0.1:5570')
  w.hear(HERE, own)
  for (let n = 5; n < 12; n++) w.hear(HERE, said(`copy ${n}`, n, `10.0.0.${n}:5560`))
  assert.deepEqual(w.moved(HERE, LEADER), [own])
  assert.deepEqual(w.moved(HERE, 0), [own, said('copy 11', 11, '10.0.0.11:5560')])
})

test('who has moved and was not judged yet is found while nobody leads, and by those who follow it', () => {
  const { w, counts } = standing()
  counts('a', 4)
  w.hear(HERE, said('a', 4, '10.0.0.1:5560'))
  const moved = said('b', 5, '10.0.0.1:5570')
  w.hear(HERE, moved)
  assert.deepEqual(w.moved(HERE, LEADER), [])
  assert.deepEqual(w.moved(HERE, 0), [moved])
  assert.deepEqual(w.moved(HERE, moved.id), [moved])
  counts('c', 5)
  assert.deepEqual(w.moved(HERE, 0), [])
})

test('who came here itself and was let in is answered, though others are not told before it counts', () => {
  const { w, counts } = standing()
  counts('a', 4)
  const told = said('b', 5, '10.0.0.1:5570')
  w.hear(HERE, told)
  assert.deepEqual(w.dialled(HERE, LEADER), [])
  const seen = { ...told, seen: true }
  w.hear(HERE, seen)
  w.hear(HERE, told)
  assert.deepEqual(w.dialled(HERE, LEADER), [seen])
  assert.deepEqual(w.moved(HERE, LEADER), [])
  counts('c', 5)
  assert.deepEqual(w.dialled(HERE, LEADER), [])
})

test('version 0.1.0 tells of no start: its newest word is taken', () => {
  const { w } = standing()
  const moved: Whereabout = { id: 1, incarnation: 5, address: '10.0.0.1:5570' }
  w.hear(HERE, moved)
  w.hear(HERE, { ...moved, incarnation: 4, address: '10.0.0.9:1' })
  assert.deepEqual(w.moved(HERE, LEADER), [moved])
})

test('nothing is kept of strangers and of what is no address', () => {
  const { w } = standing()
  w.hear(HERE, { id: 7, address: '10.0.0.7:5560', incarnation: 1 })
  for (const address of ['', 'r0', 'r0:0', 'a b:1']) w.hear(HERE, { id: 1, address, incarnation: 1 })
  assert.deepEqual(w.moved(HERE, 0), [])
})
