// The typed Tracker service: a call from its bytes to its bytes by ConnectRPC, whatever of its protocols and
// whichever version of HTTP it came by. Refuses: rules (tracker.ts), sockets (connection.ts, session.ts),
// requests that the schema does not allow, unknown fields in JSON.

import type { DescMessage, Message } from '@bufbuild/protobuf'
import { createValidator, violationsToProto } from '@bufbuild/protovalidate'
import {
  Code,
  ConnectError,
  createConnectRouter,
  createContextKey,
  createContextValues,
  type HandlerContext,
  type Interceptor,
} from '@connectrpc/connect'
import type { UniversalHandler } from '@connectrpc/connect/protocol'
import {
  type AnnounceRequest,
  AnnounceRequest_Event as Event,
  Tracker,
} from '@skep/wire/proto/gen/skep/tracker/v1/tracker_pb.js'
import { monotonicMs } from '../threads/state.ts'
import type { Asker } from './address.ts'
import { type AnnounceSaid, MessageForm } from './message.ts'
import { ANNOUNCE, type HttpTracker, SCRAPE } from './tracker.ts'

/** Every call's path begins so. */
export const CALLS = `/${Tracker.typeName}/`
/** Largest request, bytes: 256 info_hashes in hex digits are 11 KiB of JSON. */
export const CALL_MOST_BYTES = 16 * 1024
/** A call that is not read by hand (lean.ts) costs as much of a turn as so many announces by query. */
export const CALL_UNITS = 8

export type CallRequest = {
  readonly httpVersion: string
  readonly method: string
  /** Without the query. */
  readonly path: string
  readonly fields: readonly (readonly [string, string])[]
  readonly body: Uint8Array<ArrayBuffer>
  /** Null: nobody knows who it is. */
  readonly asker: Asker | null
  /** Aborted when the client is gone. */
  readonly signal: AbortSignal
}

export type CallAnswer = {
  readonly status: number
  readonly header: Headers
  readonly body: Uint8Array<ArrayBuffer>
  /** Null: none, as in all but gRPC. */
  readonly trailer: Headers | null
}

const ASKER = createContextKey<Asker | null>(null)
const EVENTS = {
  [Event.EVENT_UNSPECIFIED]: 'none',
  [Event.EVENT_STARTED]: 'started',
  [Event.EVENT_STOPPED]: 'stopped',
  [Event.EVENT_COMPLETED]: 'completed',
} as const

export class Calls {
  /** Calls between request and answer. */
  now = 0
  private readonly handlers = new Map<string, UniversalHandler>()
  private readonly tracker: HttpTracker
  private readonly worked: () => void

  /** `worked`: a request came to the tracker. */
  constructor(tracker: HttpTracker, worked: () => void) {
    this.tracker = tracker
    this.worked = worked
    const router = createConnectRouter({
      interceptors: [hexDigits, validated()],
      readMaxBytes: CALL_MOST_BYTES,
      jsonOptions: { ignoreUnknownFields: false, alwaysEmitImplicit: true },
    })
    router.service(Tracker, {
      announce: (request, context) =>
        this.ask(ANNOUNCE, new MessageForm(announceOf(request), []), context).then((form) => form.announce()),
      scrape: ({ infoHashes }, context) =>
        this.ask(SCRAPE, new MessageForm(null, infoHashes as Uint8Array<ArrayBuffer>[]), context).then(
          (form) => form.scrape(),
        ),
    })
    for (const handler of router.handlers) this.handlers.set(handler.requestPath, handler)
  }

  private ask(kind: number, form: MessageForm, { signal, values }: HandlerContext): Promise<MessageForm> {
    return new Promise((resolve, reject) => {
      form.begin(() => resolve(form))
      signal.addEventListener('abort', () => {
        form.gone = true
        reject(ConnectError.from(signal.reason))
      })
      if (this.tracker.request(kind, '', 0, 0, values.get(ASKER), form, monotonicMs())) resolve(form)
      this.worked()
    })
  }

