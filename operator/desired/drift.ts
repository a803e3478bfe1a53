// Whether an object is as it is wanted: each field that is wanted has to be there with that value; what the
// API server or others add is theirs. A field that is wanted no more shows by the hash. Refuses: to compare
// what can never be changed.

import { HASH_ANNOTATION } from '../model/labels.ts'
import type { KubeObject } from '../model/ports.ts'

/** Path of the first field that differs; null: all is as wanted. */
export const difference = (wanted: KubeObject, there: KubeObject): string | null => {
  if (there.metadata.annotations?.[HASH_ANNOTATION] !== wanted.metadata.annotations?.[HASH_ANNOTATION])
    return `metadata.annotations[${HASH_ANNOTATION}]`
  const { apiVersion: _, kind: __, ...rest } = wanted
  return lacks(rest, there, '')
}

const lacks = (wanted: unknown, there: unknown, path: string): string | null => {
  if (isEmpty(wanted)) return isEmpty(there) ? null : path
  if (Array.isArray(wanted)) {
    if (!Array.isArray(there) || there.length !== wanted.length) return path
    return first(wanted.map((item, i) => () => lacks(item, there[i], `${path}[${i}]`)))
  }
  if (typeof wanted === 'object') {
    if (typeof there !== 'object' || there === null || Array.isArray(there)) return path
    return first(
      Object.entries(wanted as object).map(
        ([key, value]) =>
          () =>
            lacks(value, (there as Record<string, unknown>)[key], path === '' ? key : `${path}.${key}`),
      ),
    )
  }
  return same(wanted, there, path) ? null : path
}

const first = (checks: readonly (() => string | null)[]): string | null => {
  for (const check of checks) {
    const found = check()
    if (found !== null) return found
  }
  return null
}

/** The API server leaves out what is empty, and so may a wish. */
const isEmpty = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === '' ||
  (Array.isArray(value) && value.length === 0) ||
  (typeof value === 'object' && Object.keys(value as object).length === 0)

const QUANTITIES = /\.(requests|limits)\.[^.]+$|\.sizeLimit$/

/** Quantities are written back in a form of their own: 1000m is 1, 1024Mi is 1Gi. */
const same = (wanted: unknown, there: unknown, path: string): boolean => {
  if (wanted === there) return true
  if (!QUANTITIES.test(path)) return false
  const [a, b] = [quantity(String(wanted)), quantity(String(there))]
  return a !== null && a === b
}

const SUFFIXES: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
}

const quantity = (text: string): number | null => {
  const m = /^([+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$/.exec(text)
  return m === null ? null : Number(m[1]) * SUFFIXES[m[2] ?? '']!
}
