// One client connection: text in, answers out, in order and one at a time. Plain tracker requests are read in
// place (plain.ts), all others by their head (head.ts, general.ts). Reading stops while answers are not
// taken, while one is awaited, and while others have their turn. Refuses: to hold more than its bounds; to
// know what is asked.

import type { Socket } from 'node:net'
import { monotonicMs } from '../threads/state.ts'
import type { Asker, TrustedNetworks } from './address.ts'
import { bodyOf } from './body.ts'
import {
  CALL_MOST_BYTES,
  CALL_UNITS,
  CALLS,
  type CallAnswer,
  type CallRequest,
  faultAnswer,
} from './calls.ts'
import type { HttpCounts } from './counters.ts'
import { endOfHead, faultyHead, type Head, NO_HTTP, NOT_YET, readHead } from './head.ts'
import { type Asked, announceInJson, JsonCall, scrapeInJson } from './lean.ts'
import type { Page } from './pages.ts'
import type { Waiter } from './pending.ts'
import type { PlainRequest } from './plain.ts'
import { callResponse, httpResponse, jsonResponse, pageResponse } from './reply.ts'
import type { Session } from './session.ts'
import { ANNOUNCE, type HttpTracker } from './tracker.ts'
import { CONNECTION_UNITS, PAGE_UNITS, type Place, type Turns, unitsOf } from './turns.ts'

/** Answers to requests sent in one go are written out at this many bytes. */
const BATCH_BYTES = 32 * 1024
/** Bytes that are read and dropped after the last answer, so that the client gets it. */
const AFTER_BYTES = 1024 * 1024

/** Milliseconds a new connection may stay silent, and a request may take to arrive. */
const FIRST_REQUEST_MS = 10_000
/** Milliseconds a connection may stay silent between requests. */
const KEEP_ALIVE_MS = 60_000
/** The same while connections are scarce. */
const SCARCE_MS = 5000
/** Milliseconds a client may take over its answers. */
const UNREAD_MS = 30_000
/** And to close its side after the last one. */
const AFTER_MS = 2000

/** How a request that is not plain is answered. */
export type GeneralAnswer =
  | { readonly kind: 'page'; readonly page: Page }
  | { readonly kind: 'pages'; readonly page: Promise<Page> }
  /** `tracker.status` and `tracker.body` are the answer. */
  | { readonly kind: 'tracker' }
  /** `waiter.answer` will be called. */
  | { readonly kind: 'parked' }

/** Whoever waits for a turn. */
export type Turner = { turn(): void }

export type ConnectionOwner = {
  readonly tracker: HttpTracker
  readonly networks: TrustedNetworks
  readonly counts: HttpCounts
  readonly turns: Turns
  /** Shared scratch: connections work one after another. */
  readonly plain: PlainRequest
  general(head: Head, asker: Asker | null, waiter: Waiter, nowMs: number): GeneralAnswer
  /** A call of the typed service. Never rejects. */
  call(request: CallRequest): Promise<CallAnswer>
  /** Such a call was taken by who asks the tracker without `call`; and so many more of them wait. */
  leanCall(): void
  leanWaits(more: number): void
  /** HTTP/2 begins with these bytes: the socket is another's from now on. */
  upgrade(connection: Connection, socket: Socket, first: string): void
  /** Requests came: outcomes will have to be waited for, and the turn ends. */
  worked(): void
  /** `turn` is to be called in the next turn. */
  later(turner: Turner): void
  /** So many more bytes are held for the client (fewer: negative). False: more than may be, over all. */
  hold(bytes: number): boolean
  left(connection: Connection | Session): void
}

export class Connection implements Waiter {
  gone = false
  readonly form = null
  readonly trusted: boolean
  readonly asker: Asker
  readonly place: Place
  /** Monotonic milliseconds of the last byte or answer. */
  private activeMs: number
  /** At least one request was answered. */
  private served = false
  /** Between a request and its answer. */
  private busy = false
  /** Waits for its turn. */
  private queued = false
  /** The client does not take its answers: nothing is read until it does. */
  private clogged = false
  /** The last answer is out. */
  private closing = false
  /** The client has said all it will say; it may still read. */
  private ended = false
  private paused = false
  /** What was read and not looked at yet: requests behind the one at hand, or the beginning of one. */
  private rest = ''
  /** When that beginning came; 0: none is awaited. */
  private partialMs = 0
  private held = 0
  private dropped = 0
  /** Where the request after the one at hand begins. */
  private next = 0
  /** The client was told to send the body it holds back. */
  private continued = false
  /** Aborted if the client leaves during its call. */
  private call: { abort(): void } | null = null
  /** Of the answer that is awaited. */
  private closeAfter = false
  private keepAlive = false
  private headOnly = false
  private readonly socket: Socket
  private readonly owner: ConnectionOwner

