// The simulated network: calm, it is a wire; in bad weather it does what it says, and the same again for the
// same seed.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VirtualClock } from './clock.ts'
import { CALM, type Fate, Network, type Weather } from './network.ts'
import { Random } from './random.ts'

const world = (seed: number, weather: Partial<Weather> = {}) => {
  const clock = new VirtualClock()
  const got: string[] = []
  const fates: Fate[] = []
  const broken: string[] = []
  const network = new Network<number>(clock, new Random(seed), {
    deliver: (from, to, payload) => got.push(`${from}>${to}:${payload}`),
    fate: (fate) => fates.push(fate),
    broken: (from, to) => broken.push(`${from}>${to}`),
  })
  network.weather = { ...CALM, ...weather }
  const count = (fate: Fate): number => fates.filter((f) => f === fate).length
  return { clock, network, got, fates, broken, count }
}
const numbers = (n: number): number[] => Array.from({ length: n }, (_, i) => i)

test('in calm weather everything arrives once, in order', () => {
  const w = world(1, { jitterMs: 50 })
  for (const i of numbers(100)) w.network.send(1, 2, i)
  w.clock.advance(10_000)
  assert.deepEqual(
    w.got,
    numbers(100).map((i) => `1>2:${i}`),
  )
})

test('bad weather loses, repeats and reorders, and the seed says which', () => {
  const run = (seed: number) => {
    const w = world(seed, { jitterMs: 20, loss: 0.2, repeat: 0.2, reorder: 0.5 })
    for (const i of numbers(500)) w.network.send(1, 2, i)
    w.clock.advance(10_000)
    return w
  }
  const w = run(3)
  const order = w.got.map((g) => Number(g.split(':')[1]))
  const known = new Set(order)
  assert.equal(500 - known.size, w.count('lost'))
  assert.equal(order.length - known.size, w.count('repeated'))
  for (const n of [w.count('lost'), w.count('repeated')]) assert.ok(n > 50 && n < 150, `${n}`)
  assert.ok(order.some((n, i) => i > 0 && n < order[i - 1]!))
  assert.deepEqual(run(3).got, w.got)
  assert.notDeepEqual(run(4).got, w.got)
})

test('a cut takes what is on its way, in its direction only, until it is mended', () => {
  const w = world(1)
  w.network.send(1, 2, 1)
  w.network.cut(1, 2)
  w.network.send(1, 2, 2)
  w.network.send(2, 1, 3)
  w.clock.advance(100)
  assert.deepEqual(w.got, ['2>1:3'])
  assert.equal(w.count('cut'), 2)
  w.network.mend(1, 2)
  w.network.send(1, 2, 4)
  w.clock.advance(100)
  assert.deepEqual(w.got, ['2>1:3', '1>2:4'])
})

test('a partition leaves each group whole; healing joins them', () => {
  const w = world(1)
  const all = (): string[] => {
    w.got.length = 0
    for (const a of [1, 2, 3, 4]) for (const b of [1, 2, 3, 4]) if (a !== b) w.network.send(a, b, 0)
    w.clock.advance(100)
    return [...w.got].sort()
  }
  w.network.partition([[1, 2], [3], [4]])
  assert.deepEqual(all(), ['1>2:0', '2>1:0'])
  w.network.heal()
  assert.equal(all().length, 12)
})

test('a clogged link delivers late, and still in order', () => {
  const w = world(1)
  w.network.clog(1, 2, 1000)
  for (const i of numbers(5)) w.network.send(1, 2, i)
  w.clock.advance(999)
  assert.deepEqual(w.got, [])
  w.clock.advance(100)
  assert.deepEqual(
    w.got,
    numbers(5).map((i) => `1>2:${i}`),
  )
})

test('what is sent in order never has a hole: a loss ends the connection', () => {
  for (let seed = 1; seed <= 30; seed++) {
    const w = world(seed, { jitterMs: 5, loss: 0.05, repeat: 0.3, reorder: 0.5 })
    let connection = 0
    const sent: string[] = []
    for (const i of numbers(200)) {
      const breaks = w.broken.length
      w.network.sendInOrder(1, 2, i)
      if (w.broken.length > breaks) connection++
      else sent.push(`${connection}:${i}`)
      w.clock.advance(1)
    }
    w.clock.advance(10_000)
    assert.ok(connection > 0)
    // Of every connection, a beginning arrived: nothing missing between two that did.
    const arrived = w.got.map((g) => Number(g.split(':')[1]))
    assert.deepEqual(
      arrived,
      [...arrived].sort((a, b) => a - b),
    )
    for (let c = 0; c <= connection; c++) {
      const of = sent.filter((s) => s.startsWith(`${c}:`)).map((s) => Number(s.split(':')[1]))
      const there = of.filter((n) => arrived.includes(n))
      assert.deepEqual(there, of.slice(0, there.length), `seed ${seed} connection ${c}`)
    }
  }
})

test('a connection ends with the first message that a cut takes from it, and says so', () => {
  const w = world(1, { delayMs: 10 })
  w.network.sendInOrder(1, 2, 1)
  w.clock.advance(5)
  w.network.sendInOrder(1, 2, 2)
  w.network.cut(1, 2)
  w.clock.advance(6)
  w.network.mend(1, 2)
  w.clock.advance(100)
  assert.deepEqual([w.got, w.broken], [[], ['1>2']])
})

test('connections break one by one: another channel between the same two goes on', () => {
  const w = world(1, { delayMs: 10 })
  w.network.sendInOrder(1, 2, 1, 0)
  w.network.sendInOrder(1, 2, 2, 7)
  w.network.break(1, 2, 0)
  w.network.sendInOrder(1, 2, 3, 0)
  w.clock.advance(100)
  assert.deepEqual(w.got.sort(), ['1>2:2', '1>2:3'])
})
