// `npm run e2e:kube`: operator, chart and image on a real Kubernetes, with users outside who go on announcing
// while pods, nodes, networks, disks and the operator are lost. Refuses: to end without counts, to wait
// without bound, or to leave a cluster behind.

import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Random } from '@skep/testing/random.ts'
import { dump } from './dump.ts'
import { addresses } from './scenarios/addresses.ts'
import { lint, release, test, uninstall } from './scenarios/chart.ts'
import { backup, deletion, quorum, wrong } from './scenarios/data.ts'
import { crashes, cut, disk, key, operator, pods, power, two } from './scenarios/faults.ts'
import { autoscale, create, scale } from './scenarios/life.ts'
import { rollout, upgrade } from './scenarios/upgrade.ts'
import { openTarget, type Target } from './target.ts'
import { type EventRow, patiently, type Scenario, setPatience, type World, whole } from './world.ts'

/** In this order; what needs no cluster comes first, then create, and uninstall last. */
const SCENARIOS: readonly Scenario[] = [
  ...[upgrade, create, lint, test, wrong, pods, crashes, scale, rollout, disk, two, operator, autoscale],
  ...[power, addresses, cut, key, release, deletion, backup, quorum, uninstall],
]

const HELP = `npm run e2e:kube -- [--full] [--only NAME,...] [--seed N] [--nodes 3] [--keep] [--json FILE]

Runs on a test cluster of its own (Linux, root, go: 5 to 10 minutes to build, once), or on the cluster that KUBECONFIG
names: kind gets the image by itself, others need --image REPOSITORY:TAG and, for upgrades, --next-image REPOSITORY:TAG.

  --full          everything; without it what takes long is left out
  --only LIST     some of: ${SCENARIOS.map(({ name }) => name).join(', ')}
  --seed N        which pods, and when the operator is killed
  --nodes N       nodes of the test cluster
  --from NAME     the released version that upgrade begins with: a tag or a commit; v0.1.0 if not given
  --keep          leave the test cluster running, and say how to use it
  --state FOLDER  use the test cluster that --keep has left there; it stays, too
  --patience N    all bounds N times as long, on a machine that is busy with other things
  --json FILE     the table of events as JSON

Exit codes: 0 all passed or nothing could be run here (said so), 1 something failed, 64 usage.`

const USAGE = 64

type Settings = {
  readonly scenarios: readonly Scenario[]
  readonly seed: number
  readonly nodes: number
  readonly keep: boolean
  readonly state: string | undefined
  readonly json: string | undefined
  readonly image: string | undefined
  readonly nextImage: string | undefined
  readonly from: string | undefined
}
type Result = { scenario: string; outcome: 'passed' | 'failed' | 'skipped'; minutes: number; why: string }

const say = (line: string): void => void process.stdout.write(`${line}\n`)

