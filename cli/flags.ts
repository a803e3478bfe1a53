// Flags on the command line, made from a table of options, and what comes of them.
// Refuses: deciding what a value means (layers.ts does), and ending the process.

import { readFileSync } from 'node:fs'
import { type Command, Flag, UsageError } from './command.ts'
import { fileFault } from './complain.ts'
import { CONFIG_FILE_BYTES, layer, type Sources } from './layers.ts'
import { defaultText, printConfig } from './manual.ts'
import { type Key, keysOf, type OptionTable, optionOf, variableOf } from './options.ts'

/** Adds the flags of `keys`, and `--config` and `--print-config` where all are there. */
export function addFlags<C>(
  command: Command,
  table: OptionTable<C>,
  keys: readonly Key<C>[] = keysOf(table),
): Command {
  for (const [group, title] of Object.entries(table.groups))
    for (const key of keys) {
      const { flag, type, sentence, group: own } = optionOf(table, key)
      if (own !== group) continue
      const value = type.bare ? `[${type.placeholder}]` : `<${type.placeholder}>`
      const option = new Flag(
        `--${flag} ${value}`,
        `${sentence} ${limitsOf(type.limits)} Default: ${defaultText(table, key)}.`,
      )
      if (type.list)
        option.argParser((raw: string, before: readonly string[] | undefined) => [...(before ?? []), raw])
      command.addOption(option.helpGroup(`${title}:`))
      if (type.bare) command.addOption(new Flag(`--no-${flag}`).hideHelp())
    }
  command.addOption(
    new Flag(
      '--config <file>',
      `YAML or JSON file with the same names. [${variableOf(table, 'config')}]`,
    ).helpGroup('Configuration:'),
  )
  if (keys.length === keysOf(table).length)
    command.addOption(
      new Flag('--print-config', 'Print all options with their values and sources, and end.').helpGroup(
        'Configuration:',
      ),
    )
  return command
}

const limitsOf = (limits: string): string => `${limits[0]!.toUpperCase()}${limits.slice(1)}.`

export type Configured<C> = {
  readonly config: C
  readonly sources: Sources<C>
  readonly file: string | null
  /** `--print-config` was given: this is what to print. */
  readonly print: string | null
}

/** The configuration of a parsed command. Throws `UsageError` with every fault that was found. */
export function configOf<C>(
  command: Command,
  table: OptionTable<C>,
  environment: NodeJS.ProcessEnv,
): Configured<C> {
  const flags = new Map<Key<C>, unknown>()
  for (const key of keysOf(table)) {
    const attribute = attributeOf(optionOf(table, key).flag)
    if (command.getOptionValueSource(attribute) === 'cli') flags.set(key, command.getOptionValue(attribute))
  }
  const path =
    (command.getOptionValue('config') as string | undefined) ?? environment[variableOf(table, 'config')]
  const file = path === undefined || path === '' ? null : { path, text: readConfigFile(path) }
  const layered = layer(table, { flags, environment, file })
  if (!layered.ok) throw new UsageError(layered.faults.join('\n'))
  const { config, sources } = layered
  const wanted = command.getOptionValue('printConfig') === true
  return {
    config,
    sources,
    file: file?.path ?? null,
    print: wanted ? printConfig(table, config, sources, file?.path ?? null) : null,
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
    throw new UsageError(`--config ${path}: ${fileFault(cause)}`, { cause })
  }
}
