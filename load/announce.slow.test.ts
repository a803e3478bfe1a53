// What `skep announce` says of a tracker that answers, one that does not, and one that lies. In the end it
// leaves nobody.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { freePorts } from '@skep/e2e/processes.ts'
import { type Stats, startTracker, trackerReady } from '@skep/e2e/tracker-process.ts'
import { announceTo } from './announce.ts'
import { type Lie, openTracker } from './honest-tracker.case.ts'

test('two peers of our own tracker hear of each other by UDP and by HTTP, and leave', async (t) => {
  const [udpPort, httpPort] = (await freePorts(2)) as [number, number]
  const folder = mkdtempSync(join(tmpdir(), 'skep-announce-'))
  const tracker = startTracker({
    dataDir: join(folder, 'data'),
    log: join(folder, 'log'),
    udpPort,
    httpPort,
    hosts: ['127.0.0.1'],
    more: ['--memory', '16MiB', '--udp-workers', '1'],
  })
  t.after(async () => {
    await tracker.program.stop()
    rmSync(folder, { recursive: true, force: true })
  })
  await trackerReady(tracker)
  const urls = [`udp://127.0.0.1:${udpPort}`, `http://127.0.0.1:${httpPort}/announce`]
  const outcome = await announceTo(urls, LONG_MS)
  assert.equal(outcome.kind, 'answered', JSON.stringify(outcome))
  assert.deepEqual(
    outcome.told.map(({ url, leechers }) => ({ url, leechers })),
    urls.map((url) => ({ url, leechers: 2 })),
  )
  const stats = (await (await fetch(`http://127.0.0.1:${httpPort}/stats`)).json()) as Stats
  assert.equal(stats.peers, 0)

  const elsewhere = await announceTo([`http://127.0.0.1:${httpPort}/no-such-page`], 300)
  assert.equal(elsewhere.kind, 'failed')
})

/** Longer than any machine takes to answer, but for the one that never does. */
const LONG_MS = 30_000
for (const [lie, patienceMs, reason] of [
  ['silence', 300, /no answer/],
  ['error', LONG_MS, /refused/],
] as const satisfies readonly (readonly [Lie, number, RegExp])[])
  test(`a tracker of which comes ${lie} fails, with the reason`, async () => {
    const tracker = await openTracker(lie, '127.0.0.1')
    const outcome = await announceTo([`udp://127.0.0.1:${tracker.port}`], patienceMs)
    await tracker.close()
    assert.equal(outcome.kind, 'failed')
    assert.match(outcome.kind === 'failed' ? outcome.reason : '', reason)
  })

test('a tracker that never heard of the peer of another URL fails: they are not one cluster', async () => {
  const [one, other] = [await openTracker('none', '127.0.0.1'), await openTracker('none', '127.0.0.1')]
  const urls = [one, other].map(({ port }) => `udp://127.0.0.1:${port}`)
  const outcome = await announceTo(urls, LONG_MS, 3)
  await one.close()
  await other.close()
  assert.match(outcome.kind === 'failed' ? outcome.reason : '', /not with the peer/)
})

test('each URL’s result is told as it comes, and a closed port fails at once', async () => {
  const tracker = await openTracker('none', '127.0.0.1')
  const [closedUdp, closedHttp] = (await freePorts(2)) as [number, number]
  const dead = [`udp://127.0.0.1:${closedUdp}`, `http://127.0.0.1:${closedHttp}/announce`]
  const lines: string[] = []
  const outcome = await announceTo([...dead, `udp://127.0.0.1:${tracker.port}`], LONG_MS, 3, (line) =>
    lines.push(line),
  )
  await tracker.close()
  assert.deepEqual([outcome.kind, outcome.told.length], ['failed', 1])
  assert.deepEqual(
    lines.map((line) => /^\S+ (fails: the port is closed|answers in)/.exec(line)?.[1]),
    ['fails: the port is closed', 'fails: the port is closed', 'answers in'],
    lines.join('\n'),
  )
})
