// What every program of this project does before anything else, imported first: no signal opens a debugger, a
// reader of its output that goes away is no crash, and what it writes is for its own user. Refuses: nothing.

import inspector from 'node:inspector'
import { FAILURE, OK } from './exit-codes.ts'

/** New files and folders are for the user that this process runs as. */
const UMASK = 0o077
/** What is written may still be read for so long after the end, milliseconds. */
const LAST_WORDS_MS = 1000

let outlives = false

/** From now on this process goes on when nobody reads its output any more: it serves others. */
export function outliveReaders(): void {
  outlives = true
}

/** Resolves once what was written has been taken; whoever serves others does not wait long for that. */
export async function lastWords(): Promise<void> {
  const taken = [process.stdout, process.stderr].map(
    (stream) => new Promise<void>((resolve) => stream.write('', () => resolve())),
  )
  const late = new Promise<void>((resolve) => outlives && setTimeout(resolve, LAST_WORDS_MS))
  await Promise.race([Promise.all(taken), late])
}

process.umask(UMASK)

// Node opens its inspector on SIGUSR1 for whoever may send it. A listener takes the signal's place.
process.on('SIGUSR1', () => {})
const wanted = [...process.execArgv, process.env.NODE_OPTIONS ?? ''].some((word) =>
  word.includes('--inspect'),
)
// One that came before this line has opened it already.
if (!wanted && inspector.url() !== undefined) inspector.close()

// Without a listener the error would end the process. A command whose reader has enough (`| head -1`) is
// done.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', ({ code }: NodeJS.ErrnoException) => {
    if (!outlives) process.exit(code === 'EPIPE' ? OK : FAILURE)
  })
