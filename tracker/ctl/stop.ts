// skep ctl: ending a replica so that no client notices, and taking it out of service before.
// Refuses: waiting for the process itself to be gone; whoever started it sees that.

import { UsageError } from '@skep/cli/command.ts'
import { parseMilliseconds } from '@skep/cli/values.ts'
import type { Asked, Call } from './asked.ts'

export const STOP_CALLS: readonly Call[] = [
  {
    name: 'drain',
    summary: 'Lead no more, be not ready, and answer on: before a stop.',
    options: [
      ['--for <duration>', 'Come back after this; default 5s.'],
      ['--undo', 'Take part like the others again.'],
    ],
    run: drain,
  },
  {
    name: 'stop',
    summary: 'Stop the replica cleanly.',
    options: [
      ['--drain', 'Before that, drain it.'],
      ['--for <duration>', 'With --drain: for so long; default 5s.'],
      ['--purge', 'Delete its log and snapshots afterwards.'],
    ],
    run: stop,
  },
]

/** How long requests are still answered where nothing else is said. */
const FOR = '5s'

/** `drain --for 5s`: hands leadership over, is not ready, answers for so long; then it may be ended. */
async function drain(asked: Asked): Promise<undefined> {
  const { client, json, options, print } = asked
  const undo = options.undo === true
  const { message } = await client.drain({ forMs: undo ? 0 : durationOf(options.for ?? FOR), undo })
  print(json ? JSON.stringify({ message }) : message)
}

/** `stop`, `stop --drain`, `stop --purge`. */
async function stop(asked: Asked): Promise<undefined> {
  const { client, json, options, print } = asked
  if (options.drain !== true && options.for !== undefined) throw new UsageError('--for goes with --drain')
  if (options.drain === true) {
    const { message } = await client.drain({ forMs: durationOf(options.for ?? FOR) })
    if (!json) print(message)
  }
  await client.stop({ purge: options.purge === true })
  print(json ? '{}' : 'the replica stops')
}

function durationOf(given: unknown): number {
  const ms = parseMilliseconds(String(given))
  if (ms === null || !Number.isInteger(ms) || ms > 600_000)
    throw new UsageError(`--for ${given}: a duration such as 500ms or 10s, at most 10m`)
  return ms
}
