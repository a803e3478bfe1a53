// Recognises the requests that nearly all traffic consists of, `GET /announce?...`, `GET /scrape?...` and
// typed calls in JSON, of HTTP/1.1 with plain headers, so that they need no general parser (measured: 8.5
// against 15 us CPU a request). Refuses: everything else, including whatever two parsers could read
// differently (a body, an odd line end, a folded header, no Host); head.ts knows what to do or to answer.

import { CALL_MOST_BYTES, CALLS } from './calls.ts'
import { MAX_HEAD_BYTES } from './head.ts'
import { MAX_TARGET_BYTES } from './query.ts'
import { ANNOUNCE, SCRAPE } from './tracker.ts'

const LF = 10

/** One recognised request; offsets are into the text given. */
export class PlainRequest {
  kind = ANNOUNCE
  queryFrom = 0
  queryEnd = 0
  /** Where the next request begins. */
  next = 0
  /** The client wants the connection closed after the answer. */
  close = false
  /** X-Forwarded-For, several joined by commas; empty: none. */
  forwardedFor = ''
  /** Of the request at hand: it is a call, and has a body of so many bytes. */
  private call = false
  private bytes = -1
  private json = false

  /** True: a whole plain request begins at `from`. */
  read(text: string, from: number): boolean {
    if (text.startsWith('GET /announce?', from)) {
      this.kind = ANNOUNCE
      this.queryFrom = from + 14
    } else if (text.startsWith('GET /scrape?', from)) {
      this.kind = SCRAPE
      this.queryFrom = from + 12
    } else return false
    const space = text.indexOf(' ', this.queryFrom)
    if (space < 0 || space - from - 4 > MAX_TARGET_BYTES) return false
    if (!text.startsWith(' HTTP/1.1\r\n', space)) return false
    if (text.indexOf('\r', from) !== space + 9 || text.indexOf('\n', from) !== space + 10) return false
    this.queryEnd = space
    this.call = false
    return this.headers(text, from, space + 11)
  }

  /** The same of a call whose body is JSON: it lies from `queryFrom` to `queryEnd`. */
  readCall(text: string, from: number): boolean {
    let line: string
    if (text.startsWith(ANNOUNCE_CALL, from)) {
      this.kind = ANNOUNCE
      line = ANNOUNCE_CALL
    } else if (text.startsWith(SCRAPE_CALL, from)) {
      this.kind = SCRAPE
      line = SCRAPE_CALL
    } else return false
    this.call = true
    this.json = false
    this.bytes = -1
    if (!this.headers(text, from, from + line.length) || !this.json || this.bytes < 0) return false
    this.queryFrom = this.next
    this.queryEnd = this.next + this.bytes
    this.next = this.queryEnd
    return this.queryEnd <= text.length
  }

  private headers(text: string, from: number, firstLine: number): boolean {
    this.close = false
    this.forwardedFor = ''
    let host = false
    for (let at = firstLine; ; ) {
      const end = text.indexOf('\r', at)
      if (end < 0 || text.charCodeAt(end + 1) !== LF) return false
      if (end - from > MAX_HEAD_BYTES) return false
      if (end === at) {
        this.next = end + 2
        return host
      }
      if (text.indexOf('\n', at) !== end + 1) return false
      // The general path refuses it.
      if (this.call && text.slice(at, end).includes('\0')) return false
      const colon = text.indexOf(':', at)
      if (colon <= at || colon > end || !isToken(text, at, colon)) return false
      switch (text.charCodeAt(at) | 0x20) {
        case 0x68: // h
          if (named(text, at, colon, 'host')) {
            if (host) return false
            host = true
          }
          break
        case 0x63: // c
          if (named(text, at, colon, 'connection')) {
            const value = text
              .slice(colon + 1, end)
              .trim()
              .toLowerCase()
            if (value === 'close') this.close = true
            else if (value !== 'keep-alive') return false
          } else if (named(text, at, colon, 'content-length')) {
            const value = text.slice(colon + 1, end).trim()
            if (!this.call || this.bytes >= 0 || !/^\d{1,5}$/.test(value)) return false
            this.bytes = Number(value)
            if (this.bytes > CALL_MOST_BYTES) return false
          } else if (this.call && !this.ofCall(text, at, colon, end)) return false
          break
        case 0x78: // x
          if (named(text, at, colon, 'x-forwarded-for')) {
            const value = text.slice(colon + 1, end).trim()
            this.forwardedFor = this.forwardedFor === '' ? value : `${this.forwardedFor},${value}`
          }
          break
        case 0x74: // t
        case 0x65: // e
        case 0x75: // u
          if (
            named(text, at, colon, 'transfer-encoding') ||
            named(text, at, colon, 'expect') ||
            named(text, at, colon, 'upgrade')
          )
            return false
      }
      at = end + 2
    }
  }

  /** Headers that say how a call is to be read: those in any other way are left to the general parser. */
  private ofCall(text: string, at: number, colon: number, end: number): boolean {
    if (named(text, at, colon, 'content-type')) {
      if (
        this.json ||
        text
          .slice(colon + 1, end)
          .trim()
          .toLowerCase() !== 'application/json'
      )
        return false
      this.json = true
    }
    return !named(text, at, colon, 'content-encoding') && !named(text, at, colon, 'connect-timeout-ms')
  }
}

const ANNOUNCE_CALL = `POST ${CALLS}Announce HTTP/1.1\r\n`
const SCRAPE_CALL = `POST ${CALLS}Scrape HTTP/1.1\r\n`

const named = (text: string, at: number, colon: number, name: string): boolean =>
  colon - at === name.length && text.slice(at, colon).toLowerCase() === name

/**
 * A header name: letters, digits, minus, underscore. Rarer but legal characters are left to the general
 * parser.
 */
function isToken(text: string, at: number, end: number): boolean {
  for (let i = at; i < end; i++) {
    const c = text.charCodeAt(i)
    const letter = (c | 0x20) >= 0x61 && (c | 0x20) <= 0x7a
    if (!letter && c !== 0x2d && c !== 0x5f && (c < 0x30 || c > 0x39)) return false
  }
  return true
}
