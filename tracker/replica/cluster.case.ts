// A few members in one thread, for tests: virtual time, disks in memory, frames that are lost, late, twice or
// out of order as a seed says. The simulator (tracker/sim) does this at length; here each test is one story.
// Refuses: real time, and a promise that is broken: every answer is checked as it is given.

import assert from 'node:assert/strict'
import { type Core, loadCore } from '@skep/raft'
import { messageInfo } from '@skep/raft/message.ts'
import { Random } from '@skep/testing/random.ts'
import { Clients, Ledger } from './ledger.case.ts'
import { begin } from './log/begin.ts'
import type { LogStore, SnapshotRecord } from './log/log.ts'
import { type MemoryDisk, memoryDisk } from './log/memory.ts'
import { openLog } from './log/store.ts'
import { Member } from './member.ts'
import type { MemberOptions } from './member-options.ts'
import { DONE, IDLE, WRITING } from './replica.ts'
import { restoreSnapshot } from './snapshots.ts'
import { WireClock } from './transport/echo.ts'
import { BATCH, type Frame, KEEPALIVE, NOTICE, newFrame, RAFT, writeHeader } from './transport/frame.ts'
import { encodeBatchHead } from './transport/frame-body.ts'

const MINUTE = 60_000

export type Asked = {
  readonly by: number
  readonly askedMs: number
  outcome: string | null
  answeredMs: number
}

/** One life of a member. */
export class Life {
  readonly id: number
  readonly world: Cluster
  readonly disk: MemoryDisk
  readonly log: LogStore
  readonly ledger: Ledger
  readonly clients: Clients
  readonly member: Member<unknown>
  private readonly clock: WireClock
  alive = true
  paused = false
  /** Its write is done at this time. */
  busyUntilMs: number | null = null

  constructor(
    world: Cluster,
    id: number,
    disk: MemoryDisk,
    log: LogStore,
    ledger: Ledger,
    incarnation: number,
  ) {
    this.world = world
    this.id = id
    this.disk = disk
    this.log = log
    this.ledger = ledger
    this.clients = new Clients(id, incarnation, ledger)
    this.clock = new WireClock(this.now, world.random.unit())
    this.member = new Member(
      {
        ...{ core: world.core, group: 0, id, incarnation, log, machine: ledger, feed: this.clients },
        ...{ keepaliveMs: 1000, missed: 2, lingerMs: 2, parkForMs: 3500, loose: false },
        ...{ snapshotLogBytes: 64 * 1024 * 1024, fresh: incarnation === 1 },
        transport: {
          send: (_, to, message) => void this.send(to, RAFT, message),
          sendBatch: (_, to, inc, number, section) =>
            this.send(to, BATCH, Buffer.concat([encodeBatchHead(inc, number), section])),
          sendNotice: (_, to, inc, number, verdict) =>
            void this.send(to, NOTICE, encodeBatchHead(inc, number, verdict)),
          keepalive: (_, to) => void this.send(to, KEEPALIVE, new Uint8Array()),
          flush: () => {},
        },
        snapshots: {
          offer: (to, message) => world.carrySnapshot(this, to, Uint8Array.from(message)),
          arrived: () => {},
        },
        ...world.options,
      },
      this.now,
    )
    this.clients.onApplied = (number) => this.member.forward.applied(id, incarnation, number)
  }

  /** Monotonic, of this member: each has a zero of its own. */
  get now(): number {
    return this.world.nowMs + this.id * 1000
  }

  private send(to: number, kind: number, body: Uint8Array): boolean {
    const frame: Frame = { ...newFrame(), kind, from: this.id, to, body: Uint8Array.from(body) }
    this.member.stamp(to, frame)
    frame.sentUs = this.clock.toWire(this.now)
    // What cannot be written cannot be sent either.
    writeHeader(new DataView(new ArrayBuffer(64)), 0, frame, frame, body.length)
    this.world.carry(frame)
    return true
  }

  receive(frame: Frame): void {
    const echoMs = frame.echoUs < 0 ? Number.NEGATIVE_INFINITY : this.clock.fromWire(frame.echoUs, this.now)
    this.member.receive({ ...frame, echoMs }, this.now)
  }

