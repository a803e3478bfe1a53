// Who may become, stay and cease to be a member: every rule as a case with the sentence an admin reads, then
// whatever anybody may ask in whatever state.

import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { test } from 'node:test'
import type { ConfChange, ConfState, Progress } from '@skep/raft'
import { type Case, integerOption, runCases } from '@skep/testing/datadriven.ts'
import fc from 'fast-check'
import { configured, type Directory, idsOf, type Member, NOBODY, nameOf } from './directory.ts'
import { tend } from './plan.ts'
import { decide, type Request } from './requests.ts'
import { majority, type Step, type View } from './view.ts'

type Who = { id: number; lag: number | null; silentMs: number | null }
type World = {
  self: number
  leads: boolean
  leader: number
  confState: ConfState
  directory: Directory
  who: Map<number, Who>
  max: number
  promotes: boolean
  index: number
}

const viewOf = (w: World): View => ({
  self: w.self,
  leads: w.leads,
  leader: w.leader,
  confState: w.confState,
  directory: w.directory,
  lastIndex: 10_000,
  progress: [...w.who.values()].flatMap(({ id, lag }): Progress[] =>
    lag === null
      ? []
      : [
          {
            id,
            match: 10_000 - lag,
            next: 0,
            state: 'replicate',
            recentActive: true,
            isLearner: false,
            pendingSnapshot: 0,
          },
        ],
  ),
  heardMsAgo: new Map(
    [...w.who.values()].flatMap(({ id, silentMs }) => (silentMs === null ? [] : [[id, silentMs]])),
  ),
  deadAfterMs: 2000,
  maxVoters: w.max,
  promotes: w.promotes,
})

/** What Raft makes of a change, both halves of a joint one at once. */
const after = (c: ConfState, change: ConfChange): ConfState => {
  const voters = new Set(c.voters)
  const learners = new Set(c.learners)
  for (const { type, id } of change.steps) {
    voters.delete(id)
    learners.delete(id)
    if (type === 'add-voter') voters.add(id)
    if (type === 'add-learner') learners.add(id)
  }
  return { ...c, voters: [...voters], learners: [...learners], votersOutgoing: [] }
}

const put = (w: World, change: ConfChange): void => {
  w.confState = after(w.confState, change)
  const said = Buffer.from(change.context)
  // As `configured` does with the entry; here without the entry's encoding.
  const members = said.length === 0 ? [] : (JSON.parse(said.toString()) as { members: Member[] }).members
  const before: Directory = {
    removed: w.directory.removed,
    members: [...w.directory.members.filter((m) => !members.some((n) => n.id === m.id)), ...members],
  }
  const { members: now, removed } = configured(before, w.confState, null)
  w.index++
  w.directory = { members: now, removed: removed.map((r) => (r.index === 0 ? { ...r, index: w.index } : r)) }
}

const cluster = (c: Case): World => {
  const members: Member[] = []
  const voters: number[] = []
  const learners: number[] = []
  const who = new Map<number, Who>()
  let self = 0
  for (const [i, line] of c.input.split('\n').entries()) {
    const [name, kind, ...more] = line.trim().split(/\s+/)
    const option = (key: string): string | undefined =>
      more.find((m) => m.startsWith(`${key}=`))?.slice(key.length + 1)
    const id = Number(option('id') ?? i + 1)
    members.push({
      id,
      name: name!,
      address: `${name}.example:5560`,
      ...(more.includes('kept') ? { learner: true } : {}),
    })
    if (kind === 'voter') voters.push(id)
    else learners.push(id)
    const silent = option('silent')
    const lag = option('lag') ?? '0'
    who.set(id, {
      id,
      lag: lag === 'unknown' ? null : Number(lag),
      silentMs: silent === 'never' ? null : Number(silent ?? 100),
    })
    if (more.includes('leader')) self = id
  }
  const outgoing = c.options.get('joint') === undefined ? [] : [...voters]
  return {
    self,
    leads: !c.words.includes('follower'),
    leader: c.words.includes('leaderless') ? 0 : self,
    confState: {
      voters,
      learners,
      votersOutgoing: outgoing,
      learnersNext: [],
      autoLeave: c.options.get('joint') === 'auto',
    },
    directory: { members, removed: [] },
    who,
    max: integerOption(c, 'max', 5),
    promotes: !c.words.includes('operator'),
    index: 100,
  }
}

const say = (w: World, step: Step | null): string => {
  if (step === null) return 'nothing to do'
  if (step.kind !== 'change')
    return `${step.kind}${step.kind === 'transfer' ? ` to ${nameOf(w.directory, step.to)}` : ''}: ${step.sentence}`
  const call = (id: number): string => {
    const name = nameOf(w.directory, id)
    return name === `member ${id}` ? `#${id}` : name
  }
  const steps = step.change.steps.map((s) => `${s.type} ${call(s.id)}`).join(', ')
  const lines = [`change: ${steps || 'leave the joint configuration'}`, `  "${step.sentence}"`]
  put(w, step.change)
  const list = (ids: readonly number[]): string =>
    [...ids]
      .map((id) => nameOf(w.directory, id))
      .sort()
      .join(' ')
  lines.push(`  voters ${list(w.confState.voters)}; learners ${list(w.confState.learners) || '-'}`)
  return lines.join('\n')
}

