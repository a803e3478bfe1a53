// Where the test cluster's programs are kept between runs: outside the clone, one folder for each state of
// their sources. Refuses: half-made entries; what is made appears under its name only when it is whole.

import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { kubeCache } from './tools.ts'

/** A short name for the state of some sources. */
export function keyOf(parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(`${part.length}:`).update(part)
  return hash.digest('hex').slice(0, 16)
}

/**
 * The folder of that name; `make` fills it if it is not there. Two that make it at once do not harm each
 * other.
 */
export async function cached(name: string, make: (folder: string) => Promise<void>): Promise<string> {
  const folder = join(kubeCache(), name)
  if (existsSync(folder)) return folder
  mkdirSync(kubeCache(), { recursive: true })
  const half = mkdtempSync(join(kubeCache(), '.half-'))
  try {
    await make(half)
    renameSync(half, folder)
  } catch (error) {
    if (!existsSync(folder)) throw error
  } finally {
    rmSync(half, { recursive: true, force: true })
  }
  return folder
}
