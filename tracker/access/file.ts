// Watches a file of info_hashes and hands its content on when that changes: written in place, replaced by a
// rename, or through swapped symbolic links as Kubernetes does with ConfigMaps. Refuses: half-written and
// faulty files, whole.

import { type FSWatcher, watch } from 'node:fs'
import { readFile, realpath, writeFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { SettledFile } from '@skep/cli/settled-file.ts'
import { counted } from '@skep/wire/words.ts'
import type { Logger } from '../log.ts'
import { type InfoHashes, type ReadList, readInfoHashes } from './info-hash-list.ts'

/** Looked at even without an event (some file systems have none), milliseconds. */
const LOOK_AGAIN_MS = 10_000
/** After a change that could not be committed, milliseconds. */
const RETRY_MS = 2000

export type AccessFileOptions = {
  readonly path: string
  /** For messages: `--deny-list`. */
  readonly option: string
  /**
   * Remembers the digest that was committed last, so that a restart does not undo what was changed since by
   * other means.
   */
  readonly memory: string
  /** What `memory` is good for: the cluster's ID. */
  readonly scope: string
  /** Commits the list; rejects when that was not possible now (tried again). */
  readonly commit: (hashes: InfoHashes) => Promise<void>
  /** Entries of the list in force. */
  readonly entries: () => number
  readonly log: Logger
}

export type AccessFile = {
  /** Looks now; resolves when what is there has been dealt with. For tests and signals. */
  look(): Promise<void>
  /** Why the file, as it is now, is not in force; '' where it is. */
  fault(): string
  /** Waits for nothing: a file may never answer. */
  stop(): void
}

export async function watchAccessFile(options: AccessFileOptions): Promise<AccessFile> {
  const { path, log } = options
  const file = new SettledFile(path)
  let committed = await committedDigest(options)
  let told = ''
  let stopped = false
  const folders = watchFolders(path, () => void look())
  const stopping = new AbortController()

  /** Tells a fault once, not at each look. */
  const tell = (fault: string): void => {
    if (fault !== told && fault !== '')
      log.warn({ file: path }, `${options.option} ${path}: ${fault}; the list stays as it is`)
    told = fault
  }

  const lookOnce = async (): Promise<void> => {
    const found = await file.text(stopping.signal)
    if (found.kind === 'stopped' || found.kind === 'same') return
    if (found.kind === 'fault') {
      if (!found.passes) await folders.follow()
      return tell(found.fault)
    }
    await folders.follow()
    const read = listOf(found.text, options.entries())
    if (!read.ok) return tell(read.faults.join('; '))
    tell('')
    const { hashes } = read
    if (hashes.digest === committed) return
    await options.commit(hashes)
    committed = hashes.digest
    await remember(options, committed)
    log.info({ file: path, entries: hashes.count }, `${options.option}: list in force`)
  }

  // One look at a time; whoever asks during one gets the next one.
  let running: Promise<void> = Promise.resolve()
  let waiting: Promise<void> | null = null
  const look = (): Promise<void> => {
    waiting ??= running.then(() => {
      waiting = null
      running = stopped
        ? Promise.resolve()
        : lookOnce().catch((error: unknown) => {
            if (stopped) return
            told = `${error instanceof Error ? error.message : String(error)}; tried again`
            log.warn({ file: path }, `${options.option} ${path}: ${told}`)
            void wait(RETRY_MS, undefined, { ref: false, signal: stopping.signal }).then(look, () => {})
          })
      return running
    })
    return waiting
  }
  const timer = setInterval(() => void look(), LOOK_AGAIN_MS)
  timer.unref()
  void look()
  return {
    look,
    fault: () => (told === '' ? '' : `${options.option} ${path}: ${told}`),
    stop() {
      stopped = true
      stopping.abort()
      clearInterval(timer)
      folders.close()
    },
  }
}

/** The folder of the name and the folder of what it points to; a swapped link changes the second. */
function watchFolders(path: string, wake: () => void): { follow(): Promise<void>; close(): void } {
  const watchers = new Map<string, FSWatcher>()
  let closed = false
  const leave = (folder: string): void => {
    watchers.get(folder)?.close()
    watchers.delete(folder)
  }
  return {
    async follow() {
      const target = dirname(await realpath(path).catch(() => resolve(path)))
      const folders = new Set([dirname(resolve(path)), target])
      for (const folder of watchers.keys()) if (!folders.has(folder)) leave(folder)
      for (const folder of folders) {
        if (watchers.has(folder) || closed) continue
        try {
          const watcher = watch(folder, { persistent: false }, wake)
          watchers.set(folder, watcher)
          watcher.on('error', () => leave(folder))
        } catch {
          // The folder is not there yet: the next look finds it.
        }
      }
    },
    close() {
      closed = true
      for (const folder of watchers.keys()) leave(folder)
    },
  }
}

/** What `memory` says was committed last of this file; '' for another cluster. */
export async function committedDigest({ memory, scope }: Memory): Promise<string> {
  const [of, digest = ''] = (await readFile(memory, 'utf8').catch(() => '')).trim().split(' ')
  return of === scope ? digest : ''
}

export const remember = ({ memory, scope }: Memory, digest: string): Promise<void> =>
  writeFile(memory, `${scope} ${digest}\n`)

type Memory = Pick<AccessFileOptions, 'memory' | 'scope'>

/** A list from its text, where `entries` are in force now. */
export function listOf(text: string, entries: number): ReadList {
  if (text !== '' || entries === 0) return readInfoHashes(text)
  // Emptied in order to be written, or a disk that is full: nobody means that.
  const why = `the file is empty, the list in force has ${counted(entries, 'entry', 'entries')}; a line with # alone empties it`
  return { ok: false, faults: [why] }
}