const requestOf = (c: Case): Request => {
  if (c.command === 'add')
    return {
      kind: 'add',
      id: integerOption(c, 'id'),
      name: c.words[0] ?? '',
      address: c.options.get('address') ?? `${c.words[0]}.example:5560`,
      ...(c.words.includes('learner') ? { learner: true } : {}),
    }
  if (c.command === 'remove') return { kind: 'remove', who: c.words[0]! }
  if (c.command === 'transfer') return { kind: 'transfer', to: c.words[0] ?? '' }
  if (c.command === 'promote' || c.command === 'demote') return { kind: c.command, who: c.words }
  throw new Error(`${c.place}: unknown command ${c.command}`)
}

const FOLDER = new URL('testdata/', import.meta.url)
for (const file of readdirSync(FOLDER))
  test(`members: ${file}`, async () => {
    let world: World | null = null
    await runCases(new URL(file, FOLDER), (c) => {
      if (c.command === 'cluster') {
        world = cluster(c)
        return 'ok'
      }
      if (world === null) throw new Error(`${c.place}: no cluster yet`)
      if (c.command !== 'is')
        return say(world, c.command === 'tend' ? tend(viewOf(world)) : decide(viewOf(world), requestOf(c)))
      const member = world.directory.members.find((m) => String(m.id) === c.words[0] || m.name === c.words[0])
      const id = member?.id ?? Number(c.words[0])
      const lag = c.options.get('lag') ?? '0'
      const silent = c.options.get('silent') ?? '100'
      world.who.set(id, {
        id,
        lag: lag === 'unknown' ? null : Number(lag),
        silentMs: silent === 'never' ? null : Number(silent),
      })
      return 'ok'
    })
  })

type Act = readonly [what: number, a: number, b: number, lag: number, silentMs: number]

/** A world of up to nine members in which anybody may ask anything and anybody may be silent. */
const play = (acts: readonly Act[], check: (w: World, before: World, step: Step | null) => void): void => {
  const w: World = {
    self: 1,
    leads: true,
    leader: 1,
    confState: { voters: [1], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false },
    directory: { ...NOBODY, members: [{ id: 1, name: 'r1', address: 'a:1' }] },
    who: new Map(),
    max: 5,
    promotes: true,
    index: 1,
  }
  let ids = 1
  for (const [what, a, b, lag, silentMs] of acts) {
    const members = w.directory.members
    const pick = (n: number): string => String(members[n % members.length]!.id)
    const before = { ...w }
    let step: Step | null = null
    if (what === 0) w.who.set(Number(pick(a)), { id: Number(pick(a)), lag, silentMs })
    else if (what === 1) {
      w.who.set(++ids, { id: ids, lag, silentMs })
      step = decide(viewOf(w), { kind: 'add', id: ids, name: `r${a % 9}`, address: `h${ids}:${b + 1}` })
    } else if (what === 2) step = decide(viewOf(w), { kind: 'promote', who: [pick(a), pick(b)] })
    else if (what === 3) step = decide(viewOf(w), { kind: 'demote', who: [pick(a), pick(b)] })
    else if (what === 4) step = decide(viewOf(w), { kind: 'remove', who: pick(a) })
    else if (what === 5) step = decide(viewOf(w), { kind: 'transfer', to: pick(a) })
    else step = tend(viewOf(w))
    if (step?.kind === 'transfer') w.self = w.leader = step.to
    if (step?.kind === 'change') put(w, step.change)
    check(w, before, step)
    // Whoever leads no more as a voter hands over to one that does.
    if (!w.confState.voters.includes(w.self)) w.self = w.leader = w.confState.voters[0]!
  }
}

test('whatever is asked: an odd number, a living quorum, no ID twice, nobody gone before a successor', () => {
  const act = fc.tuple(
    fc.integer({ min: 0, max: 9 }),
    fc.nat(20),
    fc.nat(20),
    fc.constantFrom(0, 0, 0, 5000),
    fc.constantFrom(100, 100, 100, 9000),
  )
  let changes = 0
  fc.assert(
    fc.property(fc.array(act, { minLength: 30, maxLength: 60 }), (acts) => {
      const used = new Set<number>([1])
      play(acts, (w, before, step) => {
        if (step?.kind !== 'change') return
        changes++
        const { voters } = w.confState
        const v = viewOf({ ...before, directory: w.directory })
        assert.equal(voters.length % 2, 1)
        assert.ok(voters.length <= 7)
        const live = voters.filter((id) => id === before.self || (v.heardMsAgo.get(id) ?? 1e9) <= 2000)
        assert.ok(live.length >= majority(voters.length))
        for (const id of idsOf(w.confState))
          if (!idsOf(before.confState).includes(id)) {
            assert.ok(!used.has(id), `${id} again`)
            assert.ok(w.confState.learners.includes(id), 'a newcomer learns first')
            used.add(id)
          }
        // One change never takes more voters out than it leaves or brings in.
        assert.ok(voters.length >= before.confState.voters.length - 2)
        assert.ok(w.directory.members.every((m) => m.name !== ''))
      })
    }),
    { numRuns: 300 },
  )
  assert.ok(changes > 500, `${changes} changes: the property hardly looked`)
})

test('left to itself it comes to rest', () => {
  const act = fc.tuple(
    fc.integer({ min: 0, max: 5 }),
    fc.nat(20),
    fc.nat(20),
    fc.constant(0),
    fc.constant(100),
  )
  fc.assert(
    fc.property(fc.array(act, { maxLength: 30 }), (acts) => {
      const rest = Array.from({ length: 12 }, (): Act => [6, 0, 0, 0, 100])
      let last: Step | null = null
      play([...acts, ...rest], (_w, _b, step) => {
        last = step
      })
      assert.notEqual((last as Step | null)?.kind, 'change')
    }),
    { numRuns: 200 },
  )
})
