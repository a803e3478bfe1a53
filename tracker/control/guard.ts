// Who may ask the control API: decided from the headers alone, before a body is read.
// Refuses: everything without the token; requests that a browser was tricked into sending (DNS rebinding).

import { createHash, timingSafeEqual } from 'node:crypto'
import { isIP } from 'node:net'

export type Headers = {
  readonly authorization?: string | undefined
  /** `host`, or `:authority` in HTTP/2. */
  readonly host?: string | undefined
  readonly origin?: string | undefined
}

export type Refusal = {
  readonly kind: 'refused'
  readonly status: number
  readonly code: string
  readonly message: string
  /** A token was shown, and it is none of ours. */
  readonly wrongToken: boolean
}

/** `open`: no token is needed; `token`: the one that was shown, which opens. */
export type Judged = Refusal | { readonly kind: 'open' } | { readonly kind: 'token'; readonly token: string }

/**
 * A page on evil.example whose name is made to point at 127.0.0.1 reaches this port with `Host:
 * evil.example`. So only IP addresses and names of this machine are taken: `names`, and names that begin with
 * one of them and a dot (`r0` also answers as `r0.skep.default.svc`).
 */
export function hostAllowed(host: string | undefined, names: readonly string[]): boolean {
  const name = hostName(host)
  if (name === null) return false
  if (isIP(name) !== 0 || name === 'localhost') return true
  return names.some((own) => name === own.toLowerCase() || name.startsWith(`${own.toLowerCase()}.`))
}

/** `tokens`: any of them opens. `open`: a path that needs no token (health). */
export function judge(
  headers: Headers,
  tokens: readonly string[],
  names: readonly string[],
  open: boolean,
): Judged {
  if (!hostAllowed(headers.host, names))
    return refused(403, 'permission_denied', 'this host name is not of this replica: ask by its IP address')
  if (headers.origin !== undefined && !hostAllowed(headers.origin.replace(/^\w+:\/\//, ''), names))
    return refused(403, 'permission_denied', 'web pages of other origins may not ask the control API')
  if (open) return { kind: 'open' }
  const given = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1]
  if (given === undefined)
    return refused(401, 'unauthenticated', 'the control API needs its token (authorization: Bearer ...)')
  // All are looked at, whichever fits.
  const token = tokens.filter((each) => sameSecret(given, each))[0]
  if (token === undefined)
    return refused(
      401,
      'unauthenticated',
      'wrong token: it is derived from the network key of the cluster',
      true,
    )
  return { kind: 'token', token }
}

const refused = (status: number, code: string, message: string, wrongToken = false): Refusal => ({
  kind: 'refused',
  ...{ status, code, message, wrongToken },
})

/** Takes as long for a wrong secret as for the right one, whatever their lengths. */
function sameSecret(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(a), digest(b))
}

/** Host name of a Host header, without port and brackets; null if it is none. */
function hostName(host: string | undefined): string | null {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:/\s[\]]+))(?::\d{1,5})?$/i.exec(host ?? '')
  return match === null ? null : (match[1] ?? match[2]!).toLowerCase()
}
