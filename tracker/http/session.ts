// One HTTP/2 connection without TLS: its requests, each in its turn, answered as those of HTTP/1.1 are. Node
// frames; here are the bounds. Refuses: more streams, headers, bytes and silence than its limits; to know
// what is asked.

import {
  constants,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Socket } from 'node:net'
import { monotonicMs } from '../threads/state.ts'
import type { Asker } from './address.ts'
import { CALL_MOST_BYTES, CALL_UNITS, CALLS, type CallAnswer } from './calls.ts'
import type { ConnectionOwner } from './connection.ts'
import { type Head, plainPath } from './head.ts'
import { announceInProto, ProtoCall, scrapeInProto } from './lean.ts'
import type { Page } from './pages.ts'
import type { Waiter } from './pending.ts'
import { MAX_TARGET_BYTES } from './query.ts'
import { PAGE_FIELDS } from './reply.ts'
import { ANNOUNCE, SCRAPE } from './tracker.ts'
import { PAGE_UNITS, type Place, unitsOf } from './turns.ts'

/** Requests of one connection at once. */
const STREAMS_MOST = 100
/** Headers of one request. */
const FIELDS_MOST = 64
const FIELDS_MOST_BYTES = 16 * 1024
/** Memory that Node may hold for one connection, MiB. */
const SESSION_MOST_MIB = 2
/** Milliseconds until the first request, and for a request to arrive whole. */
const FIRST_REQUEST_MS = 10_000
/** Milliseconds without a request before the client is told to come again on another connection. */
const IDLE_MS = 60_000
/** The same while connections are scarce. */
const SCARCE_MS = 5000
/** Milliseconds a client may take over its answers. */
const UNREAD_MS = 30_000
/** And over the end. */
const CLOSING_MS = 2000

type Names = { readonly [name: string]: string }
type Fields = { readonly [name: string]: string | string[] | undefined }
type Asked = {
  readonly stream: ServerHttp2Stream
  readonly fields: Fields
  readonly sinceMs: number
  body: Buffer<ArrayBuffer>
  /** Milliseconds since its answer was written; 0: it was not. */
  answeredMs: number
  whole: boolean
  held: number
}

const GRPC = new Set(['application/grpc', 'application/grpc+proto'])
const GRPC_FIELDS: Names = { 'content-type': 'application/grpc+proto' }
const ANNOUNCE_CALL = `${CALLS}Announce`
const SCRAPE_CALL = `${CALLS}Scrape`

export class Session {
  readonly asker: Asker
  readonly place: Place
  private readonly socket: Socket
  private readonly session: ServerHttp2Session
  private readonly trusted: boolean
  private readonly owner: ConnectionOwner
  private readonly open = new Set<Asked>()
  /** Whole requests that wait for their turn, in order. */
  private waiting: Asked[] = []
  private queued = false
  private served = false
  private activeMs: number
  private closingMs = 0

  /** `first`: what was read of it, one character a byte. */
  constructor(
    socket: Socket,
    first: string,
    asker: Asker,
    trusted: boolean,
    place: Place,
    owner: ConnectionOwner,
    nowMs: number,
  ) {
    this.asker = asker
    this.place = place
    this.trusted = trusted
    this.owner = owner
    this.activeMs = nowMs
    socket.unshift(Buffer.from(first, 'latin1'))
    socket.on('error', () => socket.destroy())
    this.socket = socket
    socket.once('close', () => {
      for (const asked of this.open) this.end(asked)
      owner.left(this)
    })
    this.session = performServerHandshake(socket, {
      settings: { maxConcurrentStreams: STREAMS_MOST, maxHeaderListSize: FIELDS_MOST_BYTES },
      maxHeaderListPairs: FIELDS_MOST,
      maxSessionMemory: SESSION_MOST_MIB,
    } as Parameters<typeof performServerHandshake>[1])
    this.session.on('error', () => this.session.destroy())
    this.session.on('close', () => socket.destroy())
    this.session.on('stream', (stream, fields) => this.came(stream, fields as Fields))
  }

