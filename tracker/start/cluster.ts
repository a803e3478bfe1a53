// skep start --replicas n: a whole cluster in one terminal, a process of skep tracker for each replica.
// Refuses: starting again what has ended (somebody may have killed it to see), and leaving replicas behind:
// they notice when this process is gone, and stop.

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type Command, Flag, UsageError } from '@skep/cli/command.ts'
import { complain } from '@skep/cli/complain.ts'
import { FAILURE, OK } from '@skep/cli/exit-codes.ts'
import { STANDARD_OUTPUT } from '@skep/cli/output.ts'
import { shellWords, skepCommand } from '@skep/cli/paste.ts'
import { catchSignals, type Signals } from '@skep/cli/signals.ts'
import type { Configured } from '../config/table.ts'
import { FolderError, prepareFolder } from '../keys/folder.ts'
import { NetworkKeyError, openNetworkKey } from '../keys/network-key.ts'
import { leave } from '../opening/leave.ts'
import type { Settings } from '../swarm/settings.ts'
import { type ReplicaPlan, replicaPlans } from './cluster-plan.ts'
import { type ClusterRow, clusterWelcome } from './welcome.ts'

const SKEP = fileURLToPath(new URL('../../skep.ts', import.meta.url))
const REPLICAS_MOST = 9

/** What a replica says to the process that started it, once it answers. */
export type Answering = {
  readonly udp: number
  readonly http: number
  readonly control: number
  readonly hosts: readonly string[]
  readonly allowPrivate: Settings['allowPrivate']
}

type Ended = { readonly code: number | null; readonly signal: NodeJS.Signals | null }
type Child = {
  readonly plan: ReplicaPlan
  readonly process: ChildProcess
  readonly answering: Promise<Answering>
  readonly ended: Promise<Ended>
}

export const addReplicasFlag = (command: Command): Command =>
  command.addOption(
    new Flag(
      '--replicas <number>',
      `A cluster in this terminal: so many replicas, a process each; replica i uses each port + 10 i and a folder ri in --data-dir. From 1 to ${REPLICAS_MOST}; 3 survive the loss of one, 5 of two. Default: 1.`,
    ).helpGroup('Names and addresses:'),
  )

/** Throws `UsageError`. */
export function replicasOf(command: Command): number {
  const raw = (command.getOptionValue('replicas') as string | undefined) ?? '1'
  const replicas = /^\d$/.test(raw) ? Number(raw) : 0
  if (replicas < 1 || replicas > REPLICAS_MOST)
    throw new UsageError(`--replicas is "${raw}": it must be a whole number from 1 to ${REPLICAS_MOST}`)
  return replicas
}

const say = (text: string): void => STANDARD_OUTPUT.write(`skep: ${text}\n`)

/** Runs until a signal comes or all replicas have ended; returns the exit code. */
export async function runCluster(configured: Configured, replicas: number): Promise<number> {
  const { config } = configured
  let keyFile: string
  try {
    prepareFolder(config.dataDir)
    keyFile = (await openNetworkKey(config.dataDir, config.networkKeyFile)).path
  } catch (error) {
    if (!(error instanceof FolderError || error instanceof NetworkKeyError)) throw error
    complain(error.message)
    return await leave(error.exitCode)
  }
  const plans = replicaPlans(configured, replicas, keyFile)
  if (existsSync(join(config.dataDir, 'replica')))
    say(`${config.dataDir} also holds the data of one replica that ran alone; this cluster has its own`)
  process.title = 'skep start'
  STANDARD_OUTPUT.again = (lines, why) => say(`lines of this output were lost: ${lines}, ${why}`)
  const signals = catchSignals()
  if (signals.opening.aborted) return stoppedEarly()
  say(`starting ${replicas} replicas; they answer once a majority of them has elected a leader`)
  const children = plans.map(begin)
  const failed = await untilAnswering(children, signals)
  if (signals.opening.aborted) {
    await stopAll(children, signals, false)
    return stoppedEarly()
  }
  if (failed !== null) {
    const { plan, end } = failed
    say(`${plan.name} could not start: it ended with ${endText(end)}, see above; all stop`)
    await stopAll(children, signals, false)
    return end.code ?? FAILURE
  }
  STANDARD_OUTPUT.write(clusterWelcome(await Promise.all(children.map(rowOf)), config, keyFile))
  let stopping = false
  for (const child of children) void child.ended.then((end) => stopping || say(lossText(child, end)))
  const told = await Promise.race([signals.first, Promise.all(children.map((child) => child.ended))])
  if (typeof told !== 'string') {
    say('no replica runs any more')
    return told.find(({ code }) => code !== OK)?.code ?? (told.some(({ signal }) => signal) ? FAILURE : OK)
  }
  stopping = true
  say(`${told}: stopping all replicas`)
  const ends = await stopAll(children, signals, config.purgeOnStop)
  const bad = children.filter((_, i) => ends[i]!.code !== OK && !lost.has(children[i]!))
  for (const child of bad) say(`${child.plan.name} ended with ${endText(await child.ended)}`)
  say('stopped')
  return bad.length === 0 ? OK : FAILURE
}

