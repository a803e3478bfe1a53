// Our tracker as its users start it: a process with a data folder, ready when /readyz says so.
// Refuses: to look inside; it is told by options and asked through its ports.

import { join } from 'node:path'
import { THIS_TREE, type Tree } from './older-tree.ts'
import { type Program, startProgram, until } from './processes.ts'

const READY_MS = 60_000

export type TrackerOptions = {
  readonly dataDir: string
  readonly log: string
  readonly udpPort: number
  readonly httpPort: number
  readonly hosts: readonly string[]
  readonly more?: readonly string[]
  /** Put before the command: taskset, prlimit. */
  readonly before?: readonly string[]
  /** Of another version: its sources and its Node. */
  readonly tree?: Tree
}

export type Tracker = { readonly program: Program; readonly udpPort: number; readonly httpPort: number }

/** Ours refuses SKEP_* variables it does not know; none may change a test. */
const environment = (): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SKEP_')))

export const trackerCommand = ({ tree = THIS_TREE, ...options }: TrackerOptions): string[] => [
  ...(options.before ?? []),
  tree.node,
  ...[
    join(tree.root, 'skep.ts'),
    'tracker',
    '--data-dir',
    options.dataDir,
    '--host',
    options.hosts.join(','),
  ],
  ...['--udp-port', String(options.udpPort), '--http-port', String(options.httpPort)],
  ...['--control-port', '0', '--log-format', 'json', ...(options.more ?? [])],
]

export const startTracker = (options: TrackerOptions): Tracker => ({
  program: startProgram(trackerCommand(options), { log: options.log, env: environment() }),
  udpPort: options.udpPort,
  httpPort: options.httpPort,
})

/** Waits until it serves; rejects with its last words if it ends before. */
export async function trackerReady(tracker: Tracker, host = '127.0.0.1'): Promise<void> {
  await until('the tracker is ready', READY_MS, async () => {
    const end = tracker.program.ended()
    if (end !== undefined) throw new TrackerEnded(end)
    const answer = await fetch(`http://${host}:${tracker.httpPort}/readyz`).catch(() => undefined)
    await answer?.arrayBuffer().catch(() => undefined)
    return answer?.ok === true ? true : undefined
  })
}

/** It ended where it should have served. */
export class TrackerEnded extends Error {
  constructor(how: string) {
    super(`the tracker ended: ${how}`)
  }
}

export type Stats = {
  readonly role?: string
  readonly torrents: number
  readonly peers: number
  readonly answers: number
}

export async function trackerStats(tracker: Tracker, host = '127.0.0.1'): Promise<Stats | undefined> {
  const answer = await fetch(`http://${host}:${tracker.httpPort}/stats`).catch(() => undefined)
  return answer?.ok === true ? ((await answer.json()) as Stats) : undefined
}
