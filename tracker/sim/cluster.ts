// A cluster in one thread: members in front of virtual disks, between them a network that obeys a seed,
// clients around them. It only ever does what it is told to: faults.ts says what goes wrong, workload.ts what
// is asked. Refuses: real time, and to repair what a checker has found.

import { MemberClock, VirtualClock } from '@skep/testing/clock.ts'
import { type Crash, type DiskFault, VirtualDisk } from '@skep/testing/disk.ts'
import { CALM, Network } from '@skep/testing/network.ts'
import { Random } from '@skep/testing/random.ts'
import { leaseMs } from '../replica/leadership/lease.ts'
import { KEEPALIVE_TICKS } from '../replica/member-wiring.ts'
import { BirthRefused } from '../replica/membership/birth-flow.ts'
import { LifeRefused } from '../replica/membership/lives.ts'
import type { Request } from '../replica/membership/requests.ts'
import { BULK } from '../replica/transport/transport.ts'
import type { Birth } from '../swarm/entry.ts'
import { allocate } from '../swarm/layout.ts'
import { Store } from '../swarm/store.ts'
import { producerBuffers } from '../threads/producer.ts'
import { Control, controlBuffer } from '../threads/state.ts'
import { addressOfMember } from './air.ts'
import { bornAt, drawBirth, LIMITS } from './birth.ts'
import { canaryDisk } from './canaries.ts'
import { Checkers } from './checkers.ts'
import { Connections } from './connections.ts'
import { simulatedLogDisk } from './disk.ts'
import { type Datagram, type Endpoint, FrontEnd } from './front-end.ts'
import { type Frame, KEEPALIVE_MS, type Member, MISSED } from './place.ts'
import type { ClusterOptions, Seat } from './seat.ts'
import { DISK_FAULTS, Trace } from './trace.ts'
import { drawUpgrade, levelAt } from './upgrade.ts'
import { Client } from './workload.ts'

const PARKED_MOST = 64
const TOUCHES_MOST = 256
/** Replicas ever started, at most: IDs of clients and seats do not meet. */
const SEATS_MOST = 16
/** Numbers of clients begin behind those of members. */
const CLIENTS_FROM = 1000
const INTERNET = { delayMs: 1, jitterMs: 4, loss: 0.01, repeat: 0.01, reorder: 0.2 }
/** A process that ended by itself, or stopped as it was told, is started again after this, milliseconds. */
const AGAIN_MS = 1000

export class Cluster {
  readonly clock = new VirtualClock()
  readonly random: Random
  readonly trace: Trace
  readonly checkers: Checkers
  readonly connections: Connections
  readonly clients: readonly Client[]
  readonly seats: Seat[] = []
  /** Something asynchronous goes on: to be let run before time passes. */
  stirred = false
  /** Nobody is to be stopped for an upgrade now. */
  quiet = false
  private readonly o: ClusterOptions
  private readonly birth: Birth
  private readonly initial: readonly { readonly name: string; readonly address: string }[]
  private readonly internet: Network<() => void>
  private readonly seedsOfMembers: Random

  constructor(options: ClusterOptions) {
    this.o = options
    this.random = new Random(options.seed)
    const { random, clock } = this
    this.trace = new Trace(() => clock.now(), options.print)
    const numbers = Array.from({ length: options.members }, (_, i) => i + 1)
    this.initial = numbers.map((n) => ({ name: nameOf(n), address: addressOfMember(n) }))
    const infoHashes = Array.from({ length: options.swarms }, () => random.bytes(20))
    this.birth = drawBirth(random, options.expires)
    this.checkers = new Checkers({
      swarms: infoHashes.map((hash) => [...new Int32Array(hash.buffer)]),
      expires: options.expires,
      lifeMs: 2 * this.birth.settings.intervalMaxSeconds * 1000,
      // A lease as the slowest clock counts it.
      staleMs: leaseMs(KEEPALIVE_TICKS * MISSED, KEEPALIVE_MS / KEEPALIVE_TICKS) * (1 + 1.1 * options.drift),
      now: () => clock.now(),
      trace: this.trace,
    })
    this.connections = this.connect(random.fork())
    this.internet = new Network(clock, random.fork(), { deliver: (_from, _to, arrive) => arrive() })
    this.internet.weather = INTERNET
    this.seedsOfMembers = random.fork()
    for (const number of numbers) this.addSeat(nameOf(number), false)
    this.clients = this.drawClients(infoHashes)
  }

  private connect(random: Random): Connections {
    return new Connections({
      clock: this.clock,
      random,
      trace: this.trace,
      end: (number) => this.seat(number),
      deliver: (from, to, frame, member) => this.arrive(from, to, frame, member),
      stir: () => {
        this.stirred = true
      },
    })
  }

