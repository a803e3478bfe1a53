// One simulated life of a cluster: wishes of people and faults drawn from a seed, then peace, in which
// everything has to become as the specification asks, and then silence, in which nothing may be written.
// Refuses: real time and chance. The same seed and options give the same life.

import { Random } from '@skep/testing/random.ts'
import { ORDINAL_LABEL, POD_LABEL } from '../model/labels.ts'
import type { TrackerClusterSpec } from '../model/types.ts'
import { oddUpTo, rfc3339 } from '../model/units.ts'
import { Group, type Process } from './group.ts'
import { Kubernetes, nodeOf } from './kubernetes.ts'
import { Operator, type Surroundings } from './operator.ts'
import { Rules } from './rules.ts'
import { Crash, type Faults, Server, type Stored } from './server.ts'

export type SimOptions = {
  readonly seed: number
  /** Length of the troubled part, simulated seconds. Default 180. */
  readonly troubleSeconds?: number
  /** People's wishes instead of drawn ones, each with its time in seconds. */
  readonly wishes?: readonly {
    readonly at: number
    readonly spec?: TrackerClusterSpec
    readonly annotations?: Record<string, string>
  }[]
  /** The operator is gone at this write, and started again; Infinity or absent: by chance. */
  readonly crashAt?: number
  /** No faults but the crash. */
  readonly calm?: boolean
  /** Lines of what happens. */
  readonly trace?: (line: string) => void
}

export type Outcome = {
  readonly seed: number
  readonly violation: string | null
  /** Simulated seconds until all was as wished after peace; null: never. */
  readonly settledSeconds: number | null
  readonly passes: number
  readonly writes: number
  readonly crashes: number
  readonly counts: ReadonlyMap<string, number>
  readonly faults: ReadonlyMap<string, number>
}

const TICK_MS = 500
const BEGIN_MS = Date.parse('2026-01-03T12:00:00Z')
/**
 * After peace all has to be well within this, milliseconds: a lost node has to come to be known, and volumes
 * to be refilled.
 */
const PEACE_MS = 900_000
/** So long nothing is written before the silence begins, ticks; it begins after so many in any case. */
const QUIET_TICKS = 20
const MOST_TICKS = 200
/** And then all stays so, without a write. */
const SILENCE_MS = 120_000
/** Most passes in that time: one every ten seconds, or where addresses depend on it every two, and some. */
const silentPasses = (ownAddresses: boolean): number => SILENCE_MS / (ownAddresses ? 2000 : 10_000) + 6
/** Most writes a simulated second on the average, in trouble: more is a hot loop. */
const WRITES_PER_SECOND = 6

const WORDS = 'I accept losing what only the lost replicas had'

export class Life {
  private readonly o: SimOptions
  private readonly random: Random
  private nowMs = BEGIN_MS
  readonly server: Server
  readonly group: Group
  readonly kubernetes: Kubernetes
  readonly rules: Rules
  private readonly faults: Faults
  private readonly surroundings: Surroundings
  private operator: Operator
  /** One that has lost its Lease and does not know it yet. */
  private ghost: { operator: Operator; untilMs: number } | null = null
  private passes = 0
  private crashes = 0
  private downUntilMs = 0
  private readonly counts = new Map<string, number>()
  private healMs: { at: number; heal: () => void }[] = []

  constructor(o: SimOptions) {
    this.o = o
    this.random = new Random(o.seed)
    this.server = new Server(() => rfc3339(this.nowMs))
    this.group = new Group(this.random.fork())
    this.kubernetes = new Kubernetes(this.server, this.group, this.random.fork(), this.random.between(4, 7))
    const calm = o.calm === true
    this.faults = {
      random: this.random,
      failures: calm ? 0 : this.random.pick([0, 0, 0.01, 0.05]),
      crashAfter: o.crashAt ?? this.nextCrash(),
    }
    this.rules = new Rules(this.server, this.group, () => this.nowMs)
    this.surroundings = {
      server: this.server,
      group: this.group,
      kubernetes: this.kubernetes,
      faults: this.faults,
      rules: this.rules,
      random: this.random.fork(),
      nowMs: () => this.nowMs,
      trace: (line) => this.say(line),
    }
    this.server.create({
      apiVersion: 'skep.dev/v1alpha1',
      kind: 'TrackerCluster',
      metadata: { name: 't', namespace: 'n', annotations: {} },
      spec: o.wishes?.[0]?.spec ?? this.firstSpec(),
    })
    this.operator = new Operator(this.surroundings)
  }

