// What is wrong with a network key that can be used: others can read its file, or it can be guessed.
// Refuses: refusing it; whoever has such a key needs it until all replicas have the next one.

import { deflateRawSync } from 'node:zlib'
import type { KeyFile } from './network-key.ts'

/** A key that can be told in fewer bits can be tried out. */
const BITS_LEAST = 90
/** Letters of words tell less than they could, bits each. */
const WORD_BITS = 2

/** Sentences for people; none where all is well. */
export function keyWarnings({ path, keys, found: { mode, uid } }: KeyFile): string[] {
  const warnings: string[] = []
  const own = uid === process.getuid?.()
  // A mounted secret is often shared with the group of the process alone; that is not others.
  if (process.platform !== 'win32' && (mode & (own ? 0o077 : 0o007)) !== 0)
    warnings.push(
      `network key ${path}: other users may read it (mode ${(mode & 0o777).toString(8)}), and with it everything this cluster says: chmod 600 ${path}`,
    )
  keys.forEach((key, i) => {
    if (guessBits(key) < BITS_LEAST)
      warnings.push(
        `network key ${path}, line ${i + 1}: it can be guessed. Make one with: openssl rand -hex 32 (docs/running.md says how a key is changed while replicas run)`,
      )
  })
  return warnings
}

/** How many bits tell this key, at most: by its characters, its repetitions, its runs, and as words. */
export function guessBits(whole: string): number {
  const key = oncePeriod(whole)
  const counts = new Map<string, number>()
  for (const c of key) counts.set(c, (counts.get(c) ?? 0) + 1)
  let bits = 0
  for (const n of counts.values()) bits -= n * Math.log2(n / key.length)
  let run = 0
  for (let i = 2; i < key.length; i++) {
    const step = key.charCodeAt(i) - key.charCodeAt(i - 1)
    if (Math.abs(step) <= 1 && step === key.charCodeAt(i - 1) - key.charCodeAt(i - 2)) run++
  }
  bits *= 1 - run / key.length
  if (/^[a-z]?[a-z\s_.-]*$/i.test(key) && !/[A-Z].*[a-z].*[A-Z]/.test(key))
    bits = Math.min(bits, key.length * WORD_BITS)
  return Math.min(bits, deflateRawSync(key).length * 8)
}

/** What a key repeats, once. */
function oncePeriod(key: string): string {
  for (let period = 1; period <= key.length / 2; period++)
    if (key.startsWith(key.slice(period))) return key.slice(0, period)
  return key
}
