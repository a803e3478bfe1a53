// `npm run e2e:cluster`: clusters of real processes, disturbed in every way a seed draws, while clients keep
// account of every answer; nothing that was acknowledged may be lost, and nobody may answer who might be
// wrong. Refuses: to end without counts, or to leave a process, a host or a mount behind.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { KINDS } from './cluster-faults.ts'
import { type LifeResult, live } from './cluster-life.ts'
import { buildNetwork, canNamespace, enterWorld, type Host, hubAddresses } from './network.ts'

const HELP = `npm run e2e:cluster -- [--minutes 3] [--replicas 3|5] [--seed N] [--rounds N] [--rate 150] [--only LIST]

  --minutes N    how long, over all clusters (0.5 to 50)
  --replicas N   clusters of 3 or of 5 only; without it they take turns
  --seed N       faults and requests follow from it (the times of a real machine do not); the next cluster has the next
  --rounds N     so many rounds of faults in one cluster, whatever --minutes says
  --rate N       requests a second to each replica, 20 to 1000
  --only LIST    some of: ${Object.keys(KINDS).join(', ')}
  --keepalive N  milliseconds between keepalives, 100 to 5000 (default 1000)
  --folder PATH  where data folders and logs are made
  --loopback     no hosts of their own, even where they could be had
  --keep         logs and the last answers also of clusters that did well
  --json FILE    the figures

With root every replica has a network and a disk of its own. Without: addresses of loopback, cuts by the replicas' own
faults, no full disks.
Exit codes: 0 all well, 1 something lost, wrong or stuck, 64 usage.`

/** Ended by a signal. */
const STOPPED = 130
/** Replicas besides the first ones: newcomers. */
const SPARE = 2
const SOURCES = 4
/** Rounds of one cluster; then another one is born. */
const ROUNDS_A_LIFE = 12
const LIFE_MS = 4 * 60_000

type Settings = {
  minutes: number
  replicas: number | undefined
  seed: number
  rounds: number | undefined
  rate: number
  keepaliveMs: number
  only: string[]
  folder: string
  json: string | undefined
  hosts: boolean
  keep: boolean
}

