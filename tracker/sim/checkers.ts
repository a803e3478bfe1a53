// What must hold in a simulated cluster, whatever happens: one history, equal tables, no answer that is not
// in it, no answer that has forgotten one given before, no change twice or out of order. Refuses: to stop at
// the first doubt of its own: it records the first violation and lets whoever drives decide.

import { Announcer } from '../swarm/announce.ts'
import { LEAVE, PUT, SEEDER } from '../swarm/change.ts'
import { digest, usedBytes } from '../swarm/snapshot.ts'
import { BUFFER_NAMES, type Store } from '../swarm/store.ts'
import type { ChangeRing } from '../threads/ring.ts'
import { type Change, decode, peerName, type Recorded, type Section, Twin } from './history.ts'
import type { Witness } from './place.ts'
import type { Trace } from './trace.ts'
import { ROLES } from './trace.ts'

/** One thing a client asks for, however often it is sent and to whom. */
export type Operation = {
  readonly transaction: number
  readonly kind: 'announce' | 'scrape'
  /** First words of the info_hashes; an announce has one. */
  readonly swarms: readonly number[]
  readonly peer: string
  readonly v6: boolean
  readonly leave: boolean
  readonly seeder: boolean
  /** When it was first sent, world milliseconds. */
  readonly askedMs: number
  /** When an answer to it first left a member, world milliseconds; Infinity: not yet. */
  answeredMs: number
  /** Entries that hold it: more than one if it was sent to several members. */
  readonly records: number[]
}

type Seat = {
  /** Raft ID; 0: not known yet. */
  id: number
  twin: Twin
  /** How many entries of the history it has applied. */
  applied: number
  life: number
  store: Store | null
  /** By sequence number in the ring of this life. */
  parked: Map<number, Operation>
}
type Life = { readonly number: number; readonly life: number }

/** Tables are compared, and counted again, at entries whose index is a multiple of this. */
const COMPARE_EVERY = 32
const RECORD_WORDS = 24
const PEERS_MOST = 1000

export type CheckerOptions = {
  /** info_hashes, five raw words each. */
  readonly swarms: readonly (readonly number[])[]
  /** Peers that say nothing expire within the run: the tables may then know fewer than their twins. */
  readonly expires: boolean
  /** A peer that was stored lives at least this long, cluster time in milliseconds. */
  readonly lifeMs: number
  /** What a follower answers may be this old, world milliseconds. */
  readonly staleMs: number
  readonly now: () => number
  readonly trace: Trace
}

export class Checkers {
  violation: string | null = null
  answers = 0
  /** Committed changes heard of. */
  changes = 0
  private readonly o: CheckerOptions
  private readonly seats: Seat[] = []
  private readonly history = new Map<number, Recorded>()
  private readonly order: number[] = []
  private readonly whole = new Twin()
  private readonly digests = new Map<number, number>()
  /** Members removed, by the entry that did it. */
  private readonly removed: { id: number; index: number }[] = []
  private readonly leaders = new Map<number, number>()
  /** The newest entry that an answer has shown, whenever that rose. */
  private readonly shown: { ms: number; index: number }[] = [{ ms: Number.NEGATIVE_INFINITY, index: 0 }]
  private answeredTerm = 0
  private readonly operations = new Map<number, Operation>()
  /** By swarm and peer: announces that were answered, in the order of their first answers. */
  private readonly told = new Map<string, Operation[]>()
  private readonly lives = new Map<string, Life>()
  private readonly lastSequence = new Map<string, number>()
  private readonly words = new Int32Array(RECORD_WORDS)
  private readonly peers = new Uint16Array(9 * PEERS_MOST)

  constructor(options: CheckerOptions) {
    this.o = options
  }

  private seat(number: number): Seat {
    return (this.seats[number - 1] ??= {
      id: 0,
      twin: new Twin(),
      applied: 0,
      life: 0,
      store: null,
      parked: new Map(),
    })
  }