  /** `copy`: of a disk, to begin with. Null: there is no room. */
  addSeat(name: string, joins: boolean, copy: VirtualDisk | null = null): Seat | null {
    if (this.seats.length >= SEATS_MOST) return null
    const number = this.seats.length + 1
    const clock = this.drawClock()
    const time = this.diskTime(() => seat)
    const disk = copy?.copy(time) ?? new VirtualDisk(time, this.random.fork(), this.o.pace)
    const seat: Seat = {
      number,
      name,
      joins,
      clock,
      disk,
      member: null,
      frontEnd: null,
      life: 0,
      // A copy may be of what the newest version wrote.
      upgradedMs: copy === null ? drawUpgrade(this.random, this.o.upgrades, joins) : 0,
      lost: false,
      ending: false,
      copied: false,
      copyOf: 0,
      waiting: [],
    }
    this.seats.push(seat)
    if (seat.upgradedMs > 0) this.clock.after(seat.upgradedMs, () => this.upgrade(number))
    return seat
  }

  private upgrade(number: number): void {
    if (this.quiet) this.clock.after(AGAIN_MS, () => this.upgrade(number))
    else this.finish(number)
  }

  /** A new replica asks the members to let it in; under a lost one's name it is to replace it. */
  join(name: string): void {
    const seat = this.addSeat(name, true)
    if (seat === null) return
    this.trace.note(seat.number, 'joins', 1)
    this.start(seat.number)
  }

  /** Each machine's clock begins somewhere, and is a little fast or slow. */
  private drawClock(): MemberClock {
    const { random, o } = this
    return new MemberClock(this.clock, random.below(2 ** 20), 1 + o.drift * (2 * random.unit() - 1))
  }

  /** A disk works while its process stands still; that its work is done is seen later. */
  private diskTime(seat: () => Seat) {
    return {
      now: () => this.clock.now(),
      cancel: () => {},
      after: (ms: number, run: () => void) =>
        this.clock.after(ms, () => {
          const { clock, waiting } = seat()
          if (clock.standing) waiting.push(run)
          else {
            this.stirred = true
            run()
          }
        }),
    }
  }

  private drawClients(infoHashes: readonly Uint8Array[]): Client[] {
    const { clock, checkers } = this
    const world = {
      clock,
      checkers,
      random: this.random.fork(),
      // Some have the address of a copy beside its original, too.
      members: () => [...this.members(), ...this.seats.filter(isDouble).map((s) => s.number)],
      send: (client: number, member: number, from: Endpoint, bytes: Uint8Array) =>
        this.internet.send(CLIENTS_FROM + client, member, () =>
          this.request(client, member, { from, bytes }),
        ),
    }
    const options = { clients: this.o.clients, infoHashes, pauseMs: this.o.pauseMs }
    return Array.from({ length: this.o.clients }, (_, i) => new Client(world, options, i + 1))
  }

  /** Everybody starts. */
  begin(): void {
    for (const { number } of this.seats) this.start(number)
    for (const client of this.clients) client.begin()
  }

  /** One event, and all that follows from it at the same moment. False: nothing will ever happen again. */
  async step(): Promise<boolean> {
    const more = this.clock.step()
    if (this.stirred) {
      this.stirred = false
      await settled()
    }
    return more
  }

  private arrive(from: number, to: number, frame: Frame, member: Member): void {
    const seat = this.seat(to)
    this.whenAwake(seat, () => {
      if (seat.member !== member) return
      this.trace.note(to, 'receive', from, ...frame.label)
      member.receive(from, frame)
      this.stirred = true
    })
  }

  private request(client: number, to: number, datagram: Datagram): void {
    const seat = this.seat(to)
    const { frontEnd } = seat
    if (frontEnd === null) return
    const view = new DataView(datagram.bytes.buffer, datagram.bytes.byteOffset)
    this.trace.note(to, 'request', client, view.getUint32(8), view.getUint32(12))
    this.whenAwake(seat, () => frontEnd.receive(datagram))
  }

  private answered(seat: Seat, to: Endpoint, bytes: Uint8Array): void {
    const { member, number } = seat
    if (member === null) return
    // Anybody may say who is there; what it knows of swarms is another matter.
    const tells = [1, 2].includes(new DataView(bytes.buffer, bytes.byteOffset).getUint32(0))
    if (seat.copied && tells) this.checkers.fail(`m${number} runs from a copy and answers`)
    const client = to.address.at(-1)! >>> 24
    const view = new DataView(bytes.buffer, bytes.byteOffset)
    this.trace.note(number, 'answer', client, view.getUint32(0), view.getUint32(4), member.applied)
    this.checkers.answer(number, member.leads ? member.term : 0, bytes)
    this.internet.send(number, CLIENTS_FROM + client, () =>
      this.clients[client - 1]!.receive(number, to, bytes),
    )
  }

