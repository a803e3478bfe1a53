// Watches a file of info_hashes and hands its content on when that changes: written in place, replaced by a
// rename, or through swapped symbolic links as Kubernetes does with ConfigMaps. Refuses: half-written and
// faulty files, whole.

import { type FSWatcher, watch } from 'node:fs'
import { open, readFile, realpath, writeFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { Logger } from '../log.ts'
import { type InfoHashes, readInfoHashes } from './info-hash-list.ts'

/** Largest file, bytes. */
const ACCESS_FILE_BYTES = 64 * 1024 * 1024
/** A file counts as written when two looks so far apart see the same, milliseconds. */
const SETTLE_MS = 100
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
  readonly log: Logger
}

export type AccessFile = {
  /** Looks now; resolves when what is there has been dealt with. For tests and signals. */
  look(): Promise<void>
  stop(): Promise<void>
}

export async function watchAccessFile(options: AccessFileOptions): Promise<AccessFile> {
  const { path, log } = options
  const [scope, digest = ''] = (await readFile(options.memory, 'utf8').catch(() => '')).trim().split(' ')
  let committed = scope === options.scope ? digest : ''
  let told = ''
  let stopped = false
  const watchers = new Map<string, FSWatcher>()
  let wake = (): void => {}
  const stopping = new AbortController()

  /** Tells a fault once, not at each look. */
  const tell = (fault: string): void => {
    if (fault !== told && fault !== '')
      log.warn({ file: path }, `${options.option}: ${fault}; the list stays as it is`)
    told = fault
  }

  const lookOnce = async (): Promise<void> => {
    await watchFolders()
    const text = await settledText(path, stopping.signal)
    if (typeof text !== 'string') return text === null ? undefined : tell(text.fault)
    const read = readInfoHashes(text)
    if (!read.ok) return tell(read.faults.join('; '))
    tell('')
    const { hashes } = read
    if (hashes.digest === committed) return
    await options.commit(hashes)
    committed = hashes.digest
    await writeFile(options.memory, `${options.scope} ${committed}\n`)
    log.info({ file: path, entries: hashes.count }, `${options.option}: list in force`)
  }

  /** The folder of the name and the folder of what it points to; a swapped link changes the second. */
  const watchFolders = async (): Promise<void> => {
    const folders = new Set([
      dirname(resolve(path)),
      dirname(await realpath(path).catch(() => resolve(path))),
    ])
    for (const [folder, watcher] of watchers)
      if (!folders.has(folder)) {
        watcher.close()
        watchers.delete(folder)
      }
    for (const folder of folders) {
      if (watchers.has(folder) || stopped) continue
      try {
        const watcher = watch(folder, { persistent: false }, () => wake())
        watcher.on('error', () => {
          watcher.close()
          watchers.delete(folder)
        })
        watchers.set(folder, watcher)
      } catch {
        // The folder is not there yet: the next look finds it.
      }
    }
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
            log.warn(
              { file: path },
              `${options.option}: ${error instanceof Error ? error.message : String(error)}; tried again`,
            )
            void wait(RETRY_MS, undefined, { ref: false, signal: stopping.signal }).then(look, () => {})
          })
      return running
    })
    return waiting
  }
  wake = () => void look()
  const timer = setInterval(wake, LOOK_AGAIN_MS)
  timer.unref()
  await look()
  return {
    look,
    async stop() {
      stopped = true
      stopping.abort()
      clearInterval(timer)
      for (const watcher of watchers.values()) watcher.close()
      await running
    },
  }
}

/** The file's text once two looks agree; null when stopped meanwhile. */
async function settledText(path: string, signal: AbortSignal): Promise<string | null | { fault: string }> {
  try {
    let before = await boundedText(path)
    for (;;) {
      await wait(SETTLE_MS, undefined, { signal })
      const now = await boundedText(path)
      if (now === before) return now
      before = now
    }
  } catch (error) {
    if (signal.aborted) return null
    const { code } = error as NodeJS.ErrnoException
    return {
      fault:
        code === 'ENOENT' ? 'the file is not there' : error instanceof Error ? error.message : String(error),
    }
  }
}

async function boundedText(path: string): Promise<string> {
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    if (size > ACCESS_FILE_BYTES)
      throw new Error(`the file has ${size} bytes, at most ${ACCESS_FILE_BYTES} are read`)
    return await file.readFile('utf8')
  } finally {
    await file.close()
  }
}
