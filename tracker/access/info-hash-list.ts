// Lists of info_hashes as people write them: one a line, hexadecimal, base32 or a magnet link; `#` begins a
// comment. Refuses: a list with any line that is none of these, whole, so that a slip never shortens it.

import { createHash } from 'node:crypto'
import { readInfoHash } from '@skep/wire/info-hash.ts'

export { readInfoHash }

/** Faults told of one list; more are only counted. */
const FAULTS_TOLD = 10

export type InfoHashes = {
  /** 20 bytes each, sorted, each once. */
  readonly bytes: Uint8Array
  readonly count: number
  /** SHA-256 of `bytes`, hexadecimal: comments, order and spelling do not change it. */
  readonly digest: string
}

export type ReadList =
  | { readonly ok: true; readonly hashes: InfoHashes }
  | { readonly ok: false; readonly faults: readonly string[] }

export function readInfoHashes(text: string): ReadList {
  const found = new Set<string>()
  const faults: string[] = []
  let wrong = 0
  text.split('\n').forEach((line, index) => {
    const entry = line.replace(/#.*$/, '').trim()
    if (entry === '') return
    const hash = readInfoHash(entry)
    if (hash !== null) found.add(hash)
    else if (++wrong <= FAULTS_TOLD) faults.push(`line ${index + 1}: ${shorten(entry)} is not an info_hash`)
  })
  if (wrong > FAULTS_TOLD) faults.push(`and ${wrong - FAULTS_TOLD} more`)
  return wrong > 0 ? { ok: false, faults } : { ok: true, hashes: infoHashes([...found]) }
}

/** From hexadecimal digits, 40 each. */
export function infoHashes(hex: readonly string[]): InfoHashes {
  const sorted = [...new Set(hex)].sort()
  const bytes = Buffer.from(sorted.join(''), 'hex')
  return { bytes, count: sorted.length, digest: createHash('sha256').update(bytes).digest('hex') }
}

const shorten = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 57)}...` : text)
