// Writes the status of a resource if it says something else than what is there.
// Refuses: writes that change nothing: each of them would wake everybody who watches.

import type { KubeObject } from './model/ports.ts'
import type { World } from './world.ts'

/** The object as it was given back; null: there was nothing to write. */
export const writeIfNew = async (
  { api }: Pick<World, 'api'>,
  object: KubeObject,
  status: object,
): Promise<KubeObject | null> =>
  sorted(object.status ?? {}) === sorted(status) ? null : await api.putStatus(object, status)

/** JSON with keys in order: the API server keeps another one. */
const sorted = (value: unknown): string =>
  JSON.stringify(value, (_, v: unknown) =>
    typeof v === 'object' && v !== null && !Array.isArray(v)
      ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)))
      : v,
  )
