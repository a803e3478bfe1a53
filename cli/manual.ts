// The manual of a table of options: as commented YAML with the values in force (--print-config), and as
// tables for a document. Refuses: any fact about an option that is not in the table.

import { stringify } from 'yaml'
import type { Sources } from './layers.ts'
import { type Key, keysOf, type OptionTable, optionOf, variableOf } from './options.ts'
import type { Plain } from './values.ts'

/** The value in force, in the form a file holds it. */
export function shownValue<C>(table: OptionTable<C>, config: C, key: Key<C>): Plain {
  return optionOf(table, key).type.show(config[key])
}

export function defaultText<C>(table: OptionTable<C>, key: Key<C>): string {
  const option = optionOf(table, key)
  if (option.defaultText !== undefined) return option.defaultText
  const shown = option.type.show(option.default)
  if (shown === null || (Array.isArray(shown) && shown.length === 0)) return 'none'
  return Array.isArray(shown) ? shown.join(',') : String(shown)
}

/** A configuration file that says what is in force, with the manual as its comments. */
export function printConfig<C>(
  table: OptionTable<C>,
  config: C,
  sources: Sources<C>,
  file: string | null,
): string {
  const lines = [
    `# Options of ${table.programs}. A flag is stronger than a variable, a variable than the file,`,
    '# the file than the default. This text is itself a valid file for --config.',
  ]
  for (const [group, title] of Object.entries(table.groups)) {
    lines.push('', `# --- ${title} ---`)
    for (const key of keysOf(table)) {
      const { flag, type, sentence, group: own } = optionOf(table, key)
      if (own !== group) continue
      const source = sources.get(key) ?? 'default'
      const from = {
        flag: `--${flag}`,
        environment: variableOf(table, flag),
        file: file ?? 'the file',
        default: 'the default',
      }
      lines.push(
        '',
        `# ${sentence}`,
        `# It is ${type.limits}. Default: ${defaultText(table, key)}. This value: ${from[source]}.`,
      )
      lines.push(
        stringify(
          { [flag]: shownValue(table, config, key) },
          { lineWidth: 0, flowCollectionPadding: false, collectionStyle: 'flow' },
        )
          .trim()
          .replace(/^\{(.*)\}$/s, '$1'),
      )
    }
  }
  return `${lines.join('\n')}\n`
}

/** A heading and a table for each group, as lines of Markdown. */
export function manualTables<C>(table: OptionTable<C>): string[] {
  const lines: string[] = []
  for (const [group, title] of Object.entries(table.groups)) {
    lines.push('', `## ${title}`, '', '| option | value | default | what for |', '| --- | --- | --- | --- |')
    for (const key of keysOf(table)) {
      const { flag, type, sentence, group: own } = optionOf(table, key)
      const limits = type.limits.replaceAll('|', '\\|')
      if (own === group)
        lines.push(`| \`--${flag}\` | ${limits} | ${defaultText(table, key)} | ${sentence} |`)
    }
  }
  return lines
}
