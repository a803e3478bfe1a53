// Damage to the files of a stopped tracker: flipped bytes, cut tails, rubbish after the end. Each copy is
// started; it must refuse with a reason, or have every answered join. Refuses: the original data folder;
// copies only.

import {
  appendFileSync,
  closeSync,
  cpSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs'
import { join, relative } from 'node:path'
import { leaveTail, type Place, type Random, SOURCE, startAt } from './crash-rounds.ts'
import { logTail, until } from './processes.ts'
import { TrackerEnded, trackerReady } from './tracker-process.ts'
import { openUdpClient } from './udp-client.ts'
import type { Witness } from './witness.ts'

/** sysexits.h EX_IOERR: the log is damaged or cannot be read. */
const IO_ERROR = 'exit code 74'
/** A damaged start that neither serves nor refuses is a fault too. */
const DECIDE_MS = 30_000

export type DamageResult = {
  tried: number
  /** Would not serve, and said why. */
  refused: number
  /** Served with everything there. */
  whole: number
  faults: string[]
  byKind: Record<string, { refused: number; whole: number }>
}

type Damage = {
  readonly kind: string
  readonly file: string
  readonly what: string
  apply(path: string): void
}

/** Files that hold the log and its snapshots, not the store's own diary. */
function filesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/^(LOG|LOG\.old|LOCK|owner|.*\.key)$/.test(entry.name))
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .filter((file) => statSync(join(folder, file)).size > 0)
    .sort()
}

/** `count` different wounds, spread over all files, more of them in larger ones. */
function plan(folder: string, count: number, random: Random): Damage[] {
  const files = filesOf(folder)
  const newestLog = files.filter((file) => file.endsWith('.log')).at(-1)
  const list: Damage[] = []
  for (let i = 0; i < count; i++) {
    const file = files[i % files.length]!
    const size = statSync(join(folder, file)).size
    const at = random.below(size)
    const bit = 1 << random.below(8)
    list.push({
      kind: 'flipped byte',
      file,
      what: `bit ${bit} of byte ${at} of ${size}`,
      apply: (path) => flip(path, at, bit),
    })
  }
  if (newestLog === undefined) throw new Error(`no log file among ${files.join(', ')}`)
  const size = statSync(join(folder, newestLog)).size
  for (let i = 0; i < Math.ceil(count / 4); i++) {
    const cut = 1 + random.below(Math.min(size - 1, 1 << (4 + random.below(14))))
    list.push({
      kind: 'cut tail',
      file: newestLog,
      what: `last ${cut} of ${size} bytes`,
      apply: (path) => truncateSync(path, size - cut),
    })
    const rubbish = Buffer.from(Array.from({ length: 1 + random.below(64) }, () => random.below(256)))
    list.push({
      kind: 'torn unsynced tail',
      file: newestLog,
      what: `${rubbish.length} bytes after the end`,
      apply: (path) => appendFileSync(path, rubbish),
    })
  }
  return list
}

function flip(path: string, at: number, bit: number): void {
  const fd = openSync(path, 'r+')
  const byte = new Uint8Array(1)
  readSync(fd, byte, 0, 1, at)
  byte[0]! ^= bit
  writeSync(fd, byte, 0, 1, at)
  closeSync(fd)
}

/**
 * The tracker of `place` is stopped; it holds what `witness` knows, and is killed once more before its files
 * are wounded.
 */
export async function damageRuns(
  place: Place,
  witness: Witness,
  random: Random,
  count: number,
  say: (line: string) => void,
): Promise<DamageResult> {
  const result: DamageResult = { tried: 0, refused: 0, whole: 0, faults: [], byKind: {} }
  await leaveTail(place, witness, random)
  for (const damage of plan(place.dataDir, count, random)) {
    const dataDir = join(place.folder, 'damaged')
    rmSync(dataDir, { recursive: true, force: true })
    cpSync(place.dataDir, dataDir, { recursive: true, preserveTimestamps: true })
    damage.apply(join(dataDir, damage.file))
    const kind = (result.byKind[damage.kind] ??= { refused: 0, whole: 0 })
    const verdict = await judge({ ...place, dataDir }, witness)
    result.tried++
    if (verdict === 'refused' || verdict === 'whole') {
      result[verdict]++
      kind[verdict]++
      if (damage.kind === 'torn unsynced tail' && verdict === 'refused')
        result.faults.push(`refused a torn tail that was never synced: ${damage.file}, ${damage.what}`)
    } else result.faults.push(`${damage.kind} in ${damage.file}, ${damage.what}: ${verdict}`)
    if (result.tried % 10 === 0)
      say(`damage ${result.tried}: refused ${result.refused}, whole ${result.whole}`)
  }
  return result
}

async function judge(place: Place, witness: Witness): Promise<'refused' | 'whole' | string> {
  const tracker = startAt(place)
  try {
    await trackerReady(tracker)
    const client = await openUdpClient(SOURCE, SOURCE, place.udpPort)
    const faults = await witness.check(client)
    client.close()
    return faults.length === 0 ? 'whole' : `served with ${faults.length} faults: ${faults[0]!.what}`
  } catch (error) {
    if (!(error instanceof TrackerEnded)) return (error as Error).message
    await until('the tracker ends', DECIDE_MS, () => tracker.program.ended())
    const words = logTail(tracker.program.log, 3)
    if (tracker.program.ended() !== IO_ERROR) return `ended with ${tracker.program.ended()}: ${words}`
    return words.length > 0 ? 'refused' : 'refused without a reason'
  } finally {
    tracker.program.kill('SIGKILL')
    await tracker.program.stop()
  }
}
