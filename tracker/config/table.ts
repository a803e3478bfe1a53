// The tracker's table of options, as the command line's machinery takes it.
// Refuses: options (options.ts), and what they may not say together (faults.ts).

import type { Command } from '@skep/cli/command.ts'
import * as flags from '@skep/cli/flags.ts'
import type * as layers from '@skep/cli/layers.ts'
import { keysOf, type OptionTable } from '@skep/cli/options.ts'
import { configFault } from './faults.ts'
import { type ConfigKey, GROUPS, OPTIONS, type TrackerConfig } from './options.ts'

/** Nobody is answered during an election: requests wait through it, milliseconds. */
const ELECTION_MS = 1500

export const TABLE: OptionTable<TrackerConfig> = {
  options: OPTIONS,
  groups: GROUPS,
  prefix: 'SKEP',
  otherVariables: ['SKEP_CONFIG'],
  programs: 'skep tracker and skep start',
  derive: (config, isDefault) =>
    isDefault('parkForMs') ? { ...config, parkForMs: parkForOf(config) } : config,
  fault: configFault,
}

const parkForOf = ({ keepaliveMs, missed }: TrackerConfig): number =>
  Math.min(60_000, keepaliveMs * missed + ELECTION_MS)

export const CONFIG_KEYS: readonly ConfigKey[] = keysOf(TABLE)

export type Configured = flags.Configured<TrackerConfig>
export type Sources = layers.Sources<TrackerConfig>

/** Adds the flags of `keys`, and `--config` and `--print-config` where all are there. */
export const addConfigFlags = (command: Command, keys: readonly ConfigKey[] = CONFIG_KEYS): Command =>
  flags.addFlags(command, TABLE, keys)

/** The configuration of a parsed command. Throws `UsageError` with every fault that was found. */
export const configOf = (command: Command, environment: NodeJS.ProcessEnv): Configured =>
  flags.configOf(command, TABLE, environment)