  private say(line: string): void {
    this.o.trace?.(`${((this.nowMs - BEGIN_MS) / 1000).toFixed(2).padStart(8)} ${line}`)
  }

  private nextCrash(): number {
    if (this.o.calm === true || this.o.crashAt !== undefined) return Number.POSITIVE_INFINITY
    return this.random.chance(0.6) ? this.random.between(1, 40) : Number.POSITIVE_INFINITY
  }

  private firstSpec(): Record<string, unknown> {
    const retention = this.random.pick(['Retain', 'Delete'])
    return {
      replicas: this.random.pick([1, 3, 3, 5]),
      replaceAfterSeconds: 30,
      image: { tag: '1.2.0' },
      rollout: { surge: this.random.chance(0.3), settleSeconds: this.random.pick([0, 2, 5]) },
      storage: { retention },
      services: { perReplica: { enabled: this.o.seed % 2 === 0 } },
    }
  }

  private ownAddresses(): boolean {
    const spec = this.server.get('TrackerCluster', 'n', 't')?.spec as TrackerClusterSpec | undefined
    return spec?.services?.perReplica?.enabled === true
  }

  async run(): Promise<Outcome> {
    const troubleMs = (this.o.troubleSeconds ?? 180) * 1000
    const peaceFromMs = BEGIN_MS + troubleMs
    let settledMs: number | null = null
    while (this.nowMs < peaceFromMs && this.rules.violation === null) {
      this.trouble()
      await this.tick(0.3)
    }
    this.peace()
    while (this.nowMs < peaceFromMs + PEACE_MS && this.rules.violation === null) {
      this.unlock()
      await this.tick(0.1)
      if (!this.asWished()) continue
      settledMs = this.nowMs - peaceFromMs
      break
    }
    if (this.rules.violation === null && settledMs === null)
      this.rules.break(`not as wished ${PEACE_MS / 1000} seconds after peace: ${this.why()}`)
    if (this.rules.violation === null) await this.silence()
    if (this.rules.violation === null && this.o.calm !== true && this.random.chance(0.3))
      await this.secondLife()
    const seconds = (this.nowMs - BEGIN_MS) / 1000
    if (this.rules.violation === null && this.rules.writes > seconds * WRITES_PER_SECOND)
      this.rules.break(`${this.rules.writes} writes in ${seconds} seconds: a hot loop`)
    return {
      seed: this.o.seed,
      violation: this.rules.violation,
      settledSeconds: settledMs === null ? null : settledMs / 1000,
      passes: this.passes + this.operator.passes,
      writes: this.rules.writes,
      crashes: this.crashes,
      counts: this.rules.counts,
      faults: this.counts,
    }
  }

  /** All is as wished: for two minutes nothing may be written. */
  private async silence(): Promise<void> {
    // What the last trouble did may only be noticed now. A loop that never ends is found below.
    for (let quiet = 0, i = 0; quiet < QUIET_TICKS && i < MOST_TICKS; i++) {
      const before = this.rules.writes
      await this.tick(0)
      quiet = this.rules.writes === before ? quiet + 1 : 0
    }
    const [writes, passes] = [this.rules.writes, this.operator.passes]
    const until = this.nowMs + SILENCE_MS
    while (this.nowMs < until) await this.tick(0)
    const wrote = this.rules.writes - writes
    if (wrote > 0) this.rules.break(`${wrote} writes although nothing has changed`)
    const passed = this.operator.passes - passes
    if (passed > silentPasses(this.ownAddresses()))
      this.rules.break(`${passed} passes in ${SILENCE_MS / 1000} seconds although nothing has changed`)
    if (!this.asWished()) this.rules.break(`was as wished, and is not any more: ${this.why()}`)
  }

