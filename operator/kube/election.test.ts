// Two operators and one Lease: never both at work, and no gap longer than the Lease lasts. Time is virtual,
// the API server a map with versions.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ApiError, CONFLICT, NOT_FOUND } from '../model/ports.ts'
import type { Clock } from './clock.ts'
import { elect } from './elect.ts'
import { LEASE_SECONDS } from './election.ts'

type Ask = { method: string; path: string; body?: { metadata: { resourceVersion?: string }; spec: object } }

const server = () => {
  let lease: { metadata: { resourceVersion: string }; spec: Record<string, unknown> } | null = null
  let version = 0
  const cut = new Set<string>()
  const store = (spec: object) => {
    lease = { metadata: { resourceVersion: String(++version) }, spec: { ...lease?.spec, ...spec } }
    return structuredClone(lease)
  }
  return {
    cut,
    holder: () => lease?.spec.holderIdentity,
    kube: (who: string) => ({
      async ask(given: unknown) {
        const { method, body } = given as Ask
        if (cut.has(who)) throw new ApiError(0, 'no answer')
        if (method === 'GET') {
          if (lease === null) throw new ApiError(NOT_FOUND, 'none')
          return structuredClone(lease)
        }
        if (method === 'POST') {
          if (lease !== null) throw new ApiError(CONFLICT, 'there already')
          return store(body!.spec)
        }
        if (body!.metadata.resourceVersion !== lease?.metadata.resourceVersion)
          throw new ApiError(CONFLICT, 'another version')
        return store(body!.spec)
      },
    }),
  }
}

const clock = () => {
  let now = 0
  const waits: { at: number; done: () => void }[] = []
  const clock: Clock = {
    nowMs: () => now,
    chance: () => 0.5,
    wait: (ms, signal) =>
      new Promise((resolve) => {
        waits.push({ at: now + ms, done: resolve })
        signal.addEventListener('abort', () => resolve(), { once: true })
      }),
  }
  const run = async (ms: number, look: () => void): Promise<void> => {
    for (const until = now + ms; now < until; now += 100) {
      for (const w of waits.filter((one) => one.at <= now)) {
        waits.splice(waits.indexOf(w), 1)
        w.done()
      }
      for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve))
      look()
    }
  }
  return { clock, run, now: () => now }
}

const pair = () => {
  const api = server()
  const time = clock()
  const ours = new Map<string, boolean>()
  const ended = new Map<string, string>()
  const start = (who: string) => {
    const stop = new AbortController()
    const election = { namespace: 'ns', lease: 'skep-operator', identity: who }
    elect(api.kube(who), election, time.clock, stop.signal, (mine) => ours.set(who, mine)).then((how) => {
      ours.set(who, false)
      ended.set(who, how)
    })
    return stop
  }
  const working = () => [...ours].filter(([, mine]) => mine).map(([who]) => who)
  const neverBoth = () => assert.ok(working().length <= 1, working().join(' and '))
  return { api, time, start, ended, working, neverBoth }
}

test('one works, the other waits; stopped in order, the other takes over at once', async () => {
  const { api, time, start, ended, working, neverBoth } = pair()
  const a = start('a')
  await time.run(1000, neverBoth)
  start('b')
  await time.run(60_000, neverBoth)
  assert.deepEqual(working(), ['a'])
  a.abort()
  await time.run(4000, neverBoth)
  assert.equal(ended.get('a'), 'stopped')
  assert.deepEqual(working(), ['b'])
  assert.equal(api.holder(), 'b')
})

test('one that is cut off ends before another one begins, and that is not later than the Lease lasts', async () => {
  const { api, time, start, ended, working, neverBoth } = pair()
  start('a')
  await time.run(1000, neverBoth)
  start('b')
  await time.run(5000, neverBoth)
  api.cut.add('a')
  const cutAt = time.now()
  let endedAt = 0
  let begunAt = 0
  await time.run(40_000, () => {
    neverBoth()
    if (endedAt === 0 && ended.has('a')) endedAt = time.now()
    if (begunAt === 0 && working().includes('b')) begunAt = time.now()
  })
  assert.equal(ended.get('a'), 'lost')
  assert.ok(endedAt < begunAt)
  assert.ok(begunAt - cutAt < (LEASE_SECONDS + 5) * 1000, `${begunAt - cutAt} ms`)
})

test('a renewal that comes in time keeps the Lease, also over errors between', async () => {
  const { api, time, start, ended, working, neverBoth } = pair()
  start('a')
  await time.run(1000, neverBoth)
  start('b')
  for (let i = 0; i < 10; i++) {
    api.cut.add('a')
    await time.run(5000, neverBoth)
    api.cut.delete('a')
    await time.run(3000, neverBoth)
  }
  assert.deepEqual(working(), ['a'])
  assert.equal(ended.size, 0)
})