  constructor(
    socket: Socket,
    asker: Asker,
    trusted: boolean,
    place: Place,
    owner: ConnectionOwner,
    nowMs: number,
  ) {
    this.socket = socket
    this.asker = asker
    this.trusted = trusted
    this.place = place
    this.owner = owner
    this.activeMs = nowMs
    socket.on('data', this.onData)
    socket.on('end', this.onEnd)
    socket.on('drain', this.onDrain)
    socket.on('error', this.onError)
    socket.on('close', this.onClose)
  }

  private readonly onData = (chunk: Buffer): void => {
    if (this.closing) {
      this.dropped += chunk.length
      if (this.dropped > AFTER_BYTES) this.socket.destroy()
      return
    }
    const text = chunk.toString('latin1', 0, chunk.length)
    if (this.busy || this.clogged || this.queued) {
      this.keep(this.rest + text)
      this.pause()
    } else this.process(this.rest === '' ? text : this.rest + text)
  }

  private readonly onEnd = (): void => {
    this.ended = true
    this.settle()
  }

  private readonly onDrain = (): void => {
    this.activeMs = monotonicMs()
    if (!this.clogged) return
    this.clogged = false
    this.account()
    this.continue()
  }

  private readonly onError = (): void => {
    this.socket.destroy()
  }

  private readonly onClose = (): void => {
    this.gone = true
    this.call?.abort()
    this.rest = ''
    this.owner.hold(-this.held)
    this.held = 0
    this.owner.left(this)
  }

  /** Answers as much of `text` as it may now; the rest is kept. */
  private process(text: string): void {
    const { owner, place } = this
    const { tracker, plain, turns } = owner
    const now = monotonicMs()
    this.activeMs = now
    if (this.rest !== '') this.keep('')
    let units = CONNECTION_UNITS
    let out = ''
    let at = 0
    while (at < text.length) {
      if (units <= 0 || !turns.roomFor(place)) {
        this.queued = true
        owner.later(this)
        break
      }
      const from = at
      let response: string
      let asked: Asked | null
      if (plain.read(text, at)) {
        const asker = this.trusted ? owner.networks.client(plain.forwardedFor) : this.asker
        this.closeAfter = plain.close
        this.keepAlive = false
        const { kind, queryFrom, queryEnd, next } = plain
        this.busy = !tracker.request(kind, text, queryFrom, queryEnd, asker, this, now)
        response = this.busy ? '' : httpResponse(tracker.status, tracker.body, this.closeAfter)
        at = next
      } else if (plain.readCall(text, at) && (asked = askedOf(text, plain)) !== null) {
        at = plain.next
        response = this.lean(asked, now)
      } else {
        if (text.charCodeAt(at) === 13 && text.charCodeAt(at + 1) === 10) {
          at += 2
          continue
        }
        if (at === 0 && !this.served && text.startsWith(HTTP2)) {
          this.upgrade(text)
          return
        }
        const end = endOfHead(text, at)
        if (end === NOT_YET) break
        const answered = this.general(text, at, end, now)
        if (answered === null) break
        response = answered
        if (end > 0) at = this.next
      }
      const cost = unitsOf(at - from, response.length)
      units -= cost
      turns.use(place, cost)
      out += response
      this.partialMs = 0
      if (this.busy) break
      this.served = true
      if (this.closeAfter) {
        this.finish(out)
        return
      }
      if (out.length < BATCH_BYTES) continue
      this.write(out)
      out = ''
      if (this.clogged) break
    }
    if (at < text.length) this.keep(at === 0 ? text : text.slice(at))
    if (out !== '') this.write(out)
    owner.worked()
    this.settle()
  }

