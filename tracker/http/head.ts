// The head of any request that plain.ts does not take: other paths, HTTP/1.0, HEAD, absolute targets, rarer
// headers (RFC 9112). Refuses: whatever two parsers could read differently (a bare line feed, a folded
// header, two Hosts), with the status that says so; bodies, which nothing here needs: the connection ends
// after them.

import { MAX_TARGET_BYTES } from './query.ts'

/** Longest request head, bytes. */
export const MAX_HEAD_BYTES = 16 * 1024

/** A request line with its headers, or what is wrong with it. */
export type Head = {
  /** 0: it is in order. */
  readonly fault: number
  readonly method: string
  /** From the slash to the question mark, percent-encoding undone. */
  readonly path: string
  /** After the question mark. */
  readonly query: string
  /** Of the target if it names one (RFC 9112, 3.2.2), else of the Host header. */
  readonly host: string
  readonly accept: string
  /** X-Forwarded-For, several joined by commas; empty: none. */
  readonly forwardedFor: string
  /** The connection ends after the answer. */
  readonly close: boolean
  /** The client is of HTTP/1.0 and must be told that it does not. */
  readonly keepAlive: boolean
  /** The same for a request whose body is read: the connection may go on after it. */
  readonly closeAfterBody: boolean
  /** Bytes of the body; -1: it comes in chunks (RFC 9112, 7.1); -3: two parsers could read two bodies. */
  readonly bodyBytes: number
  /** All header fields, names in small letters. */
  readonly fields: readonly (readonly [string, string])[]
}

const LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^ ]+) HTTP\/(\d)\.(\d)$/
const HEADER = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*)$/
const ABSOLUTE = /^https?:\/\/([^/?#]+)(.*)$/i

/** What `readHead` gives for what is none. */
export const faultyHead = (fault: number): Head => ({
  ...{ fault, method: 'GET', path: '', query: '', host: '', accept: '', forwardedFor: '' },
  ...{ close: true, keepAlive: false, closeAfterBody: true, bodyBytes: 0, fields: [] },
})

/** The request is not all there yet. */
export const NOT_YET = -1
/** It will never be one. */
export const NO_HTTP = -2
const TOO_LONG = -3

/** Where the request at `from` ends, or what else there is. */
export function endOfHead(text: string, from: number): number {
  const end = text.indexOf('\r\n\r\n', from)
  if (end >= 0) return end - from > MAX_HEAD_BYTES ? TOO_LONG : end + 4
  if (text.length - from > MAX_HEAD_BYTES) return TOO_LONG
  const feed = text.indexOf('\n', from)
  const first = text.charCodeAt(from) | 0x20
  const letter = (first >= 0x61 && first <= 0x7a) || text.charCodeAt(from) === 13
  return !letter || (feed >= 0 && text.charCodeAt(feed - 1) !== 13) ? NO_HTTP : NOT_YET
}

/** Reads `text` from `from` to `end`, as `endOfHead` gave it. */
export function readHead(text: string, from: number, end: number): Head {
  const [first, ...lines] = text.slice(from, end - 4).split('\r\n')
  const [, method, target, major, minor] = LINE.exec(first!) ?? []
  if (method === undefined || first!.includes('\r') || first!.includes('\n')) return faultyHead(400)
  if (target!.length > MAX_TARGET_BYTES) return faultyHead(414)
  if (major !== '1') return faultyHead(505)
  const fields = fieldsOf(lines)
  if (fields === null) return faultyHead(400)
  const { hosts, connection, body, forwardedFor, accept, bodyBytes, all } = fields
  if (hosts.length > 1 || (hosts.length === 0 && minor !== '0')) return faultyHead(400)
  const absolute = ABSOLUTE.exec(target!)
  const rest = absolute === null ? target! : absolute[2]!
  const local = absolute !== null && !rest.startsWith('/') ? `/${rest}` : rest
  if (!local.startsWith('/') && method !== 'OPTIONS') return faultyHead(400)
  const mark = local.indexOf('?')
  const kept = minor === '0' ? connection.includes('keep-alive') : !connection.includes('close')
  return {
    fault: 0,
    method,
    path: plainPath(mark < 0 ? local : local.slice(0, mark)),
    query: mark < 0 ? '' : local.slice(mark + 1),
    host: absolute === null ? (hosts[0] ?? '') : absolute[1]!,
    accept,
    forwardedFor,
    close: body || !kept,
    keepAlive: minor === '0' && kept && !body,
    closeAfterBody: minor === '0' || !kept,
    bodyBytes,
    fields: all,
  }
}

type Fields = {
  readonly hosts: readonly string[]
  readonly connection: readonly string[]
  readonly body: boolean
  readonly forwardedFor: string
  readonly accept: string
  readonly bodyBytes: number
  readonly all: readonly (readonly [string, string])[]
}

/** Null: a line is no header. */
function fieldsOf(lines: readonly string[]): Fields | null {
  const hosts: string[] = []
  const connection: string[] = []
  const forwarded: string[] = []
  const accept: string[] = []
  const all: (readonly [string, string])[] = []
  let body = false
  let bodyBytes = -2
  for (const line of lines) {
    const [, name, value] = HEADER.exec(line) ?? []
    if (name === undefined || line.includes('\r') || line.includes('\n')) return null
    const text = value!.trim()
    const field = name.toLowerCase()
    all.push([field, text])
    switch (field) {
      case 'host':
        hosts.push(text)
        break
      case 'connection':
        for (const token of text.split(',')) connection.push(token.trim().toLowerCase())
        break
      case 'x-forwarded-for':
        forwarded.push(text)
        break
      case 'accept':
        accept.push(text)
        break
      case 'content-length':
        if (!/^\d+$/.test(text)) return null
        body ||= Number(text) !== 0
        // Two lengths, or one and chunks: two parsers could read two bodies.
        if (bodyBytes !== -2 && bodyBytes !== Number(text)) return null
        bodyBytes = Number(text)
        break
      case 'transfer-encoding':
        body = true
        if (bodyBytes !== -2 || text.toLowerCase() !== 'chunked') bodyBytes = -3
        else bodyBytes = -1
        break
    }
  }
  const joined = { forwardedFor: forwarded.join(','), accept: accept.join(',') }
  return { hosts, connection, body, ...joined, bodyBytes: bodyBytes === -2 ? 0 : bodyBytes, all }
}

/** RFC 3986, 6.2.2.2: what need not be encoded means the same when it is. */
export const plainPath = (path: string): string =>
  path.includes('%')
    ? path.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    : path
