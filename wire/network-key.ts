// What is derived from a network key where both a replica and its clients need it: the bearer token of the
// control API, and the name by which a key is told apart from others. HKDF-SHA-256 (RFC 5869) is an argument:
// `hkdfSync` of node:crypto. Refuses: to read files, and to show keys.

export type Hkdf = (
  digest: 'sha256',
  key: string,
  salt: string,
  info: string,
  bytes: number,
) => ArrayBuffer | Uint8Array

/** Fewest and most characters of a key: 32 hexadecimal digits are 128 bits. */
export const KEY_LEAST = 32
export const KEY_MOST = 4096
const TOKEN_BYTES = 32
const NAME_BYTES = 12

/**
 * Sent as `authorization: Bearer TOKEN`: 32 bytes, base64url without padding. `networkKey`: without white
 * space around it.
 */
export const controlToken = (networkKey: string, hkdf: Hkdf): string =>
  btoa(String.fromCharCode(...bytes(hkdf('sha256', networkKey, '', 'skep control api v1', TOKEN_BYTES))))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')

/** 12 bytes of a hash, hexadecimal: says nothing of the key. */
export const networkKeyName = (networkKey: string, hkdf: Hkdf): string =>
  Array.from(bytes(hkdf('sha256', networkKey, '', 'skep replica key name v1', NAME_BYTES)), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('')

const bytes = (made: ArrayBuffer | Uint8Array): Uint8Array => new Uint8Array(made)
