// What the operator will ever do, in which order: a list of named checks; the first that has something to say
// wins, and it says one step, or what is waited for. Refuses: two steps in a pass, clocks of its own, and
// Kubernetes objects. Whatever is decided here is safe to decide again.

import { counted } from '@skep/wire/words.ts'
import type { Observed } from '../model/facts.ts'
import type { Plan, PlanEvent } from '../model/steps.ts'
import type { Condition, LastStep } from '../model/types.ts'
import { epochMs, fingerprint, rfc3339 } from '../model/units.ts'
import { conditionsOf, statusOf } from './conditions.ts'
import { keyMissing, rotating, rotation } from './keys.ts'
import * as life from './life.ts'
import * as membership from './membership.ts'
import { recoveryBegins, recoveryGoesOn } from './recovery.ts'
import { cannotStart, rollout, skew } from './rollout.ts'
import { LOOK_MS, leftoverServices, standIns } from './stand-ins.ts'
import { aimedAt, memberAt, podOf, type Verdict, type View, viewOf, wait } from './view.ts'

export type Check = { readonly name: string; readonly find: (v: View) => Verdict | null }

/** In this order. Below "leader" there is one whose word about members counts. */
const CHECKS: readonly Check[] = [
  { name: 'cache', find: life.staleCache },
  { name: 'deletion', find: life.beingDeleted },
  { name: 'paused', find: life.paused },
  { name: 'specification', find: life.atFault },
  { name: 'version skew', find: skew },
  { name: 'finalizer', find: life.finalizer },
  { name: 'network key', find: keyMissing },
  { name: 'stand-ins', find: standIns },
  { name: 'objects', find: life.objectsDiffer },
  { name: 'addresses', find: leftoverServices },
  { name: 'foreign cluster', find: life.foreignCluster },
  { name: 'recovery', find: recoveryGoesOn },
  { name: 'sleep', find: life.sleepAndWake },
  { name: 'cannot start', find: cannotStart },
  { name: 'recovery asked for', find: recoveryBegins },
  { name: 'birth', find: life.birth },
  { name: 'leader', find: membership.noLeader },
  { name: 'change under way', find: membership.changeUnderWay },
  { name: 'expelled', find: membership.expelled },
  { name: 'taking over', find: membership.takingOver },
  { name: 'lost', find: membership.lost },
  { name: 'ghosts', find: membership.ghosts },
  { name: 'ballot', find: membership.ballot },
  { name: 'grow', find: membership.grow },
  { name: 'shrink', find: membership.shrink },
  { name: 'drained', find: membership.backInServices },
  { name: 'key rotation', find: rotation },
  { name: 'rollout', find: rollout },
  { name: 'volumes', find: (v) => life.leftoverClaims(v) ?? life.smallClaims(v) },
  { name: 'on its way', find: (v) => onItsWay(v) },
]

/** Until a step repeated without effect is taken again, milliseconds: twice this, four times, ... */
const REPEAT_MS = 1000
const REPEAT_MOST_MS = 300_000
/** Taken so long ago, a step counts as new, milliseconds. */
const FORGOTTEN_MS = 600_000
const AFTER_STEP_MS = 1000
const WAITING_MS = 2000
const SETTLED_MS = 10_000

/** The next step for a cluster. `nowMs`: since the epoch. */
export const plan = (seen: Observed, nowMs: number): Plan => {
  const v = viewOf(seen, nowMs)
  const found = firstOf(v)
  const settled = found === null
  const verdict = found ?? wait('Settled', 'all is as the specification asks', SETTLED_MS)
  const held = repetition(v, verdict)
  const conditions = conditionsOf(
    v,
    verdict,
    settled,
    verdict.step.kind === 'none' ? 0 : (held.last?.count ?? 0),
  )
  const status = statusOf(v, verdict, settled, conditions)
  const watched = v.decided.targets.length > 0 ? LOOK_MS : Number.POSITIVE_INFINITY
  const due = Math.min(watched, Math.max(100, v.wish.dueMs))
  const usual = verdict.requeueMs ?? (verdict.step.kind === 'none' ? WAITING_MS : AFTER_STEP_MS)
  return {
    step: held.forMs > 0 ? { kind: 'none' } : verdict.step,
    reason: verdict.reason,
    message: verdict.message,
    conditions,
    events: eventsOf(v, verdict, held.forMs > 0 || (held.last?.count ?? 1) > 1, conditions),
    requeueAfterMs: Math.min(held.forMs > 0 ? held.forMs : usual, due),
    status: held.last === null ? status : { ...status, lastStep: held.last },
  }
}