  /**
   * The resource is deleted. Volumes go, if that was asked for; or else the same cluster comes back with a
   * new resource.
   */
  private async secondLife(): Promise<void> {
    const { server, group } = this
    const before = server.get('TrackerCluster', 'n', 't')!
    const { storage } = before.spec as TrackerClusterSpec
    const claims = server.list('PersistentVolumeClaim').length
    this.rules.twoOwners = true
    this.say(`DELETED, retention ${storage?.retention}`)
    server.delete('TrackerCluster', 'n', 't', {})
    const overlap = this.random.chance(0.5)
    const gone = (): boolean =>
      server.get('TrackerCluster', 'n', 't') === null && (overlap || this.kubernetes.pods().length === 0)
    if (!(await this.until(gone))) return this.rules.break('the resource was deleted, and is not gone')
    const left = server.list('PersistentVolumeClaim').length
    if (storage?.retention === 'Delete') {
      if (left > 0) this.rules.break(`${left} volumes are left`)
      return
    }
    if (left !== claims) return this.rules.break(`${left} of ${claims} volumes are left`)
    const { id, births } = { id: group.clusterID, births: group.births }
    server.create({ ...before, metadata: { name: 't', namespace: 'n', annotations: {} } })
    this.say('MADE ANEW')
    if (!(await this.until(() => this.operator.last !== null && this.asWished())))
      this.rules.break(`made anew, and not as wished: ${this.why()}`)
    if (group.clusterID !== id || group.births !== births) this.rules.break('made anew, and another cluster')
  }

  private async until(is: () => boolean): Promise<boolean> {
    const end = this.nowMs + PEACE_MS
    while (this.nowMs < end && this.rules.violation === null) {
      await this.tick(0.1)
      if (is()) return true
    }
    return false
  }

  private async tick(lag: number): Promise<void> {
    this.nowMs += TICK_MS
    this.kubernetes.tick(this.nowMs)
    this.group.tick(this.nowMs)
    this.rules.tick()
    this.rules.addresses(this.kubernetes.pods(), this.nowMs >= this.downUntilMs ? this.operator.last : null)
    await this.haunt()
    if (this.nowMs < this.downUntilMs) return
    try {
      await this.operator.tick(lag)
    } catch (error) {
      if (!(error instanceof Crash)) throw error
      this.crash(error.message)
    }
  }

  private async haunt(): Promise<void> {
    if (this.ghost === null) return
    try {
      await this.ghost.operator.tick(0.8)
    } catch (error) {
      if (!(error instanceof Crash)) throw error
      this.ghost = null
      return
    }
    if (this.nowMs >= this.ghost.untilMs) this.ghost = null
  }

  private crash(where: string): void {
    this.say(`CRASH ${where}`)
    this.crashes++
    this.passes += this.operator.passes
    this.downUntilMs = this.nowMs + this.random.between(0, 8000)
    this.faults.crashAfter = this.nextCrash()
    if (this.o.calm !== true && this.random.chance(0.3))
      this.ghost = { operator: this.operator, untilMs: this.nowMs + this.random.between(2000, 15_000) }
    this.operator = new Operator(this.surroundings)
  }

  // --- wishes and faults
  // -------------------------------------------------------------------------------------------

  private trouble(): void {
    const seconds = (this.nowMs - BEGIN_MS) / 1000
    for (const w of this.o.wishes ?? [])
      if (w.at > seconds - TICK_MS / 1000 && w.at <= seconds) this.wish(w.spec ?? {}, w.annotations ?? {})
    for (const h of this.healMs.filter((x) => x.at <= this.nowMs)) h.heal()
    this.healMs = this.healMs.filter((x) => x.at > this.nowMs)
    if (this.o.calm === true) return
    if (this.o.wishes === undefined && this.random.chance(TICK_MS / 20_000)) this.drawWish()
    if (this.random.chance(TICK_MS / 25_000)) this.drawFault()
    this.unlock()
  }

  private wish(spec: TrackerClusterSpec, annotations: Record<string, string>): void {
    const there = this.server.get('TrackerCluster', 'n', 't')
    if (there === null) return
    this.say(`WISH ${JSON.stringify({ ...spec, ...annotations })}`)
    const next = { ...there.spec, ...spec }
    this.server.update(there, {
      ...(JSON.stringify(next) === JSON.stringify(there.spec) ? {} : { spec: next }),
      metadata: { annotations: { ...there.metadata.annotations, ...annotations } },
    })
  }

