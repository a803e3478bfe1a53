// Starts the users outside (outside.ts) and asks them how it goes. Refuses: to wait for ever for their
// answer.

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Command, Report } from './outside.ts'

const ANSWER_MS = 20_000
const CHECK_MS = 120_000

export type Outside = {
  /** Begins a new count; what was counted until now comes back. */
  mark(): Promise<Report>
  /** Connection IDs of a cluster that is no more. */
  forget(): Promise<Report>
  report(): Promise<Report>
  /** Everything is looked at; all that was acknowledged must be there. */
  check(): Promise<Report>
  stop(): void
}

/** `enter`: put before the command, to run it on another host. */
export function startOutside(
  enter: readonly string[],
  env: NodeJS.ProcessEnv,
  options: Readonly<Record<string, string>>,
): Outside {
  const program = new URL('./outside.ts', import.meta.url).pathname
  const flags = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value])
  const command = [...enter, process.execPath, program, ...flags]
  const child = spawn(command[0]!, command.slice(1), { env, stdio: ['pipe', 'pipe', 'inherit'] })
  const waiting: { done: (report: Report) => void; failed: (error: Error) => void }[] = []
  let ended: Error | undefined
  const end = (error: Error): void => {
    ended ??= error
    for (const { failed } of waiting.splice(0)) failed(error)
  }
  child.stdin.on('error', () => {})
  child.once('error', end)
  child.once('exit', (code) => end(new Error(`the users outside ended with ${code}`)))
  createInterface({ input: child.stdout }).on('line', (line) => waiting.shift()?.done(JSON.parse(line)))
  const ask = (what: Command['do'], boundMs: number): Promise<Report> =>
    new Promise((done, failed) => {
      if (ended !== undefined) return failed(ended)
      const timer = setTimeout(() => failed(new Error(`the users outside do not answer ${what}`)), boundMs)
      waiting.push({
        done: (report) => {
          clearTimeout(timer)
          done(report)
        },
        failed: (error) => {
          clearTimeout(timer)
          failed(error)
        },
      })
      child.stdin.write(`${JSON.stringify({ do: what } satisfies Command)}\n`)
    })
  return {
    mark: () => ask('mark', ANSWER_MS),
    forget: () => ask('forget', ANSWER_MS),
    report: () => ask('report', ANSWER_MS),
    check: () => ask('check', CHECK_MS),
    // It ends when nobody talks to it any more, also if we are killed, and takes its own programs with it.
    stop: () => void child.stdin.end(),
  }
}
