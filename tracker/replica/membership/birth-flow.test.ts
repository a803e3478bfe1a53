// A cluster is born and grows over a network and disks that fail at every step: there is one cluster or none
// yet, every member has an ID of its own, and nobody starts before all have theirs on disk.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '@skep/testing/random.ts'
import { OPTIONS } from '../log/log.case.ts'
import type { LogStore } from '../log/log.ts'
import { type MemoryDisk, memoryDisk } from '../log/memory.ts'
import { openLog } from '../log/store.ts'
import { decodeIdentity, type Identity } from './birth.ts'
import { Birth, BirthRefused, firstDirectory } from './birth-flow.ts'
import { decodeQuestion, decodeSaid, encodeQuestion, encodeSaid, type Said } from './birth-words.ts'

class Cut extends Error {
  readonly wrongKey: boolean
  constructor(wrongKey = false) {
    super('nobody there')
    this.wrongKey = wrongKey
  }
}

type Replica = {
  readonly name: string
  disk: MemoryDisk
  log: LogStore | null
  birth: Birth | null
  life: number
  born: Identity | null
  refused: string
  said: string[]
  settled: Promise<void>
  /** Null comes when this life ends. */
  gone: PromiseWithResolvers<null>
}

/** Replicas whose questions and writes are counted: a crash is "before the n-th". */
class Town {
  readonly replicas = new Map<string, Replica>()
  readonly random: Random
  steps = 0
  crash: { readonly at: number; readonly who: string; readonly lost: boolean } | null = null
  crashed: Promise<void> | null = null
  /** A running cluster's answers, by address. */
  readonly others = new Map<string, (question: Uint8Array) => Promise<Uint8Array>>()
  wrongKeys = new Set<string>()
  fit: (name: string) => string | null = () => null
  supports: (name: string) => number = () => 2
  lists = new Map<string, string[]>()
  join: readonly string[] | null = null
  names: readonly string[]

  constructor(names: readonly string[], seed = 1) {
    this.names = names
    this.random = new Random(seed)
    for (const name of names) this.add(name)
  }

  add(name: string): Replica {
    const r: Replica = {
      name,
      disk: memoryDisk(name),
      log: null,
      birth: null,
      life: 0,
      born: null,
      refused: '',
      said: [],
      settled: Promise.resolve(),
      gone: Promise.withResolvers(),
    }
    this.replicas.set(name, r)
    return r
  }

  async start(name: string): Promise<void> {
    const r = this.replicas.get(name)!
    const life = ++r.life
    r.born = null
    r.refused = ''
    const log = await Promise.race([openLog(r.disk, OPTIONS), r.gone.promise])
    if (log === null) return
    r.log = log
    const alive = (): boolean => r.life === life
    // What a dead process asked for never comes back.
    const step = async (): Promise<void> => {
      if (!alive()) return new Promise(() => {})
      this.steps++
      if (this.crash !== null && this.steps === this.crash.at && this.crashed === null) {
        this.crashed = this.kill(this.crash.who, this.crash.lost)
        await this.crashed
      }
      if (!alive()) return new Promise(() => {})
    }
    const list = this.lists.get(name) ?? this.names
    r.birth = new Birth({
      log: {
        get identity() {
          return log.identity
        },
        get snapshot() {
          return log.snapshot
        },
        setIdentity: async (bytes) => {
          await step()
          await log.setIdentity(bytes)
        },
        createSnapshot: (at, adopt) => log.createSnapshot(at, adopt),
        append: async (batch) => {
          await step()
          await log.append(batch)
        },
      },
      name,
      address: `${name}:1`,
      initialMembers: this.join === null ? list.map((n) => ({ name: n, address: `${n}:1` })) : [],
      join: this.join,
      learner: false,
      ask: async (address, question) => {
        await step()
        const answer = await this.deliver(address, question)
        await step()
        return answer
      },
      randomWord: () => this.random.word(),
      level: this.supports(name),
      birth: (clusterId, level) => ({ level, clusterId, room: 1 }),
      refuses: () => this.fit(name),
      pause: () => new Promise((resolve) => setImmediate(resolve)),
      say: (sentence) => void r.said.push(sentence),
    })
    r.settled = r.birth.run().then(
      (identity) => {
        if (alive()) r.born = identity
      },
      (error: Error) => {
        if (!alive()) return
        if (!(error instanceof BirthRefused)) throw error
        r.refused = error.message
      },
    )
  }