  /** The member has a Raft ID: always the same, and nobody else's. */
  identified(number: number, id: number): void {
    const seat = this.seat(number)
    if (seat.id !== 0 && seat.id !== id) this.fail(`m${number} was member ${seat.id} and is member ${id} now`)
    this.seats.forEach((other, i) => {
      if (other.id === id && i !== number - 1) this.fail(`m${number} and m${i + 1} are both member ${id}`)
    })
    seat.id = id
  }

  fail(what: string): void {
    this.violation ??= what
  }

  /** Entries with something in them that anybody has applied. */
  get length(): number {
    return this.order.length
  }

  /** How many of them this member has applied. */
  appliedBy(number: number): number {
    return this.seat(number).applied
  }

  witness(number: number, life: number, store: Store): Witness {
    const seat = this.seat(number)
    Object.assign(seat, { life, store, parked: new Map(), twin: new Twin(), applied: 0 })
    const mine = () => seat.life === life
    return {
      restored: (index) => mine() && this.restored(seat, index),
      incarnation: (incarnation) => this.incarnation(number, life, incarnation),
      applied: (index, term, data) => mine() && this.applied(number, seat, index, term, data),
      forgot: (id, index) => mine() && this.forgot(seat, id, index),
      role: (role, term, leader) => this.role(number, role, term, leader),
      dismissed: () => {
        if (!this.wasRemoved(seat.id)) this.fail(`m${number} is told that it was removed, and it was not`)
      },
    }
  }

  /** Of a life that runs from a copied disk: what it does to itself is its own affair. */
  copyWitness(number: number): Witness {
    const nothing = (): void => {}
    return {
      ...{ restored: nothing, incarnation: nothing, applied: nothing, forgot: nothing, dismissed: nothing },
      role: (role) => {
        if (role === 'leader') this.fail(`m${number} runs from a copy and leads`)
      },
    }
  }

  wasRemoved(id: number): boolean {
    return this.removed.some((r) => r.id === id)
  }

  private restored(seat: Seat, index: number): void {
    seat.twin = new Twin()
    seat.applied = 0
    const gone = this.removed.filter((r) => r.index <= index)
    for (const at of this.order) {
      if (at > index) break
      while (gone[0] !== undefined && gone[0].index < at) seat.twin.forget(gone.shift()!.id)
      seat.twin.apply(this.history.get(at)!)
      seat.applied++
    }
    for (const { id } of gone) seat.twin.forget(id)
  }

  private forgot(seat: Seat, id: number, index: number): void {
    seat.twin.forget(id)
    if (this.removed.some((r) => r.index === index && r.id === id)) return
    this.removed.push({ id, index })
    this.whole.forget(id)
  }

  private incarnation(number: number, life: number, incarnation: number): void {
    const key = `${this.seat(number).id} ${incarnation}`
    const other = this.lives.get(key)
    if (other !== undefined && other.life !== life)
      this.fail(`m${number}: lives ${other.life} and ${life} share incarnation ${incarnation}`)
    this.lives.set(key, { number, life })
  }

  private role(number: number, role: string, term: number, leader: number): void {
    this.o.trace.note(number, 'role', ROLES.indexOf(role as 'leader'), term, leader)
    if (role !== 'leader') return
    const other = this.leaders.get(term)
    if (other !== undefined && other !== number)
      this.fail(`term ${term} has two leaders: m${other} and m${number}`)
    this.leaders.set(term, number)
  }

  private applied(number: number, seat: Seat, index: number, term: number, data: Uint8Array): void {
    let entry = this.history.get(index)
    const next = this.order[seat.applied]
    if (entry === undefined && next === undefined) {
      entry = decode(index, term, data)
      this.history.set(index, entry)
      this.order.push(index)
      this.whole.apply(entry, (section, change) => this.heard(entry!, section, change))
    } else if (entry === undefined || next !== index) {
      this.fail(`m${number} applied entry ${index} where entry ${next ?? 'after the last'} comes next`)
      return
    } else {
      const mine = decode(index, term, data)
      if (mine.term !== entry.term || mine.crc !== entry.crc)
        this.fail(
          `entry ${index} is of term ${mine.term} on m${number}, of term ${entry.term} on others: they differ`,
        )
    }
    seat.applied++
    seat.twin.apply(entry)
    this.o.trace.note(number, 'apply', index, term, entry.crc)
    if (index % COMPARE_EVERY === 0) this.compare(number, seat, index)
  }

