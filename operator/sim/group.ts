// A small model of replicas and their Raft group: disks, processes, elections, changes of members by the
// tracker's rules, and how far each has the log. It knows the truth that the operator only hears of, and what
// was acknowledged. Refuses: logs with entries in them. A number says how far one has it; the tracker's own
// simulator looks closer.

import type { Random } from '@skep/testing/random.ts'
import type { MemberReport, RaftMember } from '../model/facts.ts'
import type { MemberAnswer } from '../model/ports.ts'
import { majority, oddUpTo } from '../model/units.ts'

/** What lies on a volume. */
export type Disk = { clusterID: string; memberID: string; match: number; term: number } | null

export type Process = {
  readonly pod: string
  readonly podUid: string
  readonly claimUid: string
  readonly startedMs: number
  /** Other replicas and the operator can be reached. */
  reachable: boolean
  readonly mayCreate: boolean
  readonly keys: { names: readonly string[] }
  readonly version: string
  draining: boolean
}

export type Member = { readonly id: string; readonly name: string; voter: boolean }
type Pending = {
  readonly doneMs: number
  /** As they will be; null: of the voters none changes. */
  readonly next: readonly Member[] | null
  readonly apply: (nowMs: number) => void
}

const CAUGHT_UP = 256
/** Silent for longer is dead: keepalive times missed. */
const DEAD_MS = 2000
/** Until a leader is elected after that, milliseconds. */
const ELECTION_MS = 1500
/** A process that has just started does not answer yet. */
const START_MS = 1000

export class Group {
  readonly disks = new Map<string, Disk>()
  readonly processes = new Map<string, Process>()
  members: Member[] = []
  readonly removed = new Set<string>()
  clusterID = ''
  term = 0
  leader: string | null = null
  /** Last entry of the log. */
  last = 0
  /** Acknowledged to clients: must never be lost. */
  acked = 0
  pending: Pending | null = null
  violation: string | null = null
  /** Clusters that were ever born. */
  births = 0
  private readonly heard = new Map<string, number>()
  private readonly lastFollowedMs = new Map<string, number>()
  private silentSinceMs: number | null = null
  private ids = 100
  private readonly random: Random

  constructor(random: Random) {
    this.random = random
  }

  diskOf(p: Process): Disk {
    return this.disks.get(p.claimUid) ?? null
  }

  /** Up, reachable by the others, and a member with that ID. */
  alive(id: string, nowMs: number): Process | null {
    for (const p of this.processes.values())
      if (
        p.reachable &&
        nowMs - p.startedMs >= START_MS &&
        this.diskOf(p)?.memberID === id &&
        this.diskOf(p)?.clusterID === this.clusterID
      )
        return p
    return null
  }

  voters(): Member[] {
    return this.members.filter((m) => m.voter)
  }

  aliveVoters(nowMs: number): Member[] {
    return this.voters().filter((m) => this.alive(m.id, nowMs) !== null)
  }

  match(id: string, nowMs: number): number {
    const p = this.alive(id, nowMs)
    return p === null ? 0 : (this.diskOf(p)?.match ?? 0)
  }

  /** One step of time for the whole group. */
  tick(nowMs: number): void {
    this.births_(nowMs)
    this.elect(nowMs)
    if (this.leader === null) return
    const leader = this.alive(this.leader, nowMs)
    if (leader === null) return
    this.replicate(nowMs)
    if (this.pending !== null && nowMs >= this.pending.doneMs && this.agreed(this.pending, nowMs)) {
      const { apply } = this.pending
      this.pending = null
      apply(nowMs)
    }
    if (this.pending === null) this.tend(nowMs)
  }

  private hasQuorum(nowMs: number): boolean {
    return this.aliveVoters(nowMs).length >= majority(this.voters().length)
  }

  /** A joint change needs a majority of the voters before it and one of those after it. */
  private agreed({ next }: Pending, nowMs: number): boolean {
    return this.hasQuorum(nowMs) && (next === null || this.quorumOf(next, nowMs))
  }

  private births_(nowMs: number): void {
    for (const p of this.processes.values()) {
      if (this.diskOf(p) !== null || nowMs - p.startedMs < START_MS || !p.reachable) continue
      if (p.mayCreate) this.create(p)
      else if (this.leader !== null && this.alive(this.leader, nowMs) !== null && this.pending === null)
        this.join(p, nowMs)
    }
  }

