// An info_hash as people write it: hexadecimal, base32, or a magnet link (BEP 9, 52).
// Refuses: anything else; null says so.

/** Bytes of an info_hash (version 2 hashes are cut to this, as trackers see them: BEP 52). */
export const INFO_HASH_BYTES = 20

/** 40 hexadecimal digits of an info_hash as people write it, or null. */
export function readInfoHash(entry: string): string | null {
  if (/^[0-9a-f]{40}$/i.test(entry)) return entry.toLowerCase()
  if (/^[a-z2-7]{32}$/i.test(entry)) return fromBase32(entry)
  if (/^[0-9a-f]{64}$/i.test(entry)) return entry.slice(0, 40).toLowerCase()
  if (!/^magnet:\?/i.test(entry)) return null
  const topics = new URLSearchParams(entry.slice('magnet:?'.length))
  const named = [...topics].filter(([key]) => /^xt(\.\d+)?$/.test(key)).map(([, value]) => value)
  const first = named.map((topic) => /^urn:btih:(\w+)$/i.exec(topic)?.[1]).find((hash) => hash !== undefined)
  if (first !== undefined) return first.length === 64 ? null : readInfoHash(first)
  const second = named
    .map((topic) => /^urn:btmh:1220([0-9a-f]{64})$/i.exec(topic)?.[1])
    .find((hash) => hash !== undefined)
  return second === undefined ? null : readInfoHash(second)
}

function fromBase32(text: string): string {
  let bits = 0n
  for (const letter of text.toLowerCase())
    bits = (bits << 5n) | BigInt('abcdefghijklmnopqrstuvwxyz234567'.indexOf(letter))
  return bits.toString(16).padStart(40, '0')
}
