// An announce or a scrape over HTTP from query to body: answers what needs no change, parks what does until
// the outcome ring tells what became of it, lets everything wait while no lease holds. Refuses: sockets,
// HTTP, timers (the server calls `turn` and `sweep`), and more waiting requests than its limits.

import { addressClass4, addressClass6, addressRefusal, BOGON, PRIVATE, PUBLIC } from '../swarm/address.ts'
import { Announcer, BUSY, CHANGE, DENIED, REFRESH } from '../swarm/announce.ts'
import { DETAILS, IPV6, peerTag, WORD_ADDRESS, WORD_DETAILS, WORD_HASH, WORD_TAG } from '../swarm/change.ts'
import { C_TORRENT_TOP, RECORD, T_STATE } from '../swarm/layout.ts'
import type { Settings } from '../swarm/settings.ts'
import type { Store } from '../swarm/store.ts'
import { APPLIED, REFUSED } from '../threads/outcome.ts'
import type { ProducerBuffers } from '../threads/producer.ts'
import { RECORD_WORDS, WordRing } from '../threads/ring.ts'
import { type Control, STOPPING } from '../threads/state.ts'
import type { Asker } from './address.ts'
import type { HttpCounts } from './counters.ts'
import type { Form, Why } from './form.ts'
import { type ParkedChange, PendingChanges, type Waiter } from './pending.ts'
import { AnnounceQuery, NO_FULL_SCRAPE, type Refusal, ScrapeQuery, swap32 } from './query.ts'
import {
  type Counts,
  compactReply,
  dictionaryReply,
  failureReply,
  type Intervals,
  OK,
  scrapeReply,
  UNAVAILABLE,
} from './reply.ts'

/** Least interval of a failure that another try will not mend, seconds. */
const LASTING_SECONDS = 1800
/** Interval of a failure that may be over soon, seconds. */
const UNAVAILABLE_SECONDS = 60
/** What a client hears whose proxy is trusted and does not say who it is. */
const NOBODY = 'the proxy in front of this tracker does not say who you are (X-Forwarded-For)'

export const ANNOUNCE = 0
export const SCRAPE = 1

/** Most peers in a reply, whatever was asked and set: bounds the reply at 20 KiB. */
export const MAX_PEERS = 1000
const PEERS_BYTES = MAX_PEERS * 18
const IPV4_AND_IPV6 = 3
/** Most torrents in a full scrape: about 8 MiB and a tenth of a second. */
const MAX_FULL_SCRAPE = 100_000
/** Times that a parked answer is tried again while its swarm keeps changing, once a turn. */
const ANSWER_TRIES = 16

export type HttpTrackerOptions = {
  readonly store: Store
  readonly control: Control
  readonly producer: ProducerBuffers
  readonly counts: HttpCounts
  /** Longest wait for a leader or an outcome, milliseconds. */
  readonly parkForMs: number
  /** Requests that may wait for a leader at once. */
  readonly maxWaiting: number
  /** `min interval` of the answers where the interval is longer, seconds; 0: none. */
  readonly minIntervalSeconds: number
  /** Answer a scrape that names no torrent with all of them. */
  readonly fullScrape: boolean
  readonly seed: number
}

type Waiting = {
  readonly kind: number
  readonly query: string
  readonly asker: Asker | null
  readonly waiter: Waiter
  readonly sinceMs: number
}

export class HttpTracker {
  /** After `request` returned true: the answer. */
  status = OK
  body = ''

  private readonly options: HttpTrackerOptions
  private readonly announcer: Announcer
  private readonly touches: WordRing
  readonly pending: PendingChanges
  private readonly query = new AnnounceQuery()
  private readonly scrape = new ScrapeQuery()
  /** The change record of the request at hand; copied to its slot only if it is a change. */
  private readonly record = new Int32Array(new SharedArrayBuffer(RECORD_WORDS * 4))
  private readonly peers16 = new Uint16Array(PEERS_BYTES / 2)
  private readonly peers = Buffer.from(this.peers16.buffer)
  private readonly handles = new Int32Array(MAX_PEERS)
  private readonly id = new Int32Array(5)
  private readonly idBytes = Buffer.from(this.id.buffer)
  private settings: Settings
  /** Of the request at hand. */
  private form: Form | null = null
  private stopping = false
  private waiting: Waiting[] = []
  private again: number[] = []
  private random: number
  private readonly intervals: Intervals = { interval: 0, min: 0 }

  constructor(options: HttpTrackerOptions) {
    this.options = options
    this.announcer = new Announcer(options.store, options.seed)
    this.touches = new WordRing(options.producer.touches)
    this.pending = new PendingChanges(options.producer)
    this.random = options.seed | 1
    this.settings = options.store.settings
  }