const firstOf = (v: View): Verdict | null => {
  for (const check of CHECKS) {
    const verdict = check.find(v)
    if (verdict !== null) return verdict
  }
  return null
}

/** Nothing to do but to wait for pods, members and keys. */
const onItsWay = (v: View): Verdict | null => {
  if (v.seen.statefulSet?.revision === '')
    return wait('RollingOut', 'the StatefulSet’s controller has not looked at the newest template yet', 500)
  for (let i = 0; i < aimedAt(v); i++) {
    const why = life.startText(v, i)
    if (why !== null) return wait('Starting', why)
    const member = memberAt(v, i)
    if (v.pods.get(i)?.ready === true && member?.caughtUp === true) continue
    const report = v.reports.get(i)
    if (member !== null && !member.alive)
      return report === undefined
        ? wait('MemberSilent', `${member.name} is silent; it is replaced if it stays so`)
        : wait('MemberCutOff', `${member.name} answers the operator, but not the leader (${v.leader!.pod})`)
    const awaits = report?.birthAwaits || report?.notReady || ''
    return wait('Starting', `${podOf(v, i)} is on its way${awaits === '' ? '' : `: ${awaits}`}`, 500)
  }
  const key = rotating(v)
  return key === null ? null : wait('RotatingKey', key)
}

type Repetition = { readonly forMs: number; readonly last: LastStep | null }

/** The same step for the same sight: not again before its time, which doubles. */
const repetition = (v: View, verdict: Verdict): Repetition => {
  const before = v.status.lastStep ?? null
  if (verdict.step.kind === 'none') return { forMs: 0, last: before }
  const print = fingerprint(JSON.stringify([verdict.step, sight(v)]))
  const { reason, message } = verdict
  const fresh = {
    kind: verdict.step.kind,
    reason,
    message,
    fingerprint: print,
    count: 1,
    at: rfc3339(v.nowMs),
  }
  const agoMs = v.nowMs - epochMs(before?.at)
  if (before === null || before.fingerprint !== print || agoMs > FORGOTTEN_MS)
    return { forMs: 0, last: fresh }
  const delay = Math.min(REPEAT_MOST_MS, REPEAT_MS * 2 ** Math.min(before.count, 20))
  const dueMs = delay - agoMs
  if (dueMs > 0) return { forMs: dueMs, last: before }
  return { forMs: 0, last: { ...fresh, count: before.count + 1 } }
}

/** What a step is chosen by, without what changes all the time. */
const sight = (v: View): unknown => [
  v.seen.resource.metadata.generation,
  v.seen.statefulSet,
  v.seen.config,
  v.seen.key,
  v.seen.drift,
  v.seen.jobs.map((j) => [j.name, j.state]),
  v.seen.ownServices,
  v.seen.pods.map((p) => [p.uid, p.ready, p.deleting, p.revision, p.waiting]),
  v.seen.claims.map((c) => [c.uid, c.deleting]),
  v.leader?.id,
  v.members.map((m) => [m.id, m.voter, m.alive, m.caughtUp]),
]

const eventsOf = (
  v: View,
  verdict: Verdict,
  again: boolean,
  conditions: readonly Condition[],
): PlanEvent[] => {
  const events: PlanEvent[] = []
  if (verdict.step.kind !== 'none' && !again)
    events.push({ type: 'Normal', reason: verdict.reason, message: verdict.message })
  if (v.wish.change !== '')
    events.push({
      type: 'Normal',
      reason: 'Scaling',
      message: `${counted(v.wish.replicas, 'replica')} from now on: ${v.wish.change}`,
    })
  for (const c of conditions) {
    const before = v.status.conditions?.find((b) => b.type === c.type)
    const bad =
      c.type === 'Ready' || c.type === 'ClientIPPreserved' ? c.status === 'False' : c.status === 'True'
    const told = before?.status === c.status && before.reason === c.reason
    if (c.type === 'Progressing' || told) continue
    if (bad && !(c.type === 'Ready' && /^(Birth|Forming)$/.test(c.reason)))
      events.push({ type: 'Warning', reason: c.reason, message: `${c.type} is ${c.status}: ${c.message}` })
    else if (c.type === 'Ready' && c.status === 'True' && before?.status !== 'True')
      events.push({ type: 'Normal', reason: 'Ready', message: c.message })
  }
  return events
}
