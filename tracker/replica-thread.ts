// Thread entry of the replica: opens the log, restores the table, drives Raft, answers the main thread's questions.
// The only thread that writes the swarm table. Refuses: to go on after a panic of the core, a damaged log or a bug: it says
// why and ends, and the process with it.

import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { type Core, loadCore, RaftPanic } from '@skep/raft'
import { begin } from './replica/begin.ts'
import { birthStep, decodeIdentity, encodeIdentity, type Identity, memberIdOf } from './replica/birth.ts'
import { type Driven, drive, newDriven } from './replica/drive.ts'
import { LogDamaged, LogFormat, LogLocked, type LogStore, LogWriteFailed } from './replica/log.ts'
import type { LogDisk } from './replica/log-disk.ts'
import { openLog } from './replica/log-store.ts'
import { Replica } from './replica/replica.ts'
import { restoreSnapshot } from './replica/snapshots.ts'
import type { FailureKind, News, Order, ReplicaOptions, ReplicaStatus } from './replica-handle.ts'
import { BatchSource, UNKNOWN_AFTER_MS } from './replica-source.ts'
import { Control, monotonicMs, SERVING, STOPPING, WAITING } from './shared/control.ts'
import { clusterIdOf } from './swarm/apply.ts'
import { type Birth, birthEntry } from './swarm/entry.ts'
import { allocate, type Limits, limitsFor } from './swarm/layout.ts'
import { SwarmMachine } from './swarm/machine.ts'
import { Store } from './swarm/store.ts'

/** Behaviour level of a cluster born by this version. */
const LEVEL = 1
const TICK_MS = 100
const ELECTION_TICKS = 20
const HEARTBEAT_TICKS = 10
/** How long a clean stop waits for what is under way, milliseconds. */
const STOP_WAIT_MS = 3000
/** Between syncs of the mark (and, with `--fsync interval`, of the log), milliseconds. */
const FLUSH_MS = 1000
/** While the disk takes nothing: between looks at the rings, milliseconds. */
const REFUSE_EVERY_MS = 50
const LONGEST_SLEEP_MS = 1000

const options = workerData as ReplicaOptions
const port = parentPort!
const say = (news: News): void => port.postMessage(news)

class Refused extends Error {
  override readonly name = 'Refused'
}

const main = async (): Promise<void> => {
  try {
    writeFileSync('/proc/thread-self/comm', 'replica')
  } catch {
    // Only Linux names threads this way; nothing depends on it.
  }
  if ((options.sliceNanoseconds ?? 0) > 0)
    await (await import('./udp/start.ts')).setSchedulerSlice(options.sliceNanoseconds!)
  const log = await openLog(await disk(), { group: 0, loose: options.fsync === 'interval' })
  const identity = await settleIdentity(log)
  const birth = identity.birth as Birth
  const buffers = allocate(birth.limits, process.arch === 'x64')
  await begin(log, [identity.memberId])
  const core = await loadCore()
  core.warmUp()
  await new Running(log, core, identity, buffers).run()
}

const disk = async (): Promise<LogDisk> => {
  const dir = join(options.dataDir, 'replica')
  mkdirSync(options.dataDir, { recursive: true })
  if (options.logStore === 'lmdb') return (await import('./replica/log-lmdb.ts')).lmdbDisk(dir)
  return (await import('./replica/log-level.ts')).levelDisk(dir)
}

/** Who this replica is: from its log, or decided now and written down before anything else. */
const settleIdentity = async (log: LogStore): Promise<Identity> => {
  const known = log.identity === null ? null : decodeIdentity(log.identity)
  const facts = {
    identity: known,
    name: options.name,
    initialMembers: [],
    joinOnly: false,
    answers: new Map(),
  }
  const step = birthStep(facts)
  if (step.kind === 'resume') {
    checkRoom((step.identity.birth as Birth).limits)
    return step.identity
  }
  if (step.kind !== 'create') throw new Refused('reason' in step ? step.reason : `cannot ${step.kind}`)
  const words = new Int32Array(randomBytes(20).buffer.slice(0, 20))
  const birth: Birth = {
    clusterId: randomBytes(16).toString('hex'),
    hashSeed: words[0]!,
    idKey: [words[1]!, words[2]!],
    limits: limitsFor(options.memoryBytes, options.peerDetails),
    settings: options.birthSettings,
    level: LEVEL,
  }
  const memberId = memberIdOf(words[3]!, words[4]!)
  const initialMembers = [{ name: options.name, id: memberId }]
  const { clusterId } = birth
  const identity: Identity = { version: 1, clusterId, memberId, name: options.name, initialMembers, birth }
  await log.setIdentity(encodeIdentity(identity))
  return identity
}

