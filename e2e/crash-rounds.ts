// kill -9 at a random moment under a load of joins, start again, and look for every answered join; many times
// over. Refuses: to trust a counter of the tracker; the swarms themselves are asked.

import { join } from 'node:path'
import { logTail } from './processes.ts'
import { startTracker, type Tracker, trackerReady } from './tracker-process.ts'
import { openUdpClient, type UdpClient } from './udp-client.ts'
import type { Fault, Witness } from './witness.ts'

export const SOURCE = '127.0.0.1'
/** Joins that wait at once: as a busy tracker has them. */
const ABREAST = 64
const JOIN_MS = 2000
/** The kill comes after so many joins: at some 10,000 a second, within half a second. */
const LOAD_LEAST = 100
const LOAD_MOST = 5000

export type Place = {
  readonly folder: string
  readonly dataDir: string
  readonly udpPort: number
  readonly httpPort: number
  readonly more?: readonly string[]
}

/** Starts the tracker as the crash runs need it: whole swarms in one answer, nobody expires. */
export const startAt = (place: Place): Tracker =>
  startTracker({
    dataDir: place.dataDir,
    log: join(place.folder, 'tracker.log'),
    udpPort: place.udpPort,
    httpPort: place.httpPort,
    hosts: [SOURCE],
    more: [
      ...[
        '--allow-private',
        'on',
        '--udp-answer-bytes',
        '1472B',
        '--udp-workers',
        '1',
        '--log-level',
        'info',
      ],
      // A small log, so that snapshots and compaction happen within the run. Memory for every join of it: at
      // capacity joins are answered but not stored, which is no loss.
      ...['--snapshot-log-size', '1MiB', '--memory', '512MiB', ...(place.more ?? [])],
    ],
  })

export type RoundsResult = {
  rounds: number
  answeredJoins: number
  /** Joins that were under way when the process died: they may be there or not. */
  cutOff: number
  faults: Fault[]
  restartMs: number[]
  failed: string | undefined
}

export type Random = { below(n: number): number }

export async function crashRounds(
  place: Place,
  witness: Witness,
  random: Random,
  rounds: number,
  say: (line: string) => void,
): Promise<RoundsResult> {
  const result: RoundsResult = {
    rounds: 0,
    answeredJoins: 0,
    cutOff: 0,
    faults: [],
    restartMs: [],
    failed: undefined,
  }
  let tracker: Tracker | undefined
  let client: UdpClient | undefined
  try {
    for (let round = 0; round <= rounds; round++) {
      const begin = performance.now()
      tracker = startAt(place)
      await trackerReady(tracker)
      result.restartMs.push(performance.now() - begin)
      client = await openUdpClient(SOURCE, SOURCE, place.udpPort)
      const faults = await witness.check(client)
      result.faults.push(...faults)
      if (faults.length > 0) {
        result.failed = `after ${round} kills: ${faults
          .slice(0, 3)
          .map((fault) => fault.what)
          .join('; ')}`
        return result
      }
      // The last start only checks.
      if (round < rounds) result.cutOff += await killUnderLoad(tracker, client, witness, random)
      client.close()
      result.rounds = round
      result.answeredJoins = witness.answeredJoins
      if (round % 10 === 0)
        say(`round ${round} of ${rounds}: ${witness.answeredJoins} answered joins, lost 0`)
    }
  } catch (error) {
    result.failed = `round ${result.rounds + 1}: ${(error as Error).message}\n${logTail(join(place.folder, 'tracker.log'))}`
  } finally {
    tracker?.program.kill('SIGKILL')
    await tracker?.program.stop()
  }
  return result
}

/** One more start and kill, so that the newest log file ends in changes that were answered a moment ago. */
export async function leaveTail(place: Place, witness: Witness, random: Random): Promise<void> {
  const tracker = startAt(place)
  try {
    await trackerReady(tracker)
    const client = await openUdpClient(SOURCE, SOURCE, place.udpPort)
    await killUnderLoad(tracker, client, witness, random)
    client.close()
  } finally {
    tracker.program.kill('SIGKILL')
    await tracker.program.stop()
  }
}

/** A torrent that takes one more, or undefined when all are full. */
function roomIn(witness: Witness, random: Random): number | undefined {
  const from = random.below(witness.torrents)
  for (let i = 0; i < witness.torrents; i++) {
    const torrent = (from + i) % witness.torrents
    if (!witness.isFull(torrent)) return torrent
  }
  return undefined
}

/** Joins from many, until the process is gone in the middle of it. */
async function killUnderLoad(
  tracker: Tracker,
  client: UdpClient,
  witness: Witness,
  random: Random,
): Promise<number> {
  let going = true
  let cutOff = 0
  let left = LOAD_LEAST + random.below(LOAD_MOST - LOAD_LEAST)
  const enough = Promise.withResolvers<void>()
  const joining = async (): Promise<void> => {
    while (going) {
      const torrent = roomIn(witness, random)
      if (torrent === undefined) return
      const answer = await Promise.race([witness.join(client, torrent, JOIN_MS), dead])
      if (answer === undefined) cutOff++
      if (--left === 0) enough.resolve()
    }
  }
  let died = (): void => {}
  const dead = new Promise<undefined>((done) => {
    died = () => done(undefined)
  })
  const load = Promise.all(Array.from({ length: ABREAST }, joining))
  await Promise.race([enough.promise, load])
  tracker.program.kill('SIGKILL')
  // Answers that left before the kill still come out of the socket: they count.
  await tracker.program.stop()
  await client.drained()
  going = false
  died()
  await load
  return cutOff
}