  private async deliver(address: string, question: Uint8Array): Promise<Uint8Array> {
    const other = this.others.get(address)
    if (other !== undefined) return other(question)
    const name = address.split(':')[0]!
    if (this.wrongKeys.has(name)) throw new Cut(true)
    const r = this.replicas.get(name)
    const life = r?.life
    if (r === undefined || r.birth === null) throw new Cut()
    const answer = await Promise.race([r.birth.answer(question), r.gone.promise])
    if (answer === null || r.life !== life) throw new Cut()
    return answer
  }

  async kill(name: string, lost = false): Promise<void> {
    const r = this.replicas.get(name)!
    r.life++
    r.gone.resolve(null)
    r.gone = Promise.withResolvers()
    r.birth = null
    r.disk = lost ? memoryDisk(name) : r.disk.crash()
    await new Promise((resolve) => setImmediate(resolve))
  }

  /** Until all are members or refused; false: they go on asking. */
  async settle(turns = 400): Promise<boolean> {
    for (let i = 0; i < turns; i++) {
      await new Promise((resolve) => setImmediate(resolve))
      if (this.crash !== null && this.crashed !== null) {
        await this.crashed
        const { who } = this.crash
        if (this.replicas.get(who)!.birth === null) await this.start(who)
      }
      if ([...this.replicas.values()].every((r) => r.born !== null || r.refused !== '')) return true
    }
    return false
  }

  stop(): void {
    for (const r of this.replicas.values()) {
      r.life++
      r.birth?.stop()
    }
  }
}

const THREE = ['r0', 'r1', 'r2']

const oneCluster = (town: Town): void => {
  const born = [...town.replicas.values()].map((r) => r.born!)
  assert.equal(new Set(born.map((i) => i.clusterId)).size, 1)
  assert.equal(new Set(born.map((i) => i.memberId)).size, born.length)
  for (const i of born) {
    assert.equal(i.phase, undefined)
    assert.deepEqual(i.initialMembers, born[0]!.initialMembers)
    assert.equal(i.initialMembers.find((m) => m.name === i.name)!.id, i.memberId)
    assert.deepEqual(i.birth, born[0]!.birth)
  }
}

test('three empty replicas become one cluster, and their logs begin alike', async () => {
  const town = new Town(THREE)
  for (const name of THREE) await town.start(name)
  assert.ok(await town.settle())
  oneCluster(town)
  const ids = town.replicas.get('r0')!.born!.initialMembers.map((m) => m.id)
  for (const r of town.replicas.values()) {
    assert.deepEqual(r.log!.snapshot?.confState.voters, ids)
    assert.deepEqual(r.log!.hardState, { term: 1, vote: 0, commit: 1 })
    assert.deepEqual(
      firstDirectory(r.born!)
        .members.map((m) => m.address)
        .sort(),
      ['r0:1', 'r1:1', 'r2:1'],
    )
  }
})

test('of four names three vote and one learns; alone nobody is asked', async () => {
  const town = new Town(['r3', 'r1', 'r0', 'r2'])
  for (const name of town.names) await town.start(name)
  assert.ok(await town.settle())
  const { confState } = town.replicas.get('r3')!.log!.snapshot!
  const id = (name: string): number => town.replicas.get(name)!.born!.memberId
  assert.deepEqual(confState.voters, ['r0', 'r1', 'r2'].map(id))
  assert.deepEqual(confState.learners, [id('r3')])
  const alone = new Town([])
  alone.add('r9')
  await alone.start('r9')
  assert.ok(await alone.settle())
  assert.deepEqual(alone.replicas.get('r9')!.log!.snapshot?.confState.voters, [
    alone.replicas.get('r9')!.born!.memberId,
  ])
})

