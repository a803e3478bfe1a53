// The secret of the cluster on disk, and the token of the control API made from it.
// Refuses: short keys, and showing either: only their file is ever named.

import { hkdfSync, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'

/** Fewest characters of a network key: 32 hex digits are 128 bits. */
const KEY_LEAST = 32
const KEY_MOST = 4096

/** The network key cannot be used; the message says what to do. */
export class NetworkKeyError extends Error {}

/** The key file in force: the one that was named, or the one in the data folder. */
export const networkKeyPath = (dataDir: string, file: string | null): string =>
  file ?? join(dataDir, 'network.key')

export type NetworkKey = {
  readonly key: string
  readonly path: string
  readonly made: boolean
  readonly openToOthers: boolean
}

/**
 * Reads the network key. One is made (mode 0600) if the file of the data folder is missing; a file that was named
 * must be there, so that a slip in its name does not split a cluster. Throws `NetworkKeyError`.
 */
export function openNetworkKey(dataDir: string, file: string | null): NetworkKey {
  const path = networkKeyPath(dataDir, file)
  let made = false
  makeFolder(dataDir)
  if (file === null) {
    try {
      writeFileSync(path, `${randomBytes(32).toString('base64url')}\n`, {
        mode: 0o600,
        flag: 'wx',
        flush: true,
      })
      made = true
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause
    }
  }
  return { key: readNetworkKey(path), path, made, openToOthers: (statSync(path).mode & 0o077) !== 0 }
}

/** Folder by folder: Node's own recursive mkdir never returns where a file system refuses new folders with ENOENT (/proc). */
function makeFolder(path: string): void {
  try {
    mkdirSync(path)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'EEXIST') return
    const parent = dirname(resolve(path))
    if (code !== 'ENOENT' || existsSync(parent)) throw cause
    makeFolder(parent)
    mkdirSync(path)
  }
}

/** The key in `path`: its text without surrounding white space. Throws `NetworkKeyError`. */
export function readNetworkKey(path: string): string {
  let text: string
  try {
    text = readFileSync(path, 'utf8').trim()
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    const why =
      code === 'ENOENT' ? 'it is not there' : code === 'EACCES' ? 'this user may not read it' : String(cause)
    throw new NetworkKeyError(`network key ${path}: ${why}`, { cause })
  }
  if (text.length < KEY_LEAST || text.length > KEY_MOST)
    throw new NetworkKeyError(
      `network key ${path} has ${text.length} characters: ${KEY_LEAST} to ${KEY_MOST} are needed. Make one with: openssl rand -hex 32`,
    )
  return text
}

/** The bearer token of the control API: HKDF-SHA-256 of the network key, 32 bytes, base64url. */
export function controlToken(networkKey: string): string {
  return Buffer.from(hkdfSync('sha256', networkKey, '', 'skep control api v1', 32)).toString('base64url')
}