  /** Requests waiting for a leader. */
  get waitingNow(): number {
    return this.waiting.length
  }

  /**
   * Takes one request: the query lies in `text` from `from` to `end`. True: `status` and `body` are the
   * answer. False: the waiter gets it later. `asker` null: nobody knows who it is.
   */
  request(
    kind: number,
    text: string,
    from: number,
    end: number,
    asker: Asker | null,
    waiter: Waiter,
    nowMs: number,
  ): boolean {
    const { control, counts } = this.options
    this.form = waiter.form
    if (kind === ANNOUNCE) counts.announces++
    else counts.scrapes++
    if (this.stopping || control.state === STOPPING) return this.unavailable('tracker is stopping')
    if (control.mayAnswer(nowMs))
      return kind === ANNOUNCE
        ? this.announce(text, from, end, asker, waiter, nowMs)
        : this.answerScrape(text, from, end)
    if (this.waiting.length >= this.options.maxWaiting) {
      counts.waitingFull++
      return this.unavailable('tracker has no leader now')
    }
    counts.waited++
    this.waiting.push({ kind, query: text.slice(from, end), asker, waiter, sinceMs: nowMs })
    return false
  }

  private announce(
    text: string,
    from: number,
    end: number,
    peer: Asker | null,
    waiter: Waiter,
    nowMs: number,
  ): boolean {
    const { query, record, announcer, options } = this
    const refusal = this.form === null ? query.parse(text, from, end) : this.form.readAnnounce(query)
    if (refusal) return this.refused(refusal)
    if (peer === null) {
      options.counts.refusedForwarded++
      return this.failure(NOBODY, 60, 'nobody')
    }
    // Before the birth record is applied all settings are zero; the sweep reads them again every 50 ms.
    if (this.settings.numwantMax === 0) this.settings = options.store.settings
    const settings = this.settings
    const kind = classOf(peer)
    if (kind !== PUBLIC) options.counts.privateAnnounces++
    if (kind === BOGON || (kind === PRIVATE && settings.allowPrivate === 'off')) {
      options.counts.refusedAddress++
      return this.failure(addressRefusal(kind, peer.v6, [...peer.words]), 60, 'forbidden')
    }
    this.fillRecord(peer)
    const asked = query.numwant < 0 ? settings.numwantDefault : query.numwant
    const want = Math.min(asked, settings.numwantMax, MAX_PEERS)
    const handles = query.compact ? null : this.handles
    const decision = announcer.announce(record, 0, want, IPV4_AND_IPV6, this.peers16, 0, handles)
    if (decision === DENIED) {
      options.counts.refusedAccess++
      return this.failure('info_hash not allowed', 60, 'forbidden')
    }
    if (decision === CHANGE || decision === BUSY) {
      // Who has no port cannot be a peer, but may know who is.
      if (query.port !== 0) return this.park(peer, waiter, want, nowMs)
      options.counts.portless++
      if (!announcer.answer(record, 0, want, IPV4_AND_IPV6, this.peers16, 0, handles))
        return this.unavailable('tracker is busy')
    }
    if (decision === REFRESH) this.touch(announcer.touch)
    this.answerAnnounce(peer, query.compact, !query.noPeerId)
    return true
  }

  private fillRecord(asker: Asker): void {
    const { query, record } = this
    const { words } = asker
    const id = query.peerId
    const details = this.options.store.buffers.limits.details
    record[0] = query.kind | (asker.v6 ? IPV6 : 0) | (details ? DETAILS : 0) | swap32(query.port)
    for (let i = 0; i < 4; i++) record[WORD_ADDRESS + i] = words[i]!
    for (let i = 0; i < 5; i++) record[WORD_HASH + i] = query.hash[i]!
    record[WORD_TAG] = peerTag(id[0]!, id[1]!, id[2]!, id[3]!, id[4]!, query.key)
    if (!details) return
    for (let i = 0; i < 5; i++) record[WORD_DETAILS + i] = id[i]!
    record[WORD_DETAILS + 5] = query.key
    for (let i = 0; i < 6; i++) record[WORD_DETAILS + 6 + i] = query.amounts[i]!
  }

  private park(asker: Asker, waiter: Waiter, want: number, nowMs: number): boolean {
    const { options, query } = this
    if (options.control.diskFull) {
      options.counts.refusedFullDisk++
      return this.unavailable('tracker cannot store this now, try again')
    }
    const change: ParkedChange = {
      waiter,
      asker,
      want,
      compact: query.compact,
      peerIds: !query.noPeerId,
      sinceMs: nowMs,
      late: false,
      tries: 0,
    }
    if (!this.pending.add(this.record, change)) {
      options.counts.parkedFull++
      return this.unavailable('tracker is busy')
    }
    options.counts.parked++
    return false
  }

