// The general way of a request, through node:http: every path, HTTP/1.0, bodies, requests in pieces, and
// tracker requests that are not plain enough for plain.ts. Answers are the same as there. Refuses: methods
// but GET and HEAD, targets over 8 KiB, bodies (not read; the connection closes after the answer).

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { monotonicMs } from '../threads/state.ts'
import { type Asker, parseAddress, type TrustedNetworks } from './address.ts'
import type { HttpCounts } from './counters.ts'
import { type Page, type PageSources, pageOf, sendPage } from './pages.ts'
import type { Waiter } from './pending.ts'
import { MAX_TARGET_BYTES } from './query.ts'
import { RETRY_AFTER_SECONDS, UNAVAILABLE } from './reply.ts'
import { ANNOUNCE, type HttpTracker, SCRAPE } from './tracker.ts'

export type GeneralOptions = {
  readonly tracker: HttpTracker
  readonly networks: TrustedNetworks
  readonly counts: HttpCounts
  readonly pages: PageSources
  /** Requests came: outcomes will have to be waited for. */
  readonly worked: () => void
  /** A page could not be made: told to the log, the client gets a 500. */
  readonly onError: (error: unknown) => void
}

const page = (status: number, body: string): Page => ({ status, type: 'text/plain', body: `${body}\n` })

export function handleRequest(
  request: IncomingMessage,
  response: ServerResponse,
  options: GeneralOptions,
): void {
  const url = request.url!
  if (hasBody(request)) response.shouldKeepAlive = false
  if (url.length > MAX_TARGET_BYTES) {
    options.counts.badRequests++
    sendPage(request, response, page(414, `The request is longer than ${MAX_TARGET_BYTES} bytes`))
    return
  }
  const mark = url.indexOf('?')
  const path = mark < 0 ? url : url.slice(0, mark)
  const tracking = path === '/announce' || path === '/scrape'
  if (request.method !== 'GET' && (tracking || request.method !== 'HEAD')) {
    response.setHeader('Allow', tracking ? 'GET' : 'GET, HEAD')
    sendPage(request, response, page(405, `${request.method} is not for this path`))
    return
  }
  if (tracking) {
    track(
      path === '/announce' ? ANNOUNCE : SCRAPE,
      mark < 0 ? '' : url.slice(mark + 1),
      request,
      response,
      options,
    )
    return
  }
  options.counts.pages++
  pageOf(path, request.headers.host ?? '', options.pages)
    .catch((error: unknown) => {
      options.onError(error)
      return page(500, 'This page could not be made; the log says why')
    })
    .then((made) => sendPage(request, response, made))
}

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'

function track(
  kind: number,
  query: string,
  request: IncomingMessage,
  response: ServerResponse,
  { tracker, networks, worked }: GeneralOptions,
): void {
  const asker = askerOf(request, networks)
  const waiter: Waiter = {
    get gone() {
      return response.destroyed
    },
    answer: (status, body) => sendAnswer(response, status, body),
  }
  if (tracker.request(kind, query, 0, query.length, asker, waiter, monotonicMs()))
    sendAnswer(response, tracker.status, tracker.body)
  worked()
}

/** Null: nobody knows. */
function askerOf(request: IncomingMessage, networks: TrustedNetworks): Asker | null {
  const remote = request.socket.remoteAddress
  if (remote === undefined) return null
  if (!networks.has(remote)) return parseAddress(remote)
  const forwarded = request.headers['x-forwarded-for'] ?? ''
  return networks.client(Array.isArray(forwarded) ? forwarded.join(',') : forwarded)
}

function sendAnswer(response: ServerResponse, status: number, body: string): void {
  response.sendDate = false
  const headers = ['Content-Type', 'text/plain', 'Content-Length', String(body.length)]
  if (status === UNAVAILABLE) headers.push('Retry-After', String(RETRY_AFTER_SECONDS))
  response.writeHead(status, headers)
  response.end(body, 'latin1')
}

const FAULTS: { readonly [code: string]: string } = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
}

/** Answers what was no HTTP, if the client still listens, and ends the connection. */
export function answerFault(error: NodeJS.ErrnoException, socket: Duplex, counts: HttpCounts): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') counts.connectionsTimedOut++
  else counts.badRequests++
  const status = FAULTS[error.code ?? ''] ?? '400 Bad Request'
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
}
