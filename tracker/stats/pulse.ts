// Once a second on the main thread: the interval follows the load, the census walks on, the connection-ID key
// is renewed, and it is noted whether the replica thread still answers. Refuses: anything that must happen
// sooner.

import { randomBytes } from 'node:crypto'
import type { Probe } from '../http/health.ts'
import type { Logger } from '../log.ts'
import type { ReplicaHandle } from '../replica-thread/handle.ts'
import type { ReplicaStatus } from '../replica-thread/messages.ts'
import { WINDOW_MS } from '../swarm/connection-id.ts'
import { type HashKey, idKeyEntry, levelEntry } from '../swarm/entry.ts'
import { C_ID_KEYS } from '../swarm/layout.ts'
import type { Store } from '../swarm/store.ts'
import { type Control, monotonicMs } from '../threads/state.ts'
import type { Census } from './census.ts'
import { type IntervalLimits, nextInterval, startInterval } from './interval.ts'

const SECOND_MS = 1000
/**
 * An election must not take a replica out of a load balancer: ready this long after the last lease,
 * milliseconds.
 */
const READY_FOR_MS = 10_000
/** A replica thread that has not answered for so long is dead, milliseconds. */
const SILENT_MS = 30_000
/** Age of a connection-ID key at which the leader proposes the next, milliseconds of cluster time. */
export const ID_KEY_MS = 86_400_000
/** Seconds between looks at the key's age: also the time before a proposal that failed is made again. */
const KEY_LOOK_SECONDS = 60

/** Between two lines of the log about copies that knock, milliseconds. */
const TOLD_EVERY_MS = 60_000

export type PulseOptions = {
  readonly targetAnswers: number
  readonly log: Logger
  readonly store: Store
  readonly control: Control
  readonly census: Census
  readonly replica: Pick<ReplicaHandle, 'status' | 'propose' | 'removed' | 'unwelcome'>
  /** Answers given since start, over all front ends. */
  readonly answers: () => number
  readonly drained: () => boolean
  /** Announces that were refused for the address they came from, since start. */
  readonly refusals: () => number
  readonly listFaults: () => Readonly<Record<string, string>>
}

export type Pulse = {
  /** Answers a second, smoothed over some seconds, for people. */
  rate(): number
  /** Caught up once since the start, a lease within the last 10 s, and nobody drains it. */
  ready(): Probe
  live(): Probe
  stop(): void
}

/** Between two lines about refused addresses, milliseconds. */
const REFUSALS_MS = 60_000

/** Says that addresses are refused, as long as more come: nobody who is refused can tell the owner. */
function refusalTeller({ refusals, log }: Pick<PulseOptions, 'refusals' | 'log'>): (nowMs: number) => void {
  let told = { refused: 0, atMs: Number.NEGATIVE_INFINITY }
  return (nowMs) => {
    const refused = refusals()
    if (refused === told.refused || nowMs - told.atMs < REFUSALS_MS) return
    log.warn(
      { refused: refused - told.refused },
      'announces are refused for the address they come from; the setting allow-private says whose peers are taken (skep ctl settings)',
    )
    told = { refused, atMs: nowMs }
  }
}

