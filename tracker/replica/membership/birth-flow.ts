// The way from a data directory to a member: asks the others, forms a cluster with them or joins theirs, and
// answers their questions meanwhile. birth.ts decides every step; here they are taken, each on disk before
// anybody hears of it. Refuses: to serve. Whoever runs it opens the front ends when the birth record is
// applied, not before.

import { begin } from '../log/begin.ts'
import type { LogStore } from '../log/log.ts'
import {
  type Answer,
  type BirthFacts,
  birthStep,
  decodeIdentity,
  encodeIdentity,
  type Identity,
  memberIdOf,
  namedMembers,
  takePledge,
} from './birth.ts'
import {
  decodeQuestion,
  decodeSaid,
  encodeQuestion,
  encodeSaid,
  type Question,
  type Said,
} from './birth-words.ts'
import { type Directory, directoryOf } from './directory.ts'

/** Between two rounds of questions, milliseconds. */
const ROUND_MS = 500
/** From a member to the leader it names, and on. */
const MOST_HOPS = 4

export type BirthOptions = {
  readonly log: Pick<LogStore, 'identity' | 'setIdentity' | 'snapshot' | 'createSnapshot' | 'append'>
  readonly name: string
  /** `host:port` under which the others reach this replica; '' for one that is alone. */
  readonly address: string
  /** `--initial-members`, this replica's included; empty: alone. */
  readonly initialMembers: readonly { readonly name: string; readonly address: string }[]
  /** `--join`: addresses of members of a running cluster; null: not asked for. */
  readonly join: readonly string[] | null
  /** Joins as a learner for ever. */
  readonly learner: boolean
  /**
   * One question, one answer (probe.ts `ask`). Rejects when nobody answers; `wrongKey` on the error: another
   * key.
   */
  readonly ask: (address: string, question: Uint8Array) => Promise<Uint8Array>
  /** 32 random bits, of the secure sort. */
  readonly randomWord: () => number
  /** The highest level that this replica supports. */
  readonly level: number
  /** The machine's birth record of a new cluster that begins at `level`. */
  readonly birth: (clusterId: string, level: number) => unknown
  /**
   * Why this replica cannot be a member of a cluster with this record (say, too little memory); null: it can.
   */
  readonly refuses: (birth: unknown) => string | null
  readonly pause: (ms: number) => Promise<void>
  /** What is awaited, whenever that changes. */
  readonly say: (sentence: string) => void
}

/** A replica that cannot start as it was told to. The message is for an admin. */
export class BirthRefused extends Error {
  override readonly name = 'BirthRefused'
}

/** It was told to stop before it was a member. */
export class BirthStopped extends Error {
  override readonly name = 'BirthStopped'
}

export class Birth {
  private readonly o: BirthOptions
  private identity: Identity | null
  private said = ''
  private stopped = false
  /** Writes of the identity, one after the other: a record may come in while we make our own. */
  private writing: Promise<unknown> = Promise.resolve()

  constructor(options: BirthOptions) {
    this.o = options
    const { identity } = options.log
    this.identity = identity === null ? null : decodeIdentity(identity, options.level)
  }

  /**
   * Until this replica is a member. Rejects with BirthRefused, BirthStopped, or when the disk fails. Safe to
   * repeat after a crash.
   */
  async run(): Promise<Identity> {
    for (;;) {
      if (this.stopped) throw new BirthStopped('stopped before it was a member')
      const step = birthStep(await this.facts())
      if (step.kind === 'resume') return await this.begun(step.identity)
      if (step.kind === 'refuse') throw new BirthRefused(step.reason)
      if (step.kind === 'start') {
        await this.write((now) => (now?.clusterId === step.identity.clusterId ? step.identity : now))
        continue
      }
      if (step.kind === 'create') {
        await this.create(step.members, step.level)
        continue
      }
      if (step.kind === 'join' && (await this.choose(step.through))) continue
      if (step.kind === 'ask' && (await this.enter(step.identity))) continue
      if (step.kind === 'pledge') await this.pledge(step.to, step.reason)
      if (step.kind === 'wait') this.tell(step.reason)
      await this.o.pause(ROUND_MS)
    }
  }

  /** Makes `run` end before its next step. */
  stop(): void {
    this.stopped = true
  }

  /** For `Receiver.question` until `run` has ended; MemberDesk answers afterwards. */
  async answer(bytes: Uint8Array): Promise<Uint8Array> {
    const question = decodeQuestion(bytes)
    return encodeSaid(await this.reply(question))
  }