function read(): Settings | number {
  const all = Object.keys(KINDS)
  try {
    const { values } = parseArgs({
      options: {
        ...{ minutes: { type: 'string', default: '3' }, replicas: { type: 'string' } },
        ...{ seed: { type: 'string', default: String(Date.now() % 1_000_000) }, rounds: { type: 'string' } },
        ...{ rate: { type: 'string', default: '150' }, only: { type: 'string', default: all.join(',') } },
        ...{ keepalive: { type: 'string', default: '1000' }, folder: { type: 'string', default: tmpdir() } },
        ...{ loopback: { type: 'boolean' }, json: { type: 'string' }, inside: { type: 'string' } },
        help: { type: 'boolean' },
        keep: { type: 'boolean' },
      },
    })
    if (values.help === true) {
      process.stdout.write(`${HELP}\n`)
      return 0
    }
    const number = (name: string, text: string, least: number, most: number): number => {
      const value = Number(text)
      if (!(value >= least && value <= most)) throw new Error(`--${name}: a number from ${least} to ${most}`)
      return value
    }
    const only = values.only.split(',')
    for (const name of only) if (!all.includes(name)) throw new Error(`--only: no such fault: ${name}`)
    if (values.replicas !== undefined && !['3', '5'].includes(values.replicas))
      throw new Error('--replicas: 3 or 5')
    const rounds = values.rounds
    return {
      minutes: number('minutes', values.minutes, 0.5, 50),
      replicas: values.replicas === undefined ? undefined : Number(values.replicas),
      seed: Math.floor(number('seed', values.seed, 0, 2 ** 32 - 1)),
      rounds: rounds === undefined ? undefined : Math.floor(number('rounds', rounds, 1, 1000)),
      rate: number('rate', values.rate, 20, 1000),
      keepaliveMs: number('keepalive', values.keepalive, 100, 5000),
      ...{
        only,
        folder: values.inside ?? mkdtempSync(join(values.folder, 'skep-cluster-')),
        json: values.json,
        hosts: values.inside !== undefined,
      },
      keep: values.keep === true,
    }
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${HELP}\n`)
    return 64
  }
}

const say = (line: string): void => void process.stdout.write(`${line}\n`)

type Life = LifeResult & { readonly seed: number; readonly replicas: number }

async function run(settings: Settings): Promise<number> {
  const most = (settings.replicas ?? 5) + SPARE
  const names = Array.from({ length: most }, (_, i) => `host ${i}`)
  const hosts = settings.hosts ? await buildNetwork(names) : names.map(onLoopback)
  const sources = settings.hosts
    ? hubAddresses(SOURCES)
    : Array.from({ length: SOURCES }, (_, i) => `127.0.87.${200 + i}`)
  if (!settings.hosts)
    say('not run: cuts by the network, full disks (they need root, for hosts of their own)')
  const { folder } = settings
  const end = performance.now() + settings.minutes * 60_000
  const lives: Life[] = []
  for (let i = 0; i === 0 || (settings.rounds === undefined && performance.now() < end - 20_000); i++) {
    const replicas = settings.replicas ?? (i % 2 === 0 ? 3 : 5)
    const seed = settings.seed + i
    say(`${replicas} replicas, seed ${seed}`)
    const left = end - performance.now()
    const mine = settings.replicas === undefined && settings.rounds === undefined && i === 0 ? left / 2 : left
    const life = await live({
      ...{ seed, replicas, say, sources, rate: settings.rate, only: settings.only },
      rounds: settings.rounds ?? ROUNDS_A_LIFE,
      untilMs: settings.rounds === undefined ? performance.now() + Math.min(LIFE_MS, mine) : Infinity,
      ...{
        keepaliveMs: settings.keepaliveMs,
        folder: join(folder, `cluster-${i}`),
        keep: settings.keep,
        alone: !settings.hosts,
      },
      hosts: hosts.slice(0, replicas + SPARE),
    })
    lives.push({ ...life, seed, replicas })
    tell(life, seed, replicas, settings, join(folder, `cluster-${i}`))
  }
  return sum(lives, settings, folder)
}

function tell(life: LifeResult, seed: number, replicas: number, settings: Settings, folder: string): void {
  const errors = Object.entries(life.errors).map(([text, count]) => `${count} times "${text}"`)
  say(
    `  ${life.answers} answers checked, ${life.acknowledged} announces acknowledged${errors.length > 0 ? `; error answers: ${errors.join(', ')}` : ''}`,
  )
  if (life.faults.length === 0) {
    if (settings.keep) say(`  kept: ${folder}`)
    else rmSync(folder, { recursive: true, force: true })
    return
  }
  for (const fault of life.faults) say(`FAILED  ${fault}`)
  const rounds = Math.max(1, life.rounds.length + 1)
  const only = settings.only.length < Object.keys(KINDS).length ? ` --only ${settings.only.join(',')}` : ''
  say(`logs and the last answers: ${folder}`)
  say(
    `again: npm run e2e:cluster -- --replicas ${replicas} --seed ${seed} --rounds ${rounds} --rate ${settings.rate}${only}`,
  )
}

function sum(lives: readonly Life[], settings: Settings, folder: string): number {
  const rounds = lives.flatMap((life) => life.rounds)
  const failed = lives.filter((life) => life.faults.length > 0).length
  const sorted = rounds.map(({ silenceMs }) => silenceMs).sort((a, b) => a - b)
  const seconds = (ms: number | undefined): string => ((ms ?? 0) / 1000).toFixed(2)
  say(
    `${lives.length} clusters, ${rounds.length} rounds, ${lives.reduce((n, life) => n + life.answers, 0)} answers checked, ` +
      `${lives.reduce((n, life) => n + life.acknowledged, 0)} acknowledged; longest silence of the untouched: median ${seconds(sorted[sorted.length >> 1])} s, worst ${seconds(sorted.at(-1))} s`,
  )
  if (settings.json !== undefined)
    writeFileSync(settings.json, `${JSON.stringify({ seed: settings.seed, failed, lives }, null, 2)}\n`)
  if (failed === 0 && !settings.keep) rmSync(folder, { recursive: true, force: true })
  const empty = rounds.length === 0
  if (empty && failed === 0) say('FAILED  no round was played: give it more --minutes')
  // The last round of a cluster that failed is the one that failed.
  const passed = lives.reduce(
    (n, life) => n + Math.max(0, life.rounds.length - (life.faults.length > 0 ? 1 : 0)),
    0,
  )
  say(`cluster: ${passed} passed, ${failed + (empty && failed === 0 ? 1 : 0)} failed`)
  return failed === 0 && !empty ? 0 : 1
}

const onLoopback = (name: string, i: number): Host => ({
  ...{ name, address4: `127.0.87.${i + 1}`, address6: '::1', enter: [] },
})

async function main(): Promise<number> {
  const settings = read()
  if (typeof settings === 'number') return settings
  if (settings.hosts || process.argv.includes('--loopback') || !canNamespace()) return run(settings)
  const { folder } = settings
  const code = await enterWorld(fileURLToPath(import.meta.url), [
    ...process.argv.slice(2),
    '--inside',
    folder,
  ])
  if (code === STOPPED) rmSync(folder, { recursive: true, force: true })
  return code
}

process.exit(await main())