  private create(p: Process): void {
    this.births++
    if (this.births > 1) this.violation = `a second cluster was born, by ${p.pod}`
    this.clusterID = `c${this.births}`
    const id = String(++this.ids)
    this.members = [{ id, name: p.pod, voter: true }]
    this.term = 1
    this.leader = id
    this.last = this.acked = 1
    this.disks.set(p.claimUid, { clusterID: this.clusterID, memberID: id, match: 1, term: 1 })
  }

  private join(p: Process, nowMs: number): void {
    const named = this.members.filter((m) => m.name === p.pod)
    if (named.some((m) => this.alive(m.id, nowMs) !== null) || !this.hasQuorum(nowMs)) return
    const id = String(++this.ids)
    this.pending = {
      doneMs: nowMs + this.random.between(50, 800),
      next: null,
      apply: () => {
        for (const m of named.filter((o) => !o.voter)) this.removed.add(m.id)
        this.members = this.members.filter((m) => m.voter || m.name !== p.pod)
        this.members.push({ id, name: p.pod, voter: false })
        this.heard.set(id, nowMs)
        if (this.disks.get(p.claimUid) == null)
          this.disks.set(p.claimUid, { clusterID: this.clusterID, memberID: id, match: 0, term: this.term })
      },
    }
  }

  private elect(nowMs: number): void {
    if (this.members.length === 0) return
    const up = this.aliveVoters(nowMs)
    if (
      this.leader !== null &&
      this.alive(this.leader, nowMs) !== null &&
      up.length >= majority(this.voters().length)
    ) {
      this.silentSinceMs = null
      return
    }
    this.silentSinceMs ??= nowMs
    if (nowMs - this.silentSinceMs < DEAD_MS + ELECTION_MS) {
      if (nowMs - this.silentSinceMs >= DEAD_MS) this.leader = null
      return
    }
    this.leader = null
    if (up.length < majority(this.voters().length)) return
    const best = up.sort(
      (a, b) => this.match(b.id, nowMs) - this.match(a.id, nowMs) || (a.name < b.name ? 1 : -1),
    )[0]!
    this.lead(best.id, nowMs)
  }

  private lead(id: string, nowMs: number): void {
    const match = this.match(id, nowMs)
    if (match < this.acked)
      this.violation = `${this.acked - match} acknowledged entries are lost: ${id} leads with ${match} of ${this.acked}`
    this.leader = id
    this.term++
    this.last = match
    this.silentSinceMs = null
    for (const m of this.members) this.heard.set(m.id, nowMs)
  }

  private replicate(nowMs: number): void {
    this.last += this.random.between(0, 20)
    for (const m of this.members) {
      const p = this.alive(m.id, nowMs)
      if (p === null) continue
      this.heard.set(m.id, nowMs)
      const disk = this.diskOf(p)!
      disk.term = this.term
      const behind = this.last - disk.match
      // The whole state takes a while; what is appended comes at once, nearly.
      disk.match = Math.min(
        this.last,
        disk.match + Math.max(40, Math.ceil(behind * (m.id === this.leader ? 1 : this.random.unit()))),
      )
      if (behind <= CAUGHT_UP) this.lastFollowedMs.set(m.id, nowMs)
    }
    const have = this.voters()
      .map((m) => this.match(m.id, nowMs))
      .sort((a, b) => b - a)
    this.acked = Math.max(this.acked, have[majority(have.length) - 1] ?? 0)
  }

  /**
   * What the leader does by itself: swap a lost voter for its successor; a lost learner just makes room for
   * it.
   */
  private tend(nowMs: number): void {
    for (const m of this.members.filter((o) => !o.voter && this.alive(o.id, nowMs) !== null)) {
      const lost = this.members.find((o) => o.name === m.name && this.alive(o.id, nowMs) === null)
      if (lost === undefined || (lost.voter && !this.caughtUp(m, nowMs))) continue
      const next = this.members
        .filter((o) => o.id !== lost.id)
        .map((o) => (o.id === m.id ? { ...o, voter: lost.voter } : o))
      if (this.quorumOf(next, nowMs)) this.change(next, nowMs)
      return
    }
  }

  private quorumOf(members: readonly Member[], nowMs: number): boolean {
    const voters = members.filter((m) => m.voter)
    return voters.filter((m) => this.alive(m.id, nowMs) !== null).length >= majority(voters.length)
  }

