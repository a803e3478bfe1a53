// The network key: that there is one, and its replacement while all is running. At no time does a replica use
// a key that another one does not know: the new one is known everywhere before anybody uses it, the old one
// until nobody does. Refuses: to rotate a key that people made; they change their Secret's lines in the same
// three steps.

import { keyName } from '../model/names.ts'
import { ANNOTATIONS } from '../model/types.ts'
import { type Verdict, type View, wait } from './view.ts'

export const keyMissing = (v: View): Verdict | null => {
  const { secretName, key } = v.spec.networkKey
  const seen = v.seen.key
  if (secretName === undefined || (seen !== null && seen.names.length > 0)) return null
  return wait(
    'NetworkKeyMissing',
    seen === null
      ? `spec.networkKey.secretName: there is no Secret ${secretName}`
      : `spec.networkKey: Secret ${secretName} has no entry ${key} with a key in it (openssl rand -hex 32)`,
  )
}

export const rotation = (v: View): Verdict | null => {
  const key = v.seen.key
  if (key === null || !key.made) return null
  const wanted = v.seen.resource.metadata.annotations?.[ANNOTATIONS.rotateKey] ?? ''
  const step = (phase: 'add' | 'swap' | 'drop', value: string, message: string): Verdict => ({
    step: { kind: 'rotate-key', phase, secretName: keyName(v.name), rotation: value, from: key.names },
    reason: 'RotatingKey',
    message,
  })
  switch (key.phase) {
    case 'Done':
      if (wanted === '' || wanted === key.rotation) return null
      return step('add', wanted, 'a new network key is made known to all replicas; the old one is still used')
    case 'Adding':
      if (!everywhere(v, (known) => key.names.every((n) => known.includes(n)))) return null
      return step('swap', key.rotation, 'all replicas know the new network key: it is used from now on')
    case 'Swapping':
      if (!everywhere(v, (known) => known[0] === key.names[0])) return null
      return step('drop', key.rotation, 'all replicas use the new network key: the old one is forgotten')
  }
}

/** What a rotation waits for; null: there is none, or nothing to wait for. It holds nothing else up. */
export const rotating = (v: View): string | null =>
  v.seen.key === null || v.seen.key.phase === 'Done'
    ? null
    : `the network key is being replaced (${v.seen.key.phase}): each replica has to read the new Secret, which takes a minute or two`

const everywhere = (v: View, fits: (known: readonly string[]) => boolean): boolean => {
  const n = v.seen.statefulSet?.replicas ?? 0
  if (n === 0) return false
  for (let i = 0; i < n; i++) {
    const report = v.reports.get(i)
    if (report === undefined || !fits(report.networkKeys)) return false
  }
  return true
}
