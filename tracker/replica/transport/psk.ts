// Who may talk to a replica: whoever has the network key. TLS 1.3 with a pre-shared key made from it; the
// identity that is sent names the key, so that several can be valid while one replaces another. Refuses:
// certificates, older TLS, and showing keys. Every connection has secrets of its own (ECDHE), so a key that
// leaks later opens no old recording.
//
// Rotation without a stop: add the new key as the second line everywhere, then make it the first everywhere,
// then take the old one away: connections that were made with it are closed, and dialled again with the
// other. A replica dials with its first key, and with the next one where that is refused.
//
// Nothing is resumed: a session ticket would open this port after its key was taken away, so none is given
// out, and a connection that did not come by a key is none.

import { constants, hkdfSync } from 'node:crypto'
import type { TLSSocket, ConnectionOptions as TlsConnectOptions, TlsOptions } from 'node:tls'

export type Psk = {
  /** Goes over the wire in the clear: a hash that says nothing of the key. */
  readonly identity: string
  readonly key: Buffer
}

/** Most keys valid at once. */
export const MAX_KEYS = 8
/** TLS 1.3 binds a key without a stated hash to SHA-256. */
const CIPHERS = 'TLS_AES_128_GCM_SHA256'

/** A network key (any text, see the key file) as the key of replicas: HKDF-SHA-256, 32 bytes. */
export const pskOf = (networkKey: string): Psk => ({
  identity: `skep-${Buffer.from(hkdfSync('sha256', networkKey, '', 'skep replica key name v1', 12)).toString('hex')}`,
  key: Buffer.from(hkdfSync('sha256', networkKey, '', 'skep replica key v1', 32)),
})

/** The keys of a key file's text: one a line, empty lines apart. Throws when there is none, or too many. */
export const pskRing = (text: string): readonly Psk[] => {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '')
  if (lines.length === 0) throw new Error('no network key: replicas talk only to those who share one')
  if (lines.length > MAX_KEYS)
    throw new Error(`${lines.length} network keys; ${MAX_KEYS} are the most, two are enough to change one`)
  return lines.map((line) => pskOf(line.trim()))
}

const COMMON = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3', ciphers: CIPHERS } as const

/** By which key those who dialled us came in. */
const cameBy = new WeakMap<object, string>()

/** For `tls.createServer`. `keys` is asked at each handshake: a changed file counts from the next one on. */
export const serverTls = (keys: () => readonly Psk[]): TlsOptions => ({
  ...COMMON,
  secureOptions: constants.SSL_OP_NO_TICKET,
  pskCallback: (socket: TLSSocket, identity: string) => {
    const key = keys().find((k) => k.identity === identity)?.key ?? null
    if (key !== null) cameBy.set(socket, identity)
    return key
  },
})

/** Did somebody dial us with one of these keys? Not so, too: by a key that was taken away since. */
export const cameByKey = (socket: object, keys: readonly Psk[]): boolean => {
  const identity = cameBy.get(socket)
  return identity !== undefined && keys.some((k) => k.identity === identity)
}

/** For `tls.connect`. No authority is trusted: only the key opens a connection. */
export const clientTls = (psk: Psk): TlsConnectOptions => ({
  ...COMMON,
  ca: [],
  pskCallback: () => ({ psk: psk.key, identity: psk.identity }),
  checkServerIdentity: () => new Error('a certificate is no network key'),
})

/** True: both sides proved the key. Without it TLS 1.3 would go on by certificate. */
export const provedKey = (socket: TLSSocket): boolean => socket.isSessionReused()

const KEY_ERRORS = new Set([
  'ERR_SSL_BINDER_DOES_NOT_VERIFY',
  'ERR_SSL_TLSV1_ALERT_DECRYPT_ERROR',
  'ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM',
  'ERR_SSL_NO_SHARED_CIPHER',
])

/** Does this error of a handshake, on either side, say that the other side has another key? */
export const isWrongKey = (error: unknown): boolean => {
  const code = (error as NodeJS.ErrnoException | null)?.code
  return typeof code === 'string' && (KEY_ERRORS.has(code) || code.endsWith('ALERT_HANDSHAKE_FAILURE'))
}
