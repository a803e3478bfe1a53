// Which bytes a client gets for which outcome: bencoded bodies (BEP 3, 7, 23, 24, 31, 48), one character a
// byte. Refuses: sockets, headers beyond a status line's worth, and to know why an outcome came about.

import { formatIPv4, formatIPv6 } from '@skep/wire/ip.ts'
import type { CallAnswer } from './calls.ts'
import type { Page } from './pages.ts'

/**
 * HTTP statuses of tracker answers. Failures that a client should show go out as 200: most clients drop other
 * bodies.
 */
export const OK = 200
export const UNAVAILABLE = 503
/** Seconds after which a client may come back when it got 503. */
const RETRY_AFTER_SECONDS = 5

export type Counts = { readonly seeders: number; readonly leechers: number; readonly completed: number }

/** Seconds: when to come again, and how early at most (a user may press "update tracker"); 0: not said. */
export type Intervals = { interval: number; min: number }

/** Everything of an announce reply that comes before the peers, keys in order. */
const head = (counts: Counts, externalIp: string, { interval, min }: Intervals): string =>
  `d8:completei${counts.seeders}e10:downloadedi${counts.completed}e11:external ip${externalIp}` +
  `10:incompletei${counts.leechers}e8:intervali${interval}e` +
  `${min === 0 ? '' : `12:min intervali${min}e`}5:peers`

/**
 * Compact reply (BEP 23): `peers4` is 6 bytes a peer, `peers6` (BEP 7) 18; the latter is left out when `''`.
 */
export const compactReply = (
  counts: Counts,
  externalIp: string,
  intervals: Intervals,
  peers4: string,
  peers6: string,
): string =>
  `${head(counts, externalIp, intervals)}${peers4.length}:${peers4}` +
  (peers6 === '' ? 'e' : `6:peers6${peers6.length}:${peers6}e`)

/**
 * The dictionary form of BEP 3. `bytes` holds count4 x 6 bytes at `at`, then count6 x 18; `peerIds` 20 bytes
 * a peer in that order, or null when the tracker keeps none or the client wants none.
 */
export function dictionaryReply(
  counts: Counts,
  externalIp: string,
  intervals: Intervals,
  bytes: Uint8Array,
  at: number,
  count4: number,
  count6: number,
  peerIds: readonly (string | null)[] | null,
): string {
  let list = ''
  let o = at
  for (let i = 0; i < count4 + count6; i++) {
    const v6 = i >= count4
    const ip = v6 ? formatIPv6(bytes, o) : formatIPv4(bytes, o)
    o += v6 ? 16 : 4
    const id = peerIds?.[i] ?? null
    list += `d2:ip${ip.length}:${ip}${id === null ? '' : `7:peer id20:${id}`}4:porti${(bytes[o]! << 8) | bytes[o + 1]!}ee`
    o += 2
  }
  return `${head(counts, externalIp, intervals)}l${list}ee`
}

/** A failure (BEP 3) with when to come back (BEP 31): minutes, or 0 to leave that key out. */
export function failureReply(reason: string, intervalSeconds: number, retryMinutes: number): string {
  const retry = retryMinutes === 0 ? '' : `8:retry ini${retryMinutes}e`
  return `d14:failure reason${reason.length}:${reason}8:intervali${intervalSeconds}e${retry}e`
}

/**
 * A scrape reply (BEP 48): counts by info_hash, 20 characters of one byte each. `minRequestInterval` 0: not
 * said.
 */
export function scrapeReply(entries: Map<string, Counts>, minRequestInterval: number): string {
  let files = ''
  for (const hash of [...entries.keys()].sort()) {
    const counts = entries.get(hash)!
    files += `20:${hash}d8:completei${counts.seeders}e10:downloadedi${counts.completed}e10:incompletei${counts.leechers}ee`
  }
  const flags = minRequestInterval === 0 ? '' : `5:flagsd20:min_request_intervali${minRequestInterval}ee`
  return `d5:filesd${files}e${flags}e`
}

const STATUS_TEXT: { readonly [status: number]: string } = {
  ...{ 401: 'Unauthorized', 403: 'Forbidden', 409: 'Conflict', 415: 'Unsupported Media Type' },
  ...{
    429: 'Too Many Requests',
    499: 'Client Closed Request',
    501: 'Not Implemented',
    504: 'Gateway Timeout',
  },
  ...{ 200: 'OK', 400: 'Bad Request', 404: 'Not Found', 405: 'Method Not Allowed', 408: 'Request Timeout' },
  ...{ 414: 'URI Too Long', 431: 'Request Header Fields Too Large', 500: 'Internal Server Error' },
  ...{ 503: 'Service Unavailable', 505: 'HTTP Version Not Supported' },
}

const connectionHeader = (close: boolean, keepAlive: boolean): string =>
  close ? 'Connection: close\r\n' : keepAlive ? 'Connection: keep-alive\r\n' : ''

/**
 * A whole HTTP/1.1 response with `body`, one character a byte. `keepAlive`: an HTTP/1.0 client is told that
 * the connection stays.
 */
export function httpResponse(status: number, body: string, close: boolean, keepAlive = false): string {
  const extra =
    (status === UNAVAILABLE ? `Retry-After: ${RETRY_AFTER_SECONDS}\r\n` : '') +
    connectionHeader(close, keepAlive)
  return `HTTP/1.1 ${status} ${STATUS_TEXT[status]}\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n${extra}\r\n${body}`
}

/** What every page says beside its type. */
export const PAGE_FIELDS: { readonly [name: string]: string } = {
  'Cache-Control': 'no-store',
  Vary: 'Accept',
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Content-Security-Policy':
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}
const PAGE_LINES = Object.entries(PAGE_FIELDS)
  .map(([name, value]) => `${name}: ${value}\r\n`)
  .join('')

/** A page as a whole response, one character a byte; without its body for HEAD. */
export function pageResponse(page: Page, headOnly: boolean, close: boolean, keepAlive: boolean): string {
  const body = Buffer.from(page.body).toString('latin1')
  const allow = page.allow === undefined || page.allow === '' ? '' : `Allow: ${page.allow}\r\n`
  const extra = allow + (page.status === 503 ? `Retry-After: ${RETRY_AFTER_SECONDS}\r\n` : '')
  return (
    `HTTP/1.1 ${page.status} ${STATUS_TEXT[page.status]}\r\nDate: ${new Date().toUTCString()}\r\n` +
    `Content-Type: ${page.type}\r\nContent-Length: ${body.length}\r\n` +
    PAGE_LINES +
    `${extra}${connectionHeader(close, keepAlive)}\r\n${headOnly ? '' : body}`
  )
}

/** The same of one in JSON whose text is ASCII. */
export const jsonResponse = (status: number, body: string, close: boolean): string =>
  `HTTP/1.1 ${status} ${STATUS_TEXT[status]}\r\ncontent-type: application/json\r\n` +
  `Content-Length: ${body.length}\r\n${connectionHeader(close, false)}\r\n${body}`

/** The answer of a typed call as a whole response, one character a byte. */
export function callResponse({ status, header, body }: CallAnswer, close: boolean): string {
  let fields = ''
  header.forEach((value, name) => {
    if (name !== 'content-length') fields += `${name}: ${value}\r\n`
  })
  return (
    `HTTP/1.1 ${status} ${STATUS_TEXT[status] ?? 'Error'}\r\n${fields}Content-Length: ${body.length}\r\n` +
    `${connectionHeader(close, false)}\r\n${Buffer.from(body).toString('latin1')}`
  )
}
