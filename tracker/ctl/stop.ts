// skep ctl: ending a replica so that no client notices, and taking it out of service before.
// Refuses: waiting for the process itself to be gone; whoever started it sees that.

import { UsageError } from '../config/flags.ts'
import { parseMilliseconds } from '../config/values.ts'
import type { Asked } from '../ctl.ts'

/** How long requests are still answered where nothing else is said. */
const FOR = '5s'

/** `drain --for 5s`: hands leadership over, is not ready, answers for so long; then it may be ended. */
export async function drain(asked: Asked): Promise<undefined> {
  const { client, json, options, print } = asked
  const undo = options.undo === true
  const { message } = await client.drain({ forMs: undo ? 0 : durationOf(options.for ?? FOR), undo })
  print(json ? JSON.stringify({ message }) : message)
}

/** `stop`, `stop --drain`, `stop --purge`. */
export async function stop(asked: Asked): Promise<undefined> {
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
