// Where changes of members are asked for: by the control API, by newcomers and leavers, and by the leader
// itself. Takes one step at a time, has it agreed on, and says what came of it. Refuses: two changes at once,
// and to do anything on a replica that does not lead but name the one that does.

import type { ConfChange } from '@skep/raft'
import type { Outcome } from '../batches/proposals.ts'
import type { Identity } from './birth.ts'
import { decodeQuestion, encodeSaid, type Question, type Said } from './birth-words.ts'
import { nameOf } from './directory.ts'
import { tooOld } from './level.ts'
import { tend } from './plan.ts'
import { decide, notLeading, type Request } from './requests.ts'
import type { Step, View } from './view.ts'

/** Between two looks at what there is to do, milliseconds. */
const TEND_MS = 1000

export type DeskOptions = {
  readonly identity: Identity
  readonly view: () => View
  /** The cluster's, as far as this member has applied the log. */
  readonly level: () => number
  /** `Member.proposeConfChange`. */
  readonly propose: (change: ConfChange) => Promise<Outcome>
  /** `Member.transfer`: '' when it is done, else why not. */
  readonly transfer: (to: number) => Promise<string>
  /** A change that came into force, for the timeline. */
  readonly changed: (sentence: string) => void
}

export type Reply = {
  readonly ok: boolean
  readonly sentence: string
  /** The same request may be fine soon; at `leader`, if that is another one. */
  readonly again: boolean
  /** Asking again changes nothing. */
  readonly final: boolean
}

export class MembershipDesk {
  private readonly o: DeskOptions
  private busy = false
  private dueMs = Number.NEGATIVE_INFINITY
  /** What is awaited before the next step that nobody has to ask for; '': nothing. For status. */
  waits = ''

  constructor(options: DeskOptions) {
    this.o = options
  }

  /** A request of an admin. Resolves when its fate is known; the sentence is for people. */
  async request(request: Request): Promise<Reply> {
    const view = this.o.view()
    if (!view.leads) return reply(false, notLeading(view), true)
    if (this.busy) return reply(false, 'members are being changed already: ask again in a moment', true)
    return await this.take(decide(view, request), request.kind === 'transfer')
  }

  /** A change is on its way. */
  get changing(): boolean {
    return this.busy
  }

  /** When `turn` has something to do, milliseconds. */
  get due(): number {
    return this.busy ? Number.POSITIVE_INFINITY : this.dueMs
  }

  /**
   * What is due without being asked for: at most one step. Resolves when that is through; callers need not
   * wait.
   */
  async turn(nowMs: number): Promise<void> {
    if (this.busy || nowMs < this.dueMs) return
    this.dueMs = nowMs + TEND_MS
    const step = tend(this.o.view())
    this.waits = step?.kind === 'wait' ? step.sentence : ''
    if (step?.kind === 'change' || step?.kind === 'transfer') await this.take(step, false)
  }

  private async take(step: Step, transferAsked: boolean): Promise<Reply> {
    if (step.kind === 'done') return reply(true, step.sentence)
    if (step.kind === 'wait') return reply(false, step.sentence, true)
    if (step.kind === 'refused') return { ...reply(false, step.sentence), final: step.final === true }
    this.busy = true
    try {
      if (step.kind === 'transfer') return await this.move(step, transferAsked)
      const outcome = await this.o.propose(step.change)
      if (outcome === 'refused')
        return reply(false, 'another change of members was under way: ask again', true)
      if (outcome === 'unknown')
        return reply(
          false,
          'no majority has confirmed the change in time: it may still come into force (skep ctl members shows it)',
          true,
        )
      this.o.changed(step.sentence)
      if (step.change.transition === 'joint-explicit') this.dueMs = Number.NEGATIVE_INFINITY
      return reply(true, step.sentence)
    } finally {
      this.busy = false
    }
  }

  private async move(step: Extract<Step, { kind: 'transfer' }>, asked: boolean): Promise<Reply> {
    const fault = await this.o.transfer(step.to)
    if (fault !== '') return reply(false, fault, true)
    const to = nameOf(this.o.view().directory, step.to)
    return asked
      ? reply(true, `${to} leads now`)
      : reply(false, `${step.sentence}: done, so ask ${to} again`, true)
  }

  /** For `Receiver.question`: what newcomers and leavers ask a member. */
  async answer(bytes: Uint8Array): Promise<Uint8Array> {
    const question = decodeQuestion(bytes)
    return encodeSaid(
      question === null
        ? { is: 'refused', sentence: 'a question of another version', final: true }
        : await this.reply(question),
    )
  }

  private async reply(question: Question): Promise<Said> {
    const { clusterId, memberId: id, name, birth } = this.o.identity
    if (question.ask === 'who' || question.ask === 'pledge') return { is: 'member', name, clusterId, id }
    if (question.clusterId !== clusterId)
      return { is: 'refused', sentence: `"${name}" belongs to cluster ${clusterId}`, final: true }
    const { members } = this.o.view().directory
    if (question.ask === 'record') return { is: 'record', clusterId, birth, members }
    const { ask, level: its = 1 } = question as { ask: string; level?: number }
    if (ask === 'join' && its < this.o.level())
      return {
        is: 'refused',
        sentence: tooOld(this.o.level(), (question as { name: string }).name, its),
        final: true,
      }
    const request: Request =
      question.ask === 'join' ? { kind: 'add', ...question } : { kind: 'remove', who: String(question.id) }
    if (question.ask === 'leave' && !members.some((m) => m.id === question.id))
      return { is: 'done', sentence: 'no member any more', members }
    const done = await this.request(request)
    const view = this.o.view()
    const still = view.directory.members.some((m) => m.id === question.id)
    // Whoever leaves may go only when a joint change is over: until then its vote may be needed.
    if (done.ok && question.ask === 'leave' && still) return { is: 'later', sentence: done.sentence }
    if (done.ok) return { is: 'done', sentence: done.sentence, members: view.directory.members }
    if (!done.again) return { is: 'refused', sentence: done.sentence, final: done.final }
    const leader = view.directory.members.find((m) => m.id === view.leader)
    if (view.leads || leader === undefined || leader.address === '')
      return { is: 'later', sentence: done.sentence }
    return { is: 'elsewhere', name: leader.name, address: leader.address, sentence: done.sentence }
  }
}

const reply = (ok: boolean, sentence: string, again = false): Reply => ({ ok, sentence, again, final: false })
