// IP addresses as text and as the bytes on the wire. Pure: no node:net.
// Refuses: zone indices (fe80::1%eth0), prefixes, host names, octal or short IPv4 forms.

/**
 * The four bytes of a dotted address; null if it is not one (leading zeros are refused: they mean octal to
 * some).
 */
export function parseIPv4(text: string): Uint8Array | null {
  const parts = text.split('.')
  if (parts.length !== 4) return null
  const bytes = new Uint8Array(4)
  for (let i = 0; i < 4; i++) {
    const part = parts[i]!
    if (!/^(0|[1-9][0-9]{0,2})$/.test(part)) return null
    const value = Number(part)
    if (value > 255) return null
    bytes[i] = value
  }
  return bytes
}

export const formatIPv4 = (bytes: Uint8Array, at = 0): string =>
  `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`

/** The sixteen bytes of an IPv6 address in any notation of RFC 4291 2.2; null if it is not one. */
export function parseIPv6(text: string): Uint8Array | null {
  let rest = text
  let tail: Uint8Array | null = null
  const dot = rest.lastIndexOf(':')
  if (rest.includes('.')) {
    tail = parseIPv4(rest.slice(dot + 1))
    if (tail === null || dot < 0) return null
    rest = `${rest.slice(0, dot + 1)}0:0`
  }
  const halves = rest.split('::')
  if (halves.length > 2) return null
  const left = groups(halves[0]!)
  const right = halves.length === 2 ? groups(halves[1]!) : []
  if (left === null || right === null) return null
  const missing = 8 - left.length - right.length
  if (halves.length === 2 ? missing < 1 : missing !== 0) return null
  const bytes = new Uint8Array(16)
  const all = [...left, ...new Array<number>(missing).fill(0), ...right]
  all.forEach((group, i) => {
    bytes[i * 2] = group >>> 8
    bytes[i * 2 + 1] = group & 0xff
  })
  if (tail !== null) bytes.set(tail, 12)
  return bytes
}

function groups(text: string): number[] | null {
  if (text === '') return []
  const parts = text.split(':')
  if (!parts.every((part) => /^[0-9a-fA-F]{1,4}$/.test(part))) return null
  return parts.map((part) => Number.parseInt(part, 16))
}

/** The canonical text of RFC 5952, except that IPv4-mapped addresses stay hexadecimal. */
export function formatIPv6(bytes: Uint8Array, at = 0): string {
  const words: number[] = []
  for (let i = 0; i < 8; i++) words.push((bytes[at + i * 2]! << 8) | bytes[at + i * 2 + 1]!)
  let start = -1
  let length = 1
  for (let i = 0; i < 8; i++) {
    let n = 0
    while (i + n < 8 && words[i + n] === 0) n++
    if (n > length) {
      start = i
      length = n
    }
  }
  const hex = (from: number, to: number) =>
    words
      .slice(from, to)
      .map((word) => word.toString(16))
      .join(':')
  return start < 0 ? hex(0, 8) : `${hex(0, start)}::${hex(start + length, 8)}`
}
