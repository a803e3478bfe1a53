// Commands of the command line, alike in every program; the one door to commander.
// Refuses: ending the process, and knowing any option.

import { Command, CommanderError, Option as Flag, InvalidArgumentError } from 'commander'
import { USAGE } from './exit-codes.ts'

export { Command, CommanderError, Flag, InvalidArgumentError }

/** A wrong command line: a sentence for a person, and exit code 64. */
export class UsageError extends Error {
  readonly exitCode = USAGE
}

/** Columns of a help that goes to no terminal; and those that a description is wrapped into at least. */
const WIDE = 100
const NARROW = 20

/** A command that throws instead of ending the process, and suggests the nearest flag. */
export function newCommand(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .addHelpOption(new Flag('-h, --help', 'Show this.').helpGroup('Help:'))
    .helpCommand(false)
    .showSuggestionAfterError(true)
    .allowExcessArguments(false)
    .configureHelp({ showGlobalOptions: false, minWidthToWrap: NARROW })
    .configureOutput({ outputError: () => {}, getOutHelpWidth: () => process.stdout.columns || WIDE })
    .exitOverride()
}

/** Reads a whole number within limits, for commander: `1000` or `1_000`. */
export const wholeNumber =
  (least: number, most = Number.MAX_SAFE_INTEGER) =>
  (text: string): number => {
    const digits = text.replaceAll('_', '')
    const value = Number(digits)
    if (/^\d{1,16}$/.test(digits) && value >= least && value <= most) return value
    const limits = most === Number.MAX_SAFE_INTEGER ? `from ${least}` : `from ${least} to ${most}`
    throw new InvalidArgumentError(`a whole number ${limits}`)
  }