  /** A change has become part of the history. */
  private heard(entry: Recorded, section: Section, change: Change): void {
    this.changes++
    const { sequence } = change
    const life = this.lives.get(`${section.member} ${section.incarnation}`)
    if (life === undefined) {
      this.fail(`entry ${entry.index}: nobody has that incarnation`)
      return
    }
    const name = `${life.number} ${life.life}`
    const last = this.lastSequence.get(name) ?? -1
    if (sequence <= last)
      this.fail(
        `entry ${entry.index}: change ${sequence} of m${life.number} comes after its change ${last}: ` +
          'a stale proposal undoes a later one',
      )
    this.lastSequence.set(name, sequence)
    const operation = this.seat(life.number).life === life.life ? this.parkedOf(life, sequence) : null
    if (operation === undefined) this.fail(`entry ${entry.index}: nobody asked for change ${sequence}`)
    operation?.records.push(entry.index)
  }

  private parkedOf(life: Life, sequence: number): Operation | undefined {
    return this.seat(life.number).parked.get(sequence)
  }

  /** Tables of members that have applied as much are equal, and hold what a slow recount says. */
  private compare(number: number, seat: Seat, index: number): void {
    const mine = digest(seat.store!)
    const other = this.digests.get(index)
    this.digests.set(index, mine)
    this.o.trace.note(number, 'digest', index, mine)
    if (other !== undefined && other !== mine)
      this.fail(`tables differ at entry ${index}: m${number} has other bytes than those before it`)
    this.recount(number, seat)
  }

  private recount(number: number, seat: Seat): void {
    const announcer = new Announcer(seat.store!, 1)
    const { words, peers } = this
    for (const swarm of this.o.swarms) {
      words.fill(0)
      words[0] = PUT | SEEDER | (1 << 16)
      words[1] = 0x01010101
      words.set(swarm, 5)
      announcer.answer(words, 0, PEERS_MOST, 3, peers, 0)
      const there = [...names4(peers, 0, announcer.count4), ...names6(peers, announcer.count4 * 3, announcer)]
      const counts = { seeders: announcer.seeders, leechers: announcer.leechers }
      const fault = this.differs(seat.twin, swarm[0]!, there, counts, null)
      if (fault !== null) this.fail(`m${number} at entry ${seat.twin.index}: ${fault}`)
    }
  }

  /** What an answer or a table says of a swarm, held against the slow twin; null: it is right. */
  private differs(
    twin: Twin,
    swarm: number,
    there: readonly string[] | null,
    counts: { seeders: number; leechers: number },
    asker: Operation | null,
  ): string | null {
    const wanted = twin.model.swarms.get(String(swarm))?.peers ?? new Map<string, { v6: boolean }>()
    if (there !== null) {
      const set = new Set(there)
      if (set.size !== there.length) return 'a peer is there twice'
      for (const peer of there) if (!wanted.has(peer)) return `${peer} is there and should not be`
      for (const [peer, { v6 }] of wanted) {
        if (set.has(peer) || peer === asker?.peer || (asker !== null && asker.v6 !== v6)) continue
        const last = twin.last.get(`${swarm} ${peer}`)!
        if (!this.o.expires || twin.timeMs - last.timeMs < this.o.lifeMs) return `${peer} is missing`
      }
    }
    if (this.o.expires) return null
    const real = twin.model.counts(String(swarm))
    if (counts.seeders === real.seeders && counts.leechers === real.leechers) return null
    return (
      `${counts.seeders} seeders and ${counts.leechers} leechers counted, ` +
      `there are ${real.seeders} and ${real.leechers}`
    )
  }

