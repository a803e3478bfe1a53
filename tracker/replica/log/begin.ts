// What a replica begins with: the log of a new cluster, and the end of a log for the core's memory.
// Refuses: to know who the members are to be; membership/birth.ts decides that.

import type { Entry } from '@skep/raft'
import type { LogStore } from './log.ts'

/**
 * The first members of a cluster, as the log's own beginning: entry 1 of term 1 is this fact. Safe to repeat.
 */
export const begin = async (
  log: Pick<LogStore, 'snapshot' | 'createSnapshot' | 'append'>,
  voters: readonly number[],
  learners: readonly number[] = [],
): Promise<void> => {
  if (log.snapshot !== null) return
  const confState = { voters, learners, votersOutgoing: [], learnersNext: [], autoLeave: false }
  const writer = await log.createSnapshot({ index: 1, term: 1, confState }, false)
  const snapshot = await writer.commit()
  await log.append({ hardState: { term: 1, vote: 0, commit: 1 }, entries: [], snapshot, sync: true })
}

/** The newest entries of a log, oldest first, as many as fit `mostBytes` (and one more). */
export const newestEntries = (log: LogStore, mostBytes: number): Entry[] => {
  const out: Entry[] = []
  let bytes = 0
  for (let index = log.lastIndex; index >= log.firstIndex && bytes < mostBytes; index--) {
    const entry = log.readEntries(index, index + 1, 0)![0]!
    bytes += entry.data.byteLength
    out.push(entry)
  }
  return out.reverse()
}
