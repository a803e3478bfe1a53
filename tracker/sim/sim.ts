// The simulator's command: runs seeds, says how many passed, and of the first failures what happened and how
// to see it again. Refuses: to guess a seed that was not asked for twice: they start at 1, with --hours at
// the time.

import { runJobs } from './jobs.ts'
import { describeFailure, readOptions, runOf, type SimOptions, Sums, USAGE } from './options.ts'

/** Failures shown whole; of more only the seed and the sentence. */
const SHOWN = 3
/** Between two words on how it goes, milliseconds: on a terminal in one line, else in a line each. */
const PROGRESS_MS = process.stdout.isTTY ? 500 : 30_000

const say = (text: string): void => void process.stdout.write(`${text}\n`)

const simulate = async (o: SimOptions): Promise<number> => {
  const sums = new Sums()
  const began = performance.now()
  const seconds = (): number => (performance.now() - began) / 1000
  const line = (): string => `${sums.progress(seconds())}${o.hours > 0 ? '' : ` of ${o.seeds}`}`
  let given = 0
  let stopped = false
  let toldMs = began
  process.once('SIGINT', () => {
    stopped = true
  })
  const clear = (): void => void (process.stdout.isTTY && process.stdout.write('\r\x1b[K'))
  const progress = (): void => {
    if (performance.now() < toldMs + PROGRESS_MS) return
    toldMs = performance.now()
    if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K${line()}`)
    else say(line())
  }
  await runJobs(o.jobs, {
    next: () => {
      const more = o.hours > 0 ? seconds() < o.hours * 3600 : given < o.seeds
      if (stopped || !more) return null
      return { ...runOf(o, o.from + given++), print: o.trace ? say : null }
    },
    done: (run, outcome) => {
      sums.add(run, outcome)
      progress()
      if (outcome.violation === null) return
      clear()
      if (sums.failed.length <= SHOWN) say(describeFailure(run, outcome))
      else say(`FAILED  seed ${run.seed}: ${outcome.violation.split('\n')[0]}`)
    },
  })
  clear()
  for (const text of sums.lines(o, seconds())) say(text)
  return sums.failed.length === 0 ? 0 : 1
}

const main = async (): Promise<number> => {
  let options: SimOptions | null
  try {
    options = readOptions(process.argv.slice(2), Date.now() / 1000)
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\nnpm run sim -- --help says what there is\n`)
    return 2
  }
  if (options !== null) return simulate(options)
  process.stdout.write(USAGE)
  return 0
}

if (import.meta.main) process.exitCode = await main()
