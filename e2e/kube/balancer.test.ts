// Which nodes a balancer may choose: those with a ready endpoint, as EndpointSlices tell them.
// Refuses: a cluster; the rest of the balancer is seen to work in every scenario.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readyByNode } from './balancer.ts'

const endpoint = (nodeName: string, pod: string, ready: boolean | undefined) => ({
  nodeName,
  ...(ready === undefined ? {} : { conditions: { ready } }),
  targetRef: { name: pod, uid: `uid-${pod}` },
})

test('only nodes with a ready endpoint are asked; nothing said means ready', () => {
  const nodes = readyByNode([
    { endpoints: [endpoint('node1', 'skep-0', true), endpoint('node2', 'skep-1', false)] },
    { endpoints: [endpoint('node3', 'skep-2', undefined), endpoint('node1', 'skep-3', true)] },
  ])
  assert.deepEqual([...nodes.keys()].sort(), ['node1', 'node3'])
  assert.deepEqual(
    nodes.get('node1')?.map((one) => one.pod),
    ['skep-0', 'skep-3'],
  )
})

test('a pod that several slices name is one pod', () => {
  const slice = { endpoints: [endpoint('node1', 'skep-0', true)] }
  assert.equal(readyByNode([slice, slice]).get('node1')?.length, 1)
  assert.equal(readyByNode([{}]).size, 0)
})
