// One running operator in the simulated world: its caches, its queue, and the shells that ship (reconcile,
// observe, act) on top of ports that watch what it does. It may crash at any write and be started again with
// nothing but what the server knows. Refuses: to let a rule be broken unseen. Each write is held against the
// truth, not against what the operator believes.

import type { Random } from '@skep/testing/random.ts'
import {
  type Api,
  ApiError,
  type KubeObject,
  type MemberAddress,
  type MemberAnswer,
  type Members,
  TOO_MANY,
} from '../model/ports.ts'
import type { Plan } from '../model/steps.ts'
import { newQueue } from '../queue.ts'
import { reconcile } from '../reconcile.ts'
import { wokenBy } from '../work.ts'
import type { World } from '../world.ts'
import type { Group, Process } from './group.ts'
import type { Kubernetes } from './kubernetes.ts'
import { isReady, type Rules } from './rules.ts'
import { Cache, Crash, type Faults, type Server } from './server.ts'

export type Surroundings = {
  readonly server: Server
  readonly group: Group
  readonly kubernetes: Kubernetes
  readonly faults: Faults
  readonly rules: Rules
  readonly random: Random
  nowMs(): number
  trace(line: string): void
}

const KEY = 'TrackerCluster/n/t'

export class Operator {
  readonly world: World
  private readonly s: Surroundings
  private readonly cache: Cache
  private readonly queue = newQueue({ firstMs: 500, mostMs: 10_000 })
  private readonly marks = new Map<string, string>()
  private keys = 0
  last: Plan | null = null
  passes = 0

  constructor(s: Surroundings) {
    this.s = s
    this.cache = new Cache(s.server)
    this.world = {
      api: apiOf(s, this.cache),
      members: membersOf(s),
      nowMs: s.nowMs,
      makeKey: () => `${String(++this.keys).padStart(8, '0')}-${s.random.word()}-`.padEnd(40, 'k'),
      repository: 'registry.example/skep',
      version: '1.2.0',
      memories: new Map(),
    }
    this.queue.add(KEY, s.nowMs())
  }

  /** Caches see some of what has happened; a pass runs if one is due. */
  async tick(lag: number): Promise<void> {
    const { random } = this.s
    if (this.cache.behind > 0 && !random.chance(lag)) {
      const most = random.chance(0.8) ? Number.POSITIVE_INFINITY : random.between(1, 4)
      this.cache.follow(most, (change) => {
        for (const key of wokenBy(change.object.kind, change, this.marks)) this.queue.add(key, this.s.nowMs())
      })
    }
    const key = this.queue.take(this.s.nowMs())
    if (key === null) return
    this.passes++
    try {
      const pass = await reconcile(this.world, 'n', 't')
      this.last = pass?.plan ?? null
      if (pass !== null && pass.plan.step.kind !== 'none')
        this.s.trace(`${pass.plan.reason}: ${pass.plan.message}`)
      this.queue.done(key, pass === null ? null : this.s.nowMs() + pass.plan.requeueAfterMs)
    } catch (error) {
      if (error instanceof Crash) throw error
      this.s.trace(`failed: ${(error as Error).message}`)
      this.queue.failed(key, this.s.nowMs(), random.unit())
    }
  }
}

const apiOf = (s: Surroundings, cache: Cache): Api => {
  /** Around each write: it may fail before or after, and the world moves meanwhile. */
  const writing = async <T>(what: string, write: () => T): Promise<T> => {
    const { faults, random } = s
    if (--faults.crashAfter === 0) throw new Crash(`before ${what}`)
    if (random.chance(faults.failures)) throw new ApiError(0, `${what}: no answer`)
    s.rules.writes++
    const done = write()
    s.trace(`  ${what}`)
    if (--faults.crashAfter === 0) throw new Crash(`after ${what}`)
    if (random.chance(faults.failures)) throw new ApiError(0, `${what}: no answer, but done`)
    return done
  }
  const { server, rules } = s
  return {
    list: (kind, _namespace, labels = {}) => cache.list(kind, labels),
    cached: (kind, namespace, name) => cache.get(kind, namespace, name),
    silent: () => null,
    get: (kind, namespace, name) => Promise.resolve(server.get(kind, namespace, name)),
    apply: (object) =>
      writing(`apply ${object.kind} ${object.metadata.name}`, () => {
        rules.beforeApply(object)
        return server.apply(JSON.parse(JSON.stringify(object)) as KubeObject)
      }),
    patchMetadata: (kind, namespace, name, metadata) =>
      writing(`patch ${kind} ${name}`, () =>
        server.patchMetadata(kind, namespace, name, metadata as Record<string, unknown>),
      ),
    putStatus: (object, status) =>
      writing(`status of ${object.metadata.name}`, () => server.putStatus(object, status)),
    delete: (kind, namespace, name, options) =>
      writing(`delete ${kind} ${name}`, () => {
        rules.beforeDelete(kind, name, options)
        server.delete(kind, namespace, name, options)
      }),
    evict: (namespace, pod, uid) =>
      writing(`evict ${pod}`, () => {
        const others = s.kubernetes.pods().filter((p) => p.metadata.name !== pod)
        if (others.some((p) => !isReady(p))) throw new ApiError(TOO_MANY, 'the disruption budget forbids it')
        rules.beforeDelete('Pod', pod, { uid })
        server.delete('Pod', namespace, pod, { uid })
      }),
    event: () => Promise.resolve(),
  }
}

const membersOf = (s: Surroundings): Members => {
  const { group, faults, random } = s
  const reached = (at: MemberAddress): Process => {
    const p = group.processes.get(at.podUid)
    if (p === undefined || !p.reachable || s.nowMs() - p.startedMs < 500 || random.chance(faults.failures))
      throw new Error('no answer')
    return p
  }
  const change =
    (kind: 'promote' | 'demote' | 'remove' | 'transfer' | 'drain' | 'undrain') =>
    async (at: MemberAddress, who: string | readonly string[]): Promise<MemberAnswer> => {
      if (--faults.crashAfter === 0) throw new Crash(`before ${kind}`)
      let p: Process
      try {
        p = reached(at)
      } catch {
        return { kind: 'unknown', sentence: 'no answer' }
      }
      const answer = group.ask(p, s.nowMs(), { kind, ids: typeof who === 'string' ? [who] : who })
      s.rules.asked(kind, answer)
      s.trace(`  ${kind} ${String(who)}: ${answer.kind} (${answer.sentence})`)
      if (--faults.crashAfter === 0) throw new Crash(`after ${kind}`)
      return random.chance(faults.failures) ? { kind: 'unknown', sentence: 'no answer, but done' } : answer
    }
  return {
    status: async (at) => group.report(reached(at), s.nowMs()),
    promote: change('promote'),
    demote: change('demote'),
    remove: change('remove'),
    transfer: change('transfer'),
    drain: (at, undo) => change(undo ? 'undrain' : 'drain')(at, []),
  }
}
