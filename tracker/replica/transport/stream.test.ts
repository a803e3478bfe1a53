// Snapshots between members: whole and in order, resumed where they broke, never in the way of heartbeats.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MSG_HEARTBEAT } from '@skep/raft/message.ts'
import { message, type TestMember, withMembers } from './transport.case.ts'
import type { StreamSink } from './transport.ts'
import { StreamFailed } from './transport.ts'

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString()

/** Keeps what arrives; `first` chunks are there already. */
const keeping = (m: TestMember, first = 0): { sink: StreamSink; chunks: Uint8Array[] } => {
  const chunks: Uint8Array[] = []
  const sink: StreamSink = {
    first,
    write: async (chunk) => {
      chunks.push(Uint8Array.from(chunk))
      m.note(`chunk ${chunks.length}`)
    },
    end: async () => m.note('whole'),
    broken: (reason) => m.note(`broken: ${reason}`),
  }
  return { sink, chunks }
}

test('a stream arrives whole, and its end is said by the receiver', () =>
  withMembers([{}, {}], async (a, b) => {
    const { sink, chunks } = keeping(b!)
    let begun = ''
    b!.sink = (begin) => {
      begun = `${begin.from} ${begin.group} ${text(begin.head)} ${begin.totalBytes}`
      return sink
    }
    const out = a!.transport.openStream(3, 2, Buffer.from('entry 17'), 6_000_000)
    assert.equal(await out.first, 0)
    for (let i = 0; i < 60; i++) await out.write(new Uint8Array(100_000).fill(i))
    await out.end()
    assert.equal(begun, '1 3 entry 17 6000000')
    assert.equal(b!.events.at(-1), 'whole')
    assert.deepEqual(
      chunks.map((c) => [c.length, c[0], c[99_999]]),
      Array.from({ length: 60 }, (_, i) => [100_000, i, i]),
    )
  }))

test('a receiver that is slow holds the sender back, and heartbeats pass by', () =>
  withMembers([{}, {}], async (a, b) => {
    let letGo = (): void => {}
    const { sink, chunks } = keeping(b!)
    const held = new Promise<void>((resolve) => {
      letGo = resolve
    })
    b!.sink = () => ({
      ...sink,
      write: async (chunk) => {
        await sink.write(chunk)
        await held
      },
    })
    const out = a!.transport.openStream(0, 2, new Uint8Array(0), 1e9)
    let written = 0
    let stuck = false
    const all = (async () => {
      for (let i = 0; i < 40; i++) {
        await out.write(new Uint8Array(1_000_000))
        written++
      }
      await out.end()
    })()
    await b!.until(() => chunks.length === 1)
    // Heartbeats go both ways while nothing of the stream does.
    for (let i = 1; i <= 50; i++) {
      a!.transport.send(0, 2, message(MSG_HEARTBEAT, i))
      await b!.until(() => b!.heard.length === i)
      b!.transport.send(0, 1, message(MSG_HEARTBEAT, i))
      await a!.until(() => a!.heard.length === i)
    }
    stuck = written < 40
    assert.equal(chunks.length, 1)
    assert.ok(stuck, `${written} chunks of a megabyte are under way`)
    letGo()
    await all
    assert.equal(chunks.length, 40)
  }))

test('a stream that breaks goes on with the chunk that the receiver asks for', () =>
  withMembers([{}, {}], async (a, b) => {
    const first = keeping(b!)
    b!.sink = () => first.sink
    const out = a!.transport.openStream(0, 2, new Uint8Array(0), 3)
    await out.write(Buffer.from('a'))
    await b!.until(() => first.chunks.length === 1)
    const now = performance.now()
    b!.transport.setFault(1, { cut: 'in', untilMs: now + 20 })
    await assert.rejects(out.end(), (e) => e instanceof StreamFailed && !e.refused)
    await assert.rejects(out.write(Buffer.from('b')), StreamFailed)
    assert.match(b!.events.at(-1)!, /^broken: cut by a fault/)
    await a!.connected(2)
    const second = keeping(b!, 1)
    b!.sink = () => second.sink
    const again = a!.transport.openStream(0, 2, new Uint8Array(0), 3)
    assert.equal(await again.first, 1)
    await again.write(Buffer.from('b'))
    await again.end()
    assert.deepEqual([...first.chunks, ...second.chunks].map(text), ['a', 'b'])
  }))

test('a receiver may refuse at the beginning, at a chunk and at the end, and says why', () =>
  withMembers([{}, {}], async (a, b) => {
    const refusedWith = (sentence: string) => (e: unknown) =>
      e instanceof StreamFailed && e.refused && e.message === sentence
    b!.sink = () => ({ code: 'malformed', sentence: 'not now' })
    const at = async (sentence: string): Promise<void> => {
      const out = a!.transport.openStream(0, 2, new Uint8Array(0), 1)
      await assert.rejects(
        async () => {
          for (let i = 0; i < 3; i++) await out.write(new Uint8Array(10))
          await out.end()
        },
        refusedWith(sentence),
        sentence,
      )
    }
    await at('not now')
    const { sink } = keeping(b!)
    b!.sink = () => ({ ...sink, write: () => Promise.reject(new Error('checksum of chunk 0')) })
    await at('checksum of chunk 0')
    b!.sink = () => ({ ...sink, end: () => Promise.reject(new Error('the last chunk is missing')) })
    await at('the last chunk is missing')
  }))

test('a sender may give up; a member that is unknown or away gets no stream', () =>
  withMembers([{}, {}], async (a, b) => {
    const { sink } = keeping(b!)
    b!.sink = () => sink
    const out = a!.transport.openStream(0, 2, new Uint8Array(0), 1)
    await out.write(new Uint8Array(10))
    out.abort()
    await assert.rejects(out.end(), StreamFailed)
    await b!.until(() => b!.events.some((e) => e.endsWith('given up')))
    assert.throws(() => a!.transport.openStream(0, 9, new Uint8Array(0), 1), StreamFailed)
    await b!.transport.close()
    await a!.until(() => a!.events.includes('down 2 bulk'))
    await assert.rejects(a!.transport.openStream(0, 2, new Uint8Array(0), 1).first, StreamFailed)
  }))

test('one member sends four streams at once and no fifth', () =>
  withMembers([{}, {}], async (a, b) => {
    b!.sink = () => keeping(b!).sink
    const streams = Array.from({ length: 5 }, () => a!.transport.openStream(0, 2, new Uint8Array(0), 1))
    const results = await Promise.allSettled(streams.map((s) => s.first))
    assert.deepEqual(
      results.map((r) => r.status),
      ['fulfilled', 'fulfilled', 'fulfilled', 'fulfilled', 'rejected'],
    )
    for (const s of streams) s.abort()
  }))
