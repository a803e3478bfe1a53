// The secrets of the cluster on disk, and the tokens of the control API made from them. One key a line: the
// first is in use, further ones are taken, too, so that one can replace another without a stop. Refuses:
// short keys, and showing them or their tokens: only their file and their names (hashes) are ever told.

import { hkdfSync, randomBytes } from 'node:crypto'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { KEY_LEAST, KEY_MOST, controlToken as tokenOf } from '@skep/wire/network-key.ts'
import { MAX_KEYS, pskOf } from '../replica/transport/psk.ts'
import { folderError } from './folder.ts'

/** The network key cannot be used; the message says what to do. */
export class NetworkKeyError extends Error {}

/** The key file in force: the one that was named, or the one in the data folder. */
export const networkKeyPath = (dataDir: string, file: string | null): string =>
  file ?? join(dataDir, 'network.key')

export type NetworkKey = {
  /** The one in use. */
  readonly key: string
  readonly path: string
  readonly made: boolean
}

/**
 * Reads the network key. One is made (mode 0600) if the file of the data folder, which is there, is missing;
 * a file that was named must be there, so that a slip in its name does not split a cluster. Throws
 * `NetworkKeyError`.
 */
export function openNetworkKey(dataDir: string, file: string | null): NetworkKey {
  const path = networkKeyPath(dataDir, file)
  let made = false
  if (file === null) {
    try {
      writeFileSync(path, `${randomBytes(32).toString('base64url')}\n`, {
        mode: 0o600,
        flag: 'wx',
        flush: true,
      })
      made = true
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw folderError(dataDir, path, cause)
    }
  }
  mustBeFile(path)
  return { key: readNetworkKey(path), path, made }
}

/**
 * The keys in `path`, the one in use first: a line each, without surrounding white space. Throws
 * `NetworkKeyError`.
 */
export function readNetworkKeys(path: string): readonly string[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    const why =
      code === 'ENOENT' ? 'it is not there' : code === 'EACCES' ? 'this user may not read it' : String(cause)
    throw new NetworkKeyError(`network key ${path}: ${why}`, { cause })
  }
  return keysOfText(text, path)
}

function keysOfText(text: string, path: string): readonly string[] {
  const lines = text.split(/\r?\n/).map((line) => line.trim())
  const keys = [...new Set(lines.filter((line) => line !== ''))]
  for (const key of keys.length === 0 ? [''] : keys)
    if (key.length < KEY_LEAST || key.length > KEY_MOST) {
      const which = keys.length < 2 ? '' : ` in line ${lines.indexOf(key) + 1}`
      throw new NetworkKeyError(
        `network key ${path} has ${key.length} characters${which}: ${KEY_LEAST} to ${KEY_MOST} are needed. Make one with: openssl rand -hex 32`,
      )
    }
  if (keys.length > MAX_KEYS)
    throw new NetworkKeyError(
      `network key ${path} has ${keys.length} lines; ${MAX_KEYS} keys are the most, and two are enough to change one`,
    )
  return keys
}

/** The key in use. Throws `NetworkKeyError`. */
const readNetworkKey = (path: string): string => readNetworkKeys(path)[0]!

/** Between two looks at the file, milliseconds. */
const LOOK_MS = 250
/** A file that was written so lately may be half written, milliseconds. */
const QUIET_MS = 500
/** More than all keys need. */
const KEY_FILE_BYTES = 64 * 1024

/** Keys that follow their file. */
export type Watched<T> = {
  (): T
  /** Why the file, as it is now, cannot be used; '' when it can. The keys stay as they were. */
  fault(): string
}

/**
 * What `make` makes of the keys in `path`, made again when the file is another one: it is looked at when
 * somebody asks, so that a mounted secret (symbolic links that are turned) counts within a second. Half of a
 * file would take away keys that are in use, and what they opened: one that is still being written is not
 * read. Throws `NetworkKeyError` now, never later.
 */
export function watchedKeys<T>(path: string, make: (keys: readonly string[]) => T): Watched<T> {
  let seen = stampOf(path)
  let made = make(readNetworkKeys(path))
  let lookedMs = performance.now()
  let fault = ''
  const look = (): T => {
    const nowMs = performance.now()
    if (nowMs - lookedMs < LOOK_MS) return made
    lookedMs = nowMs
    const stamp = stampOf(path)
    if ((stamp === seen && fault === '') || isBeingWritten(path)) return made
    try {
      mustBeFile(path)
      made = make(readNetworkKeys(path))
      fault = ''
      seen = stamp
    } catch (error) {
      // Half written, or gone: the next look may find it whole.
      fault = error instanceof Error ? error.message : String(error)
    }
    return made
  }
  return Object.assign(look, { fault: () => fault })
}

/** A pipe would never be read to its end, and holds up whoever opens it. */
function mustBeFile(path: string): void {
  const found = statSync(path, { throwIfNoEntry: false })
  if (found !== undefined && (!found.isFile() || found.size > KEY_FILE_BYTES))
    throw new NetworkKeyError(
      `network key ${path}: it must be a file of at most ${KEY_FILE_BYTES} bytes, since it is read again when it changes`,
    )
}

/** A time from the future says nothing. */
function isBeingWritten(path: string): boolean {
  const found = statSync(path, { throwIfNoEntry: false })
  return found !== undefined && Math.abs(Date.now() - found.mtimeMs) < QUIET_MS
}

/** Changes whenever the file does: another inode, time or size. */
function stampOf(path: string): string {
  try {
    const { ino, mtimeNs, ctimeNs, size } = statSync(path, { bigint: true })
    return `${ino} ${mtimeNs} ${ctimeNs} ${size}`
  } catch {
    return ''
  }
}

/** What a key is called where it must be told apart from others: 12 bytes of a hash, hexadecimal. */
export const networkKeyName = (networkKey: string): string => pskOf(networkKey).identity.replace(/^skep-/, '')

/** The bearer token of the control API. */
export const controlToken = (networkKey: string): string => tokenOf(networkKey, hkdfSync)