  /** Whether anything was done. */
  async turn(): Promise<boolean> {
    const { member, log } = this
    this.clients.nowMs = this.now
    if (this.busyUntilMs !== null) {
      if (this.world.nowMs < this.busyUntilMs) return false
      if (log.failed !== null) {
        member.stalled(this.now)
        await log.heal().catch(() => {})
        if (log.failed !== null) {
          this.busyUntilMs = this.world.nowMs + 50
          return false
        }
        await member.replica.resume()
        member.mended(this.now)
      }
      this.busyUntilMs = null
      member.finish(this.now)
      return true
    }
    const did = member.turn(this.now)
    if (did === WRITING) {
      await member.writing.catch(() => {})
      this.busyUntilMs = this.world.nowMs + (log.failed === null ? this.world.diskMs : 0)
    }
    return did === DONE || did === WRITING || did !== IDLE
  }

  due(): number {
    if (this.busyUntilMs !== null) return this.busyUntilMs
    return this.member.due(this.now) - this.id * 1000
  }
}

export type ClusterOptions = {
  readonly seed?: number
  readonly options?: Partial<MemberOptions<unknown>>
  /** Shares of frames. */
  readonly loss?: number
  readonly twice?: number
  /** Frames take between 0.2 ms and this. */
  readonly delayMs?: number
}

let shared: Promise<Core> | null = null

export class Cluster {
  readonly core: Core
  readonly random: Random
  readonly options: Partial<MemberOptions<unknown>>
  readonly lives = new Map<number, Life>()
  readonly asked = new Map<number, Asked>()
  private readonly o: ClusterOptions
  private air: { atMs: number; frame: Frame }[] = []
  private readonly cut = new Set<string>()
  nowMs = 0
  diskMs = 0.3
  loss: number
  /** Every frame sent, for tests that look for one. Returns false: it is lost. */
  onFrame: (frame: Frame) => boolean = () => true
  /** Nobody but the leader of the newest term may hold a leader's lease; checked after each event. */
  private value = 0

  private constructor(core: Core, o: ClusterOptions) {
    this.core = core
    this.o = o
    this.random = new Random(o.seed ?? 1)
    this.options = o.options ?? {}
    this.loss = o.loss ?? 0
  }

  static async of(ids: readonly number[], o: ClusterOptions = {}): Promise<Cluster> {
    const random = new Random((o.seed ?? 1) + 7)
    shared ??= loadCore({ random: () => random.unit(), now: () => 1 })
    const cluster = new Cluster(await shared, o)
    for (const id of ids) {
      const disk = memoryDisk(`m${id}`)
      const log = await openLog(disk, { group: 0, loose: false })
      await begin(log, ids)
      await cluster.boot(id, disk, log)
    }
    return cluster
  }

  private async boot(id: number, disk: MemoryDisk, log: LogStore): Promise<Life> {
    const ledger = new Ledger()
    await restoreSnapshot(log, ledger)
    const life = new Life(this, id, disk, log, ledger, await log.nextIncarnation())
    this.lives.set(id, life)
    return life
  }

  /** A member that knows nothing yet. */
  async newcomer(id: number): Promise<Life> {
    const disk = memoryDisk(`m${id}`)
    return this.boot(id, disk, await openLog(disk, { group: 0, loose: false }))
  }

  kill(id: number): void {
    const life = this.lives.get(id)!
    life.alive = false
    for (const asked of this.asked.values())
      if (asked.by === id && asked.outcome === null) asked.outcome = 'lost'
  }

  async restart(id: number): Promise<Life> {
    const disk = this.lives.get(id)!.disk.crash()
    return this.boot(id, disk, await openLog(disk, { group: 0, loose: false }))
  }

  /** Cuts (or mends) the way both ways between members of the two sides. */
  part(one: readonly number[], other: readonly number[], cut = true): void {
    for (const a of one)
      for (const b of other)
        for (const way of [`${a} ${b}`, `${b} ${a}`]) cut ? this.cut.add(way) : this.cut.delete(way)
  }

  carry(frame: Frame): void {
    if (!this.onFrame(frame) || this.cut.has(`${frame.from} ${frame.to}`) || this.random.chance(this.loss))
      return
    const times = this.random.chance(this.o.twice ?? 0) ? 2 : 1
    for (let i = 0; i < times; i++)
      this.air.push({ frame, atMs: this.nowMs + 0.2 + this.random.unit() * (this.o.delayMs ?? 0.3) })
  }

  /** A snapshot on its way: whole, after a moment. */
  carrySnapshot(from: Life, to: number, message: Uint8Array): void {
    const life = this.lives.get(to)
    const record = JSON.parse(Buffer.from(messageInfo(message)!.snapshot!.data).toString()) as SnapshotRecord
    if (life?.alive !== true || this.cut.has(`${from.id} ${to}`)) {
      from.member.reportSnapshot(to, false)
      return
    }
    this.streams.push(
      (async () => {
        const { index, term, confState } = record
        const writer = await life.log.createSnapshot({ index, term, confState }, false)
        for await (const chunk of from.log.readSnapshot(from.log.snapshot!)) await writer.write(chunk)
        const kept = await writer.commit()
        if (life.alive) life.member.stepSnapshot(message, kept, life.now)
        if (from.alive) from.member.reportSnapshot(to, true)
      })(),
    )
  }
  private streams: Promise<void>[] = []