  /** An ordinary call in JSON; '' and `busy`: the answer comes later. */
  private lean(asked: Asked, now: number): string {
    const { owner } = this
    const { kind, close, forwardedFor } = owner.plain
    const asker = this.trusted ? owner.networks.client(forwardedFor) : this.asker
    this.closeAfter = close
    this.keepAlive = false
    owner.leanCall()
    const form = new JsonCall(asked, this, () => {
      this.call?.abort()
      this.call = null
      this.reply(jsonResponse(form.status, form.body, this.closeAfter))
    })
    this.busy = !owner.tracker.request(kind, '', 0, 0, asker, form, now)
    if (!this.busy) return jsonResponse(form.status, form.body, close)
    owner.leanWaits(1)
    this.call = { abort: () => owner.leanWaits(-1) }
    return ''
  }

  /** All that comes is HTTP/2 (RFC 9113, 3.4): sessions have their own bounds. */
  private upgrade(text: string): void {
    const { socket, owner } = this
    socket.pause()
    socket.off('data', this.onData)
    socket.off('end', this.onEnd)
    socket.off('drain', this.onDrain)
    socket.off('error', this.onError)
    socket.off('close', this.onClose)
    this.gone = true
    owner.upgrade(this, socket, text)
  }

  /**
   * Answers a request that is not plain; '' and `busy`: the answer comes later; null: it is not all there.
   */
  private general(text: string, at: number, end: number, now: number): string | null {
    const { owner } = this
    const head = end > 0 ? readHead(text, at, end) : end === NO_HTTP ? BROKEN : LONG
    const asker = this.trusted ? owner.networks.client(head.forwardedFor) : this.asker
    this.next = end
    if (head.fault === 0 && head.path.startsWith(CALLS)) return this.called(text, end, head, asker)
    owner.counts.general++
    const answer = owner.general(head, asker, this, now)
    this.closeAfter = head.close
    this.keepAlive = head.keepAlive
    this.headOnly = head.method === 'HEAD'
    switch (answer.kind) {
      case 'page':
        return this.pageText(answer.page)
      case 'tracker':
        return httpResponse(owner.tracker.status, owner.tracker.body, head.close, head.keepAlive)
      case 'pages':
        owner.turns.use(this.place, PAGE_UNITS)
        void answer.page.then((page) => this.reply(this.pageText(page)))
        break
      case 'parked':
        break
    }
    this.busy = true
    return ''
  }

  private called(text: string, end: number, head: Head, asker: Asker | null): string | null {
    const { owner } = this
    const body = bodyOf(text, end, head, CALL_MOST_BYTES)
    if (body.kind === 'partial') {
      const expects = head.fields.some(([name, value]) => name === 'expect' && /^100-continue$/i.test(value))
      if (expects && !this.continued) this.write('HTTP/1.1 100 Continue\r\n\r\n')
      this.continued = true
      return null
    }
    this.continued = false
    this.keepAlive = false
    this.closeAfter = head.closeAfterBody || body.kind !== 'body'
    if (body.kind === 'long') {
      owner.counts.badRequests++
      const message = `a request may have ${CALL_MOST_BYTES} bytes`
      return callResponse(faultAnswer(429, 'resource_exhausted', message), true)
    }
    if (body.kind !== 'body') {
      owner.counts.badRequests++
      return callResponse(faultAnswer(400, 'invalid_argument', 'the body is broken'), true)
    }
    this.next = body.next
    owner.turns.use(this.place, CALL_UNITS)
    const { method, path, fields } = head
    const gone = new AbortController()
    const { signal } = gone
    this.call = gone
    const bytes = Buffer.from(body.text, 'latin1') as Buffer<ArrayBuffer>
    void owner
      .call({ httpVersion: '1.1', method, path, fields, body: bytes, asker, signal })
      .then((answer) => {
        this.call = null
        this.reply(callResponse(answer, this.closeAfter))
      })
    this.busy = true
    return ''
  }

  private pageText(page: Page): string {
    return pageResponse(page, this.headOnly, this.closeAfter, this.keepAlive)
  }

  answer(status: number, body: string): void {
    this.reply(httpResponse(status, body, this.closeAfter, this.keepAlive))
  }

