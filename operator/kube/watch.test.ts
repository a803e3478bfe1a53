// A list that is kept up to date against a server that breaks off, forgets, and falls silent. Time is
// virtual.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ApiError, type KubeObject } from '../model/ports.ts'
import type { Clock } from './clock.ts'
import { type Change, newCache, SILENT_MS } from './watch.ts'

const pod = (name: string, version: number): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'ns', uid: `u-${name}`, resourceVersion: String(version) },
})

/** Time that goes on when all are waiting, as far as the next of them. */
const virtual = (): Clock & { advance(ms: number): void } => {
  let now = 0
  const waits = new Set<{ at: number; done: () => void }>()
  return {
    nowMs: () => now,
    chance: () => 0.5,
    wait: (ms, signal) =>
      new Promise((resolve) => {
        if (signal.aborted) return resolve()
        const entry = {
          at: now + ms,
          done: () => {
            waits.delete(entry)
            resolve()
          },
        }
        waits.add(entry)
        signal.addEventListener('abort', entry.done, { once: true })
      }),
    advance(ms) {
      now += ms
      for (const entry of [...waits]) if (entry.at <= now) entry.done()
    },
  }
}

/** What happens when everything that can go on has gone on. */
const settled = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
}

const world = () => {
  const clock = virtual()
  const asked: string[] = []
  const changes: string[] = []
  const errors: string[] = []
  let list: { version: number; items: KubeObject[] } = { version: 10, items: [pod('a', 5), pod('b', 6)] }
  let stream: {
    say: (type: string, object: object) => void
    end: () => void
    fail: (e: Error) => void
  } | null = null
  let refuse: Error | null = null
  const kube = {
    async ask({ path }: { path: string }) {
      asked.push(path)
      if (refuse !== null) throw refuse
      return { metadata: { resourceVersion: String(list.version) }, items: list.items }
    },
    lines(path: string, signal: AbortSignal, onOpen: () => void, onLine: (line: string) => void) {
      asked.push(path)
      return new Promise<void>((resolve, reject) => {
        if (refuse !== null) return reject(refuse)
        onOpen()
        signal.addEventListener('abort', () => resolve(), { once: true })
        stream = {
          say: (type, object) => onLine(JSON.stringify({ type, object })),
          end: resolve,
          fail: reject,
        }
      })
    },
  }
  const cache = newCache(
    kube as never,
    { kind: 'Pod', namespace: 'ns', labels: 'skep.dev/cluster' },
    clock,
    ({ type, object }: Change) => changes.push(`${type} ${object.metadata.name}`),
    (message) => errors.push(message),
  )
  const stop = new AbortController()
  const ended = cache.run(stop.signal)
  return {
    clock,
    asked,
    changes,
    errors,
    cache,
    names: () => [...cache.all()].map((o) => `${o.metadata.name}@${o.metadata.resourceVersion}`).sort(),
    lastAsked: () => new URLSearchParams(asked.at(-1)!.split('?')[1]),
    stream: () => stream!,
    setList: (version: number, ...items: KubeObject[]) => {
      list = { version, items }
    },
    refuse: (error: Error | null) => {
      refuse = error
    },
    async stop() {
      stop.abort()
      await ended
    },
  }
}

test('it lists, then watches from there, and follows what happens', async () => {
  const w = world()
  await settled()
  assert.ok(w.cache.filled())
  assert.deepEqual(w.names(), ['a@5', 'b@6'])
  assert.equal(w.lastAsked().get('resourceVersion'), '10')
  assert.equal(w.lastAsked().get('labelSelector'), 'skep.dev/cluster')
  w.stream().say('ADDED', pod('c', 11))
  w.stream().say('MODIFIED', pod('a', 12))
  w.stream().say('DELETED', pod('b', 13))
  assert.deepEqual(w.names(), ['a@12', 'c@11'])
  assert.deepEqual(w.changes, ['put a', 'put b', 'put c', 'put a', 'gone b'])
  assert.equal(w.cache.get('ns', 'a')?.kind, 'Pod')
  await w.stop()
})

test('a watch that ends goes on where it was, bookmarks included, without a list', async () => {
  const w = world()
  await settled()
  w.stream().say('BOOKMARK', { metadata: { resourceVersion: '42' } })
  w.stream().end()
  await settled()
  assert.equal(w.lastAsked().get('resourceVersion'), '42')
  assert.equal(w.cache.counts.lists, 1)
  await w.stop()
})

test('after 410 it lists again, and says what came and went meanwhile', async () => {
  const w = world()
  await settled()
  w.changes.length = 0
  w.setList(90, pod('a', 5), pod('d', 80))
  w.stream().say('ERROR', { code: 410, message: 'too old resource version' })
  await settled()
  w.clock.advance(20_000)
  await settled()
  assert.deepEqual(w.changes, ['gone b', 'put d'])
  assert.equal(w.lastAsked().get('resourceVersion'), '90')
  assert.equal(w.cache.counts.errors, 1)
  assert.match(w.errors[0]!, /too old/)
  await w.stop()
})

test('a stream without a word is taken for dead and begun anew; bookmarks keep it alive', async () => {
  const w = world()
  await settled()
  for (let i = 0; i < 5; i++) {
    w.clock.advance(60_000)
    w.stream().say('BOOKMARK', { metadata: { resourceVersion: String(50 + i) } })
    await settled()
  }
  assert.equal(w.cache.counts.watches, 1)
  for (let i = 0; i < 4; i++) {
    w.clock.advance(50_000)
    await settled()
  }
  assert.ok(w.cache.counts.watches >= 2)
  assert.equal(w.lastAsked().get('resourceVersion'), '54')
  await w.stop()
})

test('no server: tried again, slower and slower, and it says since when nothing was heard', async () => {
  const w = world()
  await settled()
  w.refuse(new ApiError(0, 'connection refused'))
  w.stream().fail(new ApiError(0, 'reset'))
  for (let i = 0; i < 60; i++) {
    await settled()
    w.clock.advance(5000)
  }
  assert.ok(w.cache.silentMs() > SILENT_MS)
  assert.ok(w.cache.idleMs() < 30_000, 'it goes on trying')
  // Doubling from 200 ms to 15 s: some 25 tries in five minutes, not thousands.
  assert.ok(w.cache.counts.watches < 40, `${w.cache.counts.watches} tries`)
  assert.deepEqual(w.names(), ['a@5', 'b@6'])
  w.refuse(null)
  w.clock.advance(20_000)
  await settled()
  assert.equal(w.cache.silentMs() < 1000, true)
  assert.equal(w.cache.counts.lists, 1, 'without an answer nothing says that the list is needed')
  await w.stop()
})