  private touch(word: number): void {
    if (this.touches.room(1) < 1) {
      this.options.counts.touchesDropped++
      return
    }
    this.touches.push(word)
    this.touches.publish()
  }

  private answerAnnounce(asker: Asker, compact: boolean, peerIds: boolean): void {
    const { announcer, peers, options } = this
    const { count4, count6 } = announcer
    const intervals = this.jittered()
    options.counts.answered++
    this.status = OK
    if (this.form !== null) {
      this.form.announced(announcer, intervals, asker, peers, count4, count6)
      return
    }
    if (compact) {
      const end4 = count4 * 6
      const peers6 = count6 === 0 ? '' : peers.toString('latin1', end4, end4 + count6 * 18)
      this.body = compactReply(
        announcer,
        asker.externalIp,
        intervals,
        peers.toString('latin1', 0, end4),
        peers6,
      )
      return
    }
    const ids = peerIds && options.store.buffers.limits.details ? this.peerIds(count4 + count6) : null
    this.body = dictionaryReply(announcer, asker.externalIp, intervals, peers, 0, count4, count6, ids)
  }

  /**
   * By the handles of the answer just made. A peer that left meanwhile may show its successor's: then a
   * client drops it.
   */
  private peerIds(count: number): (string | null)[] {
    const ids: (string | null)[] = []
    for (let i = 0; i < count; i++)
      ids.push(
        this.announcer.peerId(this.handles[i]!, this.id) ? this.idBytes.toString('latin1', 0, 20) : null,
      )
    return ids
  }

  private answerScrape(text: string, from: number, end: number): boolean {
    const { scrape, options } = this
    if (this.form !== null) return this.answerForm(this.form)
    const refusal = scrape.parse(text, from, end)
    if (refusal === NO_FULL_SCRAPE && options.fullScrape) return this.answerFullScrape()
    if (refusal !== null) return this.refused(refusal)
    const files = new Map<string, Counts>()
    for (let i = 0; i < scrape.count; i++) this.scrapeOne(files, scrape.hashes, scrape.bytes, i * 5)
    return this.answerCounts(files)
  }

  private answerForm(form: Form): boolean {
    const { scrape, announcer } = this
    form.readScrape(scrape)
    const all: Counts[] = []
    for (let i = 0; i < scrape.count; i++) {
      announcer.scrape(scrape.hashes, i * 5)
      const { seeders, leechers, completed } = announcer
      all.push({ seeders, leechers, completed })
    }
    this.options.counts.answered++
    form.scraped(all)
    return true
  }

  private scrapeOne(files: Map<string, Counts>, hashes: Int32Array, bytes: Uint8Array, at: number): void {
    this.announcer.scrape(hashes, at)
    const { seeders, leechers, completed } = this.announcer
    const hash = String.fromCharCode(...bytes.subarray(at * 4, at * 4 + 20))
    files.set(hash, { seeders, leechers, completed })
  }

  private answerFullScrape(): boolean {
    const { store, counts } = this.options
    const { torrents } = store
    if (store.torrentCount > MAX_FULL_SCRAPE) {
      counts.refusedQuery++
      return this.failure('too many torrents for a full scrape: name each info_hash', 0, 'invalid')
    }
    const bytes = new Uint8Array(torrents.buffer)
    const files = new Map<string, Counts>()
    const top = store.control[C_TORRENT_TOP]! * RECORD
    for (let k = 0; k < top; k += RECORD)
      if (torrents[k + T_STATE] === 1) this.scrapeOne(files, torrents, bytes, k)
    return this.answerCounts(files)
  }

  private answerCounts(files: Map<string, Counts>): boolean {
    this.options.counts.answered++
    this.status = OK
    this.body = scrapeReply(files, this.options.minIntervalSeconds)
    return true
  }

  /** From now on nothing new is taken; what waits for an outcome still gets it. */
  stop(): void {
    this.stopping = true
  }

  /** Answers every change whose outcome came. */
  drain(): void {
    const again = this.again
    this.again = []
    for (const sequence of again) this.settle(sequence, APPLIED)
    this.pending.drain(this.settle)
  }