  private came(stream: ServerHttp2Stream, fields: Fields): void {
    const now = monotonicMs()
    this.activeMs = now
    const asked: Asked = {
      ...{ stream, fields, sinceMs: now, body: Buffer.alloc(0), answeredMs: 0, whole: false, held: 0 },
    }
    stream.on('error', () => {})
    stream.once('close', () => this.end(asked))
    if (this.open.size >= STREAMS_MOST) {
      stream.close(constants.NGHTTP2_REFUSED_STREAM)
      return
    }
    this.open.add(asked)
    stream.on('data', (chunk: Buffer<ArrayBuffer>) => {
      // One byte too many is enough to say that it is too long; what follows is dropped.
      if (asked.body.length <= CALL_MOST_BYTES)
        asked.body = Buffer.concat([asked.body, chunk]).subarray(0, CALL_MOST_BYTES + 1)
      if (asked.body.length > CALL_MOST_BYTES) this.wholeNow(asked)
    })
    stream.once('end', () => this.wholeNow(asked))
  }

  private wholeNow(asked: Asked): void {
    if (asked.whole) return
    asked.whole = true
    this.waiting.push(asked)
    if (!this.queued) this.turn()
  }

  /** Its turn has come: answers as much as it may now. */
  turn(): void {
    this.queued = false
    const { owner, place } = this
    while (this.waiting.length > 0) {
      if (!owner.turns.roomFor(place)) {
        this.queued = true
        owner.later(this)
        break
      }
      const asked = this.waiting.shift()!
      if (this.open.has(asked)) this.serve(asked)
    }
    owner.worked()
  }

  private serve(asked: Asked): void {
    const { owner, place } = this
    this.served = true
    const target = text(asked.fields[':path'])
    const mark = target.indexOf('?')
    const path = plainPath(mark < 0 ? target : target.slice(0, mark))
    const query = mark < 0 ? '' : target.slice(mark + 1)
    const asker = this.trusted ? owner.networks.client(text(asked.fields['x-forwarded-for'])) : this.asker
    owner.turns.use(place, unitsOf(target.length + asked.body.length, 0) + CALL_UNITS)
    if (!path.startsWith(CALLS)) this.general(asked, path, query, asker)
    else if (!this.lean(asked, target, asker)) this.call(asked, path, asker)
  }

  /** An ordinary call by gRPC; false: it is none. */
  private lean(asked: Asked, target: string, asker: Asker | null): boolean {
    const { stream, fields, body } = asked
    const { owner } = this
    if (!GRPC.has(text(fields['content-type'])) || fields[':method'] !== 'POST') return false
    if (fields['grpc-timeout'] !== undefined || fields['grpc-encoding'] !== undefined) return false
    const kind = target === ANNOUNCE_CALL ? ANNOUNCE : target === SCRAPE_CALL ? SCRAPE : -1
    if (kind < 0) return false
    const said = kind === ANNOUNCE ? announceInProto(body) : scrapeInProto(body)
    if (said === null) return false
    owner.leanCall()
    const client = {
      get gone() {
        return stream.destroyed
      },
    }
    const waited = () => owner.leanWaits(-1)
    const form = new ProtoCall(said, client, () => {
      stream.off('close', waited)
      waited()
      this.respond(asked, 200, GRPC_FIELDS, form.body, form.trailer)
    })
    if (owner.tracker.request(kind, '', 0, 0, asker, form, monotonicMs()))
      this.respond(asked, 200, GRPC_FIELDS, form.body, form.trailer)
    else {
      owner.leanWaits(1)
      stream.once('close', waited)
    }
    return true
  }

  private call(asked: Asked, path: string, asker: Asker | null): void {
    const { stream, fields, body } = asked
    const gone = new AbortController()
    stream.once('close', () => gone.abort())
    const list = Object.entries(fields).map(([name, value]) => [name, text(value)] as const)
    const method = text(fields[':method'])
    const request = { httpVersion: '2.0', method, path, fields: list, body, asker, signal: gone.signal }
    void this.owner.call(request).then((answer) => this.answer(asked, answer))
  }