  private whenAwake(seat: Seat, run: () => void): void {
    if (seat.clock.standing) seat.waiting.push(run)
    else run()
  }

  seat(number: number): Seat {
    return this.seats[number - 1]!
  }

  /** Members whose process runs (or stands still). */
  running(): number[] {
    return this.seats.filter((s) => s.member !== null).map((s) => s.number)
  }

  /** Members of the cluster now, as its leader knows them, that may still come back. */
  members(): number[] {
    const leader = this.leader()
    const all = leader === 0 ? this.living() : this.seat(leader).member!.others
    const astray = all.find((n) => this.seat(n).copyOf !== 0)
    if (astray !== undefined)
      this.checkers.fail(`the cluster has m${this.seat(astray).copyOf} at the address of a copy of it`)
    return all.filter((n) => !this.seat(n).lost)
  }

  /** Whom a client may ask: what a name server would say. */
  private addresses(but: number): string[] {
    return this.members()
      .filter((n) => n !== but)
      .map(addressOfMember)
  }

  /** Requests that wait for their change to be decided, anywhere. */
  parked(): number {
    return this.seats.reduce((sum, s) => sum + (s.frontEnd?.parked ?? 0), 0)
  }

  /** Replicas whose disk is still there, members or not. */
  living(): number[] {
    return this.seats.filter((s) => !s.lost && s.copyOf === 0).map((s) => s.number)
  }

  /** Who leads in the newest term; 0: nobody. */
  leader(): number {
    let best: Seat | null = null
    for (const s of this.seats)
      if (s.member?.leads && (best === null || s.member.term > best.member!.term)) best = s
    return best?.number ?? 0
  }

  start(number: number): void {
    const seat = this.seat(number)
    if (seat.member !== null || seat.lost) return
    const { trace, o } = this
    const life = ++seat.life
    trace.note(number, 'start', life)
    const store = new Store(allocate(LIMITS, true))
    const control = new Control(controlBuffer())
    control.setIntervalSeconds(this.birth.settings.intervalSeconds)
    const producer = producerBuffers(PARKED_MOST, TOUCHES_MOST)
    const { clock } = seat
    const mine = (): boolean => seat.life === life && seat.member !== null
    const frontEnd = new FrontEnd({
      ...{ clock, store, control, producer, canary: o.canary },
      seed: this.seedsOfMembers.word() | 0,
      answered: (to, bytes) => this.answered(seat, to, bytes),
      parked: (...of) => this.checkers.parked(number, ...of),
      published: () => seat.member?.wake(),
    })
    const disk = simulatedLogDisk(seat.disk, `m${number}`)
    seat.frontEnd = frontEnd
    this.stirred = true
    seat.member = o.start({
      number,
      life,
      name: seat.name,
      address: addressOfMember(this.connections.metAt(number)),
      initialMembers: seat.joins ? [] : this.initial,
      join: seat.joins ? this.addresses(number) : null,
      maxVoters: o.maxVoters,
      level: levelAt(seat.upgradedMs, this.clock.now()),
      birth: (clusterId, level) => bornAt(this.birth, clusterId, level),
      identified: (id) => mine() && !seat.copied && this.checkers.identified(number, id),
      core: o.core,
      clock,
      disk: canaryDisk(o.canary, disk),
      store,
      control,
      producer,
      snapshotLogBytes: o.snapshotLogBytes,
      preferHighest: o.preferHighest,
      random: this.seedsOfMembers.fork(),
      breaks: (from, channel) => mine() && this.connections.network.break(from, number, channel),
      isDown: (to, channel) => this.connections.isDown(number, to, channel),
      witness: seat.copied ? this.checkers.copyWitness(number) : this.checkers.witness(number, life, store),
      canary: o.canary,
      note: (kind, ...numbers) => trace.note(number, kind, ...numbers),
      send: (to, frame) => mine() && this.connections.send(number, to, frame),
      wakeFrontEnd: () => frontEnd.wake(),
      stir: () => {
        this.stirred = true
      },
      ended: (error, bug) => mine() && this.ended(seat, error, bug),
      stopped: () => {
        if (!mine()) return
        trace.note(number, 'stopped')
        this.down(seat, 'process')
        this.clock.after(AGAIN_MS, () => this.start(number))
      },
    })
  }