  private async reply(question: Question | null): Promise<Said> {
    if (question === null) return { is: 'refused', sentence: 'a question of another version', final: true }
    if (question.ask === 'pledge') {
      const unfit = this.o.refuses(question.pledge.birth)
      if (unfit !== null) return { is: 'refused', sentence: `"${this.o.name}": ${unfit}`, final: true }
      let fault = ''
      // Promised only when it is on disk.
      await this.write((now) => {
        const taken = takePledge(this.named(now), question.pledge)
        if (typeof taken === 'string') fault = taken
        return typeof taken === 'string' ? now : taken
      })
      if (fault !== '') return { is: 'refused', sentence: fault, final: false }
    } else if (question.ask !== 'who')
      return { is: 'later', sentence: `"${this.o.name}" is no member of a cluster yet` }
    return this.who()
  }

  private who(): Said {
    const { name } = this.o
    const now = this.identity
    if (now === null || now.phase === 'joining')
      return { is: 'empty', name, initialMembers: this.names(), level: this.o.level }
    const { clusterId, memberId: id } = now
    if (now.phase === undefined) return { is: 'member', name, clusterId, id }
    return { is: 'forming', name, clusterId, initialMembers: now.initialMembers.map((m) => m.name) }
  }

  private names(): string[] {
    return this.o.initialMembers.map((m) => m.name)
  }

  private named(identity: Identity | null): Omit<BirthFacts, 'answers'> {
    return {
      level: this.o.level,
      identity,
      name: this.o.name,
      initialMembers: this.names(),
      joinOnly: this.o.join !== null,
    }
  }

  private async facts(): Promise<BirthFacts> {
    await this.writing
    const whom = new Map<string, string>()
    if (this.identity === null) {
      for (const m of this.o.initialMembers) if (m.name !== this.o.name) whom.set(m.name, m.address)
      for (const address of this.o.join ?? []) if (address !== this.o.address) whom.set(address, address)
    } else if (this.identity.phase === 'forming')
      for (const m of this.identity.initialMembers)
        if (m.name !== this.o.name && m.address !== undefined) whom.set(m.name, m.address)
    const answers = new Map<string, Answer>()
    await Promise.all(
      [...whom].map(async ([name, address]) => void answers.set(name, await this.ask(address))),
    )
    return { ...this.named(this.identity), answers }
  }

  private async ask(address: string): Promise<Answer> {
    const said = await this.put(address, { ask: 'who' })
    if ('silent' in said) return said.silent
    if (said.is === 'empty') return { ...said, kind: 'empty' }
    if (said.is === 'forming') return { ...said, kind: 'forming' }
    if (said.is === 'member') return { kind: 'member', clusterId: said.clusterId, name: said.name }
    return { kind: 'silent', reason: 'it answered something else' }
  }

  private async put(address: string, question: Question): Promise<Said | { silent: Answer }> {
    try {
      const said = decodeSaid(await this.o.ask(address, encodeQuestion(question)))
      return said ?? { silent: { kind: 'silent', reason: 'what it answered is malformed' } }
    } catch (error) {
      if ((error as { wrongKey?: unknown }).wrongKey === true) return { silent: { kind: 'wrong key' } }
      return { silent: { kind: 'silent', reason: error instanceof Error ? error.message : String(error) } }
    }
  }

  private memberId(): number {
    return memberIdOf(this.o.randomWord(), this.o.randomWord())
  }

  private async create(members: readonly string[], level: number): Promise<void> {
    const { o } = this
    const hex = (): string => (o.randomWord() >>> 0).toString(16).padStart(8, '0')
    const clusterId = hex() + hex() + hex() + hex()
    const address = (name: string): string | undefined =>
      name === o.name && o.address !== '' ? o.address : o.initialMembers.find((m) => m.name === name)?.address
    const initialMembers = namedMembers(members, address, () => this.memberId())
    const me = initialMembers.find((m) => m.name === o.name)!
    const identity: Identity = {
      version: level,
      clusterId,
      memberId: me.id,
      name: o.name,
      initialMembers,
      birth: o.birth(clusterId, level),
      ...(initialMembers.length > 1 ? { phase: 'forming' } : {}),
    }
    // Meanwhile somebody may have handed us a record: that one counts.
    await this.write((now) => now ?? identity)
  }

