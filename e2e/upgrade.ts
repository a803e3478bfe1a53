// `npm run e2e:upgrade`: a cluster of an older version becomes one of this version, a replica at a time,
// while its users go on announcing, and goes back as far as it can. Refuses: to end without counts, or to
// leave a process, a host or a mount behind.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { buildNetwork, canNamespace, enterWorld, type Host, hubAddresses } from './network.ts'
import { olderTree, type Tree, versionOf } from './older-tree.ts'
import { type Row, roll } from './upgrade-steps.ts'

const HELP = `npm run e2e:upgrade -- [--from v0.1.0] [--seed N] [--rate 120] [--folder PATH] [--loopback] [--keep]

  --from NAME    a tag or a commit of this history; its tree is built beside this one, once
  --seed N       what the users say
  --rate N       requests a second, 20 to 1000
  --folder PATH  where data folders and logs are made
  --loopback     no hosts of their own, even where they could be had
  --keep         logs and the last answers also when all went well

With root every replica has a network and a disk of its own; without it, addresses of loopback.
Exit codes: 0 all well, 1 something lost, unanswered, wrong or stuck, 64 usage.`

/** Ended by a signal. */
const STOPPED = 130
/** One that joins and leaves, one that begins from a saved table. */
const SPARE = 2
const SOURCES = 4

type Settings = {
  readonly from: string
  readonly seed: number
  readonly rate: number
  readonly folder: string
  readonly keep: boolean
  /** Run again by itself, with hosts of their own: the older tree's folder. */
  readonly tree: string | undefined
}

const say = (line: string): void => void process.stdout.write(`${line}\n`)

function read(): Settings | number {
  try {
    const { values } = parseArgs({
      options: {
        ...{ from: { type: 'string', default: 'v0.1.0' }, seed: { type: 'string' } },
        ...{ rate: { type: 'string', default: '120' }, folder: { type: 'string', default: tmpdir() } },
        ...{ loopback: { type: 'boolean' }, tree: { type: 'string' }, inside: { type: 'string' } },
        help: { type: 'boolean' },
        keep: { type: 'boolean', default: false },
      },
    })
    if (values.help === true) {
      say(HELP)
      return 0
    }
    const rate = Number(values.rate)
    if (!(rate >= 20 && rate <= 1000)) throw new Error('--rate: a number from 20 to 1000')
    const seed = Number(values.seed ?? Date.now() % 1_000_000)
    if (!Number.isInteger(seed) || seed < 0) throw new Error('--seed: a whole number')
    const folder = values.inside ?? mkdtempSync(join(values.folder, 'skep-upgrade-'))
    return { from: values.from, seed, rate, folder, keep: values.keep, tree: values.tree }
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${HELP}\n`)
    return 64
  }
}

async function run(settings: Settings, older: Tree, alone: boolean): Promise<number> {
  const names = Array.from({ length: 3 + SPARE }, (_, i) => `host ${i}`)
  const onLoopback = (name: string, i: number): Host => ({
    ...{ name, address4: `127.0.88.${i + 1}`, address6: '::1', enter: [] },
  })
  const hosts = alone ? names.map(onLoopback) : await buildNetwork(names)
  const sources = alone
    ? Array.from({ length: SOURCES }, (_, i) => `127.0.88.${200 + i}`)
    : hubAddresses(SOURCES)
  const { from, seed, rate, folder, keep } = settings
  say(`seed ${seed}`)
  const { rows, faults, notes } = await roll({
    older,
    from,
    seed,
    rate,
    folder,
    hosts,
    sources,
    alone,
    keep,
    say,
  })
  say(`\n${table(rows)}\n`)
  for (const note of notes) say(note)
  for (const fault of faults) say(`FAILED  ${fault}`)
  if (faults.length > 0) {
    say(`logs and the last answers: ${folder}`)
    say(`again: npm run e2e:upgrade -- --from ${from} --seed ${seed} --rate ${rate}`)
  } else if (keep) say(`kept: ${folder}`)
  else rmSync(folder, { recursive: true, force: true })
  say(`upgrade: ${rows.length} steps passed, ${faults.length > 0 ? 1 : 0} failed`)
  return faults.length > 0 ? 1 : 0
}

function table(rows: readonly Row[]): string {
  const head = ['step', 'seconds', 'silence ms', 'slowest ms', 'answers', 'unanswered']
  const cells = rows.map((row) => [
    ...[row.what, (row.tookMs / 1000).toFixed(1), row.silenceMs.toFixed(0), row.worstMs.toFixed(0)],
    ...[String(row.answers), String(row.unanswered)],
  ])
  const widths = head.map((title, i) => Math.max(title.length, ...cells.map((cell) => cell[i]!.length)))
  const pad = (cell: string, i: number): string =>
    i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)
  return [head, ...cells].map((line) => line.map(pad).join('  ')).join('\n')
}

async function main(): Promise<number> {
  const settings = read()
  if (typeof settings === 'number') return settings
  const { tree, from, folder } = settings
  if (tree !== undefined) {
    const older = { root: tree, node: join(tree, 'node_modules/.bin/node'), version: versionOf(tree) }
    return run(settings, older, false)
  }
  // Before it has a network of its own: packages come from outside.
  const older = await olderTree(from, say).catch((error: Error) => {
    for (const line of error.message.split('\n')) say(`FAILED  ${line}`)
    say('upgrade: 0 steps passed, 1 failed')
    return undefined
  })
  if (older === undefined) return 1
  if (process.argv.includes('--loopback') || !canNamespace()) return run(settings, older, true)
  const inside = ['--inside', folder, '--tree', older.root]
  const code = await enterWorld(fileURLToPath(import.meta.url), [...process.argv.slice(2), ...inside])
  if (code === STOPPED) rmSync(folder, { recursive: true, force: true })
  return code
}

process.exit(await main())
