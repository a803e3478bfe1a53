// Commands and flags on the command line, made from the table of options; the one door to commander.
// Refuses: deciding what a value means (layers.ts does), and ending the process.

import { readFileSync } from 'node:fs'
import { USAGE } from '@skep/cli/exit-codes.ts'
import { Command, CommanderError, Option as Flag } from 'commander'
import { CONFIG_FILE_BYTES, layer, type Source } from './layers.ts'
import { defaultText, printConfig } from './manual.ts'
import { CONFIG_KEYS, type ConfigKey, GROUPS, OPTIONS, type Option, type TrackerConfig } from './options.ts'

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

/** Adds the flags of `keys`, and `--config` and `--print-config` where all are there. */
export function addConfigFlags(command: Command, keys: readonly ConfigKey[] = CONFIG_KEYS): Command {
  for (const [group, title] of Object.entries(GROUPS))
    for (const key of keys) {
      const { flag, type, sentence, group: own } = OPTIONS[key] as Option<unknown>
      if (own !== group) continue
      const value = type.bare ? `[${type.placeholder}]` : `<${type.placeholder}>`
      const option = new Flag(
        `--${flag} ${value}`,
        `${sentence} ${limitsOf(type.limits)} Default: ${defaultText(key)}.`,
      )
      if (type.list)
        option.argParser((raw: string, before: readonly string[] | undefined) => [...(before ?? []), raw])
      command.addOption(option.helpGroup(`${title}:`))
      if (type.bare) command.addOption(new Flag(`--no-${flag}`).hideHelp())
    }
  command.addOption(
    new Flag('--config <file>', 'YAML or JSON file with the same names. [SKEP_CONFIG]').helpGroup(
      'Configuration:',
    ),
  )
  if (keys === CONFIG_KEYS)
    command.addOption(
      new Flag('--print-config', 'Print all options with their values and sources, and end.').helpGroup(
        'Configuration:',
      ),
    )
  return command
}

const limitsOf = (limits: string): string => `${limits[0]!.toUpperCase()}${limits.slice(1)}.`

export type Configured = {
  readonly config: TrackerConfig
  readonly sources: ReadonlyMap<ConfigKey, Source>
  readonly file: string | null
  /** `--print-config` was given: this is what to print. */
  readonly print: string | null
}

/** The configuration of a parsed command. Throws `UsageError` with every fault that was found. */
export function configOf(command: Command, environment: NodeJS.ProcessEnv): Configured {
  const flags = new Map<ConfigKey, unknown>()
  for (const key of CONFIG_KEYS) {
    const attribute = attributeOf(OPTIONS[key].flag)
    if (command.getOptionValueSource(attribute) === 'cli') flags.set(key, command.getOptionValue(attribute))
  }
  const path = (command.getOptionValue('config') as string | undefined) ?? environment.SKEP_CONFIG
  const file = path === undefined || path === '' ? null : { path, text: readConfigFile(path) }
  const layered = layer({ flags, environment, file })
  if (!layered.ok) throw new UsageError(layered.faults.join('\n'))
  const { config, sources } = layered
  const wanted = command.getOptionValue('printConfig') === true
  return {
    config,
    sources,
    file: file?.path ?? null,
    print: wanted ? printConfig(config, sources, file?.path ?? null) : null,
  }
}

const attributeOf = (flag: string): string =>
  flag.replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase())

function readConfigFile(path: string): string {
  try {
    const text = readFileSync(path, 'utf8')
    if (text.length > CONFIG_FILE_BYTES) throw new Error(`it has more than ${CONFIG_FILE_BYTES} bytes`)
    return text
  } catch (cause) {
    throw new UsageError(`--config ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    })
  }
}