  /** A client begins to ask. */
  asks(operation: Omit<Operation, 'askedMs' | 'answeredMs' | 'records'>): Operation {
    const whole = { ...operation, askedMs: this.o.now(), answeredMs: Number.POSITIVE_INFINITY, records: [] }
    this.operations.set(whole.transaction, whole)
    return whole
  }

  /** Requests of a front end became changes; `transactions` by slot. */
  parked(
    number: number,
    ring: ChangeRing,
    transactions: (slot: number) => number,
    from: number,
    end: number,
  ): void {
    const seat = this.seat(number)
    for (let sequence = from; sequence < end; sequence++) {
      const operation = this.operations.get(transactions(sequence & ring.mask))
      if (operation === undefined) {
        this.fail(`m${number} parked a request that nobody sent`)
        continue
      }
      const at = ring.at(sequence)
      const leave = (ring.words[at]! & LEAVE) === LEAVE
      const seeder = (ring.words[at]! & SEEDER) !== 0
      if (leave !== operation.leave || (!leave && seeder !== operation.seeder))
        this.fail(`m${number} made another change of #${operation.transaction} than was asked for`)
      seat.parked.set(sequence, operation)
    }
  }

  /** The newest entry that any answer had shown by then. */
  private shownBy(ms: number): number {
    let at = this.shown.length - 1
    while (this.shown[at]!.ms > ms) at--
    return this.shown[at]!.index
  }

  private shows(index: number): void {
    const last = this.shown.at(-1)!
    if (index <= last.index) return
    const ms = this.o.now()
    if (ms === last.ms) last.index = index
    else this.shown.push({ ms, index })
  }

  /** An answer leaves a member; `term`: in which it leads, 0: it follows. */
  answer(number: number, term: number, bytes: Uint8Array): void {
    const b = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    const action = b.readUInt32BE(0)
    if (action !== 1 && action !== 2) return
    const operation = this.operations.get(b.readUInt32BE(4))
    if (operation === undefined) {
      this.fail(`m${number} answers what nobody asked`)
      return
    }
    const { twin } = this.seat(number)
    const name = `m${number} answered #${operation.transaction} as of entry ${twin.index}`
    this.answers++
    if (term > 0) {
      if (term < this.answeredTerm)
        this.fail(`${name} in term ${term}, after an answer in term ${this.answeredTerm}`)
      this.answeredTerm = Math.max(this.answeredTerm, term)
    }
    // A leader knows all that was answered before it was asked; a follower may lag by a lease.
    const since = term > 0 ? operation.askedMs : Math.min(operation.askedMs, this.o.now() - this.o.staleMs)
    if (twin.index < this.shownBy(since))
      this.fail(
        `${name} ${term > 0 ? 'as leader' : 'as follower'}: stale, entry ${this.shownBy(since)} was answered before`,
      )
    if (action === 1) this.announced(name, twin, operation, b)
    else this.scraped(name, twin, operation, b)
    operation.answeredMs = Math.min(operation.answeredMs, this.o.now())
  }

  private announced(name: string, twin: Twin, operation: Operation, b: Buffer): void {
    const swarm = operation.swarms[0]!
    const last = twin.last.get(`${swarm} ${operation.peer}`)
    // Not simply its last change: a copy of an older request, through another member, may have moved the peer
    // back.
    const peer = twin.model.swarms.get(String(swarm))?.peers.get(operation.peer)
    const holds = operation.leave
      ? peer === undefined || this.o.expires
      : peer !== undefined && peer.seeder === operation.seeder
    const heard = operation.records.some((index) => index <= twin.index)
    if (!holds && !heard) this.fail(`${name}: its change is not in the history up to there`)
    if (!heard) this.undone(name, twin, operation)
    if (operation.answeredMs === Number.POSITIVE_INFINITY) this.tell(operation)
    if (last !== undefined) this.shows(last.index)
    const counts = { leechers: b.readUInt32BE(12), seeders: b.readUInt32BE(16) }
    const halves = new Uint16Array(b.buffer.slice(b.byteOffset + 20, b.byteOffset + b.length))
    const peers = operation.v6
      ? names6(halves, 0, { count6: (b.length - 20) / 18 })
      : names4(halves, 0, (b.length - 20) / 6)
    const fault = this.differs(twin, swarm, operation.leave ? null : peers, counts, operation)
    if (fault !== null) this.fail(`${name}: ${fault}`)
    if (peers.includes(operation.peer)) this.fail(`${name}: the asker is told of itself`)
  }