function read(): Settings | number {
  try {
    const { values } = parseArgs({
      options: {
        full: { type: 'boolean' },
        only: { type: 'string' },
        seed: { type: 'string', default: String(Date.now() % 1_000_000) },
        nodes: { type: 'string', default: '3' },
        keep: { type: 'boolean', default: false },
        state: { type: 'string' },
        json: { type: 'string' },
        image: { type: 'string' },
        patience: { type: 'string', default: '1' },
        'next-image': { type: 'string' },
        from: { type: 'string', default: 'v0.1.0' },
        help: { type: 'boolean' },
      },
    })
    if (values.help === true) {
      say(HELP)
      return 0
    }
    const [seed, nodes] = [Number(values.seed), Number(values.nodes)]
    if (!Number.isInteger(seed) || seed < 0) throw new Error('--seed: a whole number')
    if (!Number.isInteger(nodes) || nodes < 1 || nodes > 9) throw new Error('--nodes: 1 to 9')
    const patience = Number(values.patience)
    if (!(patience >= 1 && patience <= 20)) throw new Error('--patience: 1 to 20')
    setPatience(patience)
    const only = values.only?.split(',')
    for (const name of only ?? [])
      if (!SCENARIOS.some((one) => one.name === name)) throw new Error(`--only: no such scenario: ${name}`)
    const chosen = SCENARIOS.filter(({ name, usual }) =>
      only === undefined ? values.full === true || usual : only.includes(name),
    )
    const { json, image, state, 'next-image': nextImage } = values
    const keep = values.keep || state !== undefined
    const scenarios = withCluster(chosen)
    const from = chosen.includes(upgrade) ? values.from : undefined
    return { scenarios, seed, nodes, keep, state, json, image, nextImage, from }
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${HELP}\n`)
    return USAGE
  }
}

/** All but those that are alone work with the cluster that `create` makes. */
const withCluster = (chosen: readonly Scenario[]): readonly Scenario[] => {
  const needed = chosen.some(({ alone }) => alone !== true)
  return SCENARIOS.filter((one) => chosen.includes(one) || (one === create && needed))
}

const inTime = async (scenario: Scenario, world: World): Promise<void> => {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, failed) => {
    const minutes = patiently(scenario.minutes)
    timer = setTimeout(() => failed(new Error(`not over after ${minutes} minutes`)), minutes * 60_000)
  })
  await Promise.race([scenario.run(world), late]).finally(() => clearTimeout(timer))
}

/**
 * One scenario; on a failure all that helps is written to a folder, and the cluster gets time to become whole
 * again.
 */
async function runOne(scenario: Scenario, world: World, folder: () => string): Promise<Result> {
  const { name } = scenario
  world.scenario = name
  const begin = performance.now()
  const result = (outcome: Result['outcome'], why = ''): Result => ({
    ...{ scenario: name, outcome, why },
    minutes: (performance.now() - begin) / 60_000,
  })
  say(`--- ${name}: ${scenario.what}`)
  try {
    await inTime(scenario, world)
    await scenario.end?.(world)
    return result('passed')
  } catch (error) {
    const why = (error as Error).message
    say(`FAILED  ${name}: ${why}`)
    const report = await world.outside?.report().catch(() => undefined)
    say(
      `        see ${await dump(world.target, join(folder(), name), (error as Error).stack ?? why, report)}`,
    )
    const failed = result('failed', why)
    if (scenario.end !== undefined) await scenario.end(world).catch((fault: Error) => say(fault.message))
    else if (world.outside !== undefined) await whole(world, 3, 60).catch(() => {})
    return failed
  }
}

async function runAll(settings: Settings, target: Target): Promise<{ results: Result[]; rows: EventRow[] }> {
  let made: string | undefined
  const folder = (): string => (made ??= mkdtempSync(join(tmpdir(), 'skep-kube-failed-')))
  const rows: EventRow[] = []
  const random = new Random(settings.seed)
  const world: World = { target, random, say, rows, outside: undefined, scenario: '' }
  const results: Result[] = []
  for (const scenario of settings.scenarios) {
    const failed = results.some((one) => one.scenario === create.name && one.outcome === 'failed')
    const why = failed
      ? 'there is no cluster'
      : scenario.lab === true && target.lab === undefined
        ? 'needs nodes that can be broken'
        : scenario === upgrade && settings.image !== undefined
          ? 'needs images of two versions, which are packed for the test cluster and for kind'
          : scenario === uninstall && settings.keep
            ? '--keep'
            : ''
    if (why !== '') results.push({ scenario: scenario.name, outcome: 'skipped', minutes: 0, why })
    else results.push(await runOne(scenario, world, folder))
  }
  world.outside?.stop()
  return { results, rows }
}

function table(rows: readonly EventRow[]): string {
  const cells = rows.map((row) => [
    row.scenario,
    row.event,
    (row.tookMs / 1000).toFixed(1),
    row.silenceMs.toFixed(0),
    row.worstMs.toFixed(0),
    String(row.unanswered),
    row.note,
  ])
  const all = [['scenario', 'event', 'over after s', 'silence ms', 'slowest ms', 'unanswered', ''], ...cells]
  const widths = all[0]!.map((_, i) => Math.max(...all.map((line) => line[i]!.length)))
  const number = (i: number): boolean => i >= 2 && i <= 5
  return all
    .map((line) =>
      line
        .map((cell, i) => (number(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

async function main(): Promise<number> {
  const settings = read()
  if (typeof settings === 'number') return settings
  say(`seed ${settings.seed}`)
  const target = await openTarget({ ...settings, say })
  if ('missing' in target) {
    say(`kube: not run here: ${target.missing}`)
    say(`kube: 0 passed, 0 failed, ${settings.scenarios.length} skipped`)
    return 0
  }
  const { results, rows } = await runAll(settings, target)
  say('')
  if (rows.length > 0) say(`${table(rows)}\n`)
  for (const { scenario, outcome, minutes, why } of results)
    say(
      `${outcome.padEnd(7)}  ${minutes.toFixed(1)} min  ${scenario}${why === '' ? '' : `: ${why.slice(0, 200)}`}`,
    )
  if (settings.json !== undefined)
    writeFileSync(settings.json, JSON.stringify({ seed: settings.seed, results, rows }, null, 2))
  const count = (outcome: Result['outcome']): number =>
    results.filter((one) => one.outcome === outcome).length
  if (settings.keep && target.lab !== undefined) {
    const [script] = target.lab.inside
    say(
      `left running: export BIN=${target.lab.env.BIN} STATE=${target.lab.state}; ${script} exec kubectl get tc -A; ${script} down`,
    )
  } else await target.lab?.down()
  const failed = results.filter((one) => one.outcome === 'failed').map((one) => one.scenario)
  if (failed.length > 0) say(`again: npm run e2e:kube -- --seed ${settings.seed} --only ${failed.join(',')}`)
  say(`kube: ${count('passed')} passed, ${count('failed')} failed, ${count('skipped')} skipped`)
  return failed.length === 0 ? 0 : 1
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(130))
process.exit(await main())
