// Users of a tracker: requests at a fixed rate at whoever is ready, asked again of another when nothing
// comes, as BEP 15 clients do; every answer is held against what was acknowledged before. Refuses: to judge
// what is not known, and to forget a silence.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '@skep/testing/random.ts'
import { EVENT_COMPLETED, EVENT_NONE, EVENT_STARTED, EVENT_STOPPED } from '@skep/wire/udp-tracker.ts'
import type { ClusterClient, Place } from './cluster-client.ts'
import { ALL, type History, type Peer, SWARM_MOST, type Told } from './cluster-history.ts'
import { announce } from './cluster-load.ts'

export type UsersReport = {
  /** Longest time in which nobody got any answer, since the mark. */
  silenceMs: number
  /** Longest wait of a request that was answered, asking again included. */
  worstMs: number
  answers: number
  /** Requests that got no answer, however often they were asked again. */
  unanswered: number
  acknowledged: number
  checked: number
  faultCount: number
  faults: readonly string[]
  errors: Readonly<Record<string, number>>
}

const TICK_MS = 5
/** What a late generator still owes, at most. */
const OWED_MOST_MS = 50
/** A question nobody answers is asked again after this, then twice this, of whoever is ready then. */
const AGAIN_MS = 1000
const TRIES = 4
/** Requests under way; more means that nobody answers. */
const WAITING_MOST = 5000
const SCRAPE_HASHES = 8
/** Hashes of one scrape while everything is looked at. */
const CHECK_HASHES = 60
const CHECK_ABREAST = 32
const CHECK_TRIES = 12
/** How long all replicas may take to know what one has acknowledged: longer than a lease. */
export const BOUND_MS = 2500
const SEEDERS = 0.3

type Act = { readonly peer: Peer; readonly event: number }

export class Users {
  private readonly client: ClusterClient
  private readonly history: History
  private readonly random: Random
  /** Whom a user may ask now. */
  private readonly ready: () => readonly Place[]
  private readonly rate: number
  private timer: NodeJS.Timeout | undefined
  private dueMs = 0
  private turn = 0
  private lastMs = 0
  private silenceMs = 0
  private worstMs = 0
  private answers = 0
  private unanswered = 0
  private markedMs = 0
  /**
   * Peers that are saying something, or are about to say it again: the order of two things at once could not
   * be known.
   */
  private readonly busy = new Set<Peer>()

  constructor(client: ClusterClient, ready: () => readonly Place[], random: Random, rate: number) {
    this.client = client
    this.history = client.history
    this.ready = ready
    this.random = random
    this.rate = rate
  }

  start(): void {
    this.dueMs = this.lastMs = performance.now()
    this.timer = setInterval(() => this.tick(), TICK_MS)
  }

  stop(): void {
    clearInterval(this.timer)
    this.timer = undefined
  }

  mark(): void {
    this.markedMs = this.lastMs = performance.now()
    this.silenceMs = this.worstMs = this.answers = this.unanswered = 0
  }

  report(): UsersReport {
    const running = this.timer === undefined ? 0 : performance.now() - this.lastMs
    return {
      silenceMs: Math.max(this.silenceMs, running),
      worstMs: this.worstMs,
      answers: this.answers,
      unanswered: this.unanswered,
      acknowledged: this.history.acknowledged,
      checked: this.history.checked,
      faultCount: this.history.faultCount,
      faults: this.history.faults,
      errors: Object.fromEntries(this.history.errors),
    }
  }

  /** Nobody says anything new, and all know what was said; then `act`, whose pause is nobody's silence. */
  async quietly<T>(act: () => Promise<T>): Promise<T> {
    const { silenceMs, worstMs, unanswered } = this.report()
    clearInterval(this.timer)
    this.timer = undefined
    await sleep(BOUND_MS)
    try {
      return await act()
    } finally {
      this.start()
      Object.assign(this, { silenceMs, worstMs, unanswered })
    }
  }

  /** Every swarm is asked of everybody who is ready; the history judges the answers. */
  check(): Promise<void> {
    return this.quietly(() => this.askAll())
  }

  private async askAll(): Promise<void> {
    const torrents = Array.from({ length: this.history.count }, (_, i) => i).filter(
      (torrent) => this.history.peersOf(torrent).length > 0,
    )
    const groups: number[][] = []
    for (let i = 0; i < torrents.length; i += CHECK_HASHES) groups.push(torrents.slice(i, i + CHECK_HASHES))
    for (const place of this.ready()) {
      await this.abreast(groups, place, (group, at) =>
        this.client.ask(
          (sentMs) => ({ kind: 'scrape', replica: at.name, torrents: group, event: 0, numWant: 0, sentMs }),
          at,
          this.random.pick(this.client.addresses),
        ),
      )
      await this.abreast(torrents, place, (torrent, at) => {
        const peer = this.history
          .peersOf(torrent)
          .find((one) => this.history.isPresent(one, performance.now()))
        if (peer === undefined) return undefined
        return this.client.ask((sentMs) => announce(at.name, peer, EVENT_NONE, ALL, sentMs), at, peer.address)
      })
    }
  }