  private change(members: readonly Member[], nowMs: number): void {
    if (this.pending !== null) this.violation = 'two changes of members at once'
    this.pending = {
      doneMs: nowMs + this.random.between(50, 800),
      next: members,
      apply: (now) => {
        // A joint change is through when a majority of the new voters has it, and with it all before.
        for (const m of members.filter((o) => o.voter)) {
          const p = this.alive(m.id, now)
          if (p !== null) this.diskOf(p)!.match = this.last
        }
        const gone = this.members.filter((m) => !members.some((o) => o.id === m.id))
        for (const m of gone) this.removed.add(m.id)
        this.members = members.map((m) => ({ ...m }))
        const voters = this.voters().length
        if (voters % 2 === 0) this.violation = `${voters} voters: an even number`
        if (this.leader !== null && gone.some((m) => m.id === this.leader)) this.leader = null
      },
    }
  }

  private caughtUp(m: Member, nowMs: number): boolean {
    return this.alive(m.id, nowMs) !== null && this.last - this.match(m.id, nowMs) <= CAUGHT_UP
  }

  /** A request to the replica in this pod, as the tracker's leader answers it. */
  ask(
    p: Process,
    nowMs: number,
    request: {
      kind: 'promote' | 'demote' | 'remove' | 'transfer' | 'drain' | 'undrain'
      ids: readonly string[]
    },
  ): MemberAnswer {
    const later = (sentence: string): MemberAnswer => ({ kind: 'later', sentence })
    const refused = (sentence: string): MemberAnswer => ({ kind: 'refused', sentence })
    const done = (sentence: string): MemberAnswer => ({ kind: 'done', sentence })
    if (request.kind === 'drain' || request.kind === 'undrain') {
      p.draining = request.kind === 'drain'
      return done(p.draining ? 'not ready any more' : 'ready again')
    }
    const self = this.diskOf(p)?.memberID
    if (self === undefined || self !== this.leader) return later('this replica does not lead')
    if (this.pending !== null) return later('members are being changed already')
    if (!this.hasQuorum(nowMs)) return refused('no majority')
    const found = request.ids.map((id) => this.members.find((m) => m.id === id))
    if (found.some((m) => m === undefined)) return refused('no such member')
    const who = found as Member[]
    const voting = (ids: readonly string[], is: boolean): Member[] =>
      this.members.map((m) => (ids.includes(m.id) ? { ...m, voter: is } : { ...m }))
    switch (request.kind) {
      case 'promote': {
        if (who.every((m) => m.voter)) return done('voting already')
        if (who.some((m) => !m.voter && !this.caughtUp(m, nowMs))) return refused('not caught up')
        return this.take(voting(request.ids, true), nowMs)
      }
      case 'demote': {
        if (who.every((m) => !m.voter)) return done('a learner already')
        if (who.some((m) => m.id === self)) return later('leadership moves first')
        return this.take(voting(request.ids, false), nowMs)
      }
      case 'transfer': {
        const to = who[0]!
        if (to.id === self) return done('leads already')
        if (!to.voter || !this.caughtUp(to, nowMs)) return refused('cannot take over now')
        // It takes what it lacks before it stands.
        const disk = this.diskOf(this.alive(to.id, nowMs)!)!
        disk.match = this.last
        this.lead(to.id, nowMs)
        return done('it leads')
      }
      case 'remove':
        return this.removal(who[0]!, self, nowMs)
    }
  }

  private removal(m: Member, self: string, nowMs: number): MemberAnswer {
    const rest = this.members.filter((o) => o.id !== m.id).map((o) => ({ ...o }))
    if (rest.length === 0) return { kind: 'refused', sentence: 'the only member' }
    const voters = rest.filter((o) => o.voter)
    const heirs = rest.filter((o) => !o.voter && this.caughtUp(o, nowMs))
    if (!m.voter) return this.take(rest, nowMs)
    if (voters.length > 0 && m.id === self) {
      const to = voters.find((o) => this.caughtUp(o, nowMs))
      if (to === undefined) return { kind: 'refused', sentence: 'nobody can take over' }
      this.lead(to.id, nowMs)
      return { kind: 'later', sentence: 'leadership moves first' }
    }
    if (voters.length % 2 === 0 && heirs[0] !== undefined) heirs[0].voter = true
    else if (voters.length === 0)
      return { kind: 'refused', sentence: 'the only voter, and no learner has caught up' }
    else if (voters.length % 2 === 0) {
      const back = voters.filter((o) => o.id !== self)
      const dead = back.find((o) => this.alive(o.id, nowMs) === null) ?? back.at(-1)
      if (dead !== undefined) dead.voter = false
    }
    return this.take(rest, nowMs)
  }