  /** A client of member `by` asks for something; returns its number. */
  ask(by: number): number {
    const life = this.lives.get(by)!
    this.value++
    life.clients.nowMs = life.now
    this.asked.set(this.value, { by, askedMs: this.nowMs, outcome: null, answeredMs: 0 })
    life.clients.ask(this.value)
    return this.value
  }

  private answer(value: number, outcome: string): void {
    const asked = this.asked.get(value)!
    assert.equal(asked.outcome, null, `${value} was told twice`)
    asked.outcome = outcome
    asked.answeredMs = this.nowMs
  }

  private check(): void {
    const leaders = this.living.filter(
      (l) => l.member.replica.status.role === 'leader' && l.member.mayAnswer(l.now) && !l.paused,
    )
    assert.ok(leaders.length <= 1, `two leases: ${leaders.map((l) => l.id).join(', ')} at ${this.nowMs}`)
    for (const life of this.living) {
      if (!life.member.mayAnswer(life.now)) {
        // Errors need no lease.
        const errors = life.clients.told.filter((t) => t.outcome !== 'applied')
        life.clients.told = life.clients.told.filter((t) => t.outcome === 'applied')
        for (const t of errors) this.answer(t.value, t.outcome)
        continue
      }
      for (const t of life.clients.told.splice(0)) this.answer(t.value, t.outcome)
    }
  }

  get living(): Life[] {
    return [...this.lives.values()].filter((l) => l.alive)
  }

  get leader(): Life | null {
    return this.living.find((l) => l.member.replica.leads && l.member.mayAnswer(l.now)) ?? null
  }

  /** Runs until `until` says so; false: not within `ms`. */
  async until(until: () => boolean, ms = MINUTE): Promise<boolean> {
    const end = this.nowMs + ms
    for (;;) {
      await this.settle()
      if (until()) return true
      const next = Math.min(
        ...this.living.filter((l) => !l.paused).map((l) => l.due()),
        ...this.air.filter((a) => this.lives.get(a.frame.to)?.paused !== true).map((a) => a.atMs),
        Number.POSITIVE_INFINITY,
      )
      if (next > end) {
        this.nowMs = end
        await this.settle()
        return until()
      }
      this.nowMs = Math.max(next, this.nowMs + 0.01)
    }
  }

  async run(ms: number): Promise<void> {
    await this.until(() => false, ms)
  }

  private async settle(): Promise<void> {
    for (let busy = true; busy; ) {
      busy = false
      await Promise.all(this.streams.splice(0))
      const due = this.air.filter((a) => a.atMs <= this.nowMs && this.lives.get(a.frame.to)?.paused !== true)
      this.air = this.air.filter((a) => !due.includes(a))
      due.sort((a, b) => a.atMs - b.atMs)
      for (const { frame } of due) {
        const life = this.lives.get(frame.to)
        if (life?.alive === true) life.receive(frame)
        busy = true
      }
      for (const life of this.living) {
        if (life.paused) continue
        if (await life.turn()) busy = true
        life.member.abandonLate(life.now)
        await life.member.replica.snapshots.running
      }
      this.check()
    }
  }

  /** Everything that was answered is everywhere, once; nothing refused is anywhere; all tables are equal. */
  agree(): void {
    const lives = this.living.filter((l) => !l.member.removed)
    const [first, ...rest] = lives
    for (const l of rest) assert.deepEqual(l.ledger.values, first!.ledger.values, `${l.id} and ${first!.id}`)
    const values = new Set(first!.ledger.values)
    assert.equal(values.size, first!.ledger.values.length, 'applied twice')
    for (const [value, { outcome }] of this.asked) {
      if (outcome === 'applied') assert.ok(values.has(value), `${value} was answered and is lost`)
      if (outcome === 'refused') assert.ok(!values.has(value), `${value} was refused and is there`)
    }
  }

  outcomes(): Record<string, number> {
    const counts: Record<string, number> = {}
    for (const { outcome } of this.asked.values())
      counts[outcome ?? 'waiting'] = (counts[outcome ?? 'waiting'] ?? 0) + 1
    return counts
  }
}
