// What a member in its thread is made of, built once and never changed: log, table, feed, member, desk,
// bulletin, transfers, network. Whoever works on them takes these parts, or less; nobody takes the loop.
// Refuses: to run anything; running.ts does.

import { randomBytes } from 'node:crypto'
import type { ConfState, Core, Entry } from '@skep/raft'
import type { LogStore } from '../replica/log/log.ts'
import { Member } from '../replica/member.ts'
import type { Identity } from '../replica/membership/birth.ts'
import { MembershipDesk } from '../replica/membership/desk.ts'
import { admission, type Directory, idsOf, REMOVED_SENTENCE } from '../replica/membership/directory.ts'
import { admitLevel } from '../replica/membership/level.ts'
import { admitLife, type Known, Lives } from '../replica/membership/lives.ts'
import { MembersMachine } from '../replica/membership/members-machine.ts'
import { restoreSnapshot } from '../replica/snapshots.ts'
import { Transfers } from '../replica/transfer/streams.ts'
import type { Frame } from '../replica/transport/frame.ts'
import { clusterIdOf } from '../swarm/apply.ts'
import { type Birth, birthEntry } from '../swarm/entry.ts'
import { LEVEL } from '../swarm/level.ts'
import { SwarmMachine } from '../swarm/machine.ts'
import { Store } from '../swarm/store.ts'
import { Control, monotonicMs } from '../threads/state.ts'
import { Bulletin, MOST_MET } from './bulletin.ts'
import { type Parked, RingFeed } from './feed.ts'
import type { News, ReplicaOptions } from './messages.ts'
import type { Network } from './network.ts'
import { Roster } from './roster.ts'
import { viewOf } from './view.ts'

/** Where nothing else is said. */
const KEEPALIVE_MS = 1000
const MISSED = 2
export const PARK_FOR_MS = 3500
const RAISE_LEVEL_AFTER_MS = 600_000

/** What stands before there is a member. */
export type Opened = {
  readonly options: ReplicaOptions
  readonly say: (news: News) => void
  readonly log: LogStore
  readonly core: Core
  readonly identity: Identity
  /** Whom this member knows before the log or a snapshot tells. */
  readonly directory: Directory
  readonly buffers: Store['buffers']
  /** Null: alone for good. */
  readonly network: Network | null
}

/** What the loop lends to its parts. */
export type Loop = {
  /** Runs `what` and ends a sleep. */
  wake<T>(what: () => T): T
  /** Something came in from others: front ends may have to see it. */
  received(): void
  /** The cluster does not want this replica any more. */
  removed(sentence: string): void
  /** Another member does not let this life in, and why; '': one does. */
  unwelcome(sentence: string): void
}

export type Parts = Opened & {
  readonly loop: Loop
  readonly incarnation: number
  readonly keepaliveMs: number
  readonly missed: number
  readonly control: Control
  readonly store: Store
  readonly swarm: SwarmMachine
  readonly members: MembersMachine
  readonly roster: Roster
  readonly feed: RingFeed
  readonly member: Member<Parked>
  readonly desk: MembershipDesk
  readonly bulletin: Bulletin
  readonly lives: Lives
  /** Null: alone for good. */
  readonly transfers: Transfers | null
  /** The birth record is applied. Once it is, it stays. */
  readonly born: () => boolean
}