/** Every member applies the same entries, so every member needs the room that the cluster was born with. */
const checkRoom = (born: Limits): void => {
  const mine = limitsFor(options.memoryBytes, born.details)
  for (const name of ['torrents', 'pages4', 'pages6'] as const)
    if (mine[name] < born[name])
      throw new Refused(
        `this cluster was born with room for ${born.torrents} torrents and ${born.pages4 * 64} IPv4 peers; ` +
          `--memory ${Math.floor(options.memoryBytes / 2 ** 20)}MiB is less: start with at least what it was born with`,
      )
}

class Running {
  private readonly control = new Control(options.control)
  private readonly log: LogStore
  private readonly core: Core
  private readonly identity: Identity
  private readonly store: Store
  private readonly machine: SwarmMachine
  private readonly driven: Driven = newDriven()
  private source!: BatchSource
  private replica!: Replica
  private incarnation = 0
  private served = false
  private wasBorn = false
  private stop: { number: number; purge: boolean; byMs: number } | null = null
  private kick: (() => void) | null = null
  private diskError = ''

  constructor(log: LogStore, core: Core, identity: Identity, buffers: Store['buffers']) {
    this.log = log
    this.core = core
    this.identity = identity
    this.store = new Store(buffers)
    this.machine = new SwarmMachine(
      this.store,
      {
        part: (member, incarnation, producer, first, count) =>
          this.source.part(member, incarnation, producer, first, count),
        batch: (member, incarnation, number) => this.source.batch(member, incarnation, number),
      },
      () => {
        this.source.tell()
        this.serve()
      },
    )
  }

  async run(): Promise<void> {
    const { log, identity, machine } = this
    await restoreSnapshot(log, machine)
    this.incarnation = await log.nextIncarnation()
    this.source = new BatchSource({
      member: identity.memberId,
      incarnation: this.incarnation,
      producers: options.producers,
      lingerMs: options.lingerMs,
      timeMs: () => machine.timeMs,
      birth: () => (this.born ? null : birthEntry(identity.birth as Birth)),
      onLeading: () => this.serve(),
    })
    this.replica = new Replica(
      {
        core: this.core,
        group: 0,
        id: identity.memberId,
        log,
        machine,
        source: this.source,
        transport: { send: () => {} },
        tickMs: TICK_MS,
        electionTicks: ELECTION_TICKS,
        heartbeatTicks: HEARTBEAT_TICKS,
        loose: options.fsync === 'interval',
        snapshotLogBytes: options.snapshotLogBytes,
      },
      monotonicMs(),
    )
    port.on('message', (order: Order) => this.take(order))
    say({ kind: 'open', store: this.store.buffers })
    if (this.replica.alone) this.replica.campaign()
    const housekeeping = setInterval(() => this.houseKeep(), FLUSH_MS)
    await drive(this.surroundings(), this.driven)
    clearInterval(housekeeping)
    await this.end()
  }

  /** The birth record is applied; once so, for ever. Asked several times a cycle. */
  private get born(): boolean {
    this.wasBorn ||= clusterIdOf(this.store) !== ''
    return this.wasBorn
  }

  private surroundings(): Parameters<typeof drive>[0] {
    return {
      replica: this.replica,
      log: this.log,
      now: monotonicMs,
      sleep: (untilMs) => this.sleep(untilMs),
      pause: async (ms) => {
        for (let left = ms; left > 0 && !this.mayEnd(); left -= REFUSE_EVERY_MS) {
          await new Promise((resolve) => setTimeout(resolve, Math.min(left, REFUSE_EVERY_MS)))
          this.source.refuseAll()
        }
      },
      failing: (error) => {
        this.diskError = error.message
        this.control.setDiskFull(true)
        this.source.refuseAll()
        // Appended, but who knows when it is on disk: nobody waits for a disk to be mended.
        this.source.abandon(Number.POSITIVE_INFINITY)
      },
      mended: () => {
        this.diskError = ''
        this.control.setDiskFull(false)
      },
      ended: () => this.mayEnd(),
    }
  }

  /**
   * Until something comes in or the time is there. While changes wait (for company, for a leader) the rings are not
   * watched: each front end's next batch would wake this thread for nothing.
   */
  private async sleep(untilMs: number): Promise<void> {
    const ms = Math.max(0, Math.min(untilMs - monotonicMs(), LONGEST_SLEEP_MS))
    const kicked = new Promise<void>((resolve) => (this.kick = resolve))
    if (this.source.waiting() || !this.replica.leads) {
      const timer = setTimeout(() => this.kick?.(), Math.max(1, ms))
      await kicked
      clearTimeout(timer)
      return
    }
    const slept = this.control.sleepReplica(ms)
    // Published between the last look and the sleep: nobody has seen that this thread sleeps.
    if (slept.async && !this.source.waiting()) await Promise.race([slept.value, kicked])
    this.control.replicaAwake()
  }