  private async pledge(to: readonly string[], reason: string): Promise<void> {
    const identity = this.identity
    if (identity?.phase !== 'forming') return
    const { clusterId, initialMembers, birth, version: level } = identity
    const pledge = { clusterId, initialMembers, birth, level }
    const answers = await Promise.all(
      to.map(async (name) => {
        const address = initialMembers.find((m) => m.name === name)?.address ?? ''
        const said = await this.put(address, { ask: 'pledge', pledge })
        return 'is' in said && said.is === 'refused' ? said.sentence : ''
      }),
    )
    const sentence = [...answers.filter((a) => a !== ''), reason].filter((s) => s !== '').join('; ')
    if (sentence !== '') this.tell(sentence)
  }

  /** Reads the cluster's record and writes down who this replica will be in it. True: go on at once. */
  private async choose(through: string): Promise<boolean> {
    const { o } = this
    if (o.address === '') throw new BirthRefused('a member needs an address that the others can reach')
    const address = o.initialMembers.find((m) => m.name === through)?.address ?? through
    const who = await this.ask(address)
    if (who.kind !== 'member') return false
    const said = await this.put(address, { ask: 'record', clusterId: who.clusterId })
    if ('silent' in said || said.is !== 'record') {
      this.tell('sentence' in said ? said.sentence : `"${through}" does not answer any more`)
      return false
    }
    const unfit = o.refuses(said.birth)
    if (unfit !== null) throw new BirthRefused(unfit)
    const { clusterId, birth, members } = said
    const identity: Identity = {
      version: 1,
      clusterId,
      memberId: this.memberId(),
      name: o.name,
      initialMembers: [],
      birth,
      phase: 'joining',
      known: members,
    }
    await this.write((now) => now ?? identity)
    return true
  }

  /** Asks to be added, following the way to the leader. True: it is done. */
  private async enter(identity: Identity): Promise<boolean> {
    const { o } = this
    const { clusterId, memberId: id, name } = identity
    const { address: own, learner, level } = o
    const question: Question = { ask: 'join', clusterId, id, name, address: own, learner, level }
    const addresses = [
      ...(o.join ?? []),
      ...o.initialMembers.filter((m) => m.name !== name).map((m) => m.address),
      ...(identity.known ?? []).map((m) => m.address),
    ]
    let sentence = 'no member of the cluster answers'
    for (const address of new Set(addresses.filter((a) => a !== '' && a !== o.address))) {
      const said = await this.follow(address, question)
      if ('silent' in said || !('sentence' in said)) continue
      sentence = said.sentence
      if (said.is === 'refused' && said.final) throw new BirthRefused(said.sentence)
      if (said.is !== 'done') continue
      await this.write((now) => {
        const { phase, ...member } = now ?? identity
        return { ...member, known: said.members }
      })
      return true
    }
    this.tell(`${name} asks to be added: ${sentence}`)
    return false
  }

  private async follow(address: string, question: Question): Promise<Said | { silent: Answer }> {
    let said = await this.put(address, question)
    for (let hop = 0; hop < MOST_HOPS && 'is' in said && said.is === 'elsewhere'; hop++)
      said = await this.put(said.address, question)
    return said
  }

  private async begun(identity: Identity): Promise<Identity> {
    const unfit = this.o.refuses(identity.birth)
    if (unfit !== null) throw new BirthRefused(unfit)
    await beginAs(this.o.log, identity)
    return identity
  }

  private write(change: (now: Identity | null) => Identity | null): Promise<void> {
    const done = this.writing.then(async () => {
      const next = change(this.identity)
      if (next === null || next === this.identity) return
      await this.o.log.setIdentity(encodeIdentity(next))
      this.identity = next
    })
    this.writing = done.catch(() => {})
    return done
  }

  private tell(sentence: string): void {
    if (sentence !== this.said) this.o.say(sentence)
    this.said = sentence
  }
}

/**
 * The log's beginning, of an initial member; a newcomer has none: its leader sends it the state. Safe to
 * repeat.
 */
export const beginAs = async (
  log: Pick<LogStore, 'snapshot' | 'createSnapshot' | 'append'>,
  identity: Identity,
): Promise<void> => {
  const ids = (learner: boolean): number[] =>
    identity.initialMembers.filter((m) => (m.learner ?? false) === learner).map((m) => m.id)
  if (identity.initialMembers.length > 0) await begin(log, ids(false), ids(true))
}

/** Whom a member knows before it has restored a snapshot or applied an entry. For MembersMachine. */
export const firstDirectory = (identity: Identity): Directory =>
  directoryOf(
    identity.initialMembers.length > 0
      ? identity.initialMembers.map(({ id, name, address }) => ({ id, name, address: address ?? '' }))
      : (identity.known ?? []),
  )