/** Reads what the log knows and puts the parts together. */
export async function assemble(opened: Opened, loop: Loop): Promise<Parts> {
  const { options, log, core, identity, directory, network } = opened
  const store = new Store(opened.buffers)
  let wasBorn = false
  const born = (): boolean => {
    wasBorn ||= clusterIdOf(store) !== ''
    return wasBorn
  }
  // These three call one another, but not before all of them stand.
  const swarm = new SwarmMachine(
    store,
    {
      part: (from, incarnation, producer, first, count) =>
        feed.part(from, incarnation, producer, first, count),
      batch: (from, incarnation, number, taken) => {
        if (taken) feed.batch(from, incarnation)
        member.forward.applied(from, incarnation, number)
      },
    },
    () => feed.tell(),
  )
  const members = new MembersMachine(swarm, directory, (id) => {
    swarm.forgetMember(id)
    lives.forget(id)
  })
  await restoreSnapshot(log, members)
  const incarnation = await log.nextIncarnation()
  const lives = newLives(opened, incarnation)
  const feed = newFeed(opened, incarnation, swarm, born)
  const bulletin = newBulletin(opened, lives, () => member)
  const roster = new Roster(members, (id) => bulletin.of(id)?.draining === true)
  const keepaliveMs = options.cluster?.keepaliveMs ?? KEEPALIVE_MS
  const missed = options.cluster?.missed ?? MISSED
  const member: Member<Parked> = new Member(
    {
      ...{ core, group: 0, id: identity.memberId, incarnation, log, machine: members, feed },
      ...{ keepaliveMs, missed, transport: network?.transport ?? SILENT },
      snapshots: {
        offer: (to, m) => transfers?.offer(to, m),
        arrived: (from, m) => transfers?.arrived(from, m),
      },
      lingerMs: options.lingerMs,
      parkForMs: options.parkForMs ?? PARK_FOR_MS,
      loose: options.fsync === 'interval',
      snapshotLogBytes: options.snapshotLogBytes,
      ...{ fresh: incarnation === 1, level: () => store.level },
      preference: (id) => roster.preference(id),
      preferHighest: options.cluster?.preferHighest ?? false,
      staysPut: () => bulletin.wasAskedToLead(member.term),
      onLeading: (leads) => {
        lives.leads(leads, (id, nonce) => network?.transport.isHere(id, nonce) ?? false)
        if (!leads) transfers?.only(null)
      },
      onConfState: (confState, entry) => configured(parts, confState, entry),
    },
    monotonicMs(),
  )
  const desk = newDesk(opened, () => parts)
  const transfers = network === null ? null : newTransfers(opened, network, member, loop)
  const control = new Control(options.control)
  const parts: Parts = {
    ...{ ...opened, loop, incarnation, keepaliveMs, missed, control, store, swarm, members, roster },
    ...{ feed, member, desk, bulletin, lives, transfers, born },
  }
  if (network !== null) connect(parts, network)
  return parts
}

const newFeed = (
  { options, identity }: Opened,
  incarnation: number,
  swarm: SwarmMachine,
  born: () => boolean,
): RingFeed =>
  new RingFeed({
    member: identity.memberId,
    incarnation,
    producers: options.producers,
    relaxed: options.consistency === 'relaxed',
    timeMs: () => swarm.timeMs,
    lastBatch: (from) => swarm.lastBatch(from),
    birth: () => (born() ? null : birthEntry(identity.birth as Birth)),
  })

/** This start, and what the log remembers of the others'. */
const newLives = ({ identity, log }: Opened, incarnation: number): Lives => {
  const nonce = randomBytes(8).toString('hex')
  const life = { nonce, incarnation, began: log.began, lastIndex: log.lastIndex }
  return new Lives(identity.memberId, life, log.lives)
}

const newBulletin = (
  { options, identity, log, network }: Opened,
  lives: Lives,
  member: () => Member<Parked>,
): Bulletin =>
  new Bulletin({
    self: identity.memberId,
    others: () => member().others,
    tell: (to, body) => network?.transport.keepalive(0, to, body),
    told: (met) => network?.hear(met),
    own: () => ({
      version: options.version ?? '',
      applied: member().replica.applied,
      diskBytes: log.bytes + (log.snapshot?.bytes ?? 0),
      control: options.controlAddress ?? '',
      agrees: agreesTo(options),
      met: (network?.moved() ?? []).slice(0, MOST_MET),
      lives: lives.tell(log.synced),
    }),
  })

/** The level that this replica agrees to have raised: none before it has run for a while. */
const agreesTo = ({ raiseLevelAfterMs = RAISE_LEVEL_AFTER_MS }: ReplicaOptions): number =>
  performance.now() >= raiseLevelAfterMs ? LEVEL : 0