export function startPulse(options: PulseOptions): Pulse {
  const { control, store, replica } = options
  const limits = (): IntervalLimits => ({ ...store.settings, targetAnswers: options.targetAnswers })
  let interval = startInterval({ ...limits(), intervalSeconds: control.intervalSeconds })
  let seen = { answers: 0, atMs: monotonicMs() }
  let rate = 0
  let servedMs = Number.NEGATIVE_INFINITY
  let heardMs = monotonicMs()
  let asking = false
  const tellOfCopies = copiesTeller(options.log)
  let ticks = 0
  const tellRefusals = refusalTeller(options)

  const tick = (): void => {
    const now = monotonicMs()
    const elapsed = (now - seen.atMs) / SECOND_MS
    const answers = options.answers() - seen.answers
    seen = { answers: seen.answers + answers, atMs: now }
    rate += (answers / Math.max(elapsed, 0.001) - rate) * Math.min(1, elapsed / 5)
    if (control.mayAnswer(now)) {
      servedMs = now
      // Settings come from the log, so they hold once it has been read.
      interval = nextInterval(interval, answers, elapsed, limits())
      control.setIntervalSeconds(Math.round(interval.seconds))
    }
    options.census.step()
    tellRefusals(now)
    if (!asking) {
      asking = true
      replica.status().then(
        (status) => {
          asking = false
          heardMs = monotonicMs()
          tellOfCopies(status)
          if (status.role !== 'leader') return
          if (ticks++ % KEY_LOOK_SECONDS === 0) void renewKey(options)
          if (status.raise.to > 0) void raiseLevel(options, status.level, status.raise.to)
        },
        () => {}, // It has ended: `failed` says why.
      )
    }
  }

  const timer = setInterval(tick, SECOND_MS)
  return {
    rate: () => rate,
    ready() {
      const now = monotonicMs()
      if (control.mayAnswer(now)) servedMs = now
      if (options.drained())
        return { ok: false, reason: 'it is being drained: it answers, and will be stopped' }
      if (replica.removed() !== '') return { ok: false, reason: replica.removed() }
      const faults = Object.values(options.listFaults()).filter((fault) => fault !== '')
      if (now - servedMs < READY_FOR_MS)
        return { ok: true, reason: 'serving', note: [...faults, ...fullNote(store)].join('; ') }
      const never = servedMs === Number.NEGATIVE_INFINITY
      const waits = never ? 'starting: the log is being read' : 'no lease: announces wait for a leader'
      return { ok: false, reason: replica.unwelcome() || waits }
    },
    live() {
      const silent = monotonicMs() - heardMs
      return silent < SILENT_MS
        ? { ok: true, reason: 'alive' }
        : { ok: false, reason: `the replica thread has not answered for ${Math.round(silent / 1000)} s` }
    },
    stop: () => clearInterval(timer),
  }
}

/** Says in the log that somebody runs a copy of a member's data folder, while it knocks, now and then. */
function copiesTeller(log: Logger): (status: ReplicaStatus) => void {
  let copies = 0
  let toldMs = Number.NEGATIVE_INFINITY
  return ({ refusedLives, refusedLife }) => {
    if (refusedLives <= copies) return
    copies = refusedLives
    if (monotonicMs() < toldMs + TOLD_EVERY_MS) return
    toldMs = monotonicMs()
    log.warn(`not let in: ${refusedLife}`)
  }
}

/** Has the key of the connection IDs in use been in use for a day of cluster time? */
export const idKeyIsOld = (store: Store): boolean =>
  store.timeMs - store.control[C_ID_KEYS + 4]! * WINDOW_MS >= ID_KEY_MS

type Proposing = Pick<PulseOptions, 'store' | 'replica' | 'log'>

async function renewKey({ store, replica, log }: Proposing): Promise<void> {
  if (!idKeyIsOld(store)) return
  const key = new Int32Array(new Uint8Array(randomBytes(8)).buffer)
  const outcome = await replica.propose(idKeyEntry([key[0]!, key[1]!])).catch(() => 'unknown')
  if (outcome === 'committed') log.info('connection-ID key renewed')
}

/** Proposed again at the next tick as long as it is due. */
async function raiseLevel({ replica, log }: Proposing, from: number, to: number): Promise<void> {
  const [a, b, c, d] = new Int32Array(new Uint8Array(randomBytes(16)).buffer) as unknown as HashKey
  const outcome = await replica.propose(levelEntry(to, [a, b, c, d])).catch(() => 'unknown')
  if (outcome === 'committed')
    log.info({ from, to }, `the cluster works at level ${to} from now on: older versions cannot come back`)
}

/** What a balancer need not act on and a person should know. */
const fullNote = (store: Store): string[] =>
  store.nearlyFull
    ? [
        'the swarm table is nearly full: when it is full, peers of new torrents are answered but not kept, so the ' +
          'second is not told of the first (peers_refused_full and torrents_refused_full count them)',
      ]
    : []
