// The manual of all options: as commented YAML with the values in force (--print-config), as
// docs/configuration.md. Refuses: any fact about an option that is not in the table.

import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import type { Source } from './layers.ts'
import {
  CONFIG_KEYS,
  type ConfigKey,
  GROUPS,
  OPTIONS,
  type Option,
  type TrackerConfig,
  variableOf,
} from './options.ts'
import type { Plain } from './values.ts'

/** The value in force, in the form a file holds it. */
export function shownValue(config: TrackerConfig, key: ConfigKey): Plain {
  return (OPTIONS[key] as Option<unknown>).type.show(config[key])
}

export function defaultText(key: ConfigKey): string {
  const option = OPTIONS[key] as Option<unknown>
  if (option.defaultText !== undefined) return option.defaultText
  const shown = option.type.show(option.default)
  if (shown === null || (Array.isArray(shown) && shown.length === 0)) return 'none'
  return Array.isArray(shown) ? shown.join(',') : String(shown)
}

/** A configuration file that says what is in force, with the manual as its comments. */
export function printConfig(
  config: TrackerConfig,
  sources: ReadonlyMap<ConfigKey, Source>,
  file: string | null,
): string {
  const lines = [
    '# Options of skep tracker and skep start. A flag is stronger than a variable, a variable than the file,',
    '# the file than the default. This text is itself a valid file for --config.',
  ]
  for (const [group, title] of Object.entries(GROUPS)) {
    lines.push('', `# --- ${title} ---`)
    for (const key of CONFIG_KEYS) {
      const { flag, type, sentence, group: own } = OPTIONS[key] as Option<unknown>
      if (own !== group) continue
      const source = sources.get(key) ?? 'default'
      const from = {
        flag: `--${flag}`,
        environment: variableOf(flag),
        file: file ?? 'the file',
        default: 'the default',
      }
      lines.push(
        '',
        `# ${sentence}`,
        `# It is ${type.limits}. Default: ${defaultText(key)}. This value: ${from[source]}.`,
      )
      lines.push(
        stringify(
          { [flag]: shownValue(config, key) },
          { lineWidth: 0, flowCollectionPadding: false, collectionStyle: 'flow' },
        )
          .trim()
          .replace(/^\{(.*)\}$/s, '$1'),
      )
    }
  }
  return `${lines.join('\n')}\n`
}

/** docs/configuration.md, whole. */
export function configurationDocument(): string {
  const lines = [
    '# Configuration',
    '',
    'Every option of `skep tracker` and `skep start`. This page is made from the table in `tracker/config/options.ts`',
    '(`npm run docs`); a test fails when they differ.',
    '',
    'The same option can be given in four places; the first of these that names it wins:',
    '',
    '1. a flag: `--udp-port 6970`',
    '2. a variable: `SKEP_UDP_PORT=6970`',
    '3. a YAML or JSON file, named by `--config FILE` or `SKEP_CONFIG`: `udp-port: 6970`',
    '4. its default',
    '',
    '`skep tracker --print-config` prints the values in force and where each came from, as a file that `--config`',
    'takes. Unknown flags, `SKEP_*` variables and keys are refused with the nearest name, and exit code 64; variables',
    'that Kubernetes sets for Services (`SKEP_UDP_PORT=udp://10.0.0.1:6969`) are told apart and left alone.',
    '',
    'Sizes: `64KiB`, `512MiB`, `2GiB`, also `512Mi` and `100MB`. Durations: `100ms`, `30s`, `5m`, `1h30m`. Lists:',
    'commas in a flag or variable, or the flag several times; a list in a file. Switches: `on` and `off`; a bare',
    '`--full-scrape` means on, `--no-full-scrape` off.',
    '',
    '"The swarm table" are settings of the cluster: the options only seed them at its birth, and what the log says wins',
    'from then on. `skep ctl settings` changes those that are not fixed at birth.',
  ]
  for (const [group, title] of Object.entries(GROUPS)) {
    lines.push('', `## ${title}`, '', '| option | value | default | what for |', '| --- | --- | --- | --- |')
    for (const key of CONFIG_KEYS) {
      const { flag, type, sentence, group: own } = OPTIONS[key] as Option<unknown>
      if (own === group)
        lines.push(
          `| \`--${flag}\` | ${type.limits.replaceAll('|', '\\|')} | ${defaultText(key)} | ${sentence} |`,
        )
    }
  }
  return `${lines.join('\n')}\n`
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(new URL('../../docs/configuration.md', import.meta.url), configurationDocument())
