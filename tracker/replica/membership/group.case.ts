// A few replicas in one thread with the real core, real logs in memory and real state transfer, for tests of
// how a group changes: no leases, no batches, no losses (cluster.case.ts and tracker/sim/ have those).
// Refuses: time of its own.

import { MSG_SNAP, messageInfo } from '@skep/raft/message.ts'
import { Counter, Numbers, testCore } from '../counter.case.ts'
import { OPTIONS } from '../log/log.case.ts'
import type { LogStore } from '../log/log.ts'
import { type MemoryDisk, memoryDisk } from '../log/memory.ts'
import { openLog } from '../log/store.ts'
import { IDLE, Replica, WRITING } from '../replica.ts'
import { restoreSnapshot } from '../snapshots.ts'
import { Transfers } from '../transfer/streams.ts'
import type { StreamOut } from '../transport/transport.ts'
import { StreamFailed } from '../transport/transport.ts'
import type { Identity } from './birth.ts'
import { beginAs, firstDirectory } from './birth-flow.ts'
import { MembershipDesk } from './desk.ts'
import { idsOf } from './directory.ts'
import { MembersMachine } from './members-machine.ts'
import type { View } from './view.ts'

const TICK_MS = 100

export const identityOf = (id: number, name: string, members: Identity['initialMembers']): Identity => ({
  version: 1,
  clusterId: 'c',
  memberId: id,
  name,
  initialMembers: members,
  birth: {},
})

type Made = { machine: MembersMachine; counter: Counter; forgotten: number[] }

export class Node {
  readonly group: Group
  readonly identity: Identity
  readonly disk: MemoryDisk
  readonly log: LogStore
  readonly counter: Counter
  readonly numbers = new Numbers()
  readonly machine: MembersMachine
  readonly replica: Replica
  readonly transfers: Transfers
  readonly desk: MembershipDesk
  readonly heard = new Map<number, number>()
  readonly told: string[] = []
  readonly forgotten: number[]
  up = true

  private constructor(group: Group, identity: Identity, disk: MemoryDisk, log: LogStore, machine: Made) {
    this.group = group
    this.identity = identity
    this.disk = disk
    this.log = log
    this.machine = machine.machine
    this.counter = machine.counter
    this.forgotten = machine.forgotten
    const id = identity.memberId
    const now = (): number => group.nowMs
    this.transfers = new Transfers({
      group: 0,
      log,
      now,
      transport: { openStream: (_g, to, head, totalBytes) => group.stream(id, to, head, totalBytes) },
      breathe: () => Promise.resolve(),
      partBytes: 64,
      report: (to, ok) => this.replica.reportSnapshot(to, ok),
      pin: (index) => this.replica.snapshots.pin(index),
      retake: () => {},
      term: () => this.replica.status.term,
      commit: () => this.replica.status.commit,
      install: (message, record) =>
        record === null
          ? void this.replica.step(message, now())
          : void this.replica.stepSnapshot(message, record, now()),
    })
    const numbers = this.numbers
    const source = {
      due: (ms: number) => numbers.due(ms),
      next: () => numbers.next(),
      proposed: (ok: boolean) => numbers.proposed(ok),
      leading: () => {},
      lost: () => this.transfers.only(null),
      configured: (...given: Parameters<MembersMachine['configured']>) => {
        this.machine.configured(...given)
        this.transfers.only(new Set(idsOf(given[0])))
      },
    }
    this.replica = new Replica(
      {
        ...{ core: group.core, group: 0, id, log, machine: this.machine, source, loose: false },
        ...{
          tickMs: TICK_MS,
          electionTicks: 10,
          heartbeatTicks: 1,
          snapshotLogBytes: group.snapshotLogBytes,
        },
        transport: { send: (_g, to, message) => this.send(to, message) },
      },
      group.nowMs,
    )
    this.desk = new MembershipDesk({
      identity,
      view: () => this.view(),
      level: () => 1,
      propose: (change) => this.replica.proposeConfChange(change),
      transfer: (to) => this.transfer(to),
      changed: (sentence) => void this.told.push(sentence),
    })
  }

  static async start(group: Group, identity: Identity, disk: MemoryDisk): Promise<Node> {
    const log = await openLog(disk, OPTIONS)
    await beginAs(log, identity)
    const counter = new Counter()
    const forgotten: number[] = []
    const machine = new MembersMachine(counter, firstDirectory(identity), (id) => void forgotten.push(id))
    await restoreSnapshot(log, machine)
    return new Node(group, identity, disk, log, { machine, counter, forgotten })
  }

  get id(): number {
    return this.identity.memberId
  }

  view(): View {
    const { replica, group } = this
    return {
      self: this.id,
      leads: replica.leads,
      leader: replica.status.leader,
      confState: replica.confState,
      directory: this.machine.directory,
      lastIndex: replica.status.lastIndex,
      progress: replica.leads ? replica.progress() : [],
      heardMsAgo: new Map([...this.heard].map(([id, ms]) => [id, group.nowMs - ms])),
      deadAfterMs: 1000,
      maxVoters: group.maxVoters,
      promotes: group.promotes,
    }
  }

