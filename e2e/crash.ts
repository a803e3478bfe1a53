// `npm run crash`: a real process on a real disk is killed at random moments under load, its files are
// damaged, its disk fills up, its threads die; nothing that was answered may be lost, and nothing may live on
// half. Refuses: to end without counts, or to leave a process, a folder or a mount behind.

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Random } from '@skep/testing/random.ts'
import { damageRuns } from './crash-damage.ts'
import { canMount, fullDisk, unmount } from './crash-disk.ts'
import { crashRounds, type Place, SOURCE } from './crash-rounds.ts'
import { threadRuns } from './crash-threads.ts'
import { freePorts } from './processes.ts'
import { Witness } from './witness.ts'

const HELP = `npm run crash -- [--rounds 200] [--damage 60] [--seed N] [--folder PATH] [--only kill,damage,disk,threads]

  --rounds N     kill -9 at a random moment under load, so many times
  --damage N     flipped bytes, each on a copy of the data folder (a quarter more with cut and torn tails each)
  --seed N       random moments, bytes and swarms follow from it (the times of a real machine do not)
  --folder PATH  where the data folders are made: a real disk
  --only LIST    some of: kill, damage, disk, threads

Exit codes: 0 nothing lost, 1 something lost or wrong, 64 usage.`

const TORRENTS = 4000
const PARTS = ['kill', 'damage', 'disk', 'threads'] as const

type Part = (typeof PARTS)[number]
type Settings = { rounds: number; damage: number; seed: number; folder: string; parts: ReadonlySet<Part> }

function read(): Settings | number {
  try {
    const { values } = parseArgs({
      options: {
        rounds: { type: 'string', default: '200' },
        damage: { type: 'string', default: '60' },
        seed: { type: 'string', default: String(Date.now() % 1_000_000) },
        folder: { type: 'string', default: tmpdir() },
        only: { type: 'string', default: PARTS.join(',') },
        help: { type: 'boolean' },
      },
    })
    if (values.help === true) {
      process.stdout.write(`${HELP}\n`)
      return 0
    }
    const whole = (name: 'rounds' | 'damage' | 'seed'): number => {
      const value = Number(values[name])
      if (!Number.isInteger(value) || value < 0 || value > 1_000_000)
        throw new Error(`--${name}: a whole number`)
      return value
    }
    const parts = new Set(values.only.split(',') as Part[])
    for (const part of parts) if (!PARTS.includes(part)) throw new Error(`--only: no such part: ${part}`)
    return {
      rounds: whole('rounds'),
      damage: whole('damage'),
      seed: whole('seed'),
      folder: values.folder,
      parts,
    }
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${HELP}\n`)
    return 64
  }
}

const say = (line: string): void => void process.stdout.write(`${line}\n`)
const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN

/** Kills, then damage to what they left. */
async function killAndDamage(place: Place, settings: Settings): Promise<number> {
  const random = new Random(settings.seed)
  const witness = new Witness(TORRENTS, settings.seed, SOURCE)
  const rounds = settings.parts.has('kill') ? settings.rounds : 3
  const killed = await crashRounds(place, witness, random, rounds, say)
  say(
    `kill -9: ${killed.rounds} of ${rounds} rounds, ${killed.answeredJoins} answered joins, ${killed.faults.length} lost or wrong, ` +
      `${killed.cutOff} cut off unanswered, restart median ${median(killed.restartMs).toFixed(0)} ms`,
  )
  if (killed.failed !== undefined) {
    say(`FAILED  ${killed.failed}`)
    return 1
  }
  if (!settings.parts.has('damage')) return 0
  const damaged = await damageRuns(place, witness, random, settings.damage, say)
  for (const [kind, { refused, whole }] of Object.entries(damaged.byKind))
    say(
      `damage, ${kind}: ${refused + whole} judged: ${refused} refused with a reason, ${whole} served with nothing lost`,
    )
  for (const fault of damaged.faults) say(`FAILED  ${fault}`)
  return damaged.faults.length
}

async function attempt(what: string, run: () => Promise<string[]>): Promise<number> {
  try {
    for (const line of await run()) say(`${what}: ${line}`)
    return 0
  } catch (error) {
    say(`FAILED  ${what}: ${(error as Error).message}`)
    return 1
  }
}

async function main(): Promise<number> {
  const settings = read()
  if (typeof settings === 'number') return settings
  const folder = mkdtempSync(join(settings.folder, 'skep-crash-'))
  const [udpPort, httpPort] = await freePorts(2)
  const place: Place = { folder, dataDir: join(folder, 'data'), udpPort: udpPort!, httpPort: httpPort! }
  const mounted = join(folder, 'small-disk')
  let failed = 0
  say(`seed ${settings.seed}`)
  try {
    if (settings.parts.has('kill') || settings.parts.has('damage'))
      failed += await killAndDamage(place, settings)
    if (settings.parts.has('disk')) {
      if (canMount(mounted)) {
        mkdirSync(join(mounted, 'data'))
        failed += await attempt('full disk', () =>
          fullDisk({ ...place, dataDir: join(mounted, 'data') }, mounted),
        )
      } else say('not run: full disk (needs root, to mount a small one)')
    }
    if (settings.parts.has('threads')) failed += await attempt('thread', () => threadRuns(place))
  } finally {
    unmount(mounted)
    rmSync(folder, { recursive: true, force: true })
  }
  if (failed > 0)
    say(
      `again: npm run crash -- --rounds ${settings.rounds} --damage ${settings.damage} --seed ${settings.seed}`,
    )
  say(`crash: ${failed === 0 ? 'nothing lost' : `${failed} failed`}`)
  return failed === 0 ? 0 : 1
}

process.exit(await main())
