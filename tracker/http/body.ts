// The body of an HTTP/1.1 request in the text behind its head: by its length, or in chunks (RFC 9112, 7.1).
// Refuses: more than its bound, chunks that are none, and bodies that two parsers could read differently.

import type { Head } from './head.ts'

/** Framing may be so many times the body before it counts as too long. */
const FRAMING_TIMES = 8

export type Body =
  | { readonly kind: 'body'; readonly text: string; readonly next: number }
  | { readonly kind: 'partial' | 'broken' | 'long' }

const PARTIAL: Body = { kind: 'partial' }
const BROKEN: Body = { kind: 'broken' }
const LONG: Body = { kind: 'long' }

/** Reads `text` from `at`, one character a byte; `next` is where the next request begins. */
export function bodyOf(text: string, at: number, { bodyBytes }: Head, mostBytes: number): Body {
  if (bodyBytes === -1) return chunked(text, at, mostBytes)
  if (bodyBytes < 0) return BROKEN
  if (bodyBytes > mostBytes) return LONG
  const next = at + bodyBytes
  return text.length < next ? PARTIAL : { kind: 'body', text: text.slice(at, next), next }
}

function chunked(text: string, from: number, mostBytes: number): Body {
  let body = ''
  let at = from
  for (;;) {
    if (at - from > mostBytes * FRAMING_TIMES) return LONG
    const end = text.indexOf('\r\n', at)
    if (end < 0) return text.length - at > 256 ? BROKEN : PARTIAL
    const line = /^([0-9a-f]{1,8})[ \t]*(?:;[^\n\r]{0,200})?$/i.exec(text.slice(at, end))
    if (line === null) return BROKEN
    const bytes = Number.parseInt(line[1]!, 16)
    at = end + 2
    if (bytes === 0) return afterLast(text, at, body)
    if (body.length + bytes > mostBytes) return LONG
    if (text.length < at + bytes + 2) return PARTIAL
    if (!text.startsWith('\r\n', at + bytes)) return BROKEN
    body += text.slice(at, at + bytes)
    at += bytes + 2
  }
}

/** Trailer fields are not looked at; there may be a KiB of them. */
function afterLast(text: string, from: number, body: string): Body {
  for (let at = from; ; ) {
    const end = text.indexOf('\r\n', at)
    if (end < 0) return text.length - from > 1024 ? BROKEN : PARTIAL
    if (end === at) return { kind: 'body', text: body, next: end + 2 }
    at = end + 2
    if (at - from > 1024) return BROKEN
  }
}