  async answer(request: CallRequest): Promise<CallAnswer> {
    const { httpVersion, method, path, fields, body, asker, signal } = request
    const handler = this.handlers.get(path)
    if (handler === undefined) return faultAnswer(404, 'unimplemented', `there is no ${path}`)
    const header = new Headers()
    try {
      for (const [name, value] of fields) if (!name.startsWith(':')) header.append(name, value)
    } catch {
      return faultAnswer(400, 'invalid_argument', 'a header cannot be read')
    }
    const type = header.get('content-type') ?? ''
    if (httpVersion === '1.1' && /^application\/grpc(?!-web)/i.test(type))
      return faultAnswer(505, 'unimplemented', 'gRPC needs HTTP/2: HTTP/1.1 has gRPC-Web and JSON')
    this.now++
    try {
      const { status, ...rest } = await handler({
        ...{ httpVersion, method, header, signal, url: `http://tracker${path}` },
        body: once(body),
        contextValues: createContextValues().set(ASKER, asker),
      })
      const chunks: Uint8Array[] = []
      if (rest.body !== undefined) for await (const chunk of rest.body) chunks.push(chunk)
      const whole = Buffer.concat(chunks)
      return { status, header: rest.header ?? new Headers(), body: whole, trailer: rest.trailer ?? null }
    } finally {
      this.now--
    }
  }

  /** The first look at a rule takes a twentieth of a second: before the first client comes. */
  async warmUp(): Promise<void> {
    const body = JSON.stringify({ infoHash: '', peerId: '', port: 70_000 })
    for (const name of ['Announce', 'Scrape'])
      await this.answer({
        ...{ httpVersion: '1.1', method: 'POST', path: CALLS + name },
        ...{ fields: [['content-type', 'application/json']], body: Buffer.from(body), asker: null },
        signal: new AbortController().signal,
      })
  }
}

/** An error that no protocol has been chosen for, as Connect writes them. */
export const faultAnswer = (status: number, code: string, message: string): CallAnswer => ({
  status,
  header: new Headers({ 'content-type': 'application/json' }),
  body: Buffer.from(JSON.stringify({ code, message })),
  trailer: null,
})

async function* once(body: Uint8Array<ArrayBuffer>): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  yield body
}

function announceOf(request: AnnounceRequest): AnnounceSaid {
  const { infoHash, peerId, port, key, numwant, leftBytes, downloadedBytes, uploadedBytes, event } = request
  const said = {
    ...{ port, key, numwant: numwant ?? null, left: leftBytes ?? null },
    ...{ downloaded: downloadedBytes, uploaded: uploadedBytes, event: EVENTS[event as keyof typeof EVENTS] },
  }
  return { infoHash, peerId, said }
}

type Hashes = {
  infoHash?: Uint8Array<ArrayBuffer>
  peerId?: Uint8Array<ArrayBuffer>
  infoHashes?: Uint8Array<ArrayBuffer>[]
}

/**
 * In JSON bytes are base64, and 40 hex digits happen to be the base64 of 30 bytes: those are taken for the
 * hash that they spell. What is no hex then is still not 20 bytes, and refused by the schema.
 */
const hexDigits: Interceptor = (next) => (request) => {
  const message = request.message as Hashes
  if (/json/i.test(request.header.get('content-type') ?? '')) {
    if (message.infoHash !== undefined) message.infoHash = unhexed(message.infoHash)
    if (message.peerId !== undefined) message.peerId = unhexed(message.peerId)
    if (message.infoHashes !== undefined) message.infoHashes = message.infoHashes.map(unhexed)
  }
  return next(request)
}

function unhexed(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (bytes.length !== 30) return bytes
  const digits = Buffer.from(bytes).toString('base64')
  return /^[0-9a-f]{40}$/i.test(digits) ? Buffer.from(digits, 'hex') : bytes
}

/** By the rules in the schema; every fault with the path of its field. */
function validated(): Interceptor {
  const validator = createValidator()
  return (next) => (request) => {
    const schema: DescMessage = request.method.input
    const result = validator.validate(schema, request.message as Message)
    if (result.kind === 'valid') return next(request)
    if (result.kind === 'error') throw new ConnectError(String(result.error), Code.Internal)
    const [value, desc] = violationsToProto(result.violations)
    const [first, ...more] = result.violations
    const sentence = `${first}${more.length === 0 ? '' : ` and ${more.length} more`}`
    throw new ConnectError(sentence, Code.InvalidArgument, undefined, [{ desc, value }])
  }
}
