// What kind of address a peer has: may it be stored, may it be handed out. Raw network bytes as native words
// in, little-endian machines only (layout.ts says so for everything). Sources: RFC 6890, RFC 4291, RFC 4193.
// Refuses: to know who asks.

export const PUBLIC = 0
/**
 * Reachable in somebody's own network only: RFC 1918, loopback, link-local, shared (RFC 6598), unique local.
 */
export const PRIVATE = 1
/** Never a peer: unspecified, multicast, broadcast, reserved, documentation. */
export const BOGON = 2

/** By first octet; 3: look at the second octet too. */
const FIRST = new Uint8Array(256)
FIRST[0] = BOGON
FIRST[10] = PRIVATE
FIRST[127] = PRIVATE
FIRST.fill(BOGON, 224, 256)
for (const octet of [100, 169, 172, 192, 198, 203]) FIRST[octet] = 3

export function addressClass4(word: number): number {
  const first = FIRST[word & 0xff]!
  if (first !== 3) return first
  const a = word & 0xff
  const b = (word >>> 8) & 0xff
  const c = (word >>> 16) & 0xff
  switch (a) {
    case 100:
      return (b & 0xc0) === 64 ? PRIVATE : PUBLIC
    case 169:
      return b === 254 ? PRIVATE : PUBLIC
    case 172:
      return (b & 0xf0) === 16 ? PRIVATE : PUBLIC
    case 192:
      return b === 168 ? PRIVATE : b === 0 && (c === 0 || c === 2) ? BOGON : PUBLIC
    case 198:
      return (b & 0xfe) === 18 || (b === 51 && c === 100) ? BOGON : PUBLIC
    default:
      return b === 0 && c === 113 ? BOGON : PUBLIC
  }
}

/** IPv4-mapped addresses are not given here: front ends turn them into IPv4 first. */
export function addressClass6(a0: number, a1: number, a2: number, a3: number): number {
  const b0 = a0 & 0xff
  const b1 = (a0 >>> 8) & 0xff
  if (b0 === 0xff) return BOGON
  if ((b0 & 0xfe) === 0xfc) return PRIVATE
  if (b0 === 0xfe && (b1 & 0xc0) === 0x80) return PRIVATE
  if (b0 === 0x20 && b1 === 0x01 && a0 >>> 16 === 0xb80d) return BOGON // 2001:db8::/32
  if ((a0 | a1 | a2) === 0) return (a3 | 0) === 0x01000000 ? PRIVATE : BOGON
  return PUBLIC
}

/** Digits and dots. */
const text4 = (word: number): string => [0, 8, 16, 24].map((by) => (word >>> by) & 0xff).join('.')

/** Groups of hexadecimal digits, none left out: for sentences, not for URLs. */
const text6 = (words: readonly number[]): string =>
  words
    .flatMap((word) => [word & 0xffff, word >>> 16])
    .map((pair) => (((pair & 0xff) << 8) | (pair >>> 8)).toString(16))
    .join(':')

/** Why the peer of an address is not taken: the same sentence by UDP and by HTTP. */
export function addressRefusal(kind: number, v6: boolean, words: readonly number[]): string {
  const address = v6 ? text6(words) : text4(words[0]!)
  return kind === BOGON
    ? `${address} cannot be the address of a peer`
    : `${address} is private, and private peers are not taken here`
}
