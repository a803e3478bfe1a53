// Durations and quantities as people write them in a specification.
// Refuses: to guess; what does not parse is null, and validate.ts says so.

const DURATIONS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** `500ms`, `1s`, `1h30m` -> milliseconds. */
export const durationMs = (text: string): number | null => {
  if (!/^(\d+(ms|s|m|h|d))+$/.test(text)) return null
  let sum = 0
  for (const [, n, unit] of text.matchAll(/(\d+)(ms|s|m|h|d)/g)) sum += Number(n) * DURATIONS[unit!]!
  return sum
}

const SIZES: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
}

/** A Kubernetes quantity of bytes, such as 512Mi, 2Gi or 1.5G. */
export const bytesOf = (text: string): number | null => {
  const m = /^(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|k|M|G|T)?$/.exec(text)
  return m === null ? null : Math.floor(Number(m[1]) * SIZES[m[2] ?? '']!)
}

export const mebibytes = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)}Mi`

/** Milliseconds since the epoch -> RFC 3339 in whole seconds, as Kubernetes writes times. */
export const rfc3339 = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`

/** NaN where the text is no time. */
export const epochMs = (text: string | undefined): number =>
  text === undefined ? Number.NaN : Date.parse(text)

/** The largest odd number up to `n`, at least 1. */
export const oddUpTo = (n: number): number => Math.max(1, n % 2 === 1 ? n : n - 1)

export const majority = (voters: number): number => Math.floor(voters / 2) + 1

/**
 * 64 bits of FNV-1a in two halves, hexadecimal: tells whether two passes saw and chose the same. No secret is
 * in it.
 */
export const fingerprint = (text: string): string => {
  let a = 0x811c9dc5
  let b = 0xcbf29ce4
  for (let i = 0; i < text.length; i++) {
    a = Math.imul(a ^ text.charCodeAt(i), 0x01000193)
    b = Math.imul(b ^ text.charCodeAt(text.length - 1 - i), 0x01000193)
  }
  return [a, b].map((n) => (n >>> 0).toString(16).padStart(8, '0')).join('')
}