  private ended(seat: Seat, error: unknown, bug: boolean): void {
    const gone = error instanceof BirthRefused ? /^member (\d+) .* was removed by/.exec(error.message) : null
    if (gone !== null && this.checkers.wasRemoved(Number(gone[1]))) {
      this.trace.note(seat.number, 'gone')
      this.down(seat, 'process')
      seat.lost = true
      return
    }
    if (error instanceof LifeRefused && (seat.copied || this.o.canary !== null)) {
      this.trace.note(seat.number, 'refused')
      this.down(seat, 'process')
      seat.lost = true
      return
    }
    if (bug) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
      this.checkers.fail(`m${seat.number} ended: ${text}`)
      return
    }
    this.trace.note(seat.number, 'exit')
    this.down(seat, 'process')
    this.clock.after(AGAIN_MS, () => this.start(seat.number))
  }

  /**
   * Its process is told to stop in good order, as before an upgrade, and started again a moment after it has.
   */
  finish(number: number): void {
    const { member } = this.seat(number)
    if (member === null) return
    this.trace.note(number, 'stops')
    this.seat(number).ending = true
    member.finish()
    this.stirred = true
  }

  /** Its process is gone; `power`: the machine too. */
  crash(number: number, how: Crash): void {
    const seat = this.seat(number)
    if (seat.member === null) return
    this.trace.note(number, 'crash', how === 'power' ? 1 : 0)
    this.down(seat, how)
  }

  /** Nothing is left of its process. */
  down(seat: Seat, how: Crash): void {
    seat.member?.stop()
    seat.member = null
    seat.ending = false
    seat.frontEnd = null
    seat.waiting = []
    for (const other of this.seats) {
      other.member?.broken(seat.number, BULK)
      if (how === 'process') other.member?.left(seat.number)
    }
    this.connections.giveBack(seat.number)
    seat.disk = seat.disk.crash(how)
    this.stirred = true
    seat.clock.clear()
    // A machine that comes up again counts its time from somewhere else.
    if (how === 'power') seat.clock = this.drawClock()
    else if (seat.clock.standing) seat.clock.goOn()
  }

  /** The disk is gone: the member never comes back under its ID. */
  loseDisk(number: number): void {
    const seat = this.seat(number)
    this.trace.note(number, 'lostDisk')
    this.down(seat, 'power')
    seat.lost = true
  }

  /** The leader is asked to change who is a member, or who leads. */
  change(request: Request): void {
    const leader = this.leader()
    if (leader === 0) return
    this.seat(leader).member!.change(request)
    this.stirred = true
  }

  stand(number: number): void {
    const { clock, member } = this.seat(number)
    if (member === null || clock.standing) return
    this.trace.note(number, 'stand')
    clock.stop()
  }

  goOn(number: number): void {
    const seat = this.seat(number)
    if (!seat.clock.standing) return
    this.trace.note(number, 'goOn')
    seat.clock.goOn()
    this.stirred = true
    for (const run of seat.waiting.splice(0)) run()
  }

  setDiskFault(number: number, fault: DiskFault): void {
    const { disk } = this.seat(number)
    if (disk.fault === fault) return
    disk.fault = fault
    this.trace.note(number, 'diskFault', DISK_FAULTS.indexOf(fault))
  }

  setPace(number: number, factor: number): void {
    const { syncMs, syncJitterMs } = this.o.pace
    this.seat(number).disk.pace = { syncMs: syncMs * factor, syncJitterMs: syncJitterMs * factor }
    this.trace.note(number, 'diskPace', syncMs * factor)
  }

  jump(number: number, ms: number): void {
    this.seat(number).clock.jump(ms)
    this.trace.note(number, 'jump', ms)
  }

  cut(from: number, to: number): void {
    this.connections.network.cut(from, to)
    this.trace.note(from, 'cut', to)
  }

  mend(from: number, to: number): void {
    this.connections.network.mend(from, to)
    this.trace.note(from, 'mend', to)
  }

  clog(from: number, to: number, ms: number): void {
    this.connections.network.clog(from, to, ms)
    this.trace.note(from, 'clog', to, ms)
  }

  /** The world as it was before anything went wrong; who is down comes up. */
  heal(): void {
    this.trace.note(0, 'heal')
    this.connections.network.heal()
    this.connections.network.weather = CALM
    for (const seat of this.seats) {
      if (seat.copyOf !== 0) this.crash(seat.number, 'process')
      seat.lost ||= seat.copyOf !== 0
      if (seat.lost) continue
      this.setDiskFault(seat.number, 'none')
      this.setPace(seat.number, 1)
      this.goOn(seat.number)
      this.start(seat.number)
    }
  }

  /** Ends every process, so that nothing is left of this world in the core. */
  end(): void {
    for (const seat of this.seats) seat.member?.stop()
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const isDouble = (s: Seat): boolean => s.copyOf !== 0 && !s.lost
const nameOf = (number: number): string => `r${number}`