  private send(to: number, message: Uint8Array): void {
    if (messageInfo(message)?.type === MSG_SNAP) this.transfers.offer(to, message)
    else this.group.air.push({ from: this.id, to, message: Uint8Array.from(message) })
  }

  private async transfer(to: number): Promise<string> {
    this.replica.transferLeadership(to)
    for (let i = 0; i < 50 && this.replica.status.leader !== to; i++)
      await new Promise((resolve) => setImmediate(resolve))
    return this.replica.status.leader === to ? '' : 'it did not move in time'
  }

  async work(): Promise<boolean> {
    let did = false
    for (
      let what = this.replica.turn(this.group.nowMs);
      what !== IDLE;
      what = this.replica.turn(this.group.nowMs)
    ) {
      did = true
      if (what !== WRITING) continue
      await this.replica.writing
      this.replica.finish(this.group.nowMs)
    }
    this.transfers.turn(this.group.nowMs)
    return did
  }
}

export class Group {
  readonly core: Awaited<ReturnType<typeof testCore>>
  readonly nodes = new Map<number, Node>()
  air: { from: number; to: number; message: Uint8Array }[] = []
  nowMs = 0
  maxVoters = 5
  snapshotLogBytes = 1024 * 1024
  /** As in View: learners vote, and numbers are evened out, without being asked for. */
  promotes = true
  /** Streams break after so many parts, once each. */
  breaks: number[] = []

  private constructor(core: Group['core']) {
    this.core = core
  }

  static async create(): Promise<Group> {
    return new Group(await testCore())
  }

  async start(identity: Identity, disk = memoryDisk(identity.name)): Promise<Node> {
    const node = await Node.start(this, identity, disk)
    this.nodes.set(identity.memberId, node)
    return node
  }

  kill(id: number): void {
    this.nodes.get(id)!.up = false
  }

  async restart(id: number): Promise<Node> {
    const old = this.nodes.get(id)!
    old.up = false
    return this.start(old.identity, old.disk.crash())
  }

  get living(): Node[] {
    return [...this.nodes.values()].filter((n) => n.up)
  }

  get leader(): Node | undefined {
    return this.living
      .filter((n) => n.replica.leads)
      .sort((a, b) => b.replica.status.term - a.replica.status.term)[0]
  }

  /** Somebody stands until somebody leads: the core's own timeouts are all alike here. */
  async elect(): Promise<void> {
    for (let i = 0; i < 20 && this.leader === undefined; i++) {
      const { living } = this
      living[i % living.length]!.replica.campaign()
      await this.until(() => this.leader !== undefined, 15)
    }
    if (this.leader === undefined) throw new Error('nobody came to lead')
  }

  /** Ticks until it is so. */
  async until(what: () => boolean, ticks = 400): Promise<boolean> {
    for (let i = 0; i < ticks; i++) {
      if (what()) return true
      this.nowMs += TICK_MS
      for (let busy = true; busy; ) {
        busy = false
        for (const n of this.living) busy = (await n.work()) || busy
        for (const { from, to, message } of this.air.splice(0)) {
          const node = this.nodes.get(to)
          if (node?.up !== true || this.nodes.get(from)?.up !== true) continue
          node.heard.set(from, this.nowMs)
          node.replica.step(message, this.nowMs)
          busy = true
        }
        await new Promise((resolve) => setImmediate(resolve))
      }
      for (const n of this.living) void n.desk.turn(this.nowMs)
    }
    return what()
  }

  stream(from: number, to: number, head: Uint8Array, totalBytes: number): StreamOut {
    const node = this.nodes.get(to)
    const breaksAt = this.breaks.shift() ?? Number.POSITIVE_INFINITY
    let parts = 0
    const gone = (): StreamFailed => new StreamFailed('no connection for bulk')
    const there = (): boolean =>
      node?.up === true && this.nodes.get(to) === node && this.nodes.get(from)?.up === true
    const sink = there() ? node!.transfers.stream({ group: 0, from, head, totalBytes }) : null
    const usable = sink !== null && !('sentence' in sink) ? sink : null
    const first =
      usable !== null
        ? Promise.resolve(usable.first)
        : Promise.reject(sink !== null && 'sentence' in sink ? new StreamFailed(sink.sentence, true) : gone())
    first.catch(() => {})
    return {
      first,
      async write(part) {
        if (!there() || ++parts > breaksAt) {
          usable?.broken('the way broke')
          throw gone()
        }
        await usable!.write(Uint8Array.from(part))
      },
      async end() {
        if (!there()) throw gone()
        await usable!.end()
      },
      abort: () => usable?.broken('given up'),
    }
  }
}
