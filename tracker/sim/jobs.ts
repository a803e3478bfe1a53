// Many seeds on many cores: processes that each run one seed after another, handed out as they get done.
// Refuses: to share anything between two runs but the core's code; a process that ends takes one seed with
// it, which is told as failed.

import { type ChildProcess, fork } from 'node:child_process'
import type { Outcome, RunOptions } from './run.ts'
import { runSeed } from './run.ts'

export type Job = {
  /** The next run; null: there is no more. */
  readonly next: () => RunOptions | null
  readonly done: (run: RunOptions, outcome: Outcome) => void
}

/** A new heap page is worth nothing here: most of what a run makes is garbage at once. Megabytes. */
const YOUNG_MB = 32

/** Runs all that `next` gives, `jobs` at once; one: in this process. */
export const runJobs = async (jobs: number, job: Job): Promise<void> => {
  if (jobs === 1) {
    for (let run = job.next(); run !== null; run = job.next()) job.done(run, await runSeed(run))
    return
  }
  await Promise.all(Array.from({ length: jobs }, () => inProcesses(job)))
}

/** One process after another, as long as there is work: a new one only where the last has ended by itself. */
const inProcesses = async (job: Job): Promise<void> => {
  let child: ChildProcess | null = null
  for (let run = job.next(); run !== null; run = job.next()) {
    child ??= fork(import.meta.filename, [], {
      serialization: 'advanced',
      execArgv: [`--max-semi-space-size=${YOUNG_MB}`],
    })
    const outcome = await ask(child, run)
    job.done(run, outcome)
    if (!child.connected) child = null
  }
  child?.disconnect()
}

const ask = (child: ChildProcess, run: RunOptions): Promise<Outcome> =>
  new Promise((resolve) => {
    const answered = (outcome: Outcome): void => {
      child.off('exit', ended)
      resolve(outcome)
    }
    const ended = (code: number | null, signal: string | null): void => {
      child.off('message', answered)
      if (child.connected) child.disconnect()
      resolve(died(`its process ended: ${signal ?? `exit ${code}`}`))
    }
    child.once('message', answered as (message: unknown) => void)
    child.once('exit', ended)
    child.send(run)
  })

const died = (violation: string): Outcome => ({
  violation,
  plan: 'nothing is known of it',
  trace: [],
  hash: 0,
  events: 0,
  answers: 0,
  changes: 0,
  faults: 0,
  counts: new Map(),
  ms: 0,
  healedMs: 0,
})

// The other side of `fork`.
if (import.meta.main) {
  // A terminal tells the whole group; the run under way is still of use to whoever asked.
  process.on('SIGINT', () => {})
  // Whoever asked is gone.
  process.on('disconnect', () => process.exit())
  process.on('message', (run: RunOptions) => void runSeed(run).then((outcome) => process.send!(outcome)))
}