  private take(members: readonly Member[], nowMs: number): MemberAnswer {
    const voters = members.filter((m) => m.voter).length
    if (voters !== oddUpTo(voters)) return { kind: 'refused', sentence: `${voters} voters` }
    if (!this.quorumOf(members, nowMs)) return { kind: 'refused', sentence: 'too few would be alive' }
    this.change(members, nowMs)
    return { kind: 'done', sentence: 'done' }
  }

  /** `skep ctl recover --force` on a stopped replica's volume. */
  recover(claimUid: string): string {
    const disk = this.disks.get(claimUid)
    if (disk == null || !this.members.some((m) => m.id === disk.memberID)) return 'it is no member'
    const better = this.voters().find((m) => this.matchOnDisk(m.id) > disk.match)
    if (better !== undefined && disk.match < this.acked)
      this.violation = `recovered from ${disk.match} of ${this.acked}, and ${better.name} had more`
    for (const m of this.members) if (m.id !== disk.memberID) this.removed.add(m.id)
    this.members = [{ ...this.members.find((m) => m.id === disk.memberID)!, voter: true }]
    this.pending = null
    this.leader = null
    this.term++
    this.last = disk.match
    // By the words accepted.
    this.acked = disk.match
    return ''
  }

  private matchOnDisk(id: string): number {
    for (const disk of this.disks.values()) if (disk?.memberID === id) return disk.match
    return 0
  }

  /** What a replica says of itself. */
  report(p: Process, nowMs: number): MemberReport {
    const disk = this.diskOf(p)
    const joined = disk !== null
    const leads = joined && disk.memberID === this.leader
    const led = this.leader !== null && this.alive(this.leader, nowMs) !== null && p.reachable
    const removed = joined && this.removed.has(disk.memberID)
    const ready = this.readyAt(p, nowMs)
    return {
      name: p.pod,
      version: p.version,
      ready,
      notReady: ready ? '' : 'not caught up',
      birthAwaits: joined ? '' : 'no member of a cluster answers yet',
      draining: p.draining,
      networkKeys: p.keys.names,
      clusterID: disk?.clusterID ?? '',
      memberID: disk?.memberID ?? '0',
      leads,
      leaderID: led ? this.leader! : '0',
      term: disk?.term ?? 0,
      commitIndex: Math.min(this.acked, disk?.match ?? 0),
      lastIndex: disk?.match ?? 0,
      changing: leads && this.pending !== null,
      awaits: '',
      removed: removed ? 'removed' : '',
      members: joined && !removed ? this.members.map((m) => this.memberSeen(m, leads, nowMs)) : [],
      announcesPerSecond: 0,
      announces: 0,
      announcesPrivate: 0,
      torrents: 0,
      peers: 0,
      tableShare: 0,
      diskFull: false,
    }
  }

  private memberSeen(m: Member, leads: boolean, nowMs: number): RaftMember {
    const lost = m.voter ? undefined : this.members.find((o) => o.voter && o.name === m.name)
    return {
      id: m.id,
      name: m.name,
      voter: m.voter,
      lag:
        leads && this.alive(m.id, nowMs) !== null ? Math.max(0, this.last - this.match(m.id, nowMs)) : null,
      heardMsAgo: leads && this.heard.has(m.id) ? nowMs - this.heard.get(m.id)! : null,
      replaces: lost !== undefined && this.alive(lost.id, nowMs) === null ? lost.id : '0',
      diskFails: false,
      draining: this.alive(m.id, nowMs)?.draining ?? false,
    }
  }

  /** As GET /readyz: able to answer within the last ten seconds, and not on its way out. */
  readyAt(p: Process, nowMs: number): boolean {
    const disk = this.diskOf(p)
    if (disk === null || this.removed.has(disk.memberID) || p.draining) return false
    return nowMs - (this.lastFollowedMs.get(disk.memberID) ?? Number.NEGATIVE_INFINITY) < 10_000
  }
}
