// The secrets of the cluster on disk, and the tokens of the control API made from them. One key a line: the
// first is in use, further ones are taken, too, so that one can replace another without a stop. Refuses:
// short keys, to wait for a file that does not answer, and showing keys or their tokens: only their file and
// their names (hashes) are ever told.

import { hkdfSync, randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { TEMPORARY, USAGE } from '@skep/cli/exit-codes.ts'
import { SettledFile } from '@skep/cli/settled-file.ts'
import { KEY_LEAST, KEY_MOST, controlToken as tokenOf } from '@skep/wire/network-key.ts'
import { MAX_KEYS, pskOf } from '../replica/transport/psk.ts'
import { folderError } from './folder.ts'

/** The network key cannot be used; the message says what to do. */
export class NetworkKeyError extends Error {
  readonly exitCode: number
  /** `passes`: it may be well again by itself. */
  constructor(message: string, passes = false) {
    super(message)
    this.exitCode = passes ? TEMPORARY : USAGE
  }
}

/** The key file in force: the one that was named, or the one in the data folder. */
export const networkKeyPath = (dataDir: string, file: string | null): string =>
  file ?? join(dataDir, 'network.key')

/** What was read of a key file. */
export type KeyFile = {
  readonly path: string
  /** The one in use first; none where reading was told to stop. */
  readonly keys: readonly string[]
  /** Whose the file is, and who may read it. */
  readonly found: { readonly mode: number; readonly uid: number }
  /** Another one once somebody has touched the file. */
  readonly stamp: string
}

export type NetworkKey = KeyFile & { readonly made: boolean }

/**
 * Reads the network key. One is made (mode 0600) if the file of the data folder, which is there, is missing;
 * a file that was named must be there, so that a slip in its name does not split a cluster. Rejects:
 * NetworkKeyError, FolderError.
 */
export async function openNetworkKey(
  dataDir: string,
  file: string | null,
  signal: AbortSignal = NEVER,
): Promise<NetworkKey> {
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
  return { ...(await readNetworkKeys(path, signal)), made }
}

const NEVER = new AbortController().signal

/**
 * The keys in `path`, a line each, without surrounding white space, as they are now. Rejects:
 * NetworkKeyError.
 */
export async function readNetworkKeys(path: string, signal: AbortSignal = NEVER): Promise<KeyFile> {
  const read = await new SettledFile(path, KEY_FILE_BYTES).now(signal)
  if (read.kind === 'fault') throw new NetworkKeyError(`network key ${path}: ${read.fault}`, read.passes)
  if (read.kind !== 'text') return { path, keys: [], found: { mode: 0, uid: 0 }, stamp: '' }
  return { path, keys: keysOfText(read.text, path), found: read.found, stamp: read.stamp }
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

/** Between two looks at the file, milliseconds. */
const LOOK_MS = 250
/** More than all keys need. */
const KEY_FILE_BYTES = 64 * 1024

/** Keys that follow their file: looked at all the time, asked at no cost. */
export class WatchedKeys {
  private readonly path: string
  private readonly file: SettledFile
  private readonly stopping = new AbortController()
  private readonly followers = new Set<(keys: readonly string[]) => void>()
  private readonly timer: NodeJS.Timeout
  private running: Promise<void> = Promise.resolve()
  private waiting: Promise<void> | null = null
  private seen: string
  /** In force. */
  keys: readonly string[]
  /** Why the file, as it is now, cannot be used; '' when it can. The keys stay as they were. */
  fault = ''

  /**
   * From what was read at the start on. A mounted secret (symbolic links that are turned) counts within two
   * seconds. Half of a file would take away keys that are in use, and what they opened: one that is still
   * being written is not read.
   */
  constructor({ path, keys, stamp }: Pick<KeyFile, 'path' | 'keys' | 'stamp'>) {
    this.path = path
    this.keys = keys
    this.seen = stamp
    this.file = new SettledFile(path, KEY_FILE_BYTES)
    this.timer = setInterval(() => void this.look(), LOOK_MS)
    this.timer.unref()
  }

  /** Told of each change from now on. */
  follow(take: (keys: readonly string[]) => void): void {
    this.followers.add(take)
  }

  /** One look at a time; resolves when what is there now has been dealt with. */
  look(): Promise<void> {
    this.waiting ??= this.running.then(() => {
      this.waiting = null
      this.running = this.lookOnce()
      return this.running
    })
    return this.waiting
  }

  /** Waits for nothing: a file may never answer. */
  stop(): void {
    clearInterval(this.timer)
    this.stopping.abort()
  }

  private async lookOnce(): Promise<void> {
    const read = await this.file.text(this.stopping.signal, this.seen)
    if (read.kind === 'fault') {
      this.fault = `network key ${this.path}: ${read.fault}`
      this.seen = ''
    }
    if (read.kind !== 'text') return
    this.seen = read.stamp
    try {
      this.keys = keysOfText(read.text, this.path)
      this.fault = ''
      for (const take of this.followers) take(this.keys)
    } catch (error) {
      this.fault = (error as Error).message
    }
  }
}

/** What a key is called where it must be told apart from others: 12 bytes of a hash, hexadecimal. */
export const networkKeyName = (networkKey: string): string => pskOf(networkKey).identity.replace(/^skep-/, '')

/** The bearer token of the control API. */
export const controlToken = (networkKey: string): string => tokenOf(networkKey, hkdfSync)
