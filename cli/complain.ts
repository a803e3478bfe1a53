// How every program says what went wrong: `skep: cause; what to do`, on standard error, with an exit code of
// exit-codes.ts. Refuses: stacks, but for a bug.

import { type Command, CommanderError, UsageError } from './command.ts'
import { INTERNAL, OK, USAGE } from './exit-codes.ts'

type Write = (text: string) => void
const STANDARD_ERROR: Write = (text) => void process.stderr.write(text)

/** Each line of it under the one prefix. */
export function complain(text: string, write = STANDARD_ERROR, program = 'skep'): void {
  for (const line of text.trimEnd().split('\n')) write(`${program}: ${line}\n`)
}

/** Says why a command ends by an error, and with which exit code. `named`: whose `--help` tells more. */
export function explain(error: unknown, named: string, write = STANDARD_ERROR): number {
  if (error instanceof CommanderError && error.exitCode === 0) return OK
  if (error instanceof UsageError) {
    complain(error.message, write)
    return error.exitCode
  }
  if (error instanceof CommanderError || isOfArguments(error)) {
    complain(`${usageText(error as Error)}; ${named} --help says what there is`, write)
    return USAGE
  }
  complain(error instanceof Error ? (error.stack ?? error.message) : String(error), write)
  return INTERNAL
}

/** Parses, or says why not; null: it is parsed. */
export function parseOr(command: Command, args: string[]): number | null {
  try {
    command.parse(args, { from: 'user' })
    return null
  } catch (error) {
    return explain(error, command.name())
  }
}

/** Of `parseArgs` and commander, in one line without its full stop. */
export function usageText({ message }: Error): string {
  const [first = '', ...more] = message.replace(/^error: /, '').split('\n')
  return [first.replace(/\.$/, ''), ...more.map((line) => line.replace(/^\(Did/, '(did'))].join(' ').trim()
}

const isOfArguments = (error: unknown): boolean =>
  String((error as NodeJS.ErrnoException | null)?.code).startsWith('ERR_PARSE_ARGS')

/** Why a file that a person named cannot be had. */
export function fileFault(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'ENOENT') return 'the file is not there'
  if (code === 'EACCES') return 'this user may not read it'
  if (code === 'EISDIR') return 'it is a folder'
  return error instanceof Error ? error.message : String(error)
}
