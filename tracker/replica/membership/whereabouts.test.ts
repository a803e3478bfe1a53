// Where members are said to be: the newest start counts, and only what differs from the directory.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { directoryOf } from './directory.ts'
import { Whereabouts } from './whereabouts.ts'

const HERE = directoryOf([
  { id: 1, name: 'r0', address: '10.0.0.1:5560' },
  { id: 2, name: 'r1', address: '10.0.0.2:5560' },
])

test('a member that was started elsewhere is where its newest start says, until the directory agrees', () => {
  const w = new Whereabouts()
  assert.equal(w.hear(HERE, { id: 1, address: '10.0.0.1:5560', incarnation: 4 }), false)
  assert.deepEqual(w.moved(HERE), [])
  const moved = { id: 1, address: '10.0.0.1:5570', incarnation: 5 }
  assert.equal(w.hear(HERE, moved), true)
  assert.equal(w.hear(HERE, moved), false)
  // Whoever met it before, or two of its kind under one start: the first word stays.
  assert.equal(w.hear(HERE, { id: 1, address: '10.0.0.9:1', incarnation: 4 }), false)
  assert.equal(w.hear(HERE, { id: 1, address: '10.0.0.9:1', incarnation: 5 }), false)
  assert.deepEqual(w.moved(HERE), [moved])
  const agreed = directoryOf([{ id: 1, name: 'r0', address: '10.0.0.1:5570' }])
  assert.deepEqual(w.moved(agreed), [])
  assert.equal(w.hear(HERE, { id: 1, address: '10.0.0.1:5560', incarnation: 6 }), true)
  assert.deepEqual(w.moved(HERE), [])
})

test('nothing is kept of strangers and of what is no address', () => {
  const w = new Whereabouts()
  assert.equal(w.hear(HERE, { id: 7, address: '10.0.0.7:5560', incarnation: 1 }), false)
  for (const address of ['', 'r0', 'r0:0', 'a b:1'])
    assert.equal(w.hear(HERE, { id: 2, address, incarnation: 1 }), false)
  assert.deepEqual(w.moved(HERE), [])
})