  private async abreast<T>(
    items: readonly T[],
    place: Place,
    ask: (item: T, place: Place) => Promise<Told | undefined> | undefined,
  ): Promise<void> {
    let next = 0
    let missing = 0
    const work = async (): Promise<void> => {
      while (next < items.length) {
        const item = items[next++]!
        for (let i = 0; ; i++) {
          const asked = ask(item, place)
          if (asked === undefined || (await asked) !== undefined) break
          if (i >= CHECK_TRIES) {
            missing++
            break
          }
          await sleep(AGAIN_MS / 4)
        }
      }
    }
    await Promise.all(Array.from({ length: CHECK_ABREAST }, work))
    if (missing > 0)
      this.history.fail(
        `${place.name} left ${missing} of ${items.length} questions unanswered while all were asked`,
      )
  }

  private tick(): void {
    const now = performance.now()
    this.dueMs = Math.max(this.dueMs, now - OWED_MOST_MS)
    for (; this.dueMs <= now; this.dueMs += 1000 / this.rate)
      if (this.client.outstanding() < WAITING_MOST) void this.one(now)
  }

  private target(): Place | undefined {
    const targets = this.ready()
    if (targets.length === 0) return undefined
    this.turn = (this.turn + 1) % targets.length
    return targets[this.turn]
  }

  /** One request, asked again until it is answered; only what may be said twice is. */
  private async one(now: number): Promise<void> {
    const act = this.random.unit() < 0.15 ? undefined : this.act(now)
    const torrents = Array.from({ length: SCRAPE_HASHES }, () => this.random.below(this.history.count))
    const numWant = this.random.chance(0.15) ? ALL : this.random.pick([0, 30, 50])
    const once = act !== undefined && (act.event === EVENT_STOPPED || act.event === EVENT_COMPLETED)
    if (act !== undefined) this.busy.add(act.peer)
    await this.untilAnswered(act, torrents, numWant, once, now)
    if (act !== undefined) this.busy.delete(act.peer)
  }

  private async untilAnswered(
    act: Act | undefined,
    torrents: readonly number[],
    numWant: number,
    once: boolean,
    now: number,
  ): Promise<void> {
    const asks: Promise<Told | undefined>[] = []
    for (let i = 0; i < (once ? 1 : TRIES); i++) {
      const place = this.target()
      if (place !== undefined) {
        const ask =
          act === undefined
            ? this.client.ask(
                (sentMs) => ({ kind: 'scrape', replica: place.name, torrents, event: 0, numWant: 0, sentMs }),
                place,
                this.random.pick(this.client.addresses),
              )
            : this.client.ask(
                (sentMs) => announce(place.name, act.peer, act.event, numWant, sentMs),
                place,
                act.peer.address,
              )
        asks.push(ask)
        void ask.then((told) => this.heard(told))
      }
      const told = await Promise.race([answered(asks), sleep(once ? 6500 : AGAIN_MS * 2 ** i)])
      if (told !== undefined) {
        if (now >= this.markedMs) this.worstMs = Math.max(this.worstMs, performance.now() - now)
        return
      }
    }
    if (now >= this.markedMs) this.unanswered++
  }

  private heard(told: Told | undefined): void {
    if (told === undefined || this.timer === undefined) return
    const now = performance.now()
    this.silenceMs = Math.max(this.silenceMs, now - this.lastMs)
    this.lastMs = now
    this.answers++
  }

  /** The next thing some peer may say. */
  private act(now: number): Act | undefined {
    const { random, history } = this
    const torrent = random.below(history.count)
    const peers = history.peersOf(torrent)
    const at = random.below(Math.min(SWARM_MOST, peers.length + 8))
    if (at >= peers.length) {
      const peer = history.newPeer(torrent, random.pick(this.client.addresses), random.chance(SEEDERS))
      return peer && { peer, event: EVENT_STARTED }
    }
    const peer = peers[at]!
    if (peer.waiting > 0 || this.busy.has(peer) || now - peer.ackMs < BOUND_MS || peer.mayLeave)
      return undefined
    if (history.isGone(peer, now) || !history.isPresent(peer, now)) return { peer, event: EVENT_STARTED }
    const drawn = random.unit()
    if (drawn < 0.15) return { peer, event: EVENT_STOPPED }
    if (drawn < 0.3 && !peer.seeder) return { peer, event: EVENT_COMPLETED }
    return { peer, event: EVENT_NONE }
  }
}

/** The first of them that is an answer; never, if none is. */
function answered(asks: readonly Promise<Told | undefined>[]): Promise<Told> {
  return new Promise((done) => {
    for (const ask of asks)
      void ask.then((told) => {
        if (told !== undefined) done(told)
      })
  })
}