function stoppedEarly(): number {
  say('stopped')
  return OK
}

/** Replicas that ended by themselves: said when it happened. */
const lost = new WeakSet<Child>()

function begin(plan: ReplicaPlan): Child {
  const child = spawn(process.execPath, [...process.execArgv, SKEP, ...plan.args], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    // Ctrl-C reaches the whole group of processes, and a replica that hears it twice would not stop cleanly.
    detached: process.platform !== 'win32',
    windowsHide: true,
  })
  // Each line of a log names its replica.
  createInterface({ input: child.stdout! }).on('line', (line) => STANDARD_OUTPUT.write(`${line}\n`))
  createInterface({ input: child.stderr! }).on('line', (line) =>
    process.stderr.write(`${plan.name}: ${line}\n`),
  )
  const answering = new Promise<Answering>((resolve) => child.once('message', resolve as never))
  const ended = new Promise<Ended>((resolve) => {
    child.once('error', () => resolve({ code: FAILURE, signal: null }))
    child.once('close', (code, signal) => resolve({ code, signal }))
  })
  return { plan, process: child, answering, ended }
}

/** Null: all answer, or a signal came first. Else who ended before it did. */
const untilAnswering = (
  children: readonly Child[],
  signals: Signals,
): Promise<{ plan: ReplicaPlan; end: Ended } | null> =>
  Promise.race([
    Promise.all(children.map((child) => child.answering)).then(() => null),
    ...children.map((child) => child.ended.then((end) => ({ plan: child.plan, end }))),
    signals.first.then(() => null),
  ])

/** All at once; but who deletes its data leaves the cluster before, one after the other. */
async function stopAll(
  children: readonly Child[],
  signals: Signals,
  oneByOne: boolean,
): Promise<readonly Ended[]> {
  const ends: Promise<Ended>[] = []
  signals.second.catch(() => {
    for (const { process: each } of children) each.kill('SIGKILL')
  })
  for (const child of children) {
    child.process.kill('SIGTERM')
    ends.push(child.ended)
    if (oneByOne) await child.ended
  }
  return await Promise.all(ends)
}

async function rowOf({ plan, process: { pid }, answering }: Child): Promise<ClusterRow> {
  return { ...plan, ...(await answering), pid: pid ?? 0 }
}

const endText = ({ code, signal }: Ended): string => (signal === null ? `exit code ${code}` : `${signal}`)

function lossText(child: Child, end: Ended): string {
  lost.add(child)
  const { plan, process: gone } = child
  const how =
    end.signal !== null
      ? `was killed (${end.signal})`
      : end.code === OK
        ? 'has stopped'
        : `ended: ${endText(end)}`
  return `${plan.name} (process ${gone.pid}) ${how}; the others go on while a majority is left. To start it again: ${skepCommand()} ${shellWords(plan.args)}`
}
