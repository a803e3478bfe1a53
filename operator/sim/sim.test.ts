// Lives of clusters by seed, an operator that is gone at many of its writes, and that the rules can be broken
// at all.
// `npm run sim:operator` runs thousands of them.

import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import type { KubeObject } from '../model/ports.ts'
import { DAY, DAY_SECONDS, Life, live } from './schedule.ts'

const SEEDS = 2
/** Each nth write of the day. */
const STRIDE = 200
const again = (seed: number): string => `npm run sim:operator -- --seeds 1 --from ${seed} --trace`

test(`${SEEDS} lives: no rule is broken, all becomes as wished, and then nothing is written`, async () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { violation } = await live({ seed })
    assert.equal(violation, null, `seed ${seed}: ${violation}\n${again(seed)}`)
  }
})

test('an operator that is gone at some of its writes does no harm, and finishes the day', async () => {
  for (let at = 1; ; at += STRIDE) {
    const o = await live({ seed: 1, calm: true, crashAt: at, wishes: DAY, troubleSeconds: DAY_SECONDS })
    assert.equal(o.violation, null, `crash at write ${at}: ${o.violation}\nnpm run sim:operator -- --crashes`)
    if (o.crashes === 0) break
  }
})

test('the same seed lives the same life', async () => {
  const lines: string[][] = [[], []]
  for (const into of lines) await live({ seed: 5, troubleSeconds: 60, trace: (line) => into.push(line) })
  assert.ok(lines[0]!.length > 10)
  assert.deepEqual(lines[0], lines[1])
})

// A check that was never seen failing is not a check: each rule, broken by hand in a cluster of three.
const whole = async (): Promise<Life> => {
  const life = new Life({ seed: 3, calm: true, wishes: DAY.slice(0, 1), troubleSeconds: 30 })
  assert.equal((await life.run()).violation, null)
  return life
}

const bugs: Record<string, { strike: (life: Life) => void; says: RegExp }> = {
  'a StatefulSet that shrinks under a member': {
    strike: ({ rules, server }) => {
      const set = server.get('StatefulSet', 'n', 't')!
      rules.beforeApply({ ...set, spec: { ...set.spec, replicas: 2 } } as KubeObject)
    },
    says: /while t-2 .* is a member/,
  },
  'a StatefulSet that shrinks by two': {
    strike: ({ rules, server }) => {
      const set = server.get('StatefulSet', 'n', 't')!
      rules.beforeApply({ ...set, spec: { ...set.spec, replicas: 1 } } as KubeObject)
    },
    says: /in one step/,
  },
  'the volume of a living member': {
    strike: ({ rules, server }) =>
      rules.beforeDelete('PersistentVolumeClaim', 'data-t-1', {
        uid: server.get('PersistentVolumeClaim', 'n', 'data-t-1')!.metadata.uid!,
      }),
    says: /which is alive/,
  },
  'a second pod below the majority': {
    strike: (life) => {
      const [a, b] = life.kubernetes.pods()
      life.kubernetes.kill(a!, 1)
      life.rules.beforeDelete('Pod', b!.metadata.name, { uid: b!.metadata.uid! })
    },
    says: /1 of 3 voters are left/,
  },
  'a second cluster': {
    strike: (life) => {
      const [process] = life.group.processes.values()
      life.group.processes.set('x', {
        ...process!,
        pod: 't-9',
        podUid: 'x',
        claimUid: 'x',
        mayCreate: true,
        startedMs: 0,
      })
      life.group.tick(Date.parse('2026-01-03T13:00:00Z'))
      life.rules.tick()
    },
    says: /a second cluster was born/,
  },
  'acknowledged entries that are lost': {
    strike: (life) => {
      for (const disk of life.group.disks.values()) if (disk !== null) disk.match = 1
      life.group.leader = null
      for (let i = 0; i < 20; i++) life.group.tick(Date.parse('2026-01-03T13:00:00Z') + i * 500)
      life.rules.tick()
    },
    says: /acknowledged entries are lost/,
  },
  'a network key that is dropped too soon': {
    strike: (life) => {
      const [process] = life.group.processes.values()
      process!.keys.names = ['another']
      life.rules.tick()
    },
    says: /does not know the network key/,
  },
}

for (const [what, { strike, says }] of Object.entries(bugs)) {
  let life: Life
  before(async () => {
    life = await whole()
  })
  test(`the rules see ${what}`, () => {
    strike(life)
    assert.match(life.rules.violation ?? '', says)
  })
}
