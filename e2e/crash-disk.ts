// A disk that fills up under a running tracker: changes are refused with words, refreshes go on, and it
// heals. Refuses: a disk that matters; it mounts a small one in memory (root).

import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { EVENT_NONE } from '@skep/wire/udp-tracker.ts'
import { type Place, SOURCE, startAt } from './crash-rounds.ts'
import { until } from './processes.ts'
import { trackerReady } from './tracker-process.ts'
import { openUdpClient } from './udp-client.ts'
import { Witness } from './witness.ts'

const DISK_BYTES = 48 << 20
const TORRENTS = 50
const FILL_MS = 60_000
const HEAL_MS = 60_000
const ASK_MS = 3000

export const canMount = (folder: string): boolean => {
  if (process.getuid?.() !== 0) return false
  mkdirSync(folder, { recursive: true })
  return spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', folder]).status === 0
}

/** Lines of what was seen; throws where the promise is broken. The disk is already mounted on `mounted`. */
export async function fullDisk(place: Place, mounted: string): Promise<string[]> {
  const seen: string[] = []
  const tracker = startAt(place)
  const witness = new Witness(TORRENTS, 77, SOURCE)
  const ballast = join(mounted, 'ballast')
  try {
    await trackerReady(tracker)
    const client = await openUdpClient(SOURCE, SOURCE, place.udpPort)
    const joinOne = (): Promise<unknown> =>
      witness.join(client, Math.floor(witness.answeredJoins / 100) % TORRENTS, ASK_MS)
    for (let i = 0; i < 200; i++) await joinOne()
    seen.push(`${witness.answeredJoins} joins answered with room on the disk`)
    writeFileSync(ballast, Buffer.alloc(0))
    fill(ballast, mounted)
    const refusal = await until('a full disk refuses joins', FILL_MS, async () => {
      const answer = await joinOne()
      return typeof answer === 'string' ? answer : undefined
    })
    seen.push(`disk full: joins get the error answer "${refusal}"`)
    const refresh = await witness.announce(client, 0, [...witness.answered[0]!][0]!, EVENT_NONE, 10, ASK_MS)
    if (typeof refresh !== 'object') throw new Error(`a refresh on a full disk got ${refresh ?? 'nothing'}`)
    seen.push('refreshes are still answered')
    rmSync(ballast)
    await until('joins are answered again when space is back', HEAL_MS, async () =>
      typeof (await joinOne()) === 'object' ? true : undefined,
    )
    seen.push('space is back: joins are answered again')
    tracker.program.kill('SIGKILL')
    await tracker.program.stop()
    client.close()
    const afterwards = startAt(place)
    try {
      await trackerReady(afterwards)
      const second = await openUdpClient(SOURCE, SOURCE, place.udpPort)
      const faults = await witness.check(second)
      second.close()
      if (faults.length > 0) throw new Error(`after a kill -9: ${faults[0]!.what}`)
      seen.push(`after a kill -9 all ${witness.answeredJoins} answered joins are there`)
    } finally {
      await afterwards.program.stop()
    }
    return seen
  } finally {
    rmSync(ballast, { force: true })
    tracker.program.kill('SIGKILL')
    await tracker.program.stop()
  }
}

/** Writes until the file system has nothing left. */
function fill(path: string, mounted: string): void {
  for (let block = 1 << 20; block >= 4096; block >>= 1)
    for (;;) {
      const { bavail, bsize } = statfsSync(mounted)
      if (bavail * bsize < block) break
      try {
        writeFileSync(path, Buffer.alloc(block), { flag: 'a' })
      } catch {
        break
      }
    }
}

export const unmount = (folder: string): void => void spawnSync('umount', ['-l', folder])