  private reply(response: string): void {
    if (this.gone) return
    this.busy = false
    this.served = true
    this.activeMs = monotonicMs()
    if (this.closeAfter) {
      this.finish(response)
      return
    }
    this.write(response)
    this.continue()
  }

  /** Its turn has come. */
  turn(): void {
    if (this.gone) return
    if (!this.owner.turns.roomFor(this.place)) {
      this.owner.later(this)
      return
    }
    this.queued = false
    this.continue()
  }

  /** Goes on with what was read ahead. */
  private continue(): void {
    if (this.busy || this.clogged || this.queued || this.closing) return
    if (this.rest === '') this.settle()
    else this.process(this.rest)
  }

  /** Nothing more can be done with what is there: more is read, or none will come. */
  private settle(): void {
    if (this.closing || this.gone) return
    if (this.busy || this.clogged || this.queued) {
      if (this.rest !== '') this.pause()
      return
    }
    this.partialMs = this.rest === '' ? 0 : this.partialMs || this.activeMs
    if (this.paused) {
      this.paused = false
      this.socket.resume()
    }
    if (!this.ended) return
    if (this.rest === '') this.socket.end()
    else this.fault(BROKEN)
  }

  private fault(head: Head): void {
    const answer = this.owner.general(head, null, this, this.activeMs)
    this.closeAfter = true
    this.headOnly = false
    if (answer.kind === 'page') this.finish(this.pageText(answer.page))
  }

  private pause(): void {
    if (this.paused) return
    this.paused = true
    this.socket.pause()
  }

  private write(text: string): void {
    if (this.socket.write(text, 'latin1') || this.socket.writableLength === 0) return
    this.clogged = true
    this.owner.counts.clogged++
    this.pause()
    this.account()
  }

  /** The last answer: what the client still sends is dropped, so that the answer reaches it. */
  private finish(out: string): void {
    this.closing = true
    this.served = true
    this.socket.end(out, 'latin1')
    this.keep('')
    if (this.paused) this.socket.resume()
    this.owner.worked()
  }

  private keep(rest: string): void {
    // A copy: a slice would keep alive all that was read with it.
    this.rest = rest === '' ? '' : Buffer.from(rest, 'latin1').toString('latin1')
    this.account()
  }

  private account(): void {
    const held = this.rest.length + (this.clogged || this.closing ? this.socket.writableLength : 0)
    const more = held - this.held
    this.held = held
    if (more === 0 || this.owner.hold(more) || more < 0) return
    this.owner.counts.overheld++
    this.socket.destroy()
  }

  /** Once a second: ends a connection on which nothing moves. `scarce`: few more may come. */
  sweep(nowMs: number, scarce: boolean): void {
    const { owner, socket } = this
    const silent = nowMs - this.activeMs
    const unread = this.clogged || socket.writableLength > 0
    if ((this.busy || this.queued) && !this.clogged) return
    if (this.partialMs !== 0 && nowMs - this.partialMs > FIRST_REQUEST_MS && !unread && !this.closing) {
      owner.counts.connectionsTimedOut++
      this.fault(LATE)
      return
    }
    const most = unread
      ? UNREAD_MS
      : this.closing
        ? AFTER_MS
        : Math.min(this.served ? KEEP_ALIVE_MS : FIRST_REQUEST_MS, scarce ? SCARCE_MS : KEEP_ALIVE_MS)
    if (silent < most) return
    if (!this.closing) owner.counts.connectionsTimedOut++
    socket.destroy()
  }

  /** The front end stops, and all that waited is answered. */
  farewell(): void {
    this.socket.destroy()
  }

  /** Ends the connection; a parked answer is lost. */
  close(): void {
    this.socket.destroy()
  }
}

const askedOf = (text: string, { kind, queryFrom, queryEnd }: PlainRequest): Asked | null => {
  const body = text.slice(queryFrom, queryEnd)
  return kind === ANNOUNCE ? announceInJson(body) : scrapeInJson(body)
}

/** How each HTTP/2 connection begins; no request of HTTP/1.1 does. */
const HTTP2 = 'PRI * HTTP/2.0\r\n\r\n'
const BROKEN = faultyHead(400)
const LATE = faultyHead(408)
const LONG = faultyHead(431)