test('nothing is formed while one is missing, and it is said whom', async () => {
  const town = new Town(THREE)
  await town.start('r0')
  await town.start('r2')
  assert.equal(await town.settle(30), false)
  for (const name of ['r0', 'r2']) {
    assert.equal(town.replicas.get(name)!.log!.identity, null)
    assert.match(town.replicas.get(name)!.said.join('\n'), /needs every initial member; no answer from .*r1/)
  }
  await town.start('r1')
  assert.ok(await town.settle())
  oneCluster(town)
})

test('a crash of anybody before any step leaves one cluster in the end', async () => {
  let most = 0
  for (const who of THREE)
    for (let at = 1; ; at++) {
      const town = new Town(THREE, at)
      town.crash = { at, who, lost: false }
      for (const name of THREE) await town.start(name)
      assert.ok(await town.settle(), `crash of ${who} before step ${at} never settles`)
      oneCluster(town)
      town.stop()
      most = Math.max(most, at)
      if (town.crashed === null) break
    }
  assert.ok(most > 15, `only ${most} steps`)
})

test('a disk lost before any step never makes two clusters that could both go on', async () => {
  for (const who of THREE)
    for (let at = 1; ; at++) {
      const town = new Town(THREE, at)
      town.crash = { at, who, lost: true }
      for (const name of THREE) await town.start(name)
      await town.settle(30)
      // Whoever started did so in one cluster, or too few to have answered anything in the other.
      const started = new Map<string, Set<string>>()
      for (const r of town.replicas.values()) {
        const identity = r.log!.identity === null ? null : decodeIdentity(r.log!.identity, 2)
        if (identity === null || identity.phase !== undefined) continue
        started.set(identity.clusterId, (started.get(identity.clusterId) ?? new Set()).add(r.name))
      }
      assert.ok([...started.values()].filter((s) => s.size > 1).length <= 1, `${who} at ${at}`)
      // An ID that may have voted is not given to an empty disk again.
      const lost = town.replicas.get(who)!
      const others = [...town.replicas.values()].filter((r) => r !== lost && r.born !== null)
      if (lost.born !== null && others.length === 2 && lost.born.initialMembers.length > 0)
        assert.equal(lost.born.clusterId, others[0]!.born!.clusterId)
      const crashed = town.crashed
      town.stop()
      if (crashed === null) break
    }
})

test('other lists, other names, other keys: nothing is formed, and it is said what to correct', async () => {
  const town = new Town(THREE)
  town.lists.set('r1', ['r1', 'r2'])
  for (const name of THREE) await town.start(name)
  assert.equal(await town.settle(30), false)
  assert.match(
    town.replicas.get('r0')!.said.join('\n'),
    /"r1" was started with other --initial-members \(r1, r2\)/,
  )
  town.stop()
  const keys = new Town(['r0', 'r1'])
  keys.wrongKeys.add('r1')
  await keys.start('r0')
  await keys.settle(10)
  assert.match(keys.replicas.get('r0')!.said.join('\n'), /"r1": another network key/)
  keys.stop()
  const small = new Town(THREE)
  small.fit = (name) => (name === 'r2' ? 'too little memory: start it with --memory 2GiB' : null)
  for (const name of THREE) await small.start(name)
  assert.equal(await small.settle(30), false)
  assert.match(small.replicas.get('r0')!.said.join('\n'), /"r2": too little memory/)
  assert.equal(small.replicas.get('r0')!.born, null)
  small.stop()
})

test('a cluster is born at the level that all its initial members support', async () => {
  for (const oldest of [1, 2]) {
    const town = new Town(THREE)
    town.supports = (name) => (name === 'r1' ? oldest : 2)
    for (const name of THREE) await town.start(name)
    assert.equal(await town.settle(30), true)
    for (const { born } of town.replicas.values()) {
      assert.equal((born!.birth as { level: number }).level, oldest)
      assert.equal(born!.version, oldest, 'an older version refuses the folder of a newer cluster')
    }
    town.stop()
  }
})