  private tell(operation: Operation): void {
    const key = `${operation.swarms[0]} ${operation.peer}`
    const told = this.told.get(key)
    if (told === undefined) this.told.set(key, [operation])
    else told.push(operation)
  }

  /**
   * Answered without a change of its own: then nothing that this peer was told before it asked may come later
   * in the history and make something else of it.
   */
  private undone(name: string, twin: Twin, operation: Operation): void {
    const before = this.told
      .get(`${operation.swarms[0]} ${operation.peer}`)
      ?.findLast(({ answeredMs, records }) => answeredMs < operation.askedMs && records.length > 0)
    if (before === undefined) return
    const same = before.leave === operation.leave && (before.leave || before.seeder === operation.seeder)
    const entry = Math.min(...before.records)
    if (!same && entry > twin.index)
      this.fail(
        `${name}: it changes nothing there, but entry ${entry} does, #${before.transaction}, ` +
          'which was answered before: this one is lost',
      )
  }

  private scraped(name: string, twin: Twin, operation: Operation, b: Buffer): void {
    operation.swarms.forEach((swarm, i) => {
      const at = 8 + 12 * i
      const counts = { seeders: b.readUInt32BE(at), leechers: b.readUInt32BE(at + 8) }
      const fault = this.differs(twin, swarm, null, counts, null)
      if (fault !== null) this.fail(`${name}: ${fault}`)
      const completed = twin.model.counts(String(swarm)).completed
      if (!this.o.expires && b.readUInt32BE(at + 4) !== completed)
        this.fail(`${name}: ${b.readUInt32BE(at + 4)} completed, there are ${completed}`)
    })
  }

  /** When all is calm: these members have the whole history, and one table. */
  final(numbers: readonly number[]): void {
    for (const number of numbers) {
      const seat = this.seat(number)
      if (seat.applied !== this.order.length)
        this.fail(`m${number} has applied ${seat.applied} of ${this.order.length} entries`)
      this.recount(number, seat)
      const first = this.seat(numbers[0]!).store!
      if (digest(seat.store!) !== digest(first))
        this.fail(`tables differ at the end: m${numbers[0]} and m${number} ${difference(first, seat.store!)}`)
    }
  }
}

/** Where two tables are not the same, for people. */
const difference = (a: Store, b: Store): string => {
  const [usedA, usedB] = [usedBytes(a), usedBytes(b)]
  for (const [i, name] of BUFFER_NAMES.entries()) {
    if (usedA[i] !== usedB[i]) return `use ${usedA[i]} and ${usedB[i]} bytes of ${name}`
    const [x, y] = [a, b].map((s) => new Int32Array(s.buffers[name], 0, usedA[i]! >> 2)) as [
      Int32Array,
      Int32Array,
    ]
    const words = [...x.keys()].filter((w) => x[w] !== y[w])
    if (words.length === 0) continue
    const shown = words.slice(0, 8).map((w) => `${w}: ${x[w]} and ${y[w]}`)
    return `in ${words.length} words of ${name}: ${shown.join(', ')}`
  }
  return 'nowhere'
}

const names4 = (halves: Uint16Array, at: number, count: number): string[] =>
  Array.from({ length: count }, (_, i) => {
    const o = at + 3 * i
    return peerName(false, [halves[o]! | (halves[o + 1]! << 16)], 0, halves[o + 2]!)
  })

const names6 = (halves: Uint16Array, at: number, { count6 }: { count6: number }): string[] =>
  Array.from({ length: count6 }, (_, i) => {
    const o = at + 9 * i
    const address = [0, 2, 4, 6].map((w) => halves[o + w]! | (halves[o + w + 1]! << 16))
    return peerName(true, address, 0, halves[o + 8]!)
  })
