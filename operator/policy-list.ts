// A TorrentPolicy as the list that it asks for, and what is said about it.
// Refuses: half a list; one faulty entry and nothing is changed.

import { readInfoHash } from '@skep/wire/info-hash.ts'
import type { TorrentPolicy } from './model/types.ts'

/** Faults told; more are only counted. */
const FAULTS_TOLD = 5

export type WishedList =
  /** 40 hexadecimal digits each, sorted, each once. */
  | { readonly kind: 'list'; readonly hashes: readonly string[] }
  | { readonly kind: 'fault'; readonly message: string }

/** `texts`: values of the ConfigMap that is named, a list each, by entry. */
export const wishedList = (
  { infoHashes = [], list }: TorrentPolicy['spec'],
  texts: Readonly<Record<string, string>>,
): WishedList => {
  const found = new Set<string>()
  const faults: string[] = []
  const take = (entry: string, where: string): void => {
    const hash = readInfoHash(entry)
    if (hash === null) faults.push(`${where}: ${entry.slice(0, 60)} is not an info_hash`)
    else found.add(hash)
  }
  infoHashes.forEach((entry, i) => {
    take(entry.trim(), `spec.infoHashes[${i}]`)
  })
  for (const [name, text] of Object.entries(texts))
    text.split('\n').forEach((line, i) => {
      const entry = line.replace(/#.*$/, '').trim()
      if (entry !== '') take(entry, `${name} line ${i + 1}`)
    })
  if (faults.length > 0) {
    const more = faults.length > FAULTS_TOLD ? ` and ${faults.length - FAULTS_TOLD} more` : ''
    return { kind: 'fault', message: `nothing is changed: ${faults.slice(0, FAULTS_TOLD).join('; ')}${more}` }
  }
  if (found.size === 0 && list === 'Allow')
    return {
      kind: 'fault',
      message: 'an empty list of allowed torrents would refuse every torrent: delete the policy to allow all',
    }
  return { kind: 'list', hashes: [...found].sort() }
}

/**
 * The oldest of those that are for the same list of the same cluster counts; by name where they are of one
 * second.
 */
export const elderOf = (policy: TorrentPolicy, all: readonly TorrentPolicy[]): TorrentPolicy | null => {
  const age = (p: TorrentPolicy): string => `${p.metadata.creationTimestamp ?? ''} ${p.metadata.name}`
  const rivals = all.filter(
    (p) =>
      p.metadata.uid !== policy.metadata.uid &&
      p.metadata.deletionTimestamp === undefined &&
      p.spec.clusterName === policy.spec.clusterName &&
      p.spec.list === policy.spec.list &&
      age(p) < age(policy),
  )
  return rivals.sort((a, b) => (age(a) < age(b) ? -1 : 1))[0] ?? null
}
