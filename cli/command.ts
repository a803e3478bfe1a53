// Commands of the command line, alike in every program; the one door to commander.
// Refuses: ending the process, and knowing any option.

import { Command, CommanderError, Option as Flag } from 'commander'
import { USAGE } from './exit-codes.ts'

export { Command, CommanderError, Flag }

/** A wrong command line: a sentence for a person, and exit code 64. */
export class UsageError extends Error {
  readonly exitCode = USAGE
}

/** A command that throws instead of ending the process, and suggests the nearest flag. */
export function newCommand(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .addHelpOption(new Flag('-h, --help', 'Show this.').helpGroup('Help:'))
    .helpCommand(false)
    .showSuggestionAfterError(true)
    .allowExcessArguments(false)
    .configureHelp({ showGlobalOptions: false })
    .configureOutput({ outputError: () => {} })
    .exitOverride()
}