  private general(asked: Asked, path: string, query: string, asker: Asker | null): void {
    const { owner } = this
    const { fields, stream } = asked
    const waiter: Waiter = {
      form: null,
      get gone() {
        return stream.destroyed
      },
      answer: (status, body) => this.answer(asked, plainAnswer(status, body)),
    }
    owner.counts.general++
    const tooLong = path.length + query.length > MAX_TARGET_BYTES
    const head: Head = {
      ...{ fault: tooLong ? 414 : 0, method: text(fields[':method']), path, query },
      ...{ host: text(fields[':authority'] ?? fields.host), accept: text(fields.accept) },
      ...{ forwardedFor: '', close: false, keepAlive: false, closeAfterBody: false },
      ...{ bodyBytes: asked.body.length, fields: [] },
    }
    const answer = owner.general(head, asker, waiter, monotonicMs())
    switch (answer.kind) {
      case 'page':
        this.answer(asked, pageAnswer(answer.page))
        break
      case 'pages':
        owner.turns.use(this.place, PAGE_UNITS)
        void answer.page.then((page) => this.answer(asked, pageAnswer(page)))
        break
      case 'tracker':
        this.answer(asked, plainAnswer(owner.tracker.status, owner.tracker.body))
        break
      case 'parked':
        break
    }
  }

  private answer(asked: Asked, { status, header, body, trailer }: CallAnswer): void {
    const trailers = trailer === null ? null : Object.fromEntries(trailer)
    this.respond(asked, status, Object.fromEntries(header), body, trailers)
  }

  private respond(
    asked: Asked,
    status: number,
    header: Names,
    body: Uint8Array<ArrayBuffer>,
    trailer: Names | null,
  ): void {
    const { stream, fields } = asked
    if (stream.destroyed || stream.closed || this.session.destroyed || !this.open.has(asked)) return
    this.activeMs = monotonicMs()
    asked.answeredMs = this.activeMs
    asked.held = body.length
    if (!this.owner.hold(body.length)) {
      this.owner.counts.overheld++
      this.session.destroy()
      return
    }
    const headers = { ':status': status, ...header }
    // A body that still comes is not waited for.
    stream.resume()
    if (trailer !== null) stream.once('wantTrailers', () => stream.sendTrailers(trailer))
    const bodiless = fields[':method'] === 'HEAD' || (body.length === 0 && trailer === null)
    stream.respond(headers, { endStream: bodiless, waitForTrailers: trailer !== null && !bodiless })
    if (!bodiless) stream.end(body)
  }

  private end(asked: Asked): void {
    if (this.open.delete(asked)) this.owner.hold(-asked.held)
    asked.held = 0
  }

  /** Once a second: ends what does not move. `scarce`: few more connections may come. */
  sweep(nowMs: number, scarce: boolean): void {
    const { owner, session, socket } = this
    if (this.closingMs !== 0) {
      if (nowMs - this.closingMs > CLOSING_MS && this.open.size === 0) socket.destroy()
    }
    for (const asked of this.open) {
      if (asked.answeredMs !== 0) {
        if (nowMs - asked.answeredMs < UNREAD_MS) continue
        owner.counts.sessionsTimedOut++
        socket.destroy()
        return
      }
      if (asked.whole || nowMs - asked.sinceMs < FIRST_REQUEST_MS) continue
      owner.counts.streamsTimedOut++
      asked.stream.close(constants.NGHTTP2_CANCEL)
    }
    if (this.open.size > 0 || this.closingMs !== 0) return
    const most = Math.min(this.served ? IDLE_MS : FIRST_REQUEST_MS, scarce ? SCARCE_MS : IDLE_MS)
    if (nowMs - this.activeMs < most) return
    owner.counts.sessionsTimedOut++
    this.closingMs = nowMs
    session.close()
  }

  /** Nothing new is taken; the connection ends once the last answer is out. */
  farewell(): void {
    this.session.close()
  }

  close(): void {
    this.socket.destroy()
  }
}

const text = (value: string | string[] | undefined): string =>
  value === undefined ? '' : typeof value === 'string' ? value : value.join(',')

const plainAnswer = (status: number, body: string): CallAnswer => ({
  status,
  header: new Headers({ 'content-type': 'text/plain', 'content-length': String(body.length) }),
  body: Buffer.from(body, 'latin1') as Buffer<ArrayBuffer>,
  trailer: null,
})

function pageAnswer({ status, type, body, allow = '' }: Page): CallAnswer {
  const header = new Headers({ ...PAGE_FIELDS, 'content-type': type })
  if (allow !== '') header.set('allow', allow)
  if (status === 503) header.set('retry-after', '5')
  return { status, header, body: Buffer.from(body) as Buffer<ArrayBuffer>, trailer: null }
}