/** A running cluster of one behind an address: it adds whom it is asked to add. */
const running = (town: Town, leader = 'c0:1'): { joined: number[]; refuse: Said | null } => {
  const state: { joined: number[]; refuse: Said | null } = { joined: [], refuse: null }
  const members = [{ id: 7, name: 'c0', address: leader }]
  const reply = (at: string, bytes: Uint8Array): Said => {
    const q = decodeQuestion(bytes)!
    if (q.ask === 'record') return { is: 'record', clusterId: 'abc', birth: { room: 3 }, members }
    if (q.ask !== 'join') return { is: 'member', name: 'c0', clusterId: 'abc', id: 7 }
    if (at !== leader) return { is: 'elsewhere', name: 'c0', address: leader, sentence: 'ask c0' }
    if (state.refuse !== null) return state.refuse
    state.joined.push(q.id)
    return {
      is: 'done',
      sentence: 'joined',
      members: [...members, { id: q.id, name: q.name, address: q.address }],
    }
  }
  for (const at of ['c0:1', 'c1:1']) town.others.set(at, async (bytes) => encodeSaid(reply(at, bytes)))
  return state
}

test('a newcomer writes down who it will be before it asks, and asks the leader', async () => {
  const town = new Town([])
  town.join = ['c1:1']
  const state = running(town)
  town.add('r5')
  await town.start('r5')
  assert.ok(await town.settle())
  const identity = town.replicas.get('r5')!.born!
  assert.deepEqual(state.joined, [identity.memberId])
  assert.deepEqual([identity.clusterId, identity.birth, identity.initialMembers], ['abc', { room: 3 }, []])
  assert.deepEqual(
    firstDirectory(identity)
      .members.map((m) => m.name)
      .sort(),
    ['c0', 'r5'],
  )
  // It begins with nothing: its leader sends it the state.
  assert.equal(town.replicas.get('r5')!.log!.snapshot, null)
})

test('a newcomer that crashes before any step asks again under the same ID', async () => {
  for (let at = 1; ; at++) {
    const town = new Town([])
    town.join = ['c1:1']
    const state = running(town)
    town.add('r5')
    town.crash = { at, who: 'r5', lost: false }
    await town.start('r5')
    assert.ok(await town.settle(), `step ${at}`)
    assert.equal(new Set(state.joined).size, 1)
    assert.equal(state.joined[0], town.replicas.get('r5')!.born!.memberId)
    if (town.crashed === null) break
  }
})

test('an initial member that comes back empty joins what the others are, as somebody new', async () => {
  const town = new Town(['c0', 'c1', 'r5'])
  running(town)
  await town.start('r5')
  for (let i = 0; i < 40; i++) await new Promise((resolve) => setImmediate(resolve))
  assert.equal(town.replicas.get('r5')!.born?.clusterId, 'abc')
  town.stop()
})

test('a refusal is repeated to the admin until it is over; a final one ends the start', async () => {
  const town = new Town([])
  town.join = ['c0:1']
  const state = running(town)
  state.refuse = { is: 'refused', sentence: 'a member called r5 is alive', final: false }
  const r = town.add('r5')
  await town.start('r5')
  await town.settle(20)
  assert.match(r.said.join(), /r5 asks to be added: a member called r5 is alive/)
  assert.equal(r.said.length, 1)
  state.refuse = { is: 'refused', sentence: 'member 3 was removed', final: true }
  assert.ok(await town.settle())
  assert.equal(r.refused, 'member 3 was removed')
  const narrow = new Town([])
  narrow.join = ['c0:1']
  running(narrow)
  narrow.fit = () => 'too little memory'
  const n = narrow.add('r6')
  await narrow.start('r6')
  assert.ok(await narrow.settle())
  assert.equal(n.refused, 'too little memory')
  assert.equal(n.log!.identity, null)
})

test('what is no question and no answer is null', () => {
  for (const text of [
    '',
    '{',
    '[]',
    'null',
    '{"v":2,"ask":"who"}',
    '{"v":1,"ask":"toString"}',
    '{"v":1,"ask":"pledge"}',
  ])
    assert.equal(decodeQuestion(Buffer.from(text)), null)
  const bad = { v: 1, ask: 'pledge', pledge: { clusterId: 'a', birth: 1, initialMembers: [{ name: 3 }] } }
  assert.equal(decodeQuestion(Buffer.from(JSON.stringify(bad))), null)
  assert.equal(decodeSaid(Buffer.from('{"v":1,"is":"done","sentence":"x","members":{}}')), null)
  assert.deepEqual(decodeQuestion(encodeQuestion({ ask: 'who' })), { v: 1, ask: 'who' })
})
