// What the chart's hooks ask of the API server, and what they say when it does not come about.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Ask } from '../kube/kube.ts'
import { ApiError } from '../model/ports.ts'
import { applyDefinitions, type Definition, deleteCluster, type HookEnds } from './hooks.ts'

const definition = (name: string): Definition => ({ kind: 'CustomResourceDefinition', metadata: { name } })
const served = { status: { conditions: [{ type: 'Established', status: 'True' }] } }

/** Answers in order; the last one again and again. */
function told(answers: readonly unknown[]): { hook: HookEnds; asked: Ask[]; said: string[] } {
  const [asked, said, left]: [Ask[], string[], unknown[]] = [[], [], [...answers]]
  const hook: HookEnds = {
    kube: {
      async ask(ask) {
        asked.push(ask)
        const answer = left.length > 1 ? left.shift() : left[0]
        if (answer instanceof Error) throw answer
        return answer
      },
    },
    say: (line) => void said.push(line),
    wait: async () => {},
  }
  return { hook, asked, said }
}

test('definitions are applied one by one, each served before the next', async () => {
  const { hook, asked, said } = told([{}, {}, served, {}, served])
  const names = ['trackerclusters.skep.dev', 'torrentpolicies.skep.dev']
  assert.equal(await applyDefinitions(names.map(definition), hook), 0)
  assert.deepEqual(
    asked.map(({ method, path }) => `${method} ${path.split('/').at(-1)?.split('?')[0]}`),
    [
      'PATCH trackerclusters.skep.dev',
      'GET trackerclusters.skep.dev',
      'GET trackerclusters.skep.dev',
      'PATCH torrentpolicies.skep.dev',
      'GET torrentpolicies.skep.dev',
    ],
  )
  assert.deepEqual(
    said,
    names.map((name) => `${name}: up to date`),
  )
})

test('nothing is done when one of them is not ours', async () => {
  const { hook, asked } = told([served])
  const others = [definition('trackerclusters.skep.dev'), definition('certificates.other.example')]
  assert.equal(await applyDefinitions(others, hook), 1)
  assert.deepEqual(asked, [])
})

test('a definition that is never served fails the upgrade', async () => {
  const { hook, said } = told([{}])
  assert.equal(await applyDefinitions([definition('trackerclusters.skep.dev')], hook), 1)
  assert.match(said.at(-1)!, /not served/)
})

const gone = new ApiError(404, 'not found')
const busy = { status: { lastStep: { message: 'volume data-t-0 is deleted' } } }

test('a cluster is deleted, and waited for, with what the operator does meanwhile', async () => {
  const { hook, asked, said } = told([{}, {}, busy, busy, gone])
  assert.equal(await deleteCluster('n', 't', hook), 0)
  assert.equal(asked[0]?.method, 'DELETE')
  assert.deepEqual(said, ['waiting for the operator', 'volume data-t-0 is deleted', 'n/t is gone'])
})

test('a cluster that is not there is no failure; one that stays is, with what helps', async () => {
  assert.equal(await deleteCluster('n', 't', told([gone]).hook), 0)
  const { hook, said } = told([busy])
  assert.equal(await deleteCluster('n', 't', hook), 1)
  assert.match(said.at(-1)!, /finalizers/)
  await assert.rejects(deleteCluster('n', 't', told([new ApiError(403, 'forbidden')]).hook), /forbidden/)
})