  private serve(): void {
    const serving = this.replica.leads && this.born && this.stop === null
    if (!serving) {
      if (this.control.state === SERVING) this.control.setState(WAITING)
      return
    }
    // Alone nobody else can be elected: the lease has no end.
    if (this.replica.alone) this.control.setLeaseUntil(Number.POSITIVE_INFINITY)
    if (this.control.state !== STOPPING) this.control.setState(SERVING)
    if (!this.served) say({ kind: 'serving' })
    this.served = true
  }

  private houseKeep(): void {
    this.source.abandon(monotonicMs() - UNKNOWN_AFTER_MS)
    if (this.log.failed === null) void this.log.flush().catch(() => {})
  }

  private take(order: Order): void {
    const answer = (value: unknown): void => say({ kind: 'answer', number: order.number, value })
    const error = (e: Error): void => say({ kind: 'error', number: order.number, message: e.message })
    if (order.kind === 'status') answer(this.status())
    else if (order.kind === 'snapshot') void this.snapshot().then(answer, error)
    else if (order.kind === 'propose') void this.propose(order.entry).then(answer, error)
    else this.stop = { number: order.number, purge: order.purge, byMs: monotonicMs() + STOP_WAIT_MS }
    this.kick?.()
  }

  private async propose(entry: Uint8Array): Promise<unknown> {
    if (this.log.failed !== null || this.stop !== null) return 'refused'
    const { promise, resolve } = Promise.withResolvers<string>()
    const late = setTimeout(() => resolve('unknown'), UNKNOWN_AFTER_MS)
    const fate = await Promise.race([this.replica.propose(entry), promise])
    clearTimeout(late)
    return fate
  }

  private async snapshot(): Promise<number> {
    await this.replica.snapshots.take(this.replica.applied, this.replica.confState)
    return this.log.snapshot!.index
  }

  /** Told to stop, and all that was taken from the rings is applied (or time is up). */
  private mayEnd(): boolean {
    if (this.stop === null) return false
    if (monotonicMs() >= this.stop.byMs || this.log.failed !== null || !this.replica.leads) return true
    return !this.source.waiting() && this.source.underWay === 0
  }

  private async end(): Promise<void> {
    const stop = this.stop!
    this.control.setState(STOPPING)
    this.replica.proposals.abandon()
    this.source.refuseAll()
    await this.replica.snapshots.running
    await (stop.purge ? this.log.purge() : this.log.close())
    say({ kind: 'answer', number: stop.number, value: undefined })
    port.close()
  }

  private status(): ReplicaStatus {
    const { replica, log, source, identity } = this
    const { voters, learners } = replica.confState
    const nameOf = (id: number): string => identity.initialMembers.find((m) => m.id === id)?.name ?? ''
    const member = (voter: boolean) => (id: number) => ({ id, name: nameOf(id), voter })
    return {
      id: identity.memberId,
      name: identity.name,
      clusterId: identity.clusterId,
      role: replica.status.role,
      term: replica.status.term,
      leader: replica.status.leader,
      members: [...voters.map(member(true)), ...learners.map(member(false))],
      commit: replica.status.commit,
      applied: replica.applied,
      firstIndex: log.firstIndex,
      lastIndex: log.lastIndex,
      logBytes: log.bytes,
      snapshotIndex: log.snapshot?.index ?? 0,
      snapshotRunning: replica.snapshots.running !== null,
      snapshotsTaken: replica.snapshots.taken,
      diskFull: this.control.diskFull,
      diskError: this.diskError || (replica.snapshots.lastError?.message ?? ''),
      failedWrites: this.driven.failedWrites,
      serving: this.control.state === SERVING,
      unclean: log.unclean,
      cycles: replica.cycles,
      syncs: replica.writes,
      syncMs: this.driven.syncMs,
      changes: source.changes,
      touches: source.touches,
      refused: source.refused,
      unknown: source.unknown,
      appliedEntries: replica.appliedEntries,
      droppedProposals: replica.dropped,
      incarnation: this.incarnation,
      timeMs: this.machine.timeMs,
      coreBytes: this.core.size(),
      logStore: options.logStore,
      fsync: options.fsync,
    }
  }
}

const kindOf = (error: unknown): FailureKind => {
  if (error instanceof LogDamaged) return 'damaged'
  if (error instanceof LogLocked) return 'locked'
  if (error instanceof LogFormat) return 'format'
  if (error instanceof LogWriteFailed) return 'disk'
  if (error instanceof Refused) return 'refused'
  if (error instanceof RaftPanic) return 'panic'
  return typeof (error as NodeJS.ErrnoException).code === 'string' ? 'disk' : 'bug'
}

const failed = (error: unknown): void => {
  const { message, stack } = error instanceof Error ? error : new Error(String(error))
  say({ kind: 'failed', failure: kindOf(error), message, ...(stack === undefined ? {} : { stack }) })
  port.close()
  // The message is on its way; nothing else may run on this state.
  setImmediate(() => process.exit(1))
}

process.on('uncaughtException', failed)
process.on('unhandledRejection', failed)
main().catch(failed)