const newDesk = ({ identity }: Opened, parts: () => Parts): MembershipDesk =>
  new MembershipDesk({
    identity,
    view: () => viewOf(parts()),
    level: () => parts().store.level,
    propose: (change) => parts().member.proposeConfChange(change),
    transfer: (to) => {
      const { bulletin, member } = parts()
      bulletin.moves(member.term, to, monotonicMs())
      return member.transfer(to, monotonicMs())
    },
    changed: (sentence) => {
      const { member } = parts()
      member.events.add(monotonicMs(), 'members changed', member.term, 0, sentence)
    },
  })

const newTransfers = ({ log }: Opened, network: Network, member: Member<Parked>, loop: Loop): Transfers => {
  const { replica } = member
  return new Transfers({
    group: 0,
    log,
    transport: network.transport,
    now: monotonicMs,
    breathe: () => new Promise((resolve) => setImmediate(resolve)),
    report: (to, ok) => loop.wake(() => member.reportSnapshot(to, ok)),
    pin: (index) => replica.snapshots.pin(index),
    retake: () => void replica.snapshots.take(replica.applied, replica.confState).catch(() => {}),
    term: () => replica.status.term,
    commit: () => replica.status.commit,
    install: (message, record) => loop.wake(() => member.stepSnapshot(message, record, monotonicMs())),
  })
}

/** From here on the network serves this member. */
function connect(parts: Parts, network: Network): void {
  const { identity, lives, member, members, bulletin, transfers, desk, loop, store } = parts
  const { replica } = member
  const { lastIndex } = parts.log
  network.serve(identity.clusterId, identity.memberId, lives.life, {
    frame: (frame) => {
      const word = bulletin.take(frame)
      if (word !== null) hear(parts, network, frame, word.lives)
      member.receive(frame, monotonicMs())
    },
    received: () => loop.wake(() => loop.received()),
    stamp: (to, stamp) => member.stamp(to, stamp),
    admit: (hello, rival) =>
      admission(members.directory, replica.confState, replica.applied, hello) ??
      admitLife(lives, replica, hello, rival) ??
      admitLevel(member.peers, store.level, hello),
    connected: (id) => {
      loop.unwelcome('')
      loop.wake(() => member.connected(id))
    },
    started: (id) => {
      bulletin.forget(id)
      member.peerStarted(id)
    },
    refused: (_id, refusal) => {
      if (refusal.code === 'removed member') loop.removed(REMOVED_SENTENCE)
      if (refusal.code === 'older life' || refusal.code === 'doubled') loop.unwelcome(refusal.sentence)
      if (refusal.final === true) loop.wake(() => member.refuse(refusal.sentence))
    },
    stream: (begin) => transfers!.stream(begin),
    question: (question) => desk.answer(question),
    settled: () => replica.applied >= lastIndex,
    standing: (said) => lives.standing(said),
    leader: () => replica.status.leader,
    moved: (sentence) => parts.say({ kind: 'note', sentence }),
  })
  network.follow(members.directory, identity.memberId)
}

/** Another one's word about the lives of all: the leader's counts. */
function hear(parts: Parts, network: Network, frame: Frame, said: readonly Known[]): void {
  const { leader, term } = parts.member.replica.status
  const byLeader = frame.from === leader && frame.term === term
  for (const id of parts.lives.told(said, byLeader ? { id: leader, term } : null))
    network.transport.turnOut(id)
}

function configured(parts: Parts, confState: ConfState, entry: Entry | null): void {
  const { network, identity, members, roster, transfers, loop } = parts
  members.configured(confState, entry)
  roster.rank()
  transfers?.only(new Set(idsOf(confState)))
  network?.follow(members.directory, identity.memberId)
  if (entry !== null && !idsOf(confState).includes(identity.memberId)) loop.removed(REMOVED_SENTENCE)
}

/** The network of a replica alone. */
const SILENT = {
  send: () => {},
  sendBatch: () => false,
  sendNotice: () => {},
  keepalive: () => {},
  flush: () => {},
}