  private readonly settle = (sequence: number, outcome: number): void => {
    const { pending, options } = this
    const change = pending.get(sequence)
    if (change === null) return
    if (change.late || change.waiter.gone) {
      if (!change.late) options.counts.gone++
      pending.take(sequence)
      return
    }
    this.form = change.waiter.form
    if (outcome === APPLIED) {
      if (!this.answerApplied(sequence, change)) return
    } else if (outcome === REFUSED) {
      options.counts.refusedFullDisk++
      this.unavailable('tracker cannot store this now, try again')
    } else {
      options.counts.parkedUnknown++
      this.unavailable('tracker could not store this in time', 'unknown')
    }
    pending.take(sequence)
    change.waiter.answer(this.status, this.body)
  }

  /** False: the swarm kept changing while it was read, the answer is tried again in the next turn. */
  private answerApplied(sequence: number, change: ParkedChange): boolean {
    const { changes } = this.pending
    const handles = change.compact ? null : this.handles
    const at = changes.at(sequence)
    if (this.announcer.denied(changes.words, at)) {
      this.options.counts.refusedAccess++
      this.failure('info_hash not allowed', 60, 'forbidden')
    } else if (this.announcer.answer(changes.words, at, change.want, IPV4_AND_IPV6, this.peers16, 0, handles))
      this.answerAnnounce(change.asker, change.compact, change.peerIds)
    else if (++change.tries < ANSWER_TRIES) {
      this.again.push(sequence)
      return false
    } else this.unavailable('tracker is busy')
    return true
  }

  /** Some answers must be tried again in the next turn. */
  get hasRetries(): boolean {
    return this.again.length > 0
  }

  /**
   * Several times a second: lets waiting requests in when a lease holds again, and gives up on what waits too
   * long.
   */
  sweep(nowMs: number): void {
    const { control, counts, parkForMs } = this.options
    this.settings = this.options.store.settings
    if (
      this.waiting.length > 0 &&
      (this.stopping || control.state === STOPPING || control.mayAnswer(nowMs))
    ) {
      const waiting = this.waiting
      this.waiting = []
      for (const { kind, query, asker, waiter } of waiting) {
        if (waiter.gone) counts.gone++
        else {
          if (kind === ANNOUNCE) counts.announces--
          else counts.scrapes--
          if (this.request(kind, query, 0, query.length, asker, waiter, nowMs))
            waiter.answer(this.status, this.body)
        }
      }
    }
    let late = 0
    while (late < this.waiting.length && nowMs - this.waiting[late]!.sinceMs > parkForMs) late++
    for (const { waiter } of this.waiting.splice(0, late)) {
      counts.waitingLate++
      if (waiter.gone) continue
      this.form = waiter.form
      this.unavailable('tracker has no leader now')
      waiter.answer(this.status, this.body)
    }
    this.pending.late(nowMs, parkForMs, ({ waiter }) => {
      counts.parkedLate++
      if (waiter.gone) return
      this.form = waiter.form
      this.unavailable('tracker could not store this in time', 'unknown')
      waiter.answer(this.status, this.body)
    })
  }

  /** A tracker request went to another path. */
  misplaced(): void {
    this.form = null
    this.options.counts.refusedQuery++
    this.failure('there is no tracker at this path: the announce URL ends in /announce', 0, 'invalid')
  }

  /** So many come from this address that no more are taken. */
  crowded(): void {
    this.form = null
    this.unavailable('too many connections from your address')
  }

  private refused({ sentence }: Refusal): boolean {
    this.options.counts.refusedQuery++
    return this.failure(sentence, 0, 'invalid')
  }

  /** For good, as far as the tracker knows: whoever honours an interval stays away for long. */
  private failure(reason: string, retryMinutes: number, why: Why): boolean {
    this.form?.failed(why, reason)
    const seconds = Math.max(this.options.control.intervalSeconds, LASTING_SECONDS)
    this.status = OK
    this.body = failureReply(reason, seconds, retryMinutes)
    return true
  }

  /** For now: clients come back soonest after a status that is no success (docs/http.md). */
  private unavailable(reason: string, why: Why = 'unavailable'): boolean {
    this.form?.failed(why, reason)
    this.status = UNAVAILABLE
    this.body = failureReply(reason, UNAVAILABLE_SECONDS, 1)
    return true
  }

  /** 0.9 to 1.0 of the interval, so that clients that came together do not come back together. */
  private jittered(): Intervals {
    let x = this.random
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.random = x
    const seconds = this.options.control.intervalSeconds
    const { intervals } = this
    intervals.interval = seconds - Math.floor(((x >>> 0) / 4294967296) * 0.1 * seconds)
    intervals.min = Math.min(intervals.interval, this.options.minIntervalSeconds)
    return intervals
  }
}

function classOf({ v6, words }: Asker): number {
  return v6 ? addressClass6(words[0]!, words[1]!, words[2]!, words[3]!) : addressClass4(words[0]!)
}
