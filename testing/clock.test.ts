// Virtual time: order, cancelling, and clocks that drift, jump and stand still.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemberClock, VirtualClock } from './clock.ts'
import { Random } from './random.ts'

test('events run in the order of their times, equal ones in the order of asking', () => {
  for (let seed = 1; seed <= 50; seed++) {
    const random = new Random(seed)
    const clock = new VirtualClock()
    const asked: { at: number; n: number }[] = []
    const ran: { at: number; n: number }[] = []
    const ask = (n: number): void => {
      const at = clock.now() + random.below(20)
      asked.push({ at, n })
      clock.after(at - clock.now(), () => {
        ran.push({ at: clock.now(), n })
        if (asked.length < 200) ask(asked.length)
      })
    }
    for (let n = 0; n < 20; n++) ask(n)
    while (clock.step());
    assert.deepEqual(
      ran,
      [...asked].sort((a, b) => a.at - b.at || a.n - b.n),
      `seed ${seed}`,
    )
  }
})

test('time stands still until it is told to pass, and passes exactly', () => {
  const clock = new VirtualClock()
  const ran: number[] = []
  clock.after(10, () => ran.push(clock.now()))
  clock.after(30, () => ran.push(clock.now()))
  assert.equal(clock.now(), 0)
  clock.advance(20)
  assert.deepEqual([clock.now(), clock.next()], [20, 30])
  clock.advance(20)
  assert.deepEqual([clock.now(), clock.next(), ...ran], [40, Number.POSITIVE_INFINITY, 10, 30])
})

test('what is cancelled does not run, whether once or for ever', () => {
  const clock = new VirtualClock()
  let count = 0
  const once = clock.after(5, () => count++)
  const ever = clock.every(10, () => {
    if (++count === 3) clock.cancel(ever)
  })
  clock.cancel(once)
  clock.advance(100)
  assert.equal(count, 3)
})

test('a fast clock is early, a slow one late, and each says what it shows', () => {
  const world = new VirtualClock()
  const fast = new MemberClock(world, 5000, 1.25)
  const slow = new MemberClock(world, 0, 0.5)
  const ran: string[] = []
  fast.after(1000, () => ran.push(`fast ${Math.round(world.now())} ${fast.now()}`))
  slow.after(1000, () => ran.push(`slow ${Math.round(world.now())} ${slow.now()}`))
  world.advance(3000)
  assert.deepEqual(ran, ['fast 800 6000', 'slow 2000 1000'])
})

test('a jump brings timers forward, a change of rate moves them', () => {
  const world = new VirtualClock()
  const clock = new MemberClock(world, 0, 1)
  const ran: number[] = []
  clock.after(1000, () => ran.push(Math.round(world.now())))
  clock.after(5000, () => ran.push(Math.round(world.now())))
  world.advance(100)
  clock.jump(2000)
  world.advance(1)
  assert.deepEqual(ran, [100])
  clock.setRate(2)
  world.advance(10_000)
  // 2101 shown at 101; 2899 are left and take half as long.
  assert.deepEqual(ran, [100, Math.round(101 + 2899 / 2)])
  assert.throws(() => clock.jump(-1), /does not go back/)
})

test('a process that stands still runs late, in order; one that is gone not at all', () => {
  const world = new VirtualClock()
  const clock = new MemberClock(world, 0, 1)
  const ran: string[] = []
  clock.after(20, () => ran.push(`b ${Math.round(world.now())}`))
  clock.after(10, () => ran.push(`a ${Math.round(world.now())}`))
  clock.after(90, () => ran.push(`c ${Math.round(world.now())}`))
  clock.stop()
  world.advance(50)
  assert.deepEqual([ran, clock.standing], [[], true])
  clock.goOn()
  world.advance(1)
  assert.deepEqual(ran, ['a 50', 'b 50'])
  clock.clear()
  world.advance(100)
  assert.equal(ran.length, 2)
})

test('a timer that is for a fraction of a step runs when the clock shows that it is over', () => {
  const world = new VirtualClock()
  const member = new MemberClock(world, 1000, 1.0003)
  for (const ms of [0.0001, 0.3, 1 / 3, 2.00001]) {
    const until = member.now() + ms
    let shown = 0
    member.after(ms, () => {
      shown = member.now()
    })
    assert.ok(world.step())
    assert.ok(shown >= until, `${shown} for ${until}`)
  }
})