  private drawWish(): void {
    const { random } = this
    const wishes: (() => void)[] = [
      () => this.wish({ replicas: random.pick([1, 2, 3, 4, 5, 7]) }, {}),
      () => this.wish({ replicas: random.pick([3, 5]) }, {}),
      () => this.wish({ maxVoters: random.pick([1, 3, 5, 7]) }, {}),
      () => this.wish({ image: { tag: random.pick(['1.2.0', '1.2.1', '1.3.0', 'bad']) } }, {}),
      () => this.wish({ image: { tag: random.pick(['1.2.0', '1.2.1']) } }, {}),
      () => this.wish({}, { 'skep.dev/restart': String(random.below(100)) }),
      () => this.wish({}, { 'skep.dev/rotate-key': String(random.below(100)) }),
      () => this.wish({ hibernated: random.chance(0.5) }, {}),
      () => this.wish({ paused: random.chance(0.3) }, {}),
      () => this.wish({ storage: { retention: random.pick(['Retain', 'Delete']) } }, {}),
    ]
    random.pick(wishes)()
  }

  private drawFault(): void {
    const { random, kubernetes, server } = this
    const pods = kubernetes.pods()
    if (pods.length === 0) return
    const pod = random.pick(pods)
    const faults: [string, () => void][] = [
      ['process killed', () => kubernetes.kill(pod, 137)],
      ['pod deleted', () => server.delete('Pod', 'n', pod.metadata.name, {})],
      ['node lost', () => this.loseNode(nodeOf(pod), random.between(3000, 120_000))],
      ['node lost', () => this.loseNode(nodeOf(pod), random.between(3000, 20_000))],
      ['volume lost', () => this.loseVolume(pod.metadata.name)],
      ['scaled by hand', () => this.scaleByHand()],
      ...(random.chance(0.1) ? [['majority lost', () => this.loseMajority()] as [string, () => void]] : []),
    ]
    const [what, strike] = random.pick(faults)
    this.say(`FAULT ${what}: ${pod.metadata.name}`)
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1)
    this.rules.faultMs = this.nowMs
    strike()
  }

  private loseNode(node: string, forMs: number): void {
    if (node === '' || !this.kubernetes.nodes.get(node)!.up) return
    this.kubernetes.lose(node)
    this.healMs.push({
      at: this.nowMs + forMs,
      heal: () => {
        this.say(`HEAL ${node}`)
        this.kubernetes.heal(node)
      },
    })
  }

  /**
   * Three voters or more, each with all that was acknowledged, on a volume that stays. A replica on its way
   * out still answers for seconds after its volume was lost: with another one lost in that time nothing may
   * be left to go on from.
   */
  private whole(): boolean {
    const { group, server } = this
    const stays = (p: Process): boolean => {
      const claim = server.get('PersistentVolumeClaim', 'n', `data-${p.pod}`)
      return claim?.metadata.uid === p.claimUid && claim.metadata.deletionTimestamp === undefined
    }
    if (group.pending !== null || group.voters().length < 3) return false
    return group.voters().every(({ id }) => {
      const p = group.alive(id, this.nowMs)
      return p !== null && stays(p) && group.match(id, this.nowMs) >= group.acked
    })
  }

  /** Only one whose loss the group bears: what a majority has lost is not the operator's to bring back. */
  private loseVolume(pod: string): void {
    const p = this.kubernetes.processOf(pod)
    const claim = this.server.get('PersistentVolumeClaim', 'n', `data-${pod}`)
    if (p === null || claim === null || !this.whole()) return
    this.server.delete('PersistentVolumeClaim', 'n', claim.metadata.name, {})
    this.server.delete('Pod', 'n', pod, {})
  }

  /**
   * Volumes of most voters at once. Those that are left are whole, so that it can be told from whom to go on.
   */
  private loseMajority(): void {
    const { group, server } = this
    if (!this.whole()) return
    const voters = group.voters()
    for (const { name } of voters.slice(0, Math.floor(voters.length / 2) + 1)) {
      server.delete('PersistentVolumeClaim', 'n', `data-${name}`, {})
      server.delete('Pod', 'n', name, { force: true })
      const p = [...group.processes.values()].find((x) => x.pod === name)
      if (p !== undefined) group.processes.delete(p.podUid)
    }
  }

  private scaleByHand(): void {
    const set = this.server.get('StatefulSet', 'n', 't')
    if (set === null) return
    const { replicas } = set.spec as { replicas: number }
    this.server.update(set, { spec: { ...set.spec, replicas: Math.max(0, replicas - 1) } })
  }

  /** A majority of volumes was lost together: a person writes the words. */
  private unlock(): void {
    const { group, server } = this
    if (group.clusterID === '' || !this.random.chance(TICK_MS / 5000)) return
    const intact = group
      .voters()
      .filter((m) =>
        [...group.disks].some(
          ([uid, d]) =>
            d?.memberID === m.id && server.list('PersistentVolumeClaim').some((c) => c.metadata.uid === uid),
        ),
      ).length
    if (intact * 2 > group.voters().length) return
    const recorded = (server.get('TrackerCluster', 'n', 't')?.status as { clusterID?: string } | undefined)
      ?.clusterID
    if (recorded !== undefined) this.wish({}, { 'skep.dev/recover': `${recorded} ${WORDS}` })
  }

  private peace(): void {
    this.say('PEACE')
    this.ghost = null
    for (const h of this.healMs) h.heal()
    this.healMs = []
    Object.assign(this.faults, { failures: 0, crashAfter: Number.POSITIVE_INFINITY })
    if (this.o.wishes === undefined) {
      const spec = this.server.get('TrackerCluster', 'n', 't')!.spec as { image: { tag: string } }
      const tag = spec.image.tag === 'bad' ? '1.2.1' : spec.image.tag
      this.wish({ paused: false, hibernated: false, image: { tag } }, { 'skep.dev/allow-skew': tag })
    }
  }

  // --- what is wished
  // ----------------------------------------------------------------------------------------------

  private asWished(): boolean {
    return this.why() === ''
  }

  /** '' : all is as the specification asks, by the truth and by the operator's own word. */
  private why(): string {
    const { server, group } = this
    const resource = server.get('TrackerCluster', 'n', 't')
    if (resource === null) return ''
    const { replicas = 3, maxVoters = 5, hibernated } = resource.spec as TrackerClusterSpec
    const pods = this.kubernetes.pods()
    const plan = this.operator.last
    if (plan === null) return 'no pass yet'
    if (hibernated === true) return pods.length === 0 ? '' : 'pods of a cluster that is to sleep'
    if (plan.reason !== 'Settled') return `${plan.reason}: ${plan.message}`
    if (pods.length !== replicas) return `${pods.length} pods`
    const set = server.get('StatefulSet', 'n', 't')
    if (set === null) return 'no StatefulSet yet'
    const { updateRevision: revision, observedGeneration } = set.status as {
      updateRevision: string
      observedGeneration: number
    }
    if (observedGeneration !== set.metadata.generation) return 'a template that nobody has looked at'
    if (pods.some((p) => p.metadata.labels!['controller-revision-hash'] !== revision))
      return 'pods of an older template'
    if (group.members.length !== replicas) return `${group.members.length} members`
    const own = server.list('Service').filter((s) => s.metadata.labels?.[ORDINAL_LABEL] !== undefined)
    if (own.length !== (this.ownAddresses() ? 2 * replicas : 0)) return `${own.length} Services of replicas`
    const away = own.find((s) => !s.metadata.name.endsWith(targetOf(s).replace(/^t/, '')))
    if (away !== undefined) return `${away.metadata.name} leads to ${targetOf(away)}`
    const voters = oddUpTo(Math.min(replicas, maxVoters))
    if (group.voters().length !== voters) return `${group.voters().length} voters`
    if (group.members.some((m) => group.alive(m.id, this.nowMs) === null)) return 'members that are not alive'
    const ready = (resource.status as { conditions: { type: string; status: string }[] }).conditions.find(
      (c) => c.type === 'Ready',
    )
    return ready?.status === 'True' ? '' : 'not Ready'
  }
}

const targetOf = (service: Stored): string =>
  (service.spec as { selector: Record<string, string> }).selector[POD_LABEL] ?? '-'

/** A day in the life of a cluster, for the crash at each of its writes. */
export const DAY: NonNullable<SimOptions['wishes']> = [
  {
    at: 0,
    spec: {
      replicas: 3,
      image: { tag: '1.2.0' },
      rollout: { settleSeconds: 0 },
      replaceAfterSeconds: 30,
      services: { perReplica: { enabled: true } },
    },
  },
  { at: 30, spec: { replicas: 5 } },
  { at: 60, spec: { image: { tag: '1.2.1' } } },
  { at: 90, spec: { replicas: 3, storage: { retention: 'Delete' } } },
  { at: 120, annotations: { 'skep.dev/rotate-key': 'a' } },
  { at: 150, spec: { hibernated: true } },
  { at: 170, spec: { hibernated: false } },
]
export const DAY_SECONDS = 190

export const live = (o: SimOptions): Promise<Outcome> => new Life(o).run()
